//! The loop of one sink: read, deliver, keep the place, tell the log.

use super::{
    batch::{self, Read, Span},
    letters,
    place::{self, Place},
    quiet::in_turn,
    sender::{Held, Sink},
};
use crate::act;
use ledger::{
    Error, Ledger, keyring,
    system::{
        By, Duty,
        delivery::{Delivery, REFUSED_MAX, Standing},
    },
    tenant::Tenant,
};
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

/// Pause before something is looked for again: the tenant, its signature, the journal.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the place is stored while batches go out.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// The first pause after a failure, and the longest one.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Least time between two entries about a change of state, in seconds.
const TELL_SECONDS_MIN: u64 = 60;
/// How often a sink with nothing to do looks whether something is to be told.
const IDLE: Duration = Duration::from_secs(5);

/// How long a sink that had nothing to do gathers what is new. Otherwise ten sinks would send, and store their places, hundreds of
/// times a second.
const GATHER: Duration = Duration::from_millis(300);

/// What came of one step.
enum Step {
    /// Something was delivered: there may be more.
    Went,
    /// Everything up to this size is delivered.
    Idle(u64),
    /// Nothing can be delivered now.
    Held(Held),
}

struct Runner {
    ledger: Arc<Ledger>,
    tenant: Arc<Tenant>,
    sink: Arc<Sink>,
    place: Place,
    kept: Instant,
    is_kept: bool,
    ahead: Option<Ahead>,
    /// What an earlier process delivered, and may have been lost with it: it goes first.
    redo: VecDeque<(u64, u64)>,
}

/// The batch after the one that is being sent.
struct Ahead {
    /// Where it begins, and where it was read on.
    at: (u64, u64),
    reading: Reading,
}

type Reading = Pin<Box<dyn Future<Output = Result<Read, Held>> + Send>>;

/// Runs a sink until it is stopped, or the task ends.
pub async fn run(ledger: Arc<Ledger>, sink: Arc<Sink>) {
    sink.begin();
    let mut said = false;
    let tenant = loop {
        if sink.is_stopped() {
            return;
        }
        match ledger.tenant(sink.spec.tenant.as_str()) {
            Some(tenant) if tenant.signs() && tenant.may_act() => break tenant,
            None if !said => {
                said = true;
                tracing::warn!(sink = %sink.spec.name, tenant = %sink.spec.tenant, "there is no such tenant: the sink waits for it");
            }
            _ => {}
        }
        sink.rest(AGAIN).await;
    };
    let mut runner = loop {
        if sink.is_stopped() {
            return;
        }
        match Runner::begin(&ledger, &tenant, &sink).await {
            Ok(runner) => break runner,
            Err(error) => {
                sink.failed(ledger.now(), &error.to_string());
                tracing::warn!(sink = %sink.spec.name, %error, "a sink can't begin yet");
                sink.rest(AGAIN).await;
            }
        }
    };
    runner.run().await;
}

impl Runner {
    /// Finds the place, and tells the log of a sink that it does not know as it is: before any payload leaves.
    async fn begin(
        ledger: &Arc<Ledger>,
        tenant: &Arc<Tenant>,
        sink: &Arc<Sink>,
    ) -> Result<Self, Error> {
        let found = tokio::task::block_in_place(|| place::find(ledger, tenant, &sink.spec))?;
        let mut runner = Self {
            ledger: Arc::clone(ledger),
            tenant: Arc::clone(tenant),
            sink: Arc::clone(sink),
            place: found.place,
            kept: Instant::now(),
            is_kept: false,
            ahead: None,
            redo: VecDeque::new(),
        };
        runner.redo.extend(&runner.place.unsure);
        runner.count_letters()?;
        runner.show();
        if found.is_new {
            runner.tell(Standing::Starts).await?;
        }
        Ok(runner)
    }

    async fn run(&mut self) {
        let mut states = self.tenant.watch();
        let mut failures = 0_u32;
        while !self.sink.is_stopped() {
            if !self.tenant.signs() || self.tenant.halted().is_some() {
                self.sink.rest(AGAIN).await;
                continue;
            }
            let step = self
                .step()
                .await
                .unwrap_or_else(|error| Step::Held(Held { after: None, why: error.to_string() }));
            match step {
                Step::Went => failures = 0,
                Step::Idle(size) => {
                    failures = 0;
                    self.sink.idle();
                    self.tell_if_due().await;
                    let pause = if self.is_kept { IDLE } else { KEEP_EVERY };
                    let news = async { states.wait_for(|found| found.size > size).await.is_ok() };
                    let is_new = tokio::select! {
                        is_new = news => is_new,
                        () = self.sink.rest(pause) => false,
                    };
                    if is_new {
                        self.sink.rest(GATHER).await;
                    }
                }
                Step::Held(Held { after, why }) => {
                    failures = failures.saturating_add(1);
                    if failures == 1 {
                        tracing::warn!(sink = %self.sink.spec.name, why, "a sink does not deliver");
                    }
                    self.sink.failed(self.ledger.now(), &why);
                    self.wait(after.unwrap_or_else(|| pause(failures))).await;
                }
            }
            self.tell_if_due().await;
        }
    }

