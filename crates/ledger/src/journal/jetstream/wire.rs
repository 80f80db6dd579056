//! Parts of the JetStream protocol: subjects, API answers, stored messages, header blocks.
//!
//! Everything here is a pure function of bytes that others may have chosen. Nothing may panic.

use std::borrow::Cow;

use data_encoding::BASE64;
use serde::Deserialize;

use crate::{
    event::{Refused, is_attribute_header, is_structured},
    ident::Ident,
    journal::{
        Error, HEADER_RECEIPT_TO, HEADER_REFUSED, HEADER_SALT, HEADER_SIGNATURE, Headers, Message,
        Subject,
    },
    time::Nanos,
};

/// The subject families of a tenant's stream.
const FAMILIES: [&str; 5] =
    ["decisions.*", "approvals.*", "evidence.*", "system.*", "verdicts.*.*"];

/// Names of one tenant's journal on the server.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// `COUNTERSIGN_<tenant>`
    pub(super) stream: String,
    /// `countersign.<tenant>.`
    prefix: String,
}

impl Address {
    pub(super) fn new(tenant: &Ident) -> Self {
        Self { stream: format!("COUNTERSIGN_{tenant}"), prefix: format!("countersign.{tenant}.") }
    }

    /// The subject as the server knows it.
    pub(super) fn subject(&self, local: &Subject) -> String {
        format!("{}{local}", self.prefix)
    }

    /// `countersign.<tenant>.>`.
    pub(super) fn everything(&self) -> String {
        format!("{}>", self.prefix)
    }

    /// `countersign.<tenant>.<family>.*` for each family.
    pub(super) fn patterns(&self) -> [String; 5] {
        FAMILIES.map(|family| format!("{}{family}", self.prefix))
    }

    /// The local subject; `None` outside the five families.
    pub(super) fn local(&self, subject: &str) -> Option<Subject> {
        Subject::parse(subject.strip_prefix(&self.prefix)?)
    }

    /// Reads the answer of `STREAM.MSG.GET`. Its headers come as raw bytes, whatever a producer put there.
    pub(super) fn read_raw(&self, answer: &[u8]) -> Result<Raw, Error> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            message: Stored<'a>,
        }
        #[derive(Deserialize)]
        struct Stored<'a> {
            subject: String,
            seq: u64,
            #[serde(default, borrow)]
            hdrs: Cow<'a, str>,
            #[serde(default, borrow)]
            data: Cow<'a, str>,
            time: String,
        }
        let Stored { subject, seq, hdrs, data, time } = decode::<Answer<'_>>(answer)?.message;
        let bytes = |text: &str| BASE64.decode(text.as_bytes()).map_err(|_| garbled("base64"));
        let block = bytes(&hdrs)?;
        let message = Message {
            seq,
            time: Nanos::parse(&time).ok_or_else(|| garbled("time"))?,
            subject: self.local(&subject),
            headers: read_headers(&block),
            body: bytes(&data)?,
        };
        Ok(Raw { message, plain: is_plain(&block) })
    }
}

/// A message with its raw header block.
pub(super) struct Raw {
    pub(super) message: Message,
    /// True if the client library can read the header block: see [`is_plain`].
    pub(super) plain: bool,
}

/// An answer of the JetStream API.
pub(super) enum Found {
    /// The whole answer, as JSON.
    Answer(Vec<u8>),
    /// The server's error. Nothing was changed.
    Refused { err_code: u64, description: String },
}

/// Splits an API answer into success and error.
pub(super) fn split(answer: Vec<u8>) -> Result<Found, Error> {
    #[derive(Deserialize)]
    struct Envelope {
        error: Option<Refusal>,
    }
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    match decode::<Envelope>(&answer)?.error {
        None => Ok(Found::Answer(answer)),
        Some(Refusal { err_code, description }) => Ok(Found::Refused { err_code, description }),
    }
}

/// Reads an API answer.
pub(super) fn decode<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(answer).map_err(|error| garbled(&error.to_string()))
}

fn garbled(what: &str) -> Error {
    Error::Unknown(format!("the server's answer could not be read ({what})"))
}

