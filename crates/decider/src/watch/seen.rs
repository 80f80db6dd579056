//! What a watch sees in an entry.

use ledger::{
    budget::Asking,
    entry::{Kind, View},
    event,
    json::Value,
};

/// What an entry is to the watch.
pub enum Seen {
    /// A call was judged.
    Call(Call),
    /// Redemptions of approvals were refused.
    Refused(Vec<Refusal>),
    /// Something that rates do not count.
    Other,
}

/// A call that was judged.
pub struct Call {
    /// Its agent.
    pub agent: String,
    /// The agents through which it comes.
    pub chain: Option<String>,
    /// Its tool.
    pub tool: String,
    /// Who asked, or told.
    pub producer: String,
    /// True if it was denied.
    pub denied: bool,
    /// True if people are asked.
    pub asks: bool,
    /// What it costs or moves: amount and unit.
    pub amount: Option<(f64, String)>,
}

/// A redemption that was refused.
pub struct Refusal {
    /// The approval.
    pub approval: String,
    /// Who asked.
    pub enforcer: String,
}

impl Seen {
    /// Reads an entry.
    pub fn of(view: &View<'_>) -> Self {
        match view.kind {
            Kind::Decision => call(view).map_or(Self::Other, Self::Call),
            Kind::Approval => {
                let refusals = refusals(view);
                if refusals.is_empty() { Self::Other } else { Self::Refused(refusals) }
            }
            _ => Self::Other,
        }
    }
}

fn call(view: &View<'_>) -> Option<Call> {
    let text = |path: &[&str]| view.text(path).map(str::to_owned);
    let tool = text(&["event", "data", "tool", "name"])?;
    if event::is_reserved_tool(&tool) {
        return None;
    }
    let verdict = view.text(&["event", "data", "verdict"])?;
    let enforced = view.text(&["event", "data", "mode"]) != Some("shadow");
    let chain = view.at(&["event", "data", "agent", "chain"]).and_then(Value::as_array);
    let chain =
        chain.map(|chain| chain.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" > "));
    Some(Call {
        agent: text(&["event", "data", "agent", "id"])?,
        chain,
        tool,
        producer: text(&["producer"])?,
        denied: enforced && verdict == "deny",
        asks: enforced && verdict == "approval_needed",
        amount: amount(view),
    })
}

/// The cost of a call; without one, the first sum of money that it asks of a budget.
fn amount(view: &View<'_>) -> Option<(f64, String)> {
    let cost = |name| view.text(&["event", "data", "cost", name]);
    let of_cost = cost("amount")
        .zip(cost("currency"))
        .and_then(|(amount, currency)| Some((amount.parse().ok()?, currency.to_owned())));
    let of_budget = || {
        let asking = view.at(&["event", "data", "budgets"]).and_then(Asking::read)?;
        let asked = asking.asked.into_iter().find(|asked| asked.currency.is_some())?;
        let unit = format!("{} (minor)", asked.currency?);
        Some((f64::from(u32::try_from(asked.sum).unwrap_or(u32::MAX)), unit))
    };
    let found = of_cost.or_else(of_budget);
    found.filter(|(amount, _): &(f64, String)| amount.is_finite() && *amount > 0.0)
}

fn refusals(view: &View<'_>) -> Vec<Refusal> {
    let approval = view.text(&["event", "approval_id"]).unwrap_or_default();
    let events = view.at(&["event", "events"]).and_then(Value::as_array).unwrap_or(&[]);
    let text = |event: &Value<'_>, name: &str| event.get(name)?.as_str().map(str::to_owned);
    let refused = |event: &Value<'_>| {
        let is = event.get("type").and_then(Value::as_str) == Some("redeem_rejected");
        let enforcer = text(event, "enforcer").filter(|_| is)?;
        Some(Refusal { approval: approval.to_owned(), enforcer })
    };
    events.iter().filter_map(refused).collect()
}
