//! Sign-ins of the last minute, which one entry covers: a person who signs in again and again does not fill the log.

use ledger::system::KeyId;
use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Time that one entry covers, in seconds.
pub const COVERED_SECONDS: u32 = 60;
/// Most keys that are remembered. Beyond that all are forgotten, which costs an entry each.
const REMEMBERED_MAX: usize = 10_000;

/// When an entry of each key was begun.
#[derive(Default)]
pub struct Recent(Mutex<HashMap<KeyId, Instant>>);

impl Recent {
    /// True if a sign-in with this key needs an entry. The next ones are then covered, until [`Recent::forget`].
    pub fn begin(&self, key: &KeyId, now: Instant) -> bool {
        let mut kept = self.0.lock().expect("no holder of the lock panics");
        let covered = Duration::from_secs(COVERED_SECONDS.into());
        let is_young = |at: &Instant| now.saturating_duration_since(*at) < covered;
        if kept.get(key).is_some_and(is_young) {
            return false;
        }
        if kept.len() >= REMEMBERED_MAX {
            kept.retain(|_, at| is_young(at));
        }
        if kept.len() >= REMEMBERED_MAX {
            kept.clear();
        }
        kept.insert(key.clone(), now);
        true
    }

    /// The entry was not recorded.
    pub fn forget(&self, key: &KeyId) {
        self.0.lock().expect("no holder of the lock panics").remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> KeyId {
        KeyId::new(&format!("{number:016x}")).unwrap()
    }

    #[test]
    fn p13_one_entry_a_minute_for_each_key() {
        let (recent, now) = (Recent::default(), Instant::now());
        let check = |number, seconds, needed| {
            let at = now + Duration::from_secs(seconds);
            assert_eq!(recent.begin(&key(number), at), needed, "{number} {seconds}");
        };
        check(1, 0, true);
        check(1, 0, false);
        check(2, 0, true);
        check(1, 59, false);
        check(1, 60, true);
        recent.forget(&key(1));
        check(1, 61, true);
    }

    #[test]
    fn p13_memory_is_bounded() {
        let (recent, now) = (Recent::default(), Instant::now());
        for number in 0..REMEMBERED_MAX + 5 {
            assert!(recent.begin(&key(number), now));
        }
        assert!(recent.0.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
