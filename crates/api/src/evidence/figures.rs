//! The figures of the evidence, each with what it was computed from, and what stands out in them.

use super::{
    Request,
    approvals::{Approvals, FAST_SECONDS, is_unreviewed},
    changes::Changes,
    log::Log,
    population::Totals,
    sources::{Name, Source},
    verdicts,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Most leaves that a finding names.
const LEAVES_MAX: usize = 5;

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
    /// Its unit, if it is no number of things.
    pub unit: Option<&'static str>,
    /// What it should be.
    pub target: Option<&'static str>,
    /// The file that shows it.
    pub file: &'static str,
}

impl Figure {
    /// The value for people.
    pub fn value(&self) -> String {
        match (self.of, self.unit) {
            (Some(0), _) => "nothing to count".to_owned(),
            (Some(of), _) => {
                // One decimal, cut off: 99.96 % is never shown as 100 %.
                let tenths = u128::from(self.count) * 1_000 / u128::from(of);
                format!("{}.{} % ({} of {})", tenths / 10, tenths % 10, self.count, of)
            }
            (None, Some(unit)) => format!("{} {unit}", self.count),
            (None, None) => self.count.to_string(),
        }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// It needs an explanation.
    Exception,
    /// A reader should know it.
    Note,
}

/// What stands out.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// A code that stays the same.
    pub code: &'static str,
    /// In words.
    pub text: String,
    /// The file that shows it.
    pub file: &'static str,
    /// Leaf indexes of entries that show it, the first few.
    pub leaves: Vec<u64>,
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
}

fn count(name: &'static str, title: &'static str, count: u64, file: &'static str) -> Figure {
    Figure { name, title, count, of: None, unit: None, target: None, file }
}

