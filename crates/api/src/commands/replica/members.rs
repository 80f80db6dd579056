//! Changes who the replicas are, and shows them.

use super::{Failed, text};
use crate::{
    cli::{Change, Remote},
    client::Client,
    commands::ask_why,
    terminal::{bad, dim, good, harmless, say, say_json, strong, warn},
};
use serde_json::{Value, json};

/// Changes the replicas of every log.
pub fn change(
    change: &Change,
    remove: Option<&str>,
    add: Option<(&str, &str)>,
) -> Result<(), Failed> {
    let reason = ask_why(change.reason.as_deref())?;
    let add = add.map(|(name, vkey)| json!({"name": name, "vkey": vkey}));
    let add: Vec<Value> = add.into_iter().collect();
    let remove: Vec<&str> = remove.into_iter().collect();
    let body = json!({"remove": remove, "add": add, "reason": reason});
    let answer = Client::new(&change.remote)?.post_json("/v1/replicas/members", &body)?;
    if change.json {
        say_json(&answer);
        return Ok(());
    }
    for log in answer["logs"].as_array().into_iter().flatten() {
        let members: Vec<String> =
            log["members"].as_array().into_iter().flatten().map(text).collect();
        let status = match log["status"].as_str() {
            Some("applied") => good("applied"),
            other => dim(&harmless(other.unwrap_or("unknown"))),
        };
        let entry = match log["index"].as_u64() {
            Some(index) => format!("entry {index}"),
            None => "the configuration".into(),
        };
        say(&format!(
            "{}  {status}: version {}, {} (by {entry})",
            strong(&text(&log["tenant"])),
            log["version"],
            members.join(", ")
        ));
    }
    warn(&dim(
        "Nobody needs a new policy, unless it asks for all replicas: `verify --policy` follows the change by the keys document, from the policy that it has.",
    ));
    Ok(())
}

/// Shows the set in force of every log.
pub fn show(remote: &Remote, as_json: bool) -> Result<(), Failed> {
    let answer = Client::new(remote)?.get_json("/v1/replicas")?;
    if as_json {
        say_json(&answer);
        return Ok(());
    }
    let logs = answer["logs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if logs.is_empty() {
        say("This server signs alone: it has no [replica] in its configuration.");
    }
    for log in logs {
        say(&format!("{}  {}", strong(&text(&log["tenant"])), which(log)));
        if log["first_differs"] == json!(true) {
            say(&bad(
                "  the configuration of this replica has another first set than the log names",
            ));
        }
        for one in log["members"].as_array().into_iter().flatten() {
            let outside = log["is_member"] == json!(false) && one["name"] == log["replica"];
            let name = strong(&text(&one["name"]));
            let note = if outside { bad(" (not one of them)") } else { String::new() };
            say(&format!("  {name}{note}  {}", text(&one["vkey"])));
        }
    }
    Ok(())
}

/// Which set is in force, in words.
pub fn which(log: &Value) -> String {
    match log["version"].as_u64() {
        Some(0) => "members as configured (version 0)".into(),
        Some(version) => format!("members of version {version}, by the log"),
        None => "members of an unknown version".into(),
    }
}
