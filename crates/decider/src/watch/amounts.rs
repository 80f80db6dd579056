//! The amounts of single calls of an agent with a tool: whether they drift upwards. What is usual is learned at the end of
//! each day, so that a drift within a day is not learned while it goes on.

use super::{
    finding::{Finding, number},
    seen::Call,
    series::{keep_recent, learn},
    settings::Settings,
};
use ledger::{
    system::alert::{About, AlertRule, Sort},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most agents with a tool and a unit of money that are watched.
pub const AMOUNTS_MAX: usize = 4_000;
/// Fewest days and amounts that must be known.
const DAYS_MIN: u32 = 5;
const AMOUNTS_MIN: u32 = 100;
/// A deviation counts at most so many standard deviations.
const Z_MAX: f64 = 3.0;
/// What a deviation must exceed to count: half a standard deviation.
const Z_SLACK: f64 = 0.5;
/// Least standard deviation, as a power of two: about 19 %.
const SPREAD_MIN: f64 = 0.25;

/// The amounts of one agent with one tool in one unit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Amount {
    mean: f64,
    square: f64,
    days: u32,
    count: u32,
    /// Sum, sum of squares and number of this day.
    today: (f64, f64, u32),
    cusum: f64,
    since: Option<Nanos>,
    recent: Vec<u64>,
    quiet_until: Nanos,
    last: Nanos,
}

/// All of them, by agent, tool and unit.
#[derive(Default, Serialize, Deserialize)]
pub struct Amounts(
    #[serde(with = "super::saved::pairs")] BTreeMap<(String, String, String), Amount>,
);

impl Amounts {
    /// Takes a call.
    pub fn call(
        &mut self,
        (index, time): (u64, Nanos),
        call: &Call,
        settings: &Settings,
    ) -> Option<Finding> {
        let (amount, unit) = call.amount.as_ref().filter(|_| !call.denied)?;
        let key = (call.agent.clone(), call.tool.clone(), unit.clone());
        if !self.0.contains_key(&key) && self.0.len() >= AMOUNTS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, one)| one.last)?;
            if oldest.1.last.plus_seconds(86_400) > time {
                return None;
            }
            let oldest = oldest.0.clone();
            self.0.remove(&oldest);
        }
        let one = self.0.entry(key).or_default();
        one.last = time;
        let high = one.take((index, time), log2(*amount), settings)?;
        let about = About { what: Sort::Agent, id: call.agent.clone(), producer: None };
        let values = vec![
            ("tool", call.tool.clone()),
            ("unit", unit.clone()),
            ("last", number(*amount)),
            ("cusum", number(high)),
        ];
        let since = one.since.take().unwrap_or(time);
        Some(Finding::new((AlertRule::Amounts, about), since, values, one.recent.clone()))
    }

    /// Ends a day.
    pub fn day(&mut self) {
        self.0.values_mut().for_each(Amount::day);
    }
}

impl Amount {
    /// The evidence, once it is too much.
    fn take(
        &mut self,
        (index, time): (u64, Nanos),
        value: f64,
        settings: &Settings,
    ) -> Option<f64> {
        self.today = (self.today.0 + value, self.today.1 + value * value, self.today.2 + 1);
        if self.days < DAYS_MIN.max(settings.learn_days / 2) || self.count < AMOUNTS_MIN {
            return None;
        }
        let spread = (self.square - self.mean * self.mean).max(0.0).sqrt().max(SPREAD_MIN);
        let z = ((value - self.mean) / spread).clamp(-Z_MAX, Z_MAX);
        self.cusum = (self.cusum + z - Z_SLACK).max(0.0);
        if self.cusum > 0.0 {
            self.since.get_or_insert(time);
            keep_recent(&mut self.recent, index);
        } else {
            self.since = None;
            self.recent.clear();
        }
        if self.cusum < settings.amounts_limit || time < self.quiet_until {
            return None;
        }
        self.quiet_until = settings.again(time);
        Some(std::mem::take(&mut self.cusum))
    }

    fn day(&mut self) {
        let (sum, squares, count) = std::mem::take(&mut self.today);
        if count == 0 {
            return;
        }
        self.days = self.days.saturating_add(1);
        self.count = self.count.saturating_add(count);
        learn(&mut self.mean, self.days, sum / f64::from(count));
        learn(&mut self.square, self.days, squares / f64::from(count));
    }
}

/// About the binary logarithm: the exponent, and the mantissa as a straight line. The same on every machine.
fn log2(value: f64) -> f64 {
    let bits = value.to_bits();
    let exponent = u32::try_from((bits >> 52) & 0x7ff).unwrap_or_default();
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52)) - 1.0;
    f64::from(exponent) - 1023.0 + mantissa
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_near_and_grows() {
        let mut before = f64::MIN;
        for n in 1..2000_u32 {
            let value = f64::from(n) / 7.0;
            let found = log2(value);
            assert!((found - value.log2()).abs() < 0.09 && found > before, "{value}");
            before = found;
        }
    }
}
