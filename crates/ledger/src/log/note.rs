//! C2SP signed-note, Ed25519 (type 0x01): verifier keys, signers, and notes. No byte of a note is left unread.

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Algorithm byte of Ed25519 note signatures.
const ED25519: u8 = 1;
/// Algorithm byte of ML-DSA-44 cosignatures.
const ML_DSA_44: u8 = 6;
/// Most signature lines of a note. The specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 64;
/// Largest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// Why a note or a key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not a signed note. The text says where it differs.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// It is not `name+hash+key` of an Ed25519 key. The text says why.
    #[error("not an Ed25519 verifier key (name+8 hex digits+base64): {0}")]
    Key(&'static str),
    /// It is not the text of a private key, or the check of its digits fails.
    #[error("not a private key (PRIVATE+KEY+name+8 hex digits+base64)")]
    PrivateKey,
    /// No signature line names one of the given keys.
    #[error("signed by {by}; you gave {given}")]
    Unsigned {
        /// Name and id of each key that signed.
        by: String,
        /// Name and id of each given key.
        given: String,
    },
    /// A line names a given key, but its signature is wrong.
    #[error("the signature of {0} is wrong")]
    BadSignature(String),
}

/// A public key with its name: `name+hex(id)+base64(0x01 ‖ key)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
    algorithm: u8,
}

impl Vkey {
    /// Names a key; the id is the first 4 bytes of `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)`.
    pub fn new(name: &str, key: VerifyingKey) -> Self {
        Self::of(name, key, ED25519)
    }

    fn of(name: &str, key: VerifyingKey, algorithm: u8) -> Self {
        let digest = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', algorithm])
            .chain_update(key.as_bytes())
            .finalize();
        let id = [digest[0], digest[1], digest[2], digest[3]];
        Self { name: name.into(), id, key, algorithm }
    }

    /// The same key with the algorithm byte of another use.
    pub(super) fn with_algorithm(&self, algorithm: u8) -> Self {
        Self::of(&self.name, self.key, algorithm)
    }

    /// Reads the text form; only the canonical spelling.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::parse_as(text, ED25519)
    }

    /// Reads the text form of a key with this algorithm byte, whose public key is an Ed25519 one.
    pub(super) fn parse_as(text: &str, expected: u8) -> Result<Self, Error> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::Key("it has three parts, with `+` between them"));
        };
        let bytes = BASE64.decode(key.as_bytes());
        let bytes = bytes.map_err(|_| Error::Key("its base64 was cut off or changed"))?;
        let short = Error::Key("its base64 is not of 33 bytes: it was cut off or changed");
        let (&algorithm, key) = bytes.split_first().ok_or_else(|| short.clone())?;
        if algorithm == ML_DSA_44 {
            return Err(Error::Key("it is of ML-DSA-44, which this release does not read"));
        }
        let key = <&[u8; 32]>::try_from(key).map_err(|_| short)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| Error::Key("no point of the curve"))?;
        let vkey = Self::of(name, key, expected);
        if algorithm != expected {
            return Err(Error::Key(match (expected, algorithm) {
                (ED25519, 4) => "it is a witness's key (type 4), and a log's is asked for (type 1)",
                (4, ED25519) => "it is a log's key (type 1), and a witness's is asked for (type 4)",
                _ => "it is of another algorithm",
            }));
        }
        // A weak key would let anybody sign. The text must be exactly the one that we would write.
        if !name_fits(name) || key.is_weak() {
            return Err(Error::Key("its name is no key's name, or its key is weak"));
        }
        if vkey.to_string() == text {
            Ok(vkey)
        } else {
            Err(Error::Key(
                "its digits do not fit its name and key: a character was changed or lost",
            ))
        }
    }

    /// The name; for a log it is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name and id, without the key: enough to identify the key.
    pub fn label(&self) -> String {
        label(&self.name, self.id)
    }

    /// The line of a signature by this key, with its newline.
    pub(super) fn signature_line(&self, signature: &[u8]) -> String {
        let bytes = [&self.id[..], signature].concat();
        format!("\u{2014} {} {}\n", self.name, BASE64.encode(&bytes))
    }

    /// True if a signature line of this name and these bytes names this key.
    pub(super) fn is_named(&self, name: &str, bytes: &[u8]) -> bool {
        self.name == name && bytes.starts_with(&self.id)
    }

    /// The public key: RFC 8032 encoding.
    pub fn public_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }
}

