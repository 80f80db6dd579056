//! Why input is refused: stable codes, and texts that say what must change.

use super::{DECISION, EXECUTION, HEARTBEAT};
use crate::json;

/// A member that breaks its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Name of an attribute, or a JSON Pointer. Empty for the whole body.
    pub at: &'static str,
    /// The rule: "must be …".
    pub must: &'static str,
    /// True if the member is absent.
    pub is_missing: bool,
}

impl Fault {
    /// The same fault for an absent member.
    pub(super) const fn missing(self) -> Self {
        Self { is_missing: true, ..self }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, must, is_missing } = self;
        if at.is_empty() {
            return write!(f, "the body {must}");
        }
        if *is_missing {
            write!(f, "`{at}` is missing: it {must}")
        } else {
            write!(f, "`{at}` {must}")
        }
    }
}

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
    #[error("attribute {0}")]
    Attribute(Fault),
    /// A `dev.countersign.*` type that this version does not know.
    #[error(
        "this `dev.countersign.` type is not known; known are {DECISION}, {EXECUTION} and {HEARTBEAT}"
    )]
    UnknownType,
    /// A listed member of `data` is missing or not as the format says.
    #[error("{0}")]
    Data(Fault),
    /// A control character outside the payload, in the plain member at this JSON Pointer.
    #[error(
        "`{0}` holds a control character (U+0000 to U+001F, U+007F to U+009F); only payload may"
    )]
    Control(&'static str),
    /// The plain part is too big.
    #[error("the plain part is larger than 16384 bytes")]
    PlainTooBig,
    /// Too many payload fields.
    #[error("more than 64 payload fields")]
    TooManyFields,
    /// A payload name is empty, begins with `/` or holds a control character.
    #[error("a payload field's name is empty, begins with / or holds a control character")]
    FieldName,
    /// An event in binary mode of CloudEvents: its attributes are headers.
    #[error(
        "a CloudEvent in binary mode; send it whole (structured mode): Content-Type: application/cloudevents+json, no `ce-` headers"
    )]
    BinaryMode,
    /// An element of an OPA decision log that can't become an event, or a body that is not an array of them.
    #[error("{0}")]
    Opa(Fault),
    /// The sender says so itself (`Countersign-Refused`), with a code of [`Refused::told`].
    #[error("its sender says that it is not an event: {0}")]
    Told(&'static str),
    /// A message outside `decisions.` without a valid signature of a journal key.
    #[error("not signed by a journal key of this log for this place in its subject")]
    Signature,
    /// A signed message whose body is not what its subject demands.
    #[error("the body does not have the form of its subject")]
    SystemBody,
    /// A subject outside the five families.
    #[error("the subject is none of decisions, approvals, evidence, system and verdicts")]
    Subject,
    /// It names a tool of ours.
    #[error(
        "tool names that begin with `countersign` are ours: their calls are asked for by this server alone"
    )]
    ReservedTool,
}

impl Refused {
    /// The stable code that enters the `rejected` entry and the answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => match error.kind {
                json::ErrorKind::Syntax
                | json::ErrorKind::ByteOrderMark
                | json::ErrorKind::Trailing => "json_syntax",
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
            Self::Control(_) => "control_character",
            Self::PlainTooBig => "plain_too_big",
            Self::TooManyFields => "payload_fields",
            Self::FieldName => "payload_name",
            Self::BinaryMode => "binary_mode",
            Self::Opa(_) => "opa",
            Self::Told(code) => code,
            Self::Signature => "signature",
            Self::SystemBody => "system_body",
            Self::Subject => "subject",
            Self::ReservedTool => "reserved_tool",
        }
    }

    /// Reads a `Countersign-Refused` header. `None` for a code that a sender may not give.
    pub fn told(code: &str) -> Option<Self> {
        let told = TOLD.iter().find(|known| **known == code).map(|known| Self::Told(known))?;
        Some(if code == Self::BinaryMode.code() { Self::BinaryMode } else { told })
    }

    /// True if a header gave the refusal, not the body.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Told(_) | Self::BinaryMode)
    }
}

/// Codes that a sender may give for its own message: all codes about events.
const TOLD: &[&str] = &[
    "json_syntax",
    "json_utf8",
    "json_duplicate_key",
    "json_depth",
    "json_number",
    "json_surrogate",
    "too_big",
    "not_an_object",
    "attribute",
    "type_unknown",
    "data",
    "control_character",
    "plain_too_big",
    "payload_fields",
    "payload_name",
    "binary_mode",
    "opa",
    "reserved_tool",
];
