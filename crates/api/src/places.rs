//! Places for requests that are served at once. Some requests may wait for a place; further ones are refused.

use crate::{
    limits::CONNECTIONS_APART,
    problem::{Code, Problem},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest wait for a place.
const PLACE_WAIT: Duration = Duration::from_secs(10);

/// Places for requests that are served at once.
pub struct Places {
    serving: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Places {
    /// Places for `max` requests.
    pub fn new(max: usize) -> Self {
        // Half of the extra connections stay for health and metrics.
        let waiting = Semaphore::new(CONNECTIONS_APART / 2);
        Self { serving: Arc::new(Semaphore::new(max)), waiting }
    }

    /// Takes a place. Dropping it frees the place.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = || {
            let detail = "As many requests as the server takes at once are being answered. Nothing was written; try \
                          again.";
            Problem::new(Code::Busy, detail)
        };
        if let Ok(place) = Arc::clone(&self.serving).try_acquire_owned() {
            return Ok(place);
        }
        let _waits = self.waiting.try_acquire().map_err(|_| busy())?;
        let place = Arc::clone(&self.serving).acquire_owned();
        tokio::time::timeout(PLACE_WAIT, place).await.ok().and_then(Result::ok).ok_or_else(busy)
    }
}
