//! What stands out in the figures: exceptions that need an explanation, and notes.

use super::{Computed, approvals::FAST_SECONDS, later::GoneLater};
use ledger::event::is_reserved_tool;
use serde::Serialize;

/// Most leaves that a finding names.
const LEAVES_MAX: usize = 5;

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

/// A finding, unless nothing was found.
fn finding(
    (weight, code, file): (Weight, &'static str, &'static str),
    leaves: &[u64],
    text: Option<String>,
) -> Option<Finding> {
    let leaves = leaves.iter().copied().take(LEAVES_MAX).collect();
    text.map(|text| Finding { weight, code, text, file, leaves })
}

impl Computed<'_> {
    /// What stands out, the worst first.
    pub fn findings(&self, later: &GoneLater) -> Vec<Finding> {
        let all = [
            self.executed_without_approval(),
            self.unreviewed_policy(),
            self.another_verdict(),
            self.execution_of_no_decision(),
            self.conflict_of_duties(),
            self.never_came(),
            self.silent_source(),
            self.rule_asks_nobody(),
            self.undeclared_source(),
            self.unopened(),
            self.clock_reset(),
            self.erased(),
            erased_later(&later.erased),
            expired_later(later.expired),
            self.expired(),
            self.held(),
            self.fast_answers(),
        ];
        all.into_iter().flatten().collect()
    }

    fn executed_without_approval(&self) -> Option<Finding> {
        let place = (Weight::Exception, "executed_without_approval", "approvals/elevated.csv");
        let without = self.approvals.without_approval();
        let leaves: Vec<u64> = without.iter().map(|(decision, _)| *decision).collect();
        let calls = some(leaves.len(), "call was", "calls were");
        let named: Vec<String> = without
            .iter()
            .filter_map(|(decision, report)| {
                let call = self.approvals.elevated.get(decision)?;
                let what = format!("{} {}/{}", call.agent, call.tool, call.action);
                Some(format!("{what}, decision {decision}, reported by entry {report}"))
            })
            .collect();
        let text = |calls| {
            let named = shown(&named);
            format!(
                "{calls} executed although people had to approve and nobody's approval was redeemed for it: {named}"
            )
        };
        finding(place, &leaves, calls.map(text))
    }

    fn unreviewed_policy(&self) -> Option<Finding> {
        let place = (Weight::Exception, "unreviewed_policy", "policies/versions.csv");
        let unreviewed = self.unreviewed();
        let versions = some(unreviewed.len(), "version of policies", "versions of policies");
        let text = |versions| {
            format!("{versions} took effect without a review: a rule in force asks nobody")
        };
        finding(place, &unreviewed, versions.map(text))
    }

    fn another_verdict(&self) -> Option<Finding> {
        let place = (Weight::Exception, "another_verdict", "replay/not-the-same.csv");
        let verdicts = some(self.different.len(), "verdict", "verdicts");
        let text = |n| format!("{n} of this server can't follow from call, facts and policies");
        finding(place, self.different, verdicts.map(text))
    }

    fn execution_of_no_decision(&self) -> Option<Finding> {
        let place = (Weight::Exception, "execution_of_no_decision", "population/summary.json");
        let unknown = &self.approvals.unknown_executions;
        let executions = some(unknown.len(), "execution names", "executions name");
        let text = |executions| format!("{executions} a decision that this log does not hold");
        finding(place, unknown, executions.map(text))
    }

    fn conflict_of_duties(&self) -> Option<Finding> {
        let place = (Weight::Exception, "conflict_of_duties", "policies/access-review.csv");
        let conflicts = self.changes.conflicts();
        let names: Vec<&str> = conflicts.iter().map(|(person, _)| person.as_str()).collect();
        let text = |people| {
            let names = names.join(", ");
            format!("{people} could propose or issue something and approve it: {names}")
        };
        finding(place, &[], some(names.len(), "person", "people").map(text))
    }

    fn never_came(&self) -> Option<Finding> {
        let place = (Weight::Exception, "missing", "population/gaps.csv");
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let gappy = self.sources.iter().filter(|(_, source)| source.missing > 0);
        let mut leaves: Vec<u64> = gappy.clone().filter_map(|(_, source)| source.gap).collect();
        let gappy: Vec<String> = gappy
            .map(|((producer, name), source)| {
                format!("{producer} {name}: {}", source.numbers_in_words(LEAVES_MAX))
            })
            .collect();
        let numbers = some(count(self.missing()), "numbered event", "numbered events");
        let numbers = numbers.map(|numbers| format!("{numbers} ({})", joined("; ", &gappy)));
        let gone = count(self.totals.journal_gaps);
        let gone = some(gone, "message of the journal", "messages of the journal");
        let rows = self.totals.journal_gone.iter();
        leaves.extend(rows.clone().map(|(_, _, entry)| *entry));
        let rows = super::sources::in_words(rows.map(|(from, to, _)| (*from, *to)), LEAVES_MAX);
        let gone = gone.map(|gone| format!("{gone} ({rows})"));
        let parts: Vec<String> = numbers.into_iter().chain(gone).collect();
        let text = || format!("{} never arrived", parts.join(" and "));
        finding(place, &leaves, (!parts.is_empty()).then(text))
    }

    fn silent_source(&self) -> Option<Finding> {
        let place = (Weight::Exception, "silent_source", "population/sources.csv");
        let silent: Vec<String> = self
            .sources
            .iter()
            .filter(|(_, source)| source.was_silent())
            .map(|((producer, name), source)| {
                format!("{producer} {name} for {} s from {}", source.silence, source.silent_since)
            })
            .collect();
        let text =
            |sources| format!("{sources} silent for longer than declared: {}", shown(&silent));
        finding(place, &[], some(silent.len(), "source was", "sources were").map(text))
    }

    fn undeclared_source(&self) -> Option<Finding> {
        let place = (Weight::Note, "undeclared_source", "population/sources.csv");
        let any = self.sources.values().any(|source| source.declared.is_some());
        let undeclared: Vec<String> = self
            .sources
            .iter()
            .filter(|((producer, _), source)| {
                any && source.declared.is_none() && !is_reserved_tool(producer)
            })
            .map(|((producer, name), _)| format!("{producer} {name}"))
            .collect();
        let text = |sources| format!("{sources} that nobody declared: {}", shown(&undeclared));
        finding(place, &[], some(undeclared.len(), "source reported", "sources reported").map(text))
    }

    fn unopened(&self) -> Option<Finding> {
        let place = (Weight::Note, "asked_nobody", "approvals/elevated.csv");
        let calls = self.approvals.elevated.iter().filter(|(_, call)| call.unopened.is_some());
        let leaves: Vec<u64> = calls.map(|(index, _)| *index).collect();
        let calls = some(leaves.len(), "call", "calls");
        let text = |calls| format!("{calls} needed people, and nobody could be asked");
        finding(place, &leaves, calls.map(text))
    }

    fn rule_asks_nobody(&self) -> Option<Finding> {
        let place = (Weight::Note, "rule_asks_nobody", "policies/changes.csv");
        let (index, names) = self.changes.rules.as_ref()?;
        let text = || {
            format!(
                "at the end of the period, these rules asked nobody (`unreviewed`): {}",
                quoted(names)
            )
        };
        finding(place, &[*index], (!names.is_empty()).then(text))
    }

    fn clock_reset(&self) -> Option<Finding> {
        let place = (Weight::Note, "clock_reset", "policies/changes.csv");
        let outside = usize::try_from(self.totals.outside).unwrap_or(usize::MAX);
        let text = |entries| {
            format!(
                "between the first and the last entry of the period, {entries} another time: a clock was reset"
            )
        };
        finding(place, &[], some(outside, "entry has", "entries have").map(text))
    }

    fn erased(&self) -> Option<Finding> {
        let place = (Weight::Note, "erased", "policies/changes.csv");
        let erasures = &self.changes.erasures;
        let entries = some(erasures.len(), "erasure", "erasures");
        finding(place, erasures, entries.map(|erasures| format!("{erasures} of payload")))
    }

    fn expired(&self) -> Option<Finding> {
        let place = (Weight::Note, "expired", "policies/changes.csv");
        let expired = usize::try_from(self.changes.expired).unwrap_or(usize::MAX);
        let entries = some(expired, "entry", "entries");
        finding(
            place,
            &[],
            entries.map(|entries| format!("the payload of {entries} expired by age")),
        )
    }

    fn held(&self) -> Option<Finding> {
        let place = (Weight::Note, "legal_hold", "privacy/retention.json");
        let holds = &self.changes.retention.holds;
        let leaves: Vec<u64> = holds.values().copied().collect();
        let text = some(holds.len(), "legal hold is", "legal holds are");
        finding(
            place,
            &leaves,
            text.map(|holds| format!("{holds} in force at the end: nothing is erased")),
        )
    }

    fn fast_answers(&self) -> Option<Finding> {
        let place = (Weight::Note, "fast_answers", "approvals/people.csv");
        let fast = self.approvals.people.values().map(super::approvals::Person::fast).sum();
        let answers = some(fast, "answer of a person came", "answers of people came");
        finding(
            place,
            &[],
            answers.map(|answers| format!("{answers} within {FAST_SECONDS} seconds")),
        )
    }
}

