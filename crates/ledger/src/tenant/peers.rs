//! How the other replicas of a log stand, and what a person must see of it.

use std::time::Instant;

/// How another replica stands.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Tree size that it has posted.
    pub posted: u64,
    /// Journal sequence up to which it has posted.
    pub journal: u64,
    /// Tree size that it last cosigned.
    pub cosigned: u64,
    /// Tree size that it shows.
    pub shown: u64,
    /// Digest of the set of replicas that it holds to be in force; `None` if it did not say.
    pub set: Option<String>,
    /// When it last answered.
    pub heard: Option<Instant>,
    /// Why it did not answer or cosign the last time.
    pub says: Option<String>,
}

/// What must be seen by a person.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    /// Values of the register that were ignored, and what was wrong with the last one.
    pub ignored: (u64, String),
    /// Whose tree differs from this replica's.
    pub differs: Option<String>,
}
