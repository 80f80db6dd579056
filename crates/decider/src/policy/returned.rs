//! What a call gave, before the agent sees it (`POST T/decisions/{index}/result`): the gateway's report, the verdict about
//! it by the bundle that judged the call, the event that records it, and the same verdict computed again.

use super::{
    bundle::Bundle, facts::Facts, on::On, recorded::to_judge, replay::Differs, request::Request,
    ruling::Ruling,
};
use crate::decision::Fields;
use data_encoding::BASE64URL_NOPAD;
use ledger::{
    canonical,
    entry::View,
    json::{self, Value},
    time::Nanos,
};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// Code of a denial because the call was not permitted.
pub const NOT_PERMITTED: &str = "not_permitted";
/// What a report consists of.
const MEMBERS: [&str; 5] = ["result", "status", "cost", "latency_us", "keep"];
/// The field of a result, if it is kept.
pub(super) const RESULT: &str = "result";
/// Before the result in what its mark and its digest are of.
const DOMAIN: &str = "countersign-result-v1";

/// What a gateway reports of a call that it made.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned<'a> {
    /// What the tool gave.
    pub result: Value<'a>,
    /// `status`: in words of the gateway.
    pub status: Option<String>,
    /// True if the result, as the agent sees it, is kept as payload.
    pub keep: bool,
    pub(super) body: Value<'a>,
}

impl<'a> Returned<'a> {
    /// Reads a report.
    ///
    /// Errors: which member is wrong, and what it must be.
    pub fn read(body: Value<'a>) -> Result<Self, String> {
        let Value::Object(members) = &body else {
            return Err("a report is a JSON object with `result`".into());
        };
        if let Some((name, _)) = members.iter().find(|(name, _)| !MEMBERS.contains(&&**name)) {
            return Err(format!("{name} is unknown: a report has {}", MEMBERS.join(", ")));
        }
        let result = body.get("result").cloned();
        let result = result.ok_or("add result: what the tool gave, null if it gave nothing")?;
        let status = super::request::may(&body, "status", "status")?;
        let keep = match body.get("keep") {
            None => false,
            Some(Value::Bool(keep)) => *keep,
            Some(_) => return Err("keep is true or false".into()),
        };
        Ok(Self { result, status, keep, body })
    }

    /// What its mark is made of: the same for the same result of the same decision.
    pub(super) fn digest(&self, decision: u64) -> String {
        digest(&[DOMAIN.as_bytes(), &decision.to_be_bytes(), &canonical::to_vec(&self.result)])
    }
}

/// Digest of a result as the agent sees it, base64url.
pub(super) fn digest_of(result: &Value<'_>) -> String {
    digest(&[DOMAIN.as_bytes(), &[0], &canonical::to_vec(result)])
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    BASE64URL_NOPAD.encode(&hash.finalize())
}

impl Ruling {
    /// Judges what the call of a decision gave, by the bundle that judged the call. `view`: the entry of the decision, or
    /// of an earlier report of it.
    ///
    /// Errors: what is wrong with the entry.
    pub fn of_result(
        (bundle, version): (&Bundle, u64),
        view: &View<'_>,
        result: Value<'_>,
        facts: &Facts,
    ) -> Result<Self, String> {
        let body = question(view, result);
        let request = Request::read(&body)?;
        Ok(Self::on(On::Result, (bundle, version), &request, facts))
    }

    /// The result as the agent may see it. `None`: not at all.
    pub fn result_to_show<'r, 'a>(&'r self, returned: &'r Returned<'a>) -> Option<&'r Value<'a>> {
        if self.only_observes {
            return Some(&returned.result);
        }
        match &self.redacted {
            _ if self.verdict == ledger::event::Verdict::Deny => None,
            Some(redacted) => Some(&redacted.params),
            None => Some(&returned.result),
        }
    }
}

