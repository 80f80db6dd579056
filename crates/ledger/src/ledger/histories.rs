//! Earlier decisions of an agent, a session or a run.

use super::Ledger;
use crate::{
    history::{Decided, Row, walk},
    store,
    tenant::Tenant,
};

impl Ledger {
    /// Visits the decisions of a row, latest first, until `visit` returns false. They may be ahead of what is published, and
    /// are not proven: `fsck` judges them.
    pub fn earlier(
        &self,
        tenant: &Tenant,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error> {
        walk(&*self.store, tenant.number, row, visit)
    }
}
