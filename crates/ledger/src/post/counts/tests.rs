//! The sums do not depend on the borders of batches, and what is beyond the bound is counted together.

use super::*;
use crate::store::Memory;

const LOG: LogNumber = LogNumber(7);

/// Rows of the tool counts, after batches of (day, tool).
fn rows(batches: &[&[(u64, String)]]) -> Vec<Option<Vec<u8>>> {
    let mut memory = Memory::default();
    let mut keys = Vec::new();
    for batch in batches {
        let mut counts = Counts::default();
        for (day, tool) in *batch {
            counts.add(Nanos(0).plus_seconds(day * 86_400), Name::Tool, tool);
            for day in [u32::try_from(*day).unwrap(), ALL_DAYS] {
                let of = Rows { number: LOG, day, name: Name::Tool };
                let what = [of.key(VALUE, tool), of.key(OTHER, ""), of.key(NUMBER, "")];
                keys.extend(what);
            }
        }
        let mut changes = Changes::new(&memory);
        counts.write(&mut changes, LOG).unwrap();
        assert!(counts.is_empty());
        let writes: Vec<_> = changes.into_writes().collect();
        memory.apply(writes.into_iter());
    }
    keys.sort();
    keys.dedup();
    keys.iter().map(|key| memory.get(Family::Counts, key).unwrap()).collect()
}

#[test]
fn p6_the_rows_do_not_depend_on_the_borders_of_batches() {
    let mut calls: Vec<(u64, String)> = Vec::new();
    for n in 0..400_u64 {
        calls.push((20_000 + n % 3 / 2, format!("tool-{}", n * n % 139)));
    }
    let whole = rows(&[&calls]);
    assert!(whole.iter().flatten().count() > 150);
    for size in [1, 7, 100, 399] {
        let batches: Vec<_> = calls.chunks(size).collect();
        assert_eq!(rows(&batches), whole, "{size}");
    }
}

#[test]
fn what_comes_after_the_bound_is_counted_together() {
    let calls: Vec<_> = (0..250).map(|n| (20_000, format!("tool-{}", n % 125))).collect();
    let of = Rows { number: LOG, day: 20_000, name: Name::Tool };
    let mut memory = Memory::default();
    for batch in calls.chunks(10) {
        let mut counts = Counts::default();
        for (day, tool) in batch {
            counts.add(Nanos(0).plus_seconds(day * 86_400), Name::Tool, tool);
        }
        let mut changes = Changes::new(&memory);
        counts.write(&mut changes, LOG).unwrap();
        let writes: Vec<_> = changes.into_writes().collect();
        memory.apply(writes.into_iter());
    }
    let get = |what, value: &str| {
        let row = memory.get(Family::Counts, &of.key(what, value)).unwrap();
        row.map(|bytes| store::read_u64(&bytes, "counts").unwrap())
    };
    assert_eq!((get(VALUE, "tool-0"), get(VALUE, "tool-99")), (Some(2), Some(2)));
    assert_eq!((get(VALUE, "tool-100"), get(OTHER, "")), (None, Some(50)));
    assert_eq!(get(NUMBER, ""), Some(VALUES_MAX));
    let key = of.key(VALUE, "tool-9");
    assert_eq!(read_key(&key[4..]), Some((20_000, "tool", Some("tool-9"))));
    assert_eq!(read_key(&of.key(OTHER, "")[4..]), Some((20_000, "tool", None)));
    assert_eq!(read_key(&of.key(NUMBER, "")[4..]), None);
    assert_eq!(read_key(b"x"), None);
}
