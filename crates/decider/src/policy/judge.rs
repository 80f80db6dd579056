//! The verdict: a pure function of bundle, call and facts (P15). There is no default allow, and no condition that
//! fails open (P16).

use super::{
    bounds::Truth,
    bundle::Bundle,
    clause::{Clause, Then},
    condition::{Condition, Scene},
    egress::Urls,
    facts::Facts,
    on::On,
    request::Request,
};
use ledger::event::{Verdict, is_reserved_tool};
use std::borrow::Cow;

mod sanitizing;

use sanitizing::Outcome;
pub use sanitizing::Redacted;

/// Why.
#[derive(Clone, Debug, PartialEq)]
pub struct Ground<'b> {
    /// A stable code: `allowed`, `sanitized`, `approval`, `denied`, `condition_error`, `no_clause`, `unknown_agent`,
    /// `tool_not_listed`, `schema_changed`, `reserved_tool`.
    pub code: &'static str,
    /// The first decisive clause by policy and id.
    pub clause: Option<&'b Clause>,
    /// For an error: where, and what is wrong there.
    pub error: Option<(String, Cow<'static, str>)>,
}

/// A verdict with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement<'b> {
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: Ground<'b>,
    /// Every clause in force that matched, in order.
    pub clauses: Vec<&'b Clause>,
    /// What the verdict would be with every clause in force, if some clause is not.
    pub shadow: Option<(Verdict, Ground<'b>)>,
    /// The call after redaction, if clauses in force changed something.
    pub redacted: Option<Redacted>,
}

/// A clause that is for the call, and whether it matches.
struct Weighed<'b> {
    clause: &'b Clause,
    truth: Truth,
    in_force: bool,
    /// Of a recorded error: where, and what was wrong there.
    recorded: Option<(String, String)>,
}

impl Bundle {
    /// Judges a call.
    pub fn judge<'b>(&'b self, request: &Request<'_>, facts: &Facts) -> Judgement<'b> {
        self.judge_on(On::Call, request, facts)
    }

    /// Judges a call, or what it gave: then `params` are the result.
    pub(super) fn judge_on<'b>(
        &'b self,
        on: On,
        request: &Request<'_>,
        facts: &Facts,
    ) -> Judgement<'b> {
        if let Some(code) = self.refused_before_clauses(request) {
            let reason = Ground { code, clause: None, error: None };
            let (verdict, clauses) = (Verdict::Deny, Vec::new());
            return Judgement { verdict, reason, clauses, shadow: None, redacted: None };
        }
        let scene = self.scene(on, request, facts);
        let weighed = self.weigh(&scene);
        let Outcome { verdict, reason, redacted } = self.rule(&weighed, &scene, |w| w.in_force);
        let shadow = weighed.iter().any(|weighed| !weighed.in_force);
        let shadow = shadow.then(|| self.rule(&weighed, &scene, |_| true));
        let shadow = shadow.map(|outcome| (outcome.verdict, outcome.reason));
        let matched = weighed.iter().filter(|w| w.in_force && w.truth == Truth::True);
        let clauses = matched.map(|w| w.clause).collect();
        Judgement { verdict, reason, clauses, shadow, redacted }
    }

    fn scene<'s>(&'s self, on: On, request: &'s Request<'_>, facts: &'s Facts) -> Scene<'s> {
        let Self { agents, tools, lists, detectors, .. } = self;
        Scene { on, request, facts, agents, tools, lists, detectors, urls: Urls::default() }
    }

    /// What denies a call whatever the clauses say.
    fn refused_before_clauses(&self, request: &Request<'_>) -> Option<&'static str> {
        if is_reserved_tool(&request.tool) {
            return Some("reserved_tool");
        }
        let Some(agent) = self.agents.find(&request.agent) else { return Some("unknown_agent") };
        if !agent.tools.is_empty() && !agent.tools.contains(&request.tool) {
            return Some("tool_not_listed");
        }
        let known = self
            .tools
            .action(&request.tool, &request.action)
            .and_then(|action| action.schema.as_ref());
        let changed = known.zip(request.schema.as_ref()).is_some_and(|(known, sent)| known != sent);
        changed.then_some("schema_changed")
    }

    /// The clauses that are for this call, each judged. Of a call that is known only as it is after redaction, what was
    /// recorded of the conditions counts.
    fn weigh<'b>(&'b self, scene: &Scene<'_>) -> Vec<Weighed<'b>> {
        let mut weighed = self.weigh_plain(scene);
        let Some(recorded) = &scene.facts.redacted else { return weighed };
        for one in &mut weighed {
            let Some(said) = recorded.conditions.get(&one.clause.name) else { continue };
            one.truth = said.matches.map_or(Truth::Error("as it was recorded"), Truth::from);
            one.recorded = said.at.clone().zip(said.why.clone());
        }
        weighed
    }

    fn weigh_plain<'b>(&'b self, scene: &Scene<'_>) -> Vec<Weighed<'b>> {
        let Scene { on, request, facts, .. } = scene;
        let standing = self.agents.standing(&request.agent);
        let candidates = self.candidates(&request.tool, &request.action);
        let clauses = candidates.iter().map(|at| &self.clauses[*at]);
        let applying = clauses.filter(|clause| clause.on == *on && clause.is_for(&standing));
        let weigh = |clause: &'b Clause| {
            let truth = clause.when.as_ref().map_or(Truth::True, |when| when.holds(scene));
            let in_force = !clause.has_shadow() || clause.in_force(&request.agent, facts.now);
            Weighed { clause, truth, in_force, recorded: None }
        };
        applying.map(weigh).collect()
    }

    /// What each clause said that is for this call, in order: for `explain` and coverage.
    pub fn explain<'b>(&'b self, request: &Request<'_>, facts: &Facts) -> Vec<ClauseTruth<'b>> {
        self.explain_on(On::Call, request, facts)
    }

    /// The same of a call, or of what it gave.
    pub(super) fn explain_on<'b>(
        &'b self,
        on: On,
        request: &Request<'_>,
        facts: &Facts,
    ) -> Vec<ClauseTruth<'b>> {
        if self.refused_before_clauses(request).is_some() {
            return Vec::new();
        }
        let scene = self.scene(on, request, facts);
        let explained = |weighed: Weighed<'b>| {
            let Weighed { clause, in_force, .. } = weighed;
            let blamed = clause.when.as_ref().and_then(|when| blame(when, &weighed.truth, &scene));
            let matches = match weighed.truth {
                Truth::True => Some(true),
                Truth::False => Some(false),
                Truth::Error(_) => None,
            };
            let (at, why) = error_of(&weighed, &scene).unzip();
            ClauseTruth { clause, matches, at: at.or(blamed.map(Condition::place)), why, in_force }
        };
        self.weigh(&scene).into_iter().map(explained).collect()
    }
}

