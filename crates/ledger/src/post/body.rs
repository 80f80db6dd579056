//! Bodies of signed messages, and the entries that hold them as they are.

use super::{Prepared, form};
use crate::{
    disclosure::Scope,
    entry::{Draft, Kind},
    journal::Subject,
    json,
};
use serde::de::DeserializeOwned;

/// Reads a body: strict JSON that is exactly one of our types.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    json::parse(body).ok()?;
    serde_json::from_slice(body).ok()
}

/// The scope of the salts of a message on `subject`.
pub(super) fn scope(subject: &Subject) -> Scope<'static> {
    form::scope(match subject {
        Subject::Decisions(_) => "decisions",
        Subject::Approvals(_) => "approvals",
        Subject::Evidence(_) => "evidence",
        Subject::System(_) => "system",
        Subject::Verdicts { .. } => "verdicts",
    })
}

/// The entry's `event` is the body itself. `None` if the body can't be one.
pub(super) fn plain_draft(kind: Kind, message: &Prepared, subject: &Subject) -> Option<Draft> {
    let body = json::parse(&message.body).ok()?;
    form::plain_draft(kind, &body, (&message.seed, scope(subject)))
}
