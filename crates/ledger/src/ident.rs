//! Names that are safe as a subject token, a path segment, a file name and a key.
//!
//! One grammar for tenants, producers, approvals and connections: `[a-z0-9][a-z0-9-]{0,62}`.

use std::{fmt, sync::Arc};

/// Longest [`Ident`], in bytes.
pub const IDENT_BYTES_MAX: usize = 63;

/// Name of a tenant, producer, approval or connection: `[a-z0-9][a-z0-9-]{0,62}`. Copies share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident(Arc<str>);

/// The text is not an [`Ident`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 63 characters of a-z, 0-9 and -, and does not begin with -")]
pub struct NotAnIdent;

impl Ident {
    /// Checks `text` against the grammar.
    pub fn new(text: &str) -> Result<Self, NotAnIdent> {
        let bytes = text.as_bytes();
        let fits = (1..=IDENT_BYTES_MAX).contains(&bytes.len())
            && bytes[0] != b'-'
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(NotAnIdent) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Ident {
    type Err = NotAnIdent;
    fn from_str(text: &str) -> Result<Self, NotAnIdent> {
        Self::new(text)
    }
}

impl serde::Serialize for Ident {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Ident {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Most lists of a log that ever have entries of their own.
pub const LISTS_MAX: usize = 256;
/// Longest name of a list, in bytes.
pub const LIST_NAME_BYTES_MAX: usize = 64;

/// True if a list may be called so.
pub fn is_list_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=LIST_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, fits: bool) {
        assert_eq!(Ident::new(text).is_ok(), fits, "{text:?}");
    }

    #[test]
    fn grammar() {
        check("a", true);
        check("0", true);
        check("gw-eu-1", true);
        check(&"a".repeat(63), true);
        check(&"a".repeat(64), false);
        check("", false);
        check("-a", false);
        check("A", false);
        check("a.b", false);
        check("a/b", false);
        check("a_b", false);
        check("ä", false);
        check("a*", false);
    }
}