/// Agent and tool of a recorded call, with its result as params.
fn question<'a>(view: &'a View<'_>, result: Value<'a>) -> Value<'a> {
    let plain = |name: &str| view.at(&["event", "data", name]).cloned().unwrap_or(Value::Null);
    // In RFC 8785 order: members are found by that.
    let members = [("agent", plain("agent")), ("params", result), ("tool", plain("tool"))];
    Value::Object(members.map(|(name, value)| (Cow::Borrowed(name), value)).into())
}

/// Computes the verdict about a result again. `bundle`: the one that judged the call, with its version.
pub fn replay_result(
    view: &View<'_>,
    payload: &Fields,
    bundle: Option<(&Bundle, u64)>,
) -> Result<Ruling, Differs> {
    let form = |what: &str| Differs::Form(what.to_owned());
    let recorded = Ruling::of_entry(view, payload);
    let recorded = recorded.ok_or_else(|| form("not a result of ours"))?;
    if view.payload().count() != payload.len() {
        return Err(Differs::Payload("payload, or a part of it,"));
    }
    let facts = payload.get("/data/facts").ok_or_else(|| form("it has no /data/facts"))?;
    let facts: Facts =
        serde_json::from_slice(facts).map_err(|_| form("its facts can't be read"))?;
    if view.text(&["event", "time"]).and_then(Nanos::parse) != Some(facts.now) {
        return Err(form("its facts have another time than its event"));
    }
    let others = Facts { now: facts.now, redacted: facts.redacted.clone(), ..Facts::default() };
    if facts != others {
        return Err(form("it rests on facts that no verdict about a result rests on"));
    }
    let Some(result) = payload.get(RESULT) else { return Err(Differs::Payload("result")) };
    let result = json::parse_kept(result).map_err(|_| form("its result can't be read"))?;
    let shown: Option<serde_json::Value> =
        payload.get("/data/returned").and_then(|shown| serde_json::from_slice(shown).ok());
    if shown.is_none_or(|shown| shown["digest"] != digest_of(&result)) {
        return Err(form("its result is not the one whose digest it names"));
    }
    let bundle = bundle.ok_or_else(|| form("no bundle judged its call"))?;
    let again =
        Ruling::of_result(bundle, view, result, &to_judge(facts, false)).map_err(Differs::Form)?;
    if recorded == again {
        return Ok(again);
    }
    Err(Differs::Verdict { recorded: recorded.in_words(), again: again.in_words() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<bool, &str>) {
        let read = Returned::read(json::parse(text.as_bytes()).unwrap());
        match (read, expected) {
            (Ok(read), Ok(keep)) => assert_eq!(read.keep, keep, "{text}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (read, _) => panic!("{text}: {read:?}"),
        }
    }

    #[test]
    fn nothing_of_a_report_is_passed_over() {
        check(r#"{"result":null}"#, Ok(false));
        check(r#"{"keep":true,"result":{"a":[1]},"status":"completed"}"#, Ok(true));
        check(r#"{"status":"completed"}"#, Err("add result"));
        check(r#"{"result":1,"keep":"yes"}"#, Err("keep is true or false"));
        check(r#"{"result":1,"status":""}"#, Err("status is a text"));
        check(r#"{"result":1,"results":2}"#, Err("results is unknown"));
        check("[]", Err("a JSON object"));
    }

    #[test]
    fn a_mark_is_of_the_result_and_its_decision() {
        let read = |text: &'static str| Returned::read(json::parse(text.as_bytes()).unwrap());
        let (one, same) = (
            read(r#"{"result":{"a":1}}"#).unwrap(),
            read(r#"{"keep":true,"result":{"a":1}}"#).unwrap(),
        );
        assert_eq!(one.digest(7), same.digest(7));
        assert_ne!(one.digest(7), one.digest(8));
        assert_ne!(one.digest(7), read(r#"{"result":{"a":2}}"#).unwrap().digest(7));
        assert_ne!(one.digest(0), digest_of(&one.result));
    }
}