impl std::fmt::Display for Vkey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = vec![self.algorithm];
        key.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}", self.label(), BASE64.encode(&key))
    }
}

/// A key name: not empty, no white space, no `+`, no control characters.
fn name_fits(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control())
}

/// A private key with its name. Wiped from memory when dropped; never printed.
pub struct Signer {
    vkey: Vkey,
    key: SigningKey,
}

impl Signer {
    /// A signer from a 32-byte seed.
    pub fn new(name: &str, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        Self { vkey: Vkey::new(name, key.verifying_key()), key }
    }

    /// Reads `PRIVATE+KEY+name+hex(id)+base64(0x01 ‖ seed)`, the form Go's `note` uses.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let rest = text.trim_end().strip_prefix("PRIVATE+KEY+").ok_or(Error::PrivateKey)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::PrivateKey);
        };
        let bytes = Zeroizing::new(BASE64.decode(key.as_bytes()).map_err(|_| Error::PrivateKey)?);
        let (&algorithm, seed) = bytes.split_first().ok_or(Error::PrivateKey)?;
        let seed = <&[u8; 32]>::try_from(seed).map_err(|_| Error::PrivateKey)?;
        let signer = Self::new(name, seed);
        let matches = format!("{:08x}", u32::from_be_bytes(signer.vkey.id)) == id;
        if algorithm == ED25519 && name_fits(name) && matches {
            Ok(signer)
        } else {
            Err(Error::PrivateKey)
        }
    }

    /// The text form that [`Signer::parse`] reads: what a key file holds.
    pub fn private_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(vec![ED25519]);
        bytes.extend_from_slice(self.key.as_bytes());
        let id = u32::from_be_bytes(self.vkey.id);
        let key = Zeroizing::new(BASE64.encode(&bytes));
        Zeroizing::new(format!("PRIVATE+KEY+{}+{id:08x}+{}\n", self.vkey.name, key.as_str()))
    }

    /// The public half.
    pub fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// A bare Ed25519 signature over `message`.
    pub fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

/// True if `signature` over `message` is by `vkey` (strict: no small-order points, canonical scalars).
pub fn verify_bytes(vkey: &Vkey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature)
        .is_ok_and(|signature| vkey.key.verify_strict(message, &signature).is_ok())
}

/// A note: `text` (ends with a newline), an empty line, and a line for each signer.
pub fn sign<'a>(text: &str, signers: impl IntoIterator<Item = &'a Signer>) -> String {
    let mut note = format!("{text}\n");
    for signer in signers {
        note += &signer.vkey.signature_line(&signer.key.sign(text.as_bytes()).to_bytes());
    }
    note
}

/// A verified note: its text, and which of the given keys signed it.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The signed text, with its last newline.
    pub text: &'a str,
    /// Positions in `keys` of the keys that signed, ascending.
    pub signers: Vec<usize>,
    /// Number of signature lines by other keys, which were not checked.
    pub unknown: usize,
}

/// Verifies `note` against `keys`. At least one of them must have signed; a wrong signature by a given key
/// refuses the note.
///
/// Lines of other keys are ignored, as the specification demands; [`Opened::unknown`] counts them.
pub fn open<'a>(note: &'a str, keys: &[Vkey]) -> Result<Opened<'a>, Error> {
    let (text, lines) = split(note)?;
    let mut opened = Opened { text, signers: Vec::new(), unknown: 0 };
    for line in lines.split('\n') {
        let (name, bytes) = signature_line(line)?;
        let known = keys.iter().position(|key| key.is_named(name, &bytes));
        match known {
            None => opened.unknown += 1,
            Some(at) if opened.signers.contains(&at) => {
                return Err(Error::Malformed("two signatures by one key"));
            }
            Some(at) if verify_bytes(&keys[at], text.as_bytes(), &bytes[4..]) => {
                opened.signers.push(at);
            }
            Some(_) => return Err(Error::BadSignature(name.into())),
        }
    }
    opened.signers.sort_unstable();
    if opened.signers.is_empty() {
        let by: Vec<String> = lines.split('\n').filter_map(signed_by).collect();
        let given: Vec<String> = keys.iter().map(Vkey::label).collect();
        return Err(Error::Unsigned { by: by.join(", "), given: given.join(", ") });
    }
    Ok(opened)
}

