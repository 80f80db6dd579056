//! `countersign sources …`: declares the sources that must report, and shows which of them do.

use super::{EXIT_UNREADABLE, Failed, why};
use crate::{
    cli::SourcesCommand,
    client::Client,
    config::EXIT_CONFIG,
    terminal::{bad, dim, good, harmless, say, say_json, strong},
};
use ledger::system::sources::{Declared, mistake};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{io::Read as _, path::Path};

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file of `sources apply`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesFile {
    /// Every source that must report.
    #[serde(default)]
    source: Vec<Declared>,
}

/// Runs one of them.
pub fn run(command: &SourcesCommand) -> Result<(), Failed> {
    match command {
        SourcesCommand::Apply { remote, tenant, reason, file, json: as_json } => {
            let SourcesFile { source: sources } = read(file)?;
            why(Some(reason))?;
            let path = format!("/v1/tenants/{tenant}/sources");
            let body = json!({"sources": sources, "reason": reason});
            let answer = Client::new(remote)?.post_json(&path, &body)?;
            if *as_json {
                say_json(&answer);
                return Ok(());
            }
            let status = good(&harmless(answer["status"].as_str().unwrap_or("unknown")));
            let (count, index) = (sources.len(), harmless(&answer["index"].to_string()));
            say(&format!("{status}: {count} sources must report, recorded in entry {index}"));
        }
        SourcesCommand::Show { remote, tenant, json: as_json } => {
            let answer = Client::new(remote)?.get_json(&format!("/v1/tenants/{tenant}/sources"))?;
            if *as_json { say_json(&answer) } else { show(&answer) }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<SourcesFile, Failed> {
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|e| Failed::new(EXIT_UNREADABLE, format!("{}: {e}", path.display())))?;
    let wrong = |what: String| Failed::new(EXIT_CONFIG, format!("{}: {what}", path.display()));
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("more than {FILE_BYTES_MAX} bytes")));
    }
    let file: SourcesFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    mistake(&file.source).map_or(Ok(file), |what| Err(wrong(what)))
}

/// Prints the sources, for people.
fn show(answer: &Value) {
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let declaration = &answer["declaration"];
    if declaration.is_null() {
        say(
            "No source must report yet. Write them into a file, then run `countersign sources apply`.",
        );
    } else {
        let (index, by) =
            (harmless(&declaration["index"].to_string()), super::who(&declaration["by"]));
        say(&format!("declared in entry {index} by {by}"));
    }
    for one in answer["declared"].as_array().into_iter().flatten() {
        let state = match one["state"].as_str() {
            Some("silent") => bad("silent"),
            Some("reporting") => good("reporting"),
            _ => text(&one["state"]),
        };
        let last = match &one["last"] {
            Value::Null => "nothing came yet".to_owned(),
            last => format!("last at {}, {} entries", text(&last["time"]), last["entries"]),
        };
        let (title, producer) = (strong(&text(&one["title"])), text(&one["producer"]));
        let (source, owner) = (text(&one["source"]), text(&one["owner"]));
        say(&format!("{state}  {title}  {producer} {source}  {last}"));
        say(&dim(&format!("  owner {owner}, silent after {} s", one["silent_after"])));
    }
    let undeclared = &answer["undeclared"];
    let more = if undeclared["complete"] == json!(false) { " or more" } else { "" };
    say(&format!("{}{more} other sources reported", harmless(&undeclared["count"].to_string())));
    for one in undeclared["sources"].as_array().into_iter().flatten() {
        say(&format!("  {} {}", text(&one["producer"]), text(&one["source"])));
    }
}
