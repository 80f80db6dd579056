//! Request bodies. Their size and time are limited before anything reads them, also if they are gzip.

use crate::{
    app::App,
    problem::{Code, Problem},
};
use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use flate2::bufread::GzDecoder;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use ledger::ident::Ident;
use std::{
    collections::HashMap,
    io::Read as _,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest body of events, in bytes, after decompression.
pub const EVENTS_BYTES_MAX: usize = 8 << 20;
/// Most memory for small bodies that are being received, in KiB: one amount for clients with keys, one for all others.
const SMALL_KIB_MAX: usize = 64 << 10;
/// Most memory for bodies of events until they are answered, in KiB: of all clients together, and of one tenant.
const EVENTS_KIB_MAX: usize = 192 << 10;
const TENANT_KIB_MAX: usize = 64 << 10;
/// Most members of a gzip body. Each costs time, even if it is empty.
const GZIP_MEMBERS_MAX: usize = 64;
/// Allows this many bodies to be decompressed at once.
static INFLATING: Semaphore = Semaphore::const_new(2);
/// Most memory for pages that are being read or sent, in KiB: of all clients together, and of one tenant.
const ANSWERS_KIB_MAX: usize = 256 << 10;
const TENANT_ANSWERS_KIB_MAX: usize = 64 << 10;
/// Largest other body, in bytes.
pub const SMALL_BYTES_MAX: usize = 64 << 10;

/// Longest wait for memory for a page.
const PAGE_WAIT: Duration = Duration::from_secs(10);

/// Memory for bodies, in parts so that nobody takes it all (P12): small ones with a key, of strangers, and events.
pub struct Room {
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

impl Default for Room {
    fn default() -> Self {
        let room = |kib| Arc::new(Semaphore::new(kib));
        let (small, strangers) = (room(SMALL_KIB_MAX), room(SMALL_KIB_MAX));
        let (events, answers) = (room(EVENTS_KIB_MAX), room(ANSWERS_KIB_MAX));
        Self { small, strangers, events, answers, tenants: Mutex::default() }
    }
}

impl Room {
    fn of_tenant(&self, tenant: &Ident) -> OfTenant {
        let room = |kib| Arc::new(Semaphore::new(kib));
        let mut tenants = self.tenants.lock().expect("no holder of the lock panics");
        let own = tenants.entry(tenant.clone());
        let new =
            || OfTenant { events: room(TENANT_KIB_MAX), answers: room(TENANT_ANSWERS_KIB_MAX) };
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
}

/// Memory that a page uses.
pub struct Reserved([OwnedSemaphorePermit; 2]);

impl Reserved {
    /// Returns what a page of `bytes` does not need.
    pub fn shrink(&mut self, bytes: usize) {
        for room in &mut self.0 {
            let more = room.num_permits().saturating_sub(bytes / 1024 + 1);
            drop(room.split(more));
        }
    }
}

/// A body of events with its memory. Held until the events are answered.
pub struct Held {
    /// The bytes, decompressed.
    pub bytes: Vec<u8>,
    _room: [OwnedSemaphorePermit; 2],
}

/// Reads events of a tenant, at most [`EVENTS_BYTES_MAX`].
pub async fn events(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    tenant: &Ident,
) -> Result<Held, Problem> {
    let (max, wait) = (EVENTS_BYTES_MAX, wait(app));
    // First reserve the tenant's own share: a caller that waits for it does not delay others.
    let own = room(&app.body_room.of_tenant(tenant).events, headers, max, wait).await?;
    let all = room(&app.body_room.events, headers, max, wait).await?;
    let bytes = receive(headers, body, max, wait).await?;
    Ok(Held { bytes, _room: [own, all] })
}

/// As [`read`], for a sender who is known only once the body is read: a chat's click, a form.
pub async fn read_of_stranger(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    max: usize,
) -> Result<Vec<u8>, Problem> {
    small(&app.body_room.strangers, wait(app), headers, body, max).await
}

/// Reads a small body of at most `max` bytes, and decompresses gzip.
pub async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    max: usize,
) -> Result<Vec<u8>, Problem> {
    small(&app.body_room.small, wait(app), headers, body, max).await
}

async fn small(
    of: &Arc<Semaphore>,
    wait: Duration,
    headers: &HeaderMap,
    body: Body,
    max: usize,
) -> Result<Vec<u8>, Problem> {
    let _room = room(of, headers, max, wait).await?;
    receive(headers, body, max, wait).await
}

fn wait(app: &App) -> Duration {
    Duration::from_secs(app.config.file.limits.request_seconds)
}

async fn receive(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    wait: Duration,
) -> Result<Vec<u8>, Problem> {
    let coding = Coding::read(headers)?;
    let collected = tokio::time::timeout(wait, Limited::new(body, max).collect()).await;
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

/// Compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    None,
    Gzip,
}

impl Coding {
    /// Reads the `Content-Encoding`: all of its fields are one list, case does not matter, and `identity` and empty
    /// elements have no effect (RFC 9110 §8.4, §5.6.1).
    fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut coding = Self::None;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
                if name.is_empty() || is("identity") {
                    continue;
                }
                if coding != Self::None || !is("gzip") && !is("x-gzip") {
                    let detail = "Content-Encoding: gzip, once, or none.";
                    let problem = Problem::new(Code::UnsupportedMediaType, detail);
                    return Err(problem.with_accept_encoding());
                }
                coding = Self::Gzip;
            }
        }
        Ok(coding)
    }
}

