//! The life of one approval (design §8): commands in, events out, states in between.
//!
//! ```text
//!            Request               quorum met              Mint             Redeem
//!   (none) ─────────► Pending ────────────────► Granted ─────────► Minted ─────────► Redeemed ─► Completed | Failed | Unknown
//!                        │ deny threshold: Denied        │ ▲ token lapsed │
//!                        │ cancel: Cancelled             │ └──────────────┤
//!                        │ other rule: Superseded        ├────────────────┴─ revoke, other rule: Revoked
//!                        └ approval deadline: Expired    └─ execution deadline: Lapsed
//! ```

mod command;
mod event;
mod state;

pub use command::{Answer, Command, Refusal, World};
pub use event::{
    Auth, Decision, Event, Message, Method, Opening, Outcome, Reason, Requested, Summary, Via,
};
pub use state::{Phase, Review, State, Token};

/// Most tokens minted for one approval.
pub const MINTS_MAX: u32 = 3;
/// Most refused clicks and redemptions that are recorded in one approval; more are refused without an event.
pub const REFUSALS_RECORDED_MAX: u32 = 20;
/// Longest reason code, in bytes.
pub const REASON_BYTES_MAX: usize = 64;
