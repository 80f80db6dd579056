//! Limits sign-ins: counts failed ones of each address and each person, in bounded memory.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Failed attempts from one address within [`WINDOW`].
pub const ADDRESS_TRIES_MAX: u32 = 20;
/// Failed attempts under one person's name within [`WINDOW`]. Keys can't be guessed, so a low limit would only
/// let attackers lock people out. It is higher than that of an address, so that one address is not enough.
/// Existing sessions are unaffected.
pub const PERSON_TRIES_MAX: u32 = 50;
/// Time for which failed attempts count.
pub const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Most addresses, and most persons, that are remembered. Beyond that the oldest is forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Recent failures, and who must wait because of them.
#[derive(Default)]
pub struct Throttle {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    addresses: HashMap<IpAddr, Failed>,
    persons: HashMap<String, Failed>,
}

#[derive(Clone, Copy)]
struct Failed {
    since: Instant,
    count: u32,
}

impl Throttle {
    /// Time that this address, or anybody under this name, must wait. `None` if it may try.
    pub fn wait(&self, address: IpAddr, person: Option<&str>, now: Instant) -> Option<Duration> {
        let kept = self.kept.lock().expect("no holder of the lock panics");
        let address =
            kept.addresses.get(&subnet(address)).and_then(|f| f.wait(ADDRESS_TRIES_MAX, now));
        let person =
            person.and_then(|person| kept.persons.get(person)?.wait(PERSON_TRIES_MAX, now));
        address.max(person)
    }

    /// Counts a failed attempt.
    pub fn failed(&self, address: IpAddr, person: Option<&str>, now: Instant) {
        let mut kept = self.kept.lock().expect("no holder of the lock panics");
        count(&mut kept.addresses, subnet(address), now);
        if let Some(person) = person {
            count(&mut kept.persons, person.to_owned(), now);
        }
    }
}

impl Failed {
    fn wait(&self, max: u32, now: Instant) -> Option<Duration> {
        let left = WINDOW.checked_sub(now.saturating_duration_since(self.since))?;
        (self.count >= max && !left.is_zero()).then_some(left)
    }
}

/// An IPv6 address counts as its /64, which one household or server owns.
fn subnet(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn count<K: Clone + Eq + std::hash::Hash>(kept: &mut HashMap<K, Failed>, key: K, now: Instant) {
    let new = Failed { since: now, count: 0 };
    if !kept.contains_key(&key) && kept.len() >= REMEMBERED_MAX {
        kept.retain(|_, failed| now.saturating_duration_since(failed.since) < WINDOW);
        if kept.len() >= REMEMBERED_MAX {
            let oldest = kept.iter().min_by_key(|(_, failed)| failed.since);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                kept.remove(&oldest);
            }
        }
    }
    let failed = kept.entry(key).or_insert(new);
    if now.saturating_duration_since(failed.since) >= WINDOW {
        *failed = new;
    }
    failed.count = failed.count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(throttle: &Throttle, address: &str, person: &str, now: Instant, waits: bool) {
        let address = address.parse().unwrap();
        assert_eq!(
            throttle.wait(address, Some(person), now).is_some(),
            waits,
            "{address} {person}"
        );
    }

    fn fail(throttle: &Throttle, count: u32, address: &str, person: &str, now: Instant) {
        for _ in 0..count {
            throttle.failed(address.parse().unwrap(), Some(person), now);
        }
    }

    #[test]
    fn p13_tries_are_limited_by_address_and_person() {
        let (throttle, begin) = (Throttle::default(), Instant::now());
        fail(&throttle, ADDRESS_TRIES_MAX - 1, "192.0.2.1", "ann", begin);
        check(&throttle, "192.0.2.1", "ann", begin, false);
        fail(&throttle, 1, "192.0.2.1", "ann", begin);
        check(&throttle, "192.0.2.1", "ben", begin, true);
        check(&throttle, "::ffff:192.0.2.1", "ben", begin, true);
        check(&throttle, "192.0.2.2", "ann", begin, false);
        check(&throttle, "192.0.2.1", "ben", begin + WINDOW, false);
        fail(&throttle, ADDRESS_TRIES_MAX, "2001:db8::1", "ann", begin);
        check(&throttle, "2001:db8::2", "x", begin, true);
        check(&throttle, "2001:db8:1::2", "x", begin, false);
        fail(&throttle, PERSON_TRIES_MAX, "192.0.2.3", "ann", begin);
        check(&throttle, "192.0.2.4", "ann", begin, true);
    }

    #[test]
    fn p13_memory_is_bounded() {
        let (throttle, begin) = (Throttle::default(), Instant::now());
        for number in 0..u32::try_from(REMEMBERED_MAX).unwrap() + 5 {
            let now = begin + Duration::from_nanos(number.into());
            throttle.failed(IpAddr::V4(number.into()), Some(&number.to_string()), now);
        }
        let kept = throttle.kept.lock().unwrap();
        assert_eq!((kept.addresses.len(), kept.persons.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        assert!(!kept.persons.contains_key("0"));
    }
}