/// The positions in the reply subject of each message that a consumer delivers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// Sequence in the stream.
    pub(super) seq: u64,
    /// Sequence of the delivery, from 1. A jump means that deliveries were lost on the way.
    pub(super) nth: u64,
    /// When the stream stored it.
    pub(super) time: Nanos,
    /// How many more messages the consumer has, as far as its server knows.
    pub(super) pending: u64,
}

impl Delivery {
    /// Reads `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<tries>.<seq>.<nth>.<time>.<pending>[.…]`.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        // The old form has seven tokens. The newer form has domain and account in front, and may grow at the
        // end.
        let in_front = if rest.split('.').count() == 7 { 0 } else { 2 };
        let mut numbers = rest.split('.').skip(in_front + 3).map(|token| token.parse().ok());
        let mut number = || numbers.next().flatten();
        Some(Self { seq: number()?, nth: number()?, time: Nanos(number()?), pending: number()? })
    }
}

/// Reads the named headers from a raw block, the first value of each. Malformed lines are ignored.
///
/// Every block that the client library accepts is read as the library reads it. The same message may come
/// either way and must be the same (P6); a test compares the two.
fn read_headers(block: &[u8]) -> Headers {
    let text = String::from_utf8_lossy(block);
    let mut lines = text.lines().skip(1).peekable(); // the first line is `NATS/1.0`
    let mut headers = HeaderReader::default();
    while let Some(line) = lines.next() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let mut value = value.trim_start().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        value.truncate(value.trim_end().len());
        headers.keep(name, &value);
    }
    headers.finish()
}

/// Collects the named headers. The order of names does not matter.
#[derive(Default)]
pub(super) struct HeaderReader {
    headers: Headers,
    content_types: Vec<String>,
    has_attributes: bool,
}

impl HeaderReader {
    /// Takes one value. For a named header, the first one counts.
    pub(super) fn keep(&mut self, name: &str, value: &str) {
        let headers = &mut self.headers;
        let slot = match name {
            HEADER_SALT => &mut headers.salt,
            HEADER_SIGNATURE => &mut headers.signature,
            HEADER_RECEIPT_TO => &mut headers.receipt_to,
            HEADER_REFUSED => &mut headers.refused,
            _ if name.eq_ignore_ascii_case("content-type") => {
                return self.content_types.push(value.to_owned());
            }
            _ => return self.has_attributes |= is_attribute_header(name),
        };
        slot.get_or_insert_with(|| value.to_owned());
    }

    /// The collected headers.
    pub(super) fn finish(self) -> Headers {
        let Self { mut headers, content_types, has_attributes } = self;
        let mut kinds = content_types.iter().map(String::as_str);
        if has_attributes && !kinds.any(is_structured) {
            let code = Refused::BinaryMode.code();
            headers.refused.get_or_insert_with(|| code.to_owned());
        }
        headers
    }
}

