//! The outbox at work: one approval at a time, until what is seen is what should be seen.

use super::{Cards, Chats, Line, Seen, Step, Told, fold, wanted};
use crate::{
    cards::{Card, Digest, Posted, SendError},
    fault,
    history::Approval,
    setup::Channel,
    worker::{Error, Worker},
};
use ledger::{
    canonical,
    ident::Ident,
    journal::{Subject, embedded},
    post::EVIDENCE,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Approvals looked at at once.
const AT_ONCE_MAX: usize = 16;
/// Longest sleep without anything due.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// A claim of another worker without an outcome is taken over after this time: no call to a chat takes longer.
const CLAIM_TIME: Duration = Duration::from_secs(60);
/// Nothing is posted on a claim that may end before the chat has answered: it holds this long still.
const CLAIM_LEFT: Duration = Duration::from_secs(25);
/// Pause after a failure that tells no time.
const AGAIN: Duration = Duration::from_secs(5);
/// Pause while another message to the channel is under way, or after a claim was lost.
const SOON: Duration = Duration::from_millis(500);
/// Pause before a channel that refuses our cards is tried again.
const REFUSED_AGAIN: Duration = Duration::from_secs(300);

/// What came of looking at one card: done, or when to look again.
type Again = Option<Duration>;

impl Worker {
    /// Brings cards up to date, for ever.
    pub(crate) async fn send_cards(self: Arc<Self>) {
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            let (due, next) = self.outbox().take(AT_ONCE_MAX.saturating_sub(running.len()));
            for id in due {
                let worker = Arc::clone(&self);
                running.spawn(async move { worker.bring_up(&id).await });
            }
            let wait = next.map_or(SLEEP_MAX, |at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = tokio::time::sleep(wait.clamp(Duration::from_millis(5), SLEEP_MAX)) => {}
                () = self.cards_changed() => {}
                Some(_) = running.join_next(), if running.len() >= AT_ONCE_MAX => {}
            }
        }
    }

    /// Looks at every card of an approval, and says when to look again.
    async fn bring_up(&self, id: &Ident) {
        let again = match self.bring_up_once(id).await {
            Ok(again) => again,
            Err(error) => {
                let tenant = &self.tenant().name;
                tracing::warn!(%tenant, approval = %id, %error, "cards could not be brought up to date");
                Some(AGAIN)
            }
        };
        if let Some(again) = again {
            self.outbox().look_at(id, Instant::now() + again);
        }
    }

    async fn bring_up_once(&self, id: &Ident) -> Result<Again, Error> {
        // Without rules in force nothing is sent; once they are, everything is looked at.
        let Ok(setup) = self.ready() else { return Ok(Some(REFUSED_AGAIN)) };
        let Some(approval) = self.get(id).await? else { return Ok(None) };
        let (expected, cards) = self.cards_of(id)?;
        let chats = self.chats();
        let mut again: Again = None;
        for line in wanted(&approval, &setup, chats, &cards) {
            let seen = cards.get(&line.name).cloned().unwrap_or_default();
            let looked = self.bring_up_line(&approval, &line, &seen, expected).await?;
            again = again.into_iter().chain(looked).min();
            if looked.is_some_and(|soon| soon.is_zero()) {
                // Evidence was written: what is known of the other cards is old.
                return Ok(Some(Duration::ZERO));
            }
        }
        Ok(again)
    }

    /// The last journal sequence of an approval's evidence, and what it tells of cards.
    pub(crate) fn cards_of(&self, id: &Ident) -> Result<(u64, Cards), Error> {
        // First the number, then the entries: see `Approval::read`.
        let (ledger, tenant) = (self.ledger(), self.tenant());
        let expected = ledger.last_on(tenant, &Subject::Evidence(id.clone()))?;
        let published = tenant.published();
        let reader = ledger.reader(tenant, &published);
        let mut cards = Cards::new();
        for (index, kind) in ledger.of_approval(tenant, id)? {
            if kind == EVIDENCE
                && let Some(payload) = reader.payload(index)?
            {
                fold(&mut cards, &payload);
            }
        }
        Ok((expected, cards))
    }

    /// Where cards of an approval were posted through a connection: a click on any other message is none of ours.
    pub fn posted(&self, id: &Ident, connection: &Ident) -> Result<Vec<Posted>, Error> {
        let (_, cards) = self.cards_of(id)?;
        let through =
            cards.into_values().filter(|seen| seen.connection.as_ref() == Some(connection));
        Ok(through.filter_map(|seen| seen.posted).collect())
    }

    /// Whether an approval should be shown in chats, and no chat has taken a card of it.
    pub(crate) fn is_undeliverable(&self, approval: &Approval) -> Result<bool, Error> {
        let asked = approval.state.requested.as_ref().is_some_and(|r| !r.rule.channels.is_empty());
        let (_, cards) = self.cards_of(&approval.id)?;
        Ok(asked && !cards.values().any(|seen| seen.posted.is_some() || seen.in_digest))
    }

    async fn bring_up_line(
        &self,
        approval: &Approval,
        line: &Line,
        seen: &Seen,
        expected: u64,
    ) -> Result<Again, Error> {
        let version = approval.state.version;
        if seen.in_digest || (seen.posted.is_some() && seen.version >= version) {
            return Ok(None);
        }
        let gate = self.outbox().gate(&line.channel);
        let Ok(mut gate) = gate.try_lock() else { return Ok(Some(SOON)) };
        let now = Instant::now();
        if let Some(until) = gate.closed_until(now) {
            return Ok(Some(until.duration_since(now)));
        }
        let sending = Sending { worker: self, approval, line };
        if let Some(posted) = &seen.posted {
            let updated = sending.update(posted).await;
            gate.sent(Instant::now());
            return sending.updated(updated, &mut gate, version).await;
        }
        // Whose claim holds, and for how long still.
        let held = seen.planned.as_ref().and_then(|(worker, at)| {
            let age = Duration::from_nanos(embedded::now().0.saturating_sub(at.0));
            Some((worker == self.name(), CLAIM_TIME.checked_sub(age)?))
        });
        match held {
            Some((ours, left)) if !ours || left < CLAIM_LEFT => return Ok(Some(left)),
            // Tried again: every claim is an entry for ever.
            Some(_) => {}
            None => {
                let begun = Instant::now();
                if !sending.claim(expected).await? || begun.elapsed() + CLAIM_LEFT > CLAIM_TIME {
                    return Ok(Some(SOON));
                }
                fault::point("card_planned");
            }
        }
        sending.post(&mut gate, seen.planned.is_some()).await
    }
}

