//! `verify --approval`: the life of one approval, told again from its entries alone (`proto/formats/approval-export.md`).

use super::{Failure, Report, read_text, refused};
use crate::terminal::{bad, dim, good, harmless, name, say, strong};
use decider::approval::{Audit, Event, Phase, State, Step};
use ledger::{
    log::checkpoint::Checkpoint,
    verify::{self, Trusted},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};

/// What holds when a history is not refused, as codes.
const CHECKED: [&str; 12] = [
    "log_signature",
    "inclusion",
    "chain_without_hole",
    "approval_id",
    "opening",
    "rule_digest",
    "order_of_events",
    "deadlines_by_journal_time",
    "quorum_of_distinct_people",
    "no_owner_reviewed",
    "reviewers_saw_this_digest",
    "one_redemption",
];
/// What these entries can't show, as codes.
const NOT_CHECKED: [&str; 8] = [
    "later_messages",
    "people_and_groups",
    "owners_of_the_agent",
    "rule_in_force",
    "sign_in_age",
    "truth_of_the_execution_report",
    "consistency_with_other_checkpoints",
    "same_view_for_everybody",
];

/// Verifies the folder that `export --approval` wrote.
pub(super) fn check(
    folder: &Path,
    trusted: &[Trusted],
    report: &mut Report,
) -> Result<(), Failure> {
    let place = |name: &str| folder.join(name).display().to_string();
    let note = read_text(folder.join("checkpoint"))?;
    let checkpoint = verify::checkpoint(&note, trusted);
    let checkpoint = checkpoint.map_err(|error| refused(&place("checkpoint"), &error))?;
    let proven = |name: &str| -> Result<(u64, Vec<u8>), Failure> {
        let verified = verify::receipt(&read_text(folder.join(name))?, trusted);
        let receipt = verified.map_err(|error| refused(&place(name), &error))?.receipt;
        if receipt.checkpoint != note {
            return Err(refused(&place(name), &"its checkpoint is not the one beside it"));
        }
        Ok((receipt.index, receipt.entry))
    };
    let opening = "opening.tlog-proof";
    let (index, decision) = proven(opening)?;
    let mut audit =
        Audit::begin(index, &decision).map_err(|error| refused(&place(opening), &error))?;
    for n in 1..=last_number(folder)? {
        let name = format!("{n}.tlog-proof");
        let (index, entry) = proven(&name)?;
        audit.follow(index, &entry).map_err(|error| refused(&place(&name), &error))?;
    }
    let shown = folder.join("opening.disclosures");
    let disclosed = if shown.exists() { disclosed_call(&shown, &decision, &audit)? } else { false };
    report.history(&folder.display().to_string(), &checkpoint, &audit, disclosed);
    Ok(())
}

/// How many messages there are: their files are numbered 1, 2, … without a hole.
fn last_number(folder: &Path) -> Result<u64, Failure> {
    let place = folder.display().to_string();
    let unreadable = |error: std::io::Error| Failure::Unreadable(format!("{place}: {error}"));
    let mut numbers = BTreeSet::new();
    for file in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = file.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        let Some(stem) = name.strip_suffix(".tlog-proof").filter(|stem| *stem != "opening") else {
            continue;
        };
        let number = stem.parse().ok().filter(|n: &u64| *n > 0 && n.to_string() == stem);
        let unknown = || refused(&place, &format!("{name} is no file of an approval's export"));
        numbers.insert(number.ok_or_else(unknown)?);
    }
    let missing = (1..).zip(&numbers).find(|(n, number)| n != *number).map(|(n, _)| n);
    match (missing, numbers.last()) {
        (None, Some(last)) => Ok(*last),
        (missing, _) => {
            let n = missing.unwrap_or(1);
            Err(refused(&place, &format!("message {n} is missing: there is no {n}.tlog-proof")))
        }
    }
}

/// Whether the call itself was disclosed. If so, its digest is that of the approval.
fn disclosed_call(path: &Path, decision: &[u8], audit: &Audit) -> Result<bool, Failure> {
    let place = path.display().to_string();
    let shown = verify::disclosures(&read_text(path)?, decision);
    let shown = shown.map_err(|error| refused(&place, &error))?;
    let field = |name| shown.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    if let Some(owner) = field("owner") {
        audit.check_owner(owner).map_err(|error| refused(&place, &error))?;
    }
    let (Some(nonce), Some(params)) = (field("nonce"), field("params")) else { return Ok(false) };
    audit.check_call(nonce, params).map_err(|error| refused(&place, &error))?;
    Ok(true)
}

