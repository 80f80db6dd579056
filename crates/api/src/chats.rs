//! The chats of the configuration: reads their secrets from files, checks addresses, and registers each chat for
//! cards (by the port) and for clicks (by its own type). SIGHUP opens them again.

use crate::config::{Config, Slack, Teams, Webhook};
use approvals::{
    chats::{ByName, Chat},
    secret, slack,
    teams::{self, webhook},
};
use ledger::{Error, ident::Ident};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, RwLock},
};
use zeroize::Zeroizing;

/// The opened connections, by name.
#[derive(Default)]
struct Opened {
    slack: BTreeMap<Ident, Arc<slack::Connection>>,
    teams: BTreeMap<Ident, Arc<teams::Connection>>,
    webhooks: BTreeMap<Ident, Arc<webhook::Webhook>>,
}

/// The chats of the running server.
#[derive(Default)]
pub struct Chats {
    /// Where cards are sent.
    pub cards: Arc<approvals::chats::Chats>,
    opened: RwLock<Arc<Opened>>,
}

impl Chats {
    /// Opens all chats. Sends nothing.
    ///
    /// Errors: every mistake, each a line that says what to change.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let chats = Self::default();
        chats.replace(Opened::open(config).map_err(|wrong| Error::Setup(wrong.join("\n")))?);
        Ok(chats)
    }

    /// Opens them again, with the secrets and options of now. If anything is wrong, all that was open stays.
    /// The names and tenants must be those of the start, `before`, because rules were checked against them.
    ///
    /// Errors: every mistake, each a line that says what to change.
    pub fn open_again(&self, before: &Config, now: &Config) -> Result<(), Vec<String>> {
        if before.connections() != now.connections() {
            return Err(vec![
                "a chat was added, removed or given to another tenant: restart the server".into(),
            ]);
        }
        self.replace(Opened::open(now)?);
        Ok(())
    }

    /// The Slack app with this name, for what Slack posts to it.
    pub fn slack(&self, name: &str) -> Option<Arc<slack::Connection>> {
        self.now().slack.get(&Ident::new(name).ok()?).map(Arc::clone)
    }

    /// The Teams bot with this name, for what the Bot Framework posts to it.
    pub fn teams(&self, name: &str) -> Option<Arc<teams::Connection>> {
        self.now().teams.get(&Ident::new(name).ok()?).map(Arc::clone)
    }

    fn now(&self) -> Arc<Opened> {
        Arc::clone(&self.opened.read().expect("no holder of the lock panics"))
    }

    fn replace(&self, opened: Opened) {
        self.cards.replace(opened.for_cards());
        *self.opened.write().expect("no holder of the lock panics") = Arc::new(opened);
    }
}

impl Opened {
    fn open(config: &Config) -> Result<Self, Vec<String>> {
        let file = &config.file;
        let mut wrong = Vec::new();
        let opened = Self {
            slack: open_each("slack", &file.slack, open_slack, &mut wrong),
            teams: open_each("teams", &file.teams, open_teams, &mut wrong),
            webhooks: open_each("webhook", &file.webhook, open_webhook, &mut wrong),
        };
        if wrong.is_empty() { Ok(opened) } else { Err(wrong) }
    }

    fn for_cards(&self) -> ByName {
        fn each<C: Chat + 'static>(
            opened: &BTreeMap<Ident, Arc<C>>,
        ) -> impl Iterator<Item = (Ident, Arc<dyn Chat>)> {
            opened.iter().map(|(name, chat)| (name.clone(), Arc::clone(chat) as Arc<dyn Chat>))
        }
        each(&self.slack).chain(each(&self.teams)).chain(each(&self.webhooks)).collect()
    }
}

/// Opens one section of the configuration. Adds a line to `wrong` for each mistake.
fn open_each<O, C>(
    section: &str,
    configured: &BTreeMap<String, O>,
    open: impl Fn(&Ident, &O) -> Result<C, String>,
    wrong: &mut Vec<String>,
) -> BTreeMap<Ident, Arc<C>> {
    let mut opened = BTreeMap::new();
    for (name, options) in configured {
        match ident(name).and_then(|name| Ok((open(&name, options)?, name))) {
            Ok((chat, name)) => drop(opened.insert(name, Arc::new(chat))),
            Err(text) => wrong.push(format!("{section}.{name}: {text}")),
        }
    }
    opened
}

fn open_slack(name: &Ident, app: &Slack) -> Result<slack::Connection, String> {
    let secrets = app.signing_secret_files.iter().map(|path| read_secret(path));
    let options = slack::Options {
        tenant: ident(&app.tenant)?,
        app_id: app.app_id.clone(),
        workspaces: app.workspaces.clone(),
        bot_token: read_secret(&app.bot_token_file)?,
        signing_secrets: secrets.collect::<Result<_, _>>()?,
        api_url: app.api_url.clone(),
    };
    slack::Connection::open(name.clone(), options).map_err(|error| error.to_string())
}

fn open_teams(name: &Ident, bot: &Teams) -> Result<teams::Connection, String> {
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
    teams::Connection::open(name.clone(), options).map_err(|error| error.to_string())
}

fn open_webhook(name: &Ident, hook: &Webhook) -> Result<webhook::Webhook, String> {
    let opened =
        webhook::Webhook::open(name.clone(), ident(&hook.tenant)?, &read_secret(&hook.url_file)?);
    opened.map_err(|error| format!("{}: {error}", hook.url_file.display()))
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, String> {
    secret::read(path).map_err(|error| error.to_string())
}

fn ident(text: &str) -> Result<Ident, String> {
    Ident::new(text).map_err(|error| error.to_string())
}
