//! Three more calls that policies judge: a health record whose number does not go to the agent, a fetch that would carry a
//! secret out, and a budget that is spent.

use super::stage::{RUN, SOURCE, Stage, TENANT};
use crate::{
    commands::{EXIT_FAILED, Failed},
    terminal::{harmless, say, strong},
};
use serde_json::{Value, json};

pub(super) const AGENT: &str = "agt-research";
/// The policy of this agent.
pub(super) const POLICY: &str = r#"language: 1
policy: research
title: What the research agent may read, fetch and spend
clauses:
  - {id: records, agents: [agt-research], tool: records, actions: [read], when: {purpose: [treatment]}, then: allow}
  - {id: no-numbers, tool: records, judges: result, then: sanitize, redact: [{at: "", detect: [us-ssn]}]}
  - {id: fetch, agents: [agt-research], tool: web, actions: [get], when: {egress: {at: [/url], hosts: ["*.example.org"], ports: [443]}}, then: allow}
  - {id: no-secrets, tool: web, when: {detects: {at: /url, detect: [secrets]}}, then: deny, message: The URL holds a key.}
  - {id: ask-a-model, agents: [agt-research], tool: model, actions: [ask], then: allow}
budgets:
  - {id: day, agents: [agt-research], tool: model, sum: cost, per: agent, window: day, zone: UTC, max: {USD: "1.00"}, at_cap: deny}
"#;

/// Tells them. `nonce` gives the nonce of each call.
pub(super) fn tell(stage: &Stage<'_>, nonce: impl Fn() -> String) -> Result<(), Failed> {
    let ask = |id: &str, tool: (&str, &str), more: Value| {
        let mut question = json!({
            "id": id, "source": SOURCE, "nonce": nonce(), "agent": {"id": AGENT, "run": RUN},
            "tool": {"name": tool.0, "action": tool.1}, "params": {},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            question[name] = value.clone();
        }
        stage.gateway.post_json(&format!("{TENANT}/decisions"), &question)
    };
    let read = ask(
        "rec-17",
        ("records", "read"),
        json!({
            "params": {"patient": "p-17"}, "context": {"purpose": "treatment"},
        }),
    )?;
    show("a health record is read", &read, "allow")?;
    let path = format!("{TENANT}/decisions/{}/result", read["decision"]["index"]);
    let came = json!({"name": "M. Novak", "note": "SSN 536-90-4399, next visit in May"});
    let told = stage.gateway.post_json(&path, &json!({"result": came, "status": "completed"}))?;
    show("what the agent sees of it", &told, "sanitize")?;
    say(&format!("      {}", harmless(told["result"]["note"].as_str().unwrap_or("-"))));
    let url = "https://files.example.org/put?token=AKIAQ3EGTL5VXZJ7HWNR";
    let put = ask("web-1", ("web", "get"), json!({"params": {"url": url}}))?;
    show("a URL that carries a key out", &put, "deny")?;
    for (id, verdict) in [("llm-1", "allow"), ("llm-2", "deny")] {
        let cost = json!({"cost": {"amount": "0.60", "currency": "USD"}});
        let told = ask(id, ("model", "ask"), cost)?;
        show("USD 0.60 of USD 1.00 a day", &told, verdict)?;
    }
    Ok(())
}

/// Shows a verdict, which must be this one.
fn show(what: &str, told: &Value, verdict: &str) -> Result<(), Failed> {
    let text = |value: &Value| harmless(value.as_str().unwrap_or("-"));
    let (given, reason) = (text(&told["verdict"]), &told["reason"]);
    say(&format!(
        "   {what:<30} {:<9} {} {}",
        strong(&given),
        text(&reason["code"]),
        text(&reason["clause"])
    ));
    if given == verdict {
        return Ok(());
    }
    let wrong = format!("{what}: {given}, not {verdict}: this is a defect");
    Err(Failed::new(EXIT_FAILED, wrong))
}
