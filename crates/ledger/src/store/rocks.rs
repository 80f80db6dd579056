//! The store on RocksDB. Only this module names `rocksdb`.
//!
//! A commit is one `WriteBatch` with `sync`: it returns after the write-ahead log was fdatasynced. RocksDB may
//! drop a torn tail of that log when it opens again; the guard notices if fsynced commits are gone.

mod options;
mod rows;

pub use rows::Rows;

use super::{Error, Family, Read, Write};
use options::options;
use rocksdb::{
    BottommostLevelCompaction, ColumnFamily, CompactOptions, DB, DBCompressionType, Direction,
    IngestExternalFileOptions, Options, SstFileWriter, WriteBatch, WriteOptions,
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// File in the data directory that an erasure writes before the store takes it over.
const REWRITE_FILE: &str = "rewrite.new";

/// Values by key. `None` deletes the key.
pub type Values = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
type Pair<'v> = (&'v Vec<u8>, &'v Option<Vec<u8>>);

/// How values are compressed on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// LZ4 for young files, Zstandard for old ones.
    #[default]
    Full,
    /// No compression: the file system compresses, or somebody wants to read the bytes.
    None,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Path of the directory.
    pub path: PathBuf,
    /// True to make it (`init`); otherwise it must exist.
    pub create: bool,
    /// How values are compressed.
    pub compression: Compression,
    /// Table files kept open at once, at least 20. Others are opened when they are read.
    pub files_max: usize,
    /// For `bench`: append each `WriteBatch` to this file, as u32 length and bytes.
    pub record: Option<PathBuf>,
}

/// An open store. One process at a time: RocksDB locks the directory.
pub struct Rocks {
    db: DB,
    /// Allows one rewrite at a time, because they share a file name.
    rewriting: Mutex<()>,
    record: Option<Mutex<File>>,
}

fn io(error: rocksdb::Error) -> Error {
    let text = error.into_string();
    if text.contains("lock file") || text.contains("lock hold by") {
        return Error::Held;
    }
    if text.contains("Permission denied") {
        return Error::Place(format!(
            "{text}: the user of the server must own every file there. Was a command run as another user, e.g. root? \
             Put it right with `chown -R`, and run every command as that user"
        ));
    }
    Error::Io(text)
}

/// Checks the directory before RocksDB does, whose errors do not say what to do.
fn look(opening: &Opening) -> Result<(), Error> {
    let path = opening.path.display();
    let wrong = |why: &str| Err(Error::Place(format!("the data directory {path} {why}")));
    let hint = "run `countersign init`, or correct data_dir in the configuration";
    match std::fs::metadata(&opening.path) {
        Ok(meta) if !meta.is_dir() => {
            wrong("is not a directory: correct data_dir in the configuration")
        }
        Ok(_) if opening.create || opening.path.join("CURRENT").exists() => Ok(()),
        Ok(_) if std::fs::read_dir(&opening.path).is_err() => wrong(
            "can't be read by this user: run the command as the user of the server, or put its owner right",
        ),
        Ok(_) => wrong(&format!("holds no database: {hint}")),
        Err(_) if opening.create => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => wrong(&format!("is not there: {hint}")),
        Err(e) => wrong(&format!(
            "can't be reached by this user ({e}): put the owner and mode of the folders above right"
        )),
    }
}

impl Rocks {
    /// Opens the directory.
    pub fn open(opening: &Opening) -> Result<Self, Error> {
        look(opening)?;
        let (mut options, families) = options(opening);
        options.create_if_missing(opening.create);
        options.create_missing_column_families(opening.create);
        let db = DB::open_cf_descriptors(&options, &opening.path, families).map_err(io)?;
        // A process that was killed during an erasure left it. The erasure is repeated.
        remove_if_there(&opening.path.join(REWRITE_FILE))?;
        Self::opened(db, opening)
    }

    /// Opens the directory for reading while nobody writes (`fsck`).
    pub fn open_read_only(opening: &Opening) -> Result<Self, Error> {
        look(opening)?;
        let (options, families) = options(opening);
        let db = DB::open_cf_descriptors_read_only(&options, &opening.path, families, false);
        Self::opened(db.map_err(io)?, opening)
    }

