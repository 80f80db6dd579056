//! An approval as people see it: the call, who is asked, the phase. The same for the page, Slack and Teams.

mod make;
mod overflow;
mod words;

pub use make::{FrozenCall, Making, page_url};
pub use overflow::{LeftOut, NAMED_MAX, Overflow, Says};
pub use words::{FROZEN, in_words};

use words::cut;
pub(crate) use words::hour;

use crate::{
    display::{Call, Displayed, Field},
    facts::{Fact, Weight},
    setup::Person,
};
use decider::approval::{Choice, Phase};
use ledger::{event::is_reserved_tool, foreign::harmless, ident::Ident, time::Nanos};
use std::time::Duration;

/// Most characters of the sentence in a notification.
const SENTENCE_CHARS_MAX: usize = 90;
/// Most characters of the agent in a notification.
const AGENT_CHARS_MAX: usize = 30;
/// Most characters of who must still approve, in a notification.
const NEEDED_CHARS_MAX: usize = 120;

/// What a card or page shows. [`ledger::foreign`] has made every foreign string in it visible; for names and
/// params, two different strings never look the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Tenant of the approval.
    pub tenant: Ident,
    /// Id of the approval.
    pub approval: Ident,
    /// Version that is shown. A click carries it.
    pub version: u64,
    /// When the card was made.
    pub shown_at: Nanos,
    /// Phase of the approval.
    pub phase: Phase,
    /// Reason code of the end.
    pub end_reason: Option<String>,
    /// `data.tool.name`
    pub tool: String,
    /// `data.tool.action`
    pub action: String,
    /// `data.agent.id`
    pub agent: String,
    /// `data.agent.run`
    pub run: Option<String>,
    /// For example `EUR 1,250.00`, if a display or a rule says which params are amount and currency.
    pub amount: Option<String>,
    /// The sentence and the fields that count.
    pub told: Displayed,
    /// The frozen params, flattened: JSON Pointer and value as it was hashed. Empty if they were erased.
    pub params: Vec<(String, String)>,
    /// True if `params` has all params in full. Otherwise no approve button is shown anywhere.
    pub complete: bool,
    /// The agent's own words (`data.payload.reason`). Nobody has checked them.
    pub agent_says: Option<String>,
    /// The call digest.
    pub digest: String,
    /// What the policies in force say of the call now, if that is something else than when it was judged.
    pub policy_now: Option<String>,
    /// Name of the rule.
    pub rule: String,
    /// Reviews: person's name, choice, time.
    pub reviews: Vec<(String, Choice, Nanos)>,
    /// People still needed, for example `1 of finance`.
    pub needed: Vec<String>,
    /// Approval deadline.
    pub deadline: Nanos,
    /// Execution deadline, once granted.
    pub execution_deadline: Option<Nanos>,
    /// Address of the approval's page.
    pub url: String,
    /// True if the rule demands a review on the page.
    pub browser_only: bool,
    /// True if the call is frozen: it can be denied, and is not released.
    pub frozen: bool,
    /// What the log says of earlier calls, on cards in chats.
    pub facts: Vec<Fact>,
    /// For whom it is drawn.
    pub reader: Reader,
}

/// For whom a card is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// People who are asked.
    #[default]
    Asked,
    /// The same, and notifications say nothing of the call.
    AskedShort,
    /// An owner of the agent, who sees no value of the call and no answer of anybody.
    Owner,
}

/// What an owner of the agent reads under the outcome.
pub(crate) const FOR_OWNER: &str =
    "You own this agent. What it asked for, and who answered, is only for those who are asked.";

impl Card {
    /// The same for an owner of the agent: the outcome, and nothing that `access.md` does not give an owner.
    pub(crate) fn for_owner(self) -> Self {
        let (tool, action) = (self.tool.as_str(), self.action.as_str());
        let told = Displayed::of(None, &Call { tool, action, params: None, amount: None });
        Self {
            told,
            amount: None,
            params: Vec::new(),
            complete: false,
            agent_says: None,
            policy_now: None,
            reviews: Vec::new(),
            needed: Vec::new(),
            facts: Vec::new(),
            reader: Reader::Owner,
            ..self
        }
    }