/// `entries`: leaf indexes of what erasures after the checkpoint erased.
fn erased_later(entries: &[u64]) -> Option<Finding> {
    let place = (Weight::Note, "erased_later", "privacy/erased-later.csv");
    let text = |entries| {
        format!(
            "{entries} erased after the checkpoint of this evidence, by entries whose receipts are in proof/erasures"
        )
    };
    let what = some(entries.len(), "entry had payload that was", "entries had payload that was");
    finding(place, entries, what.map(text))
}

/// `entries`: how many entries lost their payload by retention after the checkpoint.
fn expired_later(entries: usize) -> Option<Finding> {
    let place = (Weight::Note, "expired_later", "privacy/expired-later.csv");
    let text = |entries| {
        format!(
            "{entries} expired after the checkpoint of this evidence, by entries whose receipts are in proof/expired"
        )
    };
    let what = some(entries, "entry had payload that", "entries had payload that");
    finding(place, &[], what.map(text))
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("“{name}”")).collect::<Vec<_>>().join(", ")
}

/// The first few names.
fn shown(names: &[String]) -> String {
    joined(", ", names)
}

fn joined(between: &str, names: &[String]) -> String {
    let rest = names.len().saturating_sub(LEAVES_MAX);
    let first = names[..names.len() - rest].join(between);
    if rest == 0 { first } else { format!("{first}{between}and {rest} more") }
}

/// A count with its noun. `None` if there is nothing.
fn some(n: usize, one: &str, several: &str) -> Option<String> {
    match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {several}")),
    }
}
