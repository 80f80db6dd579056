//! The journal on our own store: a message and its entries share one commit, and so one fsync.
//!
//! In scope: how a message is stored, how messages join a commit ([`stage`]), reading, erasing, trimming.
//! Out of scope: posting; the ledger's writer stages and posts in one commit.
//!
//! Value of `journal`: `time u64 ‖ flags u8 ‖ (u16 length ‖ header)* ‖ u16 length ‖ subject ‖ body`, big-endian; the
//! flags say which of the four headers follow, lowest bit first.

#[cfg(feature = "rocksdb")]
mod adapter;
#[cfg(feature = "rocksdb")]
mod check;
mod stage;

#[cfg(test)]
#[cfg(feature = "rocksdb")]
mod tests;

#[cfg(feature = "rocksdb")]
pub use adapter::Embedded;
#[cfg(feature = "rocksdb")]
pub use check::check;
pub use stage::{Draft, SCAN_MESSAGES_MAX, Volume, stage};

use super::{Headers, Message, Subject};
use crate::time::Nanos;

/// Encodes a message as it is stored.
pub fn encode(time: Nanos, message: &Draft<'_>) -> Vec<u8> {
    let headers = message.headers;
    let headers = [&headers.salt, &headers.signature, &headers.receipt_to, &headers.refused];
    let mut out = Vec::with_capacity(message.body.len() + 64);
    out.extend_from_slice(&time.0.to_be_bytes());
    let flags = headers.iter().enumerate().map(|(bit, header)| u8::from(header.is_some()) << bit);
    out.push(flags.sum());
    for header in headers.into_iter().flatten() {
        push_text(&mut out, header);
    }
    push_text(&mut out, &message.subject.map(ToString::to_string).unwrap_or_default());
    out.extend_from_slice(message.body);
    out
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("headers are checked at the door");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The parts of an encoded message, borrowed.
struct Parts<'a> {
    time: Nanos,
    headers: [Option<&'a str>; 4],
    subject: &'a str,
    body: &'a [u8],
}

fn parts(bytes: &[u8]) -> Option<Parts<'_>> {
    let (time, rest) = bytes.split_first_chunk::<8>()?;
    let (flags, mut rest) = rest.split_first()?;
    let mut headers = [None; 4];
    for (bit, text) in headers.iter_mut().enumerate() {
        if flags & (1 << bit) != 0 {
            *text = Some(take_text(&mut rest)?);
        }
    }
    let subject = take_text(&mut rest)?;
    Some(Parts { time: Nanos(u64::from_be_bytes(*time)), headers, subject, body: rest })
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let (text, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = tail;
    std::str::from_utf8(text).ok()
}

/// Decodes what [`encode`] wrote.
pub fn decode(seq: u64, bytes: &[u8]) -> Option<Message> {
    let parts = parts(bytes)?;
    let [salt, signature, receipt_to, refused] = parts.headers.map(|text| text.map(str::to_owned));
    let headers = Headers { salt, signature, receipt_to, refused };
    let subject = Subject::parse(parts.subject);
    Some(Message { seq, time: parts.time, subject, headers, body: parts.body.to_vec() })
}

/// The subject of a stored message.
fn subject_of(bytes: &[u8]) -> Option<Subject> {
    Subject::parse(parts(bytes)?.subject)
}