/// One card on its way.
struct Sending<'a> {
    worker: &'a Worker,
    approval: &'a Approval,
    line: &'a Line,
}

impl Sending<'_> {
    /// Claims the card; false: another worker wrote evidence first.
    async fn claim(&self, expected: u64) -> Result<bool, Error> {
        let step = Step::Planned { worker: self.worker.name().to_owned(), at: embedded::now() };
        let body = canonical::of(&self.evidence(step));
        let subject = Subject::Evidence(self.approval.id.clone());
        let (ledger, tenant) = (self.worker.ledger(), self.worker.tenant());
        match ledger.publish_after(tenant, &subject, &body, expected).await {
            Ok(_) => Ok(true),
            Err(error) if crate::worker::is_conflict(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn evidence(&self, step: Step) -> serde_json::Map<String, serde_json::Value> {
        let connection = self.line.channel.connection.clone();
        let told = Told { line: self.line.name.clone(), connection, step };
        let told = serde_json::to_value(told).expect("our own types serialize");
        serde_json::Map::from_iter([("card".to_owned(), told)])
    }

    /// Tells what happened; the next look sees it.
    async fn tell(&self, step: Step) -> Result<Again, Error> {
        self.worker.keep_evidence(&self.approval.id, &self.evidence(step)).await?;
        Ok(Some(Duration::ZERO))
    }

    async fn post(&self, gate: &mut super::gate::Gate, late: bool) -> Result<Again, Error> {
        let (card, _) = self.worker.card(self.approval)?;
        let chat = self.chat()?;
        // A reminder is a second card of the same approval: the first one must not be taken for it.
        if late && !self.line.name.contains('/') {
            let found = chat.find(&self.line.channel.to, &self.approval.id).await;
            if let Ok(Some(posted)) = found {
                return self.tell(posted_step(posted, 0)).await;
            }
        }
        let now = Instant::now();
        let answer = if self.approval.is_pending() && gate.is_burst(now) {
            if !gate.has_digest(now) {
                let waiting = self.worker.pending();
                let url = format!("{}/", self.worker.public_url());
                let sent = chat.post_digest(&self.line.channel.to, &Digest { waiting, url }).await;
                if let Err(error) = sent {
                    return self.failed(error, gate).await;
                }
                gate.sent_digest(now);
                gate.worked();
            }
            return self.tell(Step::InDigest).await;
        } else {
            chat.post(&self.line.channel.to, &card).await
        };
        fault::point("card_posted");
        match answer {
            Ok(posted) => {
                gate.sent_new(now);
                gate.worked();
                self.tell(posted_step(posted, card.version)).await
            }
            Err(error) => self.failed(error, gate).await,
        }
    }

    async fn update(&self, posted: &Posted) -> Result<(), SendError> {
        let wrong = |error: Error| SendError::Later(error.to_string(), None);
        let (card, _) = self.worker.card(self.approval).map_err(wrong)?;
        self.chat().map_err(wrong)?.update(posted, &card).await
    }

    async fn updated(
        &self,
        updated: Result<(), SendError>,
        gate: &mut super::gate::Gate,
        version: u64,
    ) -> Result<Again, Error> {
        match updated {
            Ok(()) => {
                gate.worked();
                self.tell(Step::Updated { version }).await
            }
            // Only people who are still asked need a new card.
            Err(SendError::Gone(_)) if self.approval.is_pending() => self.tell(Step::Gone).await,
            Err(SendError::Gone(_) | SendError::Refused(_)) => {
                self.tell(Step::Updated { version }).await
            }
            Err(error) => self.failed(error, gate).await,
        }
    }

    /// What to do after a failure.
    async fn failed(&self, error: SendError, gate: &mut super::gate::Gate) -> Result<Again, Error> {
        let (tenant, approval) = (&self.worker.tenant().name, &self.approval.id);
        let line = &self.line.name;
        tracing::warn!(%tenant, %approval, line, %error, "a card was not sent");
        match error {
            SendError::Later(_, Some(wait)) => {
                gate.wait(Instant::now() + wait);
                Ok(Some(wait))
            }
            SendError::Later(_, None) | SendError::Unknown => {
                Ok(Some(gate.wait_longer(Instant::now())))
            }
            SendError::Gone(code) | SendError::Refused(code) => {
                self.tell(Step::Refused { code }).await?;
                Ok(Some(REFUSED_AGAIN))
            }
        }
    }

    fn chat(&self) -> Result<Chat<'_>, Error> {
        let Channel { connection, .. } = &self.line.channel;
        self.worker.chats().get(connection).ok_or_else(|| {
            Error::NotReady(format!(
                "The connection {connection} is not in the configuration: add it, then start again."
            ))
        })
    }
}

fn posted_step(posted: Posted, version: u64) -> Step {
    Step::Posted { conversation: posted.conversation, message: posted.message, version }
}

/// One of the connections.
enum Chat<'a> {
    Slack(&'a crate::slack::Connection),
    Teams(&'a crate::teams::Connection),
    Webhook(&'a crate::teams::webhook::Webhook),
}

impl Chats {
    fn get(&self, connection: &Ident) -> Option<Chat<'_>> {
        let name = connection.as_str();
        let slack = self.slack.get(name).map(Chat::Slack);
        let teams = || self.teams.get(name).map(Chat::Teams);
        slack.or_else(teams).or_else(|| self.webhooks.get(name).map(Chat::Webhook))
    }
}

impl Chat<'_> {
    async fn post(&self, to: &str, card: &Card) -> Result<Posted, SendError> {
        match self {
            Self::Slack(slack) => slack.post(to, card).await,
            Self::Teams(teams) => teams.post(to, card).await,
            Self::Webhook(webhook) => webhook.post(card).await,
        }
    }

    async fn post_digest(&self, to: &str, digest: &Digest) -> Result<Posted, SendError> {
        match self {
            Self::Slack(slack) => slack.post_digest(to, digest).await,
            Self::Teams(teams) => teams.post_digest(to, digest).await,
            Self::Webhook(webhook) => webhook.post_digest(digest).await,
        }
    }

    async fn update(&self, posted: &Posted, card: &Card) -> Result<(), SendError> {
        match self {
            Self::Slack(slack) => slack.update(posted, card).await,
            Self::Teams(teams) => teams.update(posted, card).await,
            // A link leads to what is true now.
            Self::Webhook(_) => Ok(()),
        }
    }

    /// Looks for a card after a post without an answer. Only Slack can be asked.
    async fn find(&self, to: &str, approval: &Ident) -> Result<Option<Posted>, SendError> {
        match self {
            Self::Slack(slack) => slack.find(to, approval).await,
            Self::Teams(_) | Self::Webhook(_) => Ok(None),
        }
    }
}
