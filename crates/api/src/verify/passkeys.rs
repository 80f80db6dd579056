//! The passkeys that signed answers of one approval, proven by the entries that enrolled them.

use super::{Failure, refused};
use crate::terminal::{good, harmless};
use decider::approval::Audit;
use ledger::system::{AccessKey, By};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};

/// Name of a file, before the leaf index.
const NAME: &str = "passkey-";

/// The leaf index in a file's name, without its ending.
pub(super) fn index_of(stem: &str) -> Option<u64> {
    let text = stem.strip_prefix(NAME)?;
    text.parse().ok().filter(|index: &u64| index.to_string() == text)
}

/// Passkeys with the leaf indexes of their entries. Every signature by them is verified.
#[derive(Default)]
pub(super) struct Passkeys(Vec<(u64, AccessKey)>);

impl Passkeys {
    /// Reads the entry of each passkey of a history, and verifies what it signed. `there`: the indexes that the folder has.
    pub(super) fn read(
        (folder, there): (&Path, &BTreeSet<u64>),
        audit: &Audit,
        mut proven: impl FnMut(&str) -> Result<(u64, Vec<u8>), Failure>,
    ) -> Result<Self, Failure> {
        let place = |name: &str| folder.join(name).display().to_string();
        let wanted: BTreeSet<u64> = audit.enrolments().into_iter().collect();
        if let Some(other) = there.difference(&wanted).next() {
            let name = format!("{NAME}{other}.tlog-proof");
            return Err(refused(&place(&name), &"no answer of this approval names this entry"));
        }
        let mut passkeys = Vec::new();
        for index in wanted {
            let name = format!("{NAME}{index}.tlog-proof");
            if !there.contains(&index) {
                let text = format!(
                    "an answer is signed by the passkey of entry {index}: there is no {name}"
                );
                return Err(refused(&folder.display().to_string(), &text));
            }
            let (found, entry) = proven(&name)?;
            if found != index {
                return Err(refused(&place(&name), &"it proves another entry than its name says"));
            }
            let key = audit.check_passkey(index, &entry);
            passkeys.push((index, key.map_err(|error| refused(&place(&name), &error))?));
        }
        Ok(Self(passkeys))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lines for people.
    pub(super) fn lines(&self, audit: &Audit) -> Vec<String> {
        let line = |(index, key): &(u64, AccessKey)| {
            let of = |(n, signature): (u64, decider::approval::Signature<'_>)| {
                (signature.signed.enrolled.index == *index).then(|| n.to_string())
            };
            let messages: Vec<String> = audit.signatures().filter_map(of).collect();
            let person = key.person.as_ref().map(ToString::to_string).unwrap_or_default();
            format!(
                "  {}'s key, {}: passkey {} {}, in force by entry {index} ({}), signed message {}",
                harmless(&person),
                good("verified"),
                key.key_id,
                harmless(&format!("{:?}", key.name)),
                harmless(&approved_by(&key.by)),
                messages.join(", ")
            )
        };
        self.0.iter().map(line).collect()
    }

    /// The same as JSON.
    pub(super) fn item(&self) -> Vec<Value> {
        let item = |(index, key): &(u64, AccessKey)| json!({"index": index, "key_id": key.key_id, "person": key.person, "name": key.name, "by": key.by});
        self.0.iter().map(item).collect()
    }
}

/// Who put a passkey in force.
fn approved_by(by: &By) -> String {
    match by {
        By::Key { approval: Some(approval), .. } => format!("people approved it: {approval}"),
        By::Key { key, person: Some(person), .. } => format!("by {person} with key {key}"),
        By::Key { key, .. } => format!("by key {key}"),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
