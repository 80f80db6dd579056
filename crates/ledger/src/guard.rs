//! The fork guard: how far each log was signed, stored outside the database.
//!
//! After the database's fsync and before anything is published, each changed log's `{origin, size, root, writer}` is
//! advanced here by compare-and-swap. So published ≤ guard ≤ database, always. A restored backup or a second writer
//! finds a guard that is ahead of it, and refuses to sign another history.
//!
//! File: two slots of 512 bytes for each log, written alternately, one `fdatasync` for all logs of a commit. Slot:
//! `magic[8] ‖ generation u64 ‖ size u64 ‖ root[32] ‖ writer u64 ‖ origin length u16 ‖ origin ‖ zeros ‖ SHA-256[32]`.

mod port;
mod promises;

pub use port::{Port, Shared};
pub use promises::{Broken, Promises};

use crate::log::merkle::Hash;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

const SLOT_BYTES: usize = 512;
const MAGIC: &[u8; 8] = b"csguard1";
const HEAD_BYTES: usize = 8 + 8 + 8 + 32 + 8 + 2;
/// Longest origin that a slot can hold, in bytes.
pub const ORIGIN_BYTES_MAX: usize = SLOT_BYTES - HEAD_BYTES - 32;

/// How far a log was signed. It never goes back, and a size never has two roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Origin of the log.
    pub origin: String,
    /// Tree size.
    pub size: u64,
    /// Root hash at that size.
    pub root: Hash,
}

/// Why the guard refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read, written or synced.
    #[error("the guard {path} failed: {source}; check its disk, then start again")]
    Io {
        /// The guard's file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("the guard {0} is held by another process: only one server may sign for these logs")]
    Held(PathBuf),
    /// Both slots of a log are unreadable.
    #[error(
        "the guard {0} is damaged: restore it from its copy, or read SECURITY.md before you delete it"
    )]
    Damaged(PathBuf),
    /// The path no longer names the open file.
    #[error(
        "the guard {path} was removed or replaced while the server ran: what it holds would not be found at the next \
         start, so nothing more is signed. Put it back (while this process lives, /proc/{pid}/fd/{descriptor} has its \
         content), then restart"
    )]
    Replaced {
        /// Path of the guard.
        path: PathBuf,
        /// This process.
        pid: u32,
        /// Descriptor of the open file.
        descriptor: i32,
    },
    /// Compare-and-swap was lost.
    #[error(
        "the guard was advanced by another writer: {origin} is at {found}, expected {expected}"
    )]
    Moved {
        /// The log.
        origin: String,
        /// Size that this process had written.
        expected: u64,
        /// Size in the slot.
        found: u64,
    },
    /// A replica would have signed without the others.
    #[error("{0} is cosigned by replicas: this server must not sign it alone")]
    Alone(String),
    /// What a replica has promised is not known.
    #[error(transparent)]
    Promises(#[from] Broken),
    /// The origin is too long for a slot.
    #[error("an origin has at most {ORIGIN_BYTES_MAX} bytes")]
    OriginTooLong,
}

#[derive(Clone, Debug)]
struct Place {
    at: u64,
    generation: u64,
    mark: Mark,
}

/// Path of an open guard file, to check whether it is still there.
#[derive(Clone, Debug)]
pub struct PlaceOfFile {
    path: PathBuf,
    descriptor: i32,
    /// Device and inode.
    identity: (u64, u64),
}

impl PlaceOfFile {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the path still names the open file.
    pub fn check(&self) -> Result<(), Error> {
        match std::fs::metadata(&self.path) {
            Ok(now) if (now.dev(), now.ino()) == self.identity => Ok(()),
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Io { path: self.path.clone(), source })
            }
            _ => Err(Error::Replaced {
                path: self.path.clone(),
                pid: std::process::id(),
                descriptor: self.descriptor,
            }),
        }
    }
}

/// An open guard file, locked for this process.
#[derive(Debug)]
pub struct Guard {
    file: File,
    path: PathBuf,
    place: PlaceOfFile,
    writer: u64,
    places: HashMap<String, Place>,
    /// Number of slot pairs in the file. A new log gets the next pair.
    pairs: u64,
}

impl Guard {
    /// Opens or creates the file and locks it. `writer` identifies this process in the slots (random).
    pub fn open(path: &Path, writer: u64) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let mut open = File::options();
        open.read(true).write(true).create(true).truncate(false).mode(0o600);
        if path.is_symlink() {
            let why = "it is a link: name in guard_path what it leads to";
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        let file = open.open(path).map_err(failed)?;
        make_private(&file);
        Self::held(file, path, writer)
    }

    /// Opens the file for reading only and locks it (`fsck`). `None` if there is none. Nothing is made or changed.
    pub fn look(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        Self::held(file, path, 0).map(Some)
    }

    fn held(file: File, path: &Path, writer: u64) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Held(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let made = file.metadata().map_err(failed)?;
        let place = PlaceOfFile {
            path: path.to_owned(),
            descriptor: file.as_raw_fd(),
            identity: (made.dev(), made.ino()),
        };
        let (path, places) = (path.to_owned(), HashMap::new());
        let mut guard = Self { file, path, place, writer, places, pairs: 0 };
        guard.load()?;
        Ok(guard)
    }

