//! An approval as people see it: what is asked, of whom, how it stands. The same for the page, Slack and Teams.

mod make;
mod money;
mod params;
mod words;

pub use make::{FrozenCall, Making};
pub use words::in_words;

use decider::approval::{Decision, Phase};
use ledger::{ident::Ident, time::Nanos};
use std::time::Duration;

/// What a card or page shows. Every foreign string in it was made visible by [`ledger::foreign`]: names and params so that
/// two that differ never look the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Whose.
    pub tenant: Ident,
    /// Which.
    pub approval: Ident,
    /// The version shown; a click carries it.
    pub version: u64,
    /// When it was made.
    pub shown_at: Nanos,
    /// Where it stands.
    pub phase: Phase,
    /// Why it ended, as a code.
    pub end_reason: Option<String>,
    /// `data.tool.name`
    pub tool: String,
    /// `data.tool.action`
    pub action: String,
    /// `data.agent.id`
    pub agent: String,
    /// `data.agent.run`
    pub run: Option<String>,
    /// `EUR 1,250.00`, where the rule says which params are amount and currency.
    pub amount: Option<String>,
    /// The frozen params, flattened: JSON Pointer and value as it was hashed. Empty when they are gone.
    pub params: Vec<(String, String)>,
    /// Whether `params` is all of them, in full. Without that there is no approve button anywhere.
    pub complete: bool,
    /// What the agent says about it (`data.payload.reason`); not checked by anybody.
    pub agent_says: Option<String>,
    /// The call digest.
    pub digest: String,
    /// The rule's name.
    pub rule: String,
    /// Who answered: name, answer, when.
    pub reviews: Vec<(String, Decision, Nanos)>,
    /// Who is still needed: `1 of finance`.
    pub needed: Vec<String>,
    /// Approval deadline.
    pub deadline: Nanos,
    /// Execution deadline, once granted.
    pub execution_deadline: Option<Nanos>,
    /// The page.
    pub url: String,
    /// Whether a review must happen on the page.
    pub browser_only: bool,
}

impl Card {
    /// The digest's first 8 characters: the same on card, page and token, for people to compare.
    pub fn digest_prefix(&self) -> &str {
        self.digest.get(..8).unwrap_or(&self.digest)
    }

    /// Whether the card has buttons to decide: in chat only if all fits and no step-up is asked.
    pub fn decidable(&self) -> bool {
        self.decidable_on_page() && !self.browser_only
    }

    /// Whether the page has them: people are still asked, in time, and all of the call is there to see.
    pub fn decidable_on_page(&self) -> bool {
        self.phase == Phase::Pending && self.complete && self.shown_at < self.deadline
    }
}

/// More than ten new cards a minute become one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// How many wait.
    pub waiting: usize,
    /// The inbox.
    pub url: String,
}

/// A card that was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Slack: channel id. Teams: conversation id.
    pub conversation: String,
    /// Slack: `ts`. Teams: activity id. Webhook: empty.
    pub message: String,
}

/// Why a card was not posted or updated, by what must be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing was posted; try again, after this time if the other side said so.
    #[error("try again later ({0})")]
    Later(String, Option<Duration>),
    /// The message is gone: post anew.
    #[error("the message is gone ({0})")]
    Gone(String),
    /// The message can't be changed, or is gone: post anew where people are still asked, try again where they are not.
    #[error("the message can't be changed ({0})")]
    Locked(String),
    /// This channel does not take our cards: a person must repair it.
    #[error("the channel refuses ({0})")]
    Refused(String),
    /// No answer: it may have been posted.
    #[error("no answer")]
    Unknown,
}
