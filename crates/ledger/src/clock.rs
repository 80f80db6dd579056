//! Judges this machine's clock without another clock: by the clock that counts since boot, and by the newest
//! time that a log knows.
//!
//! In scope: the time of embedded messages, and whether deadlines may be judged by this clock. Out of scope:
//! the broker's clock, which the approvals worker compares with ours.

use crate::time::Nanos;
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

/// Beyond this difference no deadline is judged.
pub const APART_MAX: Duration = Duration::from_secs(30);
/// If a start comes this long after the newest time that a log knows, an admin must confirm the clock.
pub const SILENCE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// 2025-01-01. No log is older.
const EARLIEST: Nanos = Nanos(1_735_689_600_000_000_000);

/// What is wrong with the clock. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The clock is before the time of any log.
    #[error(
        "This machine's clock says {0}, which is before any log was begun: set it. If it is right after all, an admin \
         says so with `countersign clock reset`."
    )]
    Early(Nanos),
    /// The clock is far beyond what the log knows.
    #[error(
        "This machine's clock says {now}, but the newest time that the log knows is {known}: set the clock. If it is \
         right, because nothing ran for so long, an admin says so with `countersign clock reset`."
    )]
    Far {
        /// The clock's time.
        now: Nanos,
        /// The newest time that is certain.
        known: Nanos,
    },
    /// The clock was set while the process ran.
    #[error(
        "This machine's clock was set from {expected} to {now} while the server ran: set it right. If it is right now, \
         an admin says so with `countersign clock reset`, or restart the server."
    )]
    Stepped {
        /// The clock's time.
        now: Nanos,
        /// The time that follows from the clock since boot.
        expected: Nanos,
    },
    /// The newest entry is from the future.
    #[error(
        "The newest entry is dated {newest}, but this machine's clock says {now}: a clock was wrong when it was written, \
         or this one is. Set the clock if it is wrong; if it is right, an admin begins time anew with `countersign clock \
         reset`."
    )]
    Ahead {
        /// The clock's time.
        now: Nanos,
        /// `journal.time` of the newest entry.
        newest: Nanos,
    },
}

/// A clock that says the present time. It enters where the ledger is opened ([`crate::ledger::Options`]); nothing else
/// reads the time of day.
pub type WallClock = fn() -> Nanos;

