//! What callers ask of a worker, and what they were told.

use super::{CALLS, ident};
use crate::commands::{Commands, Done, Error, Review, note_shown};
use decider::{
    approval::{Auth, Choice, Command, Method, Outcome, Via},
    call::{Call, approval_id},
};
use ledger::{
    disclosure::Scope,
    ident::Ident,
    json,
    post::{Shown, ShownVia},
};

/// What a caller was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    Redeemed { redemption_id: String },
    Reviewed { by: Ident, choice: &'static str },
    Reported { outcome: &'static str },
}

/// One call of an agent.
#[derive(Clone)]
pub struct Paused {
    pub id: Ident,
    pub digest: String,
    pub event: serde_json::Value,
}

pub fn paused(number: u64) -> Paused {
    let (tenant, id) = (ident("acme"), format!("c-{number}"));
    let params = json::parse(br#"{"amount":125000}"#).unwrap();
    let (agent, tool, action) = ("payments-bot", "bank", "transfer");
    let nonce = format!("nonce-{number}");
    let call =
        Call { nonce: &nonce, tenant: &tenant, agent, run: None, tool, action, params: &params };
    let digest = call.digest();
    let event = serde_json::json!({"specversion": "1.0", "id": id, "source": "/gw",
        "type": ledger::event::DECISION,
        "data": {"agent": {"id": agent}, "tool": {"name": tool, "action": action},
            "verdict": "approval_needed", "mode": "enforce", "call": {"digest": digest},
            "payload": {"params": {"amount": 125_000}, "nonce": nonce}}});
    let scope = Scope { producer: "gw", source: "/gw", id: &id, ours: false };
    Paused { id: approval_id(&tenant, scope), digest, event }
}

/// A decision without its nonce: nobody can be asked about it.
pub fn unshowable() -> Paused {
    let Paused { id, digest, mut event } = paused(CALLS);
    if let Some(payload) = event["data"]["payload"].as_object_mut() {
        payload.remove("nonce");
    }
    Paused { id, digest, event }
}

pub fn word(choice: Choice) -> &'static str {
    if choice == Choice::Approve { "approve" } else { "deny" }
}

/// What the caller was told, if it was accepted.
fn accepted(done: Result<Done, Error>, told: Told) -> Option<(Ident, Told)> {
    let done = done.ok().filter(|done| done.refused.is_none())?;
    Some((done.approval.id, told))
}

pub async fn review(
    commands: Commands,
    call: Paused,
    who: u64,
    deny: bool,
) -> Option<(Ident, Told)> {
    let by = ident(["p-ann", "p-bob", "p-cid"][who as usize]);
    let seen = commands.reader.get(&call.id).await.ok()??;
    let now = commands.readiness.clocks.now();
    let choice = if deny { Choice::Deny } else { Choice::Approve };
    let review = Review {
        by: Some(by.clone()),
        decision: choice,
        via: Via::Web,
        auth: Auth { method: Method::Key, at: now },
        displayed_dig: call.digest,
        version: seen.state.version,
        shown_at: now,
        comment: Some("as agreed".into()),
        reason: None,
        for_agent: None,
        raw: None,
        signed: None,
        together: None,
    };
    let done = commands.review(&call.id, review).await;
    accepted(done, Told::Reviewed { by, choice: word(choice) })
}

pub async fn mint(commands: Commands, call: Paused, random: u64) -> Option<(Ident, Told)> {
    let (enforcer, jti) = (ident("gw"), format!("{random:022}"));
    let command = |world| Command::Mint {
        world,
        enforcer: enforcer.clone(),
        jti: jti.clone(),
        kid: "token-1".into(),
    };
    drop(commands.execute(&call.id, command).await);
    None
}

pub async fn redeem(commands: Commands, call: Paused, random: u64) -> Option<(Ident, Told)> {
    let seen = commands.reader.get(&call.id).await.ok()??;
    let jti = seen.state.token?.jti;
    // Few ids, so that some requests are repetitions.
    let redemption_id = format!("r-{}", random % 3);
    let enforcer = ident("gw");
    let command = |world| Command::Redeem {
        world,
        enforcer: enforcer.clone(),
        jti: jti.clone(),
        digest: call.digest.clone(),
        redemption_id: redemption_id.clone(),
    };
    let done = commands.execute(&call.id, command).await;
    accepted(done, Told::Redeemed { redemption_id: redemption_id.clone() })
}

pub async fn report(commands: Commands, call: Paused, random: u64) -> Option<(Ident, Told)> {
    let failed = random.is_multiple_of(3);
    let (outcome, word) =
        if failed { (Outcome::Failed, "failed") } else { (Outcome::Succeeded, "completed") };
    let done = commands.report(&call.id, &ident("gw"), outcome).await;
    accepted(done, Told::Reported { outcome: word })
}

/// Shows the approval to a person, which the log notes.
pub async fn look(commands: Commands, call: Paused, who: u64) -> Option<(Ident, Told)> {
    let to = ident(["p-ann", "p-bob", "p-cid"][who as usize]);
    let seen = commands.reader.get(&call.id).await.ok()??;
    let shown = Shown { to, version: seen.state.version, via: ShownVia::Web };
    drop(note_shown(commands.reader_log(), &call.id, &shown).await);
    None
}

/// Seldom: it ends the approval.
pub async fn give_up(commands: Commands, call: Paused, random: u64) -> Option<(Ident, Told)> {
    match random % 24 {
        0 => drop(commands.cancel(&call.id, "producer:gw", "not_needed").await),
        1 => drop(commands.revoke(&call.id, "p-ann", "changed_mind").await),
        _ => {}
    }
    None
}
