//! Slack's signature over a request: HMAC-SHA256 of `v0:<timestamp>:<raw body>`, checked by slack-morphism.

use ledger::time::Nanos;
use slack_morphism::{SlackSigningSecret, signature_verifier::SlackEventSignatureVerifier};
use zeroize::Zeroizing;

/// Largest difference between a timestamp and our clock, in seconds.
const SKEW_SECONDS_MAX: u64 = 300;

/// The verifiers of one app: one for each secret. There are two while the secret is being changed.
pub(super) struct Verifiers(Vec<SlackEventSignatureVerifier>);

impl Verifiers {
    /// The library keeps each secret as text. These are the only copies; they exist until the process ends.
    pub(super) fn new(secrets: Vec<Zeroizing<String>>) -> Self {
        let verifier = |secret: Zeroizing<String>| {
            SlackEventSignatureVerifier::new(&SlackSigningSecret(secret.as_str().to_owned()))
        };
        Self(secrets.into_iter().map(verifier).collect())
    }

    /// True if Slack signed this body within five minutes of `now`.
    pub(super) fn accept(&self, timestamp: &str, signature: &str, body: &str, now: Nanos) -> bool {
        // Accept decimal digits only, so that a signed timestamp has one spelling.
        let digits =
            (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|b| b.is_ascii_digit());
        let near = |at: u64| at.abs_diff(now.seconds()) <= SKEW_SECONDS_MAX;
        if !digits || !timestamp.parse().is_ok_and(near) {
            return false;
        }
        // Try every secret, so that the time taken does not reveal which one fits.
        let accepted = self.0.iter().filter(|v| v.verify(signature, body, timestamp).is_ok());
        accepted.count() > 0
    }
}
