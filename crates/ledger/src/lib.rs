//! The provable record of what happened.
//!
//! Pure core: [`ident`], [`time`], the event, entry, tree and proof formats, without clock and I/O. Edges,
//! each behind a cargo feature: the journal adapters and the RocksDB store.

#[cfg(feature = "rocksdb")]
pub mod atomic;
pub mod budget;
pub mod canonical;
#[cfg(feature = "rocksdb")]
pub mod chores;
#[cfg(feature = "rocksdb")]
pub mod clock;
pub mod disclosure;
pub mod entry;
pub mod envelope;
pub mod erased;
pub mod event;
#[cfg(all(feature = "rocksdb", feature = "jetstream"))]
pub mod expiry;
pub mod feed;
#[cfg(all(feature = "rocksdb", feature = "jetstream"))]
pub mod follow;
pub mod foreign;
#[cfg(feature = "rocksdb")]
pub mod fsck;
pub mod gone;
#[cfg(feature = "rocksdb")]
pub mod guard;
pub mod history;

pub mod ident;
pub mod journal;
pub mod json;
#[cfg(feature = "rocksdb")]
pub mod keyring;
#[cfg(feature = "rocksdb")]
mod ledger;
pub mod leftover;
pub mod log;
pub mod media;
pub mod own_signatures;
pub mod post;
pub mod proven;
#[cfg(all(feature = "rocksdb", feature = "jetstream"))]
pub mod pruning;
pub mod reader;
#[cfg(all(feature = "rocksdb", feature = "jetstream"))]
pub mod recover;
#[cfg(all(feature = "rocksdb", feature = "jetstream"))]
pub mod replica;
#[cfg(all(feature = "rocksdb", feature = "jetstream"))]
pub mod same_journal;
#[cfg(feature = "rocksdb")]
pub mod scrub;
pub mod seal;
#[cfg(feature = "rocksdb")]
pub mod search;
pub mod sequence;
#[cfg(feature = "rocksdb")]
pub mod spool;
pub mod store;
pub mod system;
#[cfg(feature = "rocksdb")]
pub mod tenant;
pub mod time;
#[cfg(feature = "rocksdb")]
pub mod timing;
#[cfg(all(feature = "rocksdb", feature = "jetstream"))]
mod told;
pub mod verify;
#[cfg(feature = "rocksdb")]
pub mod writer;

#[cfg(feature = "rocksdb")]
pub use ledger::{
    AllBooked, Batch, CATCH_UP_WAIT, Error, Journals, Ledger, Options, POST_WAIT, PlaceOf,
    QUEUE_WAIT, SourcesEntry, check_batch, check_seal, list_logs, load_log, origin, random_salt,
};
