//! `countersign tenant …`: the beginning of a tenant, retention, legal holds, its end.

mod making;

use super::{EXIT_USAGE, Failed, approved, who, why};
use crate::{
    cli::{Delete, OfTenant, Retention, TenantCommand},
    client::Client,
    terminal::{bad, dim, good, harmless, say, say_json, strong},
};
use serde_json::{Value, json};

/// Runs one of them.
pub fn run(command: &TenantCommand) -> Result<(), Failed> {
    match command {
        TenantCommand::Retention(arguments) => retention(arguments),
        TenantCommand::Hold { of, hold, reason } => {
            why(Some(reason))?;
            let path = format!("/v1/tenants/{}/holds", of.tenant);
            let body = json!({"hold": hold, "reason": reason});
            told(of, &Client::new(&of.remote)?.post_json(&path, &body)?);
            Ok(())
        }
        TenantCommand::Release { of, hold, reason, approved } => {
            why(Some(reason))?;
            let path = format!("/v1/tenants/{}/holds/{hold}/release", of.tenant);
            let body = json!({"reason": reason});
            let client = Client::new(&of.remote)?;
            told(of, &approved::post(&client, (&of.tenant, &path), body, approved)?);
            Ok(())
        }
        TenantCommand::Delete(arguments) => delete(arguments),
        TenantCommand::Create(arguments) => making::create(arguments),
        TenantCommand::MakeKeys { config, tenant } => making::make_keys(config, tenant),
    }
}

fn delete(arguments: &Delete) -> Result<(), Failed> {
    let Delete { remote, tenant, reason, approved, json: as_json } = arguments;
    why(Some(reason))?;
    let path = format!("/v1/tenants/{tenant}/deletion");
    let body = json!({"tenant": tenant, "reason": reason});
    let answer = approved::post(&Client::new(remote)?, (tenant, &path), body, approved)?;
    if *as_json {
        say_json(&answer);
        return Ok(());
    }
    let index = harmless(&answer["index"].to_string());
    say(&format!("{} is deleted: entry {index} is the last of its log", harmless(tenant)));
    if answer["status"] == json!("pending") {
        say("Its payload, journal and keys are not all gone yet: the server goes on with it.");
    }
    super::say_missing(&answer);
    Ok(())
}

fn retention(arguments: &Retention) -> Result<(), Failed> {
    let Retention { of, payload_days, payload_for_ever, floor_days, journal_days, .. } = arguments;
    let client = Client::new(&of.remote)?;
    let path = format!("/v1/tenants/{}/retention", of.tenant);
    let Some(reason) = &arguments.reason else {
        if payload_days.is_some() || *payload_for_ever {
            let text = "--reason says why; without it, nothing is set";
            return Err(Failed::new(EXIT_USAGE, text));
        }
        let answer = client.get_json(&path)?;
        if of.json {
            say_json(&answer);
        } else {
            show(&answer);
        }
        return Ok(());
    };
    why(Some(reason))?;
    if payload_days.is_none() && !payload_for_ever {
        let text = "--payload-days or --payload-for-ever: what is set replaces what was set before";
        return Err(Failed::new(EXIT_USAGE, text));
    }
    let body = json!({
        "payload_days": payload_days, "floor_days": floor_days, "journal_days": journal_days, "reason": reason,
    });
    told(of, &approved::post(&client, (&of.tenant, &path), body, &arguments.approved)?);
    Ok(())
}

fn told(of: &OfTenant, answer: &Value) {
    if of.json {
        return say_json(answer);
    }
    let status = good(&harmless(answer["status"].as_str().unwrap_or("unknown")));
    say(&format!("{status}, recorded in entry {}", harmless(&answer["index"].to_string())));
}

/// Prints retention and holds, for people.
fn show(answer: &Value) {
    let number = |name: &str| harmless(&answer[name].to_string());
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let payload = match &answer["payload_days"] {
        Value::Null => "for ever".to_owned(),
        days => format!("{} days", harmless(&days.to_string())),
    };
    say(&format!(
        "payload is kept {}, journal messages {} days",
        strong(&payload),
        number("journal_days")
    ));
    say(&format!("the floor is {} days: payload is never kept shorter", number("floor_days")));
    let set = &answer["set"];
    if !set.is_null() {
        let (index, by) = (harmless(&set["index"].to_string()), who(&set["by"]));
        say(&dim(&format!("  set in entry {index} by {by}")));
    }
    let holds = answer["holds"].as_array().map_or(&[][..], Vec::as_slice);
    for hold in holds {
        let (name, time) = (strong(&text(&hold["hold"])), text(&hold["time"]));
        say(&format!("{} {name} since {time}", bad("legal hold")));
        let index = harmless(&hold["index"].to_string());
        say(&dim(&format!("  entry {index}, by {}", who(&hold["by"]))));
    }
    if holds.is_empty() {
        say("no legal hold");
    }
    if !answer["deleted"].is_null() {
        say(&bad(&format!("deleted by entry {}", number("deleted"))));
        say(&format!("  what shall go: {}", text(&answer["deletion"]["status"])));
        super::say_missing(&answer["deletion"]);
    }
    say(&format!("payload of the entries before {} has expired", number("expired_below")));
    if let Some(time) = answer["oldest"].as_str() {
        say(&dim(&format!("  the first entry after them is of {}", harmless(time))));
    }
}
