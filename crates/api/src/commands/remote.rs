//! Commands that call a running server: `key`, `erase`, `clock`, `backup`.

use super::{EXIT_FAILED, EXIT_USAGE, Failed, approved};
use crate::{
    cli::{Backup, ClockCommand, Erase, KeyCommand},
    client::{self, Client},
    terminal::{dim, harmless, say, say_json, strong, warn},
};
use serde_json::{Value, json};

/// `countersign key …`.
pub fn key(command: &KeyCommand) -> Result<(), Failed> {
    match command {
        KeyCommand::Add {
            remote,
            tenant,
            roles,
            producer,
            person,
            name,
            reason,
            approved,
            json: as_json,
        } => {
            belongs(roles, producer.is_some(), person.is_some())?;
            let body = json!({
                "roles": roles, "producer": producer, "person": person, "name": name, "reason": reason,
            });
            let path = format!("/v1/tenants/{tenant}/keys");
            let client = Client::new(remote)?;
            let answer = approved::post(&client, (tenant, &path), body, approved)?;
            if *as_json {
                say_json(&answer);
            } else {
                say(&shown(&answer["key"]));
                warn(&dim("Shown this once and stored nowhere: keep it."));
                if let Some(note) = answer["note"].as_str() {
                    warn(&harmless(note));
                }
            }
        }
        KeyCommand::Passkey { remote, tenant, request, reason } => {
            let body = json!({"request": request, "reason": reason});
            let path = format!("/v1/tenants/{tenant}/passkeys");
            in_force(&Client::new(remote)?.post_json(&path, &body)?);
        }
        KeyCommand::Link { remote, tenant, person, issuer, subject, name, reason, approved } => {
            let body = json!({
                "person": person, "issuer": issuer, "subject": subject, "name": name, "reason": reason,
            });
            let path = format!("/v1/tenants/{tenant}/accounts");
            let answer = approved::post(&Client::new(remote)?, (tenant, &path), body, approved)?;
            in_force(&answer);
        }
        KeyCommand::List { remote, tenant, json: as_json } => {
            let client = Client::new(remote)?;
            let keys = client.get_json(&format!("/v1/tenants/{tenant}/keys"))?;
            match &keys {
                keys if *as_json => say_json(keys),
                Value::Array(keys) => list(keys),
                strange => return Err(client.strange(strange.to_string().as_bytes()).into()),
            }
        }
        KeyCommand::Remove { remote, tenant, key_id, last_admin, reason } => {
            let query = if *last_admin { "?last_admin=true" } else { "" };
            let path = format!("/v1/tenants/{tenant}/keys/{key_id}{query}");
            Client::new(remote)?.delete(&path, &json!({"reason": reason}))?;
            say(&format!("{key_id} is removed"));
        }
        KeyCommand::Make(arguments) => super::replica::make_key(arguments)?,
        KeyCommand::Rotate { remote, tenant, usage, overlap, reason } => {
            let body = json!({"use": usage, "overlap": overlap, "reason": reason});
            let path = format!("/v1/tenants/{tenant}/keys/rotate");
            let answer = Client::new(remote)?.post_json(&path, &body)?;
            rotated(usage, &answer);
        }
    }
    Ok(())
}

/// Says which key signs now.
fn rotated(usage: &str, answer: &Value) {
    say(&format!("new {usage} key {}", shown(&answer["vkey"])));
    say(&format!("recorded in entry {}", shown(&answer["index"])));
    super::say_missing(answer);
    if !answer["missing"].is_null() {
        say("The key before it counts too, until they are back and you repeat this command.");
    }
    say(&dim(
        "Copy its new file in keys_dir to where the others are kept, unless it came from there.",
    ));
}

/// Says whose a passkey or an account is now.
fn in_force(answer: &Value) {
    say(&format!("{} is in force for {}", shown(&answer["key_id"]), shown(&answer["person"])));
    if let Some(note) = answer["note"].as_str() {
        warn(&harmless(note));
    }
}