    fn opened(db: DB, opening: &Opening) -> Result<Self, Error> {
        let open = |path| File::options().create(true).append(true).mode(0o600).open(path);
        let record = opening.record.as_ref().map(open).transpose();
        let record = record.map_err(|e| Error::Io(e.to_string()))?.map(Mutex::new);
        Ok(Self { db, rewriting: Mutex::new(()), record })
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        let name = Family::ALL.iter().find(|(f, _)| *f == family).map_or("", |(_, name)| name);
        self.db.cf_handle(name).expect("every family was opened")
    }

    /// Writes all or nothing. Returns once it is durable.
    pub fn commit(&self, writes: impl Iterator<Item = Write>) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        // Writes come family by family; finding a family costs more than a write.
        let mut last: Option<(Family, &ColumnFamily)> = None;
        for ((family, key), value) in writes {
            let handle = match last {
                Some((known, handle)) if known == family => handle,
                _ => self.family(family),
            };
            last = Some((family, handle));
            match value {
                Some(value) => batch.put_cf(handle, key, value),
                None => batch.delete_cf(handle, key),
            }
        }
        if let Some(record) = &self.record {
            let mut file = record.lock().expect("no holder of the lock panics");
            let length = u32::try_from(batch.data().len()).unwrap_or(u32::MAX).to_be_bytes();
            let written = file.write_all(&length).and_then(|()| file.write_all(batch.data()));
            written.map_err(|e| Error::Io(e.to_string()))?;
        }
        self.write_synced(batch)
    }

    fn write_synced(&self, batch: WriteBatch) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(io)
    }

    /// Writes one value, in order with the commits, but not synced: it is durable with the next commit. A process that is killed
    /// loses nothing, a machine that fails can lose it.
    pub fn write_soon(&self, (family, key): (Family, &[u8]), value: &[u8]) -> Result<(), Error> {
        self.db.put_cf(self.family(family), key, value).map_err(io)
    }

    /// For `bench`: writes a recorded batch again, with sync.
    pub fn replay(&self, batch: &[u8]) -> Result<(), Error> {
        self.write_synced(WriteBatch::from_data(batch))
    }

    /// Visits keys of a family from `from` on, ascending, while `visit` returns true.
    pub fn scan(
        &self,
        family: Family,
        from: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        self.walk(family, (from, Direction::Forward), visit)
    }

    /// As [`Rocks::scan`], descending.
    pub fn scan_down(
        &self,
        family: Family,
        from: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        self.walk(family, (from, Direction::Reverse), visit)
    }

    fn walk(
        &self,
        family: Family,
        (from, direction): (&[u8], Direction),
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Error> {
        let mut rows = self.db.raw_iterator_cf(self.family(family));
        match direction {
            Direction::Forward => rows.seek(from),
            Direction::Reverse => rows.seek_for_prev(from),
        }
        while let Some((key, value)) = rows.item() {
            if !visit(key, value) {
                break;
            }
            match direction {
                Direction::Forward => rows.next(),
                Direction::Reverse => rows.prev(),
            }
        }
        rows.status().map_err(io)
    }

    /// The rows of a family from `from` on, ascending.
    pub fn rows(&self, family: Family, from: &[u8]) -> Rows<'_> {
        let mut rows = self.db.raw_iterator_cf(self.family(family));
        rows.seek(from);
        Rows::new(rows)
    }

    /// Moves the newest writes of every family from memory into files, so that older write-ahead logs are
    /// dropped.
    pub fn flush(&self) -> Result<(), Error> {
        for (family, _) in Family::ALL {
            self.db.flush_cf(self.family(family)).map_err(io)?;
        }
        Ok(())
    }

    /// Replaces or deletes values, and removes every older version from the files. Call [`Rocks::flush`]
    /// first; nobody else may write these keys meanwhile.
    ///
    /// Only the files that hold these keys are rewritten. For that, the new values need a file of their own: a
    /// key that is written the usual way is in one file with the newest keys, and that file overlaps with
    /// everything in between.
    pub fn rewrite(&self, family: Family, values: &Values) -> Result<(), Error> {
        let _turn = self.rewriting.lock().expect("no holder of the lock panics");
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        options.set_exclusive_manual_compaction(false);
        let handle = self.family(family);
        for group in self.by_file(family, values)? {
            let (Some((first, _)), Some((last, _))) = (group.first(), group.last()) else {
                continue;
            };
            self.ingest(handle, &group)?;
            self.db.compact_range_cf_opt(
                handle,
                Some(first.as_slice()),
                Some(last.as_slice()),
                &options,
            );
        }
        Ok(())
    }

    /// Groups the values by the oldest files that hold their keys.
    fn by_file<'v>(&self, family: Family, values: &'v Values) -> Result<Vec<Vec<Pair<'v>>>, Error> {
        let name = Family::ALL.iter().find(|(f, _)| *f == family).map_or("", |(_, name)| name);
        let files = self.db.live_files().map_err(io)?;
        let files = files.into_iter().filter(|file| file.column_family_name == name);
        let files: Vec<_> = files.collect();
        let oldest = files.iter().map(|file| file.level).max().unwrap_or(0);
        let oldest = files.into_iter().filter(|file| file.level == oldest && oldest > 0);
        let mut starts: Vec<Vec<u8>> = oldest.filter_map(|file| file.start_key).collect();
        starts.sort_unstable();
        let file_of = |key: &[u8]| starts.partition_point(|start| start.as_slice() <= key);
        let all: Vec<Pair<'v>> = values.iter().collect();
        Ok(all.chunk_by(|a, b| file_of(a.0) == file_of(b.0)).map(<[_]>::to_vec).collect())
    }

    /// Adds a file with only these values.
    fn ingest(&self, handle: &ColumnFamily, group: &[Pair<'_>]) -> Result<(), Error> {
        let path = self.db.path().join(REWRITE_FILE);
        remove_if_there(&path)?;
        let mut options = Options::default();
        options.set_compression_type(DBCompressionType::None);
        let mut file = SstFileWriter::create(&options);
        file.open(&path).map_err(io)?;
        for (key, value) in group {
            let written = match value {
                Some(value) => file.put(key, value),
                None => file.delete(key),
            };
            written.map_err(io)?;
        }
        file.finish().map_err(io)?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.db.ingest_external_file_cf_opts(handle, &options, vec![path]).map_err(io)
    }

    /// Deletes the keys `from..to` of a family (trimming). They leave the disk with the next compactions.
    pub fn delete_range(
        &self,
        family: Family,
        (from, to): (&[u8], &[u8]),
        also: impl Iterator<Item = (Family, Vec<u8>)>,
    ) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.family(family), from, to);
        also.for_each(|(family, key)| batch.delete_cf(self.family(family), key));
        self.write_synced(batch)
    }

    /// Removes what was deleted of the keys `from..to` from the files.
    pub fn shrink(&self, family: Family, (from, to): (&[u8], &[u8])) -> Result<(), Error> {
        let handle = self.family(family);
        self.db.flush_cf(handle).map_err(io)?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
        options.set_exclusive_manual_compaction(false);
        self.db.compact_range_cf_opt(handle, Some(from), Some(to), &options);
        Ok(())
    }

    /// Writes a consistent copy to a new directory (`backup`).
    pub fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let copy = rocksdb::checkpoint::Checkpoint::new(&self.db).map_err(io)?;
        copy.create_checkpoint(path).map_err(io)
    }

    /// Bytes of all files on disk, without the write-ahead log.
    pub fn disk_bytes(&self) -> u64 {
        let name = "rocksdb.total-sst-files-size";
        let size = |family| self.db.property_int_value_cf(self.family(family), name).ok().flatten();
        Family::ALL.iter().filter_map(|(family, _)| size(*family)).sum()
    }
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::Io(error.to_string())),
        _ => Ok(()),
    }
}

impl Read for Rocks {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.db.get_cf(self.family(family), key).map_err(io)
    }
}

#[cfg(test)]
mod tests;
