//! Waits for messages of other processes: a caller may ask for something that another server has just shown
//! them.

use super::{Error, Ledger};
use crate::tenant::Tenant;
use std::time::Duration;

/// Longest wait until everything in the journal is published here.
pub const CATCH_UP_WAIT: Duration = Duration::from_secs(10);

impl Ledger {
    /// Waits until everything that the journal holds now is published here. Returns at once if it already is.
    ///
    /// Only after this may a caller be told that something does not exist.
    ///
    /// Errors: [`Error::Behind`] if it takes longer than [`CATCH_UP_WAIT`], [`Error::Halted`], and
    /// [`Error::Journal`] if the journal can't be asked.
    pub async fn catch_up(&self, tenant: &Tenant) -> Result<(), Error> {
        if let Some(reason) = tenant.halted() {
            return Err(Error::Halted(reason));
        }
        if tenant.is_deleted() {
            return Ok(());
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
