//! Files that are written whole or not at all, and nowhere but where they were meant to be.
//!
//! Whatever the product writes beside its database and the guard's slots is written here: under a new random name that
//! nobody has (`O_EXCL`), readable by its owner alone (0600; folders 0700), then renamed; both are fsynced. A folder is
//! held open and its names are looked up in it alone, so nothing is read, written or removed through a link: what a name
//! stands for must be a regular file, or a folder where one is meant. Errors name the path and say what to do.

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

/// What a name in a folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A regular file of this many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A link, wherever it leads.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// Replaces a file whole, or makes it: a crash leaves the old bytes or the new ones.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, name) = place(path)?;
    folder.replace(&name, bytes)
}

/// Makes a file that must not be there yet.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, name) = place(path)?;
    folder.create(&name, bytes)
}

/// Makes an empty file that must not be there yet, to be written bit by bit: a log.
pub fn create_open(path: &Path) -> io::Result<File> {
    let (folder, name) = place(path)?;
    folder.open_new(&name)
}

/// The bytes of a regular file, at most `max`; `None` if there is none.
pub fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let (folder, name) = place(path)?;
    folder.read(&name, max)
}

/// Makes a folder that only its owner may enter, and what is missing above it. One that is there stays as it is.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            wrong(path, "not a directory, or below one that is none: correct the path")
        }
        _ => told(path, &e),
    })
}

/// The folder of a file, reached as the path says (the folder may be a link that its user has made), and the file's name.
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
    /// Opens a folder. The last part of its path may not be a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Without a slash at its end, which would follow a link.
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

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it; `None` if there is none.
    pub fn folder(&self, name: &str) -> io::Result<Option<Self>> {
        let path = self.named(name)?;
        match Self::open_at(&self.fd, Path::new(name), path) {
            Ok(folder) => Ok(Some(folder)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A folder in it, made where there is none.
    pub fn make(&self, name: &str) -> io::Result<Self> {
        let path = self.named(name)?;
        match fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Self::open_at(&self.fd, Path::new(name), path),
            Err(e) => Err(told(&path, &e.into())),
        }
    }

    /// What a name stands for; `None` if it is not there.
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

    /// Every name in it, sorted; names that are not UTF-8 with their bytes replaced (so they are nobody's).
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        self.each(|name| {
            names.push(name.to_owned());
            Ok(())
        })?;
        names.sort();
        Ok(names)
    }

    /// Goes through its names one by one, in any order; what is read may be removed on the way.
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

    /// The same folder once more.
    pub fn again(&self) -> io::Result<Self> {
        let fd = self.fd.try_clone().map_err(|e| told(&self.path, &e))?;
        Ok(Self { fd, path: self.path.clone() })
    }

    /// The bytes of a regular file, at most `max`; `None` if there is none.
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

    /// Replaces a file whole, or makes it.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(name, bytes, true)?;
        self.sync()
    }

    /// As [`Self::replace`], but on the disk only after [`Self::sync_everything`]: for many files at once.
    pub fn replace_unsynced(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(name, bytes, false)
    }

    fn write(&self, name: &str, bytes: &[u8], sync: bool) -> io::Result<()> {
        let path = self.named(name)?;
        // A rename would not follow a link but put a file in its place: whoever made it did not mean that.
        match self.found(name)? {
            None | Some(Found::File(_)) => {}
            Some(other) => return Err(not_a_file(&path, other)),
        }
        let mut fresh = self.fresh(bytes, sync)?;
        fs::renameat(&self.fd, &fresh.name, &self.fd, name).map_err(|e| told(&path, &e.into()))?;
        fresh.is_gone = true;
        Ok(())
    }

    /// Makes a file that must not be there yet.
    pub fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.named(name)?;
        let fresh = self.fresh(bytes, true)?;
        let linked = fs::linkat(&self.fd, &fresh.name, &self.fd, name, AtFlags::empty());
        linked.map_err(|e| told(&path, &e.into()))?;
        drop(fresh);
        self.sync()
    }

    /// Makes an empty file that must not be there yet.
    fn open_new(&self, name: &str) -> io::Result<File> {
        let path = self.named(name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR);
        fd.map(File::from).map_err(|e| told(&path, &e.into()))
    }

    /// The bytes under a name that nobody has.
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

    /// Removes a regular file, or a link (never what it leads to); nothing there is no error.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.named(name)?;
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(told(&path, &e.into())),
        }
    }

    /// Removes a folder if it is empty; says whether it is gone.
    pub fn remove_folder(&self, name: &str) -> io::Result<bool> {
        let path = self.named(name)?;
        match fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(e) => Err(told(&path, &e.into())),
        }
    }

    /// Takes the folder for this process, as long as it is held; says whether nobody else has it.
    pub fn lock(&self) -> io::Result<bool> {
        match fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            // Also on a file system without locks: nobody can be told from us there.
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(told(&self.path, &e.into())),
        }
    }

    fn sync(&self) -> io::Result<()> {
        fs::fsync(&self.fd).map_err(|e| told(&self.path, &e.into()))
    }

    /// Brings to the disk whatever was written to this file system.
    pub fn sync_everything(&self) -> io::Result<()> {
        fs::syncfs(&self.fd).map_err(|e| told(&self.path, &e.into()))
    }

    /// The path of a name in it; the name is one name, never a path.
    fn named(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(wrong(&path, "not a name of one file"));
        }
        Ok(path)
    }
}

/// A file that is being written; gone again unless it was renamed.
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

/// What the system said, and of which path.
fn told(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