/// The text of a note with its last newline, and its signature lines without theirs.
pub(super) fn split(note: &str) -> Result<(&str, &str), Error> {
    if note.len() > NOTE_BYTES_MAX || note.chars().any(|c| c.is_control() && c != '\n') {
        return Err(Error::Malformed("too long, or it holds control characters"));
    }
    let at = note.rfind("\n\n").ok_or(Error::Malformed("no empty line before the signatures"))?;
    let (text, lines) = (&note[..=at], &note[at + 2..]);
    let lines = lines.strip_suffix('\n').ok_or(Error::Malformed("no newline at the end"))?;
    if lines.split('\n').count() > SIGNATURES_MAX {
        return Err(Error::Malformed("more than 64 signatures"));
    }
    Ok((text, lines))
}

/// Name and id of the key of a signature line.
fn signed_by(line: &str) -> Option<String> {
    let (name, bytes) = signature_line(line).ok()?;
    Some(label(name, *bytes.first_chunk()?))
}

fn label(name: &str, id: [u8; 4]) -> String {
    format!("{name}+{:08x}", u32::from_be_bytes(id))
}

/// `— name base64(id[4] ‖ signature)`.
pub(super) fn signature_line(line: &str) -> Result<(&str, Vec<u8>), Error> {
    let parts = line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' '));
    let (name, base64) = parts.ok_or(Error::Malformed("a line that is not a signature"))?;
    let bytes = BASE64.decode(base64.as_bytes()).ok().filter(|bytes| bytes.len() > 4);
    match bytes {
        Some(bytes) if name_fits(name) => Ok((name, bytes)),
        _ => Err(Error::Malformed("a signature line with a bad name or base64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the C2SP page `signed-note.md` (and of Go's `note` package).
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn check(note: &str, keys: &[&str], opens: bool) {
        let keys: Vec<Vkey> = keys.iter().map(|k| Vkey::parse(k).unwrap()).collect();
        assert_eq!(open(note, &keys).is_ok(), opens, "{note}");
    }

    #[test]
    fn p5_the_pages_example() {
        check(NOTE, &[PETER], true);
        check(NOTE, &[], false);
        assert_eq!(Vkey::parse(PETER).unwrap().to_string(), PETER);
    }

    #[test]
    fn p5_every_changed_byte_is_refused() {
        let keys = [Vkey::parse(PETER).unwrap()];
        for at in 0..NOTE.len() {
            for flip in [1_u8, 0x20, 0x80] {
                let mut bytes = NOTE.as_bytes().to_vec();
                bytes[at] ^= flip;
                let refused = std::str::from_utf8(&bytes).map_or(true, |n| open(n, &keys).is_err());
                assert!(refused, "byte {at} ^ {flip}");
            }
        }
    }

    #[test]
    fn signs_with_a_list_and_reads_its_own_keys() {
        let (a, b) = (Signer::new("a.example/x", &[1; 32]), Signer::new("a.example/x", &[2; 32]));
        let note = sign("hello\n", [&a, &b]);
        let opened = open(&note, &[b.vkey().clone(), a.vkey().clone()]).unwrap();
        assert_eq!((opened.text, opened.signers, opened.unknown), ("hello\n", vec![0, 1], 0));
        assert_eq!(open(&note, &[b.vkey().clone()]).unwrap().unknown, 1);
        let again = Signer::parse(&a.private_text()).unwrap();
        assert_eq!(again.vkey(), a.vkey());
        assert!(Signer::parse(&a.private_text().replace("a.example", "b.example")).is_err());
    }

    #[test]
    fn malformed_notes_and_keys() {
        for note in [
            "",
            "a\n",
            "a\n\n",
            "a\n\nb\n",
            "a\n\n\u{2014} x AA==\n",
            "\u{7}\n\n\u{2014} x AAAAAAAA\n",
        ] {
            check(note, &[PETER], false);
        }
        for key in
            ["", "a+b", "a+00000000+AQ==", &PETER.replace("c74f", "C74F"), &PETER.replace('P', "Q")]
        {
            assert!(matches!(Vkey::parse(key), Err(Error::Key(_))), "{key}");
        }
    }

    /// The neutral point as key and as R: with S = 0 it holds for any message, unless the check is strict.
    #[test]
    fn small_order_keys_verify_nothing() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let weak = Vkey::new("x", VerifyingKey::from_bytes(&neutral).unwrap());
        assert!(!verify_bytes(&weak, b"anything", &[neutral, [0; 32]].concat()));
        assert!(matches!(Vkey::parse(&weak.to_string()), Err(Error::Key(_))));
    }
}
