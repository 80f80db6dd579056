//! What has become of an approval.

use super::event::{Decision, Event, Outcome, Reason, Requested};
use crate::quorum::People;
use ledger::{ident::Ident, time::Nanos};
use serde::{Deserialize, Serialize};

/// Where in its life an approval is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing happened yet.
    #[default]
    None,
    /// People are asked.
    Pending,
    /// The quorum is met.
    Granted,
    /// A token lives.
    Minted,
    /// The token was spent; the report is awaited.
    Redeemed,
    /// Reported as done.
    Completed,
    /// Reported as failed or not begun.
    Failed,
    /// Nobody knows what became of the call.
    Unknown,
    /// Refused by people.
    Denied,
    /// Time passed without a quorum.
    Expired,
    /// Not wanted any more.
    Cancelled,
    /// Another rule came into force before the grant.
    Superseded,
    /// Taken back after the grant.
    Revoked,
    /// The execution deadline passed.
    Lapsed,
}

impl Phase {
    /// Whether it waits for something: people, a mint, a redemption, a report. Of an open approval nothing is trimmed.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Granted | Self::Minted | Self::Redeemed)
    }
}

/// One person's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Review {
    /// Who.
    pub by: Ident,
    /// What.
    pub decision: Decision,
    /// Which groups counted then.
    pub groups: Vec<String>,
    /// When the journal took it.
    pub at: Nanos,
}

/// A token of this approval.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub jti: String,
    /// Its key.
    pub kid: String,
    /// From when.
    pub iat: Nanos,
    /// Until when.
    pub exp: Nanos,
}

/// Everything that deciding needs, folded from the events. Serialized only in snapshots: no format for others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where it is.
    pub phase: Phase,
    /// Whose messages these are; `None` before the first.
    pub id: Option<Ident>,
    /// How it began; `None` before that.
    pub requested: Option<Box<Requested>>,
    /// The last answer of each person, in order of names.
    pub reviews: Vec<Review>,
    /// Whose reviews made the quorum.
    pub granted_by: Vec<Ident>,
    /// When it was granted.
    pub granted_at: Option<Nanos>,
    /// From then on nothing is redeemed: as the grant says, or `execute_within` after the journal took it, whichever
    /// is earlier.
    pub execution_deadline: Option<Nanos>,
    /// The newest token; it lives while the phase is `Minted`.
    pub token: Option<Token>,
    /// Tokens made so far.
    pub mints: u32,
    /// The redemption.
    pub redeemed: Option<Redemption>,
    /// From when a report is awaited: the redemption, or when time began anew after it.
    pub report_from: Option<Nanos>,
    /// What the enforcer said became of the call.
    pub report: Option<Outcome>,
    /// The last `clock` entry from which its deadlines count: its leaf index, and when the message that says so was taken.
    pub clock: Option<(u64, Nanos)>,
    /// Whether the reminder was sent.
    pub reminded: bool,
    /// Whether it was escalated.
    pub escalated: bool,
    /// Refused attempts recorded so far.
    pub refusals: u32,
    /// Number of the last message.
    pub n: u64,
    /// `n` of the last message that changed what people see: reviews and phases, not reminders and refused clicks.
    pub version: u64,
    /// When it ended.
    pub ended_at: Option<Nanos>,
    /// Why it ended: the code of a cancellation, revocation or expiry.
    pub end_reason: Option<String>,
    /// Leaf hash (base64) of the entry with the last message: what the next one names as `prev`.
    pub leaf: String,
    /// The history is not one that could have happened.
    pub corrupt: bool,
}

/// A token that was spent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Redemption {
    /// The enforcer's id of it: with the same one it may be asked again what came of it.
    pub redemption_id: String,
    /// The token's id.
    pub jti: String,
    /// When the journal took it.
    pub at: Nanos,
}

impl State {
    /// Before anything happened; `opening_leaf` is the leaf hash (base64) of the decision's entry.
    pub fn begin(opening_leaf: &str) -> Self {
        Self { leaf: opening_leaf.to_owned(), ..Self::default() }
    }

    /// The answer of this person, if there is one.
    pub fn review_by(&self, person: &Ident) -> Option<&Review> {
        self.reviews.iter().find(|review| review.by == *person)
    }

    /// Who said no, in order of names.
    pub fn deniers(&self) -> Vec<Ident> {
        let no = self.reviews.iter().filter(|review| review.decision == Decision::Deny);
        no.map(|review| review.by.clone()).collect()
    }

    /// Who said yes, with the groups that counted then.
    pub fn approvers(&self) -> People {
        let yes = self.reviews.iter().filter(|review| review.decision == Decision::Approve);
        yes.map(|review| (review.by.clone(), review.groups.iter().cloned().collect())).collect()
    }

    /// Who is still needed: `(how many, of which group)`. Empty before the request, and once the quorum is met.
    pub fn needed(&self) -> Vec<(u32, String)> {
        let requested = self.requested.as_ref();
        requested.map_or(vec![], |requested| requested.rule.quorum.needed(&self.approvers()))
    }

    /// Whether this redemption, and no other, is the one that spent the token. To be asked after a `Redeemed` is in
    /// the log: by the journal's time it may have come too late.
    pub fn is_redeemed_by(&self, redemption_id: &str, jti: &str) -> bool {
        self.redeemed
            .as_ref()
            .is_some_and(|done| done.redemption_id == redemption_id && done.jti == jti)
    }

    /// When a missing report counts as unknown; `None` before the redemption.
    pub fn report_deadline(&self) -> Option<Nanos> {
        Some(self.report_from?.plus_seconds(self.requested.as_ref()?.rule.report_within))
    }

    /// When the time to approve began: when it was asked for, or when time began anew.
    fn asked_at(&self) -> Option<Nanos> {
        let asked = self.requested.as_ref()?.requested_at;
        Some(self.clock.map_or(asked, |(_, at)| at))
    }

    /// From then on nothing grants.
    pub fn approval_deadline(&self) -> Option<Nanos> {
        let requested = self.requested.as_ref()?;
        Some(requested.rule.approval_deadline(self.asked_at()?))
    }

    /// Whether time began anew, by the `clock` entry at this leaf index, since its deadlines were set.
    pub(super) fn is_behind(&self, clock: u64) -> bool {
        let since = self.clock.map(|(clock, _)| clock);
        let opened = self.requested.as_ref().map(|requested| requested.opening.index);
        self.phase.is_open() && since.or(opened).is_some_and(|since| since < clock)
    }

    /// When half of the time to approve is over.
    pub fn reminder_at(&self) -> Option<Nanos> {
        Some(self.requested.as_ref()?.rule.reminder_at(self.asked_at()?))
    }

    /// When two thirds of the time to approve are over; `None` if the rule escalates to nobody.
    pub fn escalation_at(&self) -> Option<Nanos> {
        self.requested.as_ref()?.rule.escalation_at(self.asked_at()?)
    }

    /// What a deadline that passed by `now` makes of it: `Expired`, `Lapsed` or nothing.
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

    /// What people see of it: a message that changes this makes a new version.
    pub(super) fn seen(&self) -> impl PartialEq + use<> {
        let said = (self.reviews.len(), self.deniers().len(), self.report);
        (self.phase, said, self.clock, self.corrupt)
    }
}

/// When something happens next by time alone: the moment for the next `Tick`. `None`: never.
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
