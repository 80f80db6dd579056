//! `file`: lines in files of a folder, each batch fsynced, for an agent that ships them. A file that is full stays as it
//! is, and nobody here removes it.

use super::port::{Answer, Batch, Receiver};
use ledger::{atomic, system::delivery::Level};
use std::{fs::File, io::Write as _, path::PathBuf, sync::Mutex};

/// A folder of files.
pub struct Files {
    dir: PathBuf,
    /// What names begin with: the tenant and the sink.
    name: String,
    /// What they end with.
    ending: &'static str,
    bytes_max: u64,
    open: Mutex<Option<(File, u64)>>,
}

impl Files {
    /// Files `<name>-<first index>-<mark>.<ending>` in `dir`, of about `bytes_max` bytes.
    pub fn new(dir: PathBuf, (name, ending): (String, &'static str), bytes_max: u64) -> Self {
        Self { dir, name, ending, bytes_max, open: Mutex::default() }
    }

    fn write(&self, batch: &Batch) -> std::io::Result<()> {
        let mut open = self.open.lock().expect("no holder of the lock panics");
        // After a failure the end of the file is unknown, and after a start too: a new file begins.
        let (mut file, written) = match open.take() {
            Some((file, written)) if written < self.bytes_max => (file, written),
            _ => {
                let mark = data_encoding::HEXLOWER.encode(&ledger::keyring::random32()[..4]);
                // Names in the order of indexes: 20 digits.
                let (from, ending) = (batch.head.from, self.ending);
                let name = format!("{}-{from:020}-{mark}.{ending}", self.name);
                (atomic::create_open(&self.dir.join(name))?, 0)
            }
        };
        let lines = batch.lines();
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        *open = Some((file, written + lines.len() as u64));
        Ok(())
    }
}

impl Receiver for Files {
    fn deliver(&self, batch: &Batch) -> Answer {
        match self.write(batch) {
            Ok(()) => Answer::Taken,
            Err(error) => Answer::Retry(None, error.to_string()),
        }
    }

    fn level(&self) -> Level {
        Level::Written
    }
}
