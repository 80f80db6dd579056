//! Copies of this replica's database for a machine that joins: made at one moment, fetched in pieces, removed by whoever fetched
//! them. A copy is a folder of links beside the backups, so it takes no second room until the live files change.

use ledger::{Ledger, foreign::word, keyring, store, time::Nanos};
use serde::Serialize;
use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// Most copies at a time.
pub const COPIES_MAX: usize = 3;
/// Largest piece of a file that one answer has, in bytes.
pub const PIECE_BYTES_MAX: u64 = 8 << 20;
/// Most files of a copy.
pub const FILES_MAX: usize = 200_000;
/// Nobody fetches a copy for longer, in seconds. What is older was left behind by a join that was given up.
const AGE_MAX: u64 = 24 * 3600;
/// Beginning of the name of a copy's folder.
const FOLDER: &str = "join-";
/// Digits of the name of a copy.
const NAME_DIGITS: usize = 16;

/// Why there is no copy, or no file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are too many.
    #[error(
        "{COPIES_MAX} copies are being fetched, or were left behind: finish or repeat these joins, or remove the folders {FOLDER}… in backup_dir"
    )]
    Many,
    /// It is not there.
    #[error(
        "there is no such copy, or no such file in it: it was fetched, or is older than a day. Begin the join again"
    )]
    Gone,
    /// The folder can't be used.
    #[error("backup_dir: {0}")]
    Io(#[from] io::Error),
    /// The database can't be copied.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A file of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct CopiedFile {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// True if a database of ours has files of this name: nothing else is read or written under a foreign name.
pub fn is_file_name(name: &str) -> bool {
    let digits =
        |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let numbered = |begin: &str| name.strip_prefix(begin).is_some_and(digits);
    let table = |end: &str| name.strip_suffix(end).is_some_and(digits);
    name == "CURRENT"
        || name == "IDENTITY"
        || numbered("MANIFEST-")
        || numbered("OPTIONS-")
        || table(".sst")
        || table(".blob")
        || table(".log")
}

/// True if this can be the name of a copy.
pub fn is_name(name: &str) -> bool {
    name.len() == NAME_DIGITS
        && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn place(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{FOLDER}{name}"))
}

/// Makes a copy in `folder`. Returns its name.
pub fn make(ledger: &Ledger, folder: &Path) -> Result<String, Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if sweep(folder, ledger.now())? >= COPIES_MAX {
        return Err(Error::Many);
    }
    let name = data_encoding::HEXLOWER.encode(&keyring::random32()[..NAME_DIGITS / 2]);
    ledger.copy_to(&place(folder, &name))?;
    Ok(name)
}

/// Removes copies that are too old. Returns how many are left.
pub fn sweep(folder: &Path, now: Nanos) -> io::Result<usize> {
    let mut left = 0;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().and_then(|name| name.strip_prefix(FOLDER)).is_some_and(is_name);
        if !is_ours {
            continue;
        }
        let made = u64::try_from(entry.metadata()?.mtime()).unwrap_or_default();
        if now.seconds().saturating_sub(made) > AGE_MAX {
            fs::remove_dir_all(entry.path())?;
        } else {
            left += 1;
        }
    }
    Ok(left)
}

/// The files of a copy, in the order of their names.
pub fn files(folder: &Path, name: &str) -> Result<Vec<CopiedFile>, Error> {
    let entries = match fs::read_dir(place(folder, name)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Gone),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_file_name(&name) {
            let text = format!("a copy has a file {} that no database has", word(&name));
            return Err(io::Error::other(text).into());
        }
        files.push(CopiedFile { name, bytes: entry.metadata()?.len() });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// A piece of a file, from the byte `from` on. Empty at its end.
pub fn piece(folder: &Path, (name, file): (&str, &str), from: u64) -> Result<Vec<u8>, Error> {
    if !is_file_name(file) {
        return Err(Error::Gone);
    }
    let mut opened = match File::open(place(folder, name).join(file)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Gone),
        opened => opened?,
    };
    opened.seek(SeekFrom::Start(from))?;
    let mut piece = Vec::new();
    opened.take(PIECE_BYTES_MAX).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Removes a copy. Nothing is wrong if it is gone.
pub fn remove(folder: &Path, name: &str) -> io::Result<()> {
    match fs::remove_dir_all(place(folder, name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_only_files_of_a_database_have_names() {
        let check = |name: &str, is: bool| assert_eq!(is_file_name(name), is, "{name}");
        for name in [
            "CURRENT",
            "IDENTITY",
            "MANIFEST-000005",
            "OPTIONS-000007",
            "000012.sst",
            "000013.log",
            "000014.blob",
        ] {
            check(name, true);
        }
        for name in [
            "",
            ".",
            "..",
            "../x",
            "LOCK",
            "x.sst",
            ".sst",
            "1.sst/../2.sst",
            "MANIFEST-",
            "MANIFEST-1x",
            "000001.exe",
        ] {
            check(name, false);
        }
        assert!(is_name("0123456789abcdef"));
        for name in ["", "0123456789ABCDEF", "0123456789abcde", "../3456789abcdef"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn p13_a_copy_is_read_in_pieces_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let name = "0123456789abcdef";
        let copy = place(folder.path(), name);
        fs::create_dir(&copy).unwrap();
        fs::write(copy.join("CURRENT"), b"MANIFEST-000005\n").unwrap();
        let listed = files(folder.path(), name).unwrap();
        assert_eq!(listed, [CopiedFile { name: "CURRENT".into(), bytes: 16 }]);
        assert_eq!(piece(folder.path(), (name, "CURRENT"), 9).unwrap(), b"000005\n");
        assert!(piece(folder.path(), (name, "CURRENT"), 16).unwrap().is_empty());
        assert!(matches!(piece(folder.path(), (name, "../CURRENT"), 0), Err(Error::Gone)));
        let made = u64::try_from(fs::metadata(&copy).unwrap().mtime()).unwrap();
        let at = |seconds: u64| Nanos((made + seconds) * 1_000_000_000);
        assert_eq!(sweep(folder.path(), at(AGE_MAX)).unwrap(), 1);
        remove(folder.path(), name).unwrap();
        remove(folder.path(), name).unwrap();
        assert!(matches!(files(folder.path(), name), Err(Error::Gone)));
        fs::create_dir(&copy).unwrap();
        assert_eq!(sweep(folder.path(), at(3 * AGE_MAX)).unwrap(), 0, "it was left behind");
        assert!(!copy.exists());
    }
}
