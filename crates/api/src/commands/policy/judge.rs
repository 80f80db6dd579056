//! `countersign policy judge`: judges many calls with given facts. The answers have the form that OPA gives with the
//! exported bundle, so the two can be compared line by line.

use super::Files;
use crate::{
    cli::Judge,
    commands::{EXIT_FAILED, EXIT_UNREADABLE, Failed},
    terminal::say_json,
};
use decider::policy::{Bundle, Facts, OwnList, OwnLists, Request, Ruling, file_of};
use ledger::{canonical, event::Verdict, json as strict};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
};

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// Judges each line of a file.
pub(super) fn run(arguments: &Judge) -> Result<(), Failed> {
    let bundle = Files::read(&arguments.folder)?.bundle()?;
    let path = arguments.calls.display();
    let unread = |error| Failed::new(EXIT_UNREADABLE, format!("{path}: {error}"));
    let mut lines = BufReader::new(File::open(&arguments.calls).map_err(unread)?);
    for number in 1.. {
        let mut line = Vec::new();
        let read =
            lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(unread)?;
        if read == 0 {
            break;
        }
        let answer = judged(&bundle, &line);
        let answer =
            answer.map_err(|why| Failed::new(EXIT_FAILED, format!("{path}:{number}: {why}")))?;
        say_json(&answer);
    }
    Ok(())
}

/// The answer to one line.
///
/// Errors: it is no strict JSON.
fn judged(bundle: &Bundle, line: &[u8]) -> Result<Value, String> {
    let body = strict::parse(line).map_err(|error| error.to_string())?;
    let facts = body.get("facts").map(canonical::to_vec).unwrap_or_default();
    let facts: Option<Map<String, Value>> = serde_json::from_slice(&facts).ok();
    let request = Request::read(&body).ok();
    let known = request.zip(facts.and_then(Given::of));
    let Some((request, given)) = known else { return Ok(denied(bundle, "bad_input")) };
    if given.is_frozen {
        return Ok(denied(bundle, "frozen"));
    }
    if given.lists.is_empty() {
        return Ok(told(bundle, &Ruling::of(bundle, 0, &request, &given.facts)));
    }
    let with = bundle.clone().with_lists(&given.lists).map_err(|first| first.to_string())?;
    Ok(told(&with, &Ruling::of(&with, 0, &request, &given.facts)))
}

/// Facts as a gateway gives them.
struct Given {
    facts: Facts,
    is_frozen: bool,
    lists: OwnLists,
}

impl Given {
    fn of(mut members: Map<String, Value>) -> Option<Self> {
        let is_frozen = members.remove("frozen").is_some_and(|frozen| frozen != Value::Bool(false));
        let lists: Map<String, Value> = match members.remove("lists") {
            None => Map::new(),
            Some(lists) => serde_json::from_value(lists).ok()?,
        };
        let list = |(name, items): (String, Value)| {
            let items: BTreeSet<String> = serde_json::from_value(items).ok()?;
            Some((name, OwnList { version: 1, content: file_of(&items, "") }))
        };
        let lists = lists.into_iter().map(list).collect::<Option<_>>()?;
        let facts = serde_json::from_value(Value::Object(members)).ok()?;
        Some(Self { facts, is_frozen, lists })
    }
}

fn policy(bundle: &Bundle) -> Value {
    json!({"version": 0, "digest": bundle.digest()})
}

fn denied(bundle: &Bundle, code: &str) -> Value {
    json!({"verdict": "deny", "enforced": true, "reason": {"code": code, "clauses": []}, "policy": policy(bundle)})
}

fn told(bundle: &Bundle, ruling: &Ruling) -> Value {
    let mut reason = json!({"code": ruling.code, "clauses": ruling.clauses});
    for (name, text) in [("clause", &ruling.clause), ("message", &ruling.message)] {
        if let Some(text) = text {
            reason[name] = json!(text);
        }
    }
    let enforced = if ruling.only_observes { Value::Null } else { json!(true) };
    let mut answer = json!({
        "verdict": ruling.verdict.as_str(), "enforced": enforced, "reason": reason, "policy": policy(bundle),
    });
    if let Some(redacted) = ruling.redacted.as_ref().filter(|_| ruling.verdict != Verdict::Deny) {
        let params = canonical::to_vec(&redacted.params);
        answer["call"] =
            json!({"params": serde_json::from_slice::<Value>(&params).unwrap_or_default()});
        answer["redactions"] = json!(redacted.facts.found);
    }
    if !ruling.obligations.is_empty() {
        answer["obligations"] = json!(ruling.obligations);
    }
    answer
}
