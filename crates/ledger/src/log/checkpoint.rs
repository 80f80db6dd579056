//! C2SP tlog-checkpoint: origin, tree size and root hash, as a signed note without extension lines.

use super::{merkle::Hash, note};

/// What a checkpoint commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name; also the name of its keys.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 root of those leaves.
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed: three lines.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root)
    }

    /// Reads the three lines. Extension lines are refused, because we never write any.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, digits, root) = (lines.next()?, lines.next()?, lines.next()?);
        let canonical = digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        if lines.next().is_some() || origin.is_empty() || !canonical {
            return None;
        }
        Some(Self { origin: origin.into(), size: digits.parse().ok()?, root: Hash::parse(root)? })
    }

    /// The signed note.
    pub fn sign<'a>(&self, signers: impl IntoIterator<Item = &'a note::Signer>) -> String {
        note::sign(&self.text(), signers)
    }
}

/// A checkpoint with verified signatures.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// The verified checkpoint.
    pub checkpoint: Checkpoint,
    /// Positions in the given keys of those that signed.
    pub signers: Vec<usize>,
    /// Number of signature lines by other keys, which were not checked.
    pub unknown: usize,
}

/// Verifies a checkpoint note: signed by at least one of `keys`, whose name must be its origin.
pub fn open(text: &str, keys: &[note::Vkey]) -> Result<Opened, note::Error> {
    let opened = note::open(text, keys)?;
    let checkpoint = Checkpoint::parse(opened.text)
        .ok_or(note::Error::Malformed("not a checkpoint: origin, size and root hash, no more"))?;
    if opened.signers.iter().any(|at| keys[*at].name() != checkpoint.origin) {
        return Err(note::Error::Malformed("the key's name is not the checkpoint's origin"));
    }
    Ok(Opened { checkpoint, signers: opened.signers, unknown: opened.unknown })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::merkle::empty_root;

    fn check(text: &str, reads: bool) {
        assert_eq!(Checkpoint::parse(text).is_some(), reads, "{text:?}");
    }

    #[test]
    fn reads_and_refuses() {
        let root = empty_root();
        assert_eq!(root.to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        check(&format!("a.example/l\n0\n{root}\n"), true);
        check(&format!("a.example/l\n00\n{root}\n"), false);
        check(&format!("a.example/l\n+1\n{root}\n"), false);
        check(&format!("a.example/l\n1\n{root}\nextension\n"), false);
        check(&format!("a.example/l\n1\n{root}"), false);
        check(&format!("\n1\n{root}\n"), false);
        check("a.example/l\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n", false);
    }

    #[test]
    fn key_name_is_the_origin() {
        let checkpoint = Checkpoint { origin: "a".into(), size: 0, root: empty_root() };
        let (a, b) = (note::Signer::new("a", &[1; 32]), note::Signer::new("b", &[1; 32]));
        assert!(open(&checkpoint.sign([&a]), &[a.vkey().clone()]).is_ok());
        assert!(open(&checkpoint.sign([&b]), &[b.vkey().clone()]).is_err());
    }
}