    /// Waits for the next attempt, or until it is stopped. What is to be told does not wait for it.
    async fn wait(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        while let Some(left) = until.checked_duration_since(Instant::now())
            && !self.sink.is_stopped()
        {
            self.sink.rest(left.min(IDLE)).await;
            self.tell_if_due().await;
        }
    }

    /// Reads a batch and delivers it.
    async fn step(&mut self) -> Result<Step, Error> {
        let sink = Arc::clone(&self.sink);
        let _turn = sink.turn.lock().await;
        if let Some(range) = self.redo.pop_front() {
            return self.redo(range).await;
        }
        let at = (self.place.from, self.place.next);
        let ahead = self.ahead.take().filter(|ahead| ahead.at == at);
        let reading = ahead.map_or_else(|| self.read(at, None), |ahead| ahead.reading);
        let read = match reading.await {
            Ok(read) => read,
            Err(held) => return Ok(Step::Held(held)),
        };
        let Some(batch) = read.batch else {
            self.is_kept &= self.place.next == read.next;
            self.place.next = read.next;
            self.keep(false)?;
            return Ok(if read.next >= read.size { Step::Idle(read.size) } else { Step::Went });
        };
        if self.sink.figures().letters >= letters::LETTERS_MAX {
            let why = format!(
                "{} letters wait: send them again, or let the receiver take them",
                letters::LETTERS_MAX
            );
            return Ok(Step::Held(Held { after: None, why }));
        }
        let (site, count) = (sink.spec.site(&self.tenant), batch.records.len());
        let mut spans = batch.decision_spans();
        // Payload is read when it is sent: it can be erased meanwhile.
        if read.next < read.size && sink.spec.payload.is_empty() {
            let at = (read.next, read.next);
            self.ahead = Some(Ahead { at, reading: self.read(at, None) });
        }
        let refused = match sink.offer(&site, batch, self.ledger.now()).await {
            Ok(refused) => refused,
            Err(held) => return Ok(Step::Held(held)),
        };
        // The letters first: a crash here delivers the batch again.
        letters::keep(&self.ledger, &self.tenant, &sink.spec.name, &refused, self.ledger.now())?;
        spans.retain(|index| !refused.iter().any(|(refused, _)| refused == index));
        self.sink.figures().decision_spans += spans.len() as u64;
        self.place.count += (count - refused.len()) as u64;
        self.place.refused.extend(refused.iter().map(|(index, _)| index));
        if !refused.is_empty() {
            self.count_letters()?;
        }
        (self.place.from, self.place.next) = (read.next, read.next);
        self.is_kept = false;
        // Many letters at once can't wait for an hour: one entry names so many.
        self.keep(!refused.is_empty())?;
        Ok(Step::Went)
    }

    /// Delivers the first batch of a range again. It was counted.
    async fn redo(&mut self, (from, to): (u64, u64)) -> Result<Step, Error> {
        let from = from.max(self.tenant.published().kept_from());
        let to = to.min(self.place.from);
        if from >= to {
            return Ok(Step::Went);
        }
        self.redo.push_front((from, to));
        let read = match self.read((from, from), Some(to)).await {
            Ok(read) => read,
            Err(held) => return Ok(Step::Held(held)),
        };
        if let Some(batch) = read.batch {
            let (site, sink) = (self.sink.spec.site(&self.tenant), Arc::clone(&self.sink));
            let refused = match sink.offer(&site, batch, self.ledger.now()).await {
                Ok(refused) => refused,
                Err(held) => return Ok(Step::Held(held)),
            };
            letters::keep(
                &self.ledger,
                &self.tenant,
                &sink.spec.name,
                &refused,
                self.ledger.now(),
            )?;
            self.count_letters()?;
        }
        self.redo.pop_front();
        self.redo.push_front((read.next, to));
        self.keep(false)?;
        Ok(Step::Went)
    }

