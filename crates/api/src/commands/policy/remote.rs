//! `countersign policy propose|status|rollback`: asks a running server.

use super::{Failed, Files};
use crate::{
    cli::PoliciesOf,
    client::Client,
    commands::{EXIT_FAILED, approved, list, who},
    terminal::{bad, dim, good, harmless, say, say_json, strong},
};
use serde_json::{Value, json};

pub(super) fn propose(
    of: &PoliciesOf,
    files: &Files,
    (comment, contributors): (&str, &[String]),
    wait: bool,
) -> Result<(), Failed> {
    let mut sent = Vec::new();
    for (path, bytes) in &files.0 {
        let content = std::str::from_utf8(bytes)
            .map_err(|_| Failed::new(EXIT_FAILED, format!("{path}: not UTF-8")))?;
        sent.push(json!({"path": path, "content": content}));
    }
    let body = json!({"files": sent, "comment": comment, "contributors": contributors});
    let client = Client::new(&of.remote)?;
    let answer = client.post_json(&format!("/v1/tenants/{}/policies", of.tenant), &body)?;
    tell(&client, of, &answer, wait)
}

pub(super) fn rollback(
    of: &PoliciesOf,
    version: u64,
    comment: &str,
    wait: bool,
) -> Result<(), Failed> {
    let client = Client::new(&of.remote)?;
    let path = format!("/v1/tenants/{}/policies/{version}/rollback", of.tenant);
    let answer = client.post_json(&path, &json!({"comment": comment}))?;
    tell(&client, of, &answer, wait)
}

fn tell(client: &Client, of: &PoliciesOf, answer: &Value, wait: bool) -> Result<(), Failed> {
    if of.json && !wait {
        say_json(answer);
        return Ok(());
    }
    if !of.json {
        let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
        for change in answer["changes"].as_array().into_iter().flatten() {
            say(&format!("  {}", text(change)));
        }
        let simulation = &answer["simulation"];
        for change in simulation["changed"].as_array().into_iter().flatten() {
            say(&format!("  {}", text(change)));
        }
        if let Some(calls) = simulation["calls"].as_u64().filter(|calls| *calls > 0) {
            let (otherwise, from) = (&simulation["otherwise"], &simulation["from"]);
            say(&dim(&format!(
                "  of the newest {calls} recorded calls, since entry {from}, {otherwise} would be judged otherwise"
            )));
        }
        say(&format!(
            "version {} is proposed: {}",
            answer["version"],
            strong(&text(&answer["digest"]))
        ));
        say(&format!("people are asked at {}", text(&answer["approval"]["url"])));
    }
    if wait { until_in_force(client, of, answer) } else { Ok(()) }
}

/// Waits until the version is in force, or nobody can approve it any more.
fn until_in_force(client: &Client, of: &PoliciesOf, answer: &Value) -> Result<(), Failed> {
    let id = answer["approval"]["id"].as_str().unwrap_or_default();
    approved::until(client, (&of.tenant, id), "completed")?;
    if of.json {
        say_json(answer);
    } else {
        say(&good(&format!("version {} is in force", answer["version"])));
    }
    Ok(())
}

pub(super) fn status(of: &PoliciesOf) -> Result<(), Failed> {
    let answer =
        Client::new(&of.remote)?.get_json(&format!("/v1/tenants/{}/policies", of.tenant))?;
    if of.json {
        say_json(&answer);
        return Ok(());
    }
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let in_force = &answer["in_force"];
    if in_force.is_null() {
        say(&bad("no policies are in force: every call is denied (no_policy)"));
    } else {
        let (version, index) = (&in_force["version"], &in_force["index"]);
        say(&format!(
            "{} since entry {index}: {}",
            good(&format!("version {version} is in force")),
            text(&in_force["digest"])
        ));
    }
    if let Some(why) = answer["unusable"].as_str() {
        say(&bad(&harmless(why)));
    }
    for list in answer["lists"].as_array().into_iter().flatten() {
        list::tell("list ", list, &list["items"]);
    }
    for version in answer["versions"].as_array().into_iter().flatten() {
        let by = who(&version["by"]);
        say(&format!(
            "version {}  {}  {}",
            version["version"],
            text(&version["digest"]),
            dim(&format!("entry {}, by {by}", version["index"]))
        ));
    }
    Ok(())
}
