//! `countersign approval …`: what waits for a person, and the person's answer, on a terminal or in a script.

use super::{EXIT_FAILED, EXIT_USAGE, Failed};
use crate::{
    cli::{Answer, ApprovalCommand, PoliciesOf},
    client::Client,
    terminal::{bad, dim, good, harmless, say, say_json, strong, warn},
};
use serde_json::{Value, json};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Characters of a digest that people compare.
const PREFIX_CHARS: usize = 8;

/// Runs one of them.
pub fn run(command: &ApprovalCommand) -> Result<(), Failed> {
    match command {
        ApprovalCommand::List { of, state } => list(of, state),
        ApprovalCommand::Show { of, id } => {
            let shown = get(&Client::new(&of.remote)?, of, id)?;
            if of.json {
                say_json(&shown);
            } else {
                tell(&shown);
            }
            Ok(())
        }
        ApprovalCommand::Approve { answer } => give(answer, "approve", &[]),
        ApprovalCommand::Deny { answer, reason, for_agent } => {
            let more = [("reason", reason.as_deref()), ("for_agent", for_agent.as_deref())];
            give(answer, "deny", &more)
        }
        ApprovalCommand::Ask { of, id, text, digest } => ask(of, id, (text, digest.as_deref())),
    }
}

fn text(value: &Value) -> String {
    harmless(value.as_str().unwrap_or_default())
}

fn texts(values: &Value) -> Vec<String> {
    values.as_array().into_iter().flatten().map(text).collect()
}

/// The id as a part of a path: what can be none leads nowhere.
fn path_of(of: &PoliciesOf, id: &str) -> Result<String, Failed> {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Failed::new(EXIT_USAGE, format!("{} is no id of an approval", harmless(id))));
    }
    Ok(format!("/v1/tenants/{}/approvals/{id}", of.tenant))
}

/// The approval. The server records that the person of the key saw this version.
fn get(client: &Client, of: &PoliciesOf, id: &str) -> Result<Value, Failed> {
    Ok(client.get_json(&path_of(of, id)?)?)
}

