//! Events: what a producer publishes, a CloudEvents 1.0 event in structured JSON (`proto/formats/event.md`).
//!
//! In scope: which members stay plain in the leaf, and which are committed as payload. Only the listed members
//! are plain; everything else, at any place, becomes a payload [`Field`], so nothing is lost and nothing
//! leaks. Out of scope: salts (`disclosure`), the leaf (`entry`), order and repetition (`post`).

mod alerting;
mod plain;
mod pointer;
mod refused;

pub use crate::disclosure::Field;
pub use alerting::{ALERTING_MAX, Alerting};
pub use refused::{Fault, Refused};

use crate::{
    canonical,
    json::{self, Member, Value},
    media::Media,
    time,
};
use plain::Split;
use pointer::pointer;

/// Longest `id`, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest `source`, in bytes.
pub const SOURCE_BYTES_MAX: usize = 512;
/// Longest `time`, in bytes.
pub const TIME_BYTES_MAX: usize = 64;
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
/// Highest `sequence`, 2^53-1, because gap entries hold it as a JSON number.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// Event type of a decision.
pub const DECISION: &str = "dev.countersign.decision.v1";
/// Event type of a heartbeat. Its `sequence` is the last number that its source has published.
pub const HEARTBEAT: &str = "dev.countersign.heartbeat.v1";
/// Event type of an execution report.
pub const EXECUTION: &str = "dev.countersign.execution.v1";
/// Names of tools that begin so, in any case, are ours.
pub const RESERVED_TOOL: &str = "countersign";
/// The action of the server's own call that shows, once a minute, that it decides.
pub const PROBE: &str = "probe";
/// Prefix of our own types. Unknown ones are refused.
const RESERVED: &str = "dev.countersign.";

/// How a gateway judged a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may be made.
    Allow,
    /// It may not be made.
    Deny,
    /// It may be made with parts of it taken out.
    Sanitize,
    /// People decide.
    ApprovalNeeded,
    /// A translated log does not say.
    Unspecified,
}

impl Verdict {
    /// Every verdict with its name in events.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Allow, Self::Allow.as_str()),
        (Self::Deny, Self::Deny.as_str()),
        (Self::Sanitize, Self::Sanitize.as_str()),
        (Self::ApprovalNeeded, Self::ApprovalNeeded.as_str()),
        (Self::Unspecified, Self::Unspecified.as_str()),
    ];

    /// True if the call may be made at once: as it is, or as it was redacted.
    pub const fn permits(self) -> bool {
        matches!(self, Self::Allow | Self::Sanitize)
    }

    /// Its name in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Sanitize => "sanitize",
            Self::ApprovalNeeded => "approval_needed",
            Self::Unspecified => "unspecified",
        }
    }
}

/// The names of all verdicts.
const VERDICTS: [&str; 5] = {
    let [(_, a), (_, b), (_, c), (_, d), (_, e)] = Verdict::ALL;
    [a, b, c, d, e]
};

/// The type of an event, if it is one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// [`DECISION`]
    Decision,
    /// [`HEARTBEAT`]
    Heartbeat,
    /// [`EXECUTION`]
    Execution,
    /// A type that is not ours.
    Other,
}

/// An event that passed every check, split into its plain part and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// CloudEvents `id`.
    pub id: String,
    /// CloudEvents `source`.
    pub source: String,
    /// Its type.
    pub kind: Type,
    /// Number of this event within `(producer, source)`. For a heartbeat, the last number published.
    pub sequence: Option<u64>,
    /// `data.tool.name` of an event of our types.
    pub tool: Option<String>,
    /// RFC 8785 form of the plain part, which is itself a `CloudEvent`.
    pub plain: Vec<u8>,
    /// Everything else, sorted by name.
    pub fields: Vec<Field>,
    /// RFC 8785 form of the whole event, to which `commit` commits.
    pub whole: Vec<u8>,
}

/// Reads and splits one event of a producer.
pub fn parse(bytes: &[u8]) -> Result<Event, Refused> {
    parse_noting(bytes, |_, _| ()).map(|(event, ())| event)
}

