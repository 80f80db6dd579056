//! Requests that may be sent twice, so that they meet the next leader of a stream.

use super::{
    Connection,
    connection::unread,
    wire::{Found, split},
};
use crate::journal::Error;
use async_nats::HeaderMap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, interval_at, timeout};

/// Pause before a request that may be sent twice is sent again. A stream's leader that is gone answers nothing, and NATS asks
/// the next one only what comes after its election.
const AGAIN: Duration = Duration::from_secs(1);

impl Connection {
    /// Sends a request that does no more when it is sent twice, and sends it again every second until there is an answer, at
    /// most [`Options::request_timeout`](super::Options::request_timeout). Errors as [`Connection::request`].
    pub(super) async fn request_again(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let send = || self.request(subject.clone(), headers.clone(), body.clone());
        let (mut waiting, mut again) =
            (FuturesUnordered::new(), interval_at(Instant::now() + AGAIN, AGAIN));
        waiting.push(send());
        let first = async {
            loop {
                tokio::select! {
                    Some(answer) = waiting.next() => match answer {
                        Err(Error::Unknown(_)) if !waiting.is_empty() => {}
                        answer => return answer,
                    },
                    _ = again.tick() => waiting.push(send()),
                }
            }
        };
        let late = |_| Error::Unknown("no answer in time".into());
        timeout(self.request_timeout(), first).await.map_err(late)?
    }

    /// Calls the JetStream API with a request that changes nothing, so a missing answer only means unavailable.
    pub(super) async fn api_read(&self, name: &str, request: &Value) -> Result<Found, Error> {
        self.api_again(name, request).await.map_err(unread)
    }

    /// Calls the JetStream API with a request that does no more when it is sent twice.
    pub(super) async fn api_again(&self, name: &str, request: &Value) -> Result<Found, Error> {
        let body = request.to_string().into_bytes();
        split(self.request_again(format!("$JS.API.{name}"), HeaderMap::new(), body).await?)
    }
}
