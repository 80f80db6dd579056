//! What is watched of one agent, tool or producer.

use super::{
    clock::Interval,
    finding::{Finding, number},
    habits::Habits,
    seen::Call,
    series::{High, Series, learn},
    settings::Settings,
};
use ledger::{
    system::alert::{About, AlertRule},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The rates, and the rules by which they are judged.
const RATES: [AlertRule; 5] = [
    AlertRule::Calls,
    AlertRule::Denials,
    AlertRule::ApprovalsAsked,
    AlertRule::RedemptionsRefused,
    AlertRule::Spending,
];
const CALLS: usize = 0;
const DENIALS: usize = 1;
const ASKED: usize = 2;
const REFUSED: usize = 3;
const SPENDING: usize = 4;

/// Fewest days of its sort (weekday or weekend) that must be known.
const DAYS_OF_CLASS_MIN: u32 = 2;
/// One call counts at most as much as so many usual ones: a single large amount is no rate.
const SIZE_MAX: f64 = 5.0;
/// Most units of money of one subject.
const UNITS_MAX: usize = 4;
/// Fewest intervals that a silence lasts.
const SILENT_INTERVALS_MIN: u32 = 2;

/// The usual size of a call in one unit of money.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Size {
    mean: f64,
    days: u32,
    today: (f64, u32),
    /// The mean of squares of sizes, in usual ones.
    squares: f64,
    squares_today: f64,
}

/// One agent, tool or producer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    first: Nanos,
    /// The last time that it did something.
    pub last: Nanos,
    last_index: u64,
    /// Days that count, of each class. The first one does not: it began before the subject did.
    days: [u32; 2],
    is_first_day: bool,
    rates: [Option<Box<Series>>; 5],
    sizes: BTreeMap<String, Size>,
    /// Intervals since the last call, and how many calls are usual in them.
    silent: (u32, f64),
    is_silent: bool,
    /// What only agents have.
    pub habits: Habits,
}

impl Subject {
    /// One that is new.
    pub fn new(time: Nanos) -> Self {
        Self { first: time, is_first_day: true, ..Self::default() }
    }

    /// Seconds for which it is known.
    pub fn age(&self, now: Nanos) -> u64 {
        now.seconds().saturating_sub(self.first.seconds())
    }

    fn add(&mut self, rate: usize, index: u64, value: f64) {
        self.rates[rate].get_or_insert_default().add(index, value);
    }

    /// Counts a call.
    pub fn call(&mut self, (index, time): (u64, Nanos), call: &Call) {
        (self.last, self.last_index) = (time, index);
        (self.silent, self.is_silent) = ((0, 0.0), false);
        self.add(CALLS, index, 1.0);
        if call.denied {
            self.add(DENIALS, index, 1.0);
        }
        if call.asks {
            self.add(ASKED, index, 1.0);
        }
        if let Some((amount, unit)) = call.amount.as_ref().filter(|_| !call.denied)
            && let Some(size) = self.size(*amount, unit)
        {
            self.add(SPENDING, index, size);
        }
    }

    /// Counts a redemption that was refused.
    pub fn refused(&mut self, (index, time): (u64, Nanos)) {
        self.last = time;
        self.add(REFUSED, index, 1.0);
    }

    /// How many usual calls an amount is. `None` on the first day of its unit.
    fn size(&mut self, amount: f64, unit: &str) -> Option<f64> {
        if !self.sizes.contains_key(unit) && self.sizes.len() < UNITS_MAX {
            self.sizes.insert(unit.to_owned(), Size::default());
        }
        let size = self.sizes.get_mut(unit)?;
        size.today.0 += amount;
        size.today.1 += 1;
        let of_usual = (amount / size.mean).min(SIZE_MAX);
        if size.days == 0 {
            return None;
        }
        size.squares_today += of_usual * of_usual;
        Some(of_usual)
    }

    /// Ends an interval.
    pub fn interval(
        &mut self,
        (about, watches_silence): (&About, bool),
        at: &Interval,
        settings: &Settings,
    ) -> Vec<Finding> {
        let is_old = self.age(at.begin) >= settings.learn_seconds();
        let known = is_old && self.days[at.class] >= DAYS_OF_CLASS_MIN;
        let mut found = Vec::new();
        let squares = self.sizes.values().map(|size| size.squares).fold(1.0, f64::max);
        for (rate, series) in self.rates.iter_mut().enumerate() {
            let size = if rate == SPENDING { squares } else { 1.0 };
            let Some(series) = series else { continue };
            if let Some(high) = series.interval(at, (known, size), settings) {
                found.push(too_high(RATES[rate], about.clone(), high));
            }
        }
        if watches_silence && known {
            found.extend(self.silence(about, at, settings));
        }
        found
    }

    fn silence(&mut self, about: &About, at: &Interval, settings: &Settings) -> Option<Finding> {
        if self.last >= at.begin {
            return None;
        }
        let calls = self.rates[CALLS].as_ref()?;
        self.silent.0 += 1;
        self.silent.1 += calls.least(at.hour, at.class) / calls.spread();
        let (intervals, missed) = self.silent;
        if self.is_silent || intervals < SILENT_INTERVALS_MIN || missed < settings.silence_calls {
            return None;
        }
        self.is_silent = true;
        let values = vec![("usual_calls_since", number(missed))];
        let of = (AlertRule::SilentProducer, about.clone());
        Some(Finding::new(of, self.last, values, vec![self.last_index]))
    }

    /// Nobody was there for a while.
    pub fn pause(&mut self) {
        self.silent = (0, 0.0);
        for series in self.rates.iter_mut().flatten() {
            series.pause();
        }
    }

    /// Ends a day.
    pub fn day(&mut self, class: usize) {
        let counts = !std::mem::take(&mut self.is_first_day);
        if counts {
            self.days[class] = self.days[class].saturating_add(1);
        }
        let days = if counts { self.days[class] } else { 0 };
        for series in self.rates.iter_mut().flatten() {
            series.day(class, days);
        }
        for size in self.sizes.values_mut() {
            size.day();
        }
        self.habits.day();
    }
}

impl Size {
    fn day(&mut self) {
        let (sum, count) = std::mem::take(&mut self.today);
        let squares = std::mem::take(&mut self.squares_today);
        if count == 0 {
            return;
        }
        if self.days > 0 {
            learn(&mut self.squares, self.days, squares / f64::from(count));
        }
        self.days = self.days.saturating_add(1);
        learn(&mut self.mean, self.days, sum / f64::from(count));
    }
}

fn too_high(rule: AlertRule, about: About, high: High) -> Finding {
    let High { since, seen, usual, ewma, cusum, entries } = high;
    let values = vec![
        ("seen", number(seen)),
        ("usual_at_most", number(usual)),
        ("ewma", number(ewma)),
        ("cusum", number(cusum)),
        ("interval_seconds", super::clock::INTERVAL_SECONDS.to_string()),
    ];
    Finding::new((rule, about), since, values, entries)
}
