//! Phases and refusals of an approval in words: the same on pages, on cards, in problems and in `verify`.

use crate::approval::{DenyReason, Phase, Refusal};

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
        Phase::Cancelled if end_reason == Some("policy_denies") => {
            "Cancelled: the policies in force deny this call now"
        }
        Phase::Cancelled => "Cancelled",
        Phase::Superseded => "Superseded: another rule is in force",
        Phase::Revoked if end_reason == Some("policy_denies") => {
            "Revoked: the policies in force deny this call now"
        }
        Phase::Revoked => "Revoked",
        Phase::Lapsed => "Lapsed: approved, but not redeemed in time",
    }
}

/// A refusal in words, and what to do. `you` is the person or the gateway that sent the command.
pub fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound | Refusal::NotYours => "There is no approval here that you may see.",
        Refusal::Malformed => {
            "A reason is a code of 1 to 64 characters a-z, 0-9 and _; an id has 1 to 128 characters."
        }
        Refusal::Corrupt => {
            "This approval is halted, because its history could not have happened. Tell the operator. The gateway must publish a new decision."
        }
        Refusal::NotNow => "This is not possible in the approval's present state. Read it again.",
        Refusal::TooLate => {
            "The deadline of the approval or of its token has passed: nothing was permitted. If the approval is over, the gateway must publish a new decision."
        }
        Refusal::NotLinked => "This account is not linked to a person. Give its id to an admin.",
        Refusal::NotEligible => "You are in no group that is asked, or you are disabled.",
        Refusal::OwnCall => "You own this agent, so somebody else must review the call.",
        Refusal::OwnerUnknown => {
            "The agent's owner is unknown, and the rule demands a known owner: nobody can approve."
        }
        Refusal::AlreadyReviewed => "You have already reviewed the call. A denial is final.",
        Refusal::DigestMismatch => {
            "This is not the call that was shown or approved. Read the approval again; another call needs a new decision."
        }
        Refusal::NotShown => {
            "The call can't be shown whole, or was erased, so it can't be approved. The gateway must publish a smaller one."
        }
        Refusal::Stale => {
            "The approval has changed since it was shown. Read it again, then repeat."
        }
        Refusal::StepUp => {
            "The rule needs a recent sign-in on the web page. Sign in there again, then review."
        }
        Refusal::TooManyQuestions => {
            "Your last question has no answer yet, or this approval has all the questions that it may have. You can approve or deny."
        }
        Refusal::NoQuestion => "There is no question of this number. Read the approval again.",
        Refusal::AlreadyAnswered => "The question already has an answer, and that one counts.",
        Refusal::RuleChanged => {
            "Another rule is in force for this call now. The gateway must publish a new decision."
        }
        Refusal::PolicyDenies => {
            "The policies changed, and those in force deny this call now. It can't be approved or redeemed any more. A new question is judged by them."
        }
        Refusal::PolicyUnreadable => {
            "The policies in force can't be read here, so nothing is released. An operator must act. Try again."
        }
        Refusal::TooManyMints => {
            "This approval has no tokens left. The gateway must publish a new decision."
        }
        Refusal::TokenNotLive => {
            "This is not the valid token of the approval. Ask for the valid one."
        }
        Refusal::AlreadyRedeemed => {
            "The token was already redeemed. Another redemption of it releases nothing."
        }
        Refusal::AlreadyReported => "Another outcome was already reported, and counts.",
    }
}

/// Why a person denied, in words.
pub fn deny_reason(reason: DenyReason) -> &'static str {
    match reason {
        DenyReason::WrongAmount => "The amount is wrong",
        DenyReason::WrongRecipient => "The recipient is wrong",
        DenyReason::Duplicate => "It was done already",
        DenyReason::NotNeeded => "It is not needed",
        DenyReason::NotAllowed => "Our rules forbid it",
        DenyReason::Unclear => "It is not clear enough to decide",
        DenyReason::Suspicious => "Something is suspicious",
        DenyReason::Other => "Another reason",
    }
}

/// For a person whose review was refused.
pub fn review_refused(why: Refusal) -> String {
    format!("Your answer was not recorded. {}", refusal(why))
}

/// For a person whose question was refused.
pub fn question_refused(why: Refusal) -> String {
    format!("Your question was not recorded. {}", refusal(why))
}

/// A number and what is counted: `1 call`, `12 calls`. The one place that knows the singular.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// How many calls were answered with the same press, in words: after `Approved`.
pub fn together(count: u32) -> String {
    match count.saturating_sub(1) {
        0 => "from the list of like calls".into(),
        others => {
            let others = usize::try_from(others).unwrap_or(usize::MAX);
            format!("together with {}", counted(others, "like call", "like calls"))
        }
    }
}

/// A code in words: `own call` for `own_call`.
pub fn code(code: &str) -> String {
    code.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_one_is_never_many() {
        assert_eq!(counted(1, "person", "people"), "1 person");
        assert_eq!(counted(0, "person", "people"), "0 people");
        assert_eq!(counted(2, "call", "calls"), "2 calls");
        assert_eq!(together(2), "together with 1 like call");
        assert_eq!(together(4), "together with 3 like calls");
    }

    /// An expiry is never shown as a denial.
    #[test]
    fn p9_expired_is_not_denied() {
        for end_reason in [None, Some("deadline"), Some("undeliverable")] {
            assert!(phase(Phase::Expired, end_reason).starts_with("Expired: "));
        }
        assert_eq!(phase(Phase::Denied, Some("undeliverable")), "Denied");
    }
}
