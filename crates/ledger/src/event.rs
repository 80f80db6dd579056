//! What a producer publishes: a CloudEvents 1.0 event in structured JSON (design §6, `proto/formats/event.md`).
//!
//! In scope: which members stay plain in the leaf, and which are committed as payload. Only the listed members are
//! plain; everything else, at any place, becomes a payload [`Field`], so nothing is lost and nothing leaks.
//! Out of scope: salts (`disclosure`), the leaf (`entry`), order and repetition (`post`).

use crate::{
    canonical,
    json::{self, Member, Value, text_has_control},
};
use std::borrow::Cow;

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

/// What a plain member may be.
enum Shape {
    /// Text of 1 to [`TEXT_BYTES_MAX`] bytes.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An integer, 0 to 2^53-1.
    Count,
    /// 1 to [`CHAIN_MAX`] texts.
    Chain,
    /// At most [`LABELS_MAX`] texts by name.
    Labels,
    /// An object with these members.
    Object(&'static [Rule]),
}

/// A listed member: its name, its JSON Pointer, whether a decision must have it, its shape.
struct Rule {
    name: &'static str,
    at: &'static str,
    required: bool,
    shape: Shape,
}

const fn must(name: &'static str, at: &'static str, shape: Shape) -> Rule {
    Rule { name, at, required: true, shape }
}

const fn may(name: &'static str, at: &'static str, shape: Shape) -> Rule {
    Rule { name, at, required: false, shape }
}

/// The verdicts of design §4, and `unspecified`: an OPA result that says none of them.
pub const VERDICTS: &[&str] = &["allow", "deny", "sanitize", "approval_needed", "unspecified"];

/// The plain members of `data` (design §6). In no other place are member names listed.
const DATA: &[Rule] = &[
    must(
        "agent",
        "/data/agent",
        Shape::Object(&[
            must("id", "/data/agent/id", Shape::Text),
            may("run", "/data/agent/run", Shape::Text),
            may("session", "/data/agent/session", Shape::Text),
            may("chain", "/data/agent/chain", Shape::Chain),
        ]),
    ),
    must(
        "tool",
        "/data/tool",
        Shape::Object(&[
            must("name", "/data/tool/name", Shape::Text),
            must("action", "/data/tool/action", Shape::Text),
        ]),
    ),
    must("verdict", "/data/verdict", Shape::OneOf(VERDICTS)),
    may("mode", "/data/mode", Shape::OneOf(&["enforce", "shadow"])),
    may("reason", "/data/reason", Shape::Object(&[may("code", "/data/reason/code", Shape::Text)])),
    may(
        "policy",
        "/data/policy",
        Shape::Object(&[
            may("id", "/data/policy/id", Shape::Text),
            may("version", "/data/policy/version", Shape::Text),
            may("digest", "/data/policy/digest", Shape::Text),
        ]),
    ),
    may("call", "/data/call", Shape::Object(&[may("digest", "/data/call/digest", Shape::Text)])),
    may("approval_id", "/data/approval_id", Shape::Text),
    may("token_id", "/data/token_id", Shape::Text),
    may(
        "cost",
        "/data/cost",
        Shape::Object(&[
            may("amount", "/data/cost/amount", Shape::Text),
            may("currency", "/data/cost/currency", Shape::Text),
        ]),
    ),
    may("latency_us", "/data/latency_us", Shape::Count),
    may("labels", "/data/labels", Shape::Labels),
];

/// Collects payload fields while the plain part is cut out of an event.
#[derive(Default)]
struct Split {
    fields: Vec<Field>,
}

impl Split {
    fn field(&mut self, name: String, value: &Value<'_>) -> Result<(), Refused> {
        if text_has_control(&name) {
            return Err(Refused::FieldName);
        }
        if self.fields.len() == FIELDS_MAX {
            return Err(Refused::TooManyFields);
        }
        self.fields.push(Field { name, value: canonical::to_vec(value) });
        Ok(())
    }

