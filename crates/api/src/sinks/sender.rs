//! One sink: gives batches to its receiver, finds the records that it refuses, and knows how it stands.

use super::{
    batch::{self, Spec},
    format::Site,
    port::{Answer, Batch, Receiver},
    quiet::quietly,
    shelf::Shelf,
};
use ledger::{
    ident::Ident,
    system::{
        By,
        delivery::{Delivery, Level, Standing},
    },
    time::Nanos,
};
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::{Mutex as AsyncMutex, watch};

/// So many records may be refused one after another, with none taken between. Then the receiver refuses everything, and
/// that is no letter's fault.
const REFUSED_IN_ROW_MAX: usize = 10;

/// A sink of the running server.
pub struct Sink {
    /// What it sends.
    pub spec: Spec,
    /// Seconds without success after which it is an alarm.
    pub alarm_after: u64,
    /// Seconds between two entries that say how far it is.
    pub report_every: u64,
    /// One sends at a time: the loop, a test, or what is sent again.
    pub turn: AsyncMutex<()>,
    /// Where it finds entries that another sink of the log has read.
    pub shelf: Arc<Shelf>,
    receiver: Arc<dyn Receiver>,
    figures: Arc<Mutex<Figures>>,
    /// True once it is to end.
    stopped: watch::Sender<bool>,
}

/// How a sink stands. Counters are since the start.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Records that were taken.
    pub sent: u64,
    /// Records that were refused.
    pub refused: u64,
    /// Bytes of batches that were taken.
    pub bytes: u64,
    /// Decisions that were taken as spans, each once unless its batch came again after a start.
    pub decision_spans: u64,
    /// Attempts that failed as a whole.
    pub failures: u64,
    /// Since when nothing succeeds.
    pub failing_since: Option<Nanos>,
    /// The last failure, in words.
    pub says: Option<String>,
    /// When something was taken last.
    pub taken_at: Option<Nanos>,
    /// Everything below was delivered, or is a letter.
    pub from: u64,
    /// Where it reads on.
    pub next: u64,
    /// Letters.
    pub letters: usize,
    /// Records that were refused since one was taken.
    row: usize,
}

/// Nothing can be delivered now.
#[derive(Clone, Debug)]
pub struct Held {
    /// Not before that time, if the receiver said one.
    pub after: Option<Duration>,
    /// Why.
    pub why: String,
}

impl Sink {
    /// A sink with its receiver.
    pub fn new(
        spec: Spec,
        receiver: Arc<dyn Receiver>,
        alarm_after: u64,
        report_every: u64,
    ) -> Self {
        let (turn, figures) = (AsyncMutex::default(), Arc::default());
        let (shelf, stopped) = (Arc::default(), watch::Sender::new(false));
        Self { spec, alarm_after, report_every, turn, shelf, receiver, figures, stopped }
    }

    /// Goes on counting where the former self of this sink stops.
    pub fn follow(&mut self, before: &Self) {
        if before.spec.tenant == self.spec.tenant {
            self.figures = Arc::clone(&before.figures);
        }
    }

    /// Has its loop end, once the present batch is done.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// True once it is to end.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Waits until it is to end, at most so long.
    pub async fn rest(&self, pause: Duration) {
        let mut stopped = self.stopped.subscribe();
        let stop = stopped.wait_for(|stopped| *stopped);
        let _ = tokio::time::timeout(pause, stop).await;
    }

    /// Begins as it is configured now: nothing is known of the receiver, and no failure lasts.
    pub fn begin(&self) {
        let mut figures = self.figures();
        (figures.failing_since, figures.says, figures.taken_at) = (None, None, None);
        figures.row = 0;
    }

    /// What an entry says of it, over a range of the log.
    pub fn said(&self, state: Standing, (from, to): (u64, u64), by: By) -> Delivery {
        let spec = &self.spec;
        Delivery {
            v: 1,
            sink: spec.name.clone(),
            state,
            kind: spec.kind.clone(),
            format: Ident::new(spec.format.as_str()).expect("our own names"),
            filter: spec.filter.clone(),
            payload: spec.payload.clone(),
            level: self.level(),
            from,
            to,
            count: 0,
            refused: Vec::new(),
            by,
            reason: None,
        }
    }

