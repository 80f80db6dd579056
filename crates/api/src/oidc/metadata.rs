//! What a provider says of itself: its discovery document and its keys.

use openidconnect::{
    AdditionalProviderMetadata, ProviderMetadata,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType,
        CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
        CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
    },
};
use serde::{Deserialize, Serialize};
use url::Url;

/// The discovery document, with its keys.
pub type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// What the library does not know of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct More {
    /// True if each answer names its issuer (RFC 9207).
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    /// Where a browser is sent to sign out there (`OpenID` Connect RP-Initiated Logout 1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_session_endpoint: Option<Url>,
}

impl AdditionalProviderMetadata for More {}

/// Whether the issuer that an answer names is the one that was asked. If another provider answers, its code must not come here
/// (RFC 9207). A provider that says it names itself must do so.
pub fn is_from(metadata: &Metadata, named: Option<&str>) -> bool {
    let must = metadata.additional_metadata().authorization_response_iss_parameter_supported;
    named.map_or(!must, |named| named == metadata.issuer().as_str())
}

/// Where a browser is sent to sign out at the provider, if it has such an address.
pub fn end_session(metadata: &Metadata) -> Option<&Url> {
    metadata.additional_metadata().end_session_endpoint.as_ref()
}

/// True if the client's secret goes into the body, because the provider takes it there alone.
pub fn wants_secret_in_body(metadata: &Metadata) -> bool {
    let taken = metadata.token_endpoint_auth_methods_supported();
    taken.is_some_and(|taken| {
        taken.contains(&CoreClientAuthMethod::ClientSecretPost)
            && !taken.contains(&CoreClientAuthMethod::ClientSecretBasic)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(more: &str, named: Option<&str>, fits: bool) {
        let text = format!(
            r#"{{"issuer":"https://id.example","authorization_endpoint":"https://id.example/a","jwks_uri":
            "https://id.example/k","response_types_supported":["code"],"subject_types_supported":["public"],
            "id_token_signing_alg_values_supported":["RS256"]{more}}}"#
        );
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        assert_eq!(is_from(&metadata, named), fits, "{more} {named:?}");
    }

    #[test]
    fn p7_an_answer_of_another_provider_is_refused() {
        let must = r#","authorization_response_iss_parameter_supported":true"#;
        check("", None, true);
        check(must, None, false);
        for more in ["", must] {
            check(more, Some("https://id.example"), true);
            check(more, Some("https://id.example/"), false);
            check(more, Some("https://other.example"), false);
            check(more, Some(""), false);
        }
    }
}
