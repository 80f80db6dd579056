//! What a rewrite touches, and what it leaves.

use super::*;
use std::collections::BTreeSet;

const KEYS: u32 = 3_000;
const VALUE_BYTES: usize = 64 << 10;

fn opened(path: &Path) -> Rocks {
    let (path, compression) = (path.to_owned(), Compression::None);
    Rocks::open(&Opening { path, create: true, compression, files_max: 64, record: None }).unwrap()
}

/// Bytes that say which key they belong to.
fn value(key: u32) -> Vec<u8> {
    format!("value of {key:08} ").into_bytes().repeat(VALUE_BYTES / 18)
}

/// Names and sizes of the files of the payload.
fn files(store: &Rocks) -> BTreeSet<(String, usize)> {
    let files = store.db.live_files().unwrap();
    let files = files.into_iter().filter(|file| file.column_family_name == "payload");
    files.map(|file| (file.name, file.size)).collect()
}

/// Whether any file of the directory holds these bytes.
fn is_on_disk(path: &Path, bytes: &[u8]) -> bool {
    let files = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| {
        let held = std::fs::read(path).unwrap();
        held.windows(bytes.len()).any(|window| window == bytes)
    })
}

fn put(store: &Rocks, key: u32, value: Vec<u8>) {
    let key = (Family::Payload, key.to_be_bytes().to_vec());
    store.commit(std::iter::once((key, Some(value)))).unwrap();
}

/// P11: 190 MB of payload; one old value goes, and one file of some 64 MB is written, not everything after it.
#[test]
fn p11_a_rewrite_touches_the_files_of_its_keys_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path());
    for key in 0..KEYS {
        put(&store, key, value(key));
    }
    store.flush().unwrap();
    let all = None::<&[u8]>;
    store.db.compact_range_cf(store.family(Family::Payload), all, all);
    put(&store, KEYS, value(KEYS));
    let before = files(&store);
    assert!(before.len() >= 3, "more than one file: {before:?}");
    assert!(is_on_disk(folder.path(), b"value of 00000005 "));
    store.flush().unwrap();
    let values = [(5_u32, None), (6, Some(b"new".to_vec()))];
    let values: Values =
        values.into_iter().map(|(key, value)| (key.to_be_bytes().to_vec(), value)).collect();
    store.rewrite(Family::Payload, &values).unwrap();
    for (key, held) in [(4, true), (5, false), (6, false), (7, true), (KEYS, true)] {
        let word = format!("value of {key:08} ");
        assert_eq!(is_on_disk(folder.path(), word.as_bytes()), held, "{word}");
    }
    let get = |key: u32| store.get(Family::Payload, &key.to_be_bytes()).unwrap();
    assert_eq!((get(4), get(5), get(6)), (Some(value(4)), None, Some(b"new".to_vec())));
    let written: usize = files(&store).difference(&before).map(|(_, size)| size).sum();
    let held: usize = before.iter().map(|(_, size)| size).sum();
    assert!(written < held / 2, "{written} of {held} bytes were written");
    drop(store);
    let store = opened(folder.path());
    assert_eq!(store.get(Family::Payload, &5_u32.to_be_bytes()).unwrap(), None);
    assert!(!folder.path().join(REWRITE_FILE).exists());
}
