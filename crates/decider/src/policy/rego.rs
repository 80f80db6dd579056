//! The same policies as Rego v1, for a gateway with its own OPA: a fixed library, a function for each clause, and data.
//!
//! Exact semantics, or a denial: where OPA can't say what a clause says of a call, the clause denies there (`not_in_opa`).

mod clauses;
mod data;
mod pattern;

use super::bundle::Bundle;
use clauses::Writer;
use std::collections::BTreeSet;

/// The root of everything that a bundle has in OPA.
const ROOT: &str = "countersign";
/// What is the same for all policies.
const LIBRARY: [(&str, &str); 3] = [
    ("countersign/conditions.rego", include_str!("rego/conditions.rego")),
    ("countersign/redaction.rego", include_str!("rego/redaction.rego")),
    ("countersign/verdict.rego", include_str!("rego/verdict.rego")),
];

/// The files of a bundle for OPA, without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegoExport {
    /// Path and content, in the order of the paths.
    pub files: Vec<(String, Vec<u8>)>,
    /// What OPA can't judge: clause, and what it denies there.
    pub left: Vec<String>,
}

impl Bundle {
    /// The bundle as Rego. `version`: the version of the log, 0 if it is none; `metadata`: what the manifest says of it.
    pub fn to_rego(&self, version: u64, metadata: &serde_json::Value) -> RegoExport {
        let mut writer = Writer::new(self);
        for (place, clause) in self.clauses().iter().enumerate() {
            writer.clause(place, clause);
        }
        for budget in &self.budgets {
            writer.budget(budget);
        }
        let (policies, left) = writer.finish();
        let manifest = serde_json::json!({
            "revision": format!("{version}-{}", self.digest()), "roots": [ROOT], "rego_version": 1, "metadata": metadata,
        });
        let data = serde_json::json!({ROOT: {"content": data::of(self, version)}});
        let mut files = vec![
            (".manifest".to_owned(), data::written(&manifest).into_bytes()),
            ("countersign/policies.rego".to_owned(), policies.into_bytes()),
            ("data.json".to_owned(), data::written(&data).into_bytes()),
        ];
        files.extend(LIBRARY.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())));
        files.sort_unstable();
        let mut seen = BTreeSet::new();
        let left = left.into_iter().filter(|line| seen.insert(line.clone())).collect();
        RegoExport { files, left }
    }
}

#[cfg(test)]
mod tests;
