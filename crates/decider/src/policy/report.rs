//! What a gateway reports of a call that it made: the body of `POST T/decisions/{index}/result`.

use data_encoding::BASE64URL_NOPAD;
use ledger::{canonical, json::Value};
use sha2::{Digest, Sha256};

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
    for part in parts {
        hash.update(part);
    }
    BASE64URL_NOPAD.encode(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::json;

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
