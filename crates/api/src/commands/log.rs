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
    log::{
        members::MemberSet,
        note::Vkey,
        policy::{self, Policy},
    },
    verify::{self, Following, KeysDocument, range},
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
    let replicas = replicas.map_err(|why| Failed::new(EXIT_CONFIG, why))?.map(MemberSet::first);
    let key = self::key(key)?;
    let replicas = match (replicas, keys) {
        (Some(first), Some(path)) => Some(in_force(&key, first, path)?),
        (first, _) => first,
    };
    let policy = witness::first_policy(&key, replicas.as_ref(), &file.witness);
    say(policy.map_err(|why| Failed::new(EXIT_FAILED, why))?.trim_end());
    Ok(())
}

/// The replicas to which the changes in a keys document lead from those of the configuration, each verified. They may be from before
/// the given key: the keys that lead to it are the document's own, and each step is cosigned by the replicas before it.
fn in_force(key: &Vkey, first: MemberSet, path: &Path) -> Result<MemberSet, Failed> {
    let wrong =
        |why: String| Failed::new(EXIT_UNREADABLE, format!("--keys: {}: {why}", path.display()));
    let bytes = ledger::atomic::read(path, KEYS_BYTES_MAX);
    let bytes = bytes.map_err(|error| wrong(error.to_string()))?;
    let bytes = bytes.ok_or_else(|| wrong("no such file".into()))?;
    let document: KeysDocument = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("no keys document: {error}")))?;
    verify::trust(key, Some(&document)).map_err(|error| wrong(error.to_string()))?;
    let keys = range::trust_of_itself(&document).map_err(|error| wrong(error.to_string()))?;
    let changes = verify::changes(&document.members, &keys);
    let changes = changes.map_err(|error| wrong(error.to_string()))?;
    let policy = policy::first(&[], Some(&first), &[]);
    let policy = Policy::parse(policy.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let mut following = Following::new(policy, key.name());
    following.follow(&changes).map_err(wrong)?;
    following.at(u64::MAX).map_err(|why| wrong(why.to_owned()))?;
    Ok(following.steps().last().map_or(first, |step| step.set.clone()))
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
