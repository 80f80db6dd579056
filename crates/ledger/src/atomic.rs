//! Writes files whole or not at all, and only where they were meant to be.
//!
//! Everything that the product writes beside its database and the guard's slots is written here. A file is
//! written under a new random name (`O_EXCL`), readable by its owner alone (0600; folders 0700), and then
//! renamed; both steps are fsynced. A folder is held open, and names are looked up in it alone, so nothing is
//! read, written or removed through a link: each name must be a regular file, or a folder where one is
//! expected. Errors name the path and say what to do.

use crate::leftover;
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, CWD, FileType, FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::{DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// What a name in a folder refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A regular file of this many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A link, whatever its target.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// Replaces a whole file, or makes it. A crash leaves the old bytes or the new ones.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, name) = place(path)?;
    folder.replace(&name, bytes)
}

/// Makes a file that must not exist yet.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, name) = place(path)?;
    folder.create(&name, bytes)
}

/// Makes an empty file that must not exist yet, to be written in parts: a log.
pub fn create_open(path: &Path) -> io::Result<File> {
    let (folder, name) = place(path)?;
    folder.open_new(&name)
}

/// Reads a regular file of at most `max` bytes. `None` if it does not exist.
pub fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let (folder, name) = place(path)?;
    folder.read(&name, max)
}

/// Makes a folder that only its owner may enter, with missing parents. An existing folder is left as it is.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            wrong(path, "not a directory, or below one that is none: correct the path")
        }
        _ => told(path, &e),
    })
}

/// The folder of a file and the file's name. The path to the folder may contain links that its user has made.
fn place(path: &Path) -> io::Result<(Folder, String)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| wrong(path, "not the name of a file (in UTF-8)"))?;
    let above = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = fs::openat(CWD, above, flags, Mode::empty()).map_err(|e| told(above, &e.into()))?;
    Ok((Folder { fd, path: above.to_owned() }, name.to_owned()))
}

