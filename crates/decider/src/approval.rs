//! The life of one approval (design §8): commands in, events out, states in between.
//!
//! ```text
//!            Request               quorum met              Mint             Redeem
//!   (none) ─────────► Pending ────────────────► Granted ─────────► Minted ─────────► Redeemed ─► Completed | Failed | Unknown
//!                        │ deny threshold: Denied        │ ▲ token lapsed │
//!                        │ cancel: Cancelled             │ └──────────────┤
//!                        │ other rule: Superseded        ├────────────────┼─ revoke, other rule: Revoked
//!                        └ approval deadline: Expired    ├────────────────┼─ cancel: Cancelled
//!                                                        └────────────────┴─ execution deadline: Lapsed
//! ```

mod audit;
mod audit_all;
mod command;
mod decide;
mod event;
mod evolve;
mod glance;
mod reason;
mod signed;
mod state;

pub use audit::{Audit, Fault, Step};
pub use audit_all::AuditAll;
pub use command::{Answer, Command, PolicyNow, Refusal, Replier, World};
pub use event::{
    Auth, Choice, DISPLAYED_DIGEST_MIN, Event, Message, Method, Opening, Outcome, Reason,
    Requested, Summary, VERSION, Via,
};
pub use evolve::fold;
pub use glance::Glance;
pub use reason::DenyReason;
pub use signed::Signature;
pub use state::{Phase, Question, Redemption, Reply, Review, State, Token, next_tick};

use crate::{Decided, Decider};
use ledger::{ident::Ident, time::Nanos};

/// Most tokens minted for one approval.
pub const MINTS_MAX: u32 = 3;
/// Most refused clicks and redemptions that are recorded in one approval; more are refused without an event.
pub const REFUSALS_RECORDED_MAX: u32 = 20;
/// Most questions of one approval.
pub const QUESTIONS_MAX: u32 = 5;
/// Most calls that a person answers with one press, on the page of like calls.
pub const TOGETHER_MAX: u32 = 50;
/// Longest reason code, in bytes.
pub const REASON_BYTES_MAX: usize = 64;
/// Longest token id, redemption id, key id or name of who acts, in bytes.
pub const ID_BYTES_MAX: usize = 128;
/// How far a token's `iat` may be ahead of the worker's clock, in seconds. Clocks of two workers differ.
pub const CLOCK_SKEW_MAX: u64 = 30;

/// The life of an approval.
#[derive(Clone, Copy, Debug)]
pub struct Approval;

impl Decider for Approval {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn initial() -> State {
        State::default()
    }

    fn decide(state: &State, command: &Command) -> Decided<Event, Refusal> {
        decide::decide(state, command)
    }

    fn evolve(state: State, event: &Event, at: Nanos) -> State {
        evolve::evolve(state, event, at)
    }

    /// A late report may still change `Unknown`, so `Unknown` is not terminal.
    fn is_terminal(state: &State) -> bool {
        match state.phase {
            Phase::None | Phase::Pending | Phase::Granted | Phase::Minted | Phase::Redeemed => {
                false
            }
            Phase::Unknown => state.report.is_some(),
            Phase::Completed
            | Phase::Failed
            | Phase::Denied
            | Phase::Expired
            | Phase::Cancelled
            | Phase::Superseded
            | Phase::Revoked
            | Phase::Lapsed => true,
        }
    }
}

/// The name of a producer who acts: `producer:<name>`.
pub fn producer(name: &Ident) -> String {
    format!("producer:{name}")
}

/// True if `text` may be a reason: 1 to [`REASON_BYTES_MAX`] of `a-z`, `0-9` and `_`. Prose of the sender
/// never fits.
pub fn is_code(text: &str) -> bool {
    let code = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=REASON_BYTES_MAX).contains(&text.len()) && text.bytes().all(code)
}

/// True if `text` may be an id: 1 to [`ID_BYTES_MAX`] printable ASCII characters.
pub fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
