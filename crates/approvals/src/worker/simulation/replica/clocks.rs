//! The clock of a replica: that of the world, and how far it is ahead.

use super::Replica;
use crate::log::Clocks;
use futures_util::future::BoxFuture;
use ledger::{journal, time::Nanos};
use std::time::Duration;

impl Clocks for Replica {
    fn now(&self) -> Nanos {
        let time = i128::from(self.world().time.0) + i128::from(*self.ahead.lock().unwrap());
        Nanos(u64::try_from(time).unwrap_or(0))
    }

    fn since_boot(&self) -> Duration {
        Duration::from_nanos(self.world().time.0)
    }

    fn of_journal(&self) -> BoxFuture<'_, Result<Nanos, journal::Error>> {
        let time = self.world().time;
        Box::pin(async move { Ok(time) })
    }

    fn connects(&self) -> u64 {
        0
    }

    fn wrong(&self) -> Option<String> {
        None
    }
}