    /// The plain part of `data`, if it has any.
    fn data<'a>(&mut self, kind: Type, data: Value<'a>) -> Result<Option<Value<'a>>, Refused> {
        let members = match data {
            Value::Object(members) => members,
            other if kind == Type::Other => {
                self.field("/data".into(), &other)?;
                return Ok(None);
            }
            _ => return Err(Refused::Data("/data")),
        };
        let (payload, mut rest): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|(name, value)| name == "payload" && matches!(value, Value::Object(_)));
        if let Some((_, Value::Object(fields))) = payload.first() {
            self.payload(fields)?;
        }
        if kind == Type::Other {
            for (name, value) in &rest {
                self.field(pointer("/data", name), value)?;
            }
            return Ok(None);
        }
        if let Some(at) = rest.iter().position(|(name, _)| name == "payload") {
            // A payload that is not an object is committed whole, like any member that is not listed.
            let (name, value) = rest.remove(at);
            self.field(pointer("/data", &name), &value)?;
        }
        let complete = kind == Type::Decision;
        self.object(DATA, rest, "/data", complete).map(Some)
    }

    fn payload(&mut self, fields: &[Member<'_>]) -> Result<(), Refused> {
        if fields.len() > FIELDS_MAX {
            return Err(Refused::TooManyFields);
        }
        for (name, value) in fields {
            if name.is_empty() || name.starts_with('/') {
                return Err(Refused::FieldName);
            }
            self.field(name.clone().into_owned(), value)?;
        }
        Ok(())
    }

    /// Keeps what `rules` list, each in its shape; the rest becomes payload.
    fn object<'a>(
        &mut self,
        rules: &'static [Rule],
        members: Vec<Member<'a>>,
        at: &str,
        complete: bool,
    ) -> Result<Value<'a>, Refused> {
        let missing = rules
            .iter()
            .find(|rule| complete && rule.required && !members.iter().any(|(n, _)| n == rule.name));
        if let Some(rule) = missing {
            return Err(Refused::Data(rule.at));
        }
        let mut plain = Vec::with_capacity(members.len());
        for (name, value) in members {
            match rules.iter().find(|rule| rule.name == name) {
                None => self.field(pointer(at, &name), &value)?,
                Some(rule) => plain.push((name, self.shape(rule, value)?)),
            }
        }
        Ok(Value::Object(plain))
    }

    fn shape<'a>(&mut self, rule: &'static Rule, value: Value<'a>) -> Result<Value<'a>, Refused> {
        let fits = match (&rule.shape, &value) {
            (Shape::Object(rules), Value::Object(_)) => {
                let Value::Object(members) = value else { unreachable!("matched above") };
                return self.object(rules, members, rule.at, true);
            }
            (Shape::Text, value) => is_text(value),
            (Shape::OneOf(words), Value::String(text)) => words.contains(&text.as_ref()),
            (Shape::Count, value) => value.as_u64().is_some(),
            (Shape::Chain, Value::Array(links)) => {
                (1..=CHAIN_MAX).contains(&links.len()) && links.iter().all(is_text)
            }
            (Shape::Labels, Value::Object(labels)) => {
                labels.len() <= LABELS_MAX
                    && labels.iter().all(|(name, value)| {
                        (1..=TEXT_BYTES_MAX).contains(&name.len())
                            && value.as_str().is_some_and(|text| text.len() <= TEXT_BYTES_MAX)
                    })
            }
            _ => false,
        };
        if fits { Ok(value) } else { Err(Refused::Data(rule.at)) }
    }
}

fn is_text(value: &Value<'_>) -> bool {
    value.as_str().is_some_and(|text| (1..=TEXT_BYTES_MAX).contains(&text.len()))
}

