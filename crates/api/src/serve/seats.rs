//! The limit of connections. If all seats are taken, a new client gets the seat of a connection that has been
//! silent for a while: the longest silent one of the address that holds the most seats.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// A connection that was silent for less keeps its seat.
const SILENCE_MIN: Duration = Duration::from_secs(5);
/// How often silent connections are searched for while no seat becomes free.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// All seats.
pub struct Seats {
    max: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    seats: BTreeMap<u64, Arc<Seat>>,
    next: u64,
}

/// The seat of one connection.
pub struct Seat {
    from: IpAddr,
    since: Instant,
    /// Number of requests that are not answered yet.
    asking: AtomicUsize,
    /// Time at which it fell silent, in milliseconds after `since`.
    silent_at: AtomicU64,
    leave: Notify,
}

/// A taken seat. Dropping it frees the seat.
pub struct Ticket {
    seats: Arc<Seats>,
    number: u64,
    seat: Arc<Seat>,
}

/// A request that is not answered yet. Dropping it notes that its answer was sent.
pub struct Asking(Arc<Seat>);

impl Seats {
    /// `max` seats, all free.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default(), freed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no holder of the lock panics")
    }

    /// Takes a seat once one is free. Serves one caller at a time.
    pub async fn take(self: &Arc<Self>, from: IpAddr) -> Ticket {
        let from = neighbourhood(from);
        loop {
            if let Some(ticket) = self.try_take(from) {
                return ticket;
            }
            if let Some(seat) = longest_silent(self.lock().seats.values(), Instant::now()) {
                seat.leave.notify_one();
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, self.freed.notified()).await;
        }
    }

    fn try_take(self: &Arc<Self>, from: IpAddr) -> Option<Ticket> {
        let mut taken = self.lock();
        if taken.seats.len() >= self.max {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        let seat = Arc::new(Seat::new(from, Instant::now()));
        taken.seats.insert(number, Arc::clone(&seat));
        Some(Ticket { seats: Arc::clone(self), number, seat })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.seats.lock().seats.remove(&self.number);
        self.seats.freed.notify_one();
    }
}

impl Ticket {
    /// The seat.
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Seat {
    fn new(from: IpAddr, since: Instant) -> Self {
        let (asking, silent_at) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { from, since, asking, silent_at, leave: Notify::new() }
    }

    /// Notes that a request begins.
    pub fn ask(self: &Arc<Self>) -> Asking {
        self.asking.fetch_add(1, Ordering::SeqCst);
        Asking(Arc::clone(self))
    }

    /// Time since the last request ended. `None` while there is one.
    fn silence(&self, now: Instant) -> Option<Duration> {
        if self.asking.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let silent_at = Duration::from_millis(self.silent_at.load(Ordering::SeqCst));
        Some(now.saturating_duration_since(self.since + silent_at))
    }

    /// Completes when another client needs the seat and no request is open here.
    pub async fn wanted(&self) {
        loop {
            self.leave.notified().await;
            if self.silence(Instant::now()).is_some_and(|silence| silence >= SILENCE_MIN) {
                return;
            }
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.silent_at.store(now, Ordering::SeqCst);
        self.0.asking.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What counts as one client: an address; for IPv6, the network that one customer gets.
fn neighbourhood(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn longest_silent<'a>(
    seats: impl Iterator<Item = &'a Arc<Seat>>,
    now: Instant,
) -> Option<&'a Arc<Seat>> {
    let seats: Vec<_> = seats.collect();
    let mut held: HashMap<IpAddr, usize> = HashMap::new();
    for seat in &seats {
        *held.entry(seat.from).or_default() += 1;
    }
    let silent = seats.into_iter().filter_map(|seat| {
        let silence = seat.silence(now).filter(|silence| *silence >= SILENCE_MIN)?;
        Some((held.get(&seat.from).copied(), silence, seat))
    });
    silent.max_by_key(|(held, silence, _)| (*held, *silence)).map(|(_, _, seat)| seat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        neighbourhood(text.parse().unwrap())
    }

    #[test]
    fn p12_the_silent_one_of_who_holds_most_leaves() {
        let begin = Instant::now();
        let seat =
            |from, age: u64| Arc::new(Seat::new(address(from), begin + Duration::from_secs(age)));
        let now = begin + Duration::from_secs(20);
        let leaves = |seats: &[Arc<Seat>]| {
            let seat = longest_silent(seats.iter(), now);
            seat.and_then(|seat| seats.iter().position(|other| Arc::ptr_eq(other, seat)))
        };
        // The second address holds two, of which the first has been silent for longer.
        let mut seats = vec![seat("192.0.2.1", 0), seat("192.0.2.2", 9), seat("192.0.2.2", 5)];
        assert_eq!(leaves(&seats), Some(2));
        let asking = seats[2].ask();
        assert_eq!(leaves(&seats), Some(1));
        seats.remove(1);
        assert_eq!(leaves(&seats), Some(0));
        drop(asking);
        assert_eq!(leaves(&[seat("192.0.2.1", 16)]), None, "silent for 4 s");
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
    }

    #[tokio::test]
    async fn p13_a_seat_is_waited_for() {
        let seats = Seats::new(1);
        let first = seats.take(address("192.0.2.1")).await;
        let waits = seats.take(address("192.0.2.2"));
        tokio::pin!(waits);
        let waited = tokio::time::timeout(Duration::from_millis(20), &mut waits).await;
        assert!(waited.is_err(), "nobody was silent for long");
        drop(first);
        assert!(tokio::time::timeout(Duration::from_secs(60), waits).await.is_ok());
    }
}
