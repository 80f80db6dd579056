//! What can be wrong with a tenant, as a code and in words.

use serde::Serialize;

/// Every code of a [`Trouble`].
pub const CODES: [&str; 12] = [
    "log_halted",
    "catching_up",
    "journal_unavailable",
    "journal_refuses",
    "posting_stuck",
    "posting_behind",
    "clock",
    "starting",
    "rules_not_in_force",
    "key_missing",
    "damaged",
    "unsigned_messages",
];

/// A fault of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Stable code (`proto/errors.md`).
    pub code: &'static str,
    /// For the operator: what is wrong, and what to do.
    pub detail: String,
}
