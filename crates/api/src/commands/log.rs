//! `countersign log policy`: the first policy of a log, from its key and the configuration.

use super::{EXIT_FAILED, EXIT_UNREADABLE, Failed};
use crate::{
    cli::LogCommand,
    config::{Config, EXIT_CONFIG},
    replicas::Setup,
    terminal::say,
    witness,
};
use ledger::log::note::Vkey;
use std::path::Path;

/// Largest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

/// Runs one of them.
pub fn run(command: &LogCommand) -> Result<(), Failed> {
    let LogCommand::Policy { config, key } = command;
    let file = Config::file(&config.config);
    let file = file.map_err(|wrong| Failed::new(EXIT_CONFIG, wrong.join("\n")))?;
    let wrong = witness::mistakes(&file.witness);
    if !wrong.is_empty() {
        return Err(Failed::new(EXIT_CONFIG, wrong.join("\n")));
    }
    let replicas = file.replica.as_ref().map(Setup::members).transpose();
    let replicas = replicas.map_err(|why| Failed::new(EXIT_CONFIG, why))?.unwrap_or_default();
    let policy = witness::first_policy(&self::key(key)?, &replicas, &file.witness);
    say(policy.map_err(|why| Failed::new(EXIT_FAILED, why))?.trim_end());
    Ok(())
}

/// Reads a public key, or the file that holds it.
fn key(given: &str) -> Result<Vkey, Failed> {
    let wrong = |why: &str| Failed::new(EXIT_UNREADABLE, format!("--key: {given}: {why}"));
    if let Ok(key) = Vkey::parse(given.trim()) {
        return Ok(key);
    }
    let bytes = ledger::atomic::read(Path::new(given), KEY_BYTES_MAX);
    let bytes = bytes.map_err(|error| wrong(&error.to_string()))?;
    let bytes = bytes.ok_or_else(|| wrong("no such file, and no key"))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("no key"))?;
    Vkey::parse(text.trim()).map_err(|error| wrong(&error.to_string()))
}
