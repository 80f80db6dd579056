//! One rate of one agent, tool or producer: what is usual at each hour, and whether it is far above that now.
//!
//! Two tests see it after each interval. The EWMA of the square roots' differences (their spread is the same for small
//! and large rates) sees a rise that lasts; the CUSUM of likelihood ratios for a rate four times as high sees few events
//! where usually there are none. Both compare with the highest of three hours, and a growth within the slack counts for
//! nothing: a rhythm that is early, or a good day, is no alert.

use super::{
    clock::{Interval, PER_HOUR},
    settings::Settings,
};
use ledger::{system::alert::SHOWN_MAX, time::Nanos};
use serde::{Deserialize, Serialize};

/// Weight of the newest interval in the smoothed value.
const EWMA_WEIGHT: f64 = 0.3;
/// Standard deviation of the smoothed value: the root of weight ÷ (2 − weight).
const EWMA_SPREAD: f64 = 0.420_084_025_208_403;
/// ln 4, and 4 − 1: the CUSUM's other rate is four times the usual one.
const RATIO_LN: f64 = 1.386_294_361_119_890_6;
const RATIO_LESS_ONE: f64 = 3.0;
/// Least usual rate of an interval.
const RATE_MIN: f64 = 0.05;
/// Least weight of a new day in what is usual.
const DAY_WEIGHT_MIN: f64 = 0.1;
/// Most that one interval says of the spread.
const SPREAD_MAX: f64 = 50.0;

/// One rate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    /// In this interval.
    now: f64,
    /// In each hour of this day.
    today: [f64; 24],
    /// What is usual in an interval of each hour, on weekdays and on weekends.
    usual: [[f64; 24]; 2],
    ewma: f64,
    cusum: f64,
    /// Since when the CUSUM is above 0.
    since: Option<Nanos>,
    /// How much more it spreads than chance alone, and what this day says of it.
    spread: f64,
    spread_days: u32,
    spread_today: (f64, u32),
    /// No alert before this time.
    quiet_until: Nanos,
    /// The last entries that it counted.
    recent: Vec<u64>,
}

/// A rate that is far too high.
pub struct High {
    /// Since when.
    pub since: Nanos,
    /// Seen in the last interval.
    pub seen: f64,
    /// What is usual.
    pub usual: f64,
    /// The smoothed value, in its standard deviations.
    pub ewma: f64,
    /// The evidence.
    pub cusum: f64,
    /// Entries that show it.
    pub entries: Vec<u64>,
}

impl Series {
    /// Counts an entry.
    pub fn add(&mut self, index: u64, value: f64) {
        self.now += value;
        keep_recent(&mut self.recent, index);
    }

    /// The least that is usual in an interval around an hour.
    pub fn least(&self, hour: usize, class: usize) -> f64 {
        let [before, at, after] = self.around(hour, class);
        before.min(at).min(after)
    }

    /// How much more it spreads than chance alone.
    pub fn spread(&self) -> f64 {
        self.spread.max(1.0)
    }

    fn around(&self, hour: usize, class: usize) -> [f64; 3] {
        let usual = &self.usual[class];
        [usual[(hour + 23) % 24], usual[hour], usual[(hour + 1) % 24]]
    }

    /// Ends an interval. `known`: whether what is usual is known well enough to judge; `size`: the spread of single values.
    pub fn interval(
        &mut self,
        at: &Interval,
        (known, size): (bool, f64),
        settings: &Settings,
    ) -> Option<High> {
        let seen = std::mem::take(&mut self.now);
        self.today[at.hour] += seen;
        if !known {
            return None;
        }
        let [before, now, after] = self.around(at.hour, at.class);
        let off = seen - now;
        self.spread_today.0 += (off * off / now.max(RATE_MIN)).min(SPREAD_MAX);
        self.spread_today.1 += 1;
        let mean = self.usual[at.class].iter().sum::<f64>() / 24.0;
        let slack = 1.0 + f64::from(settings.slack_percent) / 100.0;
        let usual = before.max(now).max(after).max(mean / 2.0).max(RATE_MIN) * slack;
        let spread = self.spread().max(size);
        let root = |value: f64| (value + 0.375).sqrt();
        let z = 2.0 * (root(seen) - root(usual)) / spread.sqrt();
        self.ewma = EWMA_WEIGHT * z + (1.0 - EWMA_WEIGHT) * self.ewma;
        let evidence = (seen * RATIO_LN - usual * RATIO_LESS_ONE) / spread;
        self.cusum = (self.cusum + evidence).max(0.0);
        if self.cusum > 0.0 {
            self.since.get_or_insert(at.begin);
        } else {
            self.since = None;
        }
        let ewma = self.ewma / EWMA_SPREAD;
        if (ewma < settings.ewma_limit && self.cusum < settings.cusum_limit)
            || at.end < self.quiet_until
        {
            return None;
        }
        let found = High {
            since: self.since.unwrap_or(at.begin),
            seen,
            usual,
            ewma,
            cusum: self.cusum,
            entries: self.recent.clone(),
        };
        (self.ewma, self.cusum, self.since) = (0.0, 0.0, None);
        self.quiet_until = settings.again(at.end);
        Some(found)
    }

    /// Forgets what gathered: nobody was there for a while.
    pub fn pause(&mut self) {
        self.now = 0.0;
        (self.ewma, self.cusum, self.since) = (0.0, 0.0, None);
    }

    /// Ends a day, the `days`th of its class that counts. `days` 0: it does not count.
    pub fn day(&mut self, class: usize, days: u32) {
        let today = std::mem::take(&mut self.today);
        let (sum, count) = std::mem::take(&mut self.spread_today);
        if count > 0 {
            self.spread_days += 1;
            learn(&mut self.spread, self.spread_days, sum / f64::from(count));
        }
        if days > 0 {
            for (usual, sum) in self.usual[class].iter_mut().zip(today) {
                learn(usual, days, sum / PER_HOUR);
            }
        }
    }
}

/// Learns a day, the `days`th one, into a mean: the first ten count alike, then older ones fade.
pub fn learn(mean: &mut f64, days: u32, today: f64) {
    let weight = (1.0 / f64::from(days)).max(DAY_WEIGHT_MIN);
    *mean += weight * (today - *mean);
}

/// Keeps as many of the last entries as an alert can name.
pub fn keep_recent(entries: &mut Vec<u64>, index: u64) {
    if entries.len() == SHOWN_MAX {
        entries.remove(0);
    }
    entries.push(index);
}
