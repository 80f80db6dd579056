//! What witnesses have cosigned: kept with our seal, and verified again by whoever reads it. The log does not rest on it.

use super::Ledger;
use crate::{store, tenant::Tenant};

/// Name of the row in `meta`.
const WITNESSED: &str = "witnessed";

impl Ledger {
    /// The checkpoints with cosignatures that were stored.
    pub fn witnessed(&self, tenant: &Tenant) -> Result<Option<Vec<u8>>, store::Error> {
        let row = tenant.number.meta(WITNESSED);
        self.sealed(WITNESSED, tenant.name.as_str(), &row)
    }

    /// Stores them in place of the earlier ones, synced to disk.
    pub fn keep_witnessed(&self, tenant: &Tenant, bytes: &[u8]) -> Result<(), store::Error> {
        let row = tenant.number.meta(WITNESSED);
        self.put_sealed(WITNESSED, tenant.name.as_str(), row, bytes)
    }
}