/// Decompresses the members of a gzip file, one after the other, to at most `max` bytes.
fn inflate(mut rest: &[u8], max: usize) -> Result<Vec<u8>, Problem> {
    let wrong = |detail: &str| Problem::new(Code::BodySyntax, detail);
    let mut plain = Vec::new();
    for _ in 0..GZIP_MEMBERS_MAX {
        let mut member = GzDecoder::new(rest);
        let read = (&mut member).take((max + 1 - plain.len()) as u64).read_to_end(&mut plain);
        read.map_err(|_| wrong("The body is not gzip, as it says."))?;
        if plain.len() > max {
            return Err(too_big(max));
        }
        rest = member.into_inner();
        if rest.is_empty() {
            return Ok(plain);
        }
    }
    Err(wrong("The gzip body has more than 64 members: compress it in one piece."))
}

/// Reserves memory for a body: its stated length, or the maximum.
async fn room(
    room: &Arc<Semaphore>,
    headers: &HeaderMap,
    max: usize,
    wait: Duration,
) -> Result<OwnedSemaphorePermit, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
    // The Content-Length of a compressed body is its compressed size, so reserve the maximum.
    let length = length.filter(|_| !headers.contains_key(header::CONTENT_ENCODING));
    let kib = length.unwrap_or(max).min(max) / 1024 + 1;
    let permits = Arc::clone(room).acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
    let busy = || {
        Problem::new(Code::Busy, "Too many large requests at once. Nothing was written; try again.")
    };
    tokio::time::timeout(wait, permits).await.ok().and_then(Result::ok).ok_or_else(busy)
}

fn too_big(max: usize) -> Problem {
    Problem::new(Code::TooBig, format!("A body here has at most {max} bytes, decompressed."))
}

/// Reads a small JSON body as one of our types.
pub async fn json<T: serde::de::DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let bytes = read(app, headers, body, SMALL_BYTES_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(Code::BadRequest, format!("The body: {}.", wrong(&error))))
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

/// As [`json`]; an absent body gives the default.
pub async fn json_if_any<T: serde::de::DeserializeOwned + Default>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let bytes = read(app, headers, body, SMALL_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|e| Problem::new(Code::BadRequest, format!("The body: {e}.")))
}

/// Why an array was not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsplit {
    /// Brackets or quotes do not match.
    Syntax,
    /// There are too many elements.
    TooMany,
}

/// The elements of a JSON array, at most `max`, as byte ranges. Only brackets and quotes are read.
///
/// Each element is read strictly later, so that a bad one is rejected by itself.
pub fn split_array(bytes: &[u8], max: usize) -> Result<Vec<&[u8]>, Unsplit> {
    let parts = split_to(bytes, max).ok_or(Unsplit::Syntax)?;
    match parts.len() {
        count if count > max => Err(Unsplit::TooMany),
        _ => Ok(parts),
    }
}

/// As [`split_array`], with one element more if there are too many. `None` if brackets or quotes do not match.
fn split_to(bytes: &[u8], max: usize) -> Option<Vec<&[u8]>> {
    let inner = bytes.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    if inner.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                parts.push(inner[begin..at].trim_ascii());
                begin = at + 1;
                if parts.len() > max {
                    return Some(parts);
                }
            }
            _ => {}
        }
    }
    parts.push(inner[begin..].trim_ascii());
    (depth == 0 && !in_string).then_some(parts)
}

/// True if `bytes` are several JSON texts: after the first object or array, another one begins, with or without a comma
/// or record separator (RFC 7464) between. Only brackets and quotes are read.
pub fn is_several(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | 0x1e);
    let Some(begin) = bytes.iter().position(|byte| !is_between(byte)) else { return false };
    if bytes[..begin].contains(&0x1e) {
        return true;
    }
    if !matches!(bytes[begin], b'{' | b'[') {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate().skip(begin) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let rest = bytes[at + 1..].iter().copied().find(|byte| !is_between(byte));
            return matches!(rest, Some(b'{' | b'['));
        }
    }
    false
}

#[cfg(test)]
mod tests;
