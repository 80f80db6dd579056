//! The state of an approval, folded from its events.

use super::{
    event::{Choice, Event, Outcome, Reason, Requested},
    reason::DenyReason,
};
use crate::quorum::People;
use ledger::{ident::Ident, time::Nanos};
use serde::{Deserialize, Serialize};

/// Phase of an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not requested yet.
    #[default]
    None,
    /// Waits for reviews.
    Pending,
    /// The quorum is met. No token is valid.
    Granted,
    /// Granted, and a token is valid.
    Minted,
    /// The token was redeemed. The outcome is awaited.
    Redeemed,
    /// Reported as succeeded.
    Completed,
    /// Reported as failed or not started.
    Failed,
    /// Reported as unknown, or not reported in time.
    Unknown,
    /// Denied by people.
    Denied,
    /// The approval deadline passed without a quorum.
    Expired,
    /// Withdrawn by the gateway, an admin or a limit.
    Cancelled,
    /// Another rule came into force before the grant.
    Superseded,
    /// The grant was taken back before its redemption.
    Revoked,
    /// The execution deadline passed before a redemption.
    Lapsed,
}

impl Phase {
    /// True if the approval waits for something: people, a mint, a redemption, a report. Messages of an open
    /// approval are never trimmed.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Granted | Self::Minted | Self::Redeemed)
    }
}

/// One person's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Review {
    /// The person.
    pub by: Ident,
    /// The person's choice.
    pub decision: Choice,
    /// The person's groups that the quorum counted.
    pub groups: Vec<String>,
    /// `journal.time` of the review.
    pub at: Nanos,
    /// Why the person denied, if they said so.
    pub reason: Option<DenyReason>,
    /// Leaf index of the evidence entry with the person's words, if there is one.
    pub evidence: Option<u64>,
    /// How many calls the person answered with the same press, if it was on the page of like calls.
    pub together: Option<u32>,
}

/// A question of a person who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Question {
    /// The person.
    pub by: Ident,
    /// `journal.time` of the question.
    pub at: Nanos,
    /// Leaf index of the evidence entry with the words.
    pub evidence: u64,
    /// What was answered.
    pub reply: Option<Reply>,
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reply {
    /// `producer:<name>`, or the owner's principal id.
    pub by: String,
    /// `journal.time` of the answer.
    pub at: Nanos,
    /// Leaf index of the evidence entry with the words.
    pub evidence: u64,
}

/// A token of this approval.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token {
    /// Id of the token.
    pub jti: String,
    /// Id of the key that signs it.
    pub kid: String,
    /// Start of its validity.
    pub iat: Nanos,
    /// End of its validity.
    pub exp: Nanos,
}

/// Everything that deciding needs, folded from the events. It is serialized only in snapshots; it is not a
/// format for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Current phase.
    pub phase: Phase,
    /// Id of the approval. `None` before the first message.
    pub id: Option<Ident>,
    /// The request. `None` before it.
    pub requested: Option<Box<Requested>>,
    /// The last answer of each person, in order of names.
    pub reviews: Vec<Review>,
    /// Questions of people who are asked, in order: question 1 first.
    pub questions: Vec<Question>,
    /// The people whose reviews filled the quorum.
    pub granted_by: Vec<Ident>,
    /// `journal.time` of the grant.
    pub granted_at: Option<Nanos>,
    /// From this time on, nothing can be redeemed. It is the deadline in the grant, or `execute_within` after
    /// the grant's `journal.time`, whichever is earlier.
    pub execution_deadline: Option<Nanos>,
    /// The newest token. It is valid only while the phase is `Minted`.
    pub token: Option<Token>,
    /// Tokens made so far.
    pub mints: u32,
    /// The redemption.
    pub redeemed: Option<Redemption>,
    /// Start of the wait for a report: the redemption, or a later restart of time.
    pub report_from: Option<Nanos>,
    /// The outcome that the enforcer reported.
    pub report: Option<Outcome>,
    /// The last restart of time: leaf index of its `clock` entry, and `journal.time` of the message that
    /// applied it. Deadlines count from there.
    pub clock: Option<(u64, Nanos)>,
    /// True once the reminder event happened.
    pub reminded: bool,
    /// True once the escalation event happened.
    pub escalated: bool,
    /// Number of refused attempts recorded so far.
    pub refusals: u32,
    /// Number of the last message.
    pub n: u64,
    /// `n` of the last message that changed what people see: reviews, questions and phases, but not reminders and refused
    /// clicks.
    pub version: u64,
    /// `journal.time` of the end.
    pub ended_at: Option<Nanos>,
    /// Why it ended: reason code of a cancellation, revocation or expiry.
    pub end_reason: Option<String>,
    /// Leaf hash (base64) of the entry with the last message. The next message names it as `prev`.
    pub leaf: String,
    /// True if the history could not have happened.
    pub corrupt: bool,
}

/// A token that was spent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Redemption {
    /// The enforcer's id of it: with the same one it may be asked again what came of it.
    pub redemption_id: String,
    /// The token's id.
    pub jti: String,
    /// `journal.time` of the review.
    pub at: Nanos,
}

