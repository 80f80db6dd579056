//! Redaction as a part of the verdict: which clauses ask for it, what it changes, and what is said of the redacted call.

use super::{Ground, Weighed, decide, error_of};
use crate::policy::{
    bounds::Truth,
    bundle::Bundle,
    clause::{Clause, Then},
    condition::Scene,
    redact::{Changed, Item, Unread, asked_by, owned, redact},
    redacted::{Redaction, Redactions, Said, Tokens, mark},
    request::Request,
};
use ledger::{event::Verdict, json::Value};
use std::collections::{BTreeMap, BTreeSet};

/// A call after redaction, and what is recorded of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Redacted {
    /// The params.
    pub params: Value<'static>,
    /// What is recorded.
    pub facts: Redactions,
    /// True if the call is kept as it came, too: every clause that changed something says so.
    pub kept: bool,
}

/// A verdict with the redaction that belongs to it.
pub(super) struct Outcome<'b> {
    pub(super) verdict: Verdict,
    pub(super) reason: Ground<'b>,
    pub(super) redacted: Option<Redacted>,
}

impl Bundle {
    /// The verdict of those clauses that `counts` accepts, with what they redact.
    pub(super) fn rule<'b>(
        &'b self,
        weighed: &[Weighed<'b>],
        scene: &Scene<'_>,
        counts: impl Fn(&Weighed<'b>) -> bool,
    ) -> Outcome<'b> {
        let (verdict, reason) = decide(weighed, scene, &counts);
        let asks = |w: &Weighed<'_>| w.clause.then == Then::Sanitize && w.truth == Truth::True;
        let asking: Vec<&Clause> =
            weighed.iter().filter(|w| counts(w) && asks(w)).map(|w| w.clause).collect();
        let outcome = Outcome { verdict, reason, redacted: None };
        if asking.is_empty() {
            return outcome;
        }
        let items: Vec<Item<'_>> = asking
            .iter()
            .enumerate()
            .flat_map(|(nth, clause)| {
                clause.sanitize.redact.iter().map(move |item| item.item(nth, &self.detectors))
            })
            .collect();
        let found = match &scene.facts.redacted {
            None => self.redacted(scene, &items),
            Some(recorded) => self.recorded(&scene.request.params, &items, &recorded.found),
        };
        let changed = match found {
            Ok(Some(changed)) => changed,
            // What can't be read can't be redacted.
            Err(unread) if outcome.verdict != Verdict::Deny => {
                return denied(&asking, &items, unread);
            }
            Ok(None) | Err(_) => return outcome,
        };
        self.judged_again(outcome, (weighed, &asking), scene, (changed, counts))
    }

    /// What these items redact in a call. What is left must be readable, and hold nothing more: whoever computes the verdict
    /// again has nothing else.
    fn redacted(&self, scene: &Scene<'_>, items: &[Item<'_>]) -> Result<Option<Changed>, Unread> {
        let by = (&self.detectors, &scene.facts.tokens);
        let changed = redact(&scene.request.params, items, by)?;
        let Some(changed) = changed else { return Ok(None) };
        let left = redact(&changed.params, items, (&self.detectors, &Tokens::Open))?;
        match left.and_then(|left| left.found.into_iter().next()) {
            Some(one) => Err((one.at, "what is left after redaction holds something again")),
            None => Ok(Some(changed)),
        }
    }

    /// The redacted call is judged by the same clauses without redactions. The stricter verdict counts.
    fn judged_again<'b>(
        &'b self,
        outcome: Outcome<'b>,
        (weighed, asking): (&[Weighed<'b>], &[&'b Clause]),
        scene: &Scene<'_>,
        (changed, counts): (Changed, impl Fn(&Weighed<'b>) -> bool),
    ) -> Outcome<'b> {
        let again = Request { params: changed.params.clone(), ..scene.request.clone() };
        let scene_again = self.scene(scene.on, &again, scene.facts);
        let weighed_again = self.weigh_plain(&scene_again);
        let permitting = |w: &Weighed<'b>| counts(w) && w.clause.then != Then::Sanitize;
        let (verdict, reason) = decide(&weighed_again, &scene_again, permitting);
        let kept = changed.by.iter().all(|nth| asking[*nth].sanitize.keep_received);
        let conditions = if kept {
            BTreeMap::new()
        } else {
            differing((weighed, scene), (&weighed_again, &scene_again))
        };
        let facts =
            Redactions { set: self.detectors.set, found: changed.found, conditions, shadow: None };
        let redacted = Some(Redacted { params: changed.params, facts, kept });
        if strictness(verdict) > strictness(outcome.verdict) {
            return Outcome { verdict, reason, redacted };
        }
        if outcome.verdict != Verdict::Allow {
            return Outcome { redacted, ..outcome };
        }
        let first = changed.by.first().map(|nth| asking[*nth]);
        let reason = Ground { code: "sanitized", clause: first, error: None };
        Outcome { verdict: Verdict::Sanitize, reason, redacted }
    }

    /// What is recorded of a redaction, as far as these items ask for it and the redacted call bears it out: the marks are in
    /// their places, and the detectors find nothing any more.
    fn recorded(
        &self,
        params: &Value<'_>,
        items: &[Item<'_>],
        recorded: &[Redaction],
    ) -> Result<Option<Changed>, Unread> {
        let mut by = BTreeSet::new();
        let mut found = Vec::new();
        for one in recorded {
            let asked = self.detectors.named(&one.detector);
            let asked =
                asked.map(|detector| asked_by(items, &one.at, detector)).unwrap_or_default();
            if !asked.is_empty() && is_marked(params, one, recorded) {
                by.extend(asked);
                found.push(one.clone());
            }
        }
        let left = redact(params, items, (&self.detectors, &Tokens::Open))?;
        if let Some(left) = left {
            found.extend(left.found);
            by.extend(left.by);
        }
        Ok((!found.is_empty()).then(|| Changed { params: owned(params), found, by }))
    }
}

