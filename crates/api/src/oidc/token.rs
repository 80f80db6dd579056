//! Which ID token counts (`OpenID` Connect Core 3.1.3.7): a pure function of the token, the provider's keys and the time.

use ledger::{system::SUBJECT_BYTES_MAX, time::Nanos};
use openidconnect::{
    AuthenticationContextClass, ClaimsVerificationError, ClientId, IssuerUrl, Nonce,
    SignatureVerificationError,
    core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};

/// Most seconds by which the clocks of a provider and this server may differ.
pub const SKEW_SECONDS: u64 = 60;
/// Oldest ID token, in seconds: it was made when the code was exchanged.
const TOKEN_SECONDS_MAX: u64 = 600;
/// Signatures that count: none by a shared secret, for its key may be the public one.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What a token must say.
pub struct Expected<'a> {
    /// The issuer.
    pub issuer: &'a IssuerUrl,
    /// This server as a client.
    pub client_id: &'a ClientId,
    /// Classes of authentication: one of them, if there are any.
    pub acr_values: &'a [String],
    /// The word of this sign-in.
    pub nonce: Nonce,
    /// The person signed in at the provider at this time or later.
    pub not_before: Nanos,
    /// The time of now.
    pub now: Nanos,
}

/// What a token that counts says.
#[derive(Debug)]
pub struct Said {
    /// The account at the provider.
    pub subject: String,
    /// When its person signed in there; never later than now.
    pub signed_in_at: Nanos,
}

/// Why a token does not count.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// It names a key that is not known. The provider may have a new one.
    #[error("it is signed by a key that the provider does not publish")]
    Key,
    /// The sign-in at the provider is too old, or its time is not in the token.
    #[error("{0}")]
    Age(&'static str),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Checks a token.
pub fn check(
    token: &CoreIdToken,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<Said, Untrusted> {
    let Expected { issuer, client_id, acr_values, nonce, not_before, now } = expected;
    let moment = chrono::DateTime::from_timestamp_nanos(now.0.try_into().unwrap_or(i64::MAX));
    let issued = |at: chrono::DateTime<chrono::Utc>| {
        let age = (moment - at).num_seconds();
        let fits = age <= i64::try_from(TOKEN_SECONDS_MAX).unwrap_or(0)
            && age >= -i64::try_from(SKEW_SECONDS).unwrap_or(0);
        if fits { Ok(()) } else { Err(format!("it was issued {age} s ago")) }
    };
    let verifier = CoreIdTokenVerifier::new_public_client(
        (*client_id).clone(),
        (*issuer).clone(),
        keys.clone(),
    )
    .set_allowed_algs(ALGORITHMS)
    .set_time_fn(move || moment)
    .set_issue_time_verifier_fn(issued)
    .set_auth_context_verifier_fn(|acr| one_of(acr_values, acr));
    let claims = token.claims(&verifier, nonce).map_err(|error| match error {
        ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::NoMatchingKey,
        ) => Untrusted::Key,
        other => Untrusted::Other(other.to_string()),
    })?;
    // The library leaves this one to its caller.
    if claims.authorized_party().is_some_and(|party| party != *client_id) {
        return Err(Untrusted::Other("it was made for another client (azp)".into()));
    }
    let subject = claims.subject().as_str();
    if !(1..=SUBJECT_BYTES_MAX).contains(&subject.len()) || ledger::json::text_has_control(subject)
    {
        return Err(Untrusted::Other("its subject is no text of 1 to 255 bytes".into()));
    }
    let seconds = claims.auth_time().map(|at| at.timestamp());
    let signed_in_at = signed_in_at(seconds, *not_before, *now).map_err(Untrusted::Age)?;
    Ok(Said { subject: subject.to_owned(), signed_in_at })
}

fn one_of(values: &[String], acr: Option<&AuthenticationContextClass>) -> Result<(), String> {
    let said = acr.map(|acr| acr.as_str());
    if values.is_empty() || said.is_some_and(|said| values.iter().any(|value| value == said)) {
        return Ok(());
    }
    Err(format!("the class of authentication is {said:?}, and acr_values demands {values:?}"))
}

/// When the person signed in at the provider, from `auth_time` in seconds.
fn signed_in_at(
    seconds: Option<i64>,
    not_before: Nanos,
    now: Nanos,
) -> Result<Nanos, &'static str> {
    let seconds = seconds.ok_or("it does not say when you signed in there (auth_time)")?;
    let seconds = u64::try_from(seconds).map_err(|_| "its auth_time is before 1970")?;
    let at = Nanos(0).plus_seconds(seconds);
    if at > now.plus_seconds(SKEW_SECONDS) {
        return Err("its auth_time is in the future");
    }
    if at.plus_seconds(SKEW_SECONDS) < not_before {
        return Err("your sign-in there is too old, and it did not ask you again");
    }
    Ok(at.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn check(seconds: Option<i64>, not_before: u64, expected: Option<u64>) {
        let moment = |seconds| Nanos(0).plus_seconds(seconds);
        let found = signed_in_at(seconds, moment(not_before), moment(NOW));
        assert_eq!(found.ok(), expected.map(moment), "{seconds:?} {not_before}");
    }

    #[test]
    fn p7_the_age_of_a_sign_in_is_in_the_token() {
        check(Some(999_000), 999_000, Some(999_000));
        check(Some(999_000), 999_060, Some(999_000));
        check(Some(999_000), 999_061, None);
        check(Some(1_000_060), 999_000, Some(NOW));
        check(Some(1_000_061), 999_000, None);
        check(None, 0, None);
        check(Some(-1), 0, None);
        check(Some(i64::MAX), 0, None);
    }

    #[test]
    fn p7_a_class_of_authentication_is_one_of_those_that_are_demanded() {
        let demanded = ["mfa".to_owned(), "phr".to_owned()];
        let acr = |text: &str| AuthenticationContextClass::new(text.into());
        assert!(one_of(&[], None).is_ok());
        assert!(one_of(&demanded, Some(&acr("phr"))).is_ok());
        for said in [None, Some(acr("pwd")), Some(acr("")), Some(acr("mfa phr"))] {
            assert!(one_of(&demanded, said.as_ref()).is_err(), "{said:?}");
        }
    }
}
