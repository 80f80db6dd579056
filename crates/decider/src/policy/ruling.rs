//! A verdict as it is recorded and told, and the same verdict computed again from its record (P15).

mod alerting;
mod limits;
mod returned;
mod values;

pub use returned::Decided;

use super::{
    bundle::Bundle,
    clause::Clause,
    early::{Early, Why},
    facts::Facts,
    inquiry::Inquiry,
    judge::{Ground, Judgement, Redacted},
    on::On,
    recorded,
    redacted::Shadow,
    report::RESULT,
    request::Request,
};
use crate::{approval::is_code, decision::Fields};
use alerting::{alerting, alerts};
use ledger::{
    budget::{Asked, Asking},
    canonical,
    entry::View,
    event::{self, Alerting, Verdict},
    history::Named,
    ident::Ident,
    json::{self, Member, Value},
    post::{frozen_by, frozen_by_clause, lists_of},
    system::freeze::FreezeScope,
};
use std::{borrow::Cow, collections::BTreeMap};
use values::{member, merged, number, object, of_serde, place, text, without_nulls};

/// Code of a denial because no bundle is in force.
pub const NO_POLICY: &str = "no_policy";
/// Seconds within which a report may change what is reserved, unless the configuration says otherwise.
pub const REPORT_WITHIN_SECONDS: u64 = 900;
/// Code of a denial because what a decision rested on changed again and again.
pub const CONTENDED: &str = "contended";
/// Code of a denial because the call is frozen.
pub const FROZEN: &str = "frozen";

/// A verdict with everything that is told about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// Why: a stable code.
    pub code: String,
    /// The first decisive clause: `<policy>/<id>`.
    pub clause: Option<String>,
    /// Every clause in force that matched, in order.
    pub clauses: Vec<String>,
    /// The decisive clause's words for the agent.
    pub message: Option<String>,
    /// Where a condition could not be judged, and why.
    pub error: Option<(String, String)>,
    /// What it would be with every clause in force, if some clause is not.
    pub shadow: Option<Shadow>,
    /// True if no clause is in force: the verdict is only recorded.
    pub only_observes: bool,
    /// Conditions on the use of what is permitted. If clauses differ about one, its value is the list of theirs.
    pub obligations: BTreeMap<String, serde_json::Value>,
    /// Whether it may be told before it is recorded; of an entry: whether it was.
    pub early: Early,
    /// Digest of the bundle. `None`: none was in force.
    pub bundle: Option<String>,
    /// Version of the bundle.
    pub version: Option<u64>,
    /// The versions of the lists that clauses for this tool and action name. 0: the items are those of the bundle.
    pub lists: BTreeMap<String, u64>,
    /// The freeze for which it denies: leaf index of the entry with which that began.
    pub frozen_by: Option<u64>,
    /// What it freezes, because a clause that denies says so.
    pub freeze: Option<FreezeScope>,
    /// The clauses in force that matched and raise an alert.
    pub alerts: Vec<Alerting>,
    /// What clauses in force counted of earlier decisions.
    pub history: Vec<Named>,
    /// What it asks of budgets.
    pub asked: Vec<Asked>,
    /// Seconds within which a report may change what is reserved. It is no part of the verdict.
    pub report_within: u64,
    /// The call after redaction, if clauses in force changed something.
    pub redacted: Option<Redacted>,
    /// True if a clause for this tool and action may redact its calls: the entry then has a mark of the call as it came.
    pub may_redact: bool,
}

impl Ruling {
    /// A denial that no bundle gives.
    pub fn denial(code: &str) -> Self {
        Self {
            verdict: Verdict::Deny,
            code: code.to_owned(),
            clause: None,
            clauses: Vec::new(),
            message: None,
            error: None,
            shadow: None,
            only_observes: false,
            obligations: BTreeMap::new(),
            early: Early::default(),
            bundle: None,
            version: None,
            lists: BTreeMap::new(),
            frozen_by: None,
            freeze: None,
            alerts: Vec::new(),
            history: Vec::new(),
            asked: Vec::new(),
            report_within: REPORT_WITHIN_SECONDS,
            redacted: None,
            may_redact: false,
        }
    }