impl Computed<'_> {
    fn missing(&self) -> u64 {
        self.sources.values().fold(0, |sum, source| sum.saturating_add(source.missing))
    }

    /// Activations of the period that nobody reviewed.
    fn unreviewed(&self) -> Vec<u64> {
        let of = |approval: &str| self.approvals.state(approval).is_some_and(is_unreviewed);
        let found = self.changes.versions.iter().filter(|v| !v.before && of(&v.approval));
        found.map(|version| version.index).collect()
    }

    /// All figures.
    pub fn figures(&self) -> Vec<Figure> {
        const DECISIONS: &str = "population/decisions.csv";
        const COUNTS: &str = "population/counts.csv";
        const ELEVATED: &str = "approvals/elevated.csv";
        const PEOPLE: &str = "approvals/people.csv";
        const CHANGES: &str = "policies/changes.csv";
        let (totals, changes) = (self.totals, self.changes);
        let verdict = |name: &str| totals.verdicts.get(name).copied().unwrap_or_default();
        let changed = |name: &str| changes.counts.get(name).copied().unwrap_or_default();
        let people = self.approvals.people.values();
        let sum =
            |of: &dyn Fn(&super::approvals::Person) -> u64| people.clone().map(of).sum::<u64>();
        let share = |name, title, (count, of), target, file| Figure {
            of: Some(of),
            target,
            ..self::count(name, title, count, file)
        };
        let (executed, permitted) = self.approvals.executed_and_permitted();
        let entries: u64 = totals.kinds.values().sum();
        let known_missing = self.missing().saturating_add(totals.journal_gaps);
        let replayed = self.verdicts.same + self.verdicts.different;
        let not_possible: u64 = self.verdicts.not_possible.values().sum();
        let answers = sum(&super::approvals::Person::answers);
        let mut figures = vec![
            count("entries", "Entries of the period", entries, "population/summary.json"),
            count("decisions", "Decisions", totals.decisions, DECISIONS),
            count("allowed", "Allowed", verdict("allow"), COUNTS),
            count("denied", "Denied (blocked events)", verdict("deny"), COUNTS),
            count("approval_needed", "Needed people", verdict("approval_needed"), COUNTS),
            count("sanitized", "Allowed after redaction", verdict("sanitize"), COUNTS),
            share(
                "policy_coverage",
                "Policy coverage: decisions that name a policy and its version",
                (totals.covered, totals.decisions),
                Some("at least 80 %"),
                DECISIONS,
            ),
            share(
                "elevated_with_approval",
                "Executed after people were needed, with an approval that was redeemed",
                (permitted, executed),
                Some("100 %"),
                ELEVATED,
            ),
            share(
                "completeness",
                "Evidence completeness: entries, of these and all that are known missing",
                (entries, entries.saturating_add(known_missing)),
                Some("100 %"),
                "population/sources.csv",
            ),
            share(
                "executions_with_decision",
                "Executions that name their decision",
                (totals.executions_with_decision, totals.executions),
                Some("100 %"),
                "population/summary.json",
            ),
            share(
                "replay_accuracy",
                "Replay accuracy: verdicts computed again with the same result",
                (self.verdicts.same, replayed),
                Some("100 %"),
                "replay/not-the-same.csv",
            ),
            count(
                "not_replayable",
                "Verdicts that could not be computed again",
                not_possible,
                "replay/not-the-same.csv",
            ),
            count(
                "approvals",
                "Approvals with a message in the period",
                self.approvals.phases().values().sum(),
                "approvals/approvals.csv",
            ),
            share(
                "fast_answers",
                "Answers of people within 10 seconds",
                (sum(&|person| person.fast() as u64), answers),
                None,
                PEOPLE,
            ),
            count(
                "own_calls_refused",
                "Answers refused because the person owns the agent",
                sum(&|person| person.own_calls),
                "approvals/refusals.csv",
            ),
            count(
                "tokens_redeemed",
                "Override tokens redeemed",
                self.approvals.tokens.1,
                "approvals/approvals.csv",
            ),
            count(
                "redemptions_refused",
                "Redemptions refused",
                self.approvals.tokens.2,
                "approvals/refusals.csv",
            ),
            count(
                "policy_versions",
                "Versions of policies that took effect",
                changed("policies in force"),
                "policies/versions.csv",
            ),
            count(
                "unreviewed_policies",
                "Of these, without a review",
                self.unreviewed().len() as u64,
                "policies/versions.csv",
            ),
            count("rules_changed", "Changes of rules or people", changed("rules applied"), CHANGES),
            count("keys_issued", "API keys issued", changed("key issued"), CHANGES),
            count("keys_removed", "API keys removed", changed("key removed"), CHANGES),
            count(
                "keys_in_force",
                "API keys in force at the end",
                changes.keys.len() as u64,
                "policies/access-review.csv",
            ),
            count(
                "conflicts",
                "People with keys of more than one of author, reviewer, admin",
                changes.conflicts().len() as u64,
                "policies/access-review.csv",
            ),
            count("erasures", "Erasures of payload", changes.erasures.len() as u64, CHANGES),
            count(
                "payload_reads",
                "Recorded readings of payload",
                changed("payload read"),
                "privacy/reads.csv",
            ),
            count(
                "missing_numbers",
                "Numbers of sources that never came",
                self.missing(),
                "population/gaps.csv",
            ),
            count(
                "journal_gaps",
                "Journal messages that are gone",
                totals.journal_gaps,
                "population/gaps.csv",
            ),
            Figure {
                unit: Some("s"),
                ..count(
                    "longest_pause",
                    "Longest time without an entry",
                    changes.pause.0,
                    "population/summary.json",
                )
            },
        ];
        if let Some((half, nearly_all)) = totals.latency_us {
            let file = DECISIONS;
            let (p50, p99) = (
                "Decision latency, p50: from the verdict to the journal",
                "Decision latency, p99: from the verdict to the journal",
            );
            figures.push(Figure { unit: Some("µs"), ..count("latency_p50", p50, half, file) });
            figures.push(Figure {
                unit: Some("µs"),
                target: Some("20 ms"),
                ..count("latency_p99", p99, nearly_all, file)
            });
        }
        figures
    }

    /// What stands out, the worst first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |weight, code, file, found: &[u64], text: String| {
            let leaves = found.iter().copied().take(LEAVES_MAX).collect();
            findings.push(Finding { weight, code, text, file, leaves });
        };
        let (exception, note) = (Weight::Exception, Weight::Note);
        let without = self.approvals.without_approval();
        if !without.is_empty() {
            let leaves: Vec<u64> = without.iter().map(|(decision, _)| *decision).collect();
            add(
                exception,
                "executed_without_approval",
                "approvals/elevated.csv",
                &leaves,
                format!(
                    "{} executed although people had to approve and no approval was redeemed",
                    calls(without.len())
                ),
            );
        }
        let unreviewed = self.unreviewed();
        if !unreviewed.is_empty() {
            add(
                exception,
                "unreviewed_policy",
                "policies/versions.csv",
                &unreviewed,
                format!(
                    "{} took effect without a review: the rule asks nobody",
                    versions(unreviewed.len())
                ),
            );
        }
        if !self.different.is_empty() {
            add(
                exception,
                "another_verdict",
                "replay/not-the-same.csv",
                self.different,
                format!(
                    "{} of this server can't follow from their call, facts and policies",
                    self.different.len()
                ),
            );
        }
        let unknown = &self.approvals.unknown_executions;
        if !unknown.is_empty() {
            add(
                exception,
                "execution_of_no_decision",
                "population/summary.json",
                unknown,
                format!("{} a decision that this log does not hold",
                count_of(length(unknown), "execution names", "executions name")),
            );
        }
        let conflicts = self.changes.conflicts();
        if !conflicts.is_empty() {
            let names: Vec<&str> = conflicts.iter().map(|(person, _)| person.as_str()).collect();
            add(
                exception,
                "conflict_of_duties",
                "policies/access-review.csv",
                &[],
                format!(
                    "{} could propose or issue something and approve it: {}",
                    count_of(length(&names), "person", "people"),
                    names.join(", ")
                ),
            );
        }
        let (missing, gone) = (self.missing(), self.totals.journal_gaps);
        if missing + gone > 0 {
            add(
                exception,
                "missing",
                "population/gaps.csv",
                &[],
                format!(
                    "{missing} numbers of sources never came, {gone} messages of the journal are gone"
                ),
            );
        }
        if let Some((index, names)) =
            self.changes.rules.as_ref().filter(|(_, names)| !names.is_empty())
        {
            add(
                note,
                "rule_asks_nobody",
                "policies/changes.csv",
                &[*index],
                format!("at the end of the period these rules asked nobody: {}", names.join(", ")),
            );
        }
        if self.totals.outside > 0 {
            add(
                note,
                "clock_reset",
                "policies/changes.csv",
                &[],
                format!(
                    "{} entries between the first and the last of the period have another time: a clock was reset",
                    self.totals.outside
                ),
            );
        }
        let erasures = &self.changes.erasures;
        if !erasures.is_empty() {
            add(
                note,
                "erased",
                "policies/changes.csv",
                erasures,
                format!("payload was erased {}", count_of(length(erasures), "time", "times")),
            );
        }
        let fast: u64 = self.approvals.people.values().map(|person| person.fast() as u64).sum();
        if fast > 0 {
            add(
                note,
                "fast_answers",
                "approvals/people.csv",
                &[],
                format!("{fast} answers of people came within {FAST_SECONDS} seconds"),
            );
        }
        findings.sort_by_key(|finding| finding.weight);
        findings
    }
}

/// A count with its noun.
fn count_of(n: u64, one: &str, several: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {several}") }
}

fn length(found: &[impl Sized]) -> u64 {
    found.len() as u64
}
