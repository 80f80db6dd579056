//! `countersign slack`: makes what Slack's console needs.

use super::{EXIT_FAILED, Failed, load};
use crate::{
    cli::SlackCommand,
    config::EXIT_CONFIG,
    terminal::{say, warn},
};
use ledger::ident::Ident;

/// Prints the app manifest of a connection. The connection need not be configured yet, because id, token and
/// secret exist only once the app does.
pub fn run(command: &SlackCommand) -> Result<(), Failed> {
    let SlackCommand::Manifest { config, connection } = command;
    let config = load(&config.config)?;
    let name = Ident::new(connection).map_err(|_| {
        Failed::new(
            EXIT_CONFIG,
            format!("{connection:?} is not a name: a-z, 0-9 and -, at most 63"),
        )
    })?;
    if !config.file.public_url.starts_with("https://") {
        warn("warning: Slack sends clicks to https only; public_url is not");
    }
    if !config.file.slack.contains_key(connection) {
        warn(&format!("note: add [slack.{name}] to the configuration once the app is made"));
    }
    let manifest = approvals::slack::manifest(&config.file.public_url, &name);
    let text = serde_json::to_string_pretty(&manifest);
    say(&text.map_err(|e| Failed::new(EXIT_FAILED, e.to_string()))?);
    Ok(())
}
