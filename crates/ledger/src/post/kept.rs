//! What the log says of retention, legal holds and what expired (P11, P20). What may be dropped is judged here, so it can
//! be judged again from the log alone.

use crate::{
    entry::View,
    ident::Ident,
    system::retention::{DAYS_MAX, Days, Deletion, Expire, HOLDS_MAX, Hold, RetentionBody},
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest time that the entries of one step span. A clock that is far ahead can't drop everything at once.
pub const STEP_SECONDS_MAX: u64 = 24 * 3600;
/// Least time between two steps, by the journal.
pub const STEP_PAUSE_SECONDS: u64 = 3600;
const DAY_SECONDS: u64 = 24 * 3600;
/// Longest reason of a deletion, in characters.
const WHY_CHARS_MAX: usize = 2000;

/// What the log says of retention.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Leaf index of the entry that set the days last.
    pub set: Option<u64>,
    /// Days that payload is kept. `None`: for ever.
    pub payload_days: Option<u32>,
    /// Days below which that can't be set.
    pub floor_days: u32,
    /// Days that journal messages are kept. `None`: as configured.
    pub journal_days: Option<u32>,
    /// The holds in force, with the leaf index at which each began.
    pub holds: BTreeMap<Ident, u64>,
    /// Payload of the entries before this leaf index is gone, as far as it can be erased.
    pub expired: u64,
    /// Leaf index of the entry that deleted the tenant. No entry comes after it.
    pub deleted: Option<u64>,
    /// `journal.time` of the last step. `None` before the first, and after time began anew.
    pub stepped: Option<Nanos>,
}

