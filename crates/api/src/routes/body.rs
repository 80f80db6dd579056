//! Request bodies: bounded in size and time before anything looks at them, gzip included.

use crate::{app::App, problem::Problem};
use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use flate2::read::MultiGzDecoder;
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
/// Most memory for small bodies that are being received, in KiB: of clients with keys, and of everybody else.
const SMALL_KIB_MAX: usize = 64 << 10;
/// Most memory for bodies of events, of all clients together and of one tenant, in KiB: until they are answered.
const EVENTS_KIB_MAX: usize = 192 << 10;
const TENANT_KIB_MAX: usize = 64 << 10;
/// Largest other body, in bytes.
pub const SMALL_BYTES_MAX: usize = 64 << 10;

/// Room for bodies, so that nobody takes all of it (P12): small ones of clients with keys, of strangers, and events.
pub struct Room {
    small: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    events: Arc<Semaphore>,
    tenants: Mutex<HashMap<Ident, Arc<Semaphore>>>,
}

impl Default for Room {
    fn default() -> Self {
        let room = |kib| Arc::new(Semaphore::new(kib));
        let (small, strangers) = (room(SMALL_KIB_MAX), room(SMALL_KIB_MAX));
        Self { small, strangers, events: room(EVENTS_KIB_MAX), tenants: Mutex::default() }
    }
}

impl Room {
    fn of_tenant(&self, tenant: &Ident) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().expect("no holder of the lock panics");
        let room = tenants.entry(tenant.clone());
        Arc::clone(room.or_insert_with(|| Arc::new(Semaphore::new(TENANT_KIB_MAX))))
    }
}

/// A body of events, and its room; to be held until the events are answered.
pub struct Held {
    /// Decompressed.
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
    // First the tenant's own: whoever waits for that keeps nobody else up.
    let own = room(&app.body_room.of_tenant(tenant), headers, max, wait).await?;
    let all = room(&app.body_room.events, headers, max, wait).await?;
    let bytes = receive(headers, body, max, wait).await?;
    Ok(Held { bytes, _room: [own, all] })
}

/// As [`read`], of somebody who is not known before it is read: a chat's click, a form.
pub async fn read_of_stranger(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    max: usize,
) -> Result<Vec<u8>, Problem> {
    small(&app.body_room.strangers, wait(app), headers, body, max).await
}

/// Reads a small body of at most `max` bytes, decompressed if it says gzip.
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
    let late = || Problem::new("bad_request", "The body did not arrive in time.");
    let collected = collected.map_err(|_| late())?.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_big(max)
        } else {
            Problem::new("bad_request", "The body was cut off.")
        }
    })?;
    let bytes = collected.to_bytes();
    match coding {
        Coding::None => Ok(bytes.to_vec()),
        Coding::Gzip => {
            let mut plain = Vec::new();
            let limit = max as u64 + 1;
            let read = MultiGzDecoder::new(&bytes[..]).take(limit).read_to_end(&mut plain);
            read.map_err(|_| Problem::new("body_syntax", "The body is not gzip, as it says."))?;
            if plain.len() > max { Err(too_big(max)) } else { Ok(plain) }
        }
    }
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    None,
    Gzip,
}

impl Coding {
    /// All fields `Content-Encoding` are one list, its names have no case, `identity` and empty elements say nothing
    /// (RFC 9110 §8.4, §5.6.1).
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
                    let problem = Problem::new("unsupported_media_type", detail);
                    return Err(problem.with_accept_encoding());
                }
                coding = Self::Gzip;
            }
        }
        Ok(coding)
    }
}

/// Room for a body: what it says of its length, or the most it may have.
async fn room(
    room: &Arc<Semaphore>,
    headers: &HeaderMap,
    max: usize,
    wait: Duration,
) -> Result<OwnedSemaphorePermit, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
    // What is compressed says nothing of its length.
    let length = length.filter(|_| !headers.contains_key(header::CONTENT_ENCODING));
    let kib = length.unwrap_or(max).min(max) / 1024 + 1;
    let permits = Arc::clone(room).acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
    let busy =
        || Problem::new("busy", "Too many large requests at once. Nothing was written; try again.");
    tokio::time::timeout(wait, permits).await.ok().and_then(Result::ok).ok_or_else(busy)
}

