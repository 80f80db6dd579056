//! The overflow card of a channel: posted when new cards come too fast, and kept true as the calls that it counts are shown
//! or end.
//!
//! Which calls a channel was not shown is evidence of each of them, with the place of the card. So a worker that starts
//! learns all of it again, and edits the newest card of a channel once.

use super::{
    AGAIN, Again, KEPT_RIGHT, LOCKED_AGAIN, Lane, Line, SOON, Seen, Sender, Sending, Step, over_for,
};
use crate::{
    cards::{Card, LeftOut, Overflow, Posted, Says, SendError},
    commands::Error,
    history::Approval,
    setup::Notify,
};
use ledger::{ident::Ident, time::Nanos};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Shortest time between two edits of an overflow card, so that one edit gathers what happened meanwhile.
const EDIT_BETWEEN: Duration = Duration::from_secs(3);

/// What one channel was not shown, and the overflow card that counts it.
#[derive(Default)]
pub(super) struct Uncarded {
    /// The calls that wait.
    waiting: BTreeMap<Ident, LeftOut>,
    /// The newest overflow card, and when it was posted.
    card: Option<(Posted, Nanos)>,
    /// What it says. `None`: this process has not written it yet.
    says: Option<Says>,
    /// An older one, which must say that a newer one counts.
    older: Option<Posted>,
    edited: Option<Instant>,
    /// Until when a card that the chat did not let us change is left alone, and how long that was.
    locked: Option<(Instant, Duration)>,
}

impl Uncarded {
    /// The call is over, and was never counted.
    pub(super) fn forget(&mut self, id: &Ident) {
        self.waiting.remove(id);
    }

    /// Learns of an overflow card, perhaps one that another worker posted.
    fn learn(&mut self, card: &(Posted, Nanos)) {
        if self.card.as_ref().is_some_and(|known| known.1 >= card.1) {
            return;
        }
        let older = self.card.replace(card.clone());
        self.locked = None;
        // What another process wrote is unknown here.
        if self.says.take().is_some() {
            self.older = older.map(|(posted, _)| posted);
        }
    }
}

impl Sender {
    /// Counts a call that was left out, or that no longer is: `shown` is true if the channel has a card of it since. Edits
    /// the overflow card if it says something else.
    pub(super) async fn count(
        &self,
        approval: &Approval,
        line: &Line,
        (seen, card): (&Seen, &(Posted, Nanos)),
        shown: bool,
    ) -> Result<Again, Error> {
        let over_for = over_for(approval, self.now());
        if over_for.is_some_and(|age| age > KEPT_RIGHT) {
            return Ok(None);
        }
        let channel = self.lane(&line.channel);
        let Ok(mut channel) = channel.try_lock() else { return Ok(Some(SOON)) };
        let sending = Sending { sender: self, approval, line, seen, over_for, frozen: false };
        channel.uncarded.learn(card);
        if approval.is_pending() && !shown {
            channel.uncarded.waiting.insert(approval.id.clone(), LeftOut::of(&sending.card()?));
        } else {
            channel.uncarded.forget(&approval.id);
        }
        let says = Says::of(&channel.uncarded.waiting, self.now());
        if channel.uncarded.older.is_none() && channel.uncarded.says.as_ref() == Some(&says) {
            return Ok(None);
        }
        // At a start, count what else was left out before the first edit.
        if channel.uncarded.says.is_none() && self.due().due() > 0 {
            return Ok(Some(SOON));
        }
        let now = Instant::now();
        let gathers =
            channel.uncarded.edited.map(|at| at + EDIT_BETWEEN).filter(|until| *until > now);
        let locked = channel.uncarded.locked.map(|(until, _)| until).filter(|until| *until > now);
        if let Some(until) = gathers.max(locked).max(channel.pace.waits_until(now)) {
            return Ok(Some(until.duration_since(now)));
        }
        sending.edit(says, &mut channel).await
    }
}

