//! Sends cards: one approval at a time, until its cards show what they should.

mod overflow;

use super::{
    Line, Seen, Step, Told, cards_of, notices,
    pace::{self, Pace},
    reminder, replies, wanted,
};
use crate::{
    cards::{Card, Posted, Reader, SendError},
    chats::{Chat, Chats},
    commands::{Commands, DueCards, Error},
    fault,
    history::Approval,
    log::Log,
    setup::{Channel, Notify},
};
use data_encoding::HEXLOWER;
use ledger::{canonical, ident::Ident, journal::Subject, keyring, time::Nanos};
use overflow::Uncarded;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Most approvals that are checked at once.
const AT_ONCE_MAX: usize = 16;
/// Longest sleep while nothing is due.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Age at which another worker's claim without an outcome is taken over. No call to a chat takes longer.
const CLAIM_TIME: Duration = Duration::from_secs(60);
/// Minimum time left on our claim before we post; a chat call may take this long.
const CLAIM_LEFT: Duration = Duration::from_secs(25);
/// Pause after a failure that gives no time.
const AGAIN: Duration = Duration::from_secs(5);
/// Pause while another message to the channel is being sent, or after a claim was lost.
const SOON: Duration = Duration::from_millis(500);
/// Pause before the next check while no rules are in force.
const NO_RULES_AGAIN: Duration = Duration::from_secs(300);
/// Extra delay for a refused card, so that the channel's other cards go first: perhaps only this card is
/// refused.
const BEHIND: Duration = Duration::from_secs(1);
/// Range of the pause before a locked message is tried again. It grows with the time since the approval's end.
const LOCKED_AGAIN: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(30)..=Duration::from_secs(3600);
/// Time after an approval's end in which its cards are still updated.
const KEPT_RIGHT: Duration = Duration::from_secs(7 * 86_400);

/// When to check again. `None` if the card is done.
type Again = Option<Duration>;

/// What this process knows of one channel.
#[derive(Default)]
struct Lane {
    pace: Pace,
    uncarded: Uncarded,
}

/// Sends the cards of one tenant.
pub(crate) struct Sender {
    commands: Commands,
    chats: Arc<Chats>,
    /// Random name that tells our claims on cards from those of other workers.
    name: String,
    /// The lane of each channel.
    lanes: Mutex<BTreeMap<Channel, Arc<tokio::sync::Mutex<Lane>>>>,
}

impl Sender {
    pub fn new(commands: Commands, chats: Arc<Chats>) -> Self {
        let name = HEXLOWER.encode(&keyring::random32()[..8]);
        Self { commands, chats, name, lanes: Mutex::default() }
    }

    /// Keeps cards up to date until the worker stops.
    pub async fn run(self: Arc<Self>, running: &mut JoinSet<()>) {
        loop {
            while running.try_join_next().is_some() {}
            let (due, next) = self.due().take(AT_ONCE_MAX.saturating_sub(running.len()));
            for id in due {
                let sender = Arc::clone(&self);
                running.spawn(async move { sender.bring_up(&id).await });
            }
            let wait = next.map_or(SLEEP_MAX, |at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = tokio::time::sleep(wait.clamp(Duration::from_millis(5), SLEEP_MAX)) => {}
                () = self.due().changed() => {}
                Some(_) = running.join_next(), if running.len() >= AT_ONCE_MAX => {}
            }
        }
    }

    fn due(&self) -> &DueCards {
        &self.commands.reader.registry.cards
    }

    fn log(&self) -> &dyn Log {
        &*self.commands.reader.log
    }

    fn now(&self) -> Nanos {
        self.commands.readiness.clocks.now()
    }

    /// The lane of a channel. Its lock lets one message go at a time.
    fn lane(&self, channel: &Channel) -> Arc<tokio::sync::Mutex<Lane>> {
        let mut lanes = self.lanes.lock().expect("no holder of the lock panics");
        Arc::clone(lanes.entry(channel.clone()).or_default())
    }

    /// Checks every card of an approval, and schedules the next check.
    async fn bring_up(&self, id: &Ident) {
        let again = match self.bring_up_once(id).await {
            Ok(again) => again,
            Err(error) => {
                let tenant = self.log().tenant();
                tracing::warn!(%tenant, approval = %id, %error, "cards could not be updated");
                Some(AGAIN)
            }
        };
        if let Some(again) = again {
            self.due().check_at(id, Instant::now() + again);
        }
    }

