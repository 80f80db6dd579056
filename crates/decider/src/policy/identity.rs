//! What denies a call before any clause because of its agent's token, or of the decision from which it follows.

use super::{
    facts::Facts,
    proven::{ParentFact, TokenFact},
    request::Request,
};

/// Code of a denial because the call names a tool that is not in the scope of its agent's token.
const TOKEN_SCOPE: &str = "token_scope";
/// Code of a denial because the call is not of the region of its agent's token.
const TOKEN_REGION: &str = "token_region";
/// Code of a denial because the call names a parent that is no decision of this log.
const PARENT_UNKNOWN: &str = "parent_unknown";

/// Why the call is denied whatever the clauses say.
pub(super) fn refused(request: &Request<'_>, facts: &Facts) -> Option<&'static str> {
    let token = match &facts.token {
        Some(TokenFact::Refused { refused }) => Some(refused.code()),
        Some(TokenFact::Counts { scope, .. }) if !scope.contains(&request.tool) => {
            Some(TOKEN_SCOPE)
        }
        Some(TokenFact::Counts { region, .. }) if region.is_some() && *region != request.region => {
            Some(TOKEN_REGION)
        }
        Some(TokenFact::Counts { .. }) | None => None,
    };
    let missing = matches!(facts.parent, Some(ParentFact::Missing { .. }));
    token.or(missing.then_some(PARENT_UNKNOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_scope_and_region_are_checked_before_any_clause() {
        let check = |fact: &str, region: &str, expected: Option<&str>| {
            let text = format!(
                r#"{{"agent":{{"id":"bot"}},"context":{{{region}}},"params":{{}},"tool":{{"action":"send","name":"mail"}}}}"#
            );
            let body = ledger::json::parse(text.as_bytes()).unwrap();
            let request = Request::read(&body).unwrap();
            let token = serde_json::from_str(fact).unwrap();
            let facts = Facts { token: Some(token), ..Facts::default() };
            assert_eq!(refused(&request, &facts), expected, "{fact} {region}");
        };
        let eu = r#""region":"eu""#;
        check(r#"{"jti":"1-3","scope":["mail"]}"#, "", None);
        check(r#"{"jti":"1-3","scope":["bank"]}"#, "", Some("token_scope"));
        check(r#"{"jti":"1-3","scope":["mail"],"region":"eu"}"#, eu, None);
        check(r#"{"jti":"1-3","scope":["mail"],"region":"us"}"#, eu, Some("token_region"));
        check(r#"{"jti":"1-3","scope":["mail"],"region":"eu"}"#, "", Some("token_region"));
        check(r#"{"refused":"token_expired"}"#, eu, Some("token_expired"));
    }
}