/// A key has a producer or a person exactly if its roles need one. Checked before the server is asked.
fn belongs(roles: &[String], producer: bool, person: bool) -> Result<(), Failed> {
    let any = |of: &[&str]| roles.iter().find(|role| of.contains(&role.as_str()));
    let of_producer = any(&["publisher", "enforcer"]);
    let of_person = any(&["reviewer", "author", "responder"]);
    let text = match (of_producer, producer, of_person, person) {
        (Some(role), false, ..) => {
            format!(
                "a key of role {role} belongs to one producer: add --producer NAME, e.g. --producer gw-1"
            )
        }
        (None, true, ..) => "--producer: only for the roles publisher and enforcer".into(),
        (.., Some(role), false) => {
            format!(
                "a key of role {role} belongs to one person: add --person ID, e.g. --person p-ana"
            )
        }
        _ => return Ok(()),
    };
    Err(Failed::new(EXIT_USAGE, text))
}

/// Text that a server sent, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        Value::Null => "-".into(),
        other => harmless(&other.to_string()),
    }
}

/// Prints a table with a heading. Columns fit their content.
fn list(keys: &[Value]) {
    const COLUMNS: [&str; 5] = ["key id", "roles", "producer", "person", "name"];
    let row = |key: &Value| {
        let roles: Vec<String> = key["roles"].as_array().into_iter().flatten().map(shown).collect();
        [
            shown(&key["key_id"]),
            roles.join(","),
            shown(&key["producer"]),
            shown(&key["person"]),
            shown(&key["name"]),
        ]
    };
    let rows: Vec<[String; 5]> = keys.iter().map(row).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(|at| width(at).max(COLUMNS[at].len()));
    let line = |cells: [&str; 5]| {
        let cells: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    say(&strong(&line(COLUMNS)));
    for row in &rows {
        say(&line(row.each_ref().map(String::as_str)));
    }
}

/// `countersign erase`.
pub fn erase(arguments: &Erase) -> Result<(), Failed> {
    if let Some(entry) = arguments.status {
        return erasure(arguments, entry);
    }
    let why = super::ask_why(arguments.reason.as_deref())?;
    let mut body = json!({"indexes": arguments.indexes, "reason": why});
    if !arguments.fields.is_empty() {
        body["fields"] = json!(arguments.fields);
    }
    if arguments.cancel {
        body["cancel"] = true.into();
    }
    let path = format!("/v1/tenants/{}/erasures", arguments.tenant);
    let answer = Client::new(&arguments.remote)?.post_json(&path, &body)?;
    let status = shown(&answer["status"]);
    let entries = answer["entries"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, entry) in arguments.indexes.iter().zip(entries) {
        say(&format!("erasure of entry {index} is {status}, recorded in entry {}", shown(entry)));
    }
    super::say_missing(&answer);
    let entry = entries.last().filter(|_| !answer["missing"].is_null());
    if let Some(entry) = entry.map(shown) {
        say(&dim(&format!(
            "  A replica that is away answers when it is back. Ask again: countersign erase --status {entry}"
        )));
    }
    Ok(())
}

/// `countersign erase --status`.
fn erasure(arguments: &Erase, entry: u64) -> Result<(), Failed> {
    let path = format!("/v1/tenants/{}/erasures/{entry}", arguments.tenant);
    let answer = Client::new(&arguments.remote)?.get_json(&path)?;
    let (erased, status) = (shown(&answer["erased"]), shown(&answer["status"]));
    say(&format!("erasure of entry {erased} is {status}, recorded in entry {entry}"));
    super::say_missing(&answer);
    if status == "complete" { Ok(()) } else { Err(Failed::new(EXIT_FAILED, "not complete yet")) }
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
    let made =
        Client::new(&arguments.remote)?.post_json("/v1/backup", &json!({"name": arguments.name}));
    let answer = made.map_err(|error| match error {
        client::Error::Refused { status: 401 | 403 | 404, .. } => {
            let hint = "a backup holds every tenant, so it takes the operator key, which the first `init` printed";
            Failed::new(EXIT_FAILED, format!("{error}\n{hint}"))
        }
        other => other.into(),
    })?;
    say(&format!("backup written to {}", shown(&answer["path"])));
    say(&dim(
        "Check it with `countersign fsck --data-dir …`. Keys and guard are not in it: keep them apart.",
    ));
    Ok(())
}
