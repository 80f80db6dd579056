use super::*;
use ledger::{Error as LedgerError, journal};
use std::collections::BTreeSet;

#[test]
fn every_code_is_on_the_page_with_its_status() {
    let page = include_str!("../../../../proto/errors.md");
    // Codes that mean the same to a caller share a row.
    let rows = |code: &str| {
        let quoted = format!("`{code}`");
        let names = |line: &str| line.split('|').nth(1).unwrap_or_default().contains(&quoted);
        page.lines().filter(move |line| names(line)).collect::<Vec<_>>()
    };
    for code in Code::ALL {
        let status = format!("| {} |", code.status());
        let found = rows(code.name());
        assert!(found.iter().any(|row| row.contains(&status)), "{}: {found:?}", code.name());
        assert!(!code.title().is_empty());
    }
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
}

/// The word of a refusal is its code (`proto/errors.md`); one alone is told as something else.
#[test]
fn refusals_and_tokens_keep_their_words() {
    use Refusal::*;
    for refusal in [
        NotFound,
        Malformed,
        Corrupt,
        NotNow,
        TooLate,
        NotLinked,
        NotEligible,
        OwnCall,
        OwnerUnknown,
        AlreadyReviewed,
        DigestMismatch,
        NotShown,
        Stale,
        StepUp,
        TooManyQuestions,
        NoQuestion,
        AlreadyAnswered,
        RuleChanged,
        PolicyDenies,
        PolicyUnreadable,
        TooManyMints,
        TokenNotLive,
        AlreadyRedeemed,
        AlreadyReported,
    ] {
        assert_eq!(Code::from(refusal).name(), refusal.to_string());
    }
    assert_eq!(Code::from(NotYours), Code::NotFound);
    for error in [token::Error::TooBig, token::Error::NotYetValid, token::Error::UnknownKey] {
        assert_eq!(Code::from(error).name(), error.code());
    }
}

/// What an answer says is for the caller: nothing of the server's insides.
#[test]
fn setups_and_keys_stay_inside() {
    let check = |error: LedgerError, status: u16, says: &str| {
        let problem = Problem::from(error);
        assert_eq!(problem.status().as_u16(), status);
        assert!(problem.detail().contains(says), "{}", problem.detail());
    };
    check(LedgerError::Setup("/var/lib/secret".into()), 500, "The reason is in the server's log");
    check(LedgerError::NoKey("seal"), 500, "The reason is in the server's log");
    check(LedgerError::Taken("tenant acme exists already".into()), 409, "exists already");
    let kind = ledger::entry::Kind::Key;
    check(LedgerError::NotErasable { index: 7, kind }, 400, "entry 7 (key) has no payload");
    let subject = journal::Subject::parse("system.key").unwrap();
    let refused = ledger::event::Refused::Signature;
    let outcome = ledger::post::Outcome::Rejected { index: 9, refused };
    let error = LedgerError::unless_posted(&subject, Some(&outcome)).unwrap_err();
    check(error, 409, "system.key was not posted: not signed by");
}