    /// How it stands.
    pub fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().expect("no holder of the lock panics")
    }

    /// What the receiver's answers show.
    pub fn level(&self) -> Level {
        self.receiver.level()
    }

    /// What its receiver may lose if it and this process end now.
    pub fn unsure(&self) -> Option<Vec<(u64, u64)>> {
        self.receiver.unsure()
    }

    /// Why it stands still, if nothing succeeded for long.
    pub fn stands_still(&self, now: Nanos) -> Option<String> {
        let figures = self.figures();
        let since = figures.failing_since?;
        let long = now.0.saturating_sub(since.0) / 1_000_000_000 >= self.alarm_after;
        let says = figures.says.as_deref().unwrap_or_default();
        long.then(|| format!("nothing arrives since {since}: {says}"))
    }

    /// Notes a failure. The first one begins the time of the alarm.
    pub fn failed(&self, now: Nanos, why: &str) {
        let mut figures = self.figures();
        figures.failures += 1;
        figures.failing_since.get_or_insert(now);
        figures.says = Some(why.to_owned());
    }

    /// Notes that there is nothing left to deliver: no failure lasts.
    pub fn idle(&self) {
        let mut figures = self.figures();
        (figures.failing_since, figures.says) = (None, None);
    }

    /// Delivers a batch. Returns the records that the receiver refused, each with its words; all others were taken.
    pub async fn offer(
        &self,
        site: &Site,
        batch: Batch,
        now: Nanos,
    ) -> Result<Vec<(u64, String)>, Held> {
        let (mut waiting, mut refused) = (vec![batch], Vec::new());
        let mut last = String::new();
        while let Some(batch) = waiting.pop() {
            let batch = Arc::new(batch);
            let of = |place: usize| batch.records.get(place).map(|record| record.leaf.index);
            match self.send(Arc::clone(&batch)).await {
                Answer::Taken => self.took(&batch, 0, now),
                Answer::Partly(some) => {
                    if some.len() < batch.records.len() {
                        self.took(&batch, some.len(), now);
                    }
                    for (place, why) in some {
                        self.refuse(&why)?;
                        last.clone_from(&why);
                        refused.extend(of(place).map(|index| (index, why)));
                    }
                }
                Answer::Refused(why) if batch.records.len() == 1 => {
                    self.refuse(&why)?;
                    last.clone_from(&why);
                    refused.extend(of(0).map(|index| (index, why)));
                }
                Answer::Refused(_) if batch.records.len() > 1 => {
                    // One record may be the reason: the earlier half first.
                    let [first, second] = batch::halves(&self.spec, site, &batch);
                    waiting.extend([second, first]);
                }
                Answer::Refused(why) => return Err(Held { after: None, why }),
                Answer::Retry(after, why) => return Err(Held { after, why }),
            }
        }
        // A receiver that took nothing yet has not shown that a record is the reason.
        if !refused.is_empty() && self.figures().taken_at.is_none() {
            return Err(everything(&last));
        }
        Ok(refused)
    }

    async fn send(&self, batch: Arc<Batch>) -> Answer {
        let receiver = Arc::clone(&self.receiver);
        let sent = quietly(move || receiver.deliver(&batch)).await;
        sent.unwrap_or_else(|why| Answer::Retry(None, why))
    }

    fn took(&self, batch: &Batch, refused: usize, now: Nanos) {
        let mut figures = self.figures();
        figures.sent += (batch.records.len() - refused) as u64;
        figures.bytes += batch.bytes() as u64;
        figures.row = 0;
        (figures.failing_since, figures.says, figures.taken_at) = (None, None, Some(now));
    }

    fn refuse(&self, why: &str) -> Result<(), Held> {
        let mut figures = self.figures();
        figures.row += 1;
        if figures.row > REFUSED_IN_ROW_MAX {
            return Err(everything(why));
        }
        figures.refused += 1;
        Ok(())
    }
}

/// The receiver refuses everything.
fn everything(last: &str) -> Held {
    Held { after: None, why: format!("the receiver refuses everything, last: {last}") }
}
