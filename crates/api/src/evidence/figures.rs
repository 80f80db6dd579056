//! The figures of the evidence, each with what it was computed from.

use super::{
    Request,
    approvals::{Approvals, Person, is_unreviewed},
    changes::Changes,
    log::Log,
    population::Totals,
    sources::{Name, Source},
    verdicts,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// One figure: a count, or a share with its two counts.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Its name, for controls and machines.
    pub name: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The count, or the numerator.
    pub count: u64,
    /// The denominator of a share. A share of nothing has no value.
    pub of: Option<u64>,
    /// What it should be.
    pub target: Option<&'static str>,
    /// The file that shows it.
    pub file: &'static str,
}

impl Figure {
    /// The value for people.
    pub fn value(&self) -> String {
        match self.of {
            Some(0) => "nothing to count".to_owned(),
            Some(of) => {
                // One decimal, cut off: 99.96 % is never shown as 100 %.
                let tenths = u128::from(self.count) * 1_000 / u128::from(of);
                format!("{}.{} % ({} of {})", tenths / 10, tenths % 10, self.count, of)
            }
            None => self.count.to_string(),
        }
    }
}

/// Everything that was computed.
pub struct Computed<'c> {
    /// The request.
    pub request: &'c Request,
    /// The log.
    pub log: &'c Log<'c>,
    /// Part 1.
    pub totals: &'c Totals,
    /// Part 1, sources.
    pub sources: &'c BTreeMap<Name, Source>,
    /// Part 3.
    pub approvals: &'c Approvals,
    /// Part 4.
    pub changes: &'c Changes,
    /// Part 5.
    pub verdicts: &'c verdicts::Tally,
    /// Part 5: leaf indexes of verdicts with another result.
    pub different: &'c [u64],
    /// Part 7.
    pub privacy: super::privacy::Totals,
    /// Part 6: minutes with a probe of each decider, of the minutes of the period.
    pub availability: (u64, u64),
    /// Part 6: alerts and incidents.
    pub watched: super::watched::Totals,
    /// Part 4: sign-ins.
    pub sign_ins: super::sign_ins::Totals,
    /// Part 6: sinks, by name.
    pub sinks: &'c [super::deliveries::Sink],
}

