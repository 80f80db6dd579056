//! Bodies of requests, and the memory for them and for large answers. Size and time of a body are limited before anything
//! reads it, also if it is gzip.

mod coding;
mod sent;
mod split;

pub use sent::Sent;
pub use split::{Unsplit, is_several, split_array};

use crate::problem::{Code, Problem};
use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use coding::{Coding, inflate};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use ledger::ident::Ident;
use serde::de::DeserializeOwned;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest body of events, in bytes, after decompression.
const EVENTS_BYTES_MAX: usize = 8 << 20;
/// Most memory for small bodies that are being received, in KiB: one amount for clients with keys, one for all others.
const SMALL_KIB_MAX: usize = 64 << 10;
/// Most memory for bodies of events until they are answered, in KiB: of all clients together, and of one tenant.
const EVENTS_KIB_MAX: usize = 192 << 10;
const TENANT_KIB_MAX: usize = 64 << 10;
/// Allows this many bodies to be decompressed at once.
static INFLATING: Semaphore = Semaphore::const_new(2);
/// Most memory for pages that are being read or sent, in KiB: of all clients together, and of one tenant.
const ANSWERS_KIB_MAX: usize = 256 << 10;
const TENANT_ANSWERS_KIB_MAX: usize = 64 << 10;
/// Largest other body, in bytes.
const SMALL_BYTES_MAX: usize = 64 << 10;

/// Longest wait for memory for a page.
const PAGE_WAIT: Duration = Duration::from_secs(10);

/// Receives bodies. Has memory for them in parts, so that nobody takes it all (P12): small ones with a key, of strangers,
/// and events.
pub struct Bodies {
    /// Longest wait for memory, and then for the body.
    wait: Duration,
    small: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    events: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    tenants: Mutex<HashMap<Ident, OfTenant>>,
}

/// The amount that one tenant may take.
#[derive(Clone)]
struct OfTenant {
    events: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Bodies {
    /// All memory is free. `wait`: the longest wait for memory, and then for the body.
    pub fn new(wait: Duration) -> Self {
        let kib = |kib| Arc::new(Semaphore::new(kib));
        let (small, strangers) = (kib(SMALL_KIB_MAX), kib(SMALL_KIB_MAX));
        let (events, answers) = (kib(EVENTS_KIB_MAX), kib(ANSWERS_KIB_MAX));
        Self { wait, small, strangers, events, answers, tenants: Mutex::default() }
    }

    fn of_tenant(&self, tenant: &Ident) -> OfTenant {
        let kib = |kib| Arc::new(Semaphore::new(kib));
        let mut tenants = self.tenants.lock().expect("no holder of the lock panics");
        let own = tenants.entry(tenant.clone());
        let new = || OfTenant { events: kib(TENANT_KIB_MAX), answers: kib(TENANT_ANSWERS_KIB_MAX) };
        own.or_insert_with(new).clone()
    }

    /// Reserves memory for a tenant's page of at most `bytes`. Held until the page is sent.
    pub async fn page(&self, tenant: &Ident, bytes: usize) -> Result<Reserved, Problem> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let busy = || {
            let detail =
                "Too many large pages are being read at once. Try again, with a smaller `limit`.";
            Problem::new(Code::Busy, detail)
        };
        let own = self.of_tenant(tenant).answers.acquire_many_owned(kib);
        let own = tokio::time::timeout(PAGE_WAIT, own).await.ok().and_then(Result::ok);
        let own = own.ok_or_else(busy)?;
        let all = Arc::clone(&self.answers).acquire_many_owned(kib);
        let all = tokio::time::timeout(PAGE_WAIT, all).await.ok().and_then(Result::ok);
        Ok(Reserved([own, all.ok_or_else(busy)?]))
    }
    /// Reads events of a tenant, at most [`EVENTS_BYTES_MAX`].
    pub async fn events(
        &self,
        headers: &HeaderMap,
        body: Body,
        tenant: &Ident,
    ) -> Result<Held, Problem> {
        let max = EVENTS_BYTES_MAX;
        // First reserve the tenant's own share: a caller that waits for it does not delay others.
        let own = self.reserve(&self.of_tenant(tenant).events, headers, max).await?;
        let all = self.reserve(&self.events, headers, max).await?;
        let bytes = self.receive(headers, body, max).await?;
        Ok(Held { bytes, _memory: [own, all] })
    }