    /// Begins to read the batch at a place, which ends before `until`.
    fn read(&self, (from, next): (u64, u64), until: Option<u64>) -> Reading {
        let (ledger, tenant) = (Arc::clone(&self.ledger), Arc::clone(&self.tenant));
        let sink = Arc::clone(&self.sink);
        let span = Span { from, next, until };
        let read = move || batch::read(&ledger, &tenant, (&sink.spec, &sink.shelf), span);
        let reading = in_turn(read);
        Box::pin(async move {
            let read = reading.await.and_then(|read| read.map_err(|error| error.to_string()));
            read.map_err(|why| Held { after: None, why })
        })
    }

    /// Stores the place, if it is time, and shows it.
    fn keep(&mut self, at_once: bool) -> Result<(), Error> {
        if let Some(mut unsure) = self.sink.unsure() {
            unsure.extend(&self.redo);
            let unsure = place::joined(unsure);
            self.is_kept &= self.place.unsure == unsure;
            self.place.unsure = unsure;
        }
        if !self.is_kept && (at_once || self.kept.elapsed() >= KEEP_EVERY) {
            let place = || self.place.keep(&self.ledger, &self.tenant, &self.sink.spec);
            tokio::task::block_in_place(place)?;
            (self.kept, self.is_kept) = (Instant::now(), true);
        }
        self.show();
        Ok(())
    }

    fn show(&self) {
        let mut figures = self.sink.figures();
        (figures.from, figures.next) = (self.place.from, self.place.next);
    }

    /// Counts the letters, after they changed: that reads each of them.
    fn count_letters(&self) -> Result<(), Error> {
        let letters = letters::count(&self.ledger, &self.tenant, &self.sink.spec.name)?;
        self.sink.figures().letters = letters;
        Ok(())
    }

    /// Tells the log at a change of state, at most once a minute; of progress at the end of its time; and of many refusals.
    async fn tell_if_due(&mut self) {
        let now = self.ledger.now();
        let still = self.sink.stands_still(now).is_some();
        let ago = self.place.told_ago(now);
        let news = self.place.from > self.place.told_to || !self.place.refused.is_empty();
        let changed = still != self.place.still && ago >= TELL_SECONDS_MIN;
        let due = news && ago >= self.sink.report_every;
        if !changed && !due && self.place.refused.len() < REFUSED_MAX {
            return;
        }
        let standing = if still { Standing::StandsStill } else { Standing::Delivers };
        if let Err(error) = self.tell(standing).await {
            // The next attempt is in a minute: whatever keeps the log from growing is shown by health.
            self.place.told_at = now.0;
            tracing::warn!(sink = %self.sink.spec.name, %error, "the log can't be told how far a sink is");
        }
    }

    /// Writes the entry, several where more was refused than one names.
    async fn tell(&mut self, state: Standing) -> Result<(), Error> {
        loop {
            let refused = &self.place.refused;
            let body = Delivery {
                count: self.place.count,
                refused: refused[..refused.len().min(REFUSED_MAX)].to_vec(),
                ..self.sink.said(
                    state,
                    (self.place.told_to, self.place.from),
                    By::Server { server: Duty::Delivery },
                )
            };
            let named = body.refused.len();
            act::record(&self.ledger, &self.tenant, "delivery", &body).await?;
            self.place.refused.drain(..named);
            self.place.count = 0;
            (self.place.told_to, self.place.told_at) = (self.place.from, self.ledger.now().0);
            self.place.still = state == Standing::StandsStill;
            self.is_kept = false;
            self.keep(true)?;
            if self.place.refused.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Drop for Runner {
    /// A loop that ends, and one that is cut off with the server, lets its successor go on from here.
    fn drop(&mut self) {
        if !self.is_kept
            && let Err(error) = self.place.keep(&self.ledger, &self.tenant, &self.sink.spec)
        {
            tracing::warn!(sink = %self.sink.spec.name, %error, "a sink's place is not stored: something comes twice");
        }
    }
}

/// The pause before the next attempt: it doubles, and a part of it is random, so that sinks do not come all at once.
fn pause(failures: u32) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(PAUSE_MAX);
    let random = keyring::random(1).first().copied().unwrap_or_default();
    whole / 2 + whole.mul_f64(f64::from(random) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let mut whole = PAUSE_MIN;
        for failures in 1..100 {
            let found = pause(failures);
            assert!(found <= PAUSE_MAX && found >= whole / 2, "{failures}: {found:?}");
            whole = (whole * 2).min(PAUSE_MAX);
        }
    }
}
