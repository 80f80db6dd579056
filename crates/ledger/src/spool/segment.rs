//! The files of a spool. Each record is `length ‖ JSON ‖ HMAC`, where the HMAC covers the file's name, the HMAC before it
//! and the JSON. So records can't be changed, moved or taken out of the middle without our key; and a crash leaves at
//! most a torn end, of which nothing was told.

use super::{Dir, Spooled};
use crate::{
    ident::Ident,
    seal::{self, SealKey},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file of this length gets no further records.
const BYTES_MAX: u64 = 8 << 20;
/// Longest record.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Bytes of a length, and of an HMAC.
const LENGTH: usize = 4;
const TAG: usize = 32;

/// All files of one tenant.
pub(super) struct Segments {
    dir: Dir,
    tenant: Ident,
    key: Arc<SealKey>,
    /// Numbers of the files, the last one is written.
    numbers: Vec<u64>,
    current: Option<Segment>,
    next: u64,
}

/// The file that is written.
pub(super) struct Segment {
    file: File,
    number: u64,
    length: u64,
    /// HMAC of the last record.
    tag: [u8; TAG],
}

/// A record with the number of its file.
type Found = Vec<(u64, Spooled)>;

impl Segments {
    /// Reads the files that earlier runs left.
    pub(super) fn open(dir: Dir, tenant: Ident, key: Arc<SealKey>) -> io::Result<(Self, Found)> {
        let numbers = numbers_of(&dir, &tenant)?;
        let next = numbers.last().map_or(1, |last| last + 1);
        let segments = Self { dir, tenant, key, numbers, current: None, next };
        let mut found = Vec::new();
        for number in &segments.numbers {
            segments.read(*number, &mut found)?;
        }
        Ok((segments, found))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{}.{number}", self.tenant))
    }

    fn tag(&self, number: u64, before: &[u8; TAG], record: &[u8]) -> [u8; TAG] {
        let place = format!("{}.{number}", self.tenant);
        self.key.tag(seal::SPOOL, &place, &[before, record])
    }

    fn read(&self, number: u64, found: &mut Found) -> io::Result<()> {
        let path = self.path(number);
        let bytes = fs::read(&path)?;
        let (mut rest, mut tag) = (&bytes[..], [0; TAG]);
        while let Some((record, sealed, after)) = split(rest) {
            tag = self.tag(number, &tag, record);
            let read = serde_json::from_slice(record).ok().filter(|_| tag == *sealed);
            match read {
                Some(record) => found.push((number, record)),
                // The end may be torn: of a record whose fsync did not return, nothing was told.
                None if after.is_empty() => return Ok(()),
                None => {
                    let text = format!(
                        "{}: a record was changed. What it and those after it said is unknown; move the file away to start",
                        path.display()
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
            rest = after;
        }
        Ok(())
    }

    /// Writes records and waits for the disk. Returns the number of their file.
    pub(super) fn append(&mut self, records: &[&Spooled]) -> io::Result<u64> {
        let full = self.current.as_ref().is_some_and(|segment| segment.length >= BYTES_MAX);
        if full || self.current.is_none() {
            self.begin()?;
        }
        let mut segment = self.current.take().ok_or_else(|| io::Error::other("no file"))?;
        let mut bytes = Vec::new();
        for record in records {
            let record = serde_json::to_vec(record)?;
            let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
            segment.tag = self.tag(segment.number, &segment.tag, &record);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&record);
            bytes.extend_from_slice(&segment.tag);
        }
        segment.file.write_all(&bytes)?;
        segment.file.sync_data()?;
        segment.length += bytes.len() as u64;
        let number = segment.number;
        self.current = Some(segment);
        Ok(number)
    }

    /// Makes the next file. Its name is on the disk when this returns.
    fn begin(&mut self) -> io::Result<()> {
        let number = self.next;
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        let file = options.open(self.path(number))?;
        File::open(&self.dir)?.sync_all()?;
        self.next += 1;
        self.numbers.push(number);
        self.current = Some(Segment { file, number, length: 0, tag: [0; TAG] });
        Ok(())
    }

    /// Makes the next record begin a file.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        self.current = None;
    }

    /// Deletes files before `first`. `idle`: no record waits, so the current file is emptied.
    pub(super) fn delete_before(&mut self, first: Option<u64>, idle: bool) -> io::Result<()> {
        let current = self.current.as_ref().map(|segment| segment.number);
        let first = first.or(current).unwrap_or(u64::MAX);
        let (old, kept): (Vec<u64>, Vec<u64>) = self.numbers.iter().partition(|n| **n < first);
        self.numbers = kept;
        for number in old {
            fs::remove_file(self.path(number))?;
        }
        if let Some(segment) = self.current.as_mut().filter(|segment| idle && segment.length > 0) {
            segment.file.set_len(0)?;
            io::Seek::rewind(&mut segment.file)?;
            (segment.length, segment.tag) = (0, [0; TAG]);
        }
        Ok(())
    }
}

/// Numbers of a tenant's files, in order.
fn numbers_of(dir: &Path, tenant: &Ident) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&format!("{tenant}.")));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes all files of a tenant that was deleted. What they hold was told, and is not posted any more.
pub fn remove(dir: &Path, tenant: &Ident) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for number in numbers_of(dir, tenant)? {
        fs::remove_file(dir.join(format!("{tenant}.{number}")))?;
    }
    File::open(dir)?.sync_all()
}

/// The first record, its HMAC, and the rest. `None` if it is not whole.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8; TAG], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (record, rest) = rest.split_at_checked(length).filter(|_| length <= RECORD_BYTES_MAX)?;
    let (tag, rest) = rest.split_first_chunk::<TAG>()?;
    Some((record, tag, rest))
}
