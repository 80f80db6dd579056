//! What allowed calls cost at most, since the start: figures for metrics, with a bounded number of labels.

use decider::policy::Request;
use ledger::budget::{is_currency, millionths};
use std::{collections::BTreeMap, sync::Mutex};

/// Most label sets of a tenant. What comes after them counts as `other`.
const LABELS_MAX: usize = 100;
/// What is beyond them.
const OTHER: &str = "other";

/// By tool, agent and currency: millionths of the currency.
pub type Costs = BTreeMap<[String; 3], u64>;

/// The sums since the start.
#[derive(Default)]
pub(super) struct Sums(Mutex<Costs>);

impl Sums {
    /// Adds the cost that an allowed call named.
    pub(super) fn note(&self, request: &Request<'_>) {
        let Some(cost) = &request.cost else { return };
        let Some(sum) = millionths(&cost.amount).filter(|_| is_currency(&cost.currency)) else {
            return;
        };
        let mut sums = self.0.lock().expect("no holder of the lock panics");
        let labels = [request.tool.clone(), request.agent.clone(), cost.currency.clone()];
        let known = sums.contains_key(&labels) || sums.len() < LABELS_MAX;
        let labels = if known { labels } else { [OTHER; 3].map(str::to_owned) };
        let sum_of = sums.entry(labels).or_default();
        *sum_of = sum_of.saturating_add(sum);
    }

    /// All of them.
    pub(super) fn all(&self) -> Costs {
        self.0.lock().expect("no holder of the lock panics").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_the_number_of_labels_is_limited() {
        let sums = Sums::default();
        let note = |agent: usize, amount: &str, currency: &str| {
            let body = format!(
                r#"{{"agent":{{"id":"bot-{agent}"}},"cost":{{"amount":"{amount}","currency":"{currency}"}},"tool":{{"name":"llm","action":"ask"}}}}"#
            );
            let value = ledger::json::parse(body.as_bytes()).unwrap();
            sums.note(&Request::read(&value).unwrap());
        };
        for agent in 0..LABELS_MAX + 20 {
            note(agent, "0.5", "USD");
        }
        note(0, "0.25", "USD");
        note(0, "-1", "USD");
        note(0, "1", "usd");
        let all = sums.all();
        assert_eq!(all.len(), LABELS_MAX + 1);
        assert_eq!(all[&["llm", "bot-0", "USD"].map(str::to_owned)], 750_000);
        assert_eq!(all[&[OTHER; 3].map(str::to_owned)], 10_000_000);
    }
}