/// True if the marks of a redaction stand where its spans were. Within other texts it is believed.
fn is_marked(params: &Value<'_>, one: &Redaction, all: &[Redaction]) -> bool {
    let steps = one.at.split('/').skip(1).map(super::super::pointer::unescaped);
    let value = steps.into_iter().try_fold(params, |value, step| match value {
        Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        value => value.get(&step),
    });
    let Some(text) = value.and_then(Value::as_str) else { return false };
    if !one.inside.is_empty()
        || all.iter().any(|other| other.at == one.at && !other.inside.is_empty())
    {
        return true;
    }
    let mut marks: Vec<((u64, u64), String)> = Vec::new();
    for other in all.iter().filter(|other| other.at == one.at) {
        for (nth, span) in other.spans.iter().enumerate() {
            marks.push((*span, mark(&other.detector, other.tokens.get(nth).map(String::as_str))));
        }
    }
    marks.sort();
    let mut shift = 0_i128;
    marks.iter().all(|((start, end), mark)| {
        let at = usize::try_from(i128::from(*start) + shift).unwrap_or(usize::MAX);
        shift += mark.len() as i128 - (i128::from(*end) - i128::from(*start));
        text.get(at..).is_some_and(|rest| rest.starts_with(mark.as_str()))
    })
}

fn denied<'b>(asking: &[&'b Clause], items: &[Item<'_>], (at, why): Unread) -> Outcome<'b> {
    let nth = items.first().map_or(0, |item| item.clause);
    let error = Some((at, why.into()));
    let reason = Ground { code: "condition_error", clause: asking.get(nth).copied(), error };
    Outcome { verdict: Verdict::Deny, reason, redacted: None }
}

fn strictness(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Deny => 2,
        Verdict::ApprovalNeeded => 1,
        _ => 0,
    }
}

/// What clauses say of the call as it came, where they say something else of the redacted call.
fn differing(
    (before, scene): (&[Weighed<'_>], &Scene<'_>),
    (after, scene_after): (&[Weighed<'_>], &Scene<'_>),
) -> BTreeMap<String, Said> {
    let mut said = BTreeMap::new();
    for (was, is) in before.iter().zip(after) {
        let (error, error_after) = (error_of(was, scene), error_of(is, scene_after));
        let same = match (&error, &error_after) {
            (None, None) => was.truth == is.truth,
            (was, is) => was == is,
        };
        if same {
            continue;
        }
        let matches = error.is_none().then_some(was.truth == Truth::True);
        let (at, why) = error.map(|(at, why)| (at, why.into_owned())).unzip();
        said.insert(was.clause.name.clone(), Said { matches, at, why });
    }
    said
}
