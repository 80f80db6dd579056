//! Slack's signature over a request: HMAC-SHA256 of `v0:<timestamp>:<raw body>`, checked by slack-morphism.

use ledger::time::Nanos;
use slack_morphism::{SlackSigningSecret, signature_verifier::SlackEventSignatureVerifier};
use zeroize::Zeroizing;

/// Oldest and newest timestamp that is taken, in seconds from now.
const SKEW_SECONDS_MAX: u64 = 300;

/// The verifiers of one app: one secret, or two while it is changed.
pub(super) struct Verifiers(Vec<SlackEventSignatureVerifier>);

impl Verifiers {
    /// The library keeps each secret as text; these are the only copies, and live as long as the process.
    pub(super) fn new(secrets: Vec<Zeroizing<String>>) -> Self {
        let verifier = |secret: Zeroizing<String>| {
            SlackEventSignatureVerifier::new(&SlackSigningSecret(secret.as_str().to_owned()))
        };
        Self(secrets.into_iter().map(verifier).collect())
    }

    /// Whether Slack sent this body, within five minutes of `now`.
    pub(super) fn accept(&self, timestamp: &str, signature: &str, body: &str, now: Nanos) -> bool {
        // Decimal digits alone: what is signed has one spelling.
        let digits =
            (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
        let near = |at: u64| at.abs_diff(now.seconds()) <= SKEW_SECONDS_MAX;
        if !digits || !timestamp.parse().is_ok_and(near) {
            return false;
        }
        // Both are tried, so that the time taken says nothing about which secret it was.
        let accepted = self.0.iter().filter(|v| v.verify(signature, body, timestamp).is_ok());
        accepted.count() > 0
    }
}
