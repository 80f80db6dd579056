//! Tests of policies (`tests/*.yaml`): calls with the verdict that is expected, coverage, and mutation.

mod booked;
mod gaps;
mod mutate;
mod values;

pub use gaps::{Gaps, gaps};
pub use mutate::{Survivor, survivors};

use super::{
    bundle::{Bundle, Source},
    clause::Clause,
    facts::Facts,
    fields::{MapReader, language, text_of},
    limited::Limited,
    mistakes::{Mistake, Mistakes, Place},
    on::On,
    redact::owned,
    request::Request,
    times::moment_of,
    yaml::{self, Node},
};
use ledger::{event::Verdict, json::Value, time::Nanos};
use std::{borrow::Cow, collections::BTreeMap};
use values::{set, sorted, value_at, value_of};

/// Most tests of one bundle.
const CASES_MAX: usize = 10_000;

/// One test: a call at a time, and the verdict that it must get.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// The test's own name, or that of its call.
    pub name: String,
    file: String,
    at: Place,
    /// What is judged: the call, or then `request.params` are its result.
    on: On,
    request: Request<'static>,
    now: Nanos,
    verified: bool,
    verdict: Verdict,
    reason: Option<String>,
    clause: Option<String>,
    /// Every clause that must match, and no other.
    clauses: Option<Vec<String>>,
    shadow: Option<Verdict>,
    before: booked::Before,
    /// What must be at these pointers after redaction.
    redacted: Vec<(String, Value<'static>)>,
}

/// A test that got something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongVerdict {
    /// Where the test is, and what it got instead.
    pub mistake: Mistake,
    /// Name of the test.
    pub name: String,
}

/// How often tests met each clause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// It matched.
    pub matched: u64,
    /// It was for the call, and did not match.
    pub not_matched: u64,
    /// It was for the call, and could not be judged.
    pub errors: u64,
    /// It has conditions, so it can fail to match.
    pub is_conditional: bool,
}

