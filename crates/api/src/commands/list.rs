//! `countersign list …`: shows lists of a running server, and asks for changes of their items.

use super::{Failed, approved, who};
use crate::{
    cli::{ChangeList, ListCommand, PoliciesOf},
    client::Client,
    terminal::{dim, good, harmless, say, say_json, strong},
};
use serde_json::{Value, json};

/// Runs one of them.
pub fn run(command: &ListCommand) -> Result<(), Failed> {
    match command {
        ListCommand::Show { of, name: None } => all(of),
        ListCommand::Show { of, name: Some(name) } => one(of, name),
        ListCommand::Add { change } => ask(change, "add"),
        ListCommand::Remove { change } => ask(change, "remove"),
    }
}

fn text(value: &Value) -> String {
    harmless(value.as_str().unwrap_or_default())
}

fn joined(values: &Value) -> String {
    let values = values.as_array().into_iter().flatten();
    values.map(text).collect::<Vec<_>>().join(", ")
}

fn all(of: &PoliciesOf) -> Result<(), Failed> {
    let path = format!("/v1/tenants/{}/lists", of.tenant);
    let answer = Client::new(&of.remote)?.get_json(&path)?;
    if of.json {
        say_json(&answer);
        return Ok(());
    }
    let lists = answer["lists"].as_array();
    for list in lists.into_iter().flatten() {
        tell("", list, &list["items"]);
    }
    if lists.is_none_or(Vec::is_empty) {
        say("the policies in force name no list");
    }
    Ok(())
}

/// One list in a line, after `what`.
pub(super) fn tell(what: &str, list: &Value, items: &Value) {
    let by = joined(&list["named_by"]);
    let by = if by.is_empty() { "named by no clause".into() } else { format!("named by {by}") };
    let name = strong(&text(&list["name"]));
    let version = match list["version"].as_u64() {
        Some(0) => "version 0 (the items of the bundle)".into(),
        _ => format!("version {}", list["version"]),
    };
    say(&format!("{what}{name}  {version}, {items} items  {}", dim(&by)));
}

fn one(of: &PoliciesOf, name: &str) -> Result<(), Failed> {
    let path = format!("/v1/tenants/{}/lists/{}", of.tenant, segment(name));
    let answer = Client::new(&of.remote)?.get_json(&path)?;
    if of.json {
        say_json(&answer);
        return Ok(());
    }
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    tell("", &answer, &json!(items.len()));
    for item in items {
        say(&format!("  {}", text(item)));
    }
    for version in answer["versions"].as_array().into_iter().flatten() {
        let (entry, by) = (&version["entry"], who(&version["by"]));
        say(&dim(&format!("version {}: entry {entry}, by {by}", version["version"])));
    }
    Ok(())
}

fn ask(change: &ChangeList, what: &str) -> Result<(), Failed> {
    let ChangeList { of, name, items, comment, wait } = change;
    let client = Client::new(&of.remote)?;
    let path = format!("/v1/tenants/{}/lists/{}", of.tenant, segment(name));
    let answer = client.post_json(&path, &json!({what: items, "comment": comment}))?;
    let version = format!("version {} of {}", answer["version"], strong(&text(&answer["list"])));
    if !of.json {
        for (sign, items) in [("+", &answer["added"]), ("-", &answer["removed"])] {
            for item in items.as_array().into_iter().flatten() {
                say(&format!("  {sign} {}", text(item)));
            }
        }
        say(&format!("{version} is proposed, with {} items", answer["items"]));
        say(&format!("people are asked at {}", text(&answer["approval"]["url"])));
    }
    if *wait {
        let id = answer["approval"]["id"].as_str().unwrap_or_default();
        approved::until(&client, (&of.tenant, id), "completed")?;
    }
    if of.json {
        say_json(&answer);
    } else if *wait {
        say(&good(&format!("{version} is in force")));
    }
    Ok(())
}

/// A name as one segment of a path. What can't be a name of a list is sent in a form that names none.
fn segment(name: &str) -> String {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let one = |b: u8| if fits(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    name.bytes().map(one).collect()
}