impl Report {
    fn history(&mut self, place: &str, checkpoint: &Checkpoint, audit: &Audit, disclosed: bool) {
        self.items.push(item(place, checkpoint, audit, disclosed));
        if !self.json {
            tell(place, checkpoint, audit, disclosed);
        }
    }
}

fn item(place: &str, checkpoint: &Checkpoint, audit: &Audit, disclosed: bool) -> Value {
    let state = audit.state();
    let step = |step: &Step| json!({"n": step.n, "index": step.index, "at": step.at, "events": step.events, "state": step.phase});
    let steps: Vec<Value> = audit.steps().iter().map(step).collect();
    let call = "call_digest_of_params";
    let mut checked = CHECKED.to_vec();
    let mut not_checked = NOT_CHECKED.to_vec();
    if disclosed { &mut checked } else { &mut not_checked }.push(call);
    json!({
        "place": place, "verified": true, "origin": checkpoint.origin, "size": checkpoint.size,
        "root": checkpoint.root.to_string(), "approval_id": audit.id(), "tenant": audit.tenant(),
        "state": state.phase, "n": state.n, "requested": state.requested, "granted_by": state.granted_by,
        "redemption": state.redeemed.as_ref().map(|(id, jti, at)| json!({"redemption_id": id, "jti": jti, "at": at})),
        "report": state.report, "end_reason": state.end_reason, "messages": steps,
        "checked": checked, "not_checked": not_checked,
    })
}

fn tell(place: &str, checkpoint: &Checkpoint, audit: &Audit, disclosed: bool) {
    let state = audit.state();
    let phase = word(&state.phase);
    say(&format!("{} {}", good("verified"), harmless(place)));
    say(&format!("  approval {} of {}", audit.id(), harmless(&checkpoint.origin)));
    if let Some(requested) = &state.requested {
        let call = &requested.call;
        let (agent, tool, action) = (&call.agent, &call.tool, &call.action);
        say(&format!("  {} · {} by agent {}", name(tool), name(action), name(agent)));
        say(&format!("  call digest {}", harmless(&call.digest)));
        say(&format!(
            "  rule {} ({})",
            harmless(&format!("{:?}", requested.rule.name)),
            requested.rule_digest
        ));
    }
    for Step { n, index, at, events, phase } in audit.steps() {
        let events: Vec<String> = events.iter().map(describe).collect();
        let told = format!("{:>3}  {at}  entry {index}  {}", n, events.join(", "));
        say(&format!("  {told} {}", dim(&format!("→ {}", word(phase)))));
    }
    let phase = if is_over_badly(state) { bad(&phase) } else { strong(&phase) };
    say(&format!("  After message {}: {phase}", state.n));
    say(&dim(&format!(
        "  checked: the log's signature, each entry's bytes and place, messages 1 to {} without a hole, the id from the \
         decision, the rule's digest, who may follow whom, deadlines by the journal's time, the quorum of distinct \
         people, none of them an owner, each shown this digest, at most one redemption{}",
        state.n,
        if disclosed { ", the digest of the disclosed call" } else { "" },
    )));
    say(&dim(&format!(
        "  not checked: whether a message {} follows (that needs the whole log), who the people are, their groups and \
         who owns the agent, whether this rule was in force, how fresh a sign-in was, whether the execution report is true, whether others \
         were shown the same log{}",
        state.n.saturating_add(1),
        if disclosed { "" } else { ", the params (not disclosed)" },
    )));
}

fn is_over_badly(state: &State) -> bool {
    matches!(
        state.phase,
        Phase::Denied | Phase::Expired | Phase::Failed | Phase::Revoked | Phase::Lapsed
    )
}

/// One event, for people.
fn describe(event: &Event) -> String {
    let name = word(event).replace('_', " ");
    let more = match event {
        Event::Reviewed { by, decision, groups, .. } => {
            return format!("{by} ({}): {}", harmless(&groups.join(", ")), word(decision));
        }
        Event::Granted { by, .. } | Event::Denied { by } => {
            by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        Event::ReviewRejected { why, .. } | Event::RedeemRejected { why, .. } => why.clone(),
        Event::Cancelled { by, reason } | Event::Revoked { by, reason } => {
            format!("{by}, {reason}")
        }
        Event::Redeemed { redemption_id, enforcer, .. } => format!("{enforcer}, {redemption_id}"),
        Event::TokenMinted { enforcer, exp, .. } => format!("for {enforcer}, until {exp}"),
        Event::ExecutionReported { outcome } => word(outcome),
        Event::Expired { reason } => word(reason),
        _ => return name,
    };
    format!("{name} ({})", harmless(&more))
}

fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let name = value.get("type").unwrap_or(&value);
    name.as_str().unwrap_or_default().to_owned()
}
