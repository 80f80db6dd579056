//! `countersign freeze …`: stops agents, and lets them go on once people approved.

use super::{Failed, approved, who, why};
use crate::{
    cli::{FreezeCommand, OfTenant},
    client::Client,
    terminal::{dim, good, harmless, say, say_json, strong, warn},
};
use serde_json::{Value, json};

/// Runs one of them.
pub fn run(command: &FreezeCommand) -> Result<(), Failed> {
    match command {
        FreezeCommand::Add { of, scope, id, producer, reason } => {
            why(Some(reason))?;
            let path = format!("/v1/tenants/{}/freezes", of.tenant);
            let mut body = json!({"scope": scope.word(), "id": id, "reason": reason});
            if let Some(producer) = producer {
                body["producer"] = json!(producer);
            }
            let answer = Client::new(&of.remote)?.post_json(&path, &body)?;
            told(of, &answer, &format!("{} {} is frozen", text(&body["scope"]), harmless(id)));
        }
        FreezeCommand::List { of } => list(of)?,
        FreezeCommand::Lift { of, freeze, reason, approved } => {
            why(Some(reason))?;
            let path = format!("/v1/tenants/{}/freezes/{freeze}/lift", of.tenant);
            let client = Client::new(&of.remote)?;
            let body = json!({"reason": reason});
            let answer = approved::post(&client, (&of.tenant, &path), body, approved)?;
            told(of, &answer, &format!("the freeze {freeze} is lifted"));
        }
    }
    Ok(())
}

fn text(value: &Value) -> String {
    harmless(value.as_str().unwrap_or_default())
}

fn told(of: &OfTenant, answer: &Value, done: &str) {
    if of.json {
        say_json(answer);
        return;
    }
    let index = harmless(&answer["index"].to_string());
    let was = if answer["status"] == json!("unchanged") { "already, since" } else { "by" };
    say(&good(&format!("{done} {was} entry {index}")));
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        warn(&format!("{} {}", strong("warning:"), text(warning)));
    }
}

fn list(of: &OfTenant) -> Result<(), Failed> {
    let path = format!("/v1/tenants/{}/freezes", of.tenant);
    let answer = Client::new(&of.remote)?.get_json(&path)?;
    if of.json {
        say_json(&answer);
        return Ok(());
    }
    let freezes = answer["freezes"].as_array().map(Vec::as_slice).unwrap_or_default();
    for freeze in freezes {
        let at = match &freeze["producer"] {
            Value::String(producer) => format!(" at {}", harmless(producer)),
            _ => String::new(),
        };
        let by = match &freeze["decision"] {
            Value::Null => format!("by {}", who(&freeze["by"])),
            decision => format!("by a clause, in entry {}", decision["index"]),
        };
        let what = strong(&format!("{} {}", text(&freeze["scope"]), text(&freeze["id"])));
        let since = dim(&format!("since {}, {by}", text(&freeze["time"])));
        say(&format!("{}  {what}{at}  {since}", freeze["freeze"]));
    }
    if freezes.is_empty() {
        say("nothing is frozen");
    }
    Ok(())
}
