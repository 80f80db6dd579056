//! Earlier decisions: what conditions on the history of an agent, a session or a run count (P14, P15).
//!
//! Each decision of ours is in a row with those before it that the same agent, session or run asked for, of the same tool
//! and action. A decision names the rows that it rests on. Posting voids it if one of them changed since it was judged.
//! Pure: everything follows from earlier entries. The policy language is not known here.

mod named;
mod rows;
mod said;
mod track;

pub use named::{ACTIONS_MAX, CallOf, NAMED_MAX, Named, Same, VERDICTS};
pub use rows::{Decided, Row, walk};
pub use said::{Outcome, Reported, outcome_of};
pub use track::Track;

/// Seconds for which a decision is kept in its rows: conditions look back [`WITHIN_SECONDS_MAX`], and a decision may be
/// posted some time after it was judged.
pub const KEPT_SECONDS: u64 = WITHIN_SECONDS_MAX + 86_400;
/// How far a condition may look back, in seconds: 31 days.
pub const WITHIN_SECONDS_MAX: u64 = 31 * 86_400;
