//! The position up to which a file was published, and the identity of that file.
//!
//! A number of lines alone would skip events of another file that later has the same name. So a position also
//! has the number of bytes of those lines, their digest, and the log that took them.

use super::{
    EXIT_UNREADABLE, EXIT_USAGE, Failed,
    lines::{Input, Lines},
};
use crate::client::Client;
use data_encoding::HEXLOWER;
use ledger::atomic;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::path::{Path, PathBuf};

/// Largest position file, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// A position, as stored in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    v: u8,
    /// Name of the log that took the lines. Empty while nothing was taken.
    origin: String,
    /// Least number of entries that the log had.
    size: u64,
    lines: u64,
    bytes: u64,
    /// SHA-256 of those bytes, hex.
    sha256: String,
}

/// The file of a position, and its content.
pub struct Resume {
    path: PathBuf,
    position: Position,
}

impl Resume {
    /// Reads the file, or makes it, so that a file that can't be written is found before anything is sent.
    pub fn open(path: &Path, input: &Input) -> Result<Self, Failed> {
        let unreadable = |why: String| Failed::new(EXIT_UNREADABLE, why);
        if input.is(path) {
            let text = "--resume names the file of events itself: name another one, which is made";
            return Err(Failed::new(EXIT_USAGE, text));
        }
        let bytes = atomic::read(path, FILE_BYTES_MAX).map_err(|e| unreadable(e.to_string()))?;
        let position = match bytes {
            None => Position { v: 1, ..Position::default() },
            Some(bytes) => serde_json::from_slice(&bytes)
                .ok()
                .filter(|position: &Position| position.v == 1)
                .ok_or_else(|| {
                    unreadable(format!(
                        "{}: not a position that this version wrote, so it stays as it is; {ANEW}",
                        path.display()
                    ))
                })?,
        };
        let resume = Self { path: path.to_owned(), position };
        resume.write()?;
        Ok(resume)
    }

    /// Skips what is published, after checking that it is the same bytes and the same log.
    pub fn skip(&self, lines: &mut Lines, client: &Client, tenant: &str) -> Result<(), Failed> {
        let position = &self.position;
        if position.bytes == 0 {
            return Ok(());
        }
        lines.skip(position.bytes)?;
        let (input, path) = (lines.path().display(), self.path.display());
        let other = |what: String| Err(Failed::new(EXIT_UNREADABLE, format!("{what} {ANEW}")));
        if lines.done.bytes < position.bytes {
            return other(format!(
                "{input} has {} bytes, but {} of it are published by what {path} says: it was truncated or rotated. If \
                 it was rotated, publish the rest of the old file with this position first.",
                lines.done.bytes, position.bytes
            ));
        }
        if digest(lines) != position.sha256 {
            return other(format!(
                "{input} is not the file of which {path} says that {} lines are published: their bytes differ. If it \
                 was rotated, publish the rest of the old file with this position first.",
                position.lines
            ));
        }
        let checkpoint = client.get(&format!("/v1/tenants/{tenant}/logs/1/checkpoint"))?;
        match log_of(&String::from_utf8_lossy(&checkpoint)) {
            Some((origin, _)) if origin != position.origin => other(format!(
                "{path} is about the log {}, and this is {origin}: take another file for it.",
                position.origin
            )),
            Some((_, size)) if size < position.size => other(format!(
                "the log {} has {size} entries, and had {} when {path} was written: it is another one, or has lost some.",
                position.origin, position.size
            )),
            Some(_) => Ok(()),
            None => Err(client.strange(&checkpoint).into()),
        }
    }

    /// Stores that everything that `lines` returned is published.
    pub fn reached(&mut self, lines: &Lines, (origin, size): (String, u64)) -> Result<(), Failed> {
        let (done, sha256) = (&lines.done, digest(lines));
        self.position =
            Position { v: 1, origin, size, lines: done.lines, bytes: done.bytes, sha256 };
        self.write()
    }

    fn write(&self) -> Result<(), Failed> {
        let text = serde_json::to_string(&self.position).unwrap_or_default() + "\n";
        let written = atomic::replace(&self.path, text.as_bytes());
        written.map_err(|e| {
            Failed::new(EXIT_UNREADABLE, format!("the position can't be written: {e}"))
        })
    }
}

fn digest(lines: &Lines) -> String {
    HEXLOWER.encode(&lines.done.hash.clone().finalize())
}

/// Name and size of the log in a checkpoint.
pub fn log_of(checkpoint: &str) -> Option<(String, u64)> {
    let mut lines = checkpoint.split('\n');
    let origin = lines.next().filter(|origin| !origin.is_empty())?;
    Some((origin.to_owned(), lines.next()?.parse().ok()?))
}

const ANEW: &str = "To publish this file from its beginning, remove the position's file or name another one: events that \
                    are in the log already are not posted twice.";
