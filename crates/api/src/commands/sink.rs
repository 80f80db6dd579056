//! `countersign sink …`: how the systems stand that entries are sent to; a test; letters; sending again.

use super::{Failed, why};
use crate::{
    cli::{OfTenant, SinkCommand},
    client::Client,
    terminal::{bad, dim, good, harmless, say, say_json, strong},
};
use serde_json::{Value, json};

/// Runs one of them.
pub fn run(command: &SinkCommand) -> Result<(), Failed> {
    match command {
        SinkCommand::Status { of } => status(of),
        SinkCommand::Test { of, sink } => {
            let path = format!("/v1/tenants/{}/sinks/{sink}/test", of.tenant);
            let answer = Client::new(&of.remote)?.post_json(&path, &json!({}))?;
            if of.json {
                say_json(&answer);
            } else {
                let (level, millis) = (text(&answer["level"]), &answer["millis"]);
                say(&good(&format!("{sink}: the test is {level}, after {millis} ms")));
            }
            Ok(())
        }
        SinkCommand::Letters { of, sink } => letters(of, sink),
        SinkCommand::Resend { of, sink, from, to, reason } => {
            why(Some(reason))?;
            resend(of, sink, (*from, *to), reason)
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        Value::Null => "-".into(),
        other => harmless(&other.to_string()),
    }
}

fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn status(of: &OfTenant) -> Result<(), Failed> {
    let path = format!("/v1/tenants/{}/sinks", of.tenant);
    let answer = Client::new(&of.remote)?.get_json(&path)?;
    if of.json {
        say_json(&answer);
        return Ok(());
    }
    for sink in rows(&answer, "sinks") {
        let state = text(&sink["state"]);
        let state = if state == "delivers" { good(&state) } else { bad(&state) };
        let (name, kind) = (strong(&text(&sink["sink"])), text(&sink["kind"]));
        let (level, from, size) = (text(&sink["level"]), &sink["from"], &sink["size"]);
        say(&format!("{name}  {kind}  {state}  {level} below {from} of {size}"));
        let (lag, letters) = (&sink["lag"], &sink["letters"]);
        let behind =
            format!("{} entries, {} s behind; {letters} letters", lag["entries"], lag["seconds"]);
        say(&dim(&format!("    {behind}")));
        if !sink["says"].is_null() {
            say(&format!("    {}", text(&sink["says"])));
        }
    }
    if rows(&answer, "sinks").is_empty() {
        say(
            "no sink is configured for this tenant: add [sink.<name>] to the server's configuration",
        );
    }
    Ok(())
}

fn letters(of: &OfTenant, sink: &str) -> Result<(), Failed> {
    let client = Client::new(&of.remote)?;
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(index) = from {
        let path = format!("/v1/tenants/{}/sinks/{sink}/letters?from={index}", of.tenant);
        let answer = client.get_json(&path)?;
        all.extend_from_slice(rows(&answer, "letters"));
        from = answer["next"].as_u64().filter(|next| *next > index);
    }
    if of.json {
        say_json(&json!({"letters": all}));
        return Ok(());
    }
    for letter in &all {
        let (index, time) = (&letter["index"], text(&letter["time"]));
        say(&format!("{}  {}  {}", strong(&index.to_string()), dim(&time), text(&letter["says"])));
    }
    if all.is_empty() {
        say("the receiver refused nothing");
    }
    Ok(())
}

fn resend(of: &OfTenant, sink: &str, (from, to): (u64, u64), reason: &str) -> Result<(), Failed> {
    let client = Client::new(&of.remote)?;
    let path = format!("/v1/tenants/{}/sinks/{sink}/resend", of.tenant);
    let (mut sent, mut refused, mut rest) = (0, 0, Some(from));
    let mut entry = Value::Null;
    while let Some(from) = rest {
        let mut body = json!({"from": from, "to": to});
        if entry.is_null() {
            body["reason"] = reason.into();
        } else {
            body["entry"] = entry;
        }
        let answer = client.post_json(&path, &body)?;
        sent += answer["sent"].as_u64().unwrap_or(0);
        refused += answer["refused"].as_u64().unwrap_or(0);
        rest = answer["next"].as_u64().filter(|next| *next > from);
        entry = answer["entry"].clone();
    }
    if of.json {
        say_json(&json!({"sent": sent, "refused": refused, "entry": entry}));
    } else {
        let done = format!("{sink}: {sent} records were sent again, {refused} were refused");
        say(&format!("{}, recorded in entry {}", good(&done), harmless(&entry.to_string())));
    }
    Ok(())
}
