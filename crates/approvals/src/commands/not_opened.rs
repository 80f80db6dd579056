//! Why a decision opened no approval, and how many did not.

use decider::decision::{NONCE_BYTES, NotPaused};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Why a decision opened nothing (`proto/errors.md`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// It needs no approval.
    NotNeeded,
    /// Its gateway only watches.
    Shadow,
    /// Its call can't be shown: params or nonce are absent, erased, or of another form.
    NoCall,
    /// It names no digest.
    NoDigest,
    /// It names the digest of another call.
    DigestMismatch {
        /// The digest that we compute.
        computed: String,
    },
    /// Its approval deadline was over before anybody could be asked.
    TooOld,
    /// No rule is for its call.
    NoRule,
}

impl NotOpened {
    /// Its stable name, as the metric has it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotNeeded => "not_needed",
            Self::Shadow => "shadow",
            Self::NoCall => "no_call",
            Self::NoDigest => "no_digest",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::TooOld => "too_old",
            Self::NoRule => "no_rule",
        }
    }

    /// What the data plane must do.
    pub fn advice(&self) -> String {
        let advice = match self {
            Self::NotNeeded => "Only a decision with verdict approval_needed opens an approval.",
            Self::Shadow => "A decision in shadow mode pauses no call.",
            Self::NoCall => {
                let (min, max) = (NONCE_BYTES.start(), NONCE_BYTES.end());
                return format!(
                    "Send data.payload.params, and data.payload.nonce as a text of {min} to {max} bytes: without them \
                     nobody can see what to approve."
                );
            }
            Self::NoDigest => "Send data.call.digest, computed as proto/formats/event.md says.",
            Self::DigestMismatch { computed } => {
                return format!(
                    "data.call.digest is not the digest of this call; compute it as proto/formats/event.md says. From \
                     what you sent this server computes {computed}. If yours differs, compare the RFC 8785 forms: there \
                     12.0 is written 12, and 1e-7 is 1e-7."
                );
            }
            Self::TooOld => {
                "The decision is older than its approval deadline, by its own time or the journal's: publish a new one."
            }
            Self::NoRule => "No rule is in force for this call; its operator must apply rules.",
        };
        advice.to_owned()
    }
}

impl From<NotPaused> for NotOpened {
    fn from(why: NotPaused) -> Self {
        match why {
            NotPaused::NotAnEntry | NotPaused::NotADecision | NotPaused::Verdict(_) => {
                Self::NotNeeded
            }
            NotPaused::Shadow => Self::Shadow,
            NotPaused::Malformed(_) | NotPaused::Absent(_) | NotPaused::Nonce => Self::NoCall,
            NotPaused::NoDigest { .. } => Self::NoDigest,
            NotPaused::Digest { computed, .. } => Self::DigestMismatch { computed },
        }
    }
}

impl NotOpened {
    /// True if an entry says so. A call that was not paused needs no approval.
    pub(super) fn is_said(&self) -> bool {
        !matches!(self, Self::NotNeeded | Self::Shadow)
    }
}

/// Number of decisions since start that needed approval and opened none, by reason.
#[derive(Clone, Default)]
pub(crate) struct NotOpenedCounts(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl NotOpenedCounts {
    pub fn add(&self, reason: &'static str) {
        let mut counts = self.0.lock().expect("no holder of the lock panics");
        *counts.entry(reason).or_default() += 1;
    }

    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.lock().expect("no holder of the lock panics");
        counts.iter().map(|(reason, count)| (*reason, *count)).collect()
    }
}
