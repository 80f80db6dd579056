//! The verdict about what a call gave, before the agent sees it, by the bundle that judged the call; and the same verdict
//! computed again.

use super::{
    bundle::Bundle,
    facts::Facts,
    on::On,
    recorded::to_judge,
    replay::{Differs, facts_of, is_whole},
    report::{RESULT, digest_of},
    request::Request,
    ruling::Ruling,
};
use crate::decision::Fields;
use ledger::{
    entry::View,
    json::{self, Value},
};
use std::borrow::Cow;

/// Code of a denial because the call was not permitted.
pub const NOT_PERMITTED: &str = "not_permitted";

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
    is_whole(view, payload)?;
    let facts = facts_of(view, payload)?;
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
