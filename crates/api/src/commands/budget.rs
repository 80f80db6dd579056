//! `countersign budget list`: what is booked on budgets.

use super::Failed;
use crate::{
    cli::BudgetCommand,
    client::Client,
    terminal::{bad, dim, good, harmless, say, say_json, strong},
};
use serde_json::{Value, json};

/// Runs it.
pub fn run(command: &BudgetCommand) -> Result<(), Failed> {
    let BudgetCommand::List { remote, tenant, json: as_json } = command;
    let answer = Client::new(remote)?.get_json(&format!("/v1/tenants/{tenant}/budgets"))?;
    if *as_json {
        say_json(&answer);
        return Ok(());
    }
    let budgets = answer["budgets"].as_array().map(Vec::as_slice).unwrap_or_default();
    if budgets.is_empty() {
        say("Nothing is booked yet: no decision asked for a part of a budget.");
    }
    for one in budgets {
        show(one);
    }
    if answer["complete"] == json!(false) {
        say("There are more.");
    }
    Ok(())
}

fn show(one: &Value) {
    let text = |name: &str| harmless(one[name].as_str().unwrap_or_default());
    let sum = |name: &str| shown(one, name);
    let key = if one["key"].is_null() { String::new() } else { format!(" {}", text("key")) };
    let left = if one["left"] == json!(0) { bad(&sum("left")) } else { good(&sum("left")) };
    let (name, max) = (strong(&text("id")), sum("max"));
    let ended = if one["current"] == json!(true) { "" } else { "  (this window is over)" };
    say(&format!("{name}{key}  {} of {max}, {left} left{ended}", sum("within")));
    let window = format!("  {} to {}", text("from"), text("to"));
    let mut more = vec![window, format!("reserved {}", sum("reserved"))];
    for (name, word) in [
        ("over", "over the cap by people"),
        ("excess", "reported beyond what was reserved"),
        ("carried", "from other windows that the policy had before"),
    ] {
        if one[name] != json!(0) {
            more.push(format!("{word} {}", sum(name)));
        }
    }
    say(&dim(&more.join(", ")));
}

/// A sum of a budget: `USD 19.98`, `EUR 4990000 minor units`, `12 calls`.
fn shown(one: &Value, name: &str) -> String {
    let sum = one[name].as_u64().unwrap_or(0);
    let currency = harmless(one["currency"].as_str().unwrap_or_default());
    match one["unit"].as_str() {
        Some("cost") => {
            let part = format!("{:06}", sum % 1_000_000);
            let part = part.trim_end_matches('0');
            format!("{currency} {}.{part:0<2}", sum / 1_000_000)
        }
        Some("minor") => format!("{currency} {sum} minor units"),
        _ => format!("{sum} calls"),
    }
}