    /// The denial of a call that is frozen, whatever the policies say. `index`: where the freeze began.
    pub fn frozen(index: u64) -> Self {
        Self { frozen_by: Some(index), ..Self::denial(FROZEN) }
    }

    /// Judges a call by a bundle, the `version` of a log.
    pub fn of(bundle: &Bundle, version: u64, request: &Request<'_>, facts: &Facts) -> Self {
        Self::on(On::Call, (bundle, version), request, facts).limited(bundle, request, facts)
    }

    /// Judges a call or its result, without budgets and rates.
    pub(super) fn on(
        on: On,
        (bundle, version): (&Bundle, u64),
        request: &Request<'_>,
        facts: &Facts,
    ) -> Self {
        let Judgement { verdict, reason, clauses, shadow, mut redacted } =
            bundle.judge_on(on, request, facts);
        let only_observes = bundle.only_observes(&request.agent, facts.now);
        let (verdict, reason, shadow) = match shadow {
            Some((verdict, reason)) if only_observes => (verdict, reason, None),
            shadow => (verdict, reason, shadow),
        };
        // What only observes rests on nothing that posting must compare.
        let history = if only_observes { Vec::new() } else { bundle.counts_of(request, facts) };
        let may_be_early = !only_observes && history.is_empty();
        let early = if may_be_early { early_of(verdict, &clauses) } else { Early::default() };
        let clause = |ground: &Ground<'_>| ground.clause.map(|clause| clause.name.clone());
        let permits = verdict != Verdict::Deny;
        let obliging = clauses.iter().filter(|_| permits);
        // Whatever else is wrong with the call: a clause that stops an agent can't be evaded by an error in another one.
        let denies = verdict == Verdict::Deny && !only_observes;
        let freeze = clauses.iter().filter(|_| denies).filter_map(|clause| clause.freeze).min();
        let shadow = shadow.map(|(verdict, ground)| Shadow {
            verdict,
            code: ground.code.to_owned(),
            clause: clause(&ground),
        });
        let shadow = recorded::shadow(shadow, facts, redacted.as_mut());
        Self {
            verdict,
            code: reason.code.to_owned(),
            clause: clause(&reason),
            clauses: clauses.iter().map(|clause| clause.name.clone()).collect(),
            // Where a condition could not be judged, the clause's message would mislead.
            message: reason
                .clause
                .filter(|_| reason.error.is_none())
                .and_then(|clause| clause.message.clone()),
            error: reason.error.as_ref().map(|(at, why)| (at.clone(), why.to_string())),
            shadow,
            only_observes,
            early,
            obligations: merged(obliging.map(|clause| &clause.obligations)),
            bundle: Some(bundle.digest().to_owned()),
            version: Some(version),
            lists: bundle.rests_on(&request.tool, &request.action),
            frozen_by: None,
            freeze,
            alerts: alerting(&clauses, only_observes),
            history,
            asked: Vec::new(),
            report_within: REPORT_WITHIN_SECONDS,
            redacted,
            may_redact: on == On::Result || bundle.may_redact(&request.tool, &request.action),
        }
    }

    /// The digest of the call that it is about: after redaction.
    pub fn digest(&self, inquiry: &Inquiry<'_>, tenant: &Ident) -> String {
        match &self.redacted {
            None => inquiry.digest(tenant),
            Some(redacted) => inquiry.digest_with(tenant, &redacted.params),
        }
    }