impl State {
    /// The state before the first message. `opening_leaf` is the leaf hash (base64) of the decision's entry.
    pub fn begin(opening_leaf: &str) -> Self {
        Self { leaf: opening_leaf.to_owned(), ..Self::default() }
    }

    /// The person's review, if there is one.
    pub fn review_by(&self, person: &Ident) -> Option<&Review> {
        self.reviews.iter().find(|review| review.by == *person)
    }

    /// The first question without an answer, while people are asked: its number.
    pub fn unanswered(&self) -> Option<u32> {
        let open = |question: &Question| question.reply.is_none();
        let place = self.questions.iter().position(open).filter(|_| self.phase == Phase::Pending);
        place.and_then(|place| u32::try_from(place + 1).ok())
    }

    /// Place of the question with this number.
    pub(super) fn place(&self, number: u32) -> Option<usize> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        (place < self.questions.len()).then_some(place)
    }

    /// People who denied, sorted by name.
    pub fn deniers(&self) -> Vec<Ident> {
        let no = self.reviews.iter().filter(|review| review.decision == Choice::Deny);
        no.map(|review| review.by.clone()).collect()
    }

    /// People who approved, with the groups that were counted.
    pub fn approvers(&self) -> People {
        let yes = self.reviews.iter().filter(|review| review.decision == Choice::Approve);
        yes.map(|review| (review.by.clone(), review.groups.iter().cloned().collect())).collect()
    }

    /// People who are still needed: `(how many, of which group)`. Empty before the request, and once the
    /// quorum is met.
    pub fn needed(&self) -> Vec<(u32, String)> {
        let requested = self.requested.as_ref();
        requested.map_or(vec![], |requested| requested.rule.quorum.needed(&self.approvers()))
    }

    /// True if exactly this redemption redeemed the token. Ask only once a `Redeemed` event is in the log: by
    /// the journal's time it may have come too late.
    pub fn is_redeemed_by(&self, redemption_id: &str, jti: &str) -> bool {
        self.redeemed
            .as_ref()
            .is_some_and(|done| done.redemption_id == redemption_id && done.jti == jti)
    }

    /// Time at which a missing report counts as unknown. `None` before the redemption.
    pub fn report_deadline(&self) -> Option<Nanos> {
        Some(self.report_from?.plus_seconds(self.requested.as_ref()?.rule.report_within))
    }

    /// Start of the time to approve: the request, or a later restart of time.
    fn asked_at(&self) -> Option<Nanos> {
        let asked = self.requested.as_ref()?.requested_at;
        Some(self.clock.map_or(asked, |(_, at)| at))
    }

    /// From this time on, nothing grants the approval.
    pub fn approval_deadline(&self) -> Option<Nanos> {
        let requested = self.requested.as_ref()?;
        Some(requested.rule.approval_deadline(self.asked_at()?))
    }

    /// True if the `clock` entry at this leaf index restarted time after the deadlines were set.
    pub(super) fn is_behind(&self, clock: u64) -> bool {
        let since = self.clock.map(|(clock, _)| clock);
        let opened = self.requested.as_ref().map(|requested| requested.opening.index);
        self.phase.is_open() && since.or(opened).is_some_and(|since| since < clock)
    }

    /// Time at which half of the time to approve is over.
    pub fn reminder_at(&self) -> Option<Nanos> {
        Some(self.requested.as_ref()?.rule.reminder_at(self.asked_at()?))
    }

    /// Time at which two thirds of the time to approve are over. `None` if the rule has no `escalate`
    /// channels.
    pub fn escalation_at(&self) -> Option<Nanos> {
        self.requested.as_ref()?.rule.escalation_at(self.asked_at()?)
    }

    /// The event for a deadline that passed by `now`: `Expired`, `Lapsed` or none.
    pub(super) fn overdue(&self, now: Nanos) -> Option<Event> {
        match self.phase {
            Phase::Pending => {
                let passed = now >= self.approval_deadline()?;
                passed.then_some(Event::Expired { reason: Reason::Deadline })
            }
            Phase::Granted | Phase::Minted => {
                (now >= self.execution_deadline?).then_some(Event::Lapsed)
            }
            _ => None,
        }
    }

    /// The part of the state that people see. A message that changes it makes a new version.
    pub(super) fn seen(&self) -> impl PartialEq + use<> {
        let said = (self.reviews.len(), self.deniers().len(), self.report);
        let replies = self.questions.iter().filter(|question| question.reply.is_some()).count();
        (self.phase, said, (self.questions.len(), replies), self.clock, self.corrupt)
    }
}

/// Time of the next `Tick` that will change something. `None` if time alone changes nothing.
pub fn next_tick(state: &State) -> Option<Nanos> {
    if state.corrupt {
        return None;
    }
    let token_end = state.token.as_ref().map(|token| token.exp);
    let times = match state.phase {
        Phase::Pending => [
            state.approval_deadline(),
            state.reminder_at().filter(|_| !state.reminded),
            state.escalation_at().filter(|_| !state.escalated),
        ],
        Phase::Granted => [state.execution_deadline, None, None],
        Phase::Minted => [state.execution_deadline, token_end, None],
        Phase::Redeemed => [state.report_deadline(), None, None],
        _ => [None; 3],
    };
    times.into_iter().flatten().min()
}
