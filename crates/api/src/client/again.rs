//! When a request is sent again.

use super::Error;
use std::time::{Duration, Instant};

/// Most attempts of a request.
const TRIES_MAX: u32 = 8;
/// The first pause. Each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// Longest pause, whatever a server asks for.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// After this time nothing is sent again.
const TRYING_MAX: Duration = Duration::from_secs(5 * 60);

/// Which failures allow a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Only a refusal by which the server says that it did nothing.
    Refused,
    /// Also an answer by a proxy, or no answer once the server had answered before: the request changes
    /// nothing.
    Harmless,
    /// Every failure of the network: the server counts a repeated request once.
    Whatever,
}

impl Again {
    /// True if the request should be sent again after this failure.
    pub fn after(self, failed: &Error, has_answered: bool) -> bool {
        match failed {
            Error::Refused { status: 429 | 502..=504, code, outcome_known, .. } => match self {
                _ if code == "log_halted" => false,
                Self::Refused => !code.is_empty() && *outcome_known,
                Self::Harmless | Self::Whatever => true,
            },
            Error::Unreachable { passing: true, .. } => match self {
                Self::Refused => false,
                Self::Harmless => has_answered,
                Self::Whatever => true,
            },
            _ => false,
        }
    }
}

/// Growing pauses between attempts.
pub struct Pauses {
    begin: Instant,
    next: Duration,
    tries: u32,
}

impl Pauses {
    /// Begins with the first attempt.
    pub fn new() -> Self {
        Self { begin: Instant::now(), next: PAUSE_FIRST, tries: 1 }
    }

    /// The pause before the next attempt, at least as long as the server asks. `None` to give up.
    pub fn next(&mut self, wished: Option<Duration>) -> Option<Duration> {
        if self.tries == TRIES_MAX || self.begin.elapsed() > TRYING_MAX {
            return None;
        }
        // Between half of the pause and all of it, so that many clients do not return at the same moment.
        let part = f64::from(ledger::keyring::random32()[0]) / 255.0;
        let pause = self.next.mul_f64(0.5 + part / 2.0);
        self.tries += 1;
        self.next *= 2;
        Some(pause.max(wished.unwrap_or_default()).min(PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut pauses = Pauses::new();
        let mut all = Vec::new();
        while let Some(pause) = pauses.next(None) {
            all.push(pause);
        }
        assert_eq!(all.len(), 7);
        for (n, pause) in (0..).zip(&all) {
            let full = PAUSE_FIRST * 2_u32.pow(n);
            assert!(*pause >= full / 2 && *pause <= full, "{n}: {pause:?}");
        }
        let wished = Some(Duration::from_secs(3));
        assert_eq!(Pauses::new().next(wished), wished);
        assert_eq!(Pauses::new().next(Some(Duration::from_secs(1 << 40))), Some(PAUSE_MAX));
    }

    #[test]
    fn only_what_is_safe_is_sent_again() {
        let refused = |status, code: &str, outcome_known| Error::Refused {
            status,
            code: code.into(),
            detail: String::new(),
            outcome_known,
        };
        let broken =
            |passing| Error::Unreachable { server: String::new(), why: String::new(), passing };
        let check = |failed: &Error, [refused, harmless, whatever]: [bool; 3]| {
            for (again, may) in [
                (Again::Refused, refused),
                (Again::Harmless, harmless),
                (Again::Whatever, whatever),
            ] {
                assert_eq!(again.after(failed, true), may, "{again:?} {failed:?}");
            }
        };
        check(&refused(503, "busy", true), [true; 3]);
        check(&refused(503, "outcome_unknown", false), [false, true, true]);
        check(&refused(503, "log_halted", true), [false; 3]);
        for status in [429, 502, 503, 504] {
            check(&refused(status, "", true), [false, true, true]);
        }
        for status in [301, 400, 401, 403, 404, 409, 413, 500, 501] {
            check(&refused(status, "bad_request", true), [false; 3]);
        }
        check(&broken(true), [false, true, true]);
        check(&broken(false), [false; 3]);
        assert!(!Again::Harmless.after(&broken(true), false), "a wrong address is told at once");
        assert!(Again::Whatever.after(&broken(true), false));
    }
}
