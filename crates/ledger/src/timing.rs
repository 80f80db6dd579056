//! Measures how long the writer's steps take, as counts by upper bound.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets, in microseconds: 100 µs to 13 s, about doubling.
const BOUNDS_MICROS: [u64; 18] = [
    100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600,
    819_200, 1_638_400, 3_276_800, 6_553_600, 13_107_200,
];

/// A histogram. A reading during a write may miss the newest observation.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One count for each bound, and one for everything longer.
    counts: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// Content of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Sum of all observations, in seconds.
    pub sum: f64,
    /// Number of observations.
    pub count: u64,
    /// Upper bound in seconds (the last one infinite), and the number of observations between it and the bound
    /// before.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Counts one observation.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The present content.
    pub fn read(&self) -> Reading {
        let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
        let bounds = BOUNDS_MICROS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Reading { sum: seconds(self.sum_micros.load(Ordering::Relaxed)), count, buckets }
    }
}

/// The steps of a commit.
#[derive(Debug, Default)]
pub struct Timings {
    /// From handing over work to its turn.
    pub queue: Histogram,
    /// A whole commit: posting, signing, both fsyncs, publishing.
    pub commit: Histogram,
    /// The database's write and its fsync.
    pub fsync: Histogram,
    /// The guard's write and its fdatasync.
    pub guard: Histogram,
    /// From handing over work until a signed checkpoint that covers it is published.
    pub proof: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_under_their_bound() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 13_107_200, 13_107_201] {
            histogram.observe(Duration::from_micros(micros));
        }
        let Reading { sum, count, buckets } = histogram.read();
        assert_eq!(count, 5);
        assert!((sum - 26.214_602).abs() < 1e-6, "{sum}");
        let filled: Vec<_> = buckets.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(0.0001, 2), (0.0002, 1), (13.1072, 1), (f64::INFINITY, 1)]);
    }
}
