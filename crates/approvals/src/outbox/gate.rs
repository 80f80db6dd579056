//! How fast one channel is written to: a message a second, and ten new cards a minute.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Most new cards of one channel within [`BURST_WINDOW`]; the rest becomes one card with a link to the inbox.
pub const BURST_MAX: usize = 10;
/// The window of [`BURST_MAX`].
pub const BURST_WINDOW: Duration = Duration::from_secs(60);
/// Shortest time between two messages to one channel: Slack's limit for posting.
const PACE: Duration = Duration::from_secs(1);

/// First pause after a failure that tells no time; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What was written to a channel lately.
#[derive(Debug, Default)]
pub struct Gate {
    new: VecDeque<Instant>,
    last: Option<Instant>,
    not_before: Option<Instant>,
    digest: Option<Instant>,
    /// The last pause after a failure, until a message is taken.
    pause: Option<Duration>,
}

impl Gate {
    /// When the next message may go; `None`: now.
    pub fn closed_until(&self, now: Instant) -> Option<Instant> {
        let pace = self.last.map(|last| last + PACE);
        pace.max(self.not_before).filter(|until| *until > now)
    }

    /// Whether one more new card would be more than people can read.
    pub fn is_burst(&mut self, now: Instant) -> bool {
        while self.new.front().is_some_and(|at| now.duration_since(*at) >= BURST_WINDOW) {
            self.new.pop_front();
        }
        self.new.len() >= BURST_MAX
    }

    /// Whether the link to the inbox was sent for this burst already.
    pub fn has_digest(&self, now: Instant) -> bool {
        self.digest.is_some_and(|at| now.duration_since(at) < BURST_WINDOW)
    }

    /// A message was sent.
    pub fn sent(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// The other side took a message.
    pub fn worked(&mut self) {
        self.pause = None;
    }

    /// A new card was sent.
    pub fn sent_new(&mut self, now: Instant) {
        self.new.push_back(now);
        self.sent(now);
    }

    /// The link to the inbox was sent.
    pub fn sent_digest(&mut self, now: Instant) {
        self.digest = Some(now);
        self.sent(now);
    }

    /// The other side failed and did not say for how long; returns the pause.
    pub fn wait_longer(&mut self, now: Instant) -> Duration {
        let pause = self.pause.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX));
        self.pause = Some(pause);
        self.wait(now + pause);
        pause
    }

    /// The other side asks for patience.
    pub fn wait(&mut self, until: Instant) {
        self.not_before = self.not_before.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_new_cards_a_minute_and_one_message_a_second() {
        let (mut gate, start) = (Gate::default(), Instant::now());
        for n in 0..10 {
            let at = start + PACE * n;
            assert_eq!(gate.closed_until(at), None);
            assert!(!gate.is_burst(at), "{n}");
            gate.sent_new(at);
            assert_eq!(gate.closed_until(at), Some(at + PACE));
        }
        let later = start + PACE * 20;
        assert!(gate.is_burst(later) && !gate.has_digest(later));
        gate.sent_digest(later);
        assert!(gate.has_digest(later + PACE) && !gate.has_digest(later + BURST_WINDOW));
        assert!(!gate.is_burst(start + BURST_WINDOW));
        gate.wait(later + PACE * 30);
        assert_eq!(gate.closed_until(later + PACE), Some(later + PACE * 30));
    }

    #[test]
    fn pauses_grow_until_something_is_taken() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let pauses: Vec<u64> = (0..6).map(|_| gate.wait_longer(now).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(gate.closed_until(now), Some(now + PAUSE_MAX));
        gate.sent(now);
        assert_eq!(gate.wait_longer(now), PAUSE_MAX);
        gate.worked();
        assert_eq!(gate.wait_longer(now), PAUSE_MIN);
    }
}
