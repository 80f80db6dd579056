//! Waits for messages of other processes: a caller may ask for something that another server has just shown
//! them.

use super::{Error, Ledger};
#[cfg(feature = "jetstream")]
use crate::{
    journal::{Journal, jetstream::Connection},
    tenant::Replica,
    told::told,
};
use crate::{reader::Published, tenant::Tenant};
use std::time::Duration;

/// Longest wait until everything in the journal is published here.
pub const CATCH_UP_WAIT: Duration = Duration::from_secs(10);

impl Ledger {
    /// Waits until everything that the journal holds now is published here, and everything that another replica has told anybody.
    /// Returns soon if it already is.
    ///
    /// Only after this may a caller be told that something does not exist.
    ///
    /// Errors: [`Error::Behind`] if it takes longer than [`CATCH_UP_WAIT`], [`Error::Halted`], [`Error::NoQuorum`], and
    /// [`Error::Journal`] if the journal can't be asked.
    pub async fn catch_up(&self, tenant: &Tenant) -> Result<(), Error> {
        if let Some(reason) = tenant.halted() {
            return Err(Error::Halted(reason));
        }
        if tenant.is_deleted() {
            return Ok(());
        }
        let held = tenant.journal().state().await?.last;
        reached(tenant, |published| published.posted >= held).await?;
        self.until_told(tenant).await
    }

    /// Waits until everything is published here that any replica has told anybody. A server that signs alone has told nothing else
    /// than it publishes.
    ///
    /// Errors: those of [`Ledger::catch_up`].
    pub async fn until_told(&self, tenant: &Tenant) -> Result<(), Error> {
        #[cfg(feature = "jetstream")]
        if let (Some(replica), Journal::JetStream(stream)) = (tenant.replica(), tenant.journal()) {
            let told = reached_told(tenant, replica, stream.connection());
            return tokio::time::timeout(CATCH_UP_WAIT, told).await.unwrap_or(Err(Error::Behind));
        }
        Ok(())
    }
}

/// Waits until what is published is far enough.
async fn reached(tenant: &Tenant, is_far_enough: impl Fn(&Published) -> bool) -> Result<(), Error> {
    let mut states = tenant.watch();
    let reached =
        states.wait_for(|published| is_far_enough(published) || tenant.halted().is_some());
    let reached = tokio::time::timeout(CATCH_UP_WAIT, reached).await;
    match (reached, tenant.halted()) {
        (_, Some(reason)) => Err(Error::Halted(reason)),
        (Ok(Ok(_)), None) => Ok(()),
        _ => Err(Error::Behind),
    }
}

#[cfg(feature = "jetstream")]
async fn reached_told(
    tenant: &Tenant,
    replica: &Replica,
    connection: &Connection,
) -> Result<(), Error> {
    loop {
        let set = replica.set();
        let told = told(connection, &tenant.name, &set).await.map_err(Error::NoQuorum)?;
        reached(tenant, |published| published.size >= told).await?;
        // What was posted since may say that other replicas are asked.
        if replica.set() == set {
            return Ok(());
        }
    }
}
