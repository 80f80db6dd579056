//! Notes that an approval was shown to a person: an entry of kind `evidence`, once for each person, approval and version,
//! for any number of servers.
//!
//! It is no part of the approval: nothing is decided by it, and what waits here delays neither the page nor a review.
//! What can't be noted is counted, never dropped in silence.

use super::Error;
use crate::log::Log;
use ledger::{
    canonical,
    entry::View,
    ident::Ident,
    journal::Subject,
    post::{EVIDENCE, Shown, ShownBody},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Most showings that wait to be noted.
const WAITING_MAX: usize = 4096;
/// Most showings that are remembered as noted. Beyond, the log is asked again.
const KNOWN_MAX: usize = 8192;
/// Pause before a showing is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Number of attempts for one showing. Afterwards it is counted as lost.
const TRIES_MAX: usize = 60;
/// Longest time for what still waits when the worker stops.
const FINISH_MAX: Duration = Duration::from_secs(2);

type Showing = (Ident, Shown);

/// Showings that wait to be noted.
#[derive(Clone, Default)]
pub struct Showings(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    news: Notify,
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Showing>,
    /// Approval, person and version of those that wait or are noted.
    known: BTreeSet<(Ident, Ident, u64)>,
    /// The same, the oldest first.
    order: VecDeque<(Ident, Ident, u64)>,
}

impl Showings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of the lock panics")
    }

    /// Notes that a version of an approval is shown to a person. Returns at once.
    pub fn note(&self, approval: &Ident, shown: Shown) {
        let mut state = self.state();
        let key = (approval.clone(), shown.to.clone(), shown.version);
        if state.known.contains(&key) {
            return;
        }
        if state.waiting.len() >= WAITING_MAX {
            drop(state);
            return self.lose(1, "too many wait");
        }
        state.known.insert(key.clone());
        state.order.push_back(key);
        if state.order.len() > KNOWN_MAX
            && let Some(oldest) = state.order.pop_front()
        {
            state.known.remove(&oldest);
        }
        state.waiting.push_back((approval.clone(), shown));
        drop(state);
        self.0.news.notify_one();
    }

    /// Number of showings since start that could not be noted.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    fn lose(&self, count: u64, why: &str) {
        self.0.lost.fetch_add(count, Ordering::Relaxed);
        tracing::warn!(
            count,
            why,
            "that approvals were shown to people could not be noted in the log"
        );
    }

    /// Notes what waits, until the worker stops.
    pub(crate) async fn run(&self, log: &dyn Log) {
        loop {
            self.note_all(log).await;
            self.0.news.notified().await;
        }
    }

    /// Notes what still waits when the worker stops, as far as time allows.
    pub(crate) async fn finish(&self, log: &dyn Log) {
        drop(tokio::time::timeout(FINISH_MAX, self.note_all(log)).await);
        let left = std::mem::take(&mut self.state().waiting).len();
        if left > 0 {
            self.lose(left as u64, "the server stops");
        }
    }

    async fn note_all(&self, log: &dyn Log) {
        let first = || self.state().waiting.front().cloned();
        while let Some((approval, shown)) = first() {
            let mut tries = 0;
            while let Err(error) = append(log, &approval, &shown).await {
                tries += 1;
                if tries == TRIES_MAX {
                    self.lose(1, &error.to_string());
                    break;
                }
                tokio::time::sleep(AGAIN).await;
            }
            self.state().waiting.pop_front();
        }
    }
}

/// Appends the evidence, unless the log has it. Compare-and-swap on the subject decides between servers.
pub(crate) async fn append(log: &dyn Log, approval: &Ident, shown: &Shown) -> Result<(), Error> {
    let subject = Subject::Evidence(approval.clone());
    let body = canonical::of(&ShownBody { shown: shown.clone() });
    loop {
        // Read the expected sequence before the entries: what comes in between is then a conflict.
        let expected = log.last_on(&subject)?;
        if is_noted(log, approval, shown)? {
            return Ok(());
        }
        match log.append(&subject, &body, Some(expected)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() => log.catch_up().await?,
            Err(error) => return Err(error),
        }
    }
}

/// True if the log says that this version was shown to this person, wherever.
fn is_noted(log: &dyn Log, approval: &Ident, shown: &Shown) -> Result<bool, Error> {
    for (index, kind) in log.of_approval(approval)? {
        if kind != EVIDENCE {
            continue;
        }
        let Some(entry) = log.entry(index)? else { continue };
        let noted = View::parse(&entry).and_then(|view| {
            let of = view.at(&["event", "shown"])?;
            serde_json::from_slice::<Shown>(&canonical::to_vec(of)).ok()
        });
        if noted.is_some_and(|noted| (&noted.to, noted.version) == (&shown.to, shown.version)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::post::ShownVia;

    #[test]
    fn the_same_showing_waits_once_and_too_many_are_counted() {
        let showings = Showings::default();
        let ident = |text: &str| Ident::new(text).unwrap();
        let note = |person: &str, version, via| {
            showings.note(&ident("apr-1"), Shown { to: ident(person), version, via });
        };
        note("p-ana", 1, ShownVia::Web);
        note("p-ana", 1, ShownVia::Web);
        note("p-ana", 1, ShownVia::Api);
        assert_eq!(showings.state().waiting.len(), 1);
        note("p-ana", 2, ShownVia::Web);
        note("p-bob", 1, ShownVia::Web);
        assert_eq!(showings.state().waiting.len(), 3);
        for version in 0..WAITING_MAX as u64 {
            note("p-cid", version, ShownVia::Web);
        }
        assert_eq!((showings.state().waiting.len(), showings.lost()), (WAITING_MAX, 3));
        showings.state().waiting.clear();
        for version in 0..KNOWN_MAX as u64 {
            showings.state().waiting.clear();
            note("p-dan", version, ShownVia::Web);
        }
        assert_eq!(showings.state().known.len(), KNOWN_MAX);
    }
}
