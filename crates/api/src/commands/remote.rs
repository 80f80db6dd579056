//! Commands that ask a running server: `key`, `erase`, `clock`, `backup`.

use super::Failed;
use crate::{
    cli::{Backup, ClockCommand, Erase, KeyCommand},
    client::Client,
    terminal::{dim, harmless, say, strong},
};
use serde_json::{Value, json};

/// `countersign key …`.
pub fn key(command: &KeyCommand) -> Result<(), Failed> {
    match command {
        KeyCommand::Add { remote, tenant, roles, producer, person, name, json: as_json } => {
            let body =
                json!({"roles": roles, "producer": producer, "person": person, "name": name});
            let answer =
                Client::new(remote)?.post_json(&format!("/v1/tenants/{tenant}/keys"), &body)?;
            if *as_json {
                say(&answer.to_string());
            } else {
                say(answer["key"].as_str().unwrap_or(""));
                crate::terminal::warn(&dim("Shown this once and stored nowhere: keep it."));
                if let Some(note) = answer["note"].as_str() {
                    crate::terminal::warn(note);
                }
            }
        }
        KeyCommand::List { remote, tenant, json: as_json } => {
            let answer = Client::new(remote)?.get(&format!("/v1/tenants/{tenant}/keys"))?;
            let keys: Vec<Value> = serde_json::from_slice(&answer).unwrap_or_default();
            if *as_json {
                say(&Value::Array(keys).to_string());
            } else {
                list(&keys);
            }
        }
        KeyCommand::Remove { remote, tenant, key_id } => {
            Client::new(remote)?.delete(&format!("/v1/tenants/{tenant}/keys/{key_id}"))?;
            say(&format!("{key_id} is removed"));
        }
        KeyCommand::Rotate { remote, tenant, usage, overlap } => {
            let body = json!({"use": usage, "overlap": overlap});
            let path = format!("/v1/tenants/{tenant}/keys/rotate");
            let answer = Client::new(remote)?.post_json(&path, &body)?;
            say(&format!("new {usage} key {}", answer["vkey"].as_str().unwrap_or("")));
            say(&format!("recorded in entry {}", answer["index"]));
            say(&dim("Copy its new file in keys_dir to where the others are kept."));
        }
    }
    Ok(())
}

fn list(keys: &[Value]) {
    for key in keys {
        let text = |name: &str| harmless(key[name].as_str().unwrap_or("-"));
        let roles: Vec<&str> =
            key["roles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        say(&format!(
            "{}  {:<28} producer {:<16} person {:<16} {}",
            strong(&text("key_id")),
            roles.join(","),
            text("producer"),
            text("person"),
            text("name")
        ));
    }
}

/// `countersign erase`.
pub fn erase(arguments: &Erase) -> Result<(), Failed> {
    let mut body = json!({"index": arguments.index});
    if !arguments.fields.is_empty() {
        body["fields"] = json!(arguments.fields);
    }
    if arguments.cancel {
        body["cancel"] = true.into();
    }
    let path = format!("/v1/tenants/{}/erasures", arguments.tenant);
    let answer = Client::new(&arguments.remote)?.post_json(&path, &body)?;
    say(&format!(
        "erasure of entry {} is {}, recorded in entry {}",
        arguments.index,
        answer["status"].as_str().unwrap_or("unknown"),
        answer["index"]
    ));
    Ok(())
}

/// `countersign clock …`.
pub fn clock(command: &ClockCommand) -> Result<(), Failed> {
    let ClockCommand::Reset { remote, tenant, reason } = command;
    let path = format!("/v1/tenants/{tenant}/clock");
    let answer = Client::new(remote)?.post_json(&path, &json!({"reason": reason}))?;
    say(&format!(
        "time begins anew at {}, recorded in entry {}",
        harmless(answer["at"].as_str().unwrap_or("")),
        answer["index"]
    ));
    say(&dim("Approvals that are open have their whole time again, from now on."));
    Ok(())
}

/// `countersign backup`.
pub fn backup(arguments: &Backup) -> Result<(), Failed> {
    let answer = Client::new(&arguments.remote)?
        .post_json("/v1/backup", &json!({"name": arguments.name}))?;
    say(&format!("backup written to {}", answer["path"].as_str().unwrap_or("")));
    say(&dim(
        "Check it with `countersign fsck --data-dir …`. Keys and guard are not in it: keep them apart.",
    ));
    Ok(())
}