/// Reads all test files of a bundle.
///
/// Errors: every mistake of every file.
pub fn read(sources: &[Source<'_>]) -> Result<Vec<TestCase>, Vec<Mistake>> {
    let (mut cases, mut found) = (Vec::new(), Vec::new());
    for source in sources.iter().filter(|source| source.path.starts_with("tests/")) {
        let mistakes = Mistakes::of(source.path);
        if let Some(node) = yaml::read(source.bytes, &mistakes) {
            cases.extend(read_file(node, source.path, &mistakes));
        }
        found.extend(mistakes.finish());
    }
    if cases.len() > CASES_MAX {
        found.push(Mistake {
            file: "tests".into(),
            line: 1,
            column: 1,
            text: format!("at most {CASES_MAX} tests"),
        });
    }
    if found.is_empty() { Ok(cases) } else { Err(found) }
}

/// Runs the tests.
pub fn run(bundle: &Bundle, cases: &[TestCase]) -> Vec<WrongVerdict> {
    cases.iter().filter_map(|case| case.run(bundle, &case.facts(bundle))).collect()
}

/// How often the tests met each clause, by name.
pub fn coverage(bundle: &Bundle, cases: &[TestCase]) -> BTreeMap<String, Coverage> {
    let new = |clause: &Clause| {
        let is_conditional = clause.when.is_some();
        (clause.name.clone(), Coverage { is_conditional, ..Coverage::default() })
    };
    let mut met: BTreeMap<String, Coverage> = bundle.clauses().iter().map(new).collect();
    for case in cases {
        for explained in bundle.explain_on(case.on, &case.request, &case.facts(bundle)) {
            let Some(met) = met.get_mut(&explained.clause.name) else { continue };
            match explained.matches {
                Some(true) => met.matched += 1,
                Some(false) => met.not_matched += 1,
                None => met.errors += 1,
            }
        }
    }
    met
}

impl TestCase {
    fn facts(&self, bundle: &Bundle) -> Facts {
        let mut facts = bundle.facts(self.now, self.verified);
        let (booked, rates) = bundle.limit_names();
        let known = |name: &str| self.before.booked.get(name).copied().unwrap_or(0);
        facts.booked = booked.map(|name| (name.to_owned(), known(name))).collect();
        let left = |name: &str| !self.before.used_up.iter().any(|other| other == name);
        facts.rates = rates.map(|name| (name.to_owned(), left(name))).collect();
        facts
    }

    /// `None` if the verdict is as expected.
    fn run(&self, bundle: &Bundle, facts: &Facts) -> Option<WrongVerdict> {
        let mut judged = bundle.judge_on(self.on, &self.request, facts);
        let mut code = judged.reason.code;
        let mut clause = judged.reason.clause.map(|clause| clause.name.as_str());
        let limited = match self.on {
            On::Call => bundle.limited(judged.verdict, &self.request, facts),
            On::Result => None,
        };
        if let Some(Limited { verdict, reason: Some(why), .. }) = limited {
            judged.verdict = verdict;
            let error = why.error.map(|(at, why)| (at, Cow::Borrowed(why)));
            (code, clause, judged.reason.error) = (why.code, Some(why.name), error);
        }
        let shadow = judged.shadow.as_ref().map(|(verdict, _)| *verdict);
        let fits = judged.verdict == self.verdict
            && self.reason.as_deref().is_none_or(|wanted| wanted == code)
            && self.clause.as_deref().is_none_or(|wanted| Some(wanted) == clause)
            && self
                .clauses
                .as_ref()
                .is_none_or(|wanted| judged.clauses.iter().map(|c| &c.name).eq(wanted))
            && self.shadow.is_none_or(|wanted| Some(wanted) == shadow);
        let params = judged.redacted.as_ref().map_or(&self.request.params, |r| &r.params);
        let other = self.redacted.iter().find(|(at, wanted)| value_at(params, at) != Some(wanted));
        if fits && other.is_none() {
            return None;
        }
        let error =
            judged.reason.error.map(|(at, why)| format!(" ({at}: {why})")).unwrap_or_default();
        let by = clause.map(|clause| format!(" by {clause}")).unwrap_or_default();
        let shadow =
            shadow.map(|verdict| format!("; in shadow {}", verdict.as_str())).unwrap_or_default();
        let all: Vec<&str> = judged.clauses.iter().map(|clause| clause.name.as_str()).collect();
        let all = self
            .clauses
            .as_ref()
            .map(|_| format!("; clauses [{}]", all.join(", ")))
            .unwrap_or_default();
        let after = other.map(|(at, _)| format!("; {at} is {}", told(value_at(params, at))));
        let after = after.unwrap_or_default();
        let got =
            format!("{}{by}, reason {code}{error}{all}{shadow}{after}", judged.verdict.as_str());
        let text = format!("{}: expected {}, got {got}", self.name, self.expected());
        let Place { line, column } = self.at;
        let mistake = Mistake { file: self.file.clone(), line, column, text };
        Some(WrongVerdict { mistake, name: self.name.clone() })
    }

    fn expected(&self) -> String {
        let clause = self.clause.iter().map(|clause| format!(" by {clause}"));
        let reason = self.reason.iter().map(|reason| format!(", reason {reason}"));
        let clauses = self.clauses.iter().map(|all| format!("; clauses [{}]", all.join(", ")));
        let shadow = self.shadow.iter().map(|verdict| format!("; in shadow {}", verdict.as_str()));
        let after =
            self.redacted.iter().map(|(at, value)| format!("; {at} is {}", told(Some(value))));
        let rest: String = clause.chain(reason).chain(clauses).chain(shadow).chain(after).collect();
        format!("{}{rest}", self.verdict.as_str())
    }
}

fn read_file(node: Node, file: &str, mistakes: &Mistakes<'_>) -> Vec<TestCase> {
    let Some(mut fields) = MapReader::of(node, "a test file", mistakes) else { return Vec::new() };
    language(&mut fields);
    let now = moment(&mut fields, "now");
    if now.is_none() && !fields.has("now") {
        fields.wrong(
            fields.at,
            "add now: the time at which the calls are made, for example \"2026-11-27T10:00:00Z\"",
        );
    }
    let mut calls = BTreeMap::new();
    if let Some(mut named) = fields.fields("calls") {
        for (name, _, node) in named.rest() {
            calls.insert(name, node);
        }
    }
    let nodes = fields.list("tests").unwrap_or_default();
    fields.finish();
    let now = now.unwrap_or_default();
    nodes.into_iter().filter_map(|node| read_case(node, &calls, now, file, mistakes)).collect()
}

fn moment(fields: &mut MapReader<'_>, name: &'static str) -> Option<Nanos> {
    let (text, at) = fields.text(name)?;
    let found = moment_of(&text);
    if found.is_none() {
        fields.wrong(at, format!("{name} {text:?} is no moment: write \"2026-11-27T10:00:00Z\""));
    }
    Some(found.unwrap_or_default())
}

fn read_case(
    node: Node,
    calls: &BTreeMap<String, Node>,
    now: Nanos,
    file: &str,
    mistakes: &Mistakes<'_>,
) -> Option<TestCase> {
    let mut fields = MapReader::of(node, "a test", mistakes)?;
    let at = fields.at;
    let call = fields
        .must("call", "the name of one of `calls`")
        .and_then(|node| text_of(node, "call", mistakes));
    let name = fields.words("name");
    let with = fields.fields("with");
    let with_json = fields.fields("with_json");
    let without = fields.texts("without").unwrap_or_default();
    let own = moment(&mut fields, "now");
    let (verified, before) = (fields.flag("verified").unwrap_or(false), booked::read(&mut fields));
    let wanted = verdict(&mut fields, "verdict");
    let shadow = verdict(&mut fields, "shadow");
    let (redacted, result) = (redacted(&mut fields), fields.take("result"));
    let (reason, clause) =
        (fields.text("reason").map(|(t, _)| t), fields.text("clause").map(|(t, _)| t));
    let clauses = clauses(&mut fields, mistakes);
    if wanted.is_none() {
        fields.wrong(at, "add verdict: allow, sanitize, approval_needed or deny");
    }
    fields.finish();
    let (call, place) = call?;
    let Some(node) = calls.get(&call) else {
        mistakes.note(place, format!("there is no call {call:?} in `calls`"));
        return None;
    };
    let mut body = value_of(node);
    let mut change = |pointer: &str, at, new: Option<Value<'static>>| {
        if !set(&mut body, pointer, new) {
            let what = "leads to nothing in the call: the object or list around it must be there";
            mistakes.note(at, format!("{pointer:?} {what}"));
        }
    };
    for (pointer, at, node) in with.map(|mut with| with.rest()).unwrap_or_default() {
        change(&pointer, at, Some(value_of(&node)));
    }
    for (pointer, at, node) in with_json.map(|mut with| with.rest()).unwrap_or_default() {
        let Some((text, place)) = text_of(node, "with_json", mistakes) else { continue };
        match ledger::json::parse(text.as_bytes()) {
            Ok(value) => change(&pointer, at, Some(owned(&value))),
            Err(error) => mistakes.note(place, format!("{text:?} is no JSON: {error}")),
        }
    }
    for (pointer, at) in without {
        change(&pointer, at, None);
    }
    let body = sorted(body);
    let mut request = Request::read(&body)
        .map_err(|why| mistakes.note(node.at, format!("call {call}: {why}")))
        .ok()?;
    let on = result.as_ref().map_or(On::Call, |_| On::Result);
    request.params = result.map_or(request.params, |result| sorted(value_of(&result)));
    let (verdict, name, file) = (wanted?, name.unwrap_or(call), file.to_owned());
    Some(TestCase {
        name,
        file,
        at,
        on,
        request,
        now: own.unwrap_or(now),
        verified,
        verdict,
        reason,
        clause,
        clauses,
        shadow,
        before,
        redacted,
    })
}

