//! Part 1, budgets: when a sum came near its cap or did not fit, and which calls people decided over the cap; and part 3,
//! agents' tokens: issued and revoked.

use super::{
    Error, Out,
    table::Table,
    values::{text, who},
};
use ledger::{
    entry::{Kind, View},
    json::Value,
    time::Nanos,
    verify::period::number,
};

/// The two tables.
pub struct Budgets {
    budgets: Table,
    tokens: Table,
}

impl Default for Budgets {
    fn default() -> Self {
        const BUDGETS: &[&str] = &[
            "index",
            "journal_time",
            "what",
            "decision",
            "producer",
            "budget",
            "key",
            "unit",
            "currency",
            "window_from",
            "window_to",
            "sum",
            "max",
        ];
        const TOKENS: &[&str] = &[
            "index",
            "journal_time",
            "what",
            "agent",
            "chain",
            "scope",
            "region",
            "valid_from",
            "valid_until",
            "token",
            "producer",
            "by",
            "person",
        ];
        Self {
            budgets: Table::new("population/budgets.csv", BUDGETS),
            tokens: Table::new("approvals/agent-tokens.csv", TOKENS),
        }
    }
}

impl Budgets {
    /// Takes the next entry of the period.
    pub fn take(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<(), Error> {
        match view.kind {
            Kind::BudgetWarned | Kind::BudgetExceeded => {
                let decision = number(view, &["event", "decision"]).unwrap_or_default();
                for budget in list(view, &["event", "budgets"]) {
                    self.budget(out, (index, view), (view.kind.as_str(), decision), budget)?;
                }
            }
            Kind::Decision => {
                for asked in list(view, &["event", "data", "budgets", "asked"]) {
                    let what = match member(asked, "booked") {
                        "over" => "asked people",
                        "refused" => "refused",
                        _ => continue,
                    };
                    self.budget(out, (index, view), (what, index), asked)?;
                }
            }
            Kind::Agent => self.token(out, index, view)?,
            _ => {}
        }
        Ok(())
    }

    fn budget(
        &mut self,
        out: &mut dyn Out,
        (index, view): (u64, &View<'_>),
        (what, decision): (&str, u64),
        of: &Value<'_>,
    ) -> Result<(), Error> {
        let sum = of.get("sum").or_else(|| of.get("within"));
        let figure = |value: Option<&Value<'_>>| {
            value.and_then(Value::as_u64).map(|sum| sum.to_string()).unwrap_or_default()
        };
        let cells: [&str; 13] = [
            &index.to_string(),
            &view.origin.time.to_string(),
            what,
            &decision.to_string(),
            text(view, &["producer"]),
            member(of, "id"),
            member(of, "key"),
            member(of, "unit"),
            member(of, "currency"),
            member(of, "from"),
            member(of, "to"),
            &figure(sum),
            &figure(of.get("max")),
        ];
        self.budgets.row(out, &cells)
    }

    fn token(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<(), Error> {
        let texts = |name| list(view, &["event", name]).iter().filter_map(Value::as_str);
        let time = |name| {
            let seconds = number(view, &["event", name]);
            let at = seconds.map(|seconds| Nanos(seconds.saturating_mul(1_000_000_000)));
            at.map(|at| at.to_string()).unwrap_or_default()
        };
        let is_issued = text(view, &["event", "op"]) == "issue";
        let agent = texts("chain").next_back().unwrap_or_else(|| text(view, &["event", "agent"]));
        let (by, person) = who(view);
        let revoked = number(view, &["event", "token"]).map(|token| token.to_string());
        let token = if is_issued { index.to_string() } else { revoked.unwrap_or_default() };
        let cells: [&str; 13] = [
            &index.to_string(),
            &view.origin.time.to_string(),
            if is_issued { "issued" } else { "revoked" },
            agent,
            &texts("chain").collect::<Vec<_>>().join(" > "),
            &texts("scope").collect::<Vec<_>>().join(" "),
            text(view, &["event", "region"]),
            &time("iat"),
            &time("exp"),
            &token,
            text(view, &["event", "producer"]),
            &by,
            &person,
        ];
        self.tokens.row(out, &cells)
    }

    /// Writes what is left.
    pub fn finish(self, out: &mut dyn Out) -> Result<(), Error> {
        self.budgets.finish(out)?;
        self.tokens.finish(out)
    }
}

fn list<'v>(view: &'v View<'_>, path: &[&str]) -> &'v [Value<'v>] {
    view.at(path).and_then(Value::as_array).unwrap_or_default()
}

fn member<'v>(of: &'v Value<'_>, name: &str) -> &'v str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}