impl Sending<'_> {
    /// Leaves the card out: the overflow card of this burst counts it. If there is none yet, it is posted: an edit of one
    /// from before would make no sound.
    pub(super) async fn leave_out(&self, card: &Card, lane: &mut Lane) -> Result<Again, Error> {
        let now = Instant::now();
        let uncarded = &mut lane.uncarded;
        uncarded.waiting.insert(self.approval.id.clone(), LeftOut::of(card));
        if !lane.pace.has_overflow(now) || uncarded.card.is_none() {
            if let Some((older, _)) = uncarded.card.take() {
                uncarded.older = Some(older);
                uncarded.says = None;
            }
            // First the older one: a worker that ends in between leaves none that claims to count.
            let says = Says::of(&lane.uncarded.waiting, self.sender.now());
            let posted = match self.edit_older(lane).await {
                Ok(()) => self.post_overflow(says.clone()).await,
                Err(error) => Err(error),
            };
            match posted {
                Ok(posted) => {
                    lane.pace.sent_overflow(now);
                    lane.pace.worked();
                    lane.uncarded.card = Some((posted, self.sender.now()));
                    lane.uncarded.locked = None;
                    (lane.uncarded.says, lane.uncarded.edited) = (Some(says), Some(now));
                }
                Err(error) => {
                    lane.uncarded.forget(&self.approval.id);
                    return self.failed(error, &mut lane.pace).await;
                }
            }
        }
        let Some((Posted { conversation, message }, at)) = lane.uncarded.card.clone() else {
            return Ok(Some(AGAIN));
        };
        let told = self.tell(Step::InDigest { conversation, message, at }).await;
        if told.is_err() {
            lane.uncarded.forget(&self.approval.id);
        }
        told
    }

    async fn post_overflow(&self, says: Says) -> Result<Posted, SendError> {
        let wrong = |error: Error| SendError::Later(error.to_string(), None);
        let (chat, to) = (self.chat().map_err(wrong)?, &self.line.channel.to);
        let card = self.overflow(says);
        if self.seen.planned.is_some()
            && let Ok(Some(posted)) = chat.find(to, &card.id).await
        {
            chat.update_overflow(&posted, &card).await?;
            return Ok(posted);
        }
        chat.post_overflow(to, &card).await
    }

    fn overflow(&self, says: Says) -> Overflow {
        // Its own id, so that a search for the card of the approval never finds it.
        let id = Ident::new(&format!("more-{}", self.approval.id));
        Overflow {
            id: id.unwrap_or_else(|_| self.approval.id.clone()),
            says,
            url: format!("{}/", self.sender.commands.cards.public_url()),
            short: self.line.channel.notify == Some(Notify::Short),
        }
    }

    /// Edits the overflow card, and an older one that still claims to count.
    async fn edit(&self, says: Says, lane: &mut Lane) -> Result<Again, Error> {
        let now = Instant::now();
        lane.pace.sent(now);
        lane.uncarded.edited = Some(now);
        if let Err(error) = self.edit_older(lane).await {
            return self.failed(error, &mut lane.pace).await;
        }
        let Some((posted, _)) = &lane.uncarded.card else { return Ok(None) };
        let edited = self.chat()?.update_overflow(posted, &self.overflow(says.clone())).await;
        match edited {
            // Nobody can see it: the next burst posts a new one.
            Ok(()) | Err(SendError::Gone(_)) => {
                lane.pace.worked();
                (lane.uncarded.says, lane.uncarded.locked) = (Some(says), None);
                Ok(None)
            }
            // It says what is no longer so, until the chat lets us change it: as for other cards, with growing pauses.
            Err(SendError::Locked(_)) => {
                lane.pace.worked();
                let before = lane.uncarded.locked.map_or(Duration::ZERO, |(_, pause)| pause);
                let pause = (before * 2).clamp(*LOCKED_AGAIN.start(), *LOCKED_AGAIN.end());
                lane.uncarded.locked = Some((now + pause, pause));
                Ok(Some(pause))
            }
            Err(error) => self.failed(error, &mut lane.pace).await,
        }
    }

    async fn edit_older(&self, lane: &mut Lane) -> Result<(), SendError> {
        let Some(older) = lane.uncarded.older.clone() else { return Ok(()) };
        let wrong = |error: Error| SendError::Later(error.to_string(), None);
        let chat = self.chat().map_err(wrong)?;
        match chat.update_overflow(&older, &self.overflow(Says::Newer)).await {
            Ok(()) | Err(SendError::Gone(_) | SendError::Locked(_)) => {
                lane.uncarded.older = None;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
