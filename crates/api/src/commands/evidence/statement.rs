//! An in-toto statement over all files of the evidence, in a DSSE envelope (in-toto Attestation Framework v1; DSSE 1.0).

use super::{EXIT_UNREADABLE, Failed};
use crate::{
    evidence::{Conclusion, Manifest, digest},
    terminal::say,
};
use data_encoding::BASE64;
use ledger::{atomic, keyring, log::note::Signer};
use serde_json::json;
use std::path::Path;

/// Its file in the folder.
pub const NAME: &str = "statement.dsse.json";
/// Media type of what is signed.
const TYPE: &str = "application/vnd.in-toto+json";
/// Type of what is said about the files.
const PREDICATE: &str = "urn:countersign:evidence:v1";
/// Largest file of a key, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

/// Makes a key. The public half is printed: whoever verifies needs it from you.
pub fn new_key(path: &Path) -> Result<(), Failed> {
    let signer = Signer::new("countersign-evidence", &keyring::random32());
    atomic::create(path, format!("{}\n", signer.private_text().as_str()).as_bytes())?;
    say(&signer.vkey().to_string());
    Ok(())
}

/// Reads a key.
pub fn signer(path: &Path) -> Result<Signer, Failed> {
    let unreadable =
        |what: String| Failed::new(EXIT_UNREADABLE, format!("{}: {what}", path.display()));
    let text = zeroize::Zeroizing::new(atomic::read(path, KEY_BYTES_MAX)?.ok_or_else(|| {
        unreadable(
            "no such file; make a key with `countersign evidence --new-signing-key FILE`".into(),
        )
    })?);
    let text = std::str::from_utf8(&text).map_err(|_| unreadable("not a key".into()))?;
    Signer::parse(text.trim()).map_err(|error| unreadable(error.to_string()))
}

/// The envelope, signed.
pub fn envelope(manifest: &Manifest, conclusion: &Conclusion, signer: &Signer) -> Vec<u8> {
    let bytes = manifest.bytes();
    let mut subjects = vec![json!({"name": "manifest.json", "digest": {"sha256": digest(&bytes)}})];
    let subject =
        |(name, digest): (&String, &String)| json!({"name": name, "digest": {"sha256": digest}});
    subjects.extend(manifest.files.iter().map(subject));
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "product": manifest.product, "whole": manifest.whole, "decisions": conclusion.decisions,
            "exceptions": conclusion.exceptions, "missing": conclusion.missing,
        },
    });
    let payload = statement.to_string();
    // DSSE's pre-authentication encoding: lengths in bytes, so that type and body can't be shifted.
    let signed = format!("DSSEv1 {} {TYPE} {} {payload}", TYPE.len(), payload.len());
    let signature = signer.sign_bytes(signed.as_bytes());
    let envelope = json!({
        "payloadType": TYPE,
        "payload": BASE64.encode(payload.as_bytes()),
        "signatures": [{"keyid": signer.vkey().label(), "sig": BASE64.encode(&signature)}],
    });
    format!("{envelope}\n").into_bytes()
}
