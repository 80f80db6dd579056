//! Cards in chats: what should be seen against what was sent, compared again whenever something changes.
//!
//! What was sent is evidence of the approval (`evidence.<id>`, member `card`): a claim before a card is posted, where it
//! is afterwards, and which version it shows. So a crash between any two steps loses nothing: whoever looks next finds
//! a claim without a place, looks for the card in the chat, and posts it if it is not there. A second card is harmless.

mod chat;
mod gate;
mod send;

pub use gate::{BURST_MAX, BURST_WINDOW};

use crate::{
    cards::Posted,
    history::Approval,
    setup::{Channel, Person, Setup},
    slack, teams,
    teams::webhook::Webhook,
};
use decider::approval::Phase;
use ledger::{entry::Payload, ident::Ident, time::Nanos};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Instant,
};

/// The chats of the configuration, opened, by the names of their connections.
#[derive(Default)]
pub struct Chats {
    /// Slack apps.
    pub slack: BTreeMap<String, slack::Connection>,
    /// Teams bots.
    pub teams: BTreeMap<String, teams::Connection>,
    /// Workflows webhooks.
    pub webhooks: BTreeMap<String, Webhook>,
}

/// What happened to one card, as it stands in the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    /// A worker is about to post it.
    Planned {
        /// Which worker: random at its start.
        worker: String,
        /// When.
        at: Nanos,
    },
    /// It is there, and shows this version.
    Posted {
        /// Where.
        conversation: String,
        /// Which message.
        message: String,
        /// `State::version`
        version: u64,
    },
    /// It shows this version now.
    Updated {
        /// `State::version`
        version: u64,
    },
    /// It is one of many: a link to the inbox stands for it.
    InDigest,
    /// The message is gone; while people are asked, it is posted anew.
    Gone,
    /// The channel does not take it: a person must repair that. It is tried again, with growing pauses; told once for a
    /// channel and reason, until a message is taken.
    Refused {
        /// The other side's code.
        code: String,
    },
}

/// One step with the card it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Which card of the approval: see [`Line`].
    pub line: String,
    /// Through which connection.
    pub connection: Ident,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

/// What is known of one card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub connection: Option<Ident>,
    /// A claim without an outcome.
    pub planned: Option<(String, Nanos)>,
    /// Where it is.
    pub posted: Option<Posted>,
    /// The version it shows.
    pub version: u64,
    pub in_digest: bool,
    pub refused: Option<String>,
}

impl Seen {
    /// Whether people may have it before them.
    fn may_be_there(&self) -> bool {
        self.posted.is_some() || self.planned.is_some()
    }
}

/// Cards of one approval, by line.
pub(crate) type Cards = BTreeMap<String, Seen>;

/// Folds what was told of cards; evidence that was erased, or is about something else, tells nothing.
pub(crate) fn fold(cards: &mut Cards, payload: &Payload) {
    let told = payload.value("card").map(|card| serde_json::from_slice::<Told>(&card));
    let Some(Ok(Told { line, connection, step })) = told else { return };
    let seen = cards.entry(line).or_default();
    seen.connection = Some(connection);
    match step {
        Step::Planned { worker, at } => seen.planned = Some((worker, at)),
        Step::Posted { conversation, message, version } => {
            *seen = Seen { connection: seen.connection.take(), ..Seen::default() };
            seen.posted = Some(Posted { conversation, message });
            seen.version = version;
        }
        Step::Updated { version } => (seen.version, seen.refused) = (version, None),
        Step::InDigest => (seen.in_digest, seen.planned) = (true, None),
        Step::Gone => *seen = Seen { connection: seen.connection.take(), ..Seen::default() },
        Step::Refused { code } => (seen.refused, seen.planned) = (Some(code), None),
    }
}

/// A card that should be there: its name within the approval, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// `<channel>`, `<channel>/reminder`, or `owner/<person>/<connection>`.
    pub name: String,
    /// Where.
    pub channel: Channel,
}

impl Line {
    /// Whether it tells an owner what became of it, and asks nobody.
    fn is_owners(&self) -> bool {
        self.name.starts_with("owner/")
    }
}

