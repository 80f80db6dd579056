//! Opens the chats in the configuration: reads secrets from files, checks addresses.

use crate::config::{Config, Slack, Teams, Webhook};
use approvals::{
    outbox::Chats,
    secret, slack,
    teams::{self, webhook},
};
use ledger::{Error, ident::Ident};
use std::path::Path;
use zeroize::Zeroizing;

/// Opens all chats. Sends nothing.
///
/// Errors: every mistake, each a line that says what to change.
pub fn open(config: &Config) -> Result<Chats, Error> {
    let (mut chats, mut wrong) = (Chats::default(), Vec::new());
    for (name, app) in &config.file.slack {
        match open_slack(name, app) {
            Ok(connection) => drop(chats.slack.insert(name.clone(), connection)),
            Err(text) => wrong.push(format!("slack.{name}: {text}")),
        }
    }
    for (name, bot) in &config.file.teams {
        match open_teams(name, bot) {
            Ok(connection) => drop(chats.teams.insert(name.clone(), connection)),
            Err(text) => wrong.push(format!("teams.{name}: {text}")),
        }
    }
    for (name, hook) in &config.file.webhook {
        match open_webhook(name, hook) {
            Ok(connection) => drop(chats.webhooks.insert(name.clone(), connection)),
            Err(text) => wrong.push(format!("webhook.{name}: {text}")),
        }
    }
    if wrong.is_empty() { Ok(chats) } else { Err(Error::Setup(wrong.join("\n"))) }
}

fn open_slack(name: &str, app: &Slack) -> Result<slack::Connection, String> {
    let secrets = app.signing_secret_files.iter().map(|path| read_secret(path));
    let options = slack::Options {
        tenant: ident(&app.tenant)?,
        app_id: app.app_id.clone(),
        workspaces: app.workspaces.clone(),
        bot_token: read_secret(&app.bot_token_file)?,
        signing_secrets: secrets.collect::<Result<_, _>>()?,
        api_url: app.api_url.clone(),
    };
    slack::Connection::open(ident(name)?, options).map_err(|error| error.to_string())
}

fn open_teams(name: &str, bot: &Teams) -> Result<teams::Connection, String> {
    let passwords = bot.password_files.iter().map(|path| read_secret(path));
    let options = teams::Options {
        tenant: ident(&bot.tenant)?,
        app_id: bot.app_id.clone(),
        directory: bot.directory.clone(),
        passwords: passwords.collect::<Result<_, _>>()?,
        token_url: bot.token_url.clone(),
        metadata_url: bot.metadata_url.clone(),
        service_hosts: bot.service_hosts.clone(),
        service_url: bot.service_url.clone(),
    };
    teams::Connection::open(ident(name)?, options).map_err(|error| error.to_string())
}

fn open_webhook(name: &str, hook: &Webhook) -> Result<webhook::Webhook, String> {
    let opened =
        webhook::Webhook::open(ident(name)?, ident(&hook.tenant)?, &read_secret(&hook.url_file)?);
    opened.map_err(|error| format!("{}: {error}", hook.url_file.display()))
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    secret::read(path).map_err(|error| error.to_string())
}

fn ident(text: &str) -> Result<Ident, String> {
    Ident::new(text).map_err(|error| error.to_string())
}
