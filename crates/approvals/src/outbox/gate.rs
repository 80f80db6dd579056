//! The pace of one channel: one message a second, and ten new cards a minute.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Most new cards of one channel within [`BURST_WINDOW`]. Further ones become one card with a link to the
/// inbox.
pub const BURST_MAX: usize = 10;
/// The window of [`BURST_MAX`].
pub const BURST_WINDOW: Duration = Duration::from_secs(60);
/// Shortest time between two messages to one channel: Slack's limit for posting.
const PACE: Duration = Duration::from_secs(1);

/// Pauses after failures: the first pause, doubled with each further failure, up to the longest.
#[derive(Clone, Copy, Debug)]
pub struct Pauses(Duration, Duration);

/// Pauses if the chat is unreachable or fails and does not say how long to wait.
pub const AWAY: Pauses = Pauses(Duration::from_secs(5), Duration::from_secs(60));
/// Pauses if the chat refuses: a person must repair that.
pub const REFUSED: Pauses = Pauses(Duration::from_secs(30), Duration::from_secs(300));

/// What was recently sent to a channel.
#[derive(Debug, Default)]
pub struct Gate {
    new: VecDeque<Instant>,
    last: Option<Instant>,
    not_before: Option<Instant>,
    digest: Option<Instant>,
    /// The last pause after a failure. Cleared when a message is accepted.
    pause: Option<Duration>,
    /// The refusal that was recorded as evidence. Cleared when a message is accepted.
    refusal: Option<String>,
}

impl Gate {
    /// Time at which the next message may go. `None` if it may go now.
    pub fn closed_until(&self, now: Instant) -> Option<Instant> {
        let pace = self.last.map(|last| last + PACE);
        pace.max(self.not_before).filter(|until| *until > now)
    }

    /// True if one more new card would be more than people can read.
    pub fn is_burst(&mut self, now: Instant) -> bool {
        while self.new.front().is_some_and(|at| now.duration_since(*at) >= BURST_WINDOW) {
            self.new.pop_front();
        }
        self.new.len() >= BURST_MAX
    }

    /// True if the link to the inbox was already sent for this burst.
    pub fn has_digest(&self, now: Instant) -> bool {
        self.digest.is_some_and(|at| now.duration_since(at) < BURST_WINDOW)
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

    /// Notes that the link to the inbox was sent.
    pub fn sent_digest(&mut self, now: Instant) {
        self.digest = Some(now);
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
        let pauses: Vec<u64> = (0..6).map(|_| gate.wait_longer(now, AWAY).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        assert_eq!(gate.closed_until(now), Some(now + AWAY.1));
        gate.sent(now);
        assert_eq!(gate.wait_longer(now, AWAY), AWAY.1);
        let pauses: Vec<u64> = (0..3).map(|_| gate.wait_longer(now, REFUSED).as_secs()).collect();
        assert_eq!(pauses, [120, 240, 300]);
        gate.keeps("is_archived");
        assert!(gate.is_in_trouble() && gate.is_kept("is_archived") && !gate.is_kept("no_team"));
        gate.worked();
        assert!(!gate.is_in_trouble() && !gate.is_kept("is_archived"));
        assert_eq!(gate.wait_longer(now, REFUSED), REFUSED.0);
        gate.worked();
        gate.wait(now);
        assert!(gate.is_in_trouble());
    }
}
