//! What this replica has promised never to post: journal messages that it found missing, and told the others so (P21).
//!
//! A file beside the guard's, because a database that is restored or begun anew must not forget it. It is replaced as a whole and
//! fsynced before anybody is told. A file that can't be read stops the start: what was promised is then unknown.

use crate::atomic;
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

/// Most promises that one replica gives: then it needs a person.
const PROMISES_MAX: usize = 4096;
/// Largest file, in bytes.
const BYTES_MAX: u64 = 4 << 20;

/// Journal messages of one log that are never posted here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promised {
    /// Origin of the log.
    pub origin: String,
    /// Journal epoch.
    pub epoch: u64,
    /// The first sequence.
    pub from: u64,
    /// The last sequence.
    pub to: u64,
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    v: u32,
    promises: Vec<Promised>,
}

/// Every promise of this replica. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Promises {
    path: PathBuf,
    all: Arc<RwLock<Vec<Promised>>>,
}

/// Why a promise is not given, or the promises are not known.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The file can't be read or written.
    #[error("the file of promises {path} failed: {source}; check its disk, then start again")]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not one of promises.
    #[error(
        "the file of promises {0} is damaged, and what this replica has promised never to post is unknown: restore it from its \
         copy, or remove this replica and add it again with a new name and key (docs/operate/several-machines.md)"
    )]
    Damaged(PathBuf),
    /// Too many holes.
    #[error(
        "this replica has given {PROMISES_MAX} promises about lost journal messages: find out why NATS loses them"
    )]
    Full,
}

impl Promises {
    /// Reads the file beside the guard's. Without one, nothing is promised.
    pub fn open(guard: &Path) -> Result<Self, Broken> {
        let mut name = guard.file_name().unwrap_or_default().to_owned();
        name.push(".promises");
        let path = guard.with_file_name(name);
        let read = atomic::read(&path, BYTES_MAX);
        let all = match read.map_err(|source| Broken::Io { path: path.clone(), source })? {
            None => Vec::new(),
            Some(bytes) => match serde_json::from_slice::<Kept>(&bytes) {
                Ok(kept) if kept.v == 1 => kept.promises,
                _ => return Err(Broken::Damaged(path)),
            },
        };
        Ok(Self { path, all: Arc::new(RwLock::new(all)) })
    }

    /// True if a message must not be posted.
    pub fn has(&self, origin: &str, epoch: u64, seq: u64) -> bool {
        self.covers(origin, epoch, (seq, seq))
    }

    /// True if none of these messages may be posted.
    pub fn covers(&self, origin: &str, epoch: u64, (from, to): (u64, u64)) -> bool {
        let all = self.all.read().expect("no holder of the lock panics");
        let of_log = |one: &&Promised| one.origin == origin && one.epoch == epoch;
        let mut next = from;
        while let Some(one) =
            all.iter().filter(of_log).find(|one| (one.from..=one.to).contains(&next))
        {
            if one.to >= to {
                return true;
            }
            next = one.to + 1;
        }
        false
    }

    /// Every promise about this log: epoch, first and last sequence.
    pub fn of(&self, origin: &str) -> Vec<(u64, u64, u64)> {
        let all = self.all.read().expect("no holder of the lock panics");
        let of_log = all.iter().filter(|one| one.origin == origin);
        of_log.map(|one| (one.epoch, one.from, one.to)).collect()
    }

    /// Promises never to post these messages, durably.
    pub fn keep(&self, origin: &str, epoch: u64, (from, to): (u64, u64)) -> Result<(), Broken> {
        if self.covers(origin, epoch, (from, to)) {
            return Ok(());
        }
        let mut all = self.all.write().expect("no holder of the lock panics");
        if all.len() >= PROMISES_MAX {
            return Err(Broken::Full);
        }
        let mut promises = all.clone();
        promises.push(Promised { origin: origin.into(), epoch, from, to });
        let kept = Kept { v: 1, promises };
        let bytes = serde_json::to_vec(&kept).unwrap_or_default();
        let path = &self.path;
        atomic::replace(path, &bytes)
            .map_err(|source| Broken::Io { path: path.clone(), source })?;
        *all = kept.promises;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "log.example/v1/tenants/acme/logs/1";

    #[test]
    fn p21_a_promise_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let guard = folder.path().join("guard");
        let promises = Promises::open(&guard).unwrap();
        assert!(!promises.has(LOG, 1, 5));
        promises.keep(LOG, 1, (5, 7)).unwrap();
        promises.keep(LOG, 1, (8, 8)).unwrap();
        promises.keep(LOG, 1, (6, 8)).unwrap();
        for promises in [promises, Promises::open(&guard).unwrap()] {
            let check = |origin, epoch, range, expected| {
                assert_eq!(promises.covers(origin, epoch, range), expected, "{origin} {range:?}");
            };
            check(LOG, 1, (5, 5), true);
            check(LOG, 1, (5, 8), true);
            check(LOG, 1, (4, 5), false);
            check(LOG, 1, (8, 9), false);
            check(LOG, 2, (5, 5), false);
            check("log.example/other", 1, (5, 5), false);
            assert_eq!(promises.of(LOG), [(1, 5, 7), (1, 8, 8)]);
            assert_eq!(promises.of("log.example/other"), []);
            assert_eq!(promises.all.read().unwrap().len(), 2, "none is kept twice");
        }
    }

    #[test]
    fn p21_what_was_promised_is_known_or_nothing_starts() {
        let folder = tempfile::tempdir().unwrap();
        let guard = folder.path().join("guard");
        for damaged in ["", "{}", r#"{"v":2,"promises":[]}"#, r#"{"v":1,"promises":[{}]}"#] {
            std::fs::write(folder.path().join("guard.promises"), damaged).unwrap();
            assert!(matches!(Promises::open(&guard), Err(Broken::Damaged(_))), "{damaged}");
        }
    }

    #[test]
    fn p21_a_promise_that_is_not_stored_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let promises = Promises::open(&folder.path().join("guard")).unwrap();
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(promises.keep(LOG, 1, (5, 7)).is_err());
        assert!(!promises.has(LOG, 1, 5), "nobody is told what a crash would forget");
    }
}
