//! Nonces in the challenges of passkeys, and in sign-ins at providers: each is ours, made for one purpose a short time ago, and
//! counts once.
//!
//! They are not stored before they are used, so whoever only asks for them fills no memory.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac as _};
use ledger::{keyring::random32, time::Nanos};
use sha2::Sha256;
use std::{collections::HashMap, sync::Mutex};
use zeroize::Zeroizing;

/// Time for which a nonce is valid, in seconds: a person finds the device and unlocks it.
pub const LIFE_SECONDS: u64 = 300;
/// Most nonces of one life that are used. More signatures within it are refused.
const USED_MAX: usize = 100_000;
/// Prefixes of the signed texts.
const DOMAIN: &[u8] = b"countersign-nonce-v1\0";
const DERIVED: &[u8] = b"countersign-derived-v1\0";
/// Lengths of the parts, in bytes: time, random bytes, signature.
const TIME: usize = 8;
const RANDOM: usize = 16;
const MAC: usize = 16;

/// Makes nonces, and remembers the used ones.
pub struct Nonces {
    key: Zeroizing<[u8; 32]>,
    /// Nonces from before were perhaps used: this process does not know.
    since: Nanos,
    /// Time for which each is valid, in nanoseconds.
    life: u64,
    used: Mutex<HashMap<String, u64>>,
}

impl Nonces {
    /// Begins at the time of now.
    pub fn new(key: Zeroizing<[u8; 32]>, since: Nanos) -> Self {
        Self { key, since, life: LIFE_SECONDS * 1_000_000_000, used: Mutex::default() }
    }

    /// The same, with another life, in seconds.
    pub fn living(self, seconds: u64) -> Self {
        Self { life: seconds * 1_000_000_000, ..self }
    }

    /// A nonce for a purpose.
    pub fn make(&self, purpose: &str, now: Nanos) -> String {
        let mut bytes = now.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(&random32()[..RANDOM]);
        let mac = self.mac(purpose, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..MAC]);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Uses a nonce up. False if it is not ours, for another purpose, too old, or used.
    pub fn spend(&self, nonce: &str, purpose: &str, now: Nanos) -> bool {
        let Ok(bytes) = BASE64URL_NOPAD.decode(nonce.as_bytes()) else { return false };
        let Some((signed, mac)) = bytes.split_at_checked(TIME + RANDOM) else { return false };
        let Some(time) = signed.first_chunk() else { return false };
        let time = u64::from_be_bytes(*time);
        let fresh = |time: u64| time <= now.0 && now.0 - time < self.life;
        let ours = mac.len() == MAC && self.mac(purpose, signed).verify_truncated_left(mac).is_ok();
        if !ours || !fresh(time) || time < self.since.0 {
            return false;
        }
        let mut used = self.used.lock().expect("no holder of the lock panics");
        if used.len() >= USED_MAX {
            used.retain(|_, time| fresh(*time));
        }
        used.len() < USED_MAX && used.insert(nonce.to_owned(), time).is_none()
    }

    /// A secret word that follows from a nonce, 43 characters. Nobody else can compute it.
    pub fn derived(&self, word: &str, nonce: &str) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(self.key.as_ref());
        let mac = mac.expect("HMAC takes keys of every length").chain_update(DERIVED);
        let mac = mac.chain_update(word).chain_update(b"\0").chain_update(nonce);
        BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
    }

    fn mac(&self, purpose: &str, signed: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(self.key.as_ref());
        let mac = mac.expect("HMAC takes keys of every length");
        mac.chain_update(DOMAIN).chain_update(signed).chain_update(purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Nanos = Nanos(1_000_000_000_000);

    fn check(nonce: &str, purpose: &str, seconds: u64, since: Nanos, fits: bool) {
        let nonces = Nanos(BEGIN.0 + seconds * 1_000_000_000);
        let one = Nonces::new(Zeroizing::new([7; 32]), since);
        assert_eq!(one.spend(nonce, purpose, nonces), fits, "{nonce} {purpose} {seconds}");
    }

    #[test]
    fn p7_a_nonce_counts_once_for_one_purpose_and_a_short_time() {
        let nonces = Nonces::new(Zeroizing::new([7; 32]), Nanos(0));
        let nonce = nonces.make("sign-in", BEGIN);
        check(&nonce, "sign-in", 0, Nanos(0), true);
        check(&nonce, "sign-in", LIFE_SECONDS - 1, BEGIN, true);
        check(&nonce, "sign-in", LIFE_SECONDS, Nanos(0), false);
        check(&nonce, "answer", 0, Nanos(0), false);
        check(&nonce, "sign-in", 0, Nanos(BEGIN.0 + 1), false);
        check(&nonce[1..], "sign-in", 0, Nanos(0), false);
        check("", "sign-in", 0, Nanos(0), false);
        let other = Nonces::new(Zeroizing::new([8; 32]), Nanos(0));
        assert!(!other.spend(&nonce, "sign-in", BEGIN));
        assert!(nonces.spend(&nonce, "sign-in", BEGIN));
        assert!(!nonces.spend(&nonce, "sign-in", BEGIN));
    }
}