    async fn bring_up_once(&self, id: &Ident) -> Result<Again, Error> {
        // Send nothing without rules in force. Once rules are, every approval is checked.
        let Ok(setup) = self.commands.readiness.ready() else { return Ok(Some(NO_RULES_AGAIN)) };
        let Some(approval) = self.commands.reader.get(id).await? else { return Ok(None) };
        let (expected, cards) = cards_of(self.log(), id)?;
        let mut again: Again = None;
        let chats = self.chats.now();
        let mut lines = wanted(&approval, &setup, &chats, &cards);
        let known = (&cards, self.commands.cards.public_url());
        lines.extend(notices(&approval, &setup, &chats, known));
        lines.extend(replies(&approval, &setup, known));
        for line in lines {
            let seen = cards.get(&line.name).cloned().unwrap_or_default();
            let looked = if let Some(card) = &seen.left_out {
                let shown = |seen: &Seen| seen.posted.is_some();
                let shown = cards.get(&reminder(&line.name)).is_some_and(shown);
                self.count(&approval, &line, (&seen, card), shown).await?
            } else {
                self.bring_up_line(&approval, &line, &seen, expected).await?
            };
            again = again.into_iter().chain(looked).min();
            if looked.is_some_and(|soon| soon.is_zero()) {
                // Evidence was written, so what is known of the other cards may be stale: start again.
                return Ok(Some(Duration::ZERO));
            }
        }
        Ok(again)
    }

    async fn bring_up_line(
        &self,
        approval: &Approval,
        line: &Line,
        seen: &Seen,
        expected: u64,
    ) -> Result<Again, Error> {
        let version = approval.state.version;
        let frozen = self.commands.cards.is_frozen(approval)?;
        let current = seen.version >= version && seen.frozen == frozen;
        if seen.posted.is_some() && (current || line.said.is_some()) {
            return Ok(None);
        }
        let over_for = over_for(approval, self.now());
        if over_for.is_some_and(|age| age > KEPT_RIGHT) {
            return Ok(None);
        }
        let channel = self.lane(&line.channel);
        let Ok(mut channel) = channel.try_lock() else { return Ok(Some(SOON)) };
        let now = Instant::now();
        if let Some(until) = channel.pace.waits_until(now) {
            return Ok(Some(until.duration_since(now)));
        }
        let sending = Sending { sender: self, approval, line, seen, over_for, frozen };
        if let Some(posted) = &seen.posted {
            let updated = sending.update(posted).await;
            channel.pace.sent(Instant::now());
            return sending.updated(updated, &mut channel.pace).await;
        }
        // Who holds the claim, and for how much longer.
        let held = seen.planned.as_ref().and_then(|(worker, at)| {
            let age = Duration::from_nanos(self.now().0.saturating_sub(at.0));
            Some((*worker == self.name, CLAIM_TIME.checked_sub(age)?))
        });
        match held {
            Some((ours, left)) if !ours || left < CLAIM_LEFT => return Ok(Some(left)),
            // A retry makes no new claim, since every claim is an entry for ever. Likewise while a chat is in
            // trouble. At worst two workers post one card each when the chat works again.
            Some(_) => {}
            None if channel.pace.is_in_trouble() => {}
            None => {
                let begun = Instant::now();
                if !sending.claim(expected).await? || begun.elapsed() + CLAIM_LEFT > CLAIM_TIME {
                    return Ok(Some(SOON));
                }
                fault::point("card_planned");
            }
        }
        sending.post(&mut channel).await
    }
}

/// One card that is being sent.
struct Sending<'a> {
    sender: &'a Sender,
    approval: &'a Approval,
    line: &'a Line,
    seen: &'a Seen,
    /// Time since people were last asked. `None` while they are asked.
    over_for: Option<Duration>,
    /// Whether the card must say that the call is frozen.
    frozen: bool,
}

