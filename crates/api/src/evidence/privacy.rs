//! Part 7, privacy: which agent touched whose data, for which purpose. What it can say depends on the payload that the
//! evidence may hold.

use super::{Error, Out, log::Log, table::Table, values::text};
use ledger::entry::{Kind, View};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most subjects that are counted by name. Others are counted together, as `(others)`.
const SUBJECTS_MAX: usize = 100_000;
/// The name of those beyond the limit.
const OTHERS: &str = "(others)";

/// What an agent did with a tool for a purpose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    agent: String,
    tool: String,
    action: String,
    purpose: String,
}

/// Totals of part 7.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    /// Decisions whose payload the evidence holds.
    pub disclosed: u64,
    /// Decisions whose payload it does not hold.
    pub not_disclosed: u64,
    /// People or things whose data was named.
    pub subjects: u64,
}

/// The tables of part 7.
#[derive(Default)]
pub struct Privacy {
    uses: BTreeMap<Use, (u64, u64)>,
    subjects: BTreeMap<(String, Use), u64>,
    classes: BTreeMap<(String, Use), u64>,
    totals: Totals,
}

impl Privacy {
    /// Takes the next entry of the period.
    pub fn take(&mut self, log: &Log<'_>, index: u64, view: &View<'_>) -> Result<(), Error> {
        if view.kind != Kind::Decision {
            return Ok(());
        }
        let fields = log.disclosed(index, view, false)?;
        let value = |name: &str| -> Value {
            let bytes = fields.as_ref().and_then(|fields| fields.get(name));
            bytes.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
        };
        let context = value("/data/context");
        let of = |path: &[&str]| text(view, path).to_owned();
        let used = Use {
            agent: of(&["event", "data", "agent", "id"]),
            tool: of(&["event", "data", "tool", "name"]),
            action: of(&["event", "data", "tool", "action"]),
            purpose: context["purpose"].as_str().unwrap_or_default().to_owned(),
        };
        if fields.is_some() {
            self.totals.disclosed += 1;
        } else {
            self.totals.not_disclosed += 1;
        }
        for (names, counts) in [
            (value("subjects"), &mut self.subjects),
            (context["classes"].clone(), &mut self.classes),
        ] {
            for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
                let full = counts.len() >= SUBJECTS_MAX;
                let known = counts.contains_key(&(name.to_owned(), used.clone()));
                let name = if full && !known { OTHERS } else { name };
                *counts.entry((name.to_owned(), used.clone())).or_default() += 1;
            }
        }
        let permitted = matches!(text(view, &["event", "data", "verdict"]), "allow" | "sanitize");
        let counts = self.uses.entry(used).or_default();
        counts.0 += 1;
        counts.1 += u64::from(permitted);
        Ok(())
    }

    /// Writes the tables.
    pub fn finish(mut self, out: &mut dyn Out) -> Result<Totals, Error> {
        const USES: &[&str] = &["agent", "tool", "action", "purpose", "decisions", "allowed"];
        let mut table = Table::new("privacy/uses.csv", USES);
        for (used, (decisions, allowed)) in &self.uses {
            let counts = [decisions.to_string(), allowed.to_string()];
            let Use { agent, tool, action, purpose } = used;
            table.row(out, &[agent, tool, action, purpose, &counts[0], &counts[1]])?;
        }
        table.finish(out)?;
        let names: std::collections::BTreeSet<_> =
            self.subjects.keys().map(|(name, _)| name).collect();
        self.totals.subjects = names.len() as u64;
        write(out, "privacy/subjects.csv", &self.subjects)?;
        write(out, "privacy/classes.csv", &self.classes)?;
        Ok(self.totals)
    }
}

fn write(
    out: &mut dyn Out,
    path: &'static str,
    counts: &BTreeMap<(String, Use), u64>,
) -> Result<(), Error> {
    const COLUMNS: &[&str] = &["name", "agent", "tool", "action", "purpose", "decisions"];
    let mut table = Table::new(path, COLUMNS);
    for ((name, used), count) in counts {
        let Use { agent, tool, action, purpose } = used;
        table.row(out, &[name, agent, tool, action, purpose, &count.to_string()])?;
    }
    table.finish(out)
}
