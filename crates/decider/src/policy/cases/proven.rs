//! What a test says is proven of its call: the token of its agent, and the decision from which it follows.

use super::values::{sorted, value_of};
use crate::policy::{
    bundle::Bundle,
    facts::Facts,
    fields::MapReader,
    proven::{ParentFact, TokenFact, TokenFault},
};
use ledger::{event::Verdict, json::Value};

/// What is proven of a call.
#[derive(Clone, Debug)]
pub(super) struct Given {
    verified: bool,
    token: Option<TokenFact>,
    parent: Option<Before>,
}

/// The decision from which a call follows.
#[derive(Clone, Debug)]
enum Before {
    /// No decision of the log.
    Missing,
    /// One about this call.
    Call { tool: String, action: String, verdict: Verdict, params: Value<'static> },
}

impl Given {
    /// Adds it to the facts of a call with these params.
    pub(super) fn added(&self, facts: Facts, bundle: &Bundle, params: &Value<'_>) -> Facts {
        let parent = self.parent.as_ref().map(|before| match before {
            Before::Missing => ParentFact::missing(),
            Before::Call { tool, action, verdict, params: before } => {
                bundle.parent_of_test((tool, action, *verdict), before, params)
            }
        });
        let counts = matches!(self.token, Some(TokenFact::Counts { .. }));
        Facts { verified: self.verified || counts, token: self.token.clone(), parent, ..facts }
    }
}

pub(super) fn read(fields: &mut MapReader<'_>) -> Given {
    let verified = fields.flag("verified").unwrap_or(false);
    let token = fields.fields("token").and_then(token);
    if verified && matches!(token, Some(TokenFact::Refused { .. })) {
        fields.wrong(fields.at, "a token that is refused verifies nothing: remove verified");
    }
    Given { verified, token, parent: fields.fields("parent").and_then(parent) }
}

/// `token: {scope: [mail], region: eu}`, or `token: {refused: token_expired}`.
fn token(mut fields: MapReader<'_>) -> Option<TokenFact> {
    let refused = fields.text("refused");
    let scope = fields.texts("scope");
    let region = fields.text("region").map(|(region, _)| region);
    let at = fields.at;
    let found = match (refused, scope) {
        (Some((code, place)), None) if region.is_none() => {
            let fault = TokenFault::ALL.iter().find(|(_, known)| *known == code);
            if fault.is_none() {
                let known: Vec<&str> = TokenFault::ALL.iter().map(|(_, code)| *code).collect();
                fields.wrong(place, format!("{code:?}: refused is {}", known.join(", ")));
            }
            fault.map(|(refused, _)| TokenFact::Refused { refused: *refused })
        }
        (None, Some(scope)) => {
            let scope = scope.into_iter().map(|(tool, _)| tool).collect();
            Some(TokenFact::Counts { jti: "test".to_owned(), scope, region })
        }
        _ => {
            fields.wrong(at, "a token has scope: [tools] and perhaps region; or refused: a code");
            None
        }
    };
    fields.finish();
    found
}

/// `parent: {tool: crm, action: read, params: {iban: …}}`, or `parent: {missing: true}`.
fn parent(mut fields: MapReader<'_>) -> Option<Before> {
    if fields.flag("missing") == Some(true) {
        fields.finish();
        return Some(Before::Missing);
    }
    let tool = fields.text("tool").map(|(tool, _)| tool);
    let action = fields.text("action").map(|(action, _)| action);
    let verdict = super::verdict(&mut fields, "verdict").unwrap_or(Verdict::Allow);
    let params = fields.take("params").map(|node| sorted(value_of(&node)));
    let params = params.unwrap_or_else(|| Value::Object(Vec::new()));
    if tool.is_none() || action.is_none() {
        fields.wrong(
            fields.at,
            "a parent has tool and action, and perhaps params and verdict; or missing: true",
        );
    }
    fields.finish();
    Some(Before::Call { tool: tool?, action: action?, verdict, params })
}
