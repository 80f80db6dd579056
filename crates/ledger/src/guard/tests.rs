use super::*;
use crate::log::merkle::leaf_hash;

fn mark(origin: &str, size: u64) -> Mark {
    Mark { origin: origin.into(), size, root: leaf_hash(&size.to_be_bytes()) }
}

/// Opens the file again. A process that another test has just started holds our lock until it executes.
fn open_again(path: &Path, writer: u64) -> Guard {
    let started = std::time::Instant::now();
    loop {
        match Guard::open(path, writer) {
            Err(Error::Held(_)) if started.elapsed().as_secs() < 60 => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

#[test]
fn p4_advances_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guard");
    let mut guard = Guard::open(&path, 1).unwrap();
    guard.advance(&[mark("a", 1), mark("b", 1)]).unwrap();
    for size in 2..9 {
        guard.advance(&[mark("b", size), mark("c", size)]).unwrap();
    }
    assert!(matches!(Guard::open(&path, 2), Err(Error::Held(_))));
    assert!(matches!(guard.advance(&[mark("b", 3)]), Err(Error::Moved { .. })), "never back");
    let other = Mark { root: leaf_hash(b"other"), ..mark("b", 8) };
    assert!(matches!(guard.advance(&[other]), Err(Error::Moved { .. })), "one root a size");
    drop(guard);
    let guard = open_again(&path, 2);
    assert_eq!(guard.mark("a"), Some(&mark("a", 1)));
    assert_eq!(guard.mark("b"), Some(&mark("b", 8)));
    assert_eq!(guard.mark("c"), Some(&mark("c", 8)));
    assert_eq!(guard.mark("d"), None);
}

#[test]
fn p4_who_looks_makes_no_guard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guard");
    assert!(Guard::look(&path).unwrap().is_none());
    assert!(!path.exists());
    Guard::open(&path, 1).unwrap().advance(&[mark("a", 1)]).unwrap();
    let looked = loop {
        match Guard::look(&path) {
            Err(Error::Held(_)) => std::thread::yield_now(),
            other => break other.unwrap().unwrap(),
        }
    };
    assert_eq!(looked.mark("a"), Some(&mark("a", 1)));
}

#[test]
fn p4_a_file_that_is_gone_or_another_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("guard"), dir.path().join("aside"));
    let mut guard = Guard::open(&path, 1).unwrap();
    guard.advance(&[mark("a", 1)]).unwrap();
    assert!(guard.place().check().is_ok());
    std::fs::copy(&path, &aside).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(guard.place().check(), Err(Error::Replaced { .. })), "gone");
    std::fs::rename(&aside, &path).unwrap();
    assert!(matches!(guard.place().check(), Err(Error::Replaced { .. })), "a copy");
}

#[test]
fn p4_a_torn_slot_falls_back_and_another_writer_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guard");
    let mut guard = Guard::open(&path, 1).unwrap();
    guard.advance(&[mark("a", 1)]).unwrap();
    guard.advance(&[mark("a", 2)]).unwrap();
    let other = File::options().write(true).open(&path).unwrap();
    // Generation 1 is in the second slot: tear it.
    other.write_all_at(&[0xff; 100], SLOT_BYTES as u64).unwrap();
    assert!(matches!(guard.advance(&[mark("a", 3)]), Err(Error::Damaged(_))));
    drop(guard);
    let mut guard = open_again(&path, 1);
    assert_eq!(guard.mark("a"), Some(&mark("a", 1)));
    other.write_all_at(&encode(0, 9, &mark("a", 7)), 0).unwrap();
    assert!(matches!(guard.advance(&[mark("a", 2)]), Err(Error::Moved { found: 7, .. })));
}