    /// Path of its file.
    pub fn place(&self) -> &PlaceOfFile {
        &self.place
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    fn load(&mut self) -> Result<(), Error> {
        let length = self.file.metadata().map_err(|e| self.failed(e))?.len();
        self.pairs = length.div_ceil(2 * SLOT_BYTES as u64);
        // Nothing has relied on a pair that was only begun when the machine stopped.
        for at in (0..length).step_by(2 * SLOT_BYTES) {
            let first = self.read_slot(at)?;
            let second = self.read_slot(at + SLOT_BYTES as u64)?;
            let newest = first.into_iter().chain(second).max_by_key(|(generation, _)| *generation);
            match newest {
                Some((generation, mark)) => {
                    self.places.insert(mark.origin.clone(), Place { at, generation, mark });
                }
                None if at + 2 * SLOT_BYTES as u64 >= length || self.is_blank(at)? => {}
                None => return Err(Error::Damaged(self.path.clone())),
            }
        }
        Ok(())
    }

    /// True for a pair that was assigned but whose first write never reached the disk.
    fn is_blank(&self, at: u64) -> Result<bool, Error> {
        let mut pair = [0; 2 * SLOT_BYTES];
        self.file.read_exact_at(&mut pair, at).map_err(|e| self.failed(e))?;
        Ok(pair.iter().all(|byte| *byte == 0))
    }

    fn read_slot(&self, at: u64) -> Result<Option<(u64, Mark)>, Error> {
        let mut slot = [0; SLOT_BYTES];
        match self.file.read_exact_at(&mut slot, at) {
            Ok(()) => Ok(decode(&slot)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(self.failed(e)),
        }
    }

    /// The mark of `origin`.
    pub fn mark(&self, origin: &str) -> Option<&Mark> {
        self.places.get(origin).map(|place| &place.mark)
    }

    /// The marks of all logs.
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.places.values().map(|place| &place.mark)
    }

    /// Advances these logs and returns once that is durable. Compares all slots first, then does one `fdatasync`.
    pub fn advance(&mut self, marks: &[Mark]) -> Result<(), Error> {
        let mut next = Vec::with_capacity(marks.len());
        let mut end = self.pairs;
        for mark in marks {
            if mark.origin.len() > ORIGIN_BYTES_MAX {
                return Err(Error::OriginTooLong);
            }
            let place = match self.places.get(&mark.origin) {
                None => {
                    end += 1;
                    Place {
                        at: (end - 1) * 2 * SLOT_BYTES as u64,
                        generation: 0,
                        mark: mark.clone(),
                    }
                }
                Some(place) => {
                    self.compare(place)?;
                    let known = &place.mark;
                    if mark.size < known.size
                        || (mark.size == known.size && mark.root != known.root)
                    {
                        let (expected, found) = (mark.size, known.size);
                        return Err(Error::Moved { origin: mark.origin.clone(), expected, found });
                    }
                    Place { generation: place.generation + 1, mark: mark.clone(), ..*place }
                }
            };
            next.push(place);
        }
        for place in &next {
            let slot = encode(place.generation, self.writer, &place.mark);
            let at = place.at + (place.generation % 2) * SLOT_BYTES as u64;
            self.file.write_all_at(&slot, at).map_err(|e| self.failed(e))?;
        }
        self.file.sync_data().map_err(|e| self.failed(e))?;
        self.pairs = end;
        self.places.extend(next.into_iter().map(|place| (place.mark.origin.clone(), place)));
        Ok(())
    }

    /// Checks that the slot on disk is the one that this process knows.
    fn compare(&self, place: &Place) -> Result<(), Error> {
        let at = place.at + (place.generation % 2) * SLOT_BYTES as u64;
        let found = self.read_slot(at)?;
        match found {
            Some((generation, mark)) if generation == place.generation && mark == place.mark => {
                Ok(())
            }
            Some((_, mark)) => Err(Error::Moved {
                origin: place.mark.origin.clone(),
                expected: place.mark.size,
                found: mark.size,
            }),
            None => Err(Error::Damaged(self.path.clone())),
        }
    }
}

/// Makes a guard private that an earlier version made readable for others. Only its owner can do that.
fn make_private(file: &File) {
    let permissions = file.metadata().map(|meta| meta.permissions());
    if let Ok(mut permissions) = permissions
        && permissions.mode() & 0o077 != 0
    {
        permissions.set_mode(0o600);
        let _ = file.set_permissions(permissions);
    }
}

fn encode(generation: u64, writer: u64, mark: &Mark) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    let origin_length = u16::try_from(mark.origin.len()).expect("checked against the slot");
    let parts: [&[u8]; 7] = [
        MAGIC,
        &generation.to_be_bytes(),
        &mark.size.to_be_bytes(),
        &mark.root.0,
        &writer.to_be_bytes(),
        &origin_length.to_be_bytes(),
        mark.origin.as_bytes(),
    ];
    let mut at = 0;
    for part in parts {
        slot[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let sum = Sha256::digest(&slot[..SLOT_BYTES - 32]);
    slot[SLOT_BYTES - 32..].copy_from_slice(&sum);
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(u64, Mark)> {
    let (body, sum) = slot.split_at(SLOT_BYTES - 32);
    if Sha256::digest(body).as_slice() != sum || &body[..8] != MAGIC {
        return None;
    }
    let number = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("8 bytes"));
    let length = usize::from(u16::from_be_bytes([body[64], body[65]]));
    let origin = std::str::from_utf8(body.get(HEAD_BYTES..HEAD_BYTES + length)?).ok()?;
    let root = Hash::from_slice(&body[24..56])?;
    Some((number(8), Mark { origin: origin.into(), size: number(16), root }))
}

#[cfg(test)]
mod tests;
