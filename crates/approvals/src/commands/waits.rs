//! How long approvals waited for people, by how that ended: figures for metrics.

use crate::history::Approval;
use decider::approval::Phase;
use ledger::timing::Reading;
use std::{collections::BTreeMap, sync::Mutex, time::Duration};

/// Upper bounds of the buckets, in seconds: a second to a day.
const BOUNDS: [f64; 14] = [
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0,
    86_400.0,
];

/// The waits since the start, by how they ended.
#[derive(Default)]
pub struct Waits(Mutex<BTreeMap<&'static str, Counted>>);

#[derive(Clone, Copy, Default)]
struct Counted {
    sum: f64,
    /// One for each bound, and one for everything longer.
    counts: [u64; BOUNDS.len() + 1],
}

/// How waiting for people ended. `None` while it goes on.
fn end_of(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::None | Phase::Pending => None,
        Phase::Denied => Some("denied"),
        Phase::Expired => Some("expired"),
        Phase::Cancelled => Some("cancelled"),
        Phase::Superseded => Some("superseded"),
        Phase::Granted
        | Phase::Minted
        | Phase::Redeemed
        | Phase::Completed
        | Phase::Failed
        | Phase::Unknown
        | Phase::Revoked
        | Phase::Lapsed => Some("granted"),
    }
}

impl Waits {
    /// Notes an approval that was pending before.
    pub(super) fn note(&self, approval: &Approval) {
        let Some(end) = end_of(approval.state.phase) else { return };
        let Some(opened) = approval.steps.first() else { return };
        let ended = approval.state.granted_at.or(approval.state.ended_at);
        let waited = ended.unwrap_or(opened.at).0.saturating_sub(opened.at.0);
        self.observe(end, Duration::from_nanos(waited));
    }

    fn observe(&self, end: &'static str, waited: Duration) {
        let seconds = waited.as_secs_f64();
        let mut all = self.0.lock().expect("no holder of the lock panics");
        let counted = all.entry(end).or_default();
        counted.sum += seconds;
        counted.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
    }

    /// The present content.
    pub fn read(&self) -> Vec<(&'static str, Reading)> {
        let all = self.0.lock().expect("no holder of the lock panics");
        let read = |(end, counted): (&&'static str, &Counted)| {
            let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(counted.counts).collect();
            (*end, Reading { sum: counted.sum, count: counted.counts.iter().sum(), buckets })
        };
        all.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_counted_by_their_end() {
        let waits = Waits::default();
        for (end, seconds) in [("granted", 1), ("granted", 2), ("denied", 100_000)] {
            waits.observe(end, Duration::from_secs(seconds));
        }
        let all = waits.read();
        assert_eq!(
            all.iter().map(|(end, read)| (*end, read.count)).collect::<Vec<_>>(),
            [("denied", 1), ("granted", 2)]
        );
        assert_eq!(all[0].1.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert_eq!(all[1].1.buckets[..2], [(1.0, 1), (5.0, 1)]);
        assert_eq!(end_of(Phase::Pending), None);
        assert_eq!(
            (end_of(Phase::Minted), end_of(Phase::Expired)),
            (Some("granted"), Some("expired"))
        );
    }
}
