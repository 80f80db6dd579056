//! Signatures on journal messages that this process made. A message that is posted with one of them need not be verified:
//! the very same bytes were signed here.

use std::{collections::HashSet, sync::Mutex};

/// Most signatures that are remembered, 32 bytes each. One that is forgotten is verified like any other.
const SIGNATURES_MAX: usize = 16_384;

/// SHA-256 of a key, a message at its place, and the signature.
pub type Fingerprint = [u8; 32];

/// Signatures whose messages were not posted yet. Those of messages that the journal refused are forgotten in time.
#[derive(Debug, Default)]
pub struct OwnSignatures(Mutex<Generations>);

/// When the young ones are half of what may be kept, they become the old ones, and the old ones are dropped.
#[derive(Debug, Default)]
struct Generations {
    young: HashSet<Fingerprint>,
    old: HashSet<Fingerprint>,
}

impl OwnSignatures {
    /// Remembers a signature that was just made.
    pub fn note(&self, signature: Fingerprint) {
        let mut known = self.0.lock().expect("no holder of the lock panics");
        if known.young.len() >= SIGNATURES_MAX / 2 {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(signature);
    }

    /// True if this signature was made here. It is forgotten then: each message is posted once. `signature` is computed
    /// only if there is anything to compare it with.
    pub fn take(&self, signature: impl FnOnce() -> Fingerprint) -> bool {
        let mut known = self.0.lock().expect("no holder of the lock panics");
        if known.young.is_empty() && known.old.is_empty() {
            return false;
        }
        let signature = signature();
        known.young.remove(&signature) || known.old.remove(&signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_once() {
        let own = OwnSignatures::default();
        let check = |signature: u8, known: bool| {
            assert_eq!(own.take(|| [signature; 32]), known, "{signature}");
        };
        check(1, false);
        own.note([1; 32]);
        check(2, false);
        check(1, true);
        check(1, false);
    }

    #[test]
    fn p13_the_number_of_signatures_is_bounded() {
        let own = OwnSignatures::default();
        let signature = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            bytes
        };
        (0..3 * SIGNATURES_MAX).for_each(|n| own.note(signature(n)));
        let known = (0..3 * SIGNATURES_MAX).filter(|n| own.take(|| signature(*n))).count();
        assert_eq!(known, SIGNATURES_MAX);
    }
}
