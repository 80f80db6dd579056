//! Requests that people may have to approve first: sends them, waits if asked to, and sends them again.

use super::{EXIT_FAILED, Failed};
use crate::{
    cli::Approved,
    client::Client,
    terminal::{harmless, warn},
};
use serde_json::{Value, json};

/// Seconds that one request waits for news of an approval.
const WAIT_SECONDS: u64 = 30;

/// Posts `body`. If the rules in force ask people first: with `--wait` waits for them and posts it again with their
/// approval, otherwise says what to do.
pub(super) fn post(
    client: &Client,
    (tenant, path): (&str, &str),
    mut body: Value,
    approved: &Approved,
) -> Result<Value, Failed> {
    if let Some(id) = &approved.approval {
        body["approval"] = json!(id);
    }
    let answer = client.post_json(path, &body)?;
    if answer["status"] != json!("approval_needed") {
        return Ok(answer);
    }
    let id = answer["approval"]["id"].as_str().unwrap_or_default().to_owned();
    let url = harmless(answer["approval"]["url"].as_str().unwrap_or_default());
    warn(&format!("people must approve this first: {url}"));
    if !approved.wait {
        let text = format!(
            "once it is granted, repeat the same command with --approval {}",
            harmless(&id)
        );
        return Err(Failed::new(EXIT_FAILED, text));
    }
    until(client, (tenant, &id), "granted")?;
    body["approval"] = json!(id);
    Ok(client.post_json(path, &body)?)
}

/// Waits until an approval is in a state; fails once nobody can bring it there any more.
pub(super) fn until(
    client: &Client,
    (tenant, id): (&str, &str),
    wanted: &str,
) -> Result<(), Failed> {
    let mut after = 0;
    loop {
        let path = format!("/v1/tenants/{tenant}/approvals/{id}?wait={WAIT_SECONDS}&after={after}");
        let approval = client.get_json(&path)?;
        after = approval["version"].as_u64().unwrap_or_default();
        let state = approval["state"].as_str().unwrap_or_default();
        if state == wanted {
            return Ok(());
        }
        if approval["over"] == json!(true) {
            let why = approval["end_reason"].as_str().map(|why| format!(" ({why})"));
            let text =
                format!("it was not done: the approval is {state}{}", why.unwrap_or_default());
            return Err(Failed::new(EXIT_FAILED, harmless(&text)));
        }
    }
}
