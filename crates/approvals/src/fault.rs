//! Points at which a test may end the process. They exist only with the feature `fault-points`, never in a
//! shipped binary.

/// Ends the process here, as `kill -9` would, when the environment variable `COUNTERSIGN_FAULT` names this point.
///
/// `COUNTERSIGN_FAULT=<name>` at its first time, `<name>:<k>` at its k-th.
#[cfg(feature = "fault-points")]
#[allow(clippy::disallowed_methods, reason = "a test's switch, absent from the shipped binary")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("COUNTERSIGN_FAULT") else { return };
    let (wanted, at) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if wanted == name && Some(SEEN.fetch_add(1, Ordering::SeqCst) + 1) == at.parse().ok() {
        std::process::abort();
    }
}

/// Does nothing: this build has no fault points.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn point(_name: &str) {}
