//! Checks `proto/formats/approval.md` against the code: its example is a whole life, and its table of codes is
//! complete.

use decider::approval::{Message, Phase, Refusal, State, fold};
use ledger::{ident::Ident, time::Nanos};

const PAGE: &str = include_str!("../../../proto/formats/approval.md");

/// The lines of the example: `journal.time` and message.
fn example() -> Vec<(Nanos, Message)> {
    let (_, block) = PAGE.split_once("```text\n").expect("an example");
    let (block, _) = block.split_once("\n```").expect("its end");
    let line = |line: &str| {
        let (time, message) = line.split_once(' ').expect("time and message");
        let message = Message::read(message.as_bytes()).expect("a message in RFC 8785 form");
        (Nanos::parse(time).expect("a time"), message)
    };
    block.lines().map(line).collect()
}

#[test]
fn the_example_is_a_whole_life() {
    let lines = example();
    let mut state = State::begin(&lines[0].1.prev);
    for (at, (time, message)) in lines.iter().enumerate() {
        let leaf = lines.get(at + 1).map_or("the last", |(_, next)| &next.prev);
        state = fold(state, message, leaf, *time);
        assert!(!state.corrupt, "line {}", at + 1);
    }
    assert_eq!((state.phase, state.n, state.version), (Phase::Completed, 7, 7));
    let people: Vec<_> = state.granted_by.iter().map(Ident::as_str).collect();
    assert_eq!(people, ["p-ann", "p-bob"]);
}

#[test]
fn every_refusal_is_explained() {
    use Refusal as R;
    let all = [
        R::NotFound,
        R::Malformed,
        R::Corrupt,
        R::NotNow,
        R::TooLate,
        R::NotLinked,
        R::NotEligible,
        R::OwnCall,
        R::OwnerUnknown,
        R::AlreadyReviewed,
        R::DigestMismatch,
        R::NotShown,
        R::Stale,
        R::StepUp,
        R::TooManyQuestions,
        R::NoQuestion,
        R::AlreadyAnswered,
        R::RuleChanged,
        R::PolicyDenies,
        R::PolicyUnreadable,
        R::NotYours,
        R::TooManyMints,
        R::TokenNotLive,
        R::AlreadyRedeemed,
        R::AlreadyReported,
    ];
    let (_, table) = PAGE.split_once("## Refusals").expect("the section");
    let (table, _) = table.split_once("## Limits").expect("the next one");
    for code in all {
        assert!(table.contains(&format!("\n| `{code}` | ")), "{code}");
    }
    assert_eq!(table.matches("\n| `").count(), all.len());
}