    /// The decision event that records it, as JSON. `as_of`: number of entries that the decider had read; `owners`:
    /// the agent's, beside those that the gateway names; `told`: its place in the spool and why, if it is told before.
    pub fn event(
        &self,
        inquiry: &Inquiry<'_>,
        tenant: &Ident,
        facts: &Facts,
        (as_of, owners): (u64, &[&str]),
        told: Option<(&str, u64, Why)>,
    ) -> Vec<u8> {
        let body = &inquiry.body;
        let kept = |name: &'static str| Some((Cow::Borrowed(name), body.get(name)?.clone()));
        let facts_text = canonical::of(&recorded::facts(facts, self.redacted.as_ref()));
        let mut data: Vec<Member<'_>> = ["agent", "tool", "context", "labels", "cost"]
            .into_iter()
            .filter_map(kept)
            .filter(|(_, value)| *value != Value::Null)
            .map(|(name, value)| match &*name {
                "agent" | "tool" => (name, without_nulls(value)),
                _ => (name, value),
            })
            .collect();
        data.extend([
            member("verdict", text(self.verdict.as_str())),
            member("mode", text(if self.only_observes { "shadow" } else { "enforce" })),
            member("as_of", number(as_of)),
            member(
                "call",
                object([member("digest", Value::String(self.digest(inquiry, tenant).into()))]),
            ),
            member("facts", json::parse(&facts_text).unwrap_or(Value::Null)),
            member("reason", self.reason()),
            member("payload", recorded::payload(inquiry, owners, self.redacted.as_ref())),
        ]);
        for (name, at) in [("verified_by", &facts.verified_by), ("parent", &facts.follows)] {
            data.extend(at.as_ref().map(|at| (Cow::Borrowed(name), place(at))));
        }
        if self.may_redact {
            data.push(member(
                "received",
                Value::String(recorded::mark(inquiry, tenant, facts).into()),
            ));
        }
        data.extend(self.plain());
        data.extend(told.map(|(id, n, why)| {
            let place = [
                member("id", text(id)),
                member("number", number(n)),
                member("why", text(why.as_str())),
            ];
            member("spool", object(place))
        }));
        let mut event: Vec<Member<'_>> =
            ["id", "source", "sequence", "traceparent"].into_iter().filter_map(kept).collect();
        event.extend([
            member("specversion", text("1.0")),
            member("type", text(event::DECISION)),
            member("time", Value::String(facts.now.to_string().into())),
            member("data", Value::Object(data)),
        ]);
        canonical::to_vec(&Value::Object(event))
    }

    /// Bundle, version, lists, deciding clause, shadow and obligations, as far as there are any.
    fn plain(&self) -> Vec<Member<'_>> {
        let mut members = Vec::new();
        if let Some(bundle) = &self.bundle {
            members.push(member("bundle", text(bundle)));
        }
        members.extend(self.frozen_by.map(|index| member("frozen_by", number(index))));
        members.extend(self.freeze.map(|scope| member("freeze", text(scope.as_str()))));
        members.extend(alerts(&self.alerts));
        if !self.lists.is_empty() {
            let lists = self.lists.iter();
            let lists = lists.map(|(name, version)| (Cow::Owned(name.clone()), number(*version)));
            members.push(member("lists", Value::Object(lists.collect())));
        }
        members.extend(self.budgets());
        members.extend(self.counted());
        let version = self.version.map(|version| Value::String(version.to_string().into()));
        let policy: Vec<_> = [
            self.clause.as_deref().map(|clause| member("id", text(clause))),
            version.map(|version| member("version", version)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !policy.is_empty() {
            members.push(member("policy", Value::Object(policy)));
        }
        if let Some(Shadow { verdict, code, clause }) = &self.shadow {
            let mut shadow =
                vec![member("verdict", text(verdict.as_str())), member("code", text(code))];
            shadow.extend(clause.as_deref().map(|clause| member("clause", text(clause))));
            members.push(member("shadow", Value::Object(shadow)));
        }
        if !self.obligations.is_empty() {
            let named = |(name, value): (&'_ String, &serde_json::Value)| {
                (Cow::Owned(name.clone()), of_serde(value))
            };
            let obligations = self.obligations.iter().map(named).collect();
            members.push(member("obligations", Value::Object(obligations)));
        }
        members
    }

    /// Verdict, clause, code and lists, for whoever compares two.
    pub(super) fn in_words(&self) -> String {
        let by = self.clause.as_ref().map(|clause| format!(" by {clause}")).unwrap_or_default();
        let lists: Vec<String> =
            self.lists.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let on = if lists.is_empty() { String::new() } else { format!(" on {}", lists.join(", ")) };
        format!("{}{by} ({}){on}", self.verdict.as_str(), self.code)
    }

    fn reason(&self) -> Value<'_> {
        let mut reason = vec![member("code", text(&self.code))];
        if !self.clauses.is_empty() {
            let clauses = self.clauses.iter().map(|clause| text(clause)).collect();
            reason.push(member("clauses", Value::Array(clauses)));
        }
        reason.extend(self.message.as_deref().map(|message| member("message", text(message))));
        if let Some((at, why)) = &self.error {
            reason.extend([member("at", text(at)), member("why", text(why))]);
        }
        Value::Object(reason)
    }

