//! `countersign log policy`: the policy of a log, from its key, the configuration, and the changes of its replicas.

use super::{EXIT_FAILED, EXIT_UNREADABLE, Failed};
use crate::{
    cli::LogCommand,
    config::{Config, EXIT_CONFIG},
    replicas::Setup,
    terminal::say,
    witness,
};
use ledger::{
    log::{members::Member, note::Vkey, policy::Policy},
    verify::{self, KeysDocument, ProvenChange},
};
use std::path::Path;

/// Largest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 4096;
/// Largest keys document, in bytes.
const KEYS_BYTES_MAX: u64 = 64 << 20;

/// Runs one of them.
pub fn run(command: &LogCommand) -> Result<(), Failed> {
    let LogCommand::Policy { config, key, keys } = command;
    let file = Config::file(&config.config);
    let file = file.map_err(|wrong| Failed::new(EXIT_CONFIG, wrong.join("\n")))?;
    let wrong = witness::mistakes(&file.witness);
    if !wrong.is_empty() {
        return Err(Failed::new(EXIT_CONFIG, wrong.join("\n")));
    }
    let replicas = file.replica.as_ref().map(Setup::members).transpose();
    let replicas = replicas.map_err(|why| Failed::new(EXIT_CONFIG, why))?.unwrap_or_default();
    let key = self::key(key)?;
    let policy = |replicas: &[Member]| {
        let policy = witness::first_policy(&key, replicas, &file.witness);
        policy.map_err(|why| Failed::new(EXIT_FAILED, why))
    };
    let first = policy(&replicas)?;
    let in_force = match keys {
        Some(path) => in_force(&key, (&first, replicas), path).and_then(|now| policy(&now))?,
        None => first,
    };
    say(in_force.trim_end());
    Ok(())
}

/// The replicas to which the changes in a keys document lead from the first ones, each verified.
fn in_force(
    key: &Vkey,
    (first, mut replicas): (&str, Vec<Member>),
    path: &Path,
) -> Result<Vec<Member>, Failed> {
    let wrong =
        |why: String| Failed::new(EXIT_UNREADABLE, format!("--keys: {}: {why}", path.display()));
    let bytes = ledger::atomic::read(path, KEYS_BYTES_MAX);
    let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| wrong("no such file".into()))?;
    let document: KeysDocument = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("no keys document: {error}")))?;
    let trust = verify::trust(key, Some(&document)).map_err(|error| wrong(error.to_string()))?;
    let changes = verify::changes(&document.members, &trust.keys);
    let mut policy = Policy::parse(first.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    for ProvenChange { change, verified } in changes.map_err(|error| wrong(error.to_string()))? {
        let sets = (&change.before.members[..], &change.members[..]);
        let followed = policy.follow(sets, &verified.receipt.checkpoint);
        let followed =
            followed.map_err(|error| wrong(format!("change {}: {error}", change.version)))?;
        (policy, replicas) = (followed.policy, change.members);
    }
    Ok(replicas)
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
