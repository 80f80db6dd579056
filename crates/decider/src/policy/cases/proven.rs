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

#[cfg(test)]
mod tests {
    use crate::policy::{Bundle, Source, cases};

    const AGENTS: &str = "language: 1\nagents: [{id: bot, owners: [p-ana], gateways: [gw-1]}]\n";
    const TOOLS: &str = "language: 1
tools:
  - {name: crm, actions: [{name: read, effect: read}]}
  - {name: bank, actions: [{name: pay, effect: write}]}
";
    const POLICY: &str = "language: 1
policy: p
clauses:
  - {id: proven, tool: crm, actions: [read], then: allow, when: {identity: verified}}
  - {id: same, tool: bank, actions: [pay], then: allow, when: {parent: {tool: crm, actions: [read], unchanged: [/iban]}}}
  - {id: chained, tool: bank, actions: [pay], then: deny, when: {params: {/odd: {present: true}}, chain: {verified: true}}}
";
    const CALLS: &str = "language: 1
now: \"2026-11-27T10:00:00Z\"
calls:
  read: {agent: {id: bot}, tool: {name: crm, action: read}, params: {}}
  pay: {agent: {id: bot, chain: [bot]}, tool: {name: bank, action: pay}, params: {iban: DE1}}
tests:
";

    /// `None`: the test passes. Otherwise what is said of it.
    fn check(test: &str, says: Option<&str>) {
        let file = format!("{CALLS}  - {{{test}}}\n");
        let files = [
            ("agents.yaml", AGENTS),
            ("policies/p.yaml", POLICY),
            ("tests/t.yaml", file.as_str()),
            ("tools.yaml", TOOLS),
        ];
        let sources = files.map(|(path, text)| Source { path, bytes: text.as_bytes() });
        let bundle = Bundle::read(&sources).unwrap();
        let wrong = match cases::read(&sources) {
            Ok(cases) => {
                cases::run(&bundle, &cases).into_iter().map(|wrong| wrong.mistake.text).collect()
            }
            Err(mistakes) => mistakes.into_iter().map(|m| m.text).collect::<Vec<_>>(),
        };
        match says {
            None => assert!(wrong.is_empty(), "{test}: {wrong:?}"),
            Some(says) => {
                assert!(wrong.iter().any(|text| text.contains(says)), "{test}: {wrong:?}");
            }
        }
    }

    #[test]
    fn p16_what_is_proven_of_a_call_decides() {
        check("call: read, verdict: deny, reason: no_clause", None);
        check("call: read, verified: true, verdict: allow", None);
        check("call: read, token: {scope: [crm]}, verdict: allow", None);
        check(
            "call: read, token: {scope: [crm], region: eu}, verdict: deny, reason: token_region",
            None,
        );
        check("call: read, token: {scope: [bank]}, verdict: deny, reason: token_scope", None);
        check(
            "call: read, token: {refused: token_revoked}, verdict: deny, reason: token_revoked",
            None,
        );
        check(
            "call: read, token: {refused: revoked}, verdict: deny",
            Some("refused is token_malformed"),
        );
        check(
            "call: read, token: {refused: token_revoked, scope: [crm]}, verdict: deny",
            Some("a token has"),
        );
        check(
            "call: read, verified: true, token: {refused: token_revoked}, verdict: deny",
            Some("verifies nothing"),
        );
    }

    #[test]
    fn p16_a_parent_that_is_not_there_is_an_error() {
        let parent = |over: &str, rest: &str| {
            format!(
                "call: pay, parent: {{tool: crm, action: read, params: {{iban: DE1}}{over}}}, {rest}"
            )
        };
        check(&parent("", "verdict: allow, clause: p/same"), None);
        check(&parent("", "with: {/params/iban: DE2}, verdict: deny, reason: no_clause"), None);
        check(&parent("", "without: [/params/iban], verdict: deny, reason: condition_error"), None);
        check(&parent(", verdict: deny", "verdict: deny, reason: condition_error"), None);
        check(&parent(", verdict: approval_needed", "verdict: allow"), None);
        check("call: pay, verdict: deny, reason: condition_error", None);
        check(
            "call: pay, parent: {tool: crm, action: read}, verdict: deny, reason: condition_error",
            None,
        );
        check(
            "call: pay, parent: {tool: bank, action: pay, params: {iban: DE1}}, verdict: deny, reason: no_clause",
            None,
        );
        check("call: pay, parent: {missing: true}, verdict: deny, reason: parent_unknown", None);
        check(
            "call: pay, parent: {tool: crm}, verdict: deny",
            Some("a parent has tool and action"),
        );
        // A chain that no token proves is another one than that of a token.
        let odd = "with: {/params/odd: 1}";
        check(&parent("", &format!("{odd}, verdict: allow")), None);
        check(
            &parent(
                "",
                &format!("{odd}, token: {{scope: [bank]}}, verdict: deny, clause: p/chained"),
            ),
            None,
        );
    }
}
