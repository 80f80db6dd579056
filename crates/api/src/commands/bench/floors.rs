//! Floors: what the machine can do without this product.

use super::{Failed, load::Latencies};
use crate::commands::EXIT_FAILED;
use ledger::{
    json,
    log::{merkle::leaf_hash, tile::read_bundle},
    store::rocks::{Compression, Opening, Rocks},
};
use std::{
    fs::{self, File},
    hint::black_box,
    io::{BufReader, Read as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

/// Number of writes of the fdatasync floor.
const SYNCS: usize = 1000;

/// `write` of 4 KiB and `fdatasync`, appended to one file.
pub fn fdatasync(dir: &Path) -> Result<Latencies, Failed> {
    let path = dir.join("fdatasync");
    let mut file = ledger::atomic::create_open(&path)?;
    let mut latencies = Latencies::default();
    for _ in 0..SYNCS {
        let begin = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        latencies.add(begin.elapsed());
    }
    fs::remove_file(path)?;
    Ok(latencies.sorted())
}

/// Hashes every entry of the bundles below a folder, and reads it as strict JSON. Returns their number, and the time without
/// the reading of files.
pub fn read_entries(folder: &Path) -> Result<(u64, Duration), Failed> {
    let (mut open, mut entries, mut time) = (vec![folder.to_owned()], 0, Duration::ZERO);
    while let Some(at) = open.pop() {
        for found in fs::read_dir(&at)? {
            let path = found?.path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let bytes = fs::read(&path)?;
            let begin = Instant::now();
            let wrong = || Failed::new(EXIT_FAILED, format!("{}: no bundle", path.display()));
            for entry in read_bundle(&bytes).ok_or_else(wrong)? {
                black_box(leaf_hash(entry));
                json::parse_kept(entry).map_err(|_| wrong())?;
                entries += 1;
            }
            time += begin.elapsed();
        }
    }
    Ok((entries, time))
}

/// Replays the writes of a run (every key, value and family) with sync into a new store. Returns events a
/// second.
pub fn replay(record: &Path, dir: &Path, events: u64) -> Result<f64, Failed> {
    let _ = fs::remove_dir_all(dir);
    let opening = Opening {
        path: dir.to_owned(),
        create: true,
        compression: Compression::Full,
        files_max: crate::limits::STORE_FILES_DEFAULT,
        record: None,
    };
    let store = Rocks::open(&opening)?;
    let mut reader = BufReader::with_capacity(4 << 20, File::open(record)?);
    let begin = Instant::now();
    let (mut length, mut batch) = ([0; 4], Vec::new());
    while reader.read_exact(&mut length).is_ok() {
        batch.resize(u32::from_be_bytes(length) as usize, 0);
        reader.read_exact(&mut batch)?;
        store.replay(&batch)?;
    }
    let rate = events as f64 / begin.elapsed().as_secs_f64();
    drop(store);
    fs::remove_dir_all(dir)?;
    Ok(rate)
}
