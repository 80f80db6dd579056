use super::*;
use crate::{
    history::{Row, walk},
    store::Memory,
};
use std::collections::BTreeSet;

const NUMBER: LogNumber = LogNumber(1);
const SECOND: u64 = 1_000_000_000;

fn call(agent: &str, session: &str, action: &str) -> CallOf {
    let session = Some(session.to_owned());
    let (agent, tool, action) = (agent.to_owned(), "bank".to_owned(), action.to_owned());
    CallOf { agent, session, run: None, tool, action }
}

fn named(same: Same, verdicts: &[&str], outcomes: &[Outcome]) -> Named {
    let texts =
        |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    let outcomes = outcomes.iter().copied().collect();
    Named {
        same,
        tool: "bank".into(),
        actions: texts(&["pay"]),
        verdicts: texts(verdicts),
        outcomes,
    }
}

struct Log(Memory);

impl Log {
    fn with<T>(&mut self, change: impl FnOnce(&mut Track<'_, '_>) -> T) -> T {
        let (done, writes) = {
            let mut changes = Changes::new(&self.0);
            let done = change(&mut Track::new(&mut changes, NUMBER));
            (done, changes.into_writes().collect::<Vec<_>>())
        };
        self.0.apply(writes.into_iter());
        done
    }

    fn decide(&mut self, index: u64, seconds: u64, call: &CallOf, verdict: &str) {
        let at = Nanos(seconds * SECOND);
        self.with(|track| track.decided((index, at), ("gw", call), (verdict, None)).unwrap());
    }

    fn report(&mut self, index: u64, decision: u64, producer: &str) {
        let report = Reported { decision, outcome: Outcome::Failed };
        self.with(|track| track.reported(report, producer, index).unwrap());
    }

    fn changed(&mut self, named: &Named, call: &CallOf, as_of: u64) -> bool {
        let named = std::slice::from_ref(named);
        self.with(|track| track.changed(named, call, as_of).unwrap())
    }

    fn indexes(&self, same: Same, id: &str, action: &str) -> Vec<u64> {
        let (id, tool, action) = (id.to_owned(), "bank".to_owned(), action.to_owned());
        let (row, mut found) = (Row { same, id, tool, action }, Vec::new());
        let mut visit = |index, _: &_| {
            found.push(index);
            true
        };
        walk(&self.0, NUMBER, &row, &mut visit).unwrap();
        found
    }
}

#[test]
fn p14_only_what_counts_changes_what_was_counted() {
    let mut log = Log(Memory::default());
    let mine = call("bot", "s-1", "pay");
    log.decide(5, 10, &mine, "allow");
    for (of, same, verdicts, as_of, changed) in [
        (&mine, Same::Agent, &["allow"][..], 5, true),
        (&mine, Same::Agent, &["allow"][..], 6, false),
        (&mine, Same::Session, &["allow"][..], 5, true),
        (&mine, Same::Run, &["allow"][..], 5, false),
        (&mine, Same::Agent, &["deny"][..], 5, false),
        (&call("other", "s-1", "pay"), Same::Agent, &["allow"][..], 5, false),
        (&call("other", "s-1", "pay"), Same::Session, &["allow"][..], 5, true),
        (&call("bot", "s-2", "pay"), Same::Session, &["allow"][..], 5, false),
    ] {
        let named = named(same, verdicts, &[]);
        assert_eq!(log.changed(&named, of, as_of), changed, "{named:?} {of:?} {as_of}");
    }
    log.decide(6, 11, &call("bot", "s-1", "ask"), "allow");
    assert!(!log.changed(&named(Same::Agent, &["allow"], &[]), &mine, 6), "another action");
}

#[test]
fn p14_where_outcomes_count_a_report_changes_what_was_counted() {
    let mut log = Log(Memory::default());
    let mine = call("bot", "s-1", "pay");
    let failed = named(Same::Agent, &["allow"], &[Outcome::Failed]);
    log.decide(5, 10, &mine, "allow");
    assert!(!log.changed(&failed, &mine, 5), "nothing is reported");
    log.report(6, 5, "other-gw");
    assert!(!log.changed(&failed, &mine, 5), "another gateway's report");
    log.report(7, 5, "gw");
    assert!(log.changed(&failed, &mine, 7));
    log.report(8, 5, "gw");
    assert!(!log.changed(&failed, &mine, 8), "the first report counts");
}

#[test]
fn p13_old_decisions_are_forgotten_and_the_rows_stay_whole() {
    let mut log = Log(Memory::default());
    let mine = call("bot", "s-1", "pay");
    for index in 0..6 {
        log.decide(index, 10 + index, &mine, "allow");
    }
    log.decide(6, 20, &call("bot", "s-old", "pay"), "allow");
    assert_eq!(log.indexes(Same::Agent, "bot", "pay"), [6, 5, 4, 3, 2, 1, 0]);
    let late = 10 + KEPT_SECONDS;
    log.decide(7, late, &mine, "allow");
    assert_eq!(log.indexes(Same::Session, "s-1", "pay").len(), 7, "each is young enough");
    log.decide(8, late + 100, &mine, "allow");
    assert_eq!(log.indexes(Same::Session, "s-1", "pay"), [8, 7, 5, 4], "four at once");
    log.decide(9, late + 101, &mine, "allow");
    assert_eq!(log.indexes(Same::Session, "s-1", "pay"), [9, 8, 7]);
    assert!(log.indexes(Same::Session, "s-old", "pay").is_empty());
    let rows = log.0.len();
    log.decide(10, 2 * late + 200, &mine, "allow");
    assert!(log.0.len() <= rows, "rows that nobody asks about are gone");
}