    /// What a lock screen shows: amount, payee, agent and deadline, as far as the sentence names them; or how it ended.
    /// Foreign text in it is cleaned; it may have signs that a chat reads as markup.
    pub fn notification(&self) -> String {
        let sentence = cut(&self.told.sentence.plain(), SENTENCE_CHARS_MAX);
        let needs = harmless(&cut(&self.needed.join(" and "), NEEDED_CHARS_MAX));
        let phase = decider::words::phase(self.phase, self.end_reason.as_deref());
        match (self.phase, self.reader == Reader::AskedShort) {
            (Phase::Pending, true) if needs.is_empty() => return "A call waits".into(),
            (Phase::Pending, true) => return format!("A call waits for {needs}"),
            (Phase::Pending, false) => {}
            (_, true) => return phase.into(),
            (_, false) => return format!("{phase}: {sentence}"),
        }
        let needs = if needs.is_empty() { needs } else { format!(" \u{b7} needs {needs}") };
        let agent = harmless(&cut(&self.agent, AGENT_CHARS_MAX));
        format!("Approve {sentence}? {agent} \u{b7} by {}{needs}", hour(self.deadline))
    }

    /// The times of the call that have passed: `Due: 12 Nov 2026, passed 18 days ago`.
    pub(crate) fn passed(&self) -> impl Iterator<Item = Fact> {
        let line = |field: &Field| {
            let passed = field.passed(self.shown_at)?;
            Some(Fact::ours(Weight::Own, format!("{}: {}, {passed}", field.label, field.text())))
        };
        self.told.fields.iter().filter_map(line)
    }

    /// First 8 characters of the digest. They are the same on card, page and token, so people can compare
    /// them.
    pub fn digest_prefix(&self) -> &str {
        self.digest.get(..8).unwrap_or(&self.digest)
    }

    /// True if it is about a change of policies, rules or keys.
    pub fn is_ours(&self) -> bool {
        is_reserved_tool(&self.tool)
    }

    /// Whose words [`Card::agent_says`] are.
    pub fn who_says(&self) -> &'static str {
        if self.is_ours() { "The author says" } else { "The agent says (nobody has checked this)" }
    }

    /// True if a chat card has buttons: the whole call fits on it and the rule demands no step-up.
    pub fn decidable(&self) -> bool {
        self.decidable_on_page() && !self.browser_only
    }

    /// True if the page has buttons: people are still asked, the deadline has not passed, and the whole call
    /// is shown.
    pub fn decidable_on_page(&self) -> bool {
        self.phase == Phase::Pending && self.complete && self.shown_at < self.deadline
    }
}

/// Words without buttons: what was found in a log, or that it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Names it, so that it is found again after a post without an answer.
    pub id: Ident,
    /// What it is about, in our own words.
    pub title: String,
    /// A line each. They may have foreign text.
    pub lines: Vec<String>,
    /// What the reader does next, in our own words.
    pub hint: String,
    /// A button that leads to a page of ours: its words, and the address.
    pub link: Option<(&'static str, String)>,
    /// People who are mentioned, as far as they are linked in the chat.
    pub mentions: Vec<Person>,
}

/// Place of a posted card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Slack: channel id. Teams: conversation id.
    pub conversation: String,
    /// Slack: `ts`. Teams: activity id. Webhook: empty.
    pub message: String,
}

/// Why a card was not posted or updated, sorted by what must be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing was posted. Try again, after this time if the chat gave one.
    #[error("try again later ({0})")]
    Later(String, Option<Duration>),
    /// The message no longer exists: post a new one.
    #[error("the message is gone ({0})")]
    Gone(String),
    /// The message can't be changed or no longer exists. Post a new one if people are still asked; otherwise
    /// try again.
    #[error("the message can't be changed ({0})")]
    Locked(String),
    /// The channel refuses our cards: a person must repair that.
    #[error("the channel refuses ({0})")]
    Refused(String),
    /// No answer came: the card may have been posted.
    #[error("no answer")]
    Unknown,
}
