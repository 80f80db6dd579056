//! A period is found and proven in logs of random times, with clocks that were reset.

use super::*;
use crate::{
    entry::Prior,
    log::{
        checkpoint::Checkpoint,
        merkle::{Edge, leaf_hash},
        note::Signer,
        tile::{Tile, push_entry},
    },
    verify::Trusted,
};
use proptest::prelude::*;
use std::collections::HashMap;

const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";

/// One entry: seconds that pass before it, and what it is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Event(u64),
    /// Time goes back by so many seconds.
    Clock(u64),
    /// A message of approval `id`.
    Approval(u8),
}

struct Made {
    files: HashMap<String, Vec<u8>>,
    note: String,
    trusted: Vec<Trusted>,
    times: Vec<u64>,
    /// Approval and number of each message, by index.
    messages: BTreeMap<u64, (u8, u64)>,
}

/// A log with these entries after the genesis.
fn log(steps: &[Step]) -> Made {
    let (mut edge, mut full, mut prior) = (Edge::default(), Vec::new(), Prior::default());
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    let (mut now, mut times, mut bundle) = (10_000_u64, Vec::new(), Vec::new());
    let (mut messages, mut counts) = (BTreeMap::new(), BTreeMap::<u8, u64>::new());
    let all = std::iter::once(None).chain(steps.iter().copied().map(Some));
    let size = steps.len() as u64 + 1;
    for (index, step) in (0..).zip(all) {
        let (kind, event) = match step {
            None => (Kind::Genesis, "{}".to_owned()),
            Some(Step::Event(passed)) => {
                now += passed;
                (Kind::Event, "{}".to_owned())
            }
            Some(Step::Clock(back)) => {
                now = now.saturating_sub(back);
                (Kind::Clock, "{}".to_owned())
            }
            Some(Step::Approval(id)) => {
                let n = counts.entry(id).or_default();
                *n += 1;
                messages.insert(index, (id, *n));
                (Kind::Approval, format!(r#"{{"approval_id":"apr-{id}","n":{n}}}"#))
            }
        };
        let time = Nanos(now * 1_000_000_000);
        let prior_text = serde_json::to_string(&prior).unwrap();
        let entry = format!(
            r#"{{"commit":"c","event":{event},"journal":{{"epoch":1,"seq":{},"time":"{time}"}},"kind":"{}","payload":[],"prior":{prior_text},"producer":null,"tenant":"acme","v":1}}"#,
            index + 1,
            kind.as_str()
        );
        push_entry(&mut bundle, entry.as_bytes());
        edge.append(leaf_hash(entry.as_bytes()), &mut full);
        prior.note(kind, index);
        times.push(now);
        if (index + 1) % 256 == 0 || index + 1 == size {
            let (number, width) = (index / 256, Tile::width_at(None, index / 256, size));
            let path = format!("tile/{}", Tile { level: None, number, width });
            files.insert(path, std::mem::take(&mut bundle));
        }
    }
    for tile in full {
        let place = Tile { level: Some(tile.level), number: tile.number, width: 256 };
        files.insert(format!("tile/{place}"), tile.bytes);
    }
    for level in 0..8 {
        let hashes = edge.partial(level);
        let number = (size >> (8 * u32::from(level))) / 256;
        if !hashes.is_empty() {
            let place = Tile { level: Some(level), number, width: hashes.len() };
            files.insert(format!("tile/{place}"), hashes.iter().flat_map(|hash| hash.0).collect());
        }
    }
    let signer = Signer::new(ORIGIN, &[7; 32]);
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: edge.root() };
    let note = checkpoint.sign([&signer]);
    let trusted = vec![Trusted { vkey: signer.vkey().clone(), first_size: 0, last_size: None }];
    Made { files, note, trusted, times, messages }
}

fn seconds(n: u64) -> Nanos {
    Nanos(n * 1_000_000_000)
}

/// Finds the period, compares it with a count over all entries, and checks that a shorter range is refused.
fn check(steps: &[Step], from: u64, to: u64) {
    let made = log(steps);
    let read = |path: &str| made.files.get(path).cloned();
    let part = Part::open(&made.trusted, &made.note, read).unwrap();
    let chain = Chain::walk(&part).unwrap();
    let period = Period { from: seconds(from), to: seconds(to) };
    let size = made.times.len() as u64;
    let begin = made.times.iter().position(|at| *at >= from).map_or(size, |at| at as u64);
    let end = made.times.iter().rposition(|at| *at < to).map_or(0, |at| at as u64 + 1);
    let range = find(&part, &chain, period).unwrap();
    assert_eq!(range, Range { begin, end });
    assert_eq!(super::check(&part, &chain, period, range).unwrap(), range.end < size);
    let held = |index: u64| period.holds(seconds(made.times[index as usize]));
    for at in range.begin..range.end {
        if held(at) {
            let cut = [Range { end: at, ..range }, Range { begin: at + 1, ..range }];
            for range in cut.into_iter().filter(|range| range.begin <= range.end) {
                assert!(super::check(&part, &chain, period, range).is_err(), "{at} was cut off");
            }
        }
    }
    let earlier = earlier_messages(&part, range).unwrap();
    let ids: Vec<u8> = made
        .messages
        .range(range.begin..range.end.max(range.begin))
        .map(|(_, (id, _))| *id)
        .collect();
    let expected: Vec<u64> = made
        .messages
        .range(..range.begin)
        .filter(|(_, (id, _))| ids.contains(id))
        .map(|(index, _)| *index)
        .collect();
    assert_eq!(earlier, expected);
    for id in 0..4 {
        if range.begin < size {
            let approval = Ident::new(&format!("apr-{id}")).unwrap();
            let found = messages_before(&part, range, (&approval, 0)).unwrap();
            let of_it = made.messages.range(..range.begin).filter(|(_, (of, _))| *of == id);
            assert_eq!(found, of_it.map(|(index, _)| *index).collect::<Vec<_>>());
        }
    }
}

#[test]
fn p20_periods_of_small_logs() {
    use Step::{Approval, Clock, Event};
    check(&[], 0, 5);
    check(&[], 10_000, 10_001);
    check(&[Event(5), Event(5), Event(5)], 10_005, 10_011);
    check(&[Event(5), Event(5), Event(5)], 20_000, 30_000);
    check(&[Event(5), Clock(50), Event(5), Event(60)], 9_950, 10_003);
    check(&[Event(5_000), Clock(6_000), Event(5)], 9_000, 9_500);
    check(
        &[Approval(1), Event(5), Approval(2), Event(5), Approval(1), Approval(2)],
        10_008,
        10_011,
    );
    check(&vec![Event(1); 700], 10_100, 10_600);
}

#[test]
fn p20_a_changed_entry_does_not_lead_to_the_root() {
    let mut made = log(&vec![Step::Event(1); 600]);
    for path in ["tile/entries/000", "tile/entries/002.p/89"] {
        let mut bytes = made.files[path].clone();
        let at = bytes.windows(5).position(|five| five == b"acme\"").unwrap();
        bytes[at] = b'b';
        let kept = made.files.insert(path.into(), bytes).unwrap();
        let read = |path: &str| made.files.get(path).cloned();
        let part = Part::open(&made.trusted, &made.note, read).unwrap();
        let number = if path.ends_with("000") { 0 } else { 2 };
        let error = part.bundle(number).err().unwrap().to_string();
        assert!(error.contains("do not lead to the signed root"), "{error}");
        made.files.insert(path.into(), kept);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn p20_periods_of_any_log(
        steps in prop::collection::vec(prop_oneof![
            6 => (0..40_u64).prop_map(Step::Event),
            1 => (0..400_u64).prop_map(Step::Clock),
            3 => (0..4_u8).prop_map(Step::Approval),
        ], 0..600),
        from in 9_000..14_000_u64,
        length in 1..3_000_u64,
    ) {
        check(&steps, from, from + length);
    }
}
