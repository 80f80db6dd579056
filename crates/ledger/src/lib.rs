//! What happened, provably.
//!
//! Pure core: [`ident`], [`time`], the event, entry, tree and proof formats: no clock, no I/O.
//! Edges, each behind a cargo feature: the journal adapters and the RocksDB store.

pub mod canonical;
pub mod ident;
pub mod journal;
pub mod json;
pub mod log;
pub mod time;