/// How one figure is computed: its count, and of how many.
struct Rule {
    name: &'static str,
    title: &'static str,
    file: &'static str,
    target: Option<&'static str>,
    value: fn(&Computed<'_>) -> (u64, Option<u64>),
}

const DECISIONS: &str = "population/decisions.csv";
const COUNTS: &str = "population/counts.csv";
const SUMMARY: &str = "population/summary.json";
const GAPS: &str = "population/gaps.csv";
const APPROVALS: &str = "approvals/approvals.csv";
const REFUSALS: &str = "approvals/refusals.csv";
const VERSIONS: &str = "policies/versions.csv";
const CHANGES: &str = "policies/changes.csv";
const ACCESS: &str = "policies/access-review.csv";
const SIGN_INS: &str = "policies/sign-ins.csv";
const RETENTION: &str = "privacy/retention.json";
const ALERTS: &str = "operation/alerts.csv";
const INCIDENTS: &str = "operation/incidents.csv";
const REPLAY: &str = "replay/not-the-same.csv";

/// Every figure, in the order in which they are shown.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule("entries", "Entries of the period", SUMMARY, |c| (c.entries(), None)),
    rule("decisions", "Decisions", DECISIONS, |c| (c.totals.decisions, None)),
    rule("allowed", "Allowed", COUNTS, |c| (c.verdict("allow"), None)),
    rule("denied", "Denied (blocked events)", COUNTS, |c| (c.verdict("deny"), None)),
    rule("approval_needed", "Calls that needed approval", COUNTS, |c| (c.verdict("approval_needed"), None)),
    rule("sanitized", "Allowed after redaction", COUNTS, |c| (c.verdict("sanitize"), None)),
    share("policy_coverage", "Policy coverage: decisions that name a policy and its version", DECISIONS, "at least 80 %",
        |c| (c.totals.covered, Some(c.totals.decisions))),
    share("elevated_with_approval", "Calls that needed approval, were executed, and had it", "approvals/elevated.csv", "100 %",
        |c| { let (executed, permitted) = c.approvals.executed_and_permitted(); (permitted, Some(executed)) }),
    share("completeness", "Evidence completeness: entries that arrived, of all that should have", "population/sources.csv", "100 %",
        |c| (c.entries(), Some(c.entries().saturating_add(c.missing()).saturating_add(c.totals.journal_gaps)))),
    share("executions_with_decision", "Executions that name their decision, by index and leaf hash", SUMMARY, "100 %",
        |c| (c.totals.executions_with_decision, Some(c.totals.executions))),
    share("replay_accuracy", "Replay accuracy: verdicts computed again with the same result", REPLAY, "100 %",
        |c| (c.verdicts.same, Some(c.verdicts.same + c.verdicts.different))),
    rule("not_replayable", "Verdicts that could not be computed again", REPLAY, |c| (c.verdicts.not_possible.values().sum(), None)),
    rule("approvals", "Approvals with a message in the period", APPROVALS, |c| (c.approvals.phases().values().sum(), None)),
    rule("fast_answers", "Answers of people within 10 seconds", "approvals/people.csv",
        |c| (c.people(|person| person.fast() as u64), Some(c.people(Person::answers)))),
    rule("answers_unseen", "Answers on the page without the page having been opened", "approvals/people.csv", |c| (c.people(|person| person.unseen), None)),
    rule("answers_together", "Answers from the list of like calls, one press for several", "approvals/people.csv", |c| (c.people(|person| person.together), None)),
    rule("sources_declared", "Sources that must report", "population/sources.csv", |c| (c.of_sources(|source| source.declared.is_some()), None)),
    rule("sources_silent", "Declared sources that were silent for too long", "population/sources.csv", |c| (c.of_sources(Source::was_silent), None)),
    rule("own_calls_refused", "Answers refused because the person owns the agent", REFUSALS, |c| (c.people(|person| person.own_calls), None)),
    rule("tokens_redeemed", "Override tokens redeemed", APPROVALS, |c| (c.approvals.tokens.1, None)),
    rule("redemptions_refused", "Redemptions refused", REFUSALS, |c| (c.approvals.tokens.2, None)),
    rule("policy_versions", "Versions of policies that took effect", VERSIONS, |c| (c.times("policies in force"), None)),
    rule("unreviewed_policies", "Versions of policies that took effect without a review", VERSIONS, |c| (c.unreviewed().len() as u64, None)),
    rule("rules_changed", "Changes of rules or people", CHANGES, |c| (c.times("rules applied"), None)),
    rule("keys_issued", "API keys issued", CHANGES, |c| (c.times("key issued"), None)),
    rule("keys_removed", "API keys removed", CHANGES, |c| (c.times("key removed"), None)),
    rule("keys_in_force", "API keys in force at the end", ACCESS, |c| (c.changes.keys.len() as u64, None)),
    rule("conflicts", "People with keys of more than one of author, reviewer, admin", ACCESS, |c| (c.changes.conflicts().len() as u64, None)),
    rule("sign_ins", "Sign-ins of people on the pages, at most one a minute for each key", SIGN_INS, |c| (c.sign_ins.all, None)),
    rule("sign_ins_by_key", "Sign-ins with a reviewer key, of all", SIGN_INS, |c| (c.sign_ins.by_key, Some(c.sign_ins.all))),
    rule("erasures", "Erasures of payload", CHANGES, |c| (c.changes.erasures.len() as u64, None)),
    rule("payload_expired", "Entries whose payload expired by age", CHANGES, |c| (c.changes.expired, None)),
    rule("legal_holds", "Legal holds in force at the end", RETENTION, |c| (c.changes.retention.holds.len() as u64, None)),
    rule("payload_reads", "Recorded readings of payload", "privacy/reads.csv", |c| (c.times("payload read"), None)),
    rule("missing_numbers", "Numbers of sources that never came", GAPS, |c| (c.missing(), None)),
    rule("journal_gaps", "Journal messages that are gone", GAPS, |c| (c.totals.journal_gaps, None)),
    share("availability", "Availability: minutes with a probe of each decider in the log", "population/availability.csv", "99.9 %",
        |c| (c.availability.0, Some(c.availability.1))),
    rule("alerts_raised", "Alerts raised", ALERTS, |c| (c.watched.raised, None)),
    rule("alerts_closed", "Alerts closed, whenever they were raised", ALERTS, |c| (c.watched.closed, None)),
    rule("alerts_open", "Alerts open at the end", ALERTS, |c| (c.watched.open, None)),
    rule("incidents_opened", "Incidents opened", INCIDENTS, |c| (c.watched.incidents, None)),
    rule("incidents_closed", "Incidents closed, whenever they were opened", INCIDENTS, |c| (c.watched.incidents_closed, None)),
    rule("incidents_open", "Incidents open at the end", INCIDENTS, |c| (c.watched.incidents_open, None)),
    rule("longest_pause", "Longest time without an entry, in seconds", SUMMARY, |c| (c.changes.pause.0, None)),
    rule("latency_p50", "Decision latency, half of all within, from verdict to journal, in microseconds", DECISIONS, |c| (c.totals.latency_us.unwrap_or_default().0, None)),
    Rule { target: Some("20,000"), ..rule("latency_p99", "Decision latency, 99 % within, from verdict to journal, in microseconds", DECISIONS, |c| (c.totals.latency_us.unwrap_or_default().1, None)) },
];

type Value = fn(&Computed<'_>) -> (u64, Option<u64>);

const fn rule(name: &'static str, title: &'static str, file: &'static str, value: Value) -> Rule {
    Rule { name, title, file, target: None, value }
}

const fn share(
    name: &'static str,
    title: &'static str,
    file: &'static str,
    target: &'static str,
    value: Value,
) -> Rule {
    Rule { name, title, file, target: Some(target), value }
}

impl Computed<'_> {
    pub(super) fn missing(&self) -> u64 {
        self.sources.values().fold(0, |sum, source| sum.saturating_add(source.missing))
    }

    /// Activations of the period that nobody reviewed.
    pub(super) fn unreviewed(&self) -> Vec<u64> {
        let of = |approval: &str| self.approvals.state(approval).is_some_and(is_unreviewed);
        let found = self.changes.versions.iter().filter(|v| !v.before && of(&v.approval));
        found.map(|version| version.index).collect()
    }

    fn entries(&self) -> u64 {
        self.totals.kinds.values().sum()
    }

    fn verdict(&self, name: &str) -> u64 {
        self.totals.verdicts.get(name).copied().unwrap_or_default()
    }

    /// How often something was changed in the period.
    fn times(&self, change: &str) -> u64 {
        self.changes.counts.get(change).copied().unwrap_or_default()
    }

    fn of_sources(&self, is: fn(&Source) -> bool) -> u64 {
        self.sources.values().filter(|source| is(source)).count() as u64
    }

    fn people(&self, of: fn(&Person) -> u64) -> u64 {
        self.approvals.people.values().map(of).sum()
    }

    /// All figures.
    pub fn figures(&self) -> Vec<Figure> {
        let figure = |rule: &Rule| {
            let (count, of) = (rule.value)(self);
            let Rule { name, title, file, target, .. } = *rule;
            Figure { name, title, count, of, target, file }
        };
        RULES.iter().map(figure).collect()
    }
}