/// The cards that an approval should have.
///
/// Channels of the rule at once; those of `escalate` once it is escalated; every one of them a second time once people
/// were reminded and are still asked; and the agent's owners, once it is decided: they are told, and can do nothing.
pub(crate) fn wanted(approval: &Approval, setup: &Setup, chats: &Chats, had: &Cards) -> Vec<Line> {
    let state = &approval.state;
    let Some(requested) = &state.requested else { return Vec::new() };
    let escalate = requested.rule.escalate.iter().filter(|_| state.escalated);
    let names: BTreeSet<&String> = requested.rule.channels.iter().chain(escalate).collect();
    let pending = state.phase == Phase::Pending;
    let mut lines = Vec::new();
    for name in names {
        let Some(channel) = setup.channels.get(name) else { continue };
        let reminder = format!("{name}/reminder");
        // Nobody is asked anew about what is over; what was shown is kept right.
        for (line, new) in [(name.clone(), pending), (reminder, pending && state.reminded)] {
            if new || had.get(&line).is_some_and(Seen::may_be_there) {
                lines.push(Line { name: line, channel: channel.clone() });
            }
        }
    }
    // Nobody was asked where it was cancelled at once.
    if !pending && state.version > 1 {
        let owners = requested.owners.iter().filter_map(|owner| setup.people.get(owner));
        lines.extend(owners.flat_map(|owner| chats.of_person(owner)));
    }
    lines
}

impl Chats {
    /// Where a person can be told something.
    fn of_person(&self, person: &Person) -> Vec<Line> {
        let slack = person.slack.iter().flat_map(|member| {
            let knows = self.slack.iter().filter(|(_, connection)| connection.knows(member));
            knows.map(|(name, _)| (name, member.user.clone()))
        });
        let teams = person.teams.iter().flat_map(|member| {
            let same = |directory: &str| directory.eq_ignore_ascii_case(&member.directory);
            let knows = self.teams.iter().filter(move |(_, bot)| same(bot.directory()));
            knows.map(|(name, _)| (name, member.object.clone()))
        });
        let line = |(connection, to): (&String, String)| {
            let name = format!("owner/{}/{connection}", person.id);
            let connection = Ident::new(connection).ok()?;
            Some(Line { name, channel: Channel { connection, to } })
        };
        slack.chain(teams).filter_map(line).collect()
    }
}

/// The outbox of one tenant's worker, in memory: when each approval must be looked at, and how fast each channel may be
/// written to.
#[derive(Default)]
pub(crate) struct Outbox {
    due: Mutex<Due>,
    gates: Mutex<BTreeMap<Channel, std::sync::Arc<tokio::sync::Mutex<gate::Gate>>>>,
}

#[derive(Default)]
struct Due {
    by_time: BTreeSet<(Instant, Ident)>,
    of: BTreeMap<Ident, Instant>,
}

impl Outbox {
    /// An approval must be looked at, at `at` or earlier.
    pub fn look_at(&self, id: &Ident, at: Instant) {
        let mut due = self.due.lock().expect("no holder of the lock panics");
        match due.of.get(id).copied() {
            Some(known) if known <= at => return,
            Some(known) => drop(due.by_time.remove(&(known, id.clone()))),
            None => {}
        }
        due.by_time.insert((at, id.clone()));
        due.of.insert(id.clone(), at);
    }

    /// How many approvals must be looked at now.
    pub fn due(&self) -> usize {
        let due = self.due.lock().expect("no holder of the lock panics");
        let now = Instant::now();
        due.by_time.iter().take_while(|(at, _)| *at <= now).count()
    }

    /// Takes what is due, at most `max`; and when the next one is.
    fn take(&self, max: usize) -> (Vec<Ident>, Option<Instant>) {
        let mut due = self.due.lock().expect("no holder of the lock panics");
        let now = Instant::now();
        let ready = due.by_time.iter().take_while(|(at, _)| *at <= now).take(max);
        let ready: Vec<(Instant, Ident)> = ready.cloned().collect();
        for (at, id) in &ready {
            due.by_time.remove(&(*at, id.clone()));
            due.of.remove(id);
        }
        let next = due.by_time.first().map(|(at, _)| *at);
        (ready.into_iter().map(|(_, id)| id).collect(), next)
    }

    /// How fast a channel may be written to; one message at a time.
    fn gate(&self, channel: &Channel) -> std::sync::Arc<tokio::sync::Mutex<gate::Gate>> {
        let mut gates = self.gates.lock().expect("no holder of the lock panics");
        std::sync::Arc::clone(gates.entry(channel.clone()).or_default())
    }
}

#[cfg(test)]
mod tests;