/// True if a header block has the plain shape that every client can read: `NATS/1.0`, then `Name: value`
/// lines.
///
/// The server stores whatever a producer sends, and the client library drops its connection on bytes that it
/// cannot read (or panics in its own task: on a lone carriage return in a value). Such a message would break
/// every consumer, again and again.
fn is_plain(block: &[u8]) -> bool {
    if block.is_empty() {
        return true;
    }
    let Ok(text) = std::str::from_utf8(block) else { return false };
    let Some(lines) = text.strip_prefix("NATS/1.0\r\n") else { return false };
    lines.lines().filter(|line| !line.is_empty()).all(|line| {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) && !line.contains('\r')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(block: &[u8]) -> (Option<String>, bool) {
        (read_headers(block).salt, is_plain(block))
    }

    #[test]
    fn header_blocks() {
        let salt = |text: &str| Some(text.to_owned());
        assert_eq!(headers(b""), (None, true));
        assert_eq!(headers(b"NATS/1.0\r\nCountersign-Salt: a\r\n\r\n"), (salt("a"), true));
        assert_eq!(headers(b"NATS/1.0\r\nCountersign-Salt:a  \r\n\r\n"), (salt("a"), true));
        let twice = b"NATS/1.0\r\nCountersign-Salt: a\r\nCountersign-Salt: b\r\n\r\n";
        assert_eq!(headers(twice), (salt("a"), true));
        let empty_first = b"NATS/1.0\r\nCountersign-Salt:\r\nCountersign-Salt: b\r\n\r\n";
        assert_eq!(headers(empty_first), (salt(""), true));
        let folded = b"NATS/1.0\r\nCountersign-Salt: a\r\n b\r\n\r\n";
        assert_eq!(headers(folded), (salt("a b"), false));
        assert_eq!(headers(b"NATS/1.0\r\ncountersign-salt: a\r\n\r\n"), (None, true));
        assert_eq!(
            headers(b"NATS/1.0 503\r\nCountersign-Salt: a\r\n\r\n"),
            (salt("a"), false),
            "a status is for the server to send"
        );
        assert_eq!(headers(b"NATS/1.0\r\nCountersign-Salt: a\rb\r\n"), (salt("a\rb"), false));
        assert_eq!(headers(b"\xff\xfe"), (None, false));
        assert_eq!(headers(b"NATS/1.0\r\nno colon\r\n\r\n"), (None, false));
        assert_eq!(headers("NATS/1.0\r\nÄ: b\r\n\r\n".as_bytes()), (None, false));
        assert_eq!(headers(b"NATS/1.0\r\nA b: c\r\n\r\n"), (None, false));
    }

    #[test]
    fn p3_binary_mode_is_seen() {
        let check = |lines: &str, refused: Option<&str>| {
            let block = format!("NATS/1.0\r\n{lines}\r\n\r\n");
            assert_eq!(read_headers(block.as_bytes()).refused.as_deref(), refused, "{lines}");
        };
        check("Content-Type: application/json", None);
        check("ce-extension: x", None);
        check("ce-specversion: 1.0", Some("binary_mode"));
        check("Ce-Id: 1\r\nContent-Type: application/json", Some("binary_mode"));
        check("Content-Type: application/json\r\nCE-TYPE: x", Some("binary_mode"));
        check("ce-id: 1\r\nContent-Type: application/cloudevents+json; charset=utf-8", None);
        check("content-type: Application/CloudEvents+JSON\r\nce-id: 1", None);
        check("Countersign-Refused: data\r\nce-id: 1", Some("data"));
    }

    #[test]
    fn deliveries() {
        let time = Nanos(1_700_000_000_000_000_001);
        let expected = Some(Delivery { seq: 7, nth: 3, time, pending: 5 });
        let old = "$JS.ACK.S.C.1.7.3.1700000000000000001.5";
        let new = "$JS.ACK._.hash.S.C.1.7.3.1700000000000000001.5.x";
        let newer = "$JS.ACK._.hash.S.C.1.7.3.1700000000000000001.5.x.y.z";
        assert_eq!(Delivery::parse(old), expected);
        assert_eq!(Delivery::parse(new), expected);
        assert_eq!(Delivery::parse(newer), expected);
        assert_eq!(Delivery::parse("$JS.ACK.S.C.1.x.3.1700000000000000001.0"), None);
        assert_eq!(Delivery::parse("$JS.ACK.S"), None);
        assert_eq!(Delivery::parse("_INBOX.a"), None);
    }

    #[test]
    fn subjects() {
        let address = Address::new(&Ident::new("acme").unwrap());
        let gateway = Subject::Decisions(Ident::new("gw-1").unwrap());
        assert_eq!(address.subject(&gateway), "countersign.acme.decisions.gw-1");
        assert_eq!(address.local("countersign.acme.decisions.gw-1"), Some(gateway));
        assert_eq!(address.local("countersign.acme.decisions.GW"), None);
        assert_eq!(address.local("countersign.acme.decisions.a.b"), None);
        assert_eq!(address.local("countersign.acme2.decisions.a"), None);
        assert_eq!(address.local("countersign.acme.other.a"), None);
        assert_eq!(address.local(""), None);
    }
}
