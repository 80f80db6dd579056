//! Calls that need approval, as a gateway publishes and redeems them, and the rule that they match.

use super::Failed;
use data_encoding::BASE64URL_NOPAD;
use decider::call::{Call, approval_id};
use ledger::{atomic, disclosure::Scope, ident::Ident, json};
use serde_json::{Value, json};
use std::path::Path;

/// One of finance must approve. Deadlines are long, so that nothing ends during a measurement.
const RULES: &str = r#"
[[rule]]
name = "transfers"
quorum = {at_least = 1, of = "finance"}
approve_within = "7d"
execute_within = "24h"
report_within = "7d"
token_life = "900s"
owner = "none"
"#;
/// Two people, because a quorum must not depend on one person.
const PEOPLE: &str = r#"
[[person]]
id = "p-1"
name = "Ana Lima"
groups = ["finance"]

[[person]]
id = "p-2"
name = "Bob Ito"
groups = ["finance"]
"#;
/// Calls of one agent, fewer than may be pending at once.
const CALLS_OF_AGENT: u64 = 10;
const SOURCE: &str = "/gateways/bench";

/// One call that waits for people.
pub struct Paused {
    /// Id of its approval.
    pub approval: Ident,
    /// Digest of the call.
    pub digest: String,
    /// The decision event.
    pub event: String,
    /// The call, as it is redeemed.
    call: Value,
}

impl Paused {
    /// The call with this number. The same number gives the same call.
    pub fn new(number: u64) -> Result<Self, Failed> {
        let nonce = BASE64URL_NOPAD.encode(&u128::from(number).to_be_bytes());
        let agent = format!("agt-payments-{}", number / CALLS_OF_AGENT);
        let (run, id) = (format!("run-{number}"), format!("call-{number}"));
        let params = format!(
            r#"{{"amount":{},"currency":"EUR","iban":"DE8937040044053201{:04}","memo":"invoice {number}"}}"#,
            125_000 + number % 10_000,
            number % 10_000,
        );
        let broken = |what: String| Failed::new(super::super::EXIT_FAILED, what);
        let tenant = Ident::new("bench").map_err(|e| broken(e.to_string()))?;
        let read = json::parse(params.as_bytes()).map_err(|e| broken(e.to_string()))?;
        let (tool, action) = ("bank", "transfer");
        let run_id = Some(run.as_str());
        let call = Call {
            nonce: &nonce,
            tenant: &tenant,
            agent: &agent,
            run: run_id,
            tool,
            action,
            params: &read,
        };
        let digest = call.digest();
        let params: Value =
            serde_json::from_str(&params).map_err(|error| broken(error.to_string()))?;
        let data = json!({"agent": {"id": agent, "run": run}, "tool": {"name": tool, "action": action},
            "verdict": "approval_needed", "mode": "enforce", "call": {"digest": digest},
            "payload": {"params": params, "nonce": nonce, "reason": "Invoice is overdue."}});
        let event = json!({"specversion": "1.0", "id": id, "source": SOURCE, "type": ledger::event::DECISION,
            "time": ledger::clock::wall_clock(), "data": data});
        let scope = Scope { producer: "gw-1", source: SOURCE, id: &id, ours: false };
        Ok(Self {
            approval: approval_id(&tenant, scope),
            digest,
            event: event.to_string(),
            call: json!({"nonce": nonce, "agent": agent, "run": run, "tool": tool, "action": action, "params": params}),
        })
    }

    /// Body of a review.
    pub fn review(&self) -> String {
        json!({"decision": "approve", "digest": self.digest, "version": 1}).to_string()
    }

    /// Body of a redemption with the token.
    pub fn redemption(&self, token: &str) -> String {
        json!({"token": token, "redemption_id": self.approval, "call": self.call}).to_string()
    }
}

/// Writes the tenant's files below `dir`.
pub fn write_files(dir: &Path) -> Result<(), Failed> {
    let folder = dir.join("bench");
    atomic::make_folder(&folder)?;
    atomic::replace(&folder.join("rules.toml"), RULES.as_bytes())?;
    Ok(atomic::replace(&folder.join("people.toml"), PEOPLE.as_bytes())?)
}
