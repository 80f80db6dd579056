//! Who stands behind what is shown, as this server knows it (`proto/formats/log.md`, *Policy* 5). A verifier judges that by
//! its own policy.

use crate::app::App;
use ledger::{reader::Published, tenant::Tenant};
use serde::Serialize;

/// Up to which tree size more than the log's key stands behind a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Grades {
    /// A majority of the operator's replicas has cosigned the tree of this size. `None`: one server signs this log alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosigned: Option<u64>,
    /// Witnesses have cosigned the tree of this size; 0 if they have not cosigned any. `None`: no witness is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witnessed: Option<u64>,
}

impl Grades {
    /// Those of what is published.
    pub fn of(app: &App, tenant: &Tenant, published: &Published) -> Self {
        // With replicas nothing is published before a majority has cosigned it.
        let cosigned = tenant.replica().map(|_| published.size);
        let witnessed = app.witnesses.newest(tenant).map(|size| size.min(published.size));
        Self { cosigned, witnessed }
    }

    /// In words, for somebody who reads what the first `size` entries say.
    pub fn words(self, size: u64) -> String {
        let by = match self.cosigned {
            Some(_) => "signed by its key and by most of its operator's servers",
            None => "signed by its key",
        };
        let shown = format!("This page shows what the first {size} entries of the log say, {by}.");
        match self.witnessed {
            None => shown,
            Some(0) => format!("{shown} No outside witness has cosigned them yet."),
            Some(seen) if seen >= size => {
                format!("{shown} Outside witnesses have cosigned all of them.")
            }
            Some(seen) => format!("{shown} Outside witnesses have cosigned the first {seen}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cosigned: Option<u64>, witnessed: Option<u64>, json: &str, words: &str) {
        let grades = Grades { cosigned, witnessed };
        assert_eq!(serde_json::to_string(&grades).unwrap(), json);
        assert!(grades.words(9).ends_with(words), "{}", grades.words(9));
    }

    #[test]
    fn p21_grades_are_told() {
        check(None, None, "{}", "entries of the log say, signed by its key.");
        check(Some(9), None, r#"{"cosigned":9}"#, "and by most of its operator's servers.");
        check(None, Some(0), r#"{"witnessed":0}"#, "No outside witness has cosigned them yet.");
        check(Some(9), Some(7), r#"{"cosigned":9,"witnessed":7}"#, "have cosigned the first 7.");
        check(None, Some(9), r#"{"witnessed":9}"#, "have cosigned all of them.");
    }
}
