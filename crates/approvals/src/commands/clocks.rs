//! Whether deadlines can be judged. Our clock is compared with the journal's before anything is decided and
//! again after every pause. The comparison writes nothing to the journal.

use super::Error;
use crate::log::Clocks;
use ledger::{
    Error as LedgerError,
    clock::{APART_MAX, apart},
    ident::Ident,
    journal,
    time::Nanos,
};
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::Notify;

/// Beyond this difference the two clocks are worth a warning.
const APART_WARN: Duration = Duration::from_secs(5);
/// Age up to which a comparison allows decisions.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Pause before the clocks are compared again if they were too far apart or could not be compared.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);
/// Time between comparisons while nothing is to be decided.
pub(crate) const WHILE_IDLE: Duration = Duration::from_secs(60);
/// If our clock drifts by more than this from the clock since boot, it was set. Earlier comparisons then no
/// longer count.
const SET_BY_MAX: Duration = Duration::from_secs(1);

/// Our clock, and its last comparison with the journal's.
pub struct ClockCheck {
    clocks: Arc<dyn Clocks>,
    tenant: Ident,
    last: Mutex<Option<Comparison>>,
    /// The last comparison by which they agreed.
    agreed: Mutex<Option<Comparison>>,
    /// One task compares at a time; the others use its result.
    turn: tokio::sync::Mutex<()>,
    /// Wakes tasks that wait until decisions are possible.
    again: Arc<Notify>,
}

#[derive(Clone)]
struct Comparison {
    /// Our clock and the clock since boot, at the comparison.
    at: (Nanos, Duration),
    /// Number of connects to the journal before the comparison.
    connects: u64,
    /// The difference of the clocks, or why it is unknown.
    found: Result<Duration, String>,
}

impl Comparison {
    /// True if the comparison is recent enough, and since then the machine did not sleep, no clock was set and
    /// the journal did not reconnect.
    fn counts(&self, (ours, boot): (Nanos, Duration), connects: u64, within: Duration) -> bool {
        let stands = self.found.as_ref().is_ok_and(|apart| *apart <= APART_MAX);
        let within = if stands { within } else { within.min(AGAIN) };
        let passed = boot.saturating_sub(self.at.1);
        let expected = ledger::clock::later(self.at.0, passed);
        connects == self.connects && passed <= within && apart(ours, expected) <= SET_BY_MAX
    }
}

impl ClockCheck {
    /// Clocks that were not compared yet.
    pub(crate) fn new(clocks: Arc<dyn Clocks>, tenant: Ident, again: Arc<Notify>) -> Self {
        let (last, agreed) = (Mutex::default(), Mutex::default());
        Self { clocks, tenant, last, agreed, turn: tokio::sync::Mutex::default(), again }
    }

