use super::{bundle, verdict};
use proptest::prelude::*;

/// Conditions that hold, do not hold, and can't be judged.
const TRUTHS: [&str; 4] =
    ["", "{identity: verified}", "{purpose: [care]}", "{not: {identity: verified}}"];

proptest! {
    /// P15: neither the order of clauses nor their files change the verdict; a further deny never permits more, and
    /// taking an allow away never permits more.
    #[test]
    fn p15_order_never_matters(
        clauses in proptest::collection::vec((0..TRUTHS.len(), 0..3_usize), 1..8),
        seed in any::<u64>(),
    ) {
        let then = ["allow", "approval_needed", "deny"];
        let named: Vec<(usize, &str, &str)> =
            clauses.iter().enumerate().map(|(at, (when, what))| (at, TRUTHS[*when], then[*what])).collect();
        let file = |clauses: &[(usize, &str, &str)], name: &str| {
            let line = |(at, when, then): &(usize, &str, &str)| {
                let when = if when.is_empty() { String::new() } else { format!(", when: {when}") };
                format!("  - {{id: c{at}, tool: t{when}, then: {then}}}\n")
            };
            let text = clauses.iter().map(line).collect::<Vec<_>>().concat();
            (format!("policies/{name}.yaml"), format!("language: 1\npolicy: p\nclauses:\n{text}"))
        };
        let judged = |clauses: &[(usize, &str, &str)]| {
            let (path, text) = file(clauses, "p");
            verdict(&bundle(&[(&path, text)]), "")
        };
        let straight = judged(&named);
        let mut mixed = named.clone();
        let turn = (seed % named.len() as u64) as usize;
        mixed.rotate_left(turn);
        mixed.reverse();
        prop_assert_eq!(&judged(&mixed), &straight);
        let with_deny: Vec<_> = named.iter().copied().chain([(99, "", "deny")]).collect();
        prop_assert!(judged(&with_deny).starts_with("deny"));
        if straight.starts_with("deny") && named.len() > 1 {
            let fewer: Vec<_> = named.iter().copied().filter(|(_, _, then)| *then != "allow").collect();
            if !fewer.is_empty() {
                prop_assert!(!judged(&fewer).starts_with("allow"));
            }
        }
    }
}
