//! Places of background work that the log does not prove: small records under the seal, in the database, so that a backup
//! takes them with it.

use super::Ledger;
use crate::{store, tenant::Tenant};

/// Key of a place in `meta`.
fn key(what: &str, tenant: &Tenant, name: &str) -> Vec<u8> {
    [tenant.number.meta(what), name.into()].concat()
}

/// What the seal covers beside the value.
fn sealed_as(tenant: &Tenant, name: &str) -> String {
    format!("{}/{name}", tenant.name)
}

impl Ledger {
    /// The place of this sort and name that was stored last, with our seal. `what`: a word that no other row of `meta` has.
    pub fn place(
        &self,
        what: &str,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Option<Vec<u8>>, store::Error> {
        self.sealed(what, &sealed_as(tenant, name), &key(what, tenant, name))
    }

    /// Stores a place, synced to disk.
    pub fn keep_place(
        &self,
        what: &str,
        tenant: &Tenant,
        name: &str,
        place: &[u8],
    ) -> Result<(), store::Error> {
        self.put_sealed(what, &sealed_as(tenant, name), key(what, tenant, name), place)
    }
}
