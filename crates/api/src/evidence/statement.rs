//! An in-toto statement about all files of the evidence, in a DSSE envelope (in-toto Attestation Framework v1; DSSE 1.0):
//! who made the folder. What the folder says is proven without it.

use super::{Conclusion, Error, Manifest, digest};
use data_encoding::BASE64;
#[cfg(feature = "server")]
use ledger::log::note::Signer;
use ledger::log::note::{Vkey, verify_bytes};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Its file in the folder.
pub const STATEMENT: &str = "statement.dsse.json";
/// Media type of what is signed.
const TYPE: &str = "application/vnd.in-toto+json";
/// Type of what is said about the files.
const PREDICATE: &str = "urn:countersign:evidence:v1";

#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(rename = "payloadType")]
    kind: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// What is signed: every file with its digest, and what the evidence concludes.
fn payload(manifest: &Manifest, conclusion: &Conclusion) -> String {
    let of_manifest = digest(&manifest.bytes());
    let mut subjects = vec![json!({"name": "manifest.json", "digest": {"sha256": of_manifest}})];
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
    statement.to_string()
}

/// DSSE's pre-authentication encoding: with lengths in bytes, so that nothing can move between type and body.
fn encoded(payload: &str) -> Vec<u8> {
    format!("DSSEv1 {} {TYPE} {} {payload}", TYPE.len(), payload.len()).into_bytes()
}

/// The envelope, signed.
#[cfg(feature = "server")]
pub fn envelope(manifest: &Manifest, conclusion: &Conclusion, signer: &Signer) -> Vec<u8> {
    let payload = payload(manifest, conclusion);
    let signature = signer.sign_bytes(&encoded(&payload));
    let (keyid, sig) = (signer.vkey().label(), BASE64.encode(&signature));
    let envelope = Envelope {
        kind: TYPE.into(),
        payload: BASE64.encode(payload.as_bytes()),
        signatures: vec![Signature { keyid, sig }],
    };
    super::pretty(&json!(envelope))
}

/// Checks an envelope: it is about exactly this evidence, and the key, if there is one, signed it.
pub fn check(
    bytes: &[u8],
    (manifest, conclusion): (&Manifest, &Conclusion),
    key: Option<&Vkey>,
) -> Result<(), Error> {
    let wrong = |what: &str| Error::file(STATEMENT, what.to_owned());
    let envelope: Envelope =
        serde_json::from_slice(bytes).map_err(|_| wrong("no DSSE envelope"))?;
    let payload = payload(manifest, conclusion);
    if envelope.kind != TYPE || envelope.payload != BASE64.encode(payload.as_bytes()) {
        return Err(wrong("it is about other files than these"));
    }
    let Some(key) = key else { return Ok(()) };
    let signed = envelope.signatures.iter().any(|signature| {
        let bytes = BASE64.decode(signature.sig.as_bytes()).unwrap_or_default();
        verify_bytes(key, &encoded(&payload), &bytes)
    });
    if signed { Ok(()) } else { Err(wrong("the given key has not signed it")) }
}
