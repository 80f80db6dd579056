//! Tells a tenant's channels in chats what was found in its log, and what people closed (`docs/operate/watching.md`).
//!
//! In scope: which alerts a message is about, once for each, and its words. Out of scope: how a chat shows them
//! (`approvals::chats`). How far a channel was told is stored with our seal, before and after each message. After a crash
//! between, the chat is searched for the message: only one that can't search may get it twice.

mod standing;
mod words;

pub use standing::{Channels, Standing};

use approvals::{
    cards::{Posted, SendError},
    chats::{Chat, Chats},
    setup::Channel,
    worker::Worker,
};
use ledger::{
    Ledger, PlaceOf,
    entry::{Kind, View},
    feed::{self, Filter, Question, Turn},
    foreign::harmless,
    ident::Ident,
    store,
    system::alert::{AlertBody, Close, Raise},
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Shortest time between two messages about new alerts in one channel: a storm makes two a minute.
const BETWEEN: Duration = Duration::from_secs(30);
/// Shortest time between two messages in one channel: Slack's limit for posting.
const APART: Duration = Duration::from_secs(1);
/// Time for which it waits for more alerts before it tells the first.
const GATHER: Duration = Duration::from_secs(1);
/// How often a log without news is checked.
const IDLE: Duration = Duration::from_secs(5);
/// Pause while nothing can be told, and after a chat did not answer.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest pause that a chat may ask for.
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// Pause after a channel refused: a person must repair that.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// Most alerts, and most closes, that are told at once.
const ALERTS_MAX: usize = 512;
/// Most replies at once. Further closes are told in one message.
const REPLIES_MAX: usize = 5;
/// Most alerts whose message is remembered: as many as can be open, twice.
const THREADS_MAX: usize = 1024;
/// The place is stored at the latest after so many entries.
const KEPT_EVERY: u64 = 10_000;

/// What is needed to tell one channel.
pub struct Teller {
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Knows the rules in force, and their channels.
    pub worker: Arc<Worker>,
    /// The opened chats.
    pub chats: Arc<Chats>,
    /// Name of the channel in `rules.toml`.
    pub channel: String,
    /// How channels stand.
    pub channels: Arc<Channels>,
}

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct At {
    conversation: String,
    message: String,
}

/// How far a channel was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// Origin of the log. A place belongs to one log.
    origin: String,
    /// Everything below was told.
    next: u64,
    /// Alerts below were told, and closes from `next` on were not.
    raised_to: u64,
    /// A message about the alerts below is being posted.
    planned: Option<u64>,
    /// The message about an alert, by leaf index.
    threads: BTreeMap<u64, At>,
}

/// What is to be told.
#[derive(Default)]
struct Batch {
    raised: Vec<(u64, Raise)>,
    closed: Vec<(u64, Close)>,
    /// Where to read on.
    to: u64,
}

/// A pause, after something did not work.
struct Wait(Duration);

impl From<store::Error> for Wait {
    fn from(error: store::Error) -> Self {
        tracing::warn!(%error, "a channel can't be told of alerts now");
        Self(REFUSED_AGAIN)
    }
}

