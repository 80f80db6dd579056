//! Part 6, availability: in which minutes a probe of each decider is in the log.

use super::{
    Error, Out,
    table::Table,
    values::{day, text},
};
use ledger::{entry::View, time::Nanos, verify::period::Period};
use std::collections::{BTreeMap, BTreeSet};

/// Nanoseconds of a minute.
const MINUTE: u64 = 60_000_000_000;
/// Minutes of a day.
const OF_A_DAY: u64 = 1_440;

/// The probes of a period.
pub struct Availability {
    /// The first whole minute of the period, and the one after its last one.
    minutes: (u64, u64),
    /// By decider.
    probed: BTreeMap<String, BTreeSet<u64>>,
}

impl Availability {
    /// For a period. Only minutes that are wholly in it count.
    pub fn new(period: Period) -> Self {
        let begin = period.from.0.div_ceil(MINUTE);
        let end = (period.to.0 / MINUTE).max(begin);
        Self { minutes: (begin, end), probed: BTreeMap::new() }
    }

    /// Takes a probe of the period.
    pub fn take(&mut self, view: &View<'_>) {
        let minute = view.origin.time.0 / MINUTE;
        let decider = text(view, &["event", "data", "agent", "run"]).to_owned();
        let probed = self.probed.entry(decider).or_default();
        if (self.minutes.0..self.minutes.1).contains(&minute) {
            probed.insert(minute);
        }
    }

    /// Minutes in which a probe of each decider is in the log, of the minutes of the period. Without any probe there is
    /// nothing to count.
    pub fn share(&self) -> (u64, u64) {
        let mut sets = self.probed.values();
        let Some(first) = sets.next() else { return (0, 0) };
        let all = sets.fold(first.clone(), |all, one| all.intersection(one).copied().collect());
        (all.len() as u64, self.minutes.1 - self.minutes.0)
    }

    /// Writes each day of each decider.
    pub fn finish(&self, out: &mut dyn Out) -> Result<(), Error> {
        const COLUMNS: &[&str] =
            &["decider", "day", "minutes", "with_probe", "longest_gap_minutes", "gap_since"];
        let mut table = Table::new("population/availability.csv", COLUMNS);
        let (begin, end) = self.minutes;
        for (decider, probed) in &self.probed {
            let mut at = begin;
            while at < end {
                let next = ((at / OF_A_DAY + 1) * OF_A_DAY).min(end);
                let (gap, since) = gap(probed.range(at..next).copied(), (at, next));
                let with = probed.range(at..next).count().to_string();
                let since =
                    if gap == 0 { String::new() } else { Nanos(since * MINUTE).to_string() };
                let day = day(Nanos(at * MINUTE));
                let (minutes, gap) = ((next - at).to_string(), gap.to_string());
                table.row(out, &[decider, &day, &minutes, &with, &gap, &since])?;
                at = next;
            }
        }
        table.finish(out)
    }
}

/// The longest row of minutes without a probe, and its first minute.
fn gap(probed: impl Iterator<Item = u64>, (begin, end): (u64, u64)) -> (u64, u64) {
    let (mut longest, mut from) = ((0, begin), begin);
    for minute in probed.chain([end]) {
        if minute - from > longest.0 {
            longest = (minute - from, from);
        }
        from = minute + 1;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: (u64, u64), probed: &[(&str, &[u64])], share: (u64, u64)) {
        let at = |seconds: u64| Nanos(seconds * 1_000_000_000);
        let period = Period { from: at(seconds.0), to: at(seconds.1) };
        let mut availability = Availability::new(period);
        for (decider, minutes) in probed {
            let known = availability.probed.entry((*decider).to_owned()).or_default();
            known.extend(minutes.iter().copied());
        }
        assert_eq!(availability.share(), share, "{probed:?}");
    }

    #[test]
    fn p20_availability_is_minutes_of_every_decider() {
        check((0, 600), &[], (0, 0));
        check((0, 600), &[("r1", &[0, 1, 2, 9])], (4, 10));
        check((0, 600), &[("r1", &[0, 1, 2]), ("r2", &[1, 2, 3])], (2, 10));
        check((0, 600), &[("r1", &[0, 1]), ("r2", &[])], (0, 10));
        check((30, 150), &[("r1", &[1])], (1, 1));
        check((30, 50), &[("r1", &[])], (0, 0));
    }

    #[test]
    fn the_longest_gap() {
        let check = |probed: &[u64], expected| {
            assert_eq!(gap(probed.iter().copied(), (10, 20)), expected, "{probed:?}");
        };
        check(&[], (10, 10));
        check(&[10, 11, 12, 13, 14, 15, 16, 17, 18, 19], (0, 10));
        check(&[10, 15, 19], (4, 11));
        check(&[12, 13], (6, 14));
    }
}
