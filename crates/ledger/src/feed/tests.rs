use super::*;
use crate::{
    log::merkle::{Edge, Hash},
    post::Keys,
    reader::Published,
    store::{Family, LogNumber, Memory},
};
use serde_json::json;
use std::sync::Arc;

const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";
/// `journal.time` of entry 0, in seconds; each later entry comes a second after the one before.
const BEGIN: u64 = 1_800_000_000;

fn seconds(seconds: u64) -> Nanos {
    Nanos(seconds * 1_000_000_000)
}

/// A log of decisions whose verdicts take turns, by two agents; every fifth entry is a rejection.
fn log(size: u64) -> (Memory, Published) {
    let mut memory = Memory::default();
    let number = LogNumber(1);
    let writes = (0..size).map(|index| {
        let verdict = Verdict::ALL[(index % 4) as usize].1;
        let agent = format!("agent-{}", index % 2);
        let data = json!({"agent": {"id": agent}, "tool": {"name": "bank", "action": "send"}, "verdict": verdict});
        let kind = if index % 5 == 4 { "rejected" } else { "decision" };
        let event = if kind == "rejected" { json!({}) } else { json!({"data": data}) };
        let journal = json!({"epoch": 1, "seq": index + 1, "time": seconds(BEGIN + index)});
        let entry = json!({"v": 1, "tenant": "acme", "kind": kind, "producer": "gw-1", "commit": "", "payload": [],
            "prior": {}, "event": event, "journal": journal});
        ((Family::Entries, number.numbered(index)), Some(canonical::of(&entry)))
    });
    memory.apply(writes.collect::<Vec<_>>().into_iter());
    let published = Published {
        pruned: None,
        size,
        root: Hash([0; 32]),
        checkpoint: String::new(),
        edge: Edge::default(),
        epoch: 1,
        posted: size,
        clock: None,
        policies: crate::post::Policies::default(),
        freezes: Arc::default(),
        identities: Arc::default(),
        alerts: Arc::default(),
        incidents: Arc::default(),
        keys: Keys::default(),
    };
    (memory, published)
}

fn question(pairs: &[(&str, &str)]) -> Question {
    Question::read(pairs.iter().copied()).unwrap()
}

/// Indexes and how far the page came, of a log of 20 entries at a time long after it.
fn read(pairs: &[(&str, &str)], from: Option<u64>, entries: usize) -> (Vec<u64>, Page) {
    read_at(pairs, from, entries, seconds(BEGIN + 1_000_000))
}

fn read_at(
    pairs: &[(&str, &str)],
    from: Option<u64>,
    entries: usize,
    now: Nanos,
) -> (Vec<u64>, Page) {
    let (memory, at) = log(20);
    let reader = Reader { store: &memory, number: LogNumber(1), at: &at };
    let mut indexes = Vec::new();
    let turn = Turn { from, entries, now };
    let page = page(&reader, &question(pairs), turn, |index, entry| {
        assert_eq!(entry.as_bytes(), reader.entry(index).unwrap().unwrap(), "verbatim");
        indexes.push(index);
    });
    (indexes, page.unwrap())
}

/// A moment as a query has it.
fn moment(at: u64) -> String {
    seconds(BEGIN + at).to_string()
}

#[test]
fn p3_pages_follow_each_other_without_holes() {
    for entries in [1, 7, 20, ENTRIES_MAX] {
        let (mut all, mut from) = (Vec::new(), None);
        for _ in 0..=20 {
            let (indexes, page) = read(&[], from, entries);
            assert!(indexes.len() <= entries && !page.ended && page.size == 20);
            assert_eq!(page.scanned.0, from.unwrap_or(0));
            all.extend(indexes);
            from = Some(page.scanned.1);
        }
        assert_eq!(all, (0..20).collect::<Vec<_>>());
        assert_eq!(from, Some(20));
    }
}

#[test]
fn p3_exactly_what_fits() {
    let check = |pairs: &[(&str, &str)], fits: fn(u64) -> bool| {
        let (indexes, page) = read(pairs, None, ENTRIES_MAX);
        assert_eq!(indexes, (0..20).filter(|index| fits(*index)).collect::<Vec<_>>(), "{pairs:?}");
        assert_eq!(page.scanned, (0, 20), "what was looked at is said, also where nothing fits");
    };
    check(&[("kind", "rejected")], |n| n % 5 == 4);
    check(&[("kind", "decision"), ("verdict", "deny")], |n| n % 5 != 4 && n % 4 == 1);
    check(&[("agent", "agent-1")], |n| n % 5 != 4 && n % 2 == 1);
    check(&[("agent", "agent-1 ")], |_| false);
    check(&[("producer", "gw-1"), ("tool", "bank")], |n| n % 5 != 4);
    check(&[("producer", "gw-2")], |_| false);
    check(&[("kind", "genesis")], |_| false);
}

