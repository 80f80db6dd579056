//! How a witness stands with one log.

use super::ask::{Done, Failed};
use ledger::{ident::Ident, time::Nanos};
use std::time::{Duration, Instant};

/// The first pause after a failure, and the longest one.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Seconds without a cosignature after which it is an alarm.
const AWAY_SECONDS: u64 = 600;

/// How a witness stands with one log.
#[derive(Default)]
pub(super) struct Standing {
    /// Size that the witness has cosigned, as far as it is known here.
    pub(super) known: u64,
    /// Size of the last cosignature that is here, and its time.
    pub(super) cosigned: (u64, u64),
    /// True while it is being asked.
    pub(super) busy: bool,
    /// What it says against this log.
    pub(super) conflict: Option<String>,
    failures: u64,
    in_row: u32,
    not_before: Option<Instant>,
    failing_since: Option<Nanos>,
    says: Option<String>,
}

/// Figures for the metrics.
pub struct Figures {
    /// Name of the witness.
    pub name: String,
    /// Size, entries that it has not cosigned, failed attempts, conflict: one for each metric of `metrics::witnesses`.
    pub values: [u64; 4],
}

impl Standing {
    /// True if it is to be asked for a checkpoint of this size.
    pub(super) fn may_ask(&self, size: u64) -> bool {
        let rests = self.not_before.is_some_and(|until| Instant::now() < until);
        !self.busy && !rests && self.cosigned.0 < size
    }

    /// Notes a cosignature.
    pub(super) fn took(&mut self, done: &Done) {
        self.cosigned = (done.size, done.cosigned.time);
        self.known = done.size;
        (self.in_row, self.not_before) = (0, None);
        (self.failing_since, self.says, self.conflict) = (None, None, None);
    }

    /// Notes that there is none. The first failure begins the time of the alarm. True if the words are new.
    pub(super) fn failed(&mut self, now: Nanos, failed: Failed) -> bool {
        let pause = PAUSE_MIN.saturating_mul(1 << self.in_row.min(8)).min(PAUSE_MAX);
        let (after, why, conflict) = match failed {
            Failed::Later { after, why } => (after, why, None),
            Failed::Conflict(why) => (None, why.clone(), Some(why)),
        };
        let is_new = self.says.as_ref() != Some(&why);
        self.failures += 1;
        self.in_row += 1;
        self.not_before = Some(Instant::now() + after.unwrap_or(pause).max(pause));
        self.failing_since.get_or_insert(now);
        self.says = Some(why);
        // A witness that is only away takes nothing back that it said before.
        self.conflict = conflict.or_else(|| self.conflict.take());
        // What was learned may be wrong: ask again from the beginning.
        self.known = 0;
        is_new
    }

    /// Why there is no cosignature for long.
    pub(super) fn away(&self, now: Nanos) -> Option<String> {
        let since = self.failing_since?;
        let long = now.0.saturating_sub(since.0) / 1_000_000_000 >= AWAY_SECONDS;
        let says = self.says.as_deref().unwrap_or_default();
        long.then(|| format!("no cosignature since {since}: {says}"))
    }

    pub(super) fn figures(&self, name: &Ident, size: u64) -> Figures {
        let lag = size.saturating_sub(self.cosigned.0);
        let conflict = self.conflict.is_some().into();
        Figures { name: name.to_string(), values: [self.cosigned.0, lag, self.failures, conflict] }
    }
}
