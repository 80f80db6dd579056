//! `countersign incident …`: what people collect under one name, and its export.

use super::{Failed, who, why};
use crate::{
    cli::{IncidentCommand, OfTenant},
    client::Client,
    terminal::{dim, good, harmless, say, say_json, strong},
};
use serde_json::{Value, json};

/// Runs one of them.
pub fn run(command: &IncidentCommand) -> Result<(), Failed> {
    match command {
        IncidentCommand::Open { of, reason, entries } => {
            let answer = act(of, "", reason, Some(entries))?;
            told(of, &answer, &format!("the incident {} is open", answer["index"]));
            Ok(())
        }
        IncidentCommand::Note { of, incident, reason, entries } => {
            let answer = act(of, &format!("/{incident}/notes"), reason, Some(entries))?;
            told(of, &answer, &format!("noted by entry {}", answer["index"]));
            Ok(())
        }
        IncidentCommand::Close { of, incident, reason } => {
            let answer = act(of, &format!("/{incident}/close"), reason, None)?;
            told(
                of,
                &answer,
                &format!("the incident {incident} is closed by entry {}", answer["index"]),
            );
            Ok(())
        }
        IncidentCommand::List { of, all: false } => list(of),
        IncidentCommand::List { of, all: true } => all(of),
        IncidentCommand::Export { of, incident } => export(of, *incident),
    }
}

fn act(of: &OfTenant, path: &str, reason: &str, entries: Option<&[u64]>) -> Result<Value, Failed> {
    why(Some(reason))?;
    let mut body = json!({"reason": reason});
    if let Some(entries) = entries {
        body["entries"] = json!(entries);
    }
    let path = format!("/v1/tenants/{}/incidents{path}", of.tenant);
    Ok(Client::new(&of.remote)?.post_json(&path, &body)?)
}

fn told(of: &OfTenant, answer: &Value, done: &str) {
    if of.json {
        say_json(answer);
    } else {
        say(&good(&harmless(done)));
    }
}

fn list(of: &OfTenant) -> Result<(), Failed> {
    let path = format!("/v1/tenants/{}/incidents", of.tenant);
    let answer = Client::new(&of.remote)?.get_json(&path)?;
    if of.json {
        say_json(&answer);
        return Ok(());
    }
    let incidents = answer["incidents"].as_array().map(Vec::as_slice).unwrap_or_default();
    for incident in incidents {
        let number = |name: &str| incident[name].as_u64().unwrap_or_default();
        let time = harmless(incident["time"].as_str().unwrap_or_default());
        let (messages, named) = (number("messages"), number("entries"));
        let by = who(&incident["event"]["by"]);
        say(&format!(
            "{}  {}",
            strong(&number("index").to_string()),
            dim(&format!("since {time}, by {by}: {messages} messages, {named} entries"))
        ));
    }
    if incidents.is_empty() {
        say("no incident is open");
    }
    Ok(())
}

fn all(of: &OfTenant) -> Result<(), Failed> {
    let client = Client::new(&of.remote)?;
    let mut from = json!(0);
    loop {
        let path = format!("/v1/tenants/{}/incidents?state=all&from={from}", of.tenant);
        let answer = client.get_json(&path)?;
        for entry in answer["incidents"].as_array().into_iter().flatten() {
            say(&entry.to_string());
        }
        from = json!(answer["next"].as_u64().unwrap_or(u64::MAX));
        if answer["more"] != json!(true) {
            return Ok(());
        }
    }
}

/// Writes the parts of all pages. The first page fixes the checkpoint, so every receipt is of the same one.
fn export(of: &OfTenant, incident: u64) -> Result<(), Failed> {
    let client = Client::new(&of.remote)?;
    let path = format!("/v1/tenants/{}/incidents/{incident}", of.tenant);
    let mut page = client.get_json(&path)?;
    let size = page["size"].as_u64().unwrap_or_default();
    say(&json!({"v": 1, "origin": page["origin"], "incident": incident, "size": size, "parts": page["count"]}).to_string());
    loop {
        for part in page["parts"].as_array().into_iter().flatten() {
            say(&part.to_string());
        }
        let Some(next) = page["next"].as_u64() else { return Ok(()) };
        page = client.get_json(&format!("{path}?size={size}&from={next}"))?;
    }
}