/// RFC 6901: `parent` and one more reference token.
fn pointer(parent: &str, name: &str) -> String {
    let escaped: Cow<'_, str> = if name.contains(['~', '/']) {
        name.replace('~', "~0").replace('/', "~1").into()
    } else {
        name.into()
    };
    format!("{parent}/{escaped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &str, more: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"1","source":"/gw","type":"{DECISION}","time":"2026-11-20T05:48:00Z"{more},"data":{data}}}"#
        )
    }

    const DATA: &str = r#"{"agent":{"id":"a","owner":"kim"},"tool":{"name":"pay","action":"send"},"verdict":"deny","x":1,"payload":{"params":{"iban":"DE\n1"},"nonce":"n"}}"#;

    fn check(text: &str, refused: Option<&str>) {
        let found = parse(text.as_bytes()).err();
        assert_eq!(found.map(|r| r.code()), refused, "{text:.200} {found:?}");
    }

    #[test]
    fn p11_only_listed_members_are_plain() {
        let event = parse(event(DATA, r#","tenant":"evil","kind":"genesis""#).as_bytes()).unwrap();
        let plain = String::from_utf8(event.plain).unwrap();
        assert_eq!(
            plain,
            r#"{"data":{"agent":{"id":"a"},"tool":{"action":"send","name":"pay"},"verdict":"deny"},"id":"1","source":"/gw","specversion":"1.0","time":"2026-11-20T05:48:00Z","type":"dev.countersign.decision.v1"}"#
        );
        let names: Vec<&str> = event.fields.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["/data/agent/owner", "/data/x", "/kind", "/tenant", "nonce", "params"]);
        assert_eq!(event.fields[5].value, br#"{"iban":"DE\n1"}"#);
    }

    #[test]
    fn other_types_keep_all_data_as_payload() {
        let text =
            event(r#"{"verdict":"deny","payload":{"p":1}}"#, "").replace(DECISION, "com.example.x");
        let event = parse(text.as_bytes()).unwrap();
        assert!(!String::from_utf8(event.plain).unwrap().contains("data"));
        assert_eq!(event.fields.len(), 2);
        check(&text.replace(r#""data":{"#, r#""data_base64":"AA==","more":{"#), None);
    }

    #[test]
    fn p3_refuses_with_a_code() {
        check(&event(DATA, ""), None);
        check("[]", Some("not_an_object"));
        check("{", Some("json_syntax"));
        check(&event(DATA, "").replace("\"1.0\"", "\"0.3\""), Some("attribute"));
        check(&event(DATA, "").replace("2026-11-20T", "2026-13-20T"), Some("attribute"));
        check(&event(DATA, r#","sequence":5"#), Some("attribute"));
        check(&event(DATA, r#","sequence":"-5""#), Some("attribute"));
        check(&event(DATA, r#","sequence":"0005""#), None);
        check(&event(DATA, r#","traceparent":"00-x""#), Some("attribute"));
        check(&event(DATA, "").replace("decision.v1", "decision.v9"), Some("type_unknown"));
        check(&event(DATA, "").replace("decision.v1", "heartbeat.v1"), Some("attribute"));
        check(&event(&DATA.replace("deny", "maybe"), ""), Some("data"));
        check(&event(&DATA.replace("\"verdict\"", "\"Verdict\""), ""), Some("data"));
        check(&event(&DATA.replace("\"send\"", "\"se\\u0000nd\""), ""), Some("control_character"));
        check(&event(&DATA.replace("\"nonce\"", "\"\""), ""), Some("payload_name"));
        check(&event(&DATA.replace("\"nonce\"", "\"/params\""), ""), Some("payload_name"));
        check(&event("[]", ""), Some("data"));
        check(&event(DATA, "").replace("\"data\":", "\"date\":"), Some("data"));
        let many: Vec<String> = (0..65).map(|n| format!("\"f{n}\":1")).collect();
        check(
            &event(&DATA.replace("\"nonce\":\"n\"", &many.join(",")), ""),
            Some("payload_fields"),
        );
        let label = format!("{{\"l\":\"{}\"}}", "x".repeat(257));
        check(&event(&DATA.replace("\"x\":1", &format!("\"labels\":{label}")), ""), Some("data"));
        check(&event(&DATA.replace("DE", &"x".repeat(262_144)), ""), Some("too_big"));
    }

    #[test]
    fn p13_plain_part_has_a_limit() {
        let labels: Vec<String> =
            (0..16).map(|n| format!("\"{n}\":\"{}\"", "x".repeat(256))).collect();
        let chain: Vec<String> = (0..16).map(|_| format!("\"{}\"", "\\\\".repeat(128))).collect();
        let data = DATA
            .replace("\"x\":1", &format!("\"labels\":{{{}}}", labels.join(",")))
            .replace("\"owner\":\"kim\"", &format!("\"chain\":[{}]", chain.join(",")));
        check(&event(&data, ""), None);
    }
}