impl Sending<'_> {
    /// Claims the card. False if another worker wrote evidence first.
    async fn claim(&self, expected: u64) -> Result<bool, Error> {
        let step = Step::Planned { worker: self.sender.name.clone(), at: self.sender.now() };
        let body = canonical::of(&self.evidence(step));
        let subject = Subject::Evidence(self.approval.id.clone());
        match self.sender.log().append(&subject, &body, Some(expected)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn evidence(&self, step: Step) -> serde_json::Map<String, serde_json::Value> {
        let connection = self.line.channel.connection.clone();
        let told = Told { line: self.line.name.clone(), connection, step };
        let told = serde_json::to_value(told).expect("our own types serialize");
        serde_json::Map::from_iter([("card".to_owned(), told)])
    }

    /// Records an event of the card. The next check reads it.
    async fn tell(&self, step: Step) -> Result<Again, Error> {
        self.sender.commands.keep_evidence(&self.approval.id, &self.evidence(step)).await?;
        Ok(Some(Duration::ZERO))
    }

    async fn post(&self, lane: &mut Lane) -> Result<Again, Error> {
        let card = self.whole_card().await?;
        let chat = self.chat()?;
        // Post no new card for an approval that is over. Only search for a card that may exist, to update it.
        let only_look = self.over_for.is_some() && !self.line.is_owners();
        let is_late = self.seen.planned.is_some() || self.seen.refused.is_some();
        // Search only for first cards: a reminder is a second card of the same approval, and the search would
        // find the first.
        if is_late && !self.line.name.contains('/') {
            match chat.find(&self.line.channel.to, &self.approval.id).await {
                Ok(Some(posted)) => return self.tell(posted_step(posted, 0, false)).await,
                Err(error @ (SendError::Later(..) | SendError::Unknown)) if only_look => {
                    return self.failed(error, &mut lane.pace).await;
                }
                Ok(None) | Err(_) => {}
            }
        }
        if only_look {
            lane.uncarded.forget(&self.approval.id);
            return Ok(None);
        }
        let now = Instant::now();
        let answer = if let Some(said) = &self.line.said {
            chat.notify(&self.line.channel.to, &said.notice, said.under.as_ref()).await
        } else if self.approval.is_pending() && lane.pace.is_burst(now) {
            return self.leave_out(&card, lane).await;
        } else {
            chat.post(&self.line.channel.to, &card).await
        };
        fault::point("card_posted");
        match answer {
            Ok(posted) => {
                lane.pace.sent_new(now);
                lane.pace.worked();
                self.tell(posted_step(posted, card.version, card.frozen)).await
            }
            Err(error) => self.failed(error, &mut lane.pace).await,
        }
    }

    /// The card, as far as this line's readers may see it, without facts about earlier calls.
    fn card(&self) -> Result<Card, Error> {
        Ok(self.for_readers(self.sender.commands.cards.card(self.approval)?.0))
    }

    /// The same with them.
    async fn whole_card(&self) -> Result<Card, Error> {
        if self.line.is_owners() || self.line.said.is_some() {
            return self.card();
        }
        let card = self.sender.commands.cards.card_with_facts(self.approval).await?;
        Ok(self.for_readers(card))
    }

    fn for_readers(&self, mut card: Card) -> Card {
        if self.line.channel.notify == Some(Notify::Short) {
            card.reader = Reader::AskedShort;
        }
        if self.line.is_owners() { card.for_owner() } else { card }
    }

    async fn update(&self, posted: &Posted) -> Result<(), SendError> {
        let wrong = |error: Error| SendError::Later(error.to_string(), None);
        let card = self.whole_card().await.map_err(wrong)?;
        self.chat().map_err(wrong)?.update(posted, &card).await
    }

    async fn updated(
        &self,
        updated: Result<(), SendError>,
        pace: &mut Pace,
    ) -> Result<Again, Error> {
        match updated {
            Ok(()) => {
                pace.worked();
                let (version, frozen) = (self.approval.state.version, self.frozen);
                self.tell(Step::Updated { version, frozen }).await
            }
            Err(SendError::Gone(_)) => self.tell(Step::Gone).await,
            Err(SendError::Locked(code)) => match self.over_for {
                // Post a new card only while people are asked.
                None => self.tell(Step::Gone).await,
                Some(age) => {
                    if self.seen.refused.as_ref() != Some(&code) {
                        self.tell(Step::Refused { code }).await?;
                    }
                    Ok(Some((age / 2).clamp(*LOCKED_AGAIN.start(), *LOCKED_AGAIN.end())))
                }
            },
            Err(error) => self.failed(error, pace).await,
        }
    }

    /// Decides what to do after a failure.
    async fn failed(&self, error: SendError, pace: &mut Pace) -> Result<Again, Error> {
        let (tenant, approval) = (self.sender.log().tenant(), &self.approval.id);
        let line = &self.line.name;
        tracing::warn!(%tenant, %approval, line, %error, "a card was not sent");
        match error {
            SendError::Later(_, Some(wait)) => {
                pace.wait(Instant::now() + wait);
                Ok(Some(wait))
            }
            SendError::Later(_, None) | SendError::Unknown => {
                Ok(Some(pace.wait_longer(Instant::now(), pace::AWAY)))
            }
            SendError::Gone(code) | SendError::Locked(code) | SendError::Refused(code) => {
                let pause = pace.wait_longer(Instant::now(), pace::REFUSED);
                if !pace.is_kept(&code) && self.seen.refused.as_ref() != Some(&code) {
                    self.tell(Step::Refused { code: code.clone() }).await?;
                }
                pace.keeps(&code);
                Ok(Some(pause + BEHIND))
            }
        }
    }

    fn chat(&self) -> Result<Arc<dyn Chat>, Error> {
        let Channel { connection, .. } = &self.line.channel;
        self.sender.chats.get(connection).ok_or_else(|| {
            Error::NotReady(format!(
                "The connection {connection} is not in the configuration: add it, then start again."
            ))
        })
    }
}

/// Time since people were last asked. `None` while they are asked.
fn over_for(approval: &Approval, now: Nanos) -> Option<Duration> {
    let state = &approval.state;
    let since = state.ended_at.or_else(|| approval.steps.last().map(|step| step.at));
    let age = now.0.saturating_sub(since.unwrap_or_default().0);
    (!approval.is_pending()).then_some(Duration::from_nanos(age))
}

fn posted_step(Posted { conversation, message }: Posted, version: u64, frozen: bool) -> Step {
    Step::Posted { conversation, message, version, frozen }
}