    /// Reads it from the entry that records it. What was erased is absent. `None` if it is no decision of ours, and not
    /// our report of a result.
    pub fn of_entry(view: &View<'_>, payload: &Fields) -> Option<Self> {
        let is_result = view.is_result();
        let data = |path: &[&str]| {
            let path: Vec<&str> = ["event", "data"].iter().chain(path).copied().collect();
            view.text(&path).map(str::to_owned)
        };
        let verdict = |name: String| Verdict::ALL.iter().find(|(_, n)| *n == name).map(|(v, _)| *v);
        let kept = |name: &str| serde_json::from_slice(payload.get(name)?).ok();
        let words = |name: &str| {
            kept(name).and_then(|value: serde_json::Value| Some(value.as_str()?.to_owned()))
        };
        let shadow = data(&["shadow", "verdict"]).and_then(verdict).map(|verdict| Shadow {
            verdict,
            code: data(&["shadow", "code"]).unwrap_or_default(),
            clause: data(&["shadow", "clause"]),
        });
        let clauses = payload.get("/data/reason/clauses");
        let clauses = clauses.and_then(|clauses| serde_json::from_slice(clauses).ok());
        let early = data(&["spool", "why"]).as_deref().and_then(Why::of);
        let asking = view.at(&["event", "data", "budgets"]).and_then(Asking::read);
        let obligations = payload.get("/data/obligations");
        let obligations = obligations.and_then(|found| serde_json::from_slice(found).ok());
        Some(Self {
            verdict: data(&["verdict"])
                .and_then(verdict)
                .filter(|_| is_result || view.is_ours())?,
            code: data(&["reason", "code"]).filter(|code| is_code(code))?,
            clause: data(&["policy", "id"]),
            clauses: clauses.unwrap_or_default(),
            message: words("/data/reason/message"),
            error: words("/data/reason/at").zip(words("/data/reason/why")),
            shadow,
            only_observes: data(&["mode"]).as_deref() == Some("shadow"),
            obligations: obligations.unwrap_or_default(),
            early: Early {
                later: early == Some(Why::Later),
                unavailable: early == Some(Why::Unavailable),
            },
            bundle: data(&["bundle"]),
            version: data(&["policy", "version"]).and_then(|version| version.parse().ok()),
            report_within: asking
                .as_ref()
                .map_or(REPORT_WITHIN_SECONDS, |asking| asking.report_within),
            asked: asking.map(|asking| asking.asked).unwrap_or_default(),
            history: view
                .at(&["event", "data", "history"])
                .and_then(Named::read_all)
                .unwrap_or_default(),
            lists: view
                .at(&["event", "data"])
                .into_iter()
                .flat_map(lists_of)
                .map(|(name, version)| (name.to_owned(), version))
                .collect(),
            frozen_by: view.at(&["event", "data"]).and_then(frozen_by),
            freeze: view.at(&["event", "data"]).and_then(frozen_by_clause),
            alerts: view.at(&["event", "data"]).map(Alerting::of).unwrap_or_default(),
            redacted: recorded::redacted(payload, if is_result { RESULT } else { "params" }),
            may_redact: data(&["received"]).is_some(),
        })
    }
}

/// What may be told early by the clauses in force that matched: each must permit it.
fn early_of(verdict: Verdict, clauses: &[&Clause]) -> Early {
    let all = |says: fn(&Clause) -> bool| {
        verdict == Verdict::Allow && !clauses.is_empty() && clauses.iter().all(|c| says(c))
    };
    Early { later: all(|c| c.early.later), unavailable: all(|c| c.early.unavailable) }
}
