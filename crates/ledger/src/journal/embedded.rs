//! The journal on our own store: a message and its entries share one commit, and so one fsync.
//!
//! Value of `journal`: `time u64 ‖ flags u8 ‖ (u16 length ‖ header)* ‖ u16 length ‖ subject ‖ body`, big-endian; the
//! flags say which of the three headers follow, lowest bit first.

use super::{Headers, Message, Subject};
use crate::{post::Prepared, time::Nanos};

/// A message as stored.
pub fn encode(time: Nanos, message: &Prepared) -> Vec<u8> {
    let headers = &message.headers;
    let headers = [&headers.salt, &headers.signature, &headers.receipt_to];
    let mut out = Vec::with_capacity(message.body.len() + 64);
    out.extend_from_slice(&time.0.to_be_bytes());
    let flags = headers.iter().enumerate().map(|(bit, header)| u8::from(header.is_some()) << bit);
    out.push(flags.sum());
    for header in headers.into_iter().flatten() {
        push_text(&mut out, header);
    }
    push_text(&mut out, &message.subject.as_ref().map(ToString::to_string).unwrap_or_default());
    out.extend_from_slice(&message.body);
    out
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("headers are checked at the door");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads what [`encode`] wrote.
pub fn decode(seq: u64, bytes: &[u8]) -> Option<Message> {
    let (time, rest) = bytes.split_first_chunk::<8>()?;
    let (flags, mut rest) = rest.split_first()?;
    let mut texts = [None, None, None];
    for (bit, text) in texts.iter_mut().enumerate() {
        if flags & (1 << bit) != 0 {
            *text = Some(take_text(&mut rest)?.to_owned());
        }
    }
    let subject = Subject::parse(take_text(&mut rest)?);
    let [salt, signature, receipt_to] = texts;
    let headers = Headers { salt, signature, receipt_to };
    let time = Nanos(u64::from_be_bytes(*time));
    Some(Message { seq, time, subject, headers, body: rest.to_vec() })
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let (text, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = tail;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disclosure::Seed;

    #[test]
    fn messages_read_back() {
        let headers = Headers { receipt_to: Some("x".into()), ..Headers::default() };
        let subject = Subject::parse("decisions.gw-1");
        let seed = Seed::derive(&[0; 32], 1, 1);
        let message = Prepared::new(subject.clone(), headers.clone(), b"body".to_vec(), seed);
        let bytes = encode(Nanos(7), &message);
        let body = b"body".to_vec();
        let expected = Message { seq: 3, time: Nanos(7), subject, headers, body };
        assert_eq!(decode(3, &bytes), Some(expected));
        assert_eq!(decode(3, &bytes[..9]), None);
    }
}
