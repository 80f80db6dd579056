//! A gateway's question: may this agent make this call? (`POST T/decisions`)

use super::request::{self, Request};
use crate::{call::Call, decision::NONCE_BYTES};
use ledger::{
    history::CallOf,
    ident::Ident,
    json::{Member, Value},
    system::{LeafAt, freeze::Acting},
};

/// What a question consists of.
const MEMBERS: [&str; 13] = [
    "id",
    "source",
    "sequence",
    "traceparent",
    "agent",
    "tool",
    "params",
    "nonce",
    "parent",
    "context",
    "labels",
    "cost",
    "payload",
];
/// Longest `agent.token`, in bytes.
pub const AGENT_TOKEN_BYTES_MAX: usize = 16 << 10;
/// What `parent` must be.
const PARENT_FORM: &str =
    "parent is an object with index and leaf_hash, as `decision` of an answer has them";
/// Most owners that a question names beside those of `agents.yaml`.
const OWNERS_NAMED_MAX: usize = 64;
/// Sources of our own reports begin so.
const OUR_SOURCES: &str = "countersign/";
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
    /// `agent.token`: a secret, so it is recorded nowhere.
    pub token: Option<String>,
    /// `parent`: the decision from which the call follows, as the gateway says.
    pub parent: Option<LeafAt>,
    /// The question, as the strict reader gave it, without the token.
    pub(super) body: Value<'a>,
}

/// Errors: a member that no question has.
pub fn check_members(body: &Value<'_>) -> Result<(), String> {
    let Value::Object(members) = body else {
        return Err("a question is a JSON object".into());
    };
    let unknown = members.iter().find(|(name, _)| !MEMBERS.contains(&&**name));
    let told = |(name, _): &Member<'_>| {
        format!("{name} is unknown: a question has {}", MEMBERS.join(", "))
    };
    unknown.map_or(Ok(()), |member| Err(told(member)))
}

impl<'a> Inquiry<'a> {
    /// The trace that the question is a part of: 32 hexadecimal digits, from its `traceparent`.
    pub fn trace(&self) -> Option<&str> {
        let trace = self.body.get("traceparent")?.as_str()?.split('-').nth(1)?;
        let is_hex = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then_some(trace)
    }

    /// Reads a question.
    ///
    /// Errors: which member is wrong, and what it must be.
    pub fn read(mut body: Value<'a>) -> Result<Self, String> {
        check_members(&body)?;
        let token = take_token(&mut body)?;
        let parent = parent(&body)?;
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
        if source.starts_with(OUR_SOURCES) {
            return Err("source begins with countersign/, which is ours: choose another".into());
        }
        let id = request::must(&body, "id", "id")?;
        let agent = body.get("agent").ok_or("add agent")?;
        let run = request::may(agent, "agent.run", "run")?;
        Ok(Self { id, source, nonce, run, request, token, parent, body })
    }

    /// The same question with the chain that the agent's token proves.
    #[must_use]
    pub fn with_chain(&self, chain: &[String]) -> Self {
        let mut question = self.clone();
        let links = chain.iter().map(|agent| Value::String(agent.clone().into())).collect();
        if let Value::Object(members) = &mut question.body
            && let Some((_, Value::Object(agent))) = members.iter_mut().find(|(n, _)| n == "agent")
        {
            agent.retain(|(name, _)| name != "chain");
            // In RFC 8785 order, in which members are found.
            agent.insert(0, ("chain".into(), Value::Array(links)));
        }
        question.request.chain = Some(chain.to_vec());
        question
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

/// Takes `agent.token` out of the question.
fn take_token(body: &mut Value<'_>) -> Result<Option<String>, String> {
    let Value::Object(members) = body else { return Ok(None) };
    let agent = members.iter_mut().find(|(name, _)| name == "agent");
    let Some((_, Value::Object(agent))) = agent else { return Ok(None) };
    let Some(at) = agent.iter().position(|(name, _)| name == "token") else { return Ok(None) };
    match agent.remove(at).1 {
        Value::Null => Ok(None),
        Value::String(token) if (1..=AGENT_TOKEN_BYTES_MAX).contains(&token.len()) => {
            Ok(Some(token.into_owned()))
        }
        _ => Err(format!("agent.token is a text of 1 to {AGENT_TOKEN_BYTES_MAX} bytes")),
    }
}

/// `parent`
fn parent(body: &Value<'_>) -> Result<Option<LeafAt>, String> {
    match body.get("parent") {
        None | Some(Value::Null) => Ok(None),
        Some(place @ Value::Object(members)) if members.len() == 2 => {
            LeafAt::of(place).map(Some).ok_or_else(|| PARENT_FORM.into())
        }
        Some(_) => Err(PARENT_FORM.into()),
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
    fn a_token_is_recorded_nowhere_and_its_chain_counts() {
        let text = RIGHT.replace("{\"id\":\"bot\"}", r#"{"id":"bot","run":"r","token":"secret"}"#);
        let inquiry = Inquiry::read(ledger::json::parse(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(inquiry.token.as_deref(), Some("secret"));
        let told = |inquiry: &Inquiry<'_>| {
            String::from_utf8(ledger::canonical::to_vec(inquiry.body.get("agent").unwrap()))
                .unwrap()
        };
        assert_eq!(told(&inquiry), r#"{"id":"bot","run":"r"}"#);
        let proven = inquiry.with_chain(&["root".into(), "bot".into()]);
        assert_eq!(told(&proven), r#"{"chain":["root","bot"],"id":"bot","run":"r"}"#);
        assert_eq!(proven.request.chain.as_ref().map(Vec::len), Some(2));
        let again = proven.with_chain(&["bot".into()]);
        assert_eq!(told(&again), r#"{"chain":["bot"],"id":"bot","run":"r"}"#);
    }

    #[test]
    fn nothing_is_passed_over() {
        check(RIGHT, Ok(()));
        check(&RIGHT.replace("\"id\":\"c-1\",", ""), Err("add id"));
        check(&RIGHT.replace("/gw", ""), Err("source is"));
        check(&RIGHT.replace("/gw", "countersign/results"), Err("which is ours"));
        check(&RIGHT.replace("AAAAAAAAAAAAAAAAAAAAAA", ""), Err("nonce is"));
        check(&RIGHT.replace(",\"params\":{}", ""), Err("add params"));
        check(
            &RIGHT.replace("\"params\":{}", "\"params\":{},\"parent\":{}"),
            Err("parent is an object"),
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
        let with = |token: &str| {
            RIGHT.replace("{\"id\":\"bot\"}", &format!("{{\"id\":\"bot\",\"token\":{token}}}"))
        };
        check(&with("\"x\""), Ok(()));
        check(&with("1"), Err("agent.token"));
        check(&with("\"\""), Err("agent.token"));
        check(&with(&format!("{:?}", "x".repeat(AGENT_TOKEN_BYTES_MAX + 1))), Err("agent.token"));
        let of = |parent: &str| {
            RIGHT.replace("\"params\":{}", &format!("\"params\":{{}},\"parent\":{parent}"))
        };
        let hash = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
        check(&of(&format!(r#"{{"index":3,"leaf_hash":"{hash}"}}"#)), Ok(()));
        check(&of(&format!(r#"{{"index":3,"leaf_hash":"{hash}","id":"c"}}"#)), Err("parent is"));
        check(&of(r#"{"index":3,"leaf_hash":"x"}"#), Err("parent is"));
        check(&of(r#"{"index":3}"#), Err("parent is"));
        check("[]", Err("a JSON object"));
    }
}
