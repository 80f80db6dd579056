//! What happened, provably.
//!
//! Pure core: [`ident`], [`time`], the event, entry, tree and proof formats: no clock, no I/O.
//! Edges, each behind a cargo feature: the journal adapters and the RocksDB store.

pub mod canonical;
pub mod disclosure;
pub mod entry;
pub mod envelope;
pub mod event;
pub mod ident;
pub mod journal;
pub mod json;
pub mod log;
pub mod sequence;
pub mod system;
pub mod time;
