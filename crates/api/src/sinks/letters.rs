//! Letters: records that a receiver refused, with its words. They stay until they are sent again.

use ledger::{Ledger, ident::Ident, store, tenant::Tenant, time::Nanos};
use serde::{Deserialize, Serialize};

/// Most letters of a sink. Then it stands still: nothing is thrown away.
pub const LETTERS_MAX: usize = 10_000;

/// A record that the receiver refused. Its entry is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// When, as RFC 3339.
    pub time: String,
    /// The receiver's words, shortened and harmless. They can repeat what was in the record.
    pub says: String,
}

/// Keeps letters.
pub fn keep(
    ledger: &Ledger,
    tenant: &Tenant,
    sink: &Ident,
    refused: &[(u64, String)],
    now: Nanos,
) -> Result<(), store::Error> {
    if refused.is_empty() {
        return Ok(());
    }
    let letter = |says: &String| {
        serde_json::to_vec(&Letter { time: now.to_string(), says: says.clone() }).ok()
    };
    let rows = refused.iter().map(|(index, says)| (*index, letter(says)));
    ledger.change_letters(tenant, sink, rows)
}

/// Keeps letters that an entry names, where they are not there.
pub fn keep_named(
    ledger: &Ledger,
    tenant: &Tenant,
    (sink, entry): (&Ident, u64),
    refused: &[u64],
) -> Result<(), store::Error> {
    let says = format!("refused before this database was restored or made: see entry {entry}");
    let is_there = |index: u64| {
        let found = ledger.letters(tenant, sink, (index, 1))?;
        Ok::<_, store::Error>(found.first().is_some_and(|(found, _)| *found == index))
    };
    let mut missing = Vec::new();
    for index in refused {
        if !is_there(*index)? {
            missing.push((*index, says.clone()));
        }
    }
    keep(ledger, tenant, sink, &missing, ledger.now())
}

/// Removes those that were taken now: all in the range but the ones that were refused again.
pub fn taken(
    ledger: &Ledger,
    tenant: &Tenant,
    sink: &Ident,
    (from, to): (u64, u64),
    refused: &[(u64, String)],
) -> Result<(), store::Error> {
    let found = ledger.letters(tenant, sink, (from, LETTERS_MAX))?;
    let again = |index: u64| refused.iter().any(|(refused, _)| *refused == index);
    let gone =
        found.into_iter().map(|(index, _)| index).filter(|index| *index < to && !again(*index));
    let gone: Vec<(u64, Option<Vec<u8>>)> = gone.map(|index| (index, None)).collect();
    if gone.is_empty() { Ok(()) } else { ledger.change_letters(tenant, sink, gone) }
}

/// How many there are.
pub fn count(ledger: &Ledger, tenant: &Tenant, sink: &Ident) -> Result<usize, store::Error> {
    Ok(ledger.letters(tenant, sink, (0, LETTERS_MAX))?.len())
}
