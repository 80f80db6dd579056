//! A gateway's question: may this agent make this call? (`POST T/decisions`)

use super::request::{self, Request};
use crate::{call::Call, decision::NONCE_BYTES};
use ledger::{
    history::CallOf,
    ident::Ident,
    json::{Member, Value},
    system::freeze::Acting,
};

/// What a question consists of.
const MEMBERS: [&str; 12] = [
    "id",
    "source",
    "sequence",
    "traceparent",
    "agent",
    "tool",
    "params",
    "nonce",
    "context",
    "labels",
    "cost",
    "payload",
];
/// What comes with a later release: a member that is passed over would count as judged.
const LATER: [&str; 1] = ["parent"];
/// Most owners that a question names beside those of `agents.yaml`.
const OWNERS_NAMED_MAX: usize = 64;
/// Most bytes of `source`; that of other texts is in [`request`].
const SOURCE_BYTES_MAX: usize = 512;

/// A question. `(source, id)` names it among those of its gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry<'a> {
    /// `id`: a repetition has the same one.
    pub id: String,
    /// `source`
    pub source: String,
    /// `nonce`: 16 random bytes in base64url, chosen once for each call.
    pub nonce: String,
    /// `agent.run`
    pub run: Option<String>,
    /// The call.
    pub request: Request<'a>,
    /// The question, as the strict reader gave it.
    pub(super) body: Value<'a>,
}

impl<'a> Inquiry<'a> {
    /// Reads a question.
    ///
    /// Errors: which member is wrong, and what it must be.
    pub fn read(body: Value<'a>) -> Result<Self, String> {
        let Value::Object(members) = &body else {
            return Err("a question is a JSON object".into());
        };
        for (name, _) in members {
            if LATER.contains(&&**name) {
                return Err(format!("{name} is not in this release: leave it out"));
            }
            if !MEMBERS.contains(&&**name) {
                return Err(format!("{name} is unknown: a question has {}", MEMBERS.join(", ")));
            }
        }
        if body.get("agent").and_then(|agent| agent.get("token")).is_some() {
            return Err("agent.token is not in this release: leave it out".into());
        }
        let request = Request::read(&body)?;
        if body.get("params").is_none() {
            return Err("add params: {} if there are none".into());
        }
        let nonce = body.get("nonce").and_then(Value::as_str);
        let nonce = nonce.filter(|nonce| NONCE_BYTES.contains(&nonce.len()));
        let nonce =
            nonce.ok_or("nonce is a text of 1 to 64 bytes: 16 random bytes in base64url")?;
        let nonce = nonce.to_owned();
        let reserved = |(name, _): &Member<'_>| matches!(&**name, "params" | "nonce" | "received");
        match body.get("payload") {
            None => {}
            Some(Value::Object(fields)) if !fields.iter().any(reserved) => {}
            Some(_) => {
                return Err(
                    "payload is an object without params, nonce and received: the first two stand beside it"
                        .into()
                );
            }
        }
        let owner = body.get("payload").and_then(|payload| payload.get("owner"));
        if owner.is_some_and(|owner| owner.as_array().map_or(0, <[_]>::len) > OWNERS_NAMED_MAX) {
            return Err(format!("payload.owner names at most {OWNERS_NAMED_MAX} people"));
        }
        let source = body.get("source").and_then(Value::as_str);
        let source = source.filter(|source| (1..=SOURCE_BYTES_MAX).contains(&source.len()));
        let source = source.ok_or("source is a text of 1 to 512 bytes")?.to_owned();
        let id = request::must(&body, "id", "id")?;
        let agent = body.get("agent").ok_or("add agent")?;
        let run = request::may(agent, "agent.run", "run")?;
        Ok(Self { id, source, nonce, run, request, body })
    }

    /// Who acts, as a freeze sees it. `producer`: the gateway that asks.
    pub fn acting(&self, producer: &Ident) -> Acting {
        Acting::of(producer.as_str(), &self.body)
    }

    /// The call, as conditions on earlier decisions see it.
    pub fn call_of(&self) -> CallOf {
        CallOf::of(&self.body)
    }

    /// The call digest: what a repetition must have, and what people approve.
    pub fn digest(&self, tenant: &Ident) -> String {
        self.digest_with(tenant, &self.request.params)
    }

    /// The digest of the same call with other params.
    pub(super) fn digest_with(&self, tenant: &Ident, params: &Value<'_>) -> String {
        let Self { nonce, run, request, .. } = self;
        let Request { agent, tool, action, .. } = request;
        Call { nonce, tenant, agent, run: run.as_deref(), tool, action, params }.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = r#"{"id":"c-1","source":"/gw","nonce":"AAAAAAAAAAAAAAAAAAAAAA","agent":{"id":"bot"},"tool":{"name":"http","action":"get"},"params":{}}"#;

    fn check(text: &str, expected: Result<(), &str>) {
        let read = Inquiry::read(ledger::json::parse(text.as_bytes()).unwrap());
        match (read, expected) {
            (Ok(_), Ok(())) => {}
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (read, _) => panic!("{text}: {read:?}"),
        }
    }

    #[test]
    fn nothing_is_passed_over() {
        check(RIGHT, Ok(()));
        check(&RIGHT.replace("\"id\":\"c-1\",", ""), Err("add id"));
        check(&RIGHT.replace("/gw", ""), Err("source is"));
        check(&RIGHT.replace("AAAAAAAAAAAAAAAAAAAAAA", ""), Err("nonce is"));
        check(&RIGHT.replace(",\"params\":{}", ""), Err("add params"));
        check(
            &RIGHT.replace("\"params\":{}", "\"params\":{},\"parent\":{}"),
            Err("not in this release"),
        );
        check(
            &RIGHT.replace("\"params\":{}", "\"params\":{},\"amount\":1"),
            Err("amount is unknown"),
        );
        check(
            &RIGHT.replace("\"params\":{}", "\"params\":{},\"payload\":{\"nonce\":1}"),
            Err("payload is"),
        );
        check(&RIGHT.replace("\"params\":{}", "\"params\":{},\"payload\":{\"prompt\":1}"), Ok(()));
        check(
            &RIGHT.replace("{\"id\":\"bot\"}", "{\"id\":\"bot\",\"token\":\"x\"}"),
            Err("agent.token"),
        );
        check("[]", Err("a JSON object"));
    }
}
