//! Evidence: a folder that answers an auditor's request list offline (`proto/formats/evidence.md`).
//!
//! The folder holds the proven entries of a period, below `proof/`, and what follows from them. The same function writes
//! it and verifies it: whoever verifies derives every file again from `proof/` and compares the bytes. So no figure can
//! stand in it that the entries do not give.

mod agents;
mod approvals;
mod availability;
mod budgets;
mod changes;
mod controls;
mod deliveries;
mod derive;
mod executions;
mod figures;
mod findings;
mod gone;
mod later;
mod log;
mod manifest;
mod oscal;
mod payload;
mod plot;
mod population;
mod privacy;
mod read;
mod report;
mod samples;
mod sign_ins;
mod sources;
mod statement;
mod table;
mod values;
mod verdicts;
mod versions;
mod watched;
mod words;

pub use derive::{Conclusion, derive};
pub use gone::{EXPIRED, Gone};
#[cfg(feature = "server")]
pub use log::policy_path;
pub use log::{Files, Log};
pub use manifest::{Digests, Manifest, PRODUCT, digest};
#[cfg(feature = "server")]
pub use statement::envelope;
pub use statement::{STATEMENT, check as check_statement};

use figures::Computed;

use data_encoding::BASE64URL_NOPAD;
use ledger::verify::{self, period::Period};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Most samples of one control.
pub const SAMPLES_MAX: usize = 10_000;

/// Which payload evidence may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disclose {
    /// None.
    None,
    /// Of the entries that were drawn as samples, and the words of reasons.
    Samples,
    /// Of every decision of the period, and what `Samples` gives.
    All,
}

/// What evidence is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The period.
    pub period: Period,
    /// The auditor's text.
    pub auditor_seed: Option<String>,
    /// Number of samples of each control.
    pub samples: usize,
    /// Which payload it holds.
    pub disclose: Disclose,
}

/// Why evidence can't be made, or is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log does not verify.
    #[error(transparent)]
    Log(#[from] verify::Error),
    /// A file is wrong.
    #[error("{place}: {what}")]
    File {
        /// Its path in the evidence.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A file can't be read or written.
    #[error("{0}")]
    Unreadable(String),
    /// Whoever has the files does not give one, for a reason that has an exit status of its own.
    #[cfg_attr(not(feature = "server"), expect(dead_code, reason = "a verifier alone reads files"))]
    #[error("{text}")]
    Refused {
        /// Exit status.
        code: u8,
        /// Why, and what to do.
        text: String,
    },
}

impl Error {
    fn file(place: &str, what: String) -> Self {
        Self::File { place: place.to_owned(), what }
    }
}

/// Takes the files that follow from the proven entries: writes them, or compares them.
pub trait Out {
    /// Takes a file, by its path in the evidence.
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error>;
}

/// SHA-256 in base64url, as policy entries have it.
pub fn sha256(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(bytes))
}

/// JSON for people and programs, with sorted members.
fn pretty(value: &serde_json::Value) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("JSON of texts and numbers");
    text.push(b'\n');
    text
}