fn list(of: &PoliciesOf, state: &str) -> Result<(), Failed> {
    if !["pending", "open", "recent"].contains(&state) {
        return Err(Failed::new(EXIT_USAGE, "--state is pending, open or recent"));
    }
    let client = Client::new(&of.remote)?;
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/tenants/{}/approvals?limit=200&state={state}{after}", of.tenant);
        let mut page = client.get_json(&path)?;
        if let Value::Array(more) = page["approvals"].take() {
            all.extend(more);
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    if of.json {
        say_json(&json!({"approvals": all}));
        return Ok(());
    }
    for approval in &all {
        let call = &approval["call"];
        let (tool, action) = (text(&call["tool"]), text(&call["action"]));
        let until = dim(&format!("answer by {}", text(&approval["approval_deadline"])));
        let (id, state) = (strong(&text(&approval["id"])), text(&approval["state"]));
        say(&format!("{id}  {state}  {tool} · {action} by {}  {until}", text(&call["agent"])));
    }
    if all.is_empty() {
        say("nothing is in this list for this key");
    }
    Ok(())
}

/// Everything that the page shows, in the same order.
fn tell(approval: &Value) {
    let shown = &approval["shown"];
    let line = |name: &str, value: String| {
        if !value.is_empty() {
            say(&format!("  {name:<13} {value}"));
        }
    };
    say(&format!("{}  {}", strong(&text(&shown["state"])), dim(&text(&approval["id"]))));
    if let Some(now) = shown["policy_now"].as_str() {
        say(&bad(&harmless(now)));
    }
    let amount = shown["amount"].as_str().map(|amount| format!("{}  ", harmless(amount)));
    let call = format!("{} · {}", text(&shown["tool"]), text(&shown["action"]));
    say(&strong(&format!("{}{call}", amount.unwrap_or_default())));
    let run = shown["run"].as_str().map(|run| format!(", run {}", harmless(run)));
    line("agent", format!("{}{}", text(&shown["agent"]), run.unwrap_or_default()));
    line("asked", text(&approval["requested_at"]));
    line("answer by", text(&approval["approval_deadline"]));
    line("redeem by", text(&approval["execution_deadline"]));
    line("still needed", texts(&shown["needed"]).join(" and "));
    line("rule", text(&shown["rule"]));
    line("reason", text(&approval["end_reason"]));
    let params = shown["params"].as_array().map(Vec::as_slice).unwrap_or_default();
    if params.is_empty() {
        say(
            "The parameters of this call can't be shown: they were erased, this key may not read them, or there are none.",
        );
    } else {
        say("The call, exactly as it was hashed:");
    }
    for param in params {
        say(&format!("  {}  {}", dim(&text(&param["at"])), text(&param["value"])));
    }
    if shown["complete"] != json!(true) {
        say(&bad(
            "This is not all of the call, or not the call that was hashed. It can't be approved.",
        ));
    }
    if let Some(says) = shown["says"].as_str() {
        say(&format!("{}: {}", text(&shown["who_says"]), harmless(says)));
    }
    for review in approval["reviews"].as_array().into_iter().flatten() {
        let (by, at) = (text(&review["by"]), text(&review["at"]));
        let reason = review["reason"].as_str().map(|code| format!(", {}", harmless(code)));
        line(&text(&review["decision"]), format!("{by}, {at}{}", reason.unwrap_or_default()));
        line("for the agent", text(&review["for_agent"]));
    }
    for question in approval["questions"].as_array().into_iter().flatten() {
        let number = format!("question {}", question["question"]);
        line(&number, said(question));
        let answer = &question["answer"];
        line("answer", if answer.is_null() { "none yet".into() } else { said(answer) });
    }
    let digest = text(&approval["call"]["digest"]);
    let (first, rest) = digest.split_at(digest.len().min(PREFIX_CHARS));
    line("digest", format!("{}{rest}", strong(first)));
    line("version", approval["version"].to_string());
    line("page", text(&approval["page"]));
}

/// Who said what, and when. Nobody has checked what a gateway says.
fn said(words: &Value) -> String {
    let (by, at) = (text(&words["by"]), text(&words["at"]));
    let unchecked = if by.starts_with("producer:") { ", not checked" } else { "" };
    let words = words["text"].as_str().map_or_else(|| "(erased)".into(), harmless);
    format!("{by}, {at}{unchecked}: {words}")
}

/// Puts a question. It carries the digest of what was shown.
fn ask(of: &PoliciesOf, id: &str, (words, digest): (&str, Option<&str>)) -> Result<(), Failed> {
    let client = Client::new(&of.remote)?;
    let path = format!("{}/questions", path_of(of, id)?);
    let digest = if let Some(digest) = digest {
        json!(digest)
    } else {
        let shown = get(&client, of, id)?;
        if !of.json {
            tell(&shown);
        }
        shown["call"]["digest"].clone()
    };
    let after = client.post_json(&path, &json!({"digest": digest, "text": words}))?;
    if of.json {
        say_json(&after);
    } else {
        let number = after["questions"].as_array().map_or(0, Vec::len);
        say(&format!(
            "recorded: question {number}. `countersign approval show` has the answer once there is one"
        ));
    }
    Ok(())
}

fn give(answer: &Answer, decision: &str, more: &[(&str, Option<&str>)]) -> Result<(), Failed> {
    let Answer { of, id, comment, yes, digest, version } = answer;
    let client = Client::new(&of.remote)?;
    let path = format!("{}/reviews", path_of(of, id)?);
    let mut body = json!({"decision": decision, "digest": digest, "version": version});
    for (name, given) in [("comment", comment.as_deref())].iter().chain(more) {
        if let Some(given) = given {
            body[*name] = json!(given);
        }
    }
    if !yes {
        if !io::stdin().is_terminal() {
            let text = "nobody can confirm here: on a terminal you are asked; a script names what it was shown, with \
                        --yes --digest DIGEST --version N (`countersign approval show --json`)";
            return Err(Failed::new(EXIT_USAGE, text));
        }
        let shown = get(&client, of, id)?;
        tell(&shown);
        let (seen, at) = (&shown["call"]["digest"], &shown["version"]);
        let named = [(json!(digest), seen), (json!(version), at)];
        if named.iter().any(|(named, seen)| !named.is_null() && named != *seen) {
            let text =
                "this is not what --digest and --version name: read it again; nothing is recorded";
            return Err(Failed::new(EXIT_FAILED, text));
        }
        if shown["state"] != json!("pending") {
            let text = format!("it is {}: nobody is asked any more", text(&shown["state"]));
            return Err(Failed::new(EXIT_FAILED, text));
        }
        confirm(decision, &text(seen))?;
        body["digest"] = seen.clone();
        body["version"] = at.clone();
    }
    let after = client.post_json(&path, &body)?;
    if of.json {
        say_json(&after);
        return Ok(());
    }
    let did = if decision == "approve" { good("approved") } else { bad("denied") };
    let needed = after["needed"].as_array().into_iter().flatten();
    let needed = needed.map(|place| format!("{} of {}", place["at_least"], text(&place["of"])));
    let needed: Vec<String> = needed.collect();
    let left = if needed.is_empty() {
        String::new()
    } else {
        format!(", still needed: {}", needed.join(" and "))
    };
    say(&format!("recorded: {did}. The approval is {}{left}", text(&after["state"])));
    Ok(())
}

/// Asks on the terminal. Only the whole word counts.
fn confirm(decision: &str, digest: &str) -> Result<(), Failed> {
    let first: String = digest.chars().take(PREFIX_CHARS).collect();
    let _ = write!(io::stderr(), "Type {decision} to {decision} this call ({first}): ");
    let _ = io::stderr().flush();
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() == decision {
        return Ok(());
    }
    warn("Nothing is recorded.");
    Err(Failed::new(EXIT_FAILED, "not confirmed"))
}
