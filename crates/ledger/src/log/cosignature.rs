//! C2SP tlog-cosignature, `cosignature/v1` with Ed25519 (type 0x04): what a witness or replica adds to a checkpoint.
//!
//! ML-DSA-44 (type 0x06) is not read: the Rust crates of it are pre-releases. Its lines are those of unknown keys, and its
//! keys are refused with words of their own.

use super::{
    checkpoint::Checkpoint,
    note::{self, Error, Signer, Vkey},
};
use std::fmt;
use zeroize::Zeroizing;

/// Algorithm byte of timestamped Ed25519 cosignatures.
const COSIGNATURE: u8 = 4;
/// Bytes of a timestamped signature: the time, and an Ed25519 signature.
const SIGNATURE_BYTES: usize = 8 + 64;

/// A cosigner's public key with its name: `name+hex(id)+base64(0x04 ‖ key)`. A type of its own, so that a log's key never
/// counts as a cosigner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigner(Vkey);

impl Cosigner {
    /// Reads the text form; only the canonical spelling.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Vkey::parse_as(text, COSIGNATURE).map(Self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Name and id, without the key.
    pub fn label(&self) -> String {
        self.0.label()
    }

    /// The public key: RFC 8032 encoding.
    pub fn public_bytes(&self) -> &[u8; 32] {
        self.0.public_bytes()
    }

    /// True if `signature` over `message`, which is no cosignature's, is by this key.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        note::verify_bytes(&self.0, message, signature)
    }
}

impl fmt::Display for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A replica's private key, which cosigns. Its file has the form of a log's key.
pub struct CosignerKey {
    signer: Signer,
    public: Cosigner,
}

impl CosignerKey {
    /// A key from a 32-byte seed.
    pub fn new(name: &str, seed: &[u8; 32]) -> Self {
        Self::of(Signer::new(name, seed))
    }

    /// Reads the text of a key file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Signer::parse(text).map(Self::of)
    }

    fn of(signer: Signer) -> Self {
        let public = Cosigner(signer.vkey().with_algorithm(COSIGNATURE));
        Self { signer, public }
    }

    /// The public half.
    pub fn public(&self) -> &Cosigner {
        &self.public
    }

    /// What a key file holds.
    pub fn private_text(&self) -> Zeroizing<String> {
        self.signer.private_text()
    }

    /// A signature over a message that is no cosignature's: it must not begin as one does.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signer.sign_bytes(message)
    }

    /// The line of a cosignature of this checkpoint's text, with its newline. `time`: seconds since 1970, more than 0.
    pub fn cosign(&self, time: u64, text: &str) -> String {
        let mut signature = time.to_be_bytes().to_vec();
        signature.extend_from_slice(&self.signer.sign_bytes(&message(time, text)));
        self.public.0.signature_line(&signature)
    }
}

/// A verified cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Position of its key in those that were given.
    pub by: usize,
    /// When the cosigner says that it signed, in seconds since 1970. Never used for order.
    pub time: u64,
    /// The line, with its newline.
    pub line: String,
}

/// The bytes that a cosigner signs.
pub fn message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// Verifies the cosignatures of a checkpoint, in the order of its lines. A wrong one by a given key refuses the note. Lines of
/// other keys are ignored. Does not check that the log has signed.
pub fn open(note: &str, cosigners: &[Cosigner]) -> Result<Vec<Cosigned>, Error> {
    let (text, lines) = note::split(note)?;
    if Checkpoint::parse(text).is_none() {
        return Err(Error::Malformed("not a checkpoint: origin, size and root hash, no more"));
    }
    let mut found: Vec<Cosigned> = Vec::new();
    for line in lines.split('\n') {
        let (name, bytes) = note::signature_line(line)?;
        let Some(by) = cosigners.iter().position(|key| key.0.is_named(name, &bytes)) else {
            continue;
        };
        if found.iter().any(|earlier| earlier.by == by) {
            return Err(Error::Malformed("two signatures by one key"));
        }
        let time = verify(&cosigners[by], text, &bytes[4..]);
        let time = time.ok_or_else(|| Error::BadSignature(name.into()))?;
        found.push(Cosigned { by, time, line: format!("{line}\n") });
    }
    Ok(found)
}

/// The time of a cosignature of this text. `None` if it is wrong, or has no time.
fn verify(key: &Cosigner, text: &str, signature: &[u8]) -> Option<u64> {
    let (time, signature) = signature.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    let has_time = time > 0 && i64::try_from(time).is_ok();
    let fits = has_time && 8 + signature.len() == SIGNATURE_BYTES;
    (fits && note::verify_bytes(&key.0, &message(time, text), signature)).then_some(time)
}

#[cfg(test)]
pub(super) mod tests;
