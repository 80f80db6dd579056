//! Places of background work that the log does not prove: small records under the seal, in the database, so that a backup
//! takes them with it.

use super::Ledger;
use crate::{store, tenant::Tenant};

/// Name of the rows that say how far channels of chats were told of alerts.
const TOLD: &str = "told";
/// Name of the row with the state of the watch.
const WATCH: &str = "watch";

/// What a place is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceOf {
    /// How far a channel of a chat was told of alerts, by its name.
    Told,
    /// The state of the watch.
    Watch,
}

impl PlaceOf {
    fn as_str(self) -> &'static str {
        match self {
            Self::Told => TOLD,
            Self::Watch => WATCH,
        }
    }

    /// Key of a place in `meta`.
    fn key(self, tenant: &Tenant, name: &str) -> Vec<u8> {
        let row = match self {
            Self::Told => tenant.number.meta(TOLD),
            Self::Watch => tenant.number.meta(WATCH),
        };
        [row, name.into()].concat()
    }
}

/// What the seal covers beside the value.
fn sealed_as(tenant: &Tenant, name: &str) -> String {
    format!("{}/{name}", tenant.name)
}

impl Ledger {
    /// The place of this sort and name that was stored last, with our seal.
    pub fn place(
        &self,
        of: PlaceOf,
        tenant: &Tenant,
        name: &str,
    ) -> Result<Option<Vec<u8>>, store::Error> {
        self.sealed(of.as_str(), &sealed_as(tenant, name), &of.key(tenant, name))
    }

    /// Stores a place, synced to disk.
    pub fn keep_place(
        &self,
        of: PlaceOf,
        tenant: &Tenant,
        name: &str,
        place: &[u8],
    ) -> Result<(), store::Error> {
        self.put_sealed(of.as_str(), &sealed_as(tenant, name), of.key(tenant, name), place)
    }
}