/// What one clause said of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct ClauseTruth<'b> {
    /// The clause.
    pub clause: &'b Clause,
    /// `None`: an error.
    pub matches: Option<bool>,
    /// Where the first condition looks that does not hold.
    pub at: Option<String>,
    /// What is wrong there.
    pub why: Option<Cow<'static, str>>,
    /// Whether it is in force for this agent now.
    pub in_force: bool,
}

/// The verdict of those clauses that `counts` accepts.
fn decide<'b>(
    weighed: &[Weighed<'b>],
    scene: &Scene<'_>,
    counts: impl Fn(&Weighed<'b>) -> bool,
) -> (Verdict, Ground<'b>) {
    let counting = || weighed.iter().filter(|weighed| counts(weighed));
    let reason = |code, found: &Weighed<'b>| Ground {
        code,
        clause: Some(found.clause),
        error: error_of(found, scene),
    };
    // An error in a clause that would restrict the call denies, like a deny that matches.
    let denies = |weighed: &&Weighed<'_>| match weighed.truth {
        Truth::True => weighed.clause.then == Then::Deny,
        Truth::Error(_) => weighed.clause.then != Then::Allow,
        Truth::False => false,
    };
    if let Some(found) = counting().find(denies) {
        let code = if found.truth == Truth::True { "denied" } else { "condition_error" };
        return (Verdict::Deny, reason(code, found));
    }
    let matched = |then| counting().find(|w| w.truth == Truth::True && w.clause.then == then);
    if let Some(found) = matched(Then::ApprovalNeeded) {
        return (Verdict::ApprovalNeeded, reason("approval", found));
    }
    if let Some(found) = matched(Then::Allow) {
        return (Verdict::Allow, reason("allowed", found));
    }
    if scene.on == On::Result {
        // The call was permitted, so its result is, unless a clause restricts it.
        return (Verdict::Allow, Ground { code: "allowed", clause: None, error: None });
    }
    match counting().find(|weighed| matches!(weighed.truth, Truth::Error(_))) {
        Some(found) => (Verdict::Deny, reason("condition_error", found)),
        None => (Verdict::Deny, Ground { code: "no_clause", clause: None, error: None }),
    }
}

/// Where a condition could not be judged, and why.
fn error_of(found: &Weighed<'_>, scene: &Scene<'_>) -> Option<(String, Cow<'static, str>)> {
    let Truth::Error(why) = found.truth else { return None };
    if let Some((at, why)) = &found.recorded {
        return Some((at.clone(), Cow::Owned(why.clone())));
    }
    let place = found.clause.when.as_ref().and_then(|when| blame(when, &found.truth, scene));
    Some((place.map(Condition::place).unwrap_or_default(), Cow::Borrowed(why)))
}

/// The first part of a condition that is the reason for its truth.
fn blame<'c>(condition: &'c Condition, truth: &Truth, scene: &Scene<'_>) -> Option<&'c Condition> {
    if *truth == Truth::True {
        return None;
    }
    match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            let found = parts.iter().find(|part| part.holds(scene) == *truth);
            found.and_then(|part| blame(part, truth, scene))
        }
        Condition::Not(inner) if matches!(truth, Truth::Error(_)) => blame(inner, truth, scene),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
