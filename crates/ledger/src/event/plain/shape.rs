//! The values that plain members may have.

use super::Rule;

/// The values that a plain member may have.
pub(super) enum Shape {
    /// Text of 1 to [`TEXT_BYTES_MAX`](super::TEXT_BYTES_MAX) bytes.
    Text,
    /// One of these words; then the rule in words.
    OneOf(&'static [&'static str], &'static str),
    /// An integer, 0 to 2^53-1.
    Count,
    /// A leaf hash: 32 bytes in base64.
    LeafHash,
    /// 1 to [`CHAIN_MAX`](super::CHAIN_MAX) texts.
    Chain,
    /// At most [`LABELS_MAX`](super::LABELS_MAX) texts by name.
    Labels,
    /// At most [`LISTS_MAX`](super::LISTS_MAX) versions by the names of lists.
    Versions,
    /// What is asked of budgets.
    Budgets,
    /// What is counted of earlier decisions.
    History,
    /// Clauses that raise alerts.
    Alerts,
    /// An object with these members; then the rule in words.
    Object(&'static [Rule], &'static str),
}

impl Shape {
    /// The rule, in words for the sender.
    pub(super) const fn must(&self) -> &'static str {
        match self {
            Self::Text => "must be a text of 1 to 256 bytes",
            Self::Count => "must be an integer, 0 to 9007199254740991",
            Self::LeafHash => "must be a leaf hash: 32 bytes in base64",
            Self::Chain => "must be an array of 1 to 16 texts, each of 1 to 256 bytes",
            Self::Labels => {
                "must be an object of at most 16 texts: names of 1 to 256 bytes, values of at most 256 bytes"
            }
            Self::Versions => {
                "must be an object of at most 256 integers, 0 to 9007199254740991, by names of lists"
            }
            Self::Budgets => {
                "must be an object with `report_within` and `asked`, as decision.md says"
            }
            Self::Alerts => {
                "must be an array of 1 to 16 objects with `clause` and `name`, in order"
            }
            Self::History => "must be an array of 1 to 16 objects, as decision.md says",
            Self::OneOf(_, must) | Self::Object(_, must) => must,
        }
    }
}
