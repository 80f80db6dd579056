//! What the tests of a bundle leave open, in words, for who proposes it and who reviews it.

use super::{Coverage, Survivor, TestCase, coverage, mutate::changes_of, survivors};
use crate::policy::Bundle;

/// Most tests that are run on changed policies without being asked to: each change is tried with each test.
const RUNS_MAX: usize = 100_000;

/// What no test shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Clauses that no test matches, or that no test shows to leave anything out: name, and which of the two.
    pub unmet: Vec<(String, &'static str)>,
    /// Changes that no test notices. `None` if trying them all would take too long.
    pub unnoticed: Option<Vec<Survivor>>,
}

impl Coverage {
    /// What is missing, in words.
    pub fn hint(&self) -> Option<&'static str> {
        match (self.matched, self.not_matched) {
            (0, _) => Some("no test matches it"),
            (_, 0) if self.is_conditional => Some("no test shows what it leaves out"),
            _ => None,
        }
    }
}

/// What the tests leave open. All of them must pass.
pub fn gaps(bundle: &Bundle, cases: &[TestCase]) -> Gaps {
    let met = coverage(bundle, cases).into_iter();
    let unmet = met.filter_map(|(clause, met)| Some((clause, met.hint()?)));
    let runs = changes_of(bundle).saturating_mul(cases.len());
    let unnoticed = (runs <= RUNS_MAX).then(|| survivors(bundle, cases, |_, _| {}));
    Gaps { unmet: unmet.collect(), unnoticed }
}

impl Gaps {
    /// In one sentence, with the first `most` names of each kind. `None` if the tests leave nothing open.
    pub fn in_words(&self, most: usize) -> Option<String> {
        let mut parts = Vec::new();
        for what in ["no test matches it", "no test shows what it leaves out"] {
            let clauses = self.unmet.iter().filter(|(_, hint)| *hint == what);
            let clauses: Vec<&str> = clauses.map(|(clause, _)| clause.as_str()).collect();
            if !clauses.is_empty() {
                parts.push(format!("{what}: {}", named(&clauses, most)));
            }
        }
        match &self.unnoticed {
            None => parts.push(
                "whether the tests notice changes was not tried: there are too many of both".into(),
            ),
            Some(survivors) if !survivors.is_empty() => {
                let told: Vec<String> =
                    survivors.iter().map(|s| format!("{}: {}", s.clause, s.change)).collect();
                let told: Vec<&str> = told.iter().map(String::as_str).collect();
                parts.push(format!(
                    "changes that no test notices: {} ({})",
                    survivors.len(),
                    named(&told, most)
                ));
            }
            Some(_) => {}
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn named(all: &[&str], most: usize) -> String {
    let more = all.len().saturating_sub(most);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", all[..all.len().min(most)].join(", "))
}
