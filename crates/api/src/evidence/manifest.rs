//! The manifest: what was asked, and every file with its digest. It is written last, so a folder without it is
//! incomplete.

use super::{Disclose, Error, Log, Request};
use data_encoding::HEXLOWER;
use ledger::{
    time::Nanos,
    verify::period::{Period, Range},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Version of the form of the folder.
const VERSION: u32 = 1;
/// This program's version: another one may write other texts.
pub const PRODUCT: &str = env!("CARGO_PKG_VERSION");

/// Files by path, with their SHA-256 in hex.
pub type Digests = BTreeMap<String, String>;

/// SHA-256 in hex, as `sha256sum` prints it.
pub fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// The manifest of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    v: u32,
    /// Version of the program that wrote it.
    pub product: String,
    origin: String,
    from: String,
    to: String,
    begin: u64,
    end: u64,
    size: u64,
    root: String,
    /// The auditor's text.
    pub auditor_seed: Option<String>,
    samples: usize,
    disclose: Disclose,
    /// False if something is missing; the README says what.
    pub whole: bool,
    /// Every other file but the signed statement.
    pub files: Digests,
}

impl Manifest {
    /// Of what was asked, and what was written.
    pub fn new(log: &Log<'_>, request: &Request, whole: bool, files: Digests) -> Self {
        let signed = log.signed();
        Self {
            v: VERSION,
            product: PRODUCT.into(),
            origin: signed.origin.clone(),
            from: request.period.from.to_string(),
            to: request.period.to.to_string(),
            begin: log.range.begin,
            end: log.range.end,
            size: signed.size,
            root: signed.root.to_string(),
            auditor_seed: request.auditor_seed.clone(),
            samples: request.samples,
            disclose: request.disclose,
            whole,
            files,
        }
    }

    /// Reads it.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |what: String| Error::file("manifest.json", what);
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| wrong(format!("no manifest: {error}")))?;
        if manifest.v != VERSION {
            return Err(wrong(format!("version {}; this program reads {VERSION}", manifest.v)));
        }
        Ok(manifest)
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        super::pretty(&json!(self))
    }

    /// What was asked.
    pub fn request(&self) -> Result<Request, Error> {
        let time = |text: &str| {
            let wrong = || Error::file("manifest.json", format!("{text} is no time"));
            Nanos::parse(text).ok_or_else(wrong)
        };
        Ok(Request {
            period: Period { from: time(&self.from)?, to: time(&self.to)? },
            auditor_seed: self.auditor_seed.clone(),
            samples: self.samples.min(super::SAMPLES_MAX),
            disclose: self.disclose,
        })
    }

    /// The entries that it says are those of the period.
    pub fn range(&self) -> Range {
        Range { begin: self.begin, end: self.end }
    }
}
