//! Journal time, in the steps in which a watch judges.

use ledger::time::Nanos;
use serde::{Deserialize, Serialize};

/// Length of an interval, in seconds.
pub const INTERVAL_SECONDS: u64 = 900;
/// Intervals of an hour.
pub const PER_HOUR: f64 = 4.0;
/// So many intervals without any entry are a pause: nobody was there, or this server was not. It is not judged.
const PAUSE_INTERVALS: u64 = 8;
const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

/// What happens as time moves.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A minute has passed. It is now this time.
    Minute(Nanos),
    /// An interval is over.
    Interval(Interval),
    /// A long time passed without any entry.
    Pause,
    /// A day is over: a weekday (0) or a day of a weekend (1).
    Day(usize),
}

/// An interval that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// When it began.
    pub begin: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// Its hour of the day in UTC.
    pub hour: usize,
    /// 0 on weekdays, 1 on Saturdays and Sundays, in UTC.
    pub class: usize,
}

/// Where time is.
#[derive(Default, Serialize, Deserialize)]
pub struct Clock {
    /// Seconds since 1970 of the last entry. `None` before the first one.
    seconds: Option<u64>,
}

impl Clock {
    /// The steps to a later time, in order. A time that is earlier, after a clock was reset, gives none.
    pub fn moves_to(&mut self, time: Nanos) -> Vec<Step> {
        let now = time.seconds();
        let Some(before) = self.seconds.replace(now) else { return Vec::new() };
        let mut steps = Vec::new();
        let (first, last) = (before / INTERVAL_SECONDS, now / INTERVAL_SECONDS);
        if last > first + PAUSE_INTERVALS {
            steps.push(Step::Pause);
            if now / DAY != before / DAY {
                steps.push(Step::Day(class(before)));
            }
        } else {
            for interval in first..last {
                let begin = interval * INTERVAL_SECONDS;
                steps.push(Step::Interval(Interval {
                    begin: at(begin),
                    end: at(begin + INTERVAL_SECONDS),
                    hour: (begin % DAY / 3600) as usize,
                    class: class(begin),
                }));
                if (begin + INTERVAL_SECONDS).is_multiple_of(DAY) {
                    steps.push(Step::Day(class(begin)));
                }
            }
        }
        if now / MINUTE > before / MINUTE {
            steps.push(Step::Minute(time));
        }
        steps
    }
}

fn at(seconds: u64) -> Nanos {
    Nanos::default().plus_seconds(seconds)
}

/// The hour of a day, in UTC.
pub fn hour_of(time: Nanos) -> usize {
    (time.seconds() % DAY / 3600) as usize
}

/// The first of January 1970 was a Thursday.
fn class(seconds: u64) -> usize {
    usize::from(matches!((seconds / DAY + 4) % 7, 0 | 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_in_intervals_and_skips_pauses() {
        let mut clock = Clock::default();
        // 2026-11-27 is a Friday.
        let friday = Nanos::parse("2026-11-27T22:50:00Z").unwrap();
        assert_eq!(clock.moves_to(friday), []);
        assert_eq!(clock.moves_to(friday.plus_seconds(30)), []);
        let steps = clock.moves_to(friday.plus_seconds(30 * 60));
        let [Step::Interval(one), Step::Interval(two), Step::Minute(_)] = &steps[..] else {
            panic!("{steps:?}");
        };
        assert_eq!((one.hour, two.hour, one.class), (22, 23, 0));
        let steps = clock.moves_to(friday.plus_seconds(80 * 60));
        assert!(steps.contains(&Step::Day(0)), "{steps:?}");
        let steps = clock.moves_to(friday.plus_seconds(20 * 3600));
        assert!(matches!(steps[..], [Step::Pause, Step::Minute(_)]), "{steps:?}");
        let steps = clock.moves_to(friday.plus_seconds(30 * 3600));
        assert!(matches!(steps[..], [Step::Pause, Step::Day(1), Step::Minute(_)]), "{steps:?}");
        assert_eq!(clock.moves_to(friday), [], "after a reset of the clock");
    }
}
