//! What a producer publishes: a CloudEvents 1.0 event in structured JSON (design §6, `proto/formats/event.md`).
//!
//! In scope: which members stay plain in the leaf, and which are committed as payload. Only the listed members are
//! plain; everything else, at any place, becomes a payload [`Field`], so nothing is lost and nothing leaks.
//! Out of scope: salts (`disclosure`), the leaf (`entry`), order and repetition (`post`).

mod plain;

pub use plain::VERDICTS;

use crate::{
    canonical,
    json::{self, Member, Value},
};
use plain::{Split, pointer};

/// Longest `id`, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest `source`, in bytes.
pub const SOURCE_BYTES_MAX: usize = 512;
/// Longest other plain text, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Largest plain part (RFC 8785 form), in bytes.
pub const PLAIN_BYTES_MAX: usize = 16 * 1024;
/// Most payload fields of one event.
pub const FIELDS_MAX: usize = 64;
/// Most labels.
pub const LABELS_MAX: usize = 16;
/// Longest agent chain.
pub const CHAIN_MAX: usize = 16;
/// Highest `sequence`, 2^53-1: it stands as a JSON number in gap entries.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// Event type of a decision.
pub const DECISION: &str = "dev.countersign.decision.v1";
/// Event type of a heartbeat: its `sequence` is the last number its source has published.
pub const HEARTBEAT: &str = "dev.countersign.heartbeat.v1";
/// Event type of an execution report.
pub const EXECUTION: &str = "dev.countersign.execution.v1";
/// Types that begin so are ours; unknown ones are refused.
const RESERVED: &str = "dev.countersign.";

/// Why input is refused. Stable codes; `proto/errors.md` explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// Longer than an event may be.
    #[error("the event is longer than 262144 bytes")]
    TooBig,
    /// Not a JSON object.
    #[error("an event is a JSON object")]
    NotAnObject,
    /// A CloudEvents attribute is missing or not as the format says.
    #[error("attribute `{0}` is missing or not as proto/formats/event.md says")]
    Attribute(&'static str),
    /// A `dev.countersign.*` type that this version does not know.
    #[error("this `dev.countersign.` type is not known")]
    UnknownType,
    /// A listed member of `data` is missing or not as the format says.
    #[error("`{0}` is missing or not as proto/formats/event.md says")]
    Data(&'static str),
    /// A control character outside the payload.
    #[error("a control character outside the payload")]
    Control,
    /// The plain part is too big.
    #[error("the plain part is larger than 16384 bytes")]
    PlainTooBig,
    /// Too many payload fields.
    #[error("more than 64 payload fields")]
    TooManyFields,
    /// A payload name is empty, begins with `/` or holds a control character.
    #[error("a payload field's name is empty, begins with / or holds a control character")]
    FieldName,
    /// A message outside `decisions.` without a valid signature of a journal key.
    #[error("not signed by a journal key of this log for this place in its subject")]
    Signature,
    /// A signed message whose body is not what its subject demands.
    #[error("the body is not what its subject demands")]
    SystemBody,
    /// A subject outside the four families.
    #[error("the subject is none of decisions, approvals, evidence and system")]
    Subject,
}

impl Refused {
    /// The stable code that enters the `rejected` entry and the answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => match error.kind {
                json::ErrorKind::Syntax => "json_syntax",
                json::ErrorKind::Utf8 => "json_utf8",
                json::ErrorKind::DuplicateKey => "json_duplicate_key",
                json::ErrorKind::Depth => "json_depth",
                json::ErrorKind::Number => "json_number",
                json::ErrorKind::Surrogate => "json_surrogate",
            },
            Self::TooBig => "too_big",
            Self::NotAnObject => "not_an_object",
            Self::Attribute(_) => "attribute",
            Self::UnknownType => "type_unknown",
            Self::Data(_) => "data",
            Self::Control => "control_character",
            Self::PlainTooBig => "plain_too_big",
            Self::TooManyFields => "payload_fields",
            Self::FieldName => "payload_name",
            Self::Signature => "signature",
            Self::SystemBody => "system_body",
            Self::Subject => "subject",
        }
    }
}

/// One payload field: committed by a salted digest, stored apart, erasable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// A member of `data.payload`: its bare name. Anything else: its JSON Pointer in the event, beginning with `/`.
    pub name: String,
    /// RFC 8785 form of the value.
    pub value: Vec<u8>,
}

/// Which of our types an event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// [`DECISION`]
    Decision,
    /// [`HEARTBEAT`]
    Heartbeat,
    /// [`EXECUTION`]
    Execution,
    /// Somebody else's type.
    Other,
}

