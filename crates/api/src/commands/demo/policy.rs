//! Policies that people review, and what one of them then says of two payments.

use super::{
    ours,
    stage::{ACTION, AGENT, RUN, SOURCE, Stage, TENANT, TOOL},
    stories,
};
use crate::{
    commands::{Failed, approved},
    terminal::{dim, good, harmless, say, strong},
};
use ledger::atomic;
use serde_json::{Value, json};

/// Bob owns the agent and writes the policy; so Ana reviews both.
const FILES: [(&str, &str); 4] = [
    (
        "agents.yaml",
        "language: 1\nagents:\n  - {id: agt-payments, owners: [p-bob]}\n  - {id: agt-research, owners: [p-bob]}\n",
    ),
    (
        "tools.yaml",
        "language: 1\ntools:\n  - {name: bank, actions: [{name: transfer, effect: write}]}\n  - {name: records, actions: [{name: read, effect: read}]}\n  - {name: web, actions: [{name: get, effect: read}]}\n  - {name: model, actions: [{name: ask, effect: read}]}\n",
    ),
    (
        "policies/payments.yaml",
        r"language: 1
policy: payments
title: What the payments agent may transfer
clauses:
  - id: small
    agents: [agt-payments]
    tool: bank
    actions: [transfer]
    when: {amount: {minor: /amount, currency: /currency, at_most: {EUR: 100000}}}
    then: allow
  - id: large
    agents: [agt-payments]
    tool: bank
    actions: [transfer]
    when: {amount: {minor: /amount, currency: /currency, over: {EUR: 100000}, at_most: {EUR: 5000000}}}
    then: approval_needed
    message: Transfers over EUR 1,000.00 need a person of finance.
",
    ),
    ("policies/research.yaml", stories::POLICY),
];

/// Proposes the policy as Bob, and approves it as Ana. It takes effect by that.
pub(super) fn put_in_force(stage: &Stage<'_>) -> Result<(), Failed> {
    let folder = stage.dir.join("policies");
    for (path, text) in FILES {
        let path = folder.join(path);
        path.parent().map_or(Ok(()), atomic::make_folder)?;
        atomic::create(&path, text.as_bytes())?;
    }
    let key = stage.dir.join("bob.key").to_string_lossy().into_owned();
    let folder = folder.to_string_lossy().into_owned();
    say(&dim(
        "   $ countersign policy propose --tenant acme --comment 'Small transfers pass' policies    with Bob's key",
    ));
    let told = ours(&[
        "policy",
        "propose",
        "--json",
        "--tenant",
        "acme",
        "--comment",
        "Small transfers pass.",
        "--server",
        stage.url,
        "--api-key-file",
        &key,
        &folder,
    ])?;
    let told: Value = serde_json::from_str(&told).unwrap_or_default();
    for change in told["changes"].as_array().into_iter().flatten() {
        let text = harmless(change.as_str().unwrap_or_default());
        say(&format!("   {}", text.split(", on conditions").next().unwrap_or_default()));
    }
    let id = told["approval"]["id"].as_str().unwrap_or_default();
    let path = format!("{TENANT}/approvals/{id}");
    let seen = stage.person.get_json(&path)?;
    let review = json!({"decision": "approve", "digest": seen["call"]["digest"], "version": seen["version"]});
    stage.person.post_json(&format!("{path}/reviews"), &review)?;
    approved::until(stage.admin, ("acme", id), "completed")?;
    let digest = told["digest"].as_str().unwrap_or_default();
    say(&format!(
        "   version {}   {} by p-ana, in force: {}",
        told["version"],
        good("approved"),
        dim(digest)
    ));
    Ok(())
}

/// Asks for the verdict on a transfer, and shows it.
pub(super) fn ask(
    stage: &Stage<'_>,
    id: &str,
    nonce: &str,
    params: &Value,
) -> Result<Value, Failed> {
    let question = json!({
        "id": id, "source": SOURCE, "nonce": nonce,
        "agent": {"id": AGENT, "run": RUN},
        "tool": {"name": TOOL, "action": ACTION}, "params": params,
        "payload": {"reason": "Invoice 4712 is overdue since Monday; the supplier stops deliveries otherwise."},
    });
    let told = stage.gateway.post_json(&format!("{TENANT}/decisions"), &question)?;
    let text = |value: &Value| harmless(value.as_str().unwrap_or("-"));
    let euros = params["amount"].as_u64().unwrap_or_default() / 100;
    say(&format!(
        "   EUR {euros:>5}.{:02}   {} by {}, entry {}",
        params["amount"].as_u64().unwrap_or_default() % 100,
        strong(&text(&told["verdict"])),
        text(&told["reason"]["clause"]),
        told["decision"]["index"],
    ));
    Ok(told)
}
