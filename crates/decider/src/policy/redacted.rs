//! What was redacted, as a fact of the verdict: where, by which detector, and how much. Never the value.

use ledger::{disclosure::RedactionKey, event::Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Letters of a token: 96 bits.
const TOKEN_LETTERS: usize = 24;

/// What the decision would be with every clause in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The verdict.
    #[serde(with = "by_name")]
    pub verdict: Verdict,
    /// Why.
    pub code: String,
    /// By which clause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
}

/// A verdict by its name.
mod by_name {
    use super::{Deserialize, Verdict};
    use serde::{Deserializer, Serializer, de::Error as _};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    pub(super) fn serialize<S: Serializer>(verdict: &Verdict, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(verdict.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Verdict, D::Error> {
        let name = String::deserialize(from)?;
        let found = Verdict::ALL.into_iter().find(|(_, known)| *known == name);
        found.map(|(verdict, _)| verdict).ok_or_else(|| D::Error::custom("no verdict"))
    }
}

/// What was redacted in a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redactions {
    /// The numbered set of detectors.
    pub set: u32,
    /// In the order of the call.
    pub found: Vec<Redaction>,
    /// What clauses said of the call as it came, where they say something else of the redacted call. Believed, unless the
    /// call is kept as it came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<String, Said>,
    /// What the verdict would have been with every clause in force. Believed likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

/// What one clause said of the call as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Whether it matched. Absent: an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<bool>,
    /// Of an error: where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Of an error: what is wrong there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What one detector found in one text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// JSON Pointer into the params.
    pub at: String,
    /// The way within the text there: `json /a`, `base64`, `form name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inside: Vec<String>,
    /// Name of the detector.
    pub detector: String,
    /// First byte, and the byte after the last, in the text as it came.
    pub spans: Vec<(u64, u64)>,
    /// The token of each span, if it was replaced by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<String>,
}

/// Where tokens come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tokens {
    /// From the tenant's key.
    Keyed(RedactionKey),
    /// As they were recorded.
    Recorded(Vec<Redaction>),
    /// From a key that everybody knows: in tests of policies.
    #[default]
    Open,
}

impl Tokens {
    /// The mark of a received call's digest.
    pub(super) fn mark(&self, digest: &str) -> [u8; 32] {
        match self {
            Self::Keyed(key) => key.mark("received", digest),
            Self::Recorded(_) | Self::Open => {
                RedactionKey::derive(&[0; 32]).mark("received", digest)
            }
        }
    }

    /// The token of a value at a place. A recorded one that is missing is empty, and so differs.
    pub(super) fn of(
        &self,
        (at, inside): (&str, &[String]),
        detector: &str,
        (start, value): (usize, &str),
    ) -> String {
        let recorded = |found: &[Redaction]| {
            let here = found
                .iter()
                .filter(|one| one.at == at && one.inside == inside && one.detector == detector);
            let mut spans = here.flat_map(|one| one.spans.iter().zip(&one.tokens));
            spans.find(|((from, _), _)| *from == start as u64).map(|(_, token)| token.clone())
        };
        match self {
            Self::Keyed(key) => letters(&key.mark(detector, value)),
            Self::Open => letters(&RedactionKey::derive(&[0; 32]).mark(detector, value)),
            Self::Recorded(found) => recorded(found).unwrap_or_default(),
        }
    }
}

/// What stands in the place of a value.
pub(super) fn mark(detector: &str, token: Option<&str>) -> String {
    match token {
        None => format!("[REDACTED:{detector}]"),
        Some(token) => format!("[TOKEN:{detector}:{token}]"),
    }
}

/// Letters alone: a token must not look like what a detector finds.
fn letters(bytes: &[u8]) -> String {
    let letter = |half: u8| char::from(b'a' + half);
    let halves = bytes.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]);
    halves.take(TOKEN_LETTERS).collect()
}
