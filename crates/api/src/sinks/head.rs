//! What a batch says of itself.

use ledger::log::merkle::Hash;

/// What a batch says of itself, so that its receiver can find what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Origin of the log.
    pub origin: String,
    /// Name of the sink.
    pub sink: String,
    /// The first leaf index that the batch covers.
    pub from: u64,
    /// The leaf index after the last one. What the filter names of the entries between is in the batch.
    pub to: u64,
    /// Number of records.
    pub count: usize,
    /// SHA-256 over the leaf hashes of the records, in order.
    pub digest: Hash,
    /// A published size of the log that covers it.
    pub size: u64,
    /// Root hash at that size.
    pub root: Hash,
}