/// This machine's clock.
#[allow(clippy::disallowed_methods, reason = "the one reading of it")]
pub fn wall_clock() -> Nanos {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// What one tenant's log knows about time. Every reading of the clock is judged by it.
pub struct Clock {
    wall: WallClock,
    /// The newest time that the log knew when the process opened it, and the time since boot at that moment.
    begun: (Nanos, Duration),
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// The newest time that is certain. 0 for a new log.
    known: Nanos,
    /// The clock and the clock since boot, when they were last read together while the clock was right.
    base: Option<(Nanos, Duration)>,
}

/// Time since the machine booted, sleep included. Nobody can set it.
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

impl Clock {
    /// The clock of a log whose newest entry has the time `known`.
    pub fn new(wall: WallClock, known: Nanos) -> Self {
        Self { wall, begun: (known, since_boot()), state: Mutex::new(State { known, base: None }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    /// What the clock says, right or wrong.
    pub fn now(&self) -> Nanos {
        (self.wall)()
    }

    /// Notes that `time` is certainly in the past.
    pub fn has_been(&self, time: Nanos) {
        let mut state = self.lock();
        state.known = state.known.max(time);
    }

    /// Notes that an admin confirmed the clock.
    pub fn accept(&self) {
        let now = self.now();
        *self.lock() = State { known: now, base: Some((now, since_boot())) };
    }

    /// The clock's time, if it is right as far as this machine can know.
    pub fn look(&self) -> Result<Nanos, Wrong> {
        let (now, boot) = (self.now(), since_boot());
        let mut state = self.lock();
        let (next, wrong) = state.look(now, boot);
        *state = next;
        wrong.map_or(Ok(now), Err)
    }

    /// The time for a message. While the clock is wrong, time continues by the clock since boot: from when the
    /// clock was right, or else from the newest time that the log knows. So no entry gets a future time. A new
    /// log gets none.
    pub fn stamp(&self) -> Result<Nanos, Wrong> {
        self.look().or_else(|wrong| {
            let (state, boot) = (*self.lock(), since_boot());
            let (known, at) = self.begun;
            let known = (state.known > Nanos(0))
                .then(|| later(known, boot.saturating_sub(at)).max(state.known));
            state.expected(boot).or(known).ok_or(wrong)
        })
    }
}

impl State {
    /// The time that the clock would show at `boot` if nobody had set it.
    fn expected(&self, boot: Duration) -> Option<Nanos> {
        let (wall, at) = self.base?;
        Some(later(wall, boot.saturating_sub(at)))
    }

    /// What is known after a reading, and what is wrong.
    fn look(self, now: Nanos, boot: Duration) -> (Self, Option<Wrong>) {
        let expected = self.expected(boot);
        let known = self.known.max(expected.unwrap_or_default());
        if now < EARLIEST {
            (self, Some(Wrong::Early(now)))
        } else if known > Nanos(0) && now > later(known, SILENCE_MAX) {
            (self, Some(Wrong::Far { now, known }))
        } else if let Some(expected) = expected.filter(|expected| apart(*expected, now) > APART_MAX)
        {
            (self, Some(Wrong::Stepped { now, expected }))
        } else {
            // Small corrections are normal (NTP). The next reading counts from here.
            (Self { known: self.known, base: Some((now, boot)) }, None)
        }
    }
}

/// Difference of two times.
pub fn apart(one: Nanos, other: Nanos) -> Duration {
    Duration::from_nanos(one.0.abs_diff(other.0))
}

/// The time `by` later, at most the end of time.
pub fn later(time: Nanos, by: Duration) -> Nanos {
    Nanos(time.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Nanos = Nanos(EARLIEST.0 + 1_000_000_000_000_000_000);
    const DAY: u64 = 24 * 3600;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A log that knows `NOON`; a process whose clock was right then (`running`) or that is just starting.
    /// After `passed` seconds the clock shows `NOON` and `ahead` seconds.
    fn check(running: bool, passed: u64, ahead: i64, wrong: &str) {
        let base = running.then_some((NOON, secs(100)));
        let state = State { known: NOON, base };
        let now = Nanos(NOON.0.checked_add_signed(ahead * 1_000_000_000).unwrap());
        let (next, found) = state.look(now, secs(100 + passed));
        let name = format!("{found:?}");
        assert!(name.starts_with(wrong), "{running} {passed} {ahead}: {name}");
        assert_eq!(next == state, found.is_some() || (passed == 0 && ahead == 0));
    }

    #[test]
    fn p9_a_clock_is_judged_by_what_is_known() {
        check(true, 0, 0, "None");
        check(true, 3600, 3600, "None");
        check(true, 3600, 3610, "None");
        check(true, 0, 31, "Some(Stepped");
        check(true, 10, 3610, "Some(Stepped");
        check(true, 3600, -20, "Some(Stepped");
        check(true, 90 * DAY, 90 * 86_400, "None");
        check(true, 1, 10 * 365 * 86_400, "Some(Far");
        check(false, 0, 10 * 365 * 86_400, "Some(Far");
        check(false, 0, 31 * 86_400, "Some(Far");
        check(false, 0, 29 * 86_400, "None");
        check(false, 0, -3600, "None");
        check(false, 0, -40 * 365 * 86_400, "Some(Early");
    }

    #[test]
    fn p9_a_new_log_takes_the_clock_as_it_is() {
        let (next, wrong) = State { known: Nanos(0), base: None }.look(NOON, secs(1));
        assert_eq!((next.base, wrong), (Some((NOON, secs(1))), None));
    }

    #[test]
    fn p9_a_clock_that_is_wrong_from_the_start_dates_nothing_ahead() {
        let long_ago = Nanos(wall_clock().0 - later(Nanos(0), SILENCE_MAX).0 * 2);
        let clock = Clock::new(wall_clock, long_ago);
        assert!(matches!(clock.look(), Err(Wrong::Far { .. })));
        let stamped = clock.stamp().unwrap();
        assert!(stamped >= long_ago && apart(stamped, long_ago) < secs(600));
        clock.accept();
        assert!(apart(clock.stamp().unwrap(), wall_clock()) < secs(600));
    }

    #[test]
    fn p9_small_corrections_add_up() {
        let mut state = State { known: NOON, base: Some((NOON, secs(0))) };
        for n in 1..100 {
            let (next, wrong) = state.look(later(NOON, secs(30 * n)), secs(n));
            assert_eq!(wrong, None);
            state = next;
        }
    }

    #[test]
    fn p9_time_goes_on_while_the_clock_is_wrong() {
        let clock = Clock::new(wall_clock, Nanos(0));
        assert!(clock.stamp().is_ok());
        let (wall, at) = clock.lock().base.unwrap();
        // The clock was an hour behind at the last reading, so now it is an hour ahead of what is expected.
        clock.lock().base = Some((Nanos(wall.0 - 3_600_000_000_000), at));
        assert!(matches!(clock.look(), Err(Wrong::Stepped { .. })));
        assert!(apart(clock.stamp().unwrap(), wall_clock()) > secs(3500));
        clock.accept();
        assert!(apart(clock.look().unwrap(), wall_clock()) < secs(60));
    }
}
