//! Phases and refusals of an approval in words: the same on pages, on cards, in problems and in `verify`.

use crate::approval::{Phase, Refusal};

/// A phase in words. `end_reason` is the code in the approval's state. An expiry never reads like a denial.
pub fn phase(phase: Phase, end_reason: Option<&str>) -> &'static str {
    match phase {
        Phase::None | Phase::Pending => "Approval needed",
        Phase::Granted => "Approved, not redeemed yet",
        Phase::Minted => "Approved, token issued",
        Phase::Redeemed => "Released, outcome not reported yet",
        Phase::Completed => "Completed",
        Phase::Failed => "Released, but the call failed or was not started",
        Phase::Unknown => "Released, outcome unknown",
        Phase::Denied => "Denied",
        Phase::Expired if end_reason == Some("undeliverable") => {
            "Expired: nobody could be asked in time"
        }
        Phase::Expired => "Expired: too few people approved in time",
        Phase::Cancelled => "Cancelled",
        Phase::Superseded => "Superseded: another rule is in force",
        Phase::Revoked => "Revoked",
        Phase::Lapsed => "Lapsed: approved, but not redeemed in time",
    }
}

/// A refusal in words, and what to do. `you` is the person or the gateway that sent the command.
pub fn refusal(refusal: Refusal) -> &'static str {
    refusal.advice()
}

/// For a person whose review was refused.
pub fn review_refused(why: Refusal) -> String {
    format!("Your answer was not recorded. {}", refusal(why))
}

/// A code in words: `own call` for `own_call`.
pub fn code(code: &str) -> String {
    code.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An expiry is never shown as a denial.
    #[test]
    fn p9_expired_is_not_denied() {
        for end_reason in [None, Some("deadline"), Some("undeliverable")] {
            assert!(phase(Phase::Expired, end_reason).starts_with("Expired: "));
        }
        assert_eq!(phase(Phase::Denied, Some("undeliverable")), "Denied");
    }
}
