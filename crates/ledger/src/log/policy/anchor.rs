//! The name of the group of a log's replicas says which of its sets the group is. Without that, a policy of replicas that came back
//! could be taken for their first time, and those in between could sign what they like.

use crate::log::members::MemberSet;
use std::fmt;

/// How the name begins.
const BEGINS: &str = "replicas-version-";
/// What is between the version and the entry.
const ENTRY: &str = "-entry-";

/// Which set of replicas a group is: `replicas-version-0`, the first one, or `replicas-version-2-entry-1234`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Version of the set.
    pub version: u64,
    /// Leaf index of its entry; 0 for the first set, which no entry names.
    pub index: u64,
}

impl Anchor {
    /// That of a set.
    pub fn of(set: &MemberSet) -> Self {
        Self { version: set.version, index: set.index }
    }

    /// Reads the name of a group. `None` if it is any other name; an error if it begins as such a name does, and is none.
    pub fn read(name: &[u8]) -> Result<Option<Self>, String> {
        let Ok(text) = std::str::from_utf8(name) else { return Ok(None) };
        let Some(rest) = text.strip_prefix(BEGINS) else { return Ok(None) };
        let (version, index) = rest.split_once(ENTRY).unwrap_or((rest, "0"));
        let number = |digits: &str| digits.parse::<u64>().ok();
        let read = number(version).zip(number(index));
        let read = read.map(|(version, index)| Self { version, index });
        match read.filter(|anchor| anchor.to_string() == text) {
            Some(anchor) => Ok(Some(anchor)),
            None => Err(format!(
                "{text:?} begins as the name of a set of replicas, and is none: it is {BEGINS}0 or {BEGINS}<n>{ENTRY}<index>, as \
                 `countersign log policy` prints it. Take another name if you mean no set"
            )),
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEGINS}{}", self.version)?;
        if self.version == 0 { Ok(()) } else { write!(f, "{ENTRY}{}", self.index) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p21_one_spelling_names_a_set() {
        let check = |name: &str, anchor: Option<(u64, u64)>| {
            let expected = anchor.map(|(version, index)| Anchor { version, index });
            assert_eq!(Anchor::read(name.as_bytes()), Ok(expected), "{name}");
        };
        check("replicas-version-0", Some((0, 0)));
        check("replicas-version-2-entry-1234", Some((2, 1234)));
        check("replicas", None);
        check("replicas-v2", None);
        assert_eq!(Anchor::read(b"\xff"), Ok(None));
        for wrong in [
            "replicas-version-",
            "replicas-version-1",
            "replicas-version-0-entry-0",
            "replicas-version-0-entry-7",
            "replicas-version-01-entry-7",
            "replicas-version-1-entry-+7",
            "replicas-version-1-entry-7-",
        ] {
            assert!(Anchor::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
