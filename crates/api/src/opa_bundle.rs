//! A bundle as OPA loads it: a tar archive in gzip whose bytes follow from its files and the key, and a signature over the
//! digest of each file (ES256). What it says is made by `decider`.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use flate2::{Compression, GzBuilder};
use ledger::atomic;
use p256::{
    ecdsa::{Signature, SigningKey, signature::Signer as _},
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    io::{self, Write as _},
    path::Path,
};
use zeroize::Zeroizing;

/// Longest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 16 << 10;
/// Bytes of a block of an archive.
const BLOCK: usize = 512;
/// Letters of a key's id that nobody chose.
const ID_LETTERS: usize = 16;

/// The key that signs bundles.
pub struct BundleKey {
    signing: SigningKey,
    /// By which OPA finds the public key in its configuration.
    pub id: String,
}

impl BundleKey {
    /// Reads the key from a file. Errors: why it can't be read, or what the file must be.
    pub fn of_file(path: &Path, id: Option<&str>) -> Result<Self, String> {
        let pem = atomic::read(path, KEY_BYTES_MAX).map_err(|error| error.to_string())?;
        let pem = pem
            .ok_or("there is no such file: `countersign policy export-opa --new-key` makes one")?;
        let pem = Zeroizing::new(pem);
        let pem = str::from_utf8(&pem).map_err(|_| "a key in PEM is text")?;
        Self::read(pem, id).map_err(|why| format!("this must be {why}"))
    }

    /// Reads a P-256 key from PEM (PKCS #8). `id`: its name; without one a digest of the public key.
    ///
    /// Errors: what the file must be.
    fn read(pem: &str, id: Option<&str>) -> Result<Self, String> {
        let signing = SigningKey::from_pkcs8_pem(pem);
        let signing = signing.map_err(|_| {
            "a P-256 key in PEM (PKCS #8), as `countersign policy export-opa --new-key` makes one"
        })?;
        let mut key = Self { signing, id: id.unwrap_or_default().to_owned() };
        if id.is_none() {
            let digest = BASE64URL_NOPAD.encode(&Sha256::digest(key.public_pem()));
            digest[..ID_LETTERS].clone_into(&mut key.id);
        }
        Ok(key)
    }

    /// A new key in PEM. `None`: the random bytes are no key, which happens once in 2^32.
    pub fn make(random: &[u8; 32]) -> Option<Zeroizing<String>> {
        SigningKey::from_slice(random).ok()?.to_pkcs8_pem(LineEnding::LF).ok()
    }

    /// The public key in PEM, for `opa run --verification-key`.
    pub fn public_pem(&self) -> String {
        let public = self.signing.verifying_key().to_public_key_pem(LineEnding::LF);
        public.expect("a key of ours can be written")
    }

    /// The signature over the files, as OPA reads it. `scope`: for whom the bundle is.
    fn signatures(&self, files: &[(String, Vec<u8>)], scope: Option<&str>) -> Vec<u8> {
        let file = |(name, bytes): &(String, Vec<u8>)| json!({"name": name, "hash": HEXLOWER.encode(&Sha256::digest(bytes)), "algorithm": "SHA-256"});
        let files: Vec<_> = files.iter().map(file).collect();
        let mut claims = json!({"files": files, "iss": "countersign"});
        if let Some(scope) = scope {
            claims["scope"] = json!(scope);
        }
        let header = json!({"alg": "ES256", "kid": self.id, "typ": "JWT"});
        let part = |value: &serde_json::Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        // RFC 6979: no random number, so the same bundle has the same bytes.
        let signature: Signature = self.signing.sign(signed.as_bytes());
        let signature = BASE64URL_NOPAD.encode(&signature.to_bytes());
        json!({"signatures": [format!("{signed}.{signature}")]}).to_string().into_bytes()
    }
}

/// The archive of these files with their signature.
pub fn packed(
    files: &[(String, Vec<u8>)],
    key: &BundleKey,
    scope: Option<&str>,
) -> io::Result<Vec<u8>> {
    let signatures = (".signatures.json".to_owned(), key.signatures(files, scope));
    let mut all: Vec<&(String, Vec<u8>)> = files.iter().chain([&signatures]).collect();
    all.sort_unstable();
    // No time and no name in the header.
    let mut packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    for (name, bytes) in all {
        packed.write_all(&header(name, bytes.len()))?;
        packed.write_all(bytes)?;
        packed.write_all(&vec![0; bytes.len().next_multiple_of(BLOCK) - bytes.len()])?;
    }
    packed.write_all(&[0; 2 * BLOCK])?;
    packed.finish()
}

/// The header of a file in the archive (POSIX ustar): nobody's, readable, of no time.
fn header(name: &str, length: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    for (at, text) in [(100, "0000644\0"), (108, "0000000\0"), (116, "0000000\0")] {
        put(at, text);
    }
    put(124, &format!("{length:011o}\0"));
    put(136, "00000000000\0");
    // The sum is taken with blanks in its own place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