    fn last(&self) -> MutexGuard<'_, Option<Comparison>> {
        self.last.lock().expect("no holder of the lock panics")
    }

    /// This machine's clock.
    pub fn now(&self) -> Nanos {
        self.clocks.now()
    }

    /// Time since this machine booted.
    pub(crate) fn since_boot(&self) -> Duration {
        self.clocks.since_boot()
    }

    /// The time after a pause from now.
    pub(crate) fn later(&self, pause: Duration) -> Nanos {
        ledger::clock::later(self.now(), pause)
    }

    /// Succeeds if the clocks were compared within the last seconds and agree. Nothing is decided before that.
    pub async fn stand(&self) -> Result<(), Error> {
        if !self.are_compared(GOOD_FOR) {
            let _turn = self.turn.lock().await;
            if !self.are_compared(GOOD_FOR) {
                self.compare().await;
            }
        }
        self.judge()
    }

    /// True if the last comparison is not older than `within` and still counts.
    pub(crate) fn are_compared(&self, within: Duration) -> bool {
        let here = (self.now(), self.clocks.since_boot());
        let connects = self.clocks.connects();
        self.last().as_ref().is_some_and(|last| last.counts(here, connects, within))
    }

    /// True if the last comparison that succeeded is not older than `within`, and no clock was set since. The journal may
    /// be away by now.
    pub(crate) fn agreed_within(&self, within: Duration) -> bool {
        let here = (self.now(), self.clocks.since_boot());
        let agreed = self.agreed.lock().expect("no holder of the lock panics").clone();
        agreed.is_some_and(|last| last.counts(here, last.connects, within))
    }

    /// The result of the last comparison, however old.
    pub(crate) fn judge(&self) -> Result<(), Error> {
        let last = self.last().as_ref().map(|last| last.found.clone());
        match last {
            None => {
                let text = "The clocks have not been compared yet. Try again in a moment.";
                return Err(Error::NotReady(text.into()));
            }
            Some(Err(why)) => {
                return Err(LedgerError::Journal(journal::Error::Unavailable(why)).into());
            }
            Some(Ok(apart)) if apart > APART_MAX => {
                return Err(Error::NotReady(format!(
                    "This machine's clock and the journal's are {} ms apart: set the one that is wrong, then repeat.",
                    apart.as_millis()
                )));
            }
            Some(Ok(_)) => {}
        }
        self.clocks.wrong().map_or(Ok(()), |wrong| Err(Error::NotReady(wrong)))
    }

    /// What is wrong with a clock, as far as is known. While this is set, nothing is decided.
    pub fn wrong(&self) -> Option<String> {
        self.last().as_ref()?;
        match self.judge() {
            Err(Error::NotReady(why)) => Some(why),
            _ => None,
        }
    }

    async fn compare(&self) {
        let connects = self.clocks.connects();
        let before = self.now();
        let theirs = self.clocks.of_journal().await;
        let (after, boot) = (self.now(), self.clocks.since_boot());
        // The journal's time may be anywhere between our two readings, so any value between them counts as
        // equal.
        let found = theirs.map_err(|error| error.to_string()).map(|theirs| match theirs {
            theirs if theirs < before => apart(theirs, before),
            theirs if theirs > after => apart(theirs, after),
            _ => Duration::ZERO,
        });
        let new = Comparison { at: (after, boot), connects, found };
        if new.found.as_ref().is_ok_and(|apart| *apart <= APART_MAX) {
            *self.agreed.lock().expect("no holder of the lock panics") = Some(new.clone());
        }
        let old = self.last().replace(new.clone());
        let said = old.and_then(|old| old.found.ok()).unwrap_or_default();
        self.again.notify_waiters();
        let tenant = &self.tenant;
        match new.found {
            Ok(found) if found > APART_WARN && said.abs_diff(found) > SET_BY_MAX => {
                let millis = found.as_millis();
                tracing::warn!(%tenant, millis, "this machine's clock and the journal's differ");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%tenant, error, "the clocks could not be compared"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Nanos = Nanos(1_800_000_000_000_000_000);

    fn check(found: Result<u64, &str>, passed: u64, set_by: i64, reconnected: bool, counts: bool) {
        let found = found.map(Duration::from_secs).map_err(str::to_owned);
        let last = Comparison { at: (NOON, Duration::from_secs(50)), connects: 1, found };
        let moved = i64::try_from(passed).unwrap() + set_by;
        let ours = Nanos(NOON.0.checked_add_signed(moved * 1_000_000_000).unwrap());
        let here = (ours, Duration::from_secs(50 + passed));
        let answer = last.counts(here, 1 + u64::from(reconnected), GOOD_FOR);
        assert_eq!(answer, counts, "{:?} {passed} {set_by} {reconnected}", last.found);
    }

    #[test]
    fn p9_a_comparison_counts_until_something_was_paused() {
        check(Ok(0), 0, 0, false, true);
        check(Ok(30), 5, 1, false, true);
        check(Ok(0), 6, 0, false, false);
        check(Ok(0), 3, 2, false, false);
        check(Ok(0), 3, -3600, false, false);
        check(Ok(0), 3, 0, true, false);
        check(Ok(31), 1, 0, false, true);
        check(Ok(31), 2, 0, false, false);
        check(Err("away"), 1, 0, false, true);
        check(Err("away"), 2, 0, false, false);
    }
}
