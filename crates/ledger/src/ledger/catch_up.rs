//! Waiting for what another process wrote: a caller may name what it was told of elsewhere, a moment ago.

use super::{Error, Ledger};
use crate::tenant::Tenant;
use std::time::Duration;

/// Longest wait until what the journal holds is published here.
pub const CATCH_UP_WAIT: Duration = Duration::from_secs(10);

impl Ledger {
    /// Waits until all is published here that the journal holds at this moment; at once where that is so already.
    ///
    /// Afterwards, and only then, may be said of what was not found that it does not exist.
    ///
    /// Errors: [`Error::Behind`] when it took longer than [`CATCH_UP_WAIT`], [`Error::Halted`], and [`Error::Journal`]
    /// when the journal can't be asked.
    pub async fn catch_up(&self, tenant: &Tenant) -> Result<(), Error> {
        if let Some(reason) = tenant.halted() {
            return Err(Error::Halted(reason));
        }
        let held = tenant.journal().state().await?.last;
        let mut states = tenant.watch();
        let reached =
            states.wait_for(|published| published.posted >= held || tenant.halted().is_some());
        let reached = tokio::time::timeout(CATCH_UP_WAIT, reached).await;
        match (reached, tenant.halted()) {
            (_, Some(reason)) => Err(Error::Halted(reason)),
            (Ok(Ok(_)), None) => Ok(()),
            _ => Err(Error::Behind),
        }
    }
}
