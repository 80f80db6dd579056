//! What may be told before it is recorded (P16): `record: later` and `unavailable: allow` of a clause.

use super::fields::MapReader;

/// What a clause, or a verdict, permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Early {
    /// `record: later`: the verdict is told once this server has it on its own disk.
    pub later: bool,
    /// `unavailable: allow`: the same, while the journal can't be written.
    pub unavailable: bool,
}

/// Why a verdict was told before it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `record: later`
    Later,
    /// `unavailable: allow`
    Unavailable,
}

impl Why {
    /// Its name in entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Later => "later",
            Self::Unavailable => "unavailable",
        }
    }

    /// By its name in entries.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Later, Self::Unavailable].into_iter().find(|why| why.as_str() == name)
    }
}

impl Early {
    pub(super) fn read(fields: &mut MapReader<'_>) -> Self {
        let mut says = |name: &'static str, word: &str| {
            let Some((text, at)) = fields.text(name) else { return false };
            if text != word {
                fields.wrong(at, format!("{name} is {word}, or left out"));
            }
            true
        };
        Self { later: says("record", "later"), unavailable: says("unavailable", "allow") }
    }

    /// True if a verdict may be told early for this reason.
    pub fn permits(self, why: Why) -> bool {
        match why {
            Why::Later => self.later,
            Why::Unavailable => self.unavailable,
        }
    }
}
