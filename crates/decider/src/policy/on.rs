//! What a clause judges: a call before it is made, or what it gave before the agent sees it (`judges: result`).

use super::fields::MapReader;

/// What a clause judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum On {
    /// The call.
    #[default]
    Call,
    /// Its result.
    Result,
}

impl On {
    /// Reads `judges` of a clause.
    pub(super) fn read(fields: &mut MapReader<'_>) -> Self {
        match fields.text("judges") {
            None => Self::Call,
            Some((word, _)) if word == "call" => Self::Call,
            Some((word, _)) if word == "result" => Self::Result,
            Some((word, at)) => {
                fields.wrong(at, format!("{word:?}: judges is call or result"));
                Self::Call
            }
        }
    }
}
