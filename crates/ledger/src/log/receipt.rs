//! C2SP tlog-proof, with the entry in its `extra` line: the one file an auditor needs beside the log's public key.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64 of the entry's bytes>
//! index <decimal>
//! <base64 hash>            the inclusion proof, leaf to root, a line each
//!
//! <the checkpoint, verbatim>
//! ```

use super::{
    checkpoint::{self, Checkpoint},
    merkle::{self, Hash},
    note,
    tile::ENTRY_BYTES_MAX,
};
use data_encoding::BASE64;

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Largest receipt that is read, in bytes: an entry in base64, 64 hashes and a checkpoint.
pub const RECEIPT_BYTES_MAX: usize = 256 * 1024;

/// Why a receipt is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the format; the line is 1-based.
    #[error("line {line}: {what}")]
    Malformed {
        /// 1-based line of the receipt.
        line: usize,
        /// What is expected there.
        what: &'static str,
    },
    /// The checkpoint inside is not acceptable.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] note::Error),
    /// The format is right, but the path does not lead to the root.
    #[error(
        "entry {index} is not in the tree of {size} leaves that its checkpoint signs: the entry, its index or the path was changed"
    )]
    NotIncluded {
        /// The claimed leaf index.
        index: u64,
        /// The checkpoint's tree size.
        size: u64,
    },
}

/// A receipt, read but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf's bytes.
    pub entry: Vec<u8>,
    /// 0-based leaf index.
    pub index: u64,
    /// Inclusion proof, leaf to root.
    pub path: Vec<Hash>,
    /// The signed note, verbatim.
    pub checkpoint: String,
}

impl std::fmt::Display for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}\nextra {}\nindex {}", BASE64.encode(&self.entry), self.index)?;
        for hash in &self.path {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl Receipt {
    /// Reads a receipt. The text must be exactly what [`Receipt`] would write.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |line, what| Error::Malformed { line, what };
        if text.len() > RECEIPT_BYTES_MAX {
            return Err(wrong(1, "longer than any receipt (256 KiB)"));
        }
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or_else(|| wrong(1, "no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(wrong(1, "a receipt begins with c2sp.org/tlog-proof@v1"));
        }
        let entry = lines
            .next()
            .and_then(|line| line.strip_prefix("extra "))
            .and_then(|base64| BASE64.decode(base64.as_bytes()).ok())
            .filter(|entry| entry.len() <= ENTRY_BYTES_MAX)
            .ok_or_else(|| wrong(2, "expected `extra` and the entry in base64"))?;
        let digits = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = digits.and_then(|d| d.parse().ok().filter(|n: &u64| n.to_string() == d));
        let index = index.ok_or_else(|| wrong(3, "expected `index` and a decimal number"))?;
        let mut path = Vec::new();
        for (at, line) in lines.enumerate() {
            let hash = Hash::parse(line).filter(|_| at < merkle::PROOF_HASHES_MAX);
            path.push(hash.ok_or_else(|| wrong(at + 4, "expected a hash: 32 bytes in base64"))?);
        }
        Ok(Self { entry, index, path, checkpoint: checkpoint.into() })
    }

    /// True if entry and path lead to `root`, and the checkpoint states it. Does not check the checkpoint's
    /// signature.
    pub fn leads_to(&self, root: &Hash) -> bool {
        let text = self.checkpoint.split_once("\n\n").map(|(text, _)| format!("{text}\n"));
        let Some(stated) = text.as_deref().and_then(Checkpoint::parse) else { return false };
        let leaf = merkle::leaf_hash(&self.entry);
        stated.root == *root
            && merkle::verify_inclusion(leaf, self.index, stated.size, &self.path, root)
    }

    /// Verifies the checkpoint's signature by one of `keys`, and the entry's place under its root.
    pub fn verify(&self, keys: &[note::Vkey]) -> Result<checkpoint::Opened, Error> {
        let opened = checkpoint::open(&self.checkpoint, keys)?;
        let leaf = merkle::leaf_hash(&self.entry);
        let checkpoint = &opened.checkpoint;
        let (index, size) = (self.index, checkpoint.size);
        if merkle::verify_inclusion(leaf, index, size, &self.path, &checkpoint.root) {
            Ok(opened)
        } else {
            Err(Error::NotIncluded { index, size })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::note::Signer;

    fn receipt() -> (Receipt, Signer) {
        let leaves = [b"zero".as_slice(), b"one", b"two"].map(merkle::leaf_hash);
        let root = merkle::node_hash(&merkle::node_hash(&leaves[0], &leaves[1]), &leaves[2]);
        let signer = Signer::new("log.example/v1/tenants/acme/logs/1", &[7; 32]);
        let checkpoint = Checkpoint { origin: signer.vkey().name().into(), size: 3, root };
        let checkpoint = checkpoint.sign([&signer]);
        let path = vec![leaves[0], leaves[2]];
        (Receipt { entry: b"one".to_vec(), index: 1, path, checkpoint }, signer)
    }

    #[test]
    fn p5_reads_back_and_verifies() {
        let (receipt, signer) = receipt();
        assert_eq!(Receipt::parse(&receipt.to_string()), Ok(receipt.clone()));
        assert_eq!(receipt.verify(&[signer.vkey().clone()]).unwrap().checkpoint.size, 3);
        let stranger = Signer::new("log.example/v1/tenants/acme/logs/1", &[8; 32]);
        assert!(receipt.verify(&[stranger.vkey().clone()]).is_err());
    }

    #[test]
    fn p5_what_would_not_verify_is_known_before_it_leaves() {
        let (right, _) = receipt();
        let stated =
            Checkpoint::parse(&(right.checkpoint.split_once("\n\n").unwrap().0.to_owned() + "\n"));
        let root = stated.unwrap().root;
        assert!(right.leads_to(&root));
        let wrong = [
            Receipt { entry: b"two".to_vec(), ..right.clone() },
            Receipt { index: 0, ..right.clone() },
            Receipt { path: right.path[..1].to_vec(), ..right.clone() },
            Receipt { checkpoint: String::new(), ..right.clone() },
            Receipt { checkpoint: right.checkpoint.replace("\n3\n", "\n5\n"), ..right.clone() },
        ];
        for receipt in wrong {
            assert!(!receipt.leads_to(&root), "{receipt:?}");
        }
        assert!(!right.leads_to(&merkle::leaf_hash(b"another root")));
    }

    #[test]
    fn p5_every_changed_byte_is_refused() {
        let (receipt, signer) = receipt();
        let (text, keys) = (receipt.to_string(), [signer.vkey().clone()]);
        for at in 0..text.len() {
            for change in 1..=255_u8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= change;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                let accepted = Receipt::parse(&changed).is_ok_and(|r| r.verify(&keys).is_ok());
                assert!(!accepted, "byte {at} ^ {change:#x}");
            }
            let cut = text.get(..at).and_then(|cut| Receipt::parse(cut).ok());
            assert!(cut.is_none_or(|receipt| receipt.verify(&keys).is_err()), "cut at {at}");
        }
    }
}