/// `clauses: [p/a, p/b]`, in the order in which a bundle has them.
fn clauses(fields: &mut MapReader<'_>, mistakes: &Mistakes<'_>) -> Option<Vec<String>> {
    let names = fields.list("clauses")?.into_iter();
    let names = names.filter_map(|node| text_of(node, "clauses", mistakes));
    let mut names: Vec<String> = names.map(|(name, _)| name).collect();
    names.sort_unstable_by(|a, b| a.split('/').cmp(b.split('/')));
    Some(names)
}

/// `redacted: {/body: "…"}`
fn redacted(fields: &mut MapReader<'_>) -> Vec<(String, Value<'static>)> {
    let named = fields.fields("redacted").map(|mut redacted| redacted.rest()).unwrap_or_default();
    named.into_iter().map(|(at, _, node)| (at, sorted(value_of(&node)))).collect()
}

fn told(value: Option<&Value<'_>>) -> String {
    value.map_or("absent".into(), |value| {
        String::from_utf8_lossy(&ledger::canonical::to_vec(value)).into_owned()
    })
}

fn verdict(fields: &mut MapReader<'_>, name: &'static str) -> Option<Verdict> {
    let (text, at) = fields.text(name)?;
    let all = [Verdict::Allow, Verdict::ApprovalNeeded, Verdict::Sanitize, Verdict::Deny];
    let found = all.into_iter().find(|verdict| verdict.as_str() == text);
    if found.is_none() {
        fields.wrong(at, format!("{text:?}: {name} is allow, sanitize, approval_needed or deny"));
    }
    found
}

#[cfg(test)]
mod tests;
