//! What the counts of a tenant's entries say: the figures of compliance, by their definitions (`proto/formats/counts.md`).
//! Pure.

use ledger::post::{LATENCY_MS, OfDay, OfName};

/// A part of a whole. Without a whole there is no ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The part.
    pub part: u64,
    /// The whole.
    pub whole: u64,
}

impl Share {
    /// The ratio, 0 to 1. `None` if there is nothing that it is a part of.
    #[expect(clippy::cast_precision_loss, reason = "counts of entries stay below 2^53")]
    pub fn ratio(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }
}

fn of<'c>(day: &'c OfDay, name: &str) -> Option<&'c OfName> {
    day.get(name)
}

/// How often a value of a name was counted.
pub fn count(day: &OfDay, name: &str, value: &str) -> u64 {
    of(day, name).and_then(|counts| counts.values.get(value)).copied().unwrap_or(0)
}

fn sum(day: &OfDay, name: &str) -> u64 {
    of(day, name).map_or(0, |counts| counts.values.values().sum::<u64>() + counts.other)
}

/// Policy coverage: decisions on which a policy applied, of all decisions about agents' calls.
pub fn coverage(day: &OfDay) -> Share {
    Share { part: count(day, "policy", "with"), whole: sum(day, "policy") }
}

/// Availability: minutes with a probe of the decider that has fewest, of these minutes. Without any probe there is no share.
pub fn availability(day: &OfDay, minutes: u64) -> Share {
    let deciders = of(day, "probe").map(|counts| counts.values.values().copied());
    let fewest = deciders.and_then(Iterator::min);
    fewest.map_or_else(Share::default, |probes| Share { part: probes.min(minutes), whole: minutes })
}

/// Executions that name the decision on their call, of all that were reported. Those that an approval released have one.
pub fn executions_with_decision(day: &OfDay) -> Share {
    let of_approvals = count(day, "approval", "execution_reported");
    let whole = sum(day, "execution") + of_approvals;
    Share { part: whole - count(day, "execution", "none"), whole }
}

/// Elevated with approval: released by an approval, of all that were executed after `approval_needed`.
pub fn elevated_with_approval(day: &OfDay) -> Share {
    let redeemed = count(day, "approval", "redeemed");
    Share { part: redeemed, whole: redeemed + count(day, "execution", "approval_needed") }
}

/// The upper bound, in seconds, of the class in which this share of the decisions of ours was taken by the journal. `None`
/// without any; infinite beyond the last class.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a minute")]
pub fn latency(day: &OfDay, quantile: f64) -> Option<f64> {
    let all = sum(day, "latency");
    let wanted = Share { part: 0, whole: all }.ratio().map(|_| all as f64 * quantile)?;
    let mut seen = 0;
    for bound in LATENCY_MS {
        seen += count(day, "latency", &bound.to_string());
        if seen as f64 >= wanted {
            return Some(bound as f64 / 1000.0);
        }
    }
    Some(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(counts: &[(&'static str, &str, u64)]) -> OfDay {
        let mut day = OfDay::new();
        for (name, value, count) in counts {
            day.entry(name).or_default().values.insert((*value).to_owned(), *count);
        }
        day
    }

    #[test]
    fn shares_are_those_of_their_definitions() {
        let nothing = OfDay::new();
        for share in [coverage(&nothing), executions_with_decision(&nothing)] {
            assert_eq!(share.ratio(), None);
        }
        let one = day(&[
            ("policy", "with", 8),
            ("policy", "without", 2),
            ("execution", "allow", 5),
            ("execution", "approval_needed", 1),
            ("execution", "none", 2),
            ("approval", "redeemed", 3),
            ("approval", "execution_reported", 2),
        ]);
        assert_eq!(coverage(&one), Share { part: 8, whole: 10 });
        assert_eq!(executions_with_decision(&one), Share { part: 8, whole: 10 });
        assert_eq!(elevated_with_approval(&one), Share { part: 3, whole: 4 });
        assert_eq!(elevated_with_approval(&one).ratio(), Some(0.75));
    }

    #[test]
    fn availability_is_that_of_the_decider_with_fewest_probes() {
        let check = |probes: &[(&'static str, &str, u64)], minutes, part, whole| {
            assert_eq!(availability(&day(probes), minutes), Share { part, whole }, "{probes:?}");
        };
        check(&[], 1_440, 0, 0);
        check(&[("probe", "r1", 1_440)], 1_440, 1_440, 1_440);
        check(&[("probe", "r1", 1_440), ("probe", "r2", 1_400)], 1_440, 1_400, 1_440);
        check(&[("probe", "r1", 8)], 7, 7, 7);
        check(&[("probe", "r1", 0)], 0, 0, 0);
    }

    #[test]
    fn latency_is_the_bound_of_its_class() {
        let check = |counts: &[(&'static str, &str, u64)], quantile, expected| {
            assert_eq!(latency(&day(counts), quantile), expected, "{counts:?}");
        };
        check(&[], 0.5, None);
        check(&[("latency", "5", 1)], 0.5, Some(0.005));
        let many = [("latency", "5", 98), ("latency", "20", 1), ("latency", "1000", 1)];
        check(&many, 0.5, Some(0.005));
        check(&many, 0.99, Some(0.02));
        check(&many, 0.995, Some(1.0));
        check(&[("latency", "more", 3)], 0.5, Some(f64::INFINITY));
    }
}