/// An event that passed every check, split into its plain part and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `source`.
    pub source: String,
    /// What it is.
    pub kind: Type,
    /// Number of this event within `(producer, source)`; of a heartbeat: the last number published.
    pub sequence: Option<u64>,
    /// RFC 8785 form of the plain part: itself a `CloudEvent`.
    pub plain: Vec<u8>,
    /// Everything else, in order of names.
    pub fields: Vec<Field>,
    /// RFC 8785 form of the whole event: what `commit` commits to.
    pub whole: Vec<u8>,
}

/// Reads and splits one event.
pub fn parse(bytes: &[u8]) -> Result<Event, Refused> {
    if bytes.len() > crate::journal::BODY_BYTES_MAX {
        return Err(Refused::TooBig);
    }
    let value = json::parse(bytes)?;
    let whole = canonical::to_vec(&value);
    let Value::Object(members) = value else { return Err(Refused::NotAnObject) };
    let mut split = Split::default();
    let attributes = Attributes::read(&members)?;
    let mut plain = Vec::with_capacity(members.len());
    for (name, value) in members {
        match name.as_ref() {
            "data" => {
                if let Some(data) = split.data(attributes.kind, value)? {
                    plain.push((name, data));
                }
            }
            "specversion" | "id" | "source" | "type" | "time" | "sequence" | "traceparent"
            | "datacontenttype" => plain.push((name, value)),
            _ => split.field(pointer("", &name), &value)?,
        }
    }
    if attributes.kind == Type::Decision || attributes.kind == Type::Execution {
        plain.iter().find(|(name, _)| name == "data").ok_or(Refused::Data("/data"))?;
    }
    let plain = Value::Object(plain);
    if plain.has_control() {
        return Err(Refused::Control);
    }
    let plain = canonical::to_vec(&plain);
    if plain.len() > PLAIN_BYTES_MAX {
        return Err(Refused::PlainTooBig);
    }
    split.fields.sort_by(|a, b| json::name_order(&a.name, &b.name));
    let Attributes { id, source, kind, sequence } = attributes;
    Ok(Event { id, source, kind, sequence, plain, fields: split.fields, whole })
}

struct Attributes {
    id: String,
    source: String,
    kind: Type,
    sequence: Option<u64>,
}

impl Attributes {
    fn read(members: &[Member<'_>]) -> Result<Self, Refused> {
        let find = |name: &str| members.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        let text = |name: &'static str, max: usize| {
            let text = find(name).and_then(Value::as_str);
            text.filter(|t| (1..=max).contains(&t.len())).ok_or(Refused::Attribute(name))
        };
        if text("specversion", 3)? != "1.0" {
            return Err(Refused::Attribute("specversion"));
        }
        let id = text("id", ID_BYTES_MAX)?.to_owned();
        let source = text("source", SOURCE_BYTES_MAX)?.to_owned();
        let kind = match text("type", TEXT_BYTES_MAX)? {
            DECISION => Type::Decision,
            HEARTBEAT => Type::Heartbeat,
            EXECUTION => Type::Execution,
            other if other.starts_with(RESERVED) => return Err(Refused::UnknownType),
            _ => Type::Other,
        };
        let time = text("time", 64)?;
        if chrono::DateTime::parse_from_rfc3339(time).is_err() {
            return Err(Refused::Attribute("time"));
        }
        let sequence = find("sequence").map(|value| {
            let digits = value
                .as_str()
                .filter(|t| (1..=20).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit()));
            let number = digits.and_then(|digits| digits.parse::<u64>().ok());
            number.filter(|n| *n <= SEQUENCE_MAX).ok_or(Refused::Attribute("sequence"))
        });
        if kind == Type::Heartbeat && sequence.is_none() {
            return Err(Refused::Attribute("sequence"));
        }
        if find("traceparent").is_some_and(|v| !v.as_str().is_some_and(is_traceparent)) {
            return Err(Refused::Attribute("traceparent"));
        }
        if find("datacontenttype").is_some_and(|v| v.as_str() != Some("application/json")) {
            return Err(Refused::Attribute("datacontenttype"));
        }
        Ok(Self { id, source, kind, sequence: sequence.transpose()? })
    }
}

/// W3C Trace Context: `00-<32 hex>-<16 hex>-<2 hex>`, lower case.
fn is_traceparent(text: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 4
        && parts.iter().zip(lengths).all(|(part, length)| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
}

#[cfg(test)]
mod tests;
