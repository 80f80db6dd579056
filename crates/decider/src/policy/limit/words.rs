//! Budgets and rates in words, for reviewers.

use super::{Budget, Figure, Limit, Rate};
use std::fmt;

impl fmt::Display for Limit {
    /// `every action of llm by llm-agent, per agent`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |texts: &mut dyn Iterator<Item = &String>, all: &str| {
            let texts: Vec<&str> = texts.map(String::as_str).collect();
            if texts.is_empty() { all.to_owned() } else { texts.join(", ") }
        };
        let actions = joined(&mut self.actions.iter(), "every action");
        let agents = joined(&mut self.agents.iter(), "every agent");
        let tool = self.tool.as_deref().unwrap_or("every tool");
        write!(f, "{actions} of {tool} by {agents}, per {}", self.per.as_str())
    }
}

impl fmt::Display for Budget {
    /// `cost of every action …, in each day UTC: USD 20.00`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caps = self.max.iter().map(|(currency, max)| self.shown(currency.as_deref(), *max));
        let caps = caps.collect::<Vec<_>>().join(", ");
        let what = match &self.sum {
            Figure::Calls => "number of calls".into(),
            Figure::Cost => "cost".into(),
            Figure::Minor { minor, currency } => format!("{minor} in {currency}"),
        };
        let then = if self.limit.asks_people { "ask people" } else { "deny" };
        write!(f, "{what} ({}), each {}: at most {caps}", self.limit, self.windows.name())?;
        if let Some(percent) = self.warn_at {
            write!(f, "; warn at {percent} %")?;
        }
        write!(f, "; then {then}")
    }
}

impl Budget {
    /// A sum for people: `100 calls`, `USD 20.00`, `EUR 5,000,000 minor units`.
    pub(in crate::policy) fn shown(&self, currency: Option<&str>, sum: u64) -> String {
        let currency = currency.unwrap_or_default();
        match self.sum {
            Figure::Calls => format!("{} calls", grouped(sum)),
            Figure::Minor { .. } => format!("{currency} {} minor units", grouped(sum)),
            Figure::Cost => {
                let part = format!("{:06}", sum % 1_000_000);
                let part = part.trim_end_matches('0');
                format!("{currency} {}.{part:0<2}", grouped(sum / 1_000_000))
            }
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, burst, per_second } = self;
        write!(f, "rate of {limit}: {burst} at once, {per_second} a second; then deny")
    }
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    crate::policy::diff::grouped(number.into())
}