#[test]
fn p3_since_and_until() {
    let (from, to) = (moment(5), moment(9));
    let bounded = [("since", from.as_str()), ("until", to.as_str())];
    let (indexes, page) = read(&bounded, None, 2);
    assert_eq!((indexes, page.ended, page.scanned), (vec![5, 6], false, (5, 7)));
    let (indexes, page) = read(&bounded, Some(7), 2);
    assert_eq!((indexes, page.ended), (vec![7, 8], true));
    // What was posted before `since`, and after the page before, is passed over.
    let (indexes, page) = read(&bounded, Some(0), 1);
    assert_eq!((indexes, page.scanned), (vec![5], (0, 6)));
    // Behind the log's end the clock says whether an entry may still come.
    let end = moment(30);
    let ended = |now| read_at(&[("until", &end)], Some(20), 9, seconds(BEGIN + now)).1.ended;
    assert!(!ended(0) && !ended(34) && ended(35));
}

#[test]
fn p3_a_word_that_nothing_has_is_refused() {
    let check = |pairs: &[(&str, &str)], words: &[&str]| {
        let told = Question::read(pairs.iter().copied()).unwrap_err().to_string();
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    };
    check(&[("kind", "gap_open")], &["kind: there is no \"gap_open\"", "gap_opened, gap_closed"]);
    check(&[("kind", "")], &["genesis"]);
    check(&[("verdict", "denied")], &["allow, deny, sanitize, approval_needed, unspecified"]);
    check(&[("producer", "GW 1")], &["producer", "a-z"]);
    check(&[("kinds", "decision")], &["no \"kinds\"", "since, until, kind"]);
    check(&[("tool", "a"), ("tool", "b")], &["tool: given more than once"]);
    check(&[("since", "2026-11-28")], &["since", "RFC 3339", "%2B"]);
    check(&[("until", "\u{1b}[31m")], &["until: \"\\u{1b}[31m\""]);
    for (kind, name) in Kind::ALL {
        assert_eq!(question(&[("kind", name)]).filter.kind, Some(kind));
    }
    for (verdict, name) in Verdict::ALL {
        assert_eq!(question(&[("verdict", name)]).filter.verdict, Some(verdict));
    }
}

/// The page's own example, made with another program.
#[test]
fn p3_cursors_are_as_the_page_says() {
    let gaps = question(&[("kind", "gap_opened")]);
    let cursor = gaps.cursor(ORIGIN, 14);
    let page = include_str!("../../../../proto/formats/feed.md");
    assert!(page.contains(&format!("{{\"next\":\"{cursor}\",")), "{cursor} is not on the page");
    assert_eq!(gaps.position(ORIGIN, &cursor), Ok(14));
    assert_eq!(gaps.position("log.example/v1/tenants/globex/logs/1", &cursor), Err(Wrong::Cursor));
    for wrong in
        ["", "A", "é", &cursor[1..], &format!("{cursor}A"), &cursor.replacen("Aw", "Ag", 1)]
    {
        assert_eq!(gaps.position(ORIGIN, wrong), Err(Wrong::Cursor), "{wrong}");
    }
}

#[test]
fn p3_a_cursor_belongs_to_its_question() {
    let moments = ("2026-11-20T05:48:01Z", "2026-11-20T06:48:01.000+01:00");
    let questions = [
        question(&[]),
        question(&[("kind", "decision")]),
        question(&[("agent", "decision")]),
        question(&[("tool", "decision")]),
        question(&[("producer", "decision")]),
        question(&[("verdict", "deny"), ("agent", "decision")]),
        question(&[("since", moments.0)]),
        question(&[("until", moments.0)]),
    ];
    for (at, asked) in questions.iter().enumerate() {
        let cursor = asked.cursor(ORIGIN, at as u64);
        for other in &questions {
            let read = other.position(ORIGIN, &cursor);
            assert_eq!(read, if other == asked { Ok(at as u64) } else { Err(Wrong::Cursor) });
        }
    }
    // The same moment in another spelling is the same question.
    let cursor = question(&[("since", moments.0)]).cursor(ORIGIN, 3);
    assert_eq!(question(&[("since", moments.1)]).position(ORIGIN, &cursor), Ok(3));
}
