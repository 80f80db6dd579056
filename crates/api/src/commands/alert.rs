//! `countersign alert …`: what clauses and the watch of the log found, and closing it.

use super::{Failed, why};
use crate::{
    cli::{AlertCommand, OfTenant},
    client::Client,
    terminal::{dim, good, harmless, say, say_json, strong},
};
use serde_json::{Value, json};

/// Runs one of them.
pub fn run(command: &AlertCommand) -> Result<(), Failed> {
    match command {
        AlertCommand::List { of } => list(of),
        AlertCommand::Close { of, alert, reason } => {
            why(Some(reason))?;
            let path = format!("/v1/tenants/{}/alerts/{alert}/close", of.tenant);
            let answer = Client::new(&of.remote)?.post_json(&path, &json!({"reason": reason}))?;
            if of.json {
                say_json(&answer);
            } else {
                let index = harmless(&answer["index"].to_string());
                say(&good(&format!("the alert {alert} is closed by entry {index}")));
            }
            Ok(())
        }
        AlertCommand::Export { of } => export(of),
    }
}

fn list(of: &OfTenant) -> Result<(), Failed> {
    let path = format!("/v1/tenants/{}/alerts", of.tenant);
    let answer = Client::new(&of.remote)?.get_json(&path)?;
    if of.json {
        say_json(&answer);
        return Ok(());
    }
    let alerts = answer["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    for alert in alerts {
        let event = &alert["event"];
        let about = &event["about"];
        let what = strong(&format!(
            "{} {} {}",
            text(&event["name"]),
            text(&about["what"]),
            text(&about["id"])
        ));
        let clause = match &event["clause"] {
            Value::String(clause) => format!(", by the clause {}", harmless(clause)),
            _ => String::new(),
        };
        let values = event["values"].as_object().into_iter().flatten();
        let values: Vec<String> =
            values.map(|(name, value)| format!("{} {}", harmless(name), text(value))).collect();
        let since = dim(&format!("since {}{clause}: {}", text(&event["since"]), values.join(", ")));
        say(&format!("{}  {what}  {since}", harmless(&alert["index"].to_string())));
    }
    if alerts.is_empty() {
        say("no alert is open");
    }
    Ok(())
}

fn export(of: &OfTenant) -> Result<(), Failed> {
    let client = Client::new(&of.remote)?;
    let mut from = json!(0);
    loop {
        let path = format!("/v1/tenants/{}/alerts?state=all&from={from}", of.tenant);
        let answer = client.get_json(&path)?;
        for alert in answer["alerts"].as_array().into_iter().flatten() {
            say(&alert.to_string());
        }
        from = json!(answer["next"].as_u64().unwrap_or(u64::MAX));
        if answer["more"] != json!(true) {
            return Ok(());
        }
    }
}
