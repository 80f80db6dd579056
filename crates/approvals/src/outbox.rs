//! Cards in chats: which should be shown, compared with what was sent, again after every change.
//!
//! What was sent is evidence of the approval (`evidence.<id>`, member `card`): a claim before a card is
//! posted, then its place, then the version it shows. So a crash between two steps loses nothing: the next
//! worker finds a claim without a place, searches for the card in the chat, and posts it if it is not there. A
//! second card does no harm.

mod asked;
mod pace;
mod said;
mod send;
mod thread;

pub(crate) use asked::notices;
pub use pace::{BURST_MAX, BURST_WINDOW};
pub(crate) use said::Said;
pub(crate) use send::Sender;
pub(crate) use thread::replies;

use crate::{
    cards::Posted,
    chats::ByName,
    commands::{ApprovalReader, Commands, Done, Review},
    error::Error,
    history::Approval,
    log::Log,
    setup::{Channel, Person, Setup},
};
use decider::approval::Phase;
use ledger::{entry::Payload, ident::Ident, journal::Subject, post::EVIDENCE, store, time::Nanos};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One event of a card, as its evidence records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    /// A worker is about to post the card.
    Planned {
        /// Random name of the worker.
        worker: String,
        /// Time of the claim.
        at: Nanos,
    },
    /// The card is posted and shows this version.
    Posted {
        /// Conversation that holds the card.
        conversation: String,
        /// Message that is the card.
        message: String,
        /// `State::version`
        version: u64,
        /// True if it says that the call is frozen.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        frozen: bool,
    },
    /// The card shows this version now.
    Updated {
        /// `State::version`
        version: u64,
        /// True if it says that the call is frozen.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        frozen: bool,
    },
    /// The card was not posted: this overflow card stands for it and others.
    InDigest {
        /// Conversation that holds the overflow card. Empty: it can't be changed.
        #[serde(default)]
        conversation: String,
        /// Message that is the overflow card.
        #[serde(default)]
        message: String,
        /// When it was posted.
        #[serde(default)]
        at: Nanos,
    },
    /// The message no longer exists. While people are asked, a new one is posted.
    Gone,
    /// The channel refuses the card; a person must repair that. It is tried again with growing pauses. This is
    /// recorded once for each channel and reason, until a message is accepted.
    Refused {
        /// The chat's error code.
        code: String,
    },
}

/// One event with the card it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Name of the card within the approval: see [`Line`].
    pub line: String,
    /// Connection through which it was sent.
    pub connection: Ident,
    /// The event.
    #[serde(flatten)]
    pub step: Step,
}

/// What is known of one card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub connection: Option<Ident>,
    /// A claim without an outcome: worker and time.
    pub planned: Option<(String, Nanos)>,
    /// Place of the posted card.
    pub posted: Option<Posted>,
    /// Version that the card shows.
    pub version: u64,
    /// True if the card says that the call is frozen.
    pub frozen: bool,
    /// The overflow card that stands for it: its place, and when it was posted.
    pub left_out: Option<(Posted, Nanos)>,
    pub refused: Option<String>,
}

impl Seen {
    /// True if people may see the card, or an overflow card that counts it.
    fn may_be_there(&self) -> bool {
        self.posted.is_some() || self.planned.is_some() || self.left_out.is_some()
    }
}

/// Cards of one approval, by name.
pub(crate) type Cards = BTreeMap<String, Seen>;

/// The name of the second card of an approval in a channel, which is posted at half of the time if the first one was
/// left out.
fn reminder(channel: &str) -> String {
    format!("{channel}/reminder")
}

/// Folds evidence about cards. Evidence that was erased, or is about something else, changes nothing.
pub(crate) fn fold(cards: &mut Cards, payload: &Payload) {
    let told = payload.value("card").map(|card| serde_json::from_slice::<Told>(&card));
    let Some(Ok(Told { line, connection, step })) = told else { return };
    let seen = cards.entry(line).or_default();
    seen.connection = Some(connection);
    match step {
        Step::Planned { worker, at } => seen.planned = Some((worker, at)),
        Step::Posted { conversation, message, version, frozen } => {
            *seen = Seen { connection: seen.connection.take(), ..Seen::default() };
            seen.posted = Some(Posted { conversation, message });
            (seen.version, seen.frozen) = (version, frozen);
        }
        Step::Updated { version, frozen } => {
            (seen.version, seen.frozen, seen.refused) = (version, frozen, None);
        }
        Step::InDigest { conversation, message, at } => {
            seen.left_out = Some((Posted { conversation, message }, at));
            seen.planned = None;
        }
        Step::Gone => *seen = Seen { connection: seen.connection.take(), ..Seen::default() },
        Step::Refused { code } => (seen.refused, seen.planned) = (Some(code), None),
    }
}

/// A card that an approval should have: its name within the approval, and its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// `<channel>`, `<channel>/reminder`, or `owner/<person>/<connection>`; of what people answered
    /// `<channel>/said/approve/<person>`, `…/deny/<person>` or `…/remind`; of a question `<channel>/question/<n>`,
    /// `<channel>/answer/<n>`, or `asks/<n>/<person>/<connection>`.
    pub name: String,
    /// Channel for the card.
    pub channel: Channel,
    /// If set, this is said instead of a card, once.
    pub said: Option<Box<Said>>,
}