fn too_big(max: usize) -> Problem {
    Problem::new("too_big", format!("A body here has at most {max} bytes, decompressed."))
}

/// Reads a small JSON body as one of our types.
pub async fn json<T: serde::de::DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let bytes = read(app, headers, body, SMALL_BYTES_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new("bad_request", format!("The body: {}.", wrong(&error))))
}

/// What is wrong with a JSON body, for whoever made it: a place in the text only where the text itself is wrong.
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

/// Why an array was not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsplit {
    /// Brackets or quotes do not match.
    Syntax,
    /// More elements than may be.
    TooMany,
}

/// The elements of a JSON array, at most `max`, as byte ranges, found by brackets and quotes alone.
///
/// Each element is read strictly later, so that a bad one is rejected by itself.
pub fn split_array(bytes: &[u8], max: usize) -> Result<Vec<&[u8]>, Unsplit> {
    let parts = split_to(bytes, max).ok_or(Unsplit::Syntax)?;
    match parts.len() {
        count if count > max => Err(Unsplit::TooMany),
        _ => Ok(parts),
    }
}

/// As [`split_array`], and one element more where there are too many; `None` if brackets or quotes do not match.
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

/// Whether `bytes` are several JSON texts: after the first object or array, found by brackets and quotes alone, another
/// one begins, with or without a comma or record separator (RFC 7464) between.
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
mod tests {
    use super::*;

    fn check(text: &str, parts: Option<&[&str]>) {
        let found = split_array(text.as_bytes(), 3);
        let found = found.ok().map(|parts| {
            parts.into_iter().map(|p| std::str::from_utf8(p).unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(found.as_deref(), parts, "{text}");
    }

    #[test]
    fn several_are_seen() {
        let several = |text: &str| assert!(is_several(text.as_bytes()), "{text}");
        let one = |text: &str| assert!(!is_several(text.as_bytes()), "{text}");
        several("{}\n{}");
        several("{\"a\":\"}{\"}{\"b\":[1]}");
        several(" {} , {} ");
        several("{}\r{}\r");
        several("\u{feff}{}\n{}");
        several("\u{1e}{}\n\u{1e}{}\n");
        several("[{}]\n[{}]");
        for text in [
            "",
            "{}",
            "{}\n",
            "{",
            "{} x",
            "5 {}",
            "\"a\" \"b\"",
            "{\"a\":\"}\\\"{\"}",
            "}{",
            ",{}",
        ] {
            one(text);
        }
    }

    #[test]
    fn codings() {
        let check = |values: &[&'static str], expected: Option<Coding>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(Coding::read(&headers).ok(), expected, "{values:?}");
        };
        check(&[], Some(Coding::None));
        check(&[""], Some(Coding::None));
        check(&["identity"], Some(Coding::None));
        check(&["Identity, ,identity"], Some(Coding::None));
        check(&["GZip"], Some(Coding::Gzip));
        check(&["x-gzip"], Some(Coding::Gzip));
        check(&["gzip,identity"], Some(Coding::Gzip));
        check(&["identity\t,\tgzip ,"], Some(Coding::Gzip));
        check(&["identity", "gzip"], Some(Coding::Gzip));
        check(&["gzip, gzip"], None);
        check(&["gzip", "gzip"], None);
        check(&["br"], None);
        check(&["gzip, br"], None);
        check(&["*"], None);
        check(&["gzip;q=1"], None);
    }

    #[test]
    fn arrays_are_split() {
        check("[]", Some(&[]));
        check(r#" [ {"a":[1,2]} , "x,]" ,3] "#, Some(&[r#"{"a":[1,2]}"#, r#""x,]""#, "3"]));
        check(r#"["\"",{}]"#, Some(&[r#""\"""#, "{}"]));
        check("[1,,2]", Some(&["1", "", "2"]));
        check("[1,2,3,4]", None);
        assert_eq!(split_array(b"[1,2,3,4]", 3), Err(Unsplit::TooMany));
        check("[1", None);
        check("[}]", None);
        check("[\"]", None);
    }
}
