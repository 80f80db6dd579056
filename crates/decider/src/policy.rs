//! Policies: what agents may do, as files that people review (`proto/formats/policy.md`).
//!
//! In scope: reading the files strictly, and judging a call. Pure: the same call, facts and files give the same
//! verdict for ever (P15). Out of scope: reading folders, clocks and time zones (the edge hands in [`Facts`]),
//! who must approve (`rule`).

mod access;
mod agents;
mod bounds;
mod bundle;
pub mod cases;
mod clause;
mod condition;
mod detect;
mod detectors;
mod diff;
mod early;
mod egress;
mod encoded;
mod facts;
mod fields;
mod form;
mod history;
mod identity;
mod inquiry;
mod judge;
mod label;
mod limit;
mod limited;
mod list;
mod mistakes;
mod on;
mod opened;
mod owned;
mod param;
mod parent;
mod pattern;
mod pointer;
mod proven;
mod recorded;
mod redact;
mod redacted;
mod rego;
mod replay;
mod report;
mod request;
mod returned;
mod ruling;
mod sanitize;
mod simulated;
mod times;
mod tools;
mod wanted;
mod windows;
mod yaml;

pub use access::{NoToken, Permission, Reach};
pub use bundle::{Bundle, BundleFile, Source};
pub use clause::{Clause, Then};
pub use diff::{Change, Consequence, all_new, diff};
pub use early::{Early, Why};
pub use facts::{Facts, Local};
pub use history::{COUNT_MAX, Counted, EQUAL_READ_MAX, Past, Query, READ_MAX, Unknown, count};
pub use inquiry::{AGENT_TOKEN_BYTES_MAX, Inquiry, check_members};
pub use judge::{ClauseTruth, Ground, Judgement, Redacted};
pub use limited::{BUDGET_EXCEEDED, Limited, RATE_LIMITED, RateOf, Stock};
pub use list::{
    CHANGED_MAX, ITEM_BYTES_MAX, ListProposal, OwnList, OwnLists, fault_of, file_of,
    items_alone_in, items_of,
};
pub use mistakes::Mistake;
pub use proven::{Likeness, ParentFact, Proven, TokenFact, TokenFault};
pub use redacted::{Redaction, Redactions, Said, Shadow, Tokens};
pub use rego::RegoExport;
pub use replay::{Believed, Differs, Running, check_named, explained, judged_by, replay, simulate};
pub use report::Returned;
pub use request::Request;
pub use returned::{NOT_PERMITTED, replay_result};
pub use ruling::{CONTENDED, Decided, FROZEN, NO_POLICY, REPORT_WITHIN_SECONDS, Ruling};
pub use simulated::{Changed, Simulated, named};
pub use windows::Span;

/// The version of the language that the files are written in. A verifier keeps every version for ever.
pub const LANGUAGE: i64 = 1;
/// Largest file, in bytes: one part of a bundle is the payload of one entry.
pub const FILE_BYTES_MAX: usize = 192 << 10;
/// Most files of one bundle.
pub const FILES_MAX: usize = 256;
/// Most clauses of one bundle.
pub const CLAUSES_MAX: usize = 1_000;
/// Most agents.
pub const AGENTS_MAX: usize = 10_000;
/// Most items of all lists together.
pub const ITEMS_MAX: usize = 100_000;
/// Deepest nesting of a file.
pub const DEPTH_MAX: usize = 32;
/// Longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 10 << 10;
/// Most agents of a chain.
pub const CHAIN_MAX: usize = 16;
/// Longest id of a policy, clause, group, list or tier, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest title or message, in characters.
pub const TEXT_CHARS_MAX: usize = 500;
