//! What a gRPC status means for a batch: that its content is refused, or a time at which nothing can be taken.

use crate::sinks::{
    net::{RETRY_AFTER_MAX, short},
    port::Answer,
    protobuf::{Value, fields},
};
use data_encoding::{BASE64, BASE64_NOPAD};
use hyper::HeaderMap;
use std::time::Duration;

// Codes of gRPC.
const OK: u32 = 0;
const UNKNOWN: u32 = 2;
const INVALID_ARGUMENT: u32 = 3;
const RESOURCE_EXHAUSTED: u32 = 8;
const OUT_OF_RANGE: u32 = 11;
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    code: u32,
    words: String,
    /// `RetryInfo`: not before that time.
    after: Option<Duration>,
}

impl Status {
    /// Nothing came back.
    pub fn unknown(words: String) -> Self {
        Self { code: UNKNOWN, words, after: None }
    }

    /// What an answer without gRPC says: a proxy, or a server that is none.
    pub fn of_http(status: u16) -> Self {
        Self::unknown(format!("HTTP {status}: no gRPC there"))
    }

    /// Reads it from trailers. `None` if they have none.
    pub fn read(trailers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
        let code = text("grpc-status")?.parse().unwrap_or(UNKNOWN);
        let words = percent(text("grpc-message").unwrap_or_default());
        let after = text("grpc-status-details-bin").and_then(retry_info);
        Some(Self { code, words, after })
    }

    /// True for success.
    pub fn is_ok(&self) -> bool {
        self.code == OK
    }

    /// Name and words.
    pub fn words(&self) -> String {
        let name = NAMES.get(self.code as usize).copied();
        let name = name.map_or_else(|| format!("status {}", self.code), str::to_owned);
        short(format!("{name} {}", self.words).trim_end())
    }

    /// What it means for a batch of so many records. `RESOURCE_EXHAUSTED` without `RetryInfo` can mean that the batch is too
    /// big; a single record is not, so then it is the receiver's state.
    pub fn failed(&self, records: usize) -> Answer {
        match (self.code, self.after) {
            (INVALID_ARGUMENT | OUT_OF_RANGE, _) => Answer::Refused(self.words()),
            (RESOURCE_EXHAUSTED, None) if records > 1 => Answer::Refused(self.words()),
            // Everything else is the receiver's state or our configuration: the same batch is right later.
            (_, after) => Answer::Retry(after, self.words()),
        }
    }
}

/// The percent encoding of `grpc-message`.
fn percent(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let hex = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(hex.unwrap_or(*byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The delay of a `google.rpc.RetryInfo` among the details of a `google.rpc.Status`.
fn retry_info(text: &str) -> Option<Duration> {
    let text = text.trim_end_matches('=').as_bytes();
    let bytes = BASE64_NOPAD.decode(text).or_else(|_| BASE64.decode(text)).ok()?;
    let mut found = None;
    fields(&bytes, |field, value| {
        if let (3, Value::Bytes(any)) = (field, value) {
            found = found.or(delay(any));
        }
        Some(())
    })?;
    found
}

/// Of one detail (`google.protobuf.Any`).
fn delay(any: &[u8]) -> Option<Duration> {
    let (mut is_retry, mut inside) = (false, None);
    fields(any, |field, value| {
        match (field, value) {
            (1, Value::Bytes(name)) => is_retry = name.ends_with(b"/google.rpc.RetryInfo"),
            (2, Value::Bytes(bytes)) => inside = Some(bytes),
            _ => {}
        }
        Some(())
    })?;
    let (mut seconds, mut nanos) = (0, 0);
    fields(inside.filter(|_| is_retry)?, |field, value| {
        let (1, Value::Bytes(duration)) = (field, value) else { return Some(()) };
        fields(duration, |field, value| {
            match (field, value) {
                (1, Value::Number(number)) => seconds = number,
                (2, Value::Number(number)) => nanos = number,
                _ => {}
            }
            Some(())
        })
    })?;
    // A time before now is a number that wraps around.
    let (seconds, nanos) = (i64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
    Some(Duration::new(seconds.cast_unsigned(), nanos.min(999_999_999)).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: &str, details: Option<&str>) -> Status {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.parse().unwrap());
        trailers.insert("grpc-message", "too%20much%".parse().unwrap());
        if let Some(details) = details {
            trailers.insert("grpc-status-details-bin", details.parse().unwrap());
        }
        Status::read(&trailers).unwrap()
    }

    #[test]
    fn content_is_refused_and_everything_else_comes_again() {
        let words = |code: &str| format!("{} too much%", NAMES[code.parse::<usize>().unwrap()]);
        for code in ["3", "11"] {
            assert_eq!(status(code, None).failed(1), Answer::Refused(words(code)));
        }
        for code in ["1", "2", "4", "5", "6", "7", "9", "10", "12", "13", "14", "15", "16"] {
            assert_eq!(status(code, None).failed(5), Answer::Retry(None, words(code)), "{code}");
        }
        assert_eq!(status("8", None).failed(2), Answer::Refused(words("8")));
        assert_eq!(status("8", None).failed(1), Answer::Retry(None, words("8")));
        assert_eq!(status("99", None).failed(1), Answer::Retry(None, "status 99 too much%".into()));
        assert!(status("0", None).is_ok() && Status::read(&HeaderMap::new()).is_none());
    }

    #[test]
    fn retry_info_counts() {
        let duration = |bytes: &[u8]| {
            let name = b"type.googleapis.com/google.rpc.RetryInfo";
            let mut info = vec![0x0a, bytes.len() as u8];
            info.extend(bytes);
            let mut any = vec![0x0a, name.len() as u8];
            any.extend(name);
            any.extend([0x12, info.len() as u8]);
            any.extend(&info);
            let mut said = vec![0x08, 8, 0x1a, any.len() as u8];
            said.extend(&any);
            BASE64_NOPAD.encode(&said)
        };
        let two = duration(&[0x08, 2]);
        assert_eq!(
            status("8", Some(&two)).failed(9),
            Answer::Retry(Some(Duration::from_secs(2)), "RESOURCE_EXHAUSTED too much%".into())
        );
        assert_eq!(status("14", Some(&format!("{two}=="))).after, Some(Duration::from_secs(2)));
        assert_eq!(
            status("14", Some(&duration(&[0x10, 100]))).after,
            Some(Duration::from_nanos(100))
        );
        assert_eq!(
            status("14", Some(&duration(&[0x08, 0xff, 0xff, 0xff, 0x7f]))).after,
            Some(RETRY_AFTER_MAX)
        );
        assert_eq!(status("14", Some("%%%")).after, None);
    }
}