impl Retention {
    /// True while a hold is in force: then nothing is erased.
    pub fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// Takes the message that becomes the entry at `index`. Says what is wrong with one that does not fit; then nothing
    /// changes. Whether payload is old enough to expire is a question of its own: [`Retention::is_due`].
    pub fn take(
        &mut self,
        (index, time): (u64, Nanos),
        body: &RetentionBody,
    ) -> Result<(), &'static str> {
        if self.deleted.is_some() {
            return Err("the tenant is deleted");
        }
        match body {
            RetentionBody::Set(days) => self.set(index, days),
            RetentionBody::Hold(Hold { hold, .. }) => {
                if self.holds.contains_key(hold) {
                    return Err("a hold of this name is in force");
                }
                if self.holds.len() >= HOLDS_MAX {
                    return Err("64 holds are in force, the most that are possible");
                }
                self.holds.insert(hold.clone(), index);
                Ok(())
            }
            RetentionBody::Release(Hold { hold, .. }) => {
                self.holds.remove(hold).map(drop).ok_or("no hold of this name is in force")
            }
            RetentionBody::Expire(Expire { from, below, .. }) => {
                if self.is_held() {
                    return Err("payload expires under a legal hold");
                }
                if self.payload_days.is_none() {
                    return Err("payload expires, and nobody set for how long it is kept");
                }
                if *from != self.expired || below <= from || *below > index {
                    return Err("what expires does not follow what expired before");
                }
                (self.expired, self.stepped) = (*below, Some(time));
                Ok(())
            }
            RetentionBody::Delete(Deletion { why, .. }) => {
                if self.is_held() {
                    return Err("the tenant is deleted under a legal hold");
                }
                if why.trim().is_empty() || why.chars().count() > WHY_CHARS_MAX {
                    return Err("a deletion says why in 1 to 2000 characters");
                }
                self.deleted = Some(index);
                Ok(())
            }
        }
    }

    fn set(&mut self, index: u64, days: &Days) -> Result<(), &'static str> {
        let Days { payload_days, floor_days, journal_days, .. } = *days;
        let possible = |days: Option<u32>| days.is_none_or(|days| (1..=DAYS_MAX).contains(&days));
        if !possible(payload_days) || !possible(journal_days) || floor_days > DAYS_MAX {
            return Err("days must be 1 to 36525");
        }
        if floor_days < self.floor_days {
            return Err("the floor is lower than the floor before");
        }
        if payload_days.is_some_and(|days| days < floor_days) {
            return Err("payload would be kept for fewer days than the floor");
        }
        self.set = Some(index);
        (self.payload_days, self.floor_days, self.journal_days) =
            (payload_days, floor_days, journal_days);
        Ok(())
    }

    /// True if entries may expire in one step at `now`: the last one is old enough, they span at most
    /// [`STEP_SECONDS_MAX`], and the step before was long enough ago. `first`, `last`: their `journal.time`.
    ///
    /// Ask before [`Retention::take`].
    pub fn is_due(&self, (first, last): (Nanos, Nanos), now: Nanos) -> bool {
        let days = self.payload_days.map(u64::from);
        let old = days.is_some_and(|days| last.plus_seconds(days * DAY_SECONDS) <= now);
        let short = last <= first.plus_seconds(STEP_SECONDS_MAX);
        let rested = self.stepped.is_none_or(|at| at.plus_seconds(STEP_PAUSE_SECONDS) <= now);
        old && short && rested
    }

    /// The entries before `size` are removed, and their payload with them.
    pub fn prune(&mut self, size: u64) {
        self.expired = self.expired.max(size);
    }

    /// Time began anew: the last step may seem to be in the future.
    pub fn time_anew(&mut self) {
        self.stepped = None;
    }

    /// Notes a `retention` entry that was read. `false` if it does not fit here.
    pub fn note(&mut self, index: u64, view: &View<'_>) -> bool {
        let body = view.event_as::<RetentionBody>();
        body.is_some_and(|body| self.take((index, view.origin.time), &body).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{By, Duty};

    fn by() -> By {
        By::Server { server: Duty::Retention }
    }

    fn set(payload: Option<u32>, floor: u32, journal: Option<u32>) -> RetentionBody {
        let (payload_days, floor_days, journal_days) = (payload, floor, journal);
        let (by, reason) = (by(), None);
        RetentionBody::Set(Days { payload_days, floor_days, journal_days, by, reason })
    }

    fn hold(name: &str) -> Hold {
        Hold { hold: Ident::new(name).unwrap(), by: by(), reason: None }
    }

    fn expire(from: u64, below: u64) -> RetentionBody {
        RetentionBody::Expire(Expire { from, below, by: by() })
    }

    /// Takes messages one after the other, each as the entry at 100, 101, …; checks the last one.
    fn check(bodies: &[RetentionBody], wrong: Option<&str>) -> Retention {
        let mut retention = Retention::default();
        let mut last = Ok(());
        for (index, body) in (100..).zip(bodies) {
            assert_eq!(last, Ok(()));
            let before = retention.clone();
            last = retention.take((index, Nanos(index)), body);
            assert!(last.is_ok() || retention == before);
        }
        assert_eq!(last.err().is_some(), wrong.is_some(), "{bodies:?}: {last:?}");
        assert!(last.err().unwrap_or_default().contains(wrong.unwrap_or_default()), "{last:?}");
        retention
    }

    #[test]
    fn p20_a_floor_never_falls() {
        check(&[set(None, 0, None)], None);
        check(&[set(Some(30), 30, Some(7)), set(Some(31), 30, None)], None);
        check(&[set(Some(30), 30, None), set(None, 30, None)], None);
        check(&[set(Some(30), 30, None), set(Some(60), 40, None)], None);
        check(&[set(Some(30), 31, None)], Some("fewer days than the floor"));
        check(&[set(Some(40), 30, None), set(Some(29), 30, None)], Some("fewer days"));
        check(&[set(Some(40), 30, None), set(Some(40), 29, None)], Some("lower than the floor"));
        check(&[set(None, 30, None), set(None, 0, None)], Some("lower than the floor"));
        check(&[set(Some(0), 0, None)], Some("1 to 36525"));
        check(&[set(None, 0, Some(0))], Some("1 to 36525"));
        check(&[set(None, DAYS_MAX + 1, None)], Some("1 to 36525"));
    }

    #[test]
    fn p20_nothing_expires_under_a_hold() {
        let kept = set(Some(30), 0, None);
        let (one, other) = (hold("case-1"), hold("case-2"));
        let begin = RetentionBody::Hold;
        let end = RetentionBody::Release;
        check(&[expire(0, 10)], Some("nobody set"));
        check(&[kept.clone(), expire(0, 10)], None);
        check(&[kept.clone(), begin(one.clone()), expire(0, 10)], Some("under a legal hold"));
        let two = [kept.clone(), begin(one.clone()), begin(other.clone()), end(one.clone())];
        assert!(check(&two, None).is_held());
        check(&[&two[..], &[expire(0, 10)]].concat(), Some("under a legal hold"));
        check(&[&two[..], &[end(other), expire(0, 10)]].concat(), None);
        check(&[begin(one.clone()), begin(one.clone())], Some("of this name"));
        check(&[end(one)], Some("no hold"));
        let many = |count: usize| -> Vec<_> {
            (0..count).map(|n| RetentionBody::Hold(hold(&format!("h-{n}")))).collect()
        };
        check(&many(HOLDS_MAX), None);
        check(&many(HOLDS_MAX + 1), Some("64 holds"));
    }

    #[test]
    fn p20_nothing_follows_a_deletion() {
        let delete = |why: &str| {
            let (tenant, why) = (Ident::new("acme").unwrap(), why.to_owned());
            RetentionBody::Delete(Deletion { tenant, by: by(), why })
        };
        assert!(check(&[delete("the contract ended")], None).deleted.is_some());
        check(&[delete(" ")], Some("says why"));
        check(&[delete(&"x".repeat(WHY_CHARS_MAX + 1))], Some("says why"));
        check(&[RetentionBody::Hold(hold("case-1")), delete("x")], Some("under a legal hold"));
        for body in [delete("x"), set(None, 0, None), RetentionBody::Hold(hold("case-1"))] {
            check(&[delete("x"), body], Some("is deleted"));
        }
    }

    #[test]
    fn p20_what_expires_follows_what_expired() {
        let kept = set(Some(30), 0, None);
        let fits = [kept.clone(), expire(0, 10), expire(10, 102)];
        assert_eq!(check(&fits, None).expired, 102);
        for wrong in [expire(9, 12), expire(10, 10), expire(0, 10), expire(10, 103)] {
            check(&[kept.clone(), expire(0, 10), wrong], Some("does not follow"));
        }
    }

    #[test]
    fn p20_a_step_is_old_short_and_late_enough() {
        let day = |days: u64| Nanos(0).plus_seconds(1_000 * DAY_SECONDS + days * DAY_SECONDS);
        let hour = |from: Nanos, hours: u64| from.plus_seconds(hours * 3600);
        let check = |days, stepped, (first, last), now, due| {
            let retention = Retention { payload_days: days, stepped, ..Retention::default() };
            assert_eq!(retention.is_due((first, last), now), due, "{days:?} {stepped:?} {now:?}");
        };
        check(Some(30), None, (day(0), day(0)), day(30), true);
        check(Some(30), None, (day(0), day(0)), Nanos(day(30).0 - 1), false);
        check(None, None, (day(0), day(0)), day(3000), false);
        // A year ahead: still no more than a day goes.
        check(Some(30), None, (day(0), day(1)), day(365), true);
        check(Some(30), None, (day(0), Nanos(day(1).0 + 1)), day(365), false);
        check(Some(30), Some(day(365)), (day(0), day(1)), hour(day(365), 1), true);
        check(Some(30), Some(day(365)), (day(0), day(1)), Nanos(hour(day(365), 1).0 - 1), false);
        let mut anew = Retention { stepped: Some(day(365)), ..Retention::default() };
        anew.time_anew();
        check(Some(30), anew.stepped, (day(0), day(0)), day(31), true);
    }
}