impl Folder {
    /// Opens a folder. The last part of its path must not be a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Removes a slash at the end, which would follow a link.
        let path: PathBuf = path.components().collect();
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        Self::open_at(&CWD, &path, path.clone())
    }

    fn open_at(at: &impl rustix::fd::AsFd, name: &Path, path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(at, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW);
                let link = stat
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
                Err(wrong(&path, if link { IS_LINK } else { "not a folder" }))
            }
            Err(e) => Err(told(&path, &e.into())),
        }
    }

    /// Path of the folder, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder in it. `None` if it does not exist.
    pub fn folder(&self, name: &str) -> io::Result<Option<Self>> {
        let path = self.named(name)?;
        match Self::open_at(&self.fd, Path::new(name), path) {
            Ok(folder) => Ok(Some(folder)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Opens a folder in it, and makes it if it does not exist.
    pub fn make(&self, name: &str) -> io::Result<Self> {
        let path = self.named(name)?;
        match fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open_at(&self.fd, Path::new(name), path),
            Err(e) => Err(told(&path, &e.into())),
        }
    }

    /// What a name refers to. `None` if it does not exist.
    pub fn found(&self, name: &str) -> io::Result<Option<Found>> {
        let path = self.named(name)?;
        let stat = match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(told(&path, &e.into())),
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::File(u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::Directory => Found::Folder,
            FileType::Symlink => Found::Link,
            _ => Found::Other,
        }))
    }

    /// All names in it, sorted. Bytes that are not UTF-8 are replaced, so such names match no file of ours.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        self.each(|name| {
            names.push(name.to_owned());
            Ok(())
        })?;
        names.sort();
        Ok(names)
    }

    /// Visits its names one by one, in any order. Names may be removed meanwhile.
    pub fn each(&self, mut take: impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
        let failed = |e: Errno| told(&self.path, &e.into());
        for entry in fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                take(&name)?;
            }
        }
        Ok(())
    }

    /// A second handle on the same folder.
    pub fn again(&self) -> io::Result<Self> {
        let fd = self.fd.try_clone().map_err(|e| told(&self.path, &e))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    /// Reads a regular file of at most `max` bytes. `None` if it does not exist.
    pub fn read(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        let path = self.named(name)?;
        match self.found(name)? {
            None => return Ok(None),
            Some(Found::File(_)) => {}
            Some(other) => return Err(not_a_file(&path, other)),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, Mode::empty());
        let mut bytes = Vec::new();
        let file = File::from(fd.map_err(|e| told(&path, &e.into()))?);
        file.take(max + 1).read_to_end(&mut bytes).map_err(|e| told(&path, &e))?;
        if bytes.len() as u64 > max {
            return Err(wrong(&path, "larger than such a file can be"));
        }
        Ok(Some(bytes))
    }

    /// Replaces a whole file, or makes it.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(name, bytes, true)?;
        self.sync()
    }

    /// As [`Self::replace`], but durable only after [`Self::sync_everything`]: for many files at once.
    pub fn replace_unsynced(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(name, bytes, false)
    }

    fn write(&self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        let path = self.named(name)?;
        // A rename would replace a link with a file, which the maker of the link did not expect.
        match self.found(name)? {
            None | Some(Found::File(_)) => {}
            Some(other) => return Err(not_a_file(&path, other)),
        }
        let mut fresh = self.fresh(bytes, sync)?;
        fs::renameat(&self.fd, &fresh.name, &self.fd, name).map_err(|e| told(&path, &e.into()))?;
        fresh.is_gone = true;
        Ok(())
    }

    /// Makes a file that must not exist yet.
    pub fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.named(name)?;
        let fresh = self.fresh(bytes, true)?;
        let linked = fs::linkat(&self.fd, &fresh.name, &self.fd, name, AtFlags::empty());
        linked.map_err(|e| told(&path, &e.into()))?;
        drop(fresh);
        self.sync()
    }

    /// Makes an empty file that must not exist yet.
    fn open_new(&self, name: &str) -> io::Result<File> {
        let path = self.named(name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR);
        fd.map(File::from).map_err(|e| told(&path, &e.into()))
    }

    /// Writes the bytes under a new random name.
    fn fresh(&self, bytes: &[u8], sync: bool) -> io::Result<Fresh<'_>> {
        let mut random = [0; leftover::RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        let name = leftover::name(random);
        let mut file = self.open_new(&name)?;
        let fresh = Fresh { folder: self, name, is_gone: false };
        let written =
            file.write_all(bytes).and_then(|()| if sync { file.sync_all() } else { Ok(()) });
        written.map_err(|e| told(&self.path.join(&fresh.name), &e))?;
        Ok(fresh)
    }

    /// Removes a regular file, or a link (never its target). Succeeds if nothing is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.named(name)?;
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(told(&path, &e.into())),
        }
    }

    /// Removes a folder if it is empty. True if it is gone.
    pub fn remove_folder(&self, name: &str) -> io::Result<bool> {
        let path = self.named(name)?;
        match fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(e) => Err(told(&path, &e.into())),
        }
    }

    /// Locks the folder for this process until it is closed. True if no other process holds it.
    pub fn lock(&self) -> io::Result<bool> {
        match fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            // A file system without locks can't show whether another process holds the folder.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(told(&self.path, &e.into())),
        }
    }

    fn sync(&self) -> io::Result<()> {
        fs::fsync(&self.fd).map_err(|e| told(&self.path, &e.into()))
    }

    /// Syncs everything that was written to this file system.
    pub fn sync_everything(&self) -> io::Result<()> {
        fs::syncfs(&self.fd).map_err(|e| told(&self.path, &e.into()))
    }

    /// The path of a name in it. The name must be a single name, not a path.
    fn named(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(wrong(&path, "not a name of one file"));
        }
        Ok(path)
    }
}

/// A file that is being written. Removed when dropped, unless it was renamed.
struct Fresh<'a> {
    folder: &'a Folder,
    name: String,
    is_gone: bool,
}

impl Drop for Fresh<'_> {
    fn drop(&mut self) {
        if !self.is_gone {
            let _ = fs::unlinkat(&self.folder.fd, &self.name, AtFlags::empty());
        }
    }
}

const IS_LINK: &str = "it is a link, and links are not followed: name what it leads to";

fn not_a_file(path: &Path, found: Found) -> io::Error {
    wrong(
        path,
        match found {
            Found::Link => IS_LINK,
            Found::Folder => "a folder, where a file is meant",
            Found::File(_) | Found::Other => "not a regular file",
        },
    )
}

fn wrong(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", path.display()))
}

/// The system's error, with the path.
fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
