//! Settings of RocksDB.

use super::{Compression, Opening};
use crate::store::Family;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options,
};

/// Memory for blocks read from disk, in bytes.
const BLOCK_CACHE_BYTES: usize = 192 << 20;
/// Memory of one family's newest writes, in bytes.
const WRITE_BUFFER_BYTES: usize = 16 << 20;
/// Memory of all families' newest writes, in bytes.
const WRITE_BUFFERS_TOTAL_BYTES: usize = 192 << 20;
/// Size at which the write-ahead log forces a flush, in bytes.
const WAL_BYTES_MAX: u64 = 256 << 20;
/// Size at which the engine begins a new list of its files, in bytes.
const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// Level of Zstandard. In blocks of 16 KiB, level 3 takes a sixth more time than level 1 and saves nothing.
const ZSTD_LEVEL: i32 = 1;
/// Size at which the engine begins a new log of its own work, in bytes. Some of these logs are kept.
const ENGINE_LOG_BYTES_MAX: usize = 16 << 20;

pub(super) fn options(opening: &Opening) -> (Options, Vec<ColumnFamilyDescriptor>) {
    let mut options = Options::default();
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_db_write_buffer_size(WRITE_BUFFERS_TOTAL_BYTES);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(ENGINE_LOG_BYTES_MAX);
    options.set_max_manifest_file_size(MANIFEST_BYTES_MAX);
    // By default the engine keeps every file open. Their number grows with the data, but the system's limit
    // does not.
    options.set_max_open_files(i32::try_from(opening.files_max).unwrap_or(i32::MAX));
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let families = Family::ALL
        .iter()
        .map(|(family, name)| {
            ColumnFamilyDescriptor::new(*name, family_options(*family, opening, &cache))
        })
        .collect();
    (options, families)
}

fn family_options(family: Family, opening: &Opening, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_format_version(6);
    let mut options = Options::default();
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    let text = matches!(family, Family::Entries | Family::Payload | Family::Journal);
    if text {
        blocks.set_block_size(16 << 10);
        options.set_write_buffer_size(4 * WRITE_BUFFER_BYTES);
    }
    if family == Family::Keys {
        blocks.set_bloom_filter(10.0, false);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        options.set_write_buffer_size(2 * WRITE_BUFFER_BYTES);
    }
    let compressible = text && opening.compression == Compression::Full;
    options.set_compression_type(if compressible {
        DBCompressionType::Lz4
    } else {
        DBCompressionType::None
    });
    if compressible {
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        // The other numbers are the engine's own.
        options.set_bottommost_compression_options(-14, ZSTD_LEVEL, 0, 0, true);
    }
    options.set_block_based_table_factory(&blocks);
    options
}
