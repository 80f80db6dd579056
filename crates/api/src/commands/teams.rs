//! `countersign teams`: makes what a Teams admin needs.

use super::{Failed, load};
use crate::{cli::TeamsCommand, config::EXIT_CONFIG, terminal::say};
use approvals::teams::package;

/// Runs one of its commands.
pub fn run(command: &TeamsCommand) -> Result<(), Failed> {
    let TeamsCommand::Package { config, connection, output } = command;
    let config = load(&config.config)?;
    let bot = config.file.teams.get(connection).ok_or_else(|| {
        let text = format!("no [teams.{connection}] in the configuration; example.toml shows one");
        Failed::new(EXIT_CONFIG, text)
    })?;
    let bytes = package::app_package(&bot.app_id, &config.file.public_url);
    let bytes = bytes.map_err(|error| Failed::new(EXIT_CONFIG, error.to_string()))?;
    ledger::atomic::replace(output, &bytes)?;
    let url = config.file.public_url.trim_end_matches('/');
    say(&format!("{} is written. Two steps are left:", output.display()));
    say("  1. Teams admin center, Manage apps, Upload: this file.");
    say(&format!(
        "  2. Azure Bot, Configuration, Messaging endpoint: {url}/teams/{connection}/messages"
    ));
    Ok(())
}
