//! The pace of one channel: one message a second, and ten new cards a minute.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Most new cards of one channel within [`BURST_WINDOW`]. The overflow card counts further ones.
pub const BURST_MAX: usize = 10;
/// The window of [`BURST_MAX`].
pub const BURST_WINDOW: Duration = Duration::from_secs(60);
/// Shortest time between two messages to one channel: Slack's limit for posting.
const BETWEEN: Duration = Duration::from_secs(1);

/// Pauses after failures: the first pause, doubled with each further failure, up to the longest.
#[derive(Clone, Copy, Debug)]
pub struct Pauses(Duration, Duration);

/// Pauses if the chat is unreachable or fails and does not say how long to wait.
pub const AWAY: Pauses = Pauses(Duration::from_secs(5), Duration::from_secs(60));
/// Pauses if the chat refuses: a person must repair that.
pub const REFUSED: Pauses = Pauses(Duration::from_secs(30), Duration::from_secs(300));

/// What was recently sent to a channel, and when the next message may go.
#[derive(Debug, Default)]
pub struct Pace {
    new: VecDeque<Instant>,
    last: Option<Instant>,
    not_before: Option<Instant>,
    overflow: Option<Instant>,
    /// The last pause after a failure. Cleared when a message is accepted.
    pause: Option<Duration>,
    /// The refusal that was recorded as evidence. Cleared when a message is accepted.
    refusal: Option<String>,
}

impl Pace {
    /// Time at which the next message may go. `None` if it may go now.
    pub fn waits_until(&self, now: Instant) -> Option<Instant> {
        let next = self.last.map(|last| last + BETWEEN);
        next.max(self.not_before).filter(|until| *until > now)
    }

    /// True if one more new card would be more than people can read.
    pub fn is_burst(&mut self, now: Instant) -> bool {
        while self.new.front().is_some_and(|at| now.duration_since(*at) >= BURST_WINDOW) {
            self.new.pop_front();
        }
        self.new.len() >= BURST_MAX
    }

    /// True if the overflow card of this burst was posted.
    pub fn has_overflow(&self, now: Instant) -> bool {
        self.overflow.is_some_and(|at| now.duration_since(at) < BURST_WINDOW)
    }

    /// Notes that a message was sent.
    pub fn sent(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Notes that a message was accepted.
    pub fn worked(&mut self) {
        (self.pause, self.refusal) = (None, None);
    }

    /// True if the last message was not accepted.
    pub fn is_in_trouble(&self) -> bool {
        self.pause.is_some()
    }

    /// True if evidence already records a refusal for this reason.
    pub fn is_kept(&self, code: &str) -> bool {
        self.refusal.as_deref() == Some(code)
    }

    /// Notes that evidence records a refusal for this reason.
    pub fn keeps(&mut self, code: &str) {
        self.refusal = Some(code.to_owned());
    }

    /// Notes that a new card was sent.
    pub fn sent_new(&mut self, now: Instant) {
        self.new.push_back(now);
        self.sent(now);
    }

    /// Notes that an overflow card was posted.
    pub fn sent_overflow(&mut self, now: Instant) {
        self.overflow = Some(now);
        self.sent(now);
    }

    /// Pauses after a failure or refusal without a given time. Returns the pause.
    pub fn wait_longer(&mut self, now: Instant, Pauses(first, longest): Pauses) -> Duration {
        let pause = self.pause.map_or(first, |pause| (pause * 2).clamp(first, longest));
        self.wait(now + pause);
        self.pause = Some(pause);
        pause
    }

    /// Pauses until the time that the chat asked for.
    pub fn wait(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
        self.pause.get_or_insert(AWAY.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_new_cards_a_minute_and_one_message_a_second() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for n in 0..10 {
            let at = start + BETWEEN * n;
            assert_eq!(pace.waits_until(at), None);
            assert!(!pace.is_burst(at), "{n}");
            pace.sent_new(at);
            assert_eq!(pace.waits_until(at), Some(at + BETWEEN));
        }
        let later = start + BETWEEN * 20;
        assert!(pace.is_burst(later) && !pace.has_overflow(later));
        pace.sent_overflow(later);
        assert!(pace.has_overflow(later + BETWEEN) && !pace.has_overflow(later + BURST_WINDOW));
        assert!(!pace.is_burst(start + BURST_WINDOW));
        pace.wait(later + BETWEEN * 30);
        assert_eq!(pace.waits_until(later + BETWEEN), Some(later + BETWEEN * 30));
    }

    #[test]
    fn pauses_grow_until_something_is_taken() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let pauses: Vec<u64> = (0..6).map(|_| pace.wait_longer(now, AWAY).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(pace.waits_until(now), Some(now + AWAY.1));
        pace.sent(now);
        assert_eq!(pace.wait_longer(now, AWAY), AWAY.1);
        let pauses: Vec<u64> = (0..3).map(|_| pace.wait_longer(now, REFUSED).as_secs()).collect();
        assert_eq!(pauses, [120, 240, 300]);
        pace.keeps("is_archived");
        assert!(pace.is_in_trouble() && pace.is_kept("is_archived") && !pace.is_kept("no_team"));
        pace.worked();
        assert!(!pace.is_in_trouble() && !pace.is_kept("is_archived"));
        assert_eq!(pace.wait_longer(now, REFUSED), REFUSED.0);
        pace.worked();
        pace.wait(now);
        assert!(pace.is_in_trouble());
    }
}