/// The same, and what `note` makes of its type and plain part.
pub fn parse_noting<T>(
    bytes: &[u8],
    note: impl FnOnce(Type, &Value<'_>) -> T,
) -> Result<(Event, T), Refused> {
    let (event, noted) = read(bytes, false, note)?;
    if event.tool.as_deref().is_some_and(is_reserved_tool) {
        return Err(Refused::ReservedTool);
    }
    Ok((event, noted))
}

/// Checks a decision of ours about a producer's call, before it is published.
pub fn check_ours(bytes: &[u8]) -> Result<(), Refused> {
    let (event, ()) = read(bytes, true, |_, _| ())?;
    let reserved = event.tool.as_deref().is_some_and(is_reserved_tool);
    if reserved { Err(Refused::ReservedTool) } else { Ok(()) }
}

/// Reads and splits one decision of ours, or our report of a result, as [`parse_noting`] does. `None` if it is neither.
pub fn parse_ours<T>(bytes: &[u8], note: impl FnOnce(Type, &Value<'_>) -> T) -> Option<(Event, T)> {
    let is_ours = |kind| matches!(kind, Type::Decision | Type::Execution);
    read(bytes, true, note).ok().filter(|(event, _)| is_ours(event.kind))
}

/// True if only this server may ask for calls of the tool.
pub fn is_reserved_tool(name: &str) -> bool {
    let start = name.get(..RESERVED_TOOL.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_TOOL))
}

fn read<T>(
    bytes: &[u8],
    ours: bool,
    note: impl FnOnce(Type, &Value<'_>) -> T,
) -> Result<(Event, T), Refused> {
    if bytes.len() > crate::journal::BODY_BYTES_MAX {
        return Err(Refused::TooBig);
    }
    let Value::Object(mut members) = json::parse(bytes)? else { return Err(Refused::NotAnObject) };
    // An attribute that is null counts as unset (CloudEvents, JSON format §2.2): the event is the same without
    // it.
    members.retain(|(name, value)| name == "data" || *value != Value::Null);
    let event = Value::Object(members);
    let whole = canonical::to_vec(&event);
    let Value::Object(members) = event else { unreachable!("made just so") };
    let mut split = Split::default();
    let attributes = Attributes::read(&members)?;
    let mut plain = Vec::with_capacity(members.len());
    for (name, value) in members {
        match name.as_ref() {
            "data" => {
                if let Some(data) = split.data((attributes.kind, ours), value)? {
                    plain.push((name, data));
                }
            }
            "specversion" | "id" | "source" | "type" | "time" | "sequence" | "traceparent"
            | "datacontenttype" => plain.push((name, value)),
            _ => split.field(pointer("", &name), &value)?,
        }
    }
    if attributes.kind == Type::Decision || attributes.kind == Type::Execution {
        let has_data = plain.iter().any(|(name, _)| name == "data");
        has_data.then_some(()).ok_or(Refused::Data(plain::DATA_FAULT.missing()))?;
    }
    if let Some((name, value)) = plain.iter().find(|(_, value)| value.has_control()) {
        return Err(Refused::Control(plain::place_of_control(name, value)));
    }
    let plain = Value::Object(plain);
    let canonical = canonical::to_vec(&plain);
    if canonical.len() > PLAIN_BYTES_MAX {
        return Err(Refused::PlainTooBig);
    }
    let noted = note(attributes.kind, &plain);
    let tool = tool_of(&plain).map(str::to_owned);
    split.fields.sort_by(|a, b| json::name_order(&a.name, &b.name));
    let Attributes { id, source, kind, sequence } = attributes;
    let fields = split.fields;
    Ok((Event { id, source, kind, sequence, tool, plain: canonical, fields, whole }, noted))
}

/// `data.tool.name` of a plain part.
pub fn tool_of<'v>(plain: &'v Value<'_>) -> Option<&'v str> {
    plain.get("data")?.get("tool")?.get("name")?.as_str()
}

struct Attributes {
    id: String,
    source: String,
    kind: Type,
    sequence: Option<u64>,
}

/// The rule for each attribute.
const fn attribute(at: &'static str, must: &'static str) -> Fault {
    Fault { at, must, is_missing: false }
}
const SPECVERSION: Fault = attribute("specversion", "must be \"1.0\"");
const ID: Fault = attribute("id", "must be a text of 1 to 256 bytes");
const SOURCE: Fault = attribute("source", "must be a text of 1 to 512 bytes");
const TYPE: Fault = attribute("type", "must be a text of 1 to 256 bytes");
const TIME: Fault = attribute(
    "time",
    "must be a text of at most 64 bytes, a time of RFC 3339: \"2026-11-20T05:48:01.25Z\"",
);
const SEQUENCE: Fault = attribute(
    "sequence",
    "must be a text of 1 to 20 decimal digits, \"9007199254740991\" at most; a heartbeat must have it",
);
const TRACEPARENT: Fault = attribute(
    "traceparent",
    "must be as W3C Trace Context says: 2, 32, 16 and 2 lower-case hex digits, joined by `-`",
);
const DATACONTENTTYPE: Fault = attribute(
    "datacontenttype",
    "must be a media type, and of JSON for our types: \"application/json\"",
);

impl Attributes {
    fn read(members: &[Member<'_>]) -> Result<Self, Refused> {
        let find = |name: &str| members.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        let text = |fault: Fault, max: usize| {
            let value = find(fault.at).ok_or(Refused::Attribute(fault.missing()))?;
            let text = value.as_str().filter(|text| (1..=max).contains(&text.len()));
            text.ok_or(Refused::Attribute(fault))
        };
        if text(SPECVERSION, 3)? != "1.0" {
            return Err(Refused::Attribute(SPECVERSION));
        }
        let id = text(ID, ID_BYTES_MAX)?.to_owned();
        let source = text(SOURCE, SOURCE_BYTES_MAX)?.to_owned();
        let kind = match text(TYPE, TEXT_BYTES_MAX)? {
            DECISION => Type::Decision,
            HEARTBEAT => Type::Heartbeat,
            EXECUTION => Type::Execution,
            other if other.starts_with(RESERVED) => return Err(Refused::UnknownType),
            _ => Type::Other,
        };
        if time::rfc3339(text(TIME, TIME_BYTES_MAX)?).is_none() {
            return Err(Refused::Attribute(TIME));
        }
        let sequence = find("sequence").map(|value| {
            let digits = value
                .as_str()
                .filter(|t| (1..=20).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit()));
            let number = digits.and_then(|digits| digits.parse::<u64>().ok());
            number.filter(|n| *n <= SEQUENCE_MAX).ok_or(Refused::Attribute(SEQUENCE))
        });
        if kind == Type::Heartbeat && sequence.is_none() {
            return Err(Refused::Attribute(SEQUENCE.missing()));
        }
        if find("traceparent").is_some_and(|v| !v.as_str().is_some_and(is_traceparent)) {
            return Err(Refused::Attribute(TRACEPARENT));
        }
        if find("datacontenttype").is_some_and(|v| !v.as_str().is_some_and(|t| fits(kind, t))) {
            return Err(Refused::Attribute(DATACONTENTTYPE));
        }
        Ok(Self { id, source, kind, sequence: sequence.transpose()? })
    }
}

/// True if `data` may have this media type. Data that is not ours may have any.
fn fits(kind: Type, media: &str) -> bool {
    let media = Media::parse(media).filter(|_| media.len() <= TEXT_BYTES_MAX);
    media.is_some_and(|media| kind == Type::Other || media.is_json() && media.is_utf8())
}

/// True if a header of this name belongs to CloudEvents' binary mode: it is one of the required attributes.
pub fn is_attribute_header(name: &str) -> bool {
    let attributes = ["ce-specversion", "ce-id", "ce-source", "ce-type"];
    attributes.iter().any(|attribute| name.eq_ignore_ascii_case(attribute))
}

/// True if the content type says that the body is a whole event, or a batch of them. Then headers beside it do
/// not count.
pub fn is_structured(content_type: &str) -> bool {
    let prefix = content_type.trim_start().get(.."application/cloudevents".len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case("application/cloudevents"))
}

/// The `id` of a refused event, for its sender, read from any JSON.
pub fn legible_id(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Legible {
        id: String,
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let legible = text.starts_with(b"{").then(|| serde_json::from_slice::<Legible>(text).ok());
    legible.flatten().map(|legible| legible.id).filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()))
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
