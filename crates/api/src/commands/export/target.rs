//! The folder of an export: new, empty, or an earlier export of the same log.
//!
//! An export is recognised by `README.txt`, which is written first and names the log. Nothing else is
//! overwritten or removed, nothing is reached through a link, and two exports into one folder exclude each
//! other. One file (`checkpoint`; `manifest.json` of evidence) is removed before anything is changed, and written last: a
//! folder without it is incomplete.

use super::checkpoint_of;
use crate::{
    commands::{EXIT_FAILED, Failed},
    terminal::{harmless, warn},
};
use ledger::{
    atomic::{self, Folder, Found},
    leftover,
    log::checkpoint::Checkpoint,
};
use std::path::Path;

/// Largest README and checkpoint, in bytes.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// Largest entry bundle, in bytes: 256 entries of 65,535 bytes and their lengths.
const BUNDLE_BYTES_MAX: u64 = 256 * (65_535 + 2);
/// Most foreign names that are reported.
const TOLD_MAX: usize = 5;
/// Deepest folder of an export.
const DEPTH_MAX: usize = 12;
/// Lines of the README by which an export is recognised: its kind, an empty line, and the log.
const MARK_LINES: usize = 3;

/// Beginnings of our READMEs: of a log, of a range, of an approval, of evidence.
const KINDS: [&[u8]; 5] = [
    b"This is a complete copy of one Countersign log,",
    b"This is a range of one Countersign log,",
    b"This is the whole history of one approval,",
    b"This is evidence from one Countersign log,",
    b"NOT WHOLE:",
];

/// What to do with a file in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the export.
    Keep,
    /// An export wrote it, but it no longer belongs there.
    Remove,
    /// Somebody else wrote it.
    Foreign,
}

/// The folder of an export.
pub struct Target {
    root: Folder,
    /// The file that is written last.
    last: &'static str,
    /// Checkpoint of the earlier export, if that was completed.
    pub before: Option<Checkpoint>,
}

impl Target {
    /// Makes the folder, or uses an earlier one. `readme` begins with kind and log, by which the export is
    /// recognised. `last`: the file that is written last.
    pub fn open(dir: &Path, readme: &str, last: &'static str) -> Result<Self, Failed> {
        if !dir.is_symlink() && !dir.exists() {
            atomic::make_folder(dir)?;
        }
        let root = Folder::open(dir)?;
        let refused = |why: &str| Failed::new(EXIT_FAILED, format!("{}: {why}", dir.display()));
        if !root.lock()? {
            return Err(refused("another export is writing there"));
        }
        let mut names = root.names()?;
        names.retain(|name| !leftover::is_leftover(name));
        let found = match root.found("README.txt")? {
            Some(Found::File(_)) => root.read("README.txt", TEXT_BYTES_MAX).ok().flatten(),
            _ => None,
        };
        let known = |text: &[u8]| mark(text).map(<[u8]>::to_vec);
        match found.as_deref().and_then(known) {
            Some(mark) if Some(&mark) == known(readme.as_bytes()).as_ref() => {}
            Some(mark) if KINDS.iter().any(|kind| mark.starts_with(kind)) => {
                return Err(refused(
                    "it holds an export of another kind or log, or of another version: take a new directory",
                ));
            }
            _ if names.is_empty() => {}
            _ => {
                names.truncate(TOLD_MAX);
                let text = format!(
                    "it holds what no export wrote ({}): take a new or empty directory",
                    names.join(", ")
                );
                return Err(refused(&text));
            }
        }
        let before = root.read("checkpoint", TEXT_BYTES_MAX)?;
        let before = before.and_then(|note| checkpoint_of(&note).ok());
        root.replace("README.txt", readme.as_bytes())?;
        Ok(Self { root, last, before })
    }

    /// Marks the folder as incomplete until [`Self::finish`].
    pub fn begin(&self) -> Result<(), Failed> {
        Ok(self.root.remove(self.last)?)
    }

    /// Reads a file, if it exists.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failed> {
        let (folders, name) = split(path);
        let Some(folder) = self.folder(folders, false)? else { return Ok(None) };
        Ok(folder.read(name, BUNDLE_BYTES_MAX)?)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Failed> {
        let (folders, name) = split(path);
        if let Some(folder) = self.folder(folders, true)? {
            folder.replace_unsynced(name, bytes)?;
        }
        Ok(())
    }

    /// Removes a file, if it exists.
    pub fn remove(&self, path: &str) -> Result<(), Failed> {
        let (folders, name) = split(path);
        match self.folder(folders, false)? {
            Some(folder) => Ok(folder.remove(name)?),
            None => Ok(()),
        }
    }

    /// Opens the innermost of several nested folders.
    fn folder(&self, folders: &str, make: bool) -> Result<Option<Folder>, Failed> {
        let mut at = self.root.again()?;
        for name in folders.split('/').filter(|name| !name.is_empty()) {
            let next = if make { Some(at.make(name)?) } else { at.folder(name)? };
            match next {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Removes what no longer belongs to the export, and what a killed export left. `verdict` is asked about files, and
    /// about folders by a path that ends with `/`. Foreign files are reported
    /// and stay. Returns the number of disclosures that were removed.
    pub fn sweep(&self, verdict: &dyn Fn(&str) -> Verdict) -> Result<u64, Failed> {
        sweep(&self.root, "", DEPTH_MAX, verdict)
    }

    /// Syncs everything, then writes the last file.
    pub fn finish(&self, last: &[u8]) -> Result<(), Failed> {
        self.root.sync_everything()?;
        Ok(self.root.replace(self.last, last)?)
    }
}

fn sweep(
    folder: &Folder,
    at: &str,
    depth: usize,
    verdict: &dyn Fn(&str) -> Verdict,
) -> Result<u64, Failed> {
    let mut removed = 0;
    let mut folders = Vec::new();
    folder.each(|name| {
        let path = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        match folder.found(name)? {
            Some(Found::File(_)) if leftover::is_leftover(name) => folder.remove(name)?,
            Some(Found::File(_)) if verdict(&path) == Verdict::Keep => {}
            Some(Found::File(_)) if verdict(&path) == Verdict::Remove => {
                folder.remove(name)?;
                removed += u64::from(at == "disclosures");
            }
            Some(Found::Folder)
                if depth > 0 && verdict(&format!("{path}/")) != Verdict::Foreign =>
            {
                folders.push((name.to_owned(), path));
            }
            _ => warn(&format!(
                "note: {} is not part of the export and stays as it is",
                harmless(&folder.path().join(name).display().to_string())
            )),
        }
        Ok(())
    })?;
    for (name, path) in folders {
        if let Some(inner) = folder.folder(&name)? {
            removed += sweep(&inner, &path, depth - 1, verdict)?;
            // Remove empty folders: their partial tiles have become full ones.
            folder.remove_folder(&name)?;
        }
    }
    Ok(removed)
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The lines by which an export is recognised.
fn mark(readme: &[u8]) -> Option<&[u8]> {
    let ends = readme.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at).nth(MARK_LINES - 1).map(|end| &readme[..end])
}
