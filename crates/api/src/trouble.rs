//! What can be wrong with a tenant, as a code and in words.

use serde::Serialize;

/// Every code of a [`Trouble`].
pub const CODES: [&str; 30] = [
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
    "policy_unreadable",
    "unreviewed_policies",
    "source_silent",
    "sink_stands_still",
    "channel_refuses",
    "witness_conflict",
    "witness_away",
    "no_quorum",
    "journal_hole",
    "replicas_differ",
    "register_ignored",
    "replica_away",
    "not_a_member",
    "members_differ",
    "members_uneven",
    "spool",
    "told_unrecorded",
    "told_void",
];

/// A rule in force changes policies without review. It is meant so, and must stay visible: health warns of it for
/// ever, and stays green.
pub const UNREVIEWED: &str = "unreviewed_policies";

/// A fault of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Stable code (`proto/errors.md`).
    pub code: &'static str,
    /// For the operator: what is wrong, and what to do.
    pub detail: String,
}