impl Teller {
    /// Tells until its task ends.
    pub async fn run(self) {
        self.channels.begin(self.named());
        let mut states = self.tenant.watch();
        let mut place = None;
        loop {
            if self.tenant.is_deleted() {
                return;
            }
            let acts = self.tenant.signs() && self.tenant.may_act();
            if !acts || self.tenant.halted().is_some() {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            let wait = match self.step(&mut place).await {
                Ok(true) => BETWEEN,
                Ok(false) => {
                    let from = place.as_ref().map_or(0, |place: &Place| place.next);
                    let news = states.wait_for(|published| published.size > from);
                    drop(tokio::time::timeout(IDLE, news).await);
                    GATHER
                }
                Err(Wait(wait)) => wait,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Tells what is new. True if a message about new alerts was posted.
    async fn step(&self, kept: &mut Option<Place>) -> Result<bool, Wait> {
        if kept.is_none() {
            // What an earlier process wrote may wait in the journal still.
            self.ledger.catch_up(&self.tenant).await.map_err(|_| Wait(AGAIN))?;
            *kept = Some(self.found()?);
        }
        let Some(place) = kept else { return Ok(false) };
        let batch = tokio::task::block_in_place(|| self.read(place))?;
        if batch.raised.is_empty() && batch.closed.is_empty() {
            let before = std::mem::replace(&mut place.next, batch.to);
            if before / KEPT_EVERY != batch.to / KEPT_EVERY {
                self.keep(place)?;
            }
            return Ok(false);
        }
        let (channel, chat) = self.reached()?;
        let told = !batch.raised.is_empty();
        if told {
            self.tell(place, &batch, (&channel, &*chat)).await?;
        }
        self.reply(place, &batch, (&channel, &*chat)).await?;
        (place.next, place.raised_to) = (batch.to, batch.to);
        self.keep(place)?;
        Ok(told)
    }

    /// The place of the channel. One that was never told begins here.
    fn found(&self) -> Result<Place, Wait> {
        let kept = self.ledger.place(PlaceOf::Told, &self.tenant, &self.channel).unwrap_or_else(|error| {
            tracing::warn!(channel = self.channel, %error, "the place of a channel is not ours: it begins anew");
            None
        });
        let size = self.tenant.published().size;
        let kept: Option<Place> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(mut place) = kept.filter(|place| place.origin == self.tenant.origin) {
            // A journal that was lost can leave the log smaller than it was.
            place.next = place.next.min(size);
            return Ok(place);
        }
        let place = Place { origin: self.tenant.origin.clone(), next: size, ..Place::default() };
        self.keep(&place)?;
        Ok(place)
    }

    fn keep(&self, place: &Place) -> Result<(), Wait> {
        let bytes = serde_json::to_vec(place).unwrap_or_default();
        Ok(self.ledger.keep_place(PlaceOf::Told, &self.tenant, &self.channel, &bytes)?)
    }

    /// Reads on: what the message that is being posted is about, or what is new.
    fn read(&self, place: &Place) -> Result<Batch, store::Error> {
        let published = self.tenant.published();
        let reader = self.ledger.reader(&self.tenant, &published);
        let filter = Filter { kind: Some(Kind::Alert), ..Filter::default() };
        let question = Question { filter, ..Question::default() };
        let end = place.planned.unwrap_or(published.size).min(published.size);
        let mut batch = Batch { to: place.next.max(published.kept_from()), ..Batch::default() };
        // Most entries are no alerts: none of them is read where nothing can be found.
        if published.alerts.last.is_none_or(|last| last < batch.to) {
            batch.to = end.max(batch.to);
        }
        while batch.to < end && batch.raised.len() + batch.closed.len() < ALERTS_MAX {
            let turn =
                Turn { from: Some(batch.to), entries: ALERTS_MAX / 2, now: self.ledger.now() };
            let mut found = Vec::new();
            let page = feed::page(&reader, &question, turn, |index, entry| {
                let body = View::parse(entry.as_bytes()).and_then(|view| view.event_as());
                found.extend(body.map(|body: AlertBody| (index, body)));
            })?;
            for (index, body) in found.into_iter().filter(|(index, _)| *index < end) {
                match body {
                    AlertBody::Raise(raise) if index >= place.raised_to => {
                        batch.raised.push((index, *raise));
                    }
                    AlertBody::Raise(_) => {}
                    AlertBody::Close(close) => batch.closed.push((index, close)),
                }
            }
            batch.to = page.scanned.1.min(end);
        }
        Ok(batch)
    }

    /// The channel and its chat, by the rules in force.
    fn reached(&self) -> Result<(Channel, Arc<dyn Chat>), Wait> {
        let setup = self.worker.readiness().ready().map_err(|_| Wait(AGAIN))?;
        let channel = setup.channels.get(&self.channel).cloned();
        let chat = channel.as_ref().and_then(|channel| self.chats.get(&channel.connection));
        let reached = channel.zip(chat);
        reached.ok_or_else(|| {
            self.channels.missing(self.named(), self.ledger.now());
            tracing::warn!(
                tenant = %self.tenant.name, channel = self.channel,
                "watch.toml names a channel that the rules in force do not have: it is not told of alerts"
            );
            Wait(REFUSED_AGAIN)
        })
    }

    /// Posts one message about all new alerts.
    async fn tell(
        &self,
        place: &mut Place,
        batch: &Batch,
        (channel, chat): (&Channel, &dyn Chat),
    ) -> Result<(), Wait> {
        let notice = words::raised(&batch.raised);
        let mut posted = None;
        if place.planned.is_some() {
            posted = chat.find(&channel.to, &notice.id).await.map_err(|error| self.wait(&error))?;
        } else {
            place.planned = Some(batch.to);
            self.keep(place)?;
        }
        let posted = match posted {
            Some(posted) => posted,
            None => match chat.notify(&channel.to, &notice, None).await {
                Ok(posted) => posted,
                Err(error) => {
                    // Nothing was posted: the next attempt may be about more alerts.
                    if !matches!(error, SendError::Unknown) {
                        place.planned = None;
                        self.keep(place)?;
                    }
                    return Err(self.wait(&error));
                }
            },
        };
        self.channels.accepted(self.named());
        let at = At { conversation: posted.conversation, message: posted.message };
        place.threads.extend(batch.raised.iter().map(|(index, _)| (*index, at.clone())));
        while place.threads.len() > THREADS_MAX {
            place.threads.pop_first();
        }
        (place.planned, place.raised_to) = (None, batch.to);
        self.keep(place)?;
        tokio::time::sleep(APART).await;
        Ok(())
    }

    /// Tells that alerts were closed, in the threads of their messages.
    async fn reply(
        &self,
        place: &mut Place,
        batch: &Batch,
        (channel, chat): (&Channel, &dyn Chat),
    ) -> Result<(), Wait> {
        let mut replies: BTreeMap<At, Vec<&(u64, Close)>> = BTreeMap::new();
        for one in &batch.closed {
            // What was raised before the channel was told of anything has no message here.
            if let Some(at) = place.threads.get(&one.1.alert) {
                replies.entry(at.clone()).or_default().push(one);
            }
        }
        let mut rest =
            replies.split_off(&replies.keys().nth(REPLIES_MAX).cloned().unwrap_or(last()));
        for (at, closes) in replies {
            let posted = Posted { conversation: at.conversation, message: at.message };
            self.over(place, &closes, (channel, chat), Some(&posted)).await?;
        }
        let closes: Vec<_> = rest.values_mut().flat_map(|closes| closes.drain(..)).collect();
        if !closes.is_empty() {
            self.over(place, &closes, (channel, chat), None).await?;
        }
        Ok(())
    }

    async fn over(
        &self,
        place: &mut Place,
        closes: &[&(u64, Close)],
        (channel, chat): (&Channel, &dyn Chat),
        under: Option<&Posted>,
    ) -> Result<(), Wait> {
        match chat.notify(&channel.to, &words::closed(closes), under).await {
            Ok(_) => self.channels.accepted(self.named()),
            // The message or its thread is gone. The close is in the log.
            Err(error @ (SendError::Gone(_) | SendError::Locked(_) | SendError::Refused(_))) => {
                self.channels.dropped(self.named());
                tracing::warn!(channel = self.channel, %error, "a close of alerts could not be told");
            }
            Err(error) => return Err(self.wait(&error)),
        }
        for (_, close) in closes {
            place.threads.remove(&close.alert);
        }
        self.keep(place)?;
        tokio::time::sleep(APART).await;
        Ok(())
    }

    fn named(&self) -> (&Ident, &str) {
        (&self.tenant.name, &self.channel)
    }

    fn wait(&self, error: &SendError) -> Wait {
        tracing::warn!(tenant = %self.tenant.name, channel = self.channel, %error, "a channel is not told of alerts yet");
        let (now, why) = (self.ledger.now(), harmless(&error.to_string()));
        match error {
            SendError::Later(..) | SendError::Unknown => {
                self.channels.failed(self.named(), now, why);
            }
            SendError::Gone(_) | SendError::Locked(_) | SendError::Refused(_) => {
                self.channels.refused(self.named(), now, why);
            }
        }
        Wait(match error {
            SendError::Later(_, Some(wait)) => (*wait).clamp(APART, AGAIN_MAX),
            SendError::Later(_, None) | SendError::Unknown => AGAIN,
            SendError::Gone(_) | SendError::Locked(_) | SendError::Refused(_) => REFUSED_AGAIN,
        })
    }
}

/// After every message.
fn last() -> At {
    At { conversation: "\u{10ffff}".into(), message: String::new() }
}
