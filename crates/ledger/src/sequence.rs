//! The numbers of one source: which were seen, which are missing (P3). Pure: a jump opens a gap at once,
//! without a timer.
//!
//! The first number seen is the base. Numbers below it, and numbers seen before, are never gaps.

/// Most gaps of one source that are tracked. Beyond that the oldest is forgotten, and stays open in the log
/// for ever.
pub const GAPS_MAX: usize = 1024;

/// A run of missing numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Gap {
    /// First missing number.
    pub from: u64,
    /// Last missing number.
    pub to: u64,
}

/// State of one `(producer, source)`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Sequence {
    base: u64,
    last: u64,
    gaps: Vec<Gap>,
}

/// What one number means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The expected number, or the first of all.
    Next,
    /// A later number than expected: these are missing now.
    Jump(Gap),
    /// A missing number: the gap that it was in, and what remains of it.
    Late {
        /// The gap as it was.
        gap: Gap,
        /// The 0 to 2 gaps that remain.
        open: Vec<Gap>,
    },
    /// The number was seen before, or is in a gap that is no longer tracked.
    Reused,
    /// The number is before the first one ever seen.
    BelowBase,
}

impl Sequence {
    /// The state after one more number, whatever it means.
    pub fn after(before: Option<Self>, number: u64, heartbeat: bool) -> Self {
        let Some(mut known) = before else { return Self::begin(number) };
        if heartbeat {
            known.heartbeat(number);
        } else {
            known.observe(number);
        }
        known
    }

    /// The state after the first number.
    pub fn begin(number: u64) -> Self {
        Self { base: number, last: number, gaps: Vec::new() }
    }

    /// Takes the number of a published event.
    pub fn observe(&mut self, number: u64) -> Seen {
        if number > self.last {
            let missed = Gap { from: self.last + 1, to: number - 1 };
            self.last = number;
            return if missed.from > missed.to { Seen::Next } else { self.open(missed) };
        }
        if number < self.base {
            return Seen::BelowBase;
        }
        let Some(at) = self.gaps.iter().position(|g| (g.from..=g.to).contains(&number)) else {
            return Seen::Reused;
        };
        let gap = self.gaps[at];
        let mut open = Vec::new();
        if gap.from < number {
            open.push(Gap { from: gap.from, to: number - 1 });
        }
        if number < gap.to {
            open.push(Gap { from: number + 1, to: gap.to });
        }
        self.gaps.splice(at..=at, open.iter().copied());
        self.bound();
        Seen::Late { gap, open }
    }

    /// Takes a heartbeat: the last number that its source has published. Returns the missing numbers at the
    /// end.
    pub fn heartbeat(&mut self, last: u64) -> Option<Gap> {
        if last <= self.last {
            return None;
        }
        let missed = Gap { from: self.last + 1, to: last };
        self.last = last;
        self.open(missed);
        Some(missed)
    }

    /// The tracked gaps, ascending.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    fn open(&mut self, gap: Gap) -> Seen {
        self.gaps.push(gap);
        self.bound();
        Seen::Jump(gap)
    }

    fn bound(&mut self) {
        let excess = self.gaps.len().saturating_sub(GAPS_MAX);
        self.gaps.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(numbers: &[u64], gaps: &[(u64, u64)]) {
        let mut sequence = Sequence::begin(numbers[0]);
        for number in &numbers[1..] {
            sequence.observe(*number);
        }
        let found: Vec<_> = sequence.gaps().iter().map(|g| (g.from, g.to)).collect();
        assert_eq!(found, gaps, "{numbers:?}");
    }

    #[test]
    fn p3_gaps() {
        check(&[5], &[]);
        check(&[5, 6, 7], &[]);
        check(&[5, 9], &[(6, 8)]);
        check(&[5, 9, 7], &[(6, 6), (8, 8)]);
        check(&[5, 9, 6, 8, 7], &[]);
        check(&[5, 9, 9, 5, 4], &[(6, 8)]);
        let mut sequence = Sequence::begin(5);
        assert_eq!(sequence.heartbeat(5), None);
        assert_eq!(sequence.heartbeat(7), Some(Gap { from: 6, to: 7 }));
        assert_eq!(sequence.observe(8), Seen::Next);
        assert_eq!(sequence.observe(8), Seen::Reused);
        assert_eq!(sequence.observe(1), Seen::BelowBase);
    }

    #[test]
    fn p13_gaps_are_bounded() {
        let mut sequence = Sequence::begin(0);
        for number in 1..5000 {
            sequence.observe(number * 2);
        }
        assert_eq!(sequence.gaps().len(), GAPS_MAX);
    }

    proptest! {
        /// The gaps are exactly the numbers between base and last that were never seen.
        #[test]
        fn p3_gaps_are_what_is_missing(numbers in proptest::collection::vec(0_u64..60, 1..60)) {
            let mut sequence = Sequence::begin(numbers[0]);
            let mut seen = BTreeSet::from([numbers[0]]);
            for number in &numbers[1..] {
                let fresh = !seen.contains(number) && *number > numbers[0];
                let reused = matches!(sequence.observe(*number), Seen::Reused | Seen::BelowBase);
                prop_assert_eq!(fresh, !reused);
                seen.insert(*number);
            }
            let last = *seen.last().unwrap();
            let missing: Vec<u64> = (numbers[0]..=last).filter(|n| !seen.contains(n)).collect();
            let open: Vec<u64> = sequence.gaps().iter().flat_map(|g| g.from..=g.to).collect();
            prop_assert_eq!(missing, open);
        }
    }
}