    /// As [`Self::read`], for a sender who is known only once the body is read: a chat's click, a form.
    pub async fn read_of_stranger(
        &self,
        headers: &HeaderMap,
        body: Body,
        max: usize,
    ) -> Result<Vec<u8>, Problem> {
        let _memory = self.reserve(&self.strangers, headers, max).await?;
        self.receive(headers, body, max).await
    }

    /// Reads a small body of at most `max` bytes, and decompresses gzip.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        max: usize,
    ) -> Result<Vec<u8>, Problem> {
        let _memory = self.reserve(&self.small, headers, max).await?;
        self.receive(headers, body, max).await
    }

    /// Reads a small JSON body as one of our types.
    pub async fn json<T: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<T, Problem> {
        let bytes = self.read(headers, body, SMALL_BYTES_MAX).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Problem::new(Code::BadRequest, format!("The body: {}.", wrong(&error)))
        })
    }

    /// As [`Self::json`]; an absent body gives the default.
    pub async fn json_if_any<T: DeserializeOwned + Default>(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<T, Problem> {
        let bytes = self.read(headers, body, SMALL_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Ok(T::default());
        }
        serde_json::from_slice(&bytes)
            .map_err(|e| Problem::new(Code::BadRequest, format!("The body: {e}.")))
    }

    async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        max: usize,
    ) -> Result<Vec<u8>, Problem> {
        let coding = Coding::read(headers)?;
        let collected = tokio::time::timeout(self.wait, Limited::new(body, max).collect()).await;
        let late = || Problem::new(Code::BadRequest, "The body did not arrive in time.");
        let collected = collected.map_err(|_| late())?.map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_big(max)
            } else {
                Problem::new(Code::BadRequest, "The body was cut off.")
            }
        })?;
        let bytes = collected.to_bytes();
        match coding {
            // Without a copy: nobody else holds them.
            Coding::None => Ok(bytes.into()),
            Coding::Gzip => {
                let _turn = INFLATING.acquire().await;
                // This takes up to a tenth of a second, so not on a thread that serves others.
                let inflated = tokio::task::spawn_blocking(move || inflate(&bytes, max)).await;
                inflated.unwrap_or_else(|e| Err(Problem::internal(e)))
            }
        }
    }

    /// Reserves memory for a body: its stated length, or the maximum.
    async fn reserve(
        &self,
        of: &Arc<Semaphore>,
        headers: &HeaderMap,
        max: usize,
    ) -> Result<OwnedSemaphorePermit, Problem> {
        let length =
            headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
        // The Content-Length of a compressed body is its compressed size, so reserve the maximum.
        let length = length.filter(|_| !headers.contains_key(header::CONTENT_ENCODING));
        let kib = length.unwrap_or(max).min(max) / 1024 + 1;
        let permits = Arc::clone(of).acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
        let busy = || {
            Problem::new(
                Code::Busy,
                "Too many large requests at once. Nothing was written; try again.",
            )
        };
        tokio::time::timeout(self.wait, permits).await.ok().and_then(Result::ok).ok_or_else(busy)
    }
}

/// Memory that a page uses.
pub struct Reserved([OwnedSemaphorePermit; 2]);

impl Reserved {
    /// Returns what a page of `bytes` does not need.
    pub fn shrink(&mut self, bytes: usize) {
        for memory in &mut self.0 {
            let more = memory.num_permits().saturating_sub(bytes / 1024 + 1);
            drop(memory.split(more));
        }
    }
}

/// A body of events with its memory. Held until the events are answered.
pub struct Held {
    /// The bytes, decompressed.
    pub bytes: Vec<u8>,
    _memory: [OwnedSemaphorePermit; 2],
}

fn too_big(max: usize) -> Problem {
    Problem::new(Code::TooBig, format!("A body here has at most {max} bytes, decompressed."))
}

/// What is wrong with a JSON body, for its author. It names a place only if the text itself is wrong.
pub fn wrong(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if !error.is_data() {
        return text;
    }
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match what.strip_prefix("missing field ") {
        Some(name) => format!("{name} is missing"),
        None => what.to_owned(),
    }
}