impl Line {
    /// True if the card informs an owner of the outcome. It asks for nothing.
    fn is_owners(&self) -> bool {
        self.name.starts_with("owner/")
    }
}

/// The cards that an approval should have.
///
/// The rule's channels at once; those of `escalate` after the escalation; each of them that was not shown the card
/// at half of the time, while people are still asked; and the agent's owners once the approval has ended. Owners
/// are informed and can't answer.
pub(crate) fn wanted(approval: &Approval, setup: &Setup, chats: &ByName, had: &Cards) -> Vec<Line> {
    let state = &approval.state;
    let Some(requested) = &state.requested else { return Vec::new() };
    let pending = state.phase == Phase::Pending;
    let mut lines = Vec::new();
    for name in channels(approval) {
        let Some(channel) = setup.channels.get(name) else { continue };
        let reminder = reminder(name);
        // A card that is there gets its reminder in its thread. One that was left out for others is shown now.
        let left_out = had.get(name).is_some_and(|seen| seen.left_out.is_some());
        let remind = pending && state.reminded && left_out;
        // Post new cards only while pending; keep updating cards that already exist.
        for (line, new) in [(name.clone(), pending), (reminder, remind)] {
            if new || had.get(&line).is_some_and(Seen::may_be_there) {
                lines.push(Line { name: line, channel: channel.clone(), said: None });
            }
        }
    }
    // An approval that was cancelled when it was opened (version 1) asked nobody, so its owners need no card.
    if !pending && state.version > 1 {
        let owners = requested.owners.iter().filter_map(|owner| setup.people.get(owner));
        let card = |(person, connection, channel): (Ident, Ident, Channel)| Line {
            name: format!("owner/{person}/{connection}"),
            channel,
            said: None,
        };
        lines.extend(direct(chats, owners).map(card));
    }
    lines
}

/// Channels in which an approval has cards: the rule's, and those of `escalate` after the escalation.
fn channels(approval: &Approval) -> BTreeSet<&String> {
    let state = &approval.state;
    let requested = state.requested.iter();
    requested
        .flat_map(|requested| {
            let escalate = requested.rule.escalate.iter().filter(|_| state.escalated);
            requested.rule.channels.iter().chain(escalate)
        })
        .collect()
}

/// Where people are reached by direct messages: the person, the connection, and the channel.
fn direct<'a>(
    chats: &'a ByName,
    people: impl Iterator<Item = &'a Person> + 'a,
) -> impl Iterator<Item = (Ident, Ident, Channel)> + 'a {
    people.flat_map(move |person| {
        chats.iter().flat_map(move |(connection, chat)| {
            chat.direct(person).into_iter().map(move |to| {
                let channel = Channel { connection: connection.clone(), to, notify: None };
                (person.id.clone(), connection.clone(), channel)
            })
        })
    })
}

/// The last journal sequence of an approval's evidence, and the cards that the evidence describes.
pub(crate) fn cards_of(log: &dyn Log, id: &Ident) -> Result<(u64, Cards), store::Error> {
    // Read the sequence before the entries: see `Approval::read`.
    let expected = log.last_on(&Subject::Evidence(id.clone()))?;
    let mut cards = Cards::new();
    for (index, kind) in log.of_approval(id)? {
        if kind == EVIDENCE
            && let Some(payload) = log.stored_payload(index)?
        {
            fold(&mut cards, &payload);
        }
    }
    Ok((expected, cards))
}

/// True if the approval has a card, posted through this connection, that `is` accepts. A click on any
/// other message is not on our card. Returns `false` only after everything in the journal is posted here.
pub async fn is_posted(
    reader: &ApprovalReader,
    id: &Ident,
    connection: &Ident,
    is: impl Fn(&Posted) -> bool,
) -> Result<bool, Error> {
    let known = || -> Result<bool, Error> {
        let (_, cards) = cards_of(&*reader.log, id)?;
        let through =
            cards.into_values().filter(|seen| seen.connection.as_ref() == Some(connection));
        Ok(through.filter_map(|seen| seen.posted).any(|posted| is(&posted)))
    };
    if known()? {
        return Ok(true);
    }
    reader.log.catch_up().await?;
    known()
}

/// A review by a button of a card, the same for every chat. The order is: the card, which must be one that we
/// posted through this connection; the person; the review.
///
/// `None`: the message is no card of this approval, and nothing was recorded.
pub async fn review_on_card(
    commands: &Commands,
    id: &Ident,
    connection: &Ident,
    is: impl Fn(&Posted) -> bool,
    review: impl FnOnce(&Setup) -> Review,
) -> Result<Option<Done>, Error> {
    if !is_posted(&commands.reader, id, connection, is).await? {
        return Ok(None);
    }
    let review = review(&*commands.readiness.rules.known()?);
    match commands.review(id, review).await {
        Ok(done) => Ok(Some(done)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// True if the approval should have cards in chats and no chat has taken one.
pub(crate) fn is_undeliverable(log: &dyn Log, approval: &Approval) -> Result<bool, store::Error> {
    let asked = approval.state.requested.as_ref().is_some_and(|r| !r.rule.channels.is_empty());
    let (_, cards) = cards_of(log, &approval.id)?;
    Ok(asked && !cards.values().any(|seen| seen.posted.is_some() || seen.left_out.is_some()))
}

#[cfg(test)]
mod tests;
