//! What the worker needs of clocks: this machine's, and the journal's.

use super::OfTenant;
use futures_util::future::BoxFuture;
use ledger::{clock, journal, time::Nanos};
use std::time::Duration;

/// The clocks of one server.
pub trait Clocks: Send + Sync {
    /// This machine's clock.
    fn now(&self) -> Nanos;

    /// Time since this machine booted. Nobody can set it.
    fn since_boot(&self) -> Duration;

    /// The journal's clock.
    fn of_journal(&self) -> BoxFuture<'_, Result<Nanos, journal::Error>>;

    /// How often the journal was connected to.
    fn connects(&self) -> u64;

    /// What is wrong with this machine's clock, by what the log knows.
    fn wrong(&self) -> Option<String>;
}

impl Clocks for OfTenant {
    fn now(&self) -> Nanos {
        self.ledger.now()
    }

    fn since_boot(&self) -> Duration {
        clock::since_boot()
    }

    fn of_journal(&self) -> BoxFuture<'_, Result<Nanos, journal::Error>> {
        Box::pin(self.tenant.journal_time())
    }

    fn connects(&self) -> u64 {
        self.tenant.journal().connects()
    }

    fn wrong(&self) -> Option<String> {
        self.tenant.time_wrong().map(|wrong| wrong.to_string())
    }
}
