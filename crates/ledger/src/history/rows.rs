//! Rows of earlier decisions, in the family `history`.

use super::{named::Same, said::Outcome};
use crate::{
    canonical,
    ident::Ident,
    store::{self, Family, LogNumber, Read},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// A decision, as its rows keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// `journal.time` of its entry.
    pub at: Nanos,
    /// Its verdict.
    pub verdict: String,
    /// The first outcome that was reported, and the leaf index of the entry that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<(Outcome, u64)>,
    /// The gateway whose call it is: only its reports count.
    pub(super) producer: String,
    /// The rows that it is in.
    pub(super) rows: Vec<Link>,
    /// The approval that it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) approval: Option<Ident>,
    /// The next decision of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u64>,
}

impl Decided {
    /// A decision in no row of a log: for tests of policies.
    pub fn alone(at: Nanos, verdict: &str, outcome: Option<Outcome>) -> Self {
        let outcome = outcome.map(|outcome| (outcome, 0));
        let (verdict, producer, rows) = (verdict.to_owned(), String::new(), Vec::new());
        Self { at, verdict, outcome, producer, rows, approval: None, next: None }
    }
}

/// The place of a decision in one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    pub(super) row: Row,
    /// The decision before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<u64>,
}

/// Which decisions are in one row: those about calls of this agent, session or run, of one tool and action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What `id` names.
    pub same: Same,
    /// The agent, session or run.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// Its action.
    pub action: String,
}

/// The end of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// Its last decision.
    pub(super) last: u64,
    /// The last decision with each verdict.
    pub(super) decided: BTreeMap<String, u64>,
    /// The last entry that reported an outcome of a decision with each verdict.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) reported: BTreeMap<String, u64>,
}

/// The decisions that are kept, oldest first.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Key of the decisions that are kept.
pub(super) const KEPT: &[u8] = b"w";

impl Row {
    /// Key of its head, without the log.
    pub(super) fn key(&self) -> Vec<u8> {
        let Self { same, id, tool, action } = self;
        let text = canonical::of(&json!([same.as_str(), id, tool, action]));
        [&b"h"[..], &Sha256::digest(text)].concat()
    }
}

/// Key of a decision, without the log.
pub(super) fn decided_key(index: u64) -> Vec<u8> {
    [&b"d"[..], &index.to_be_bytes()].concat()
}

/// Key of the decision that opened an approval, without the log.
pub(super) fn approval_key(id: &Ident) -> Vec<u8> {
    [&b"a"[..], id.as_str().as_bytes()].concat()
}

pub(super) fn get<T: serde::de::DeserializeOwned>(
    rows: &dyn Read,
    number: LogNumber,
    key: &[u8],
) -> Result<Option<T>, store::Error> {
    let row = rows.get(Family::History, &number.key(key))?;
    row.map(|row| store::read_json(&row, "history")).transpose()
}

/// Visits the decisions of a row, latest first, until `visit` returns false.
pub fn walk(
    rows: &dyn Read,
    number: LogNumber,
    row: &Row,
    visit: &mut dyn FnMut(u64, &Decided) -> bool,
) -> Result<(), store::Error> {
    let head: Option<Head> = get(rows, number, &row.key())?;
    let mut at = head.map(|head| head.last);
    while let Some(index) = at {
        // What is not kept any more is older than any condition looks back.
        let Some(decided) = get::<Decided>(rows, number, &decided_key(index))? else { break };
        if !visit(index, &decided) {
            break;
        }
        let link = decided.rows.into_iter().find(|link| link.row == *row);
        at = link.and_then(|link| link.before).filter(|before| *before < index);
    }
    Ok(())
}
