//! The probe: the server's own call of `countersign` / `probe`. Once a minute it is judged and recorded by the path of
//! every question, so the log itself shows in which minutes this server could decide (`proto/formats/decision.md`).

use super::{Desk, NotDecided};
use crate::commands::Error;
use decider::call::Call;
use ledger::{
    Error as Failure, canonical,
    event::{DECISION, PROBE, RESERVED_TOOL},
    ident::Ident,
    journal::Subject,
    json as strict_json,
    post::Outcome,
    time::Nanos,
};
use serde_json::json;

impl Desk {
    /// Records that this server decides now: clocks agree, the bundle in force can be read, the journal takes it, and
    /// posting confirms it. Once a minute: a second one of a minute is the first one.
    pub async fn probe(&self) -> Result<(), NotDecided> {
        self.readiness.clocks.stand().await?;
        self.in_force()?;
        let ours = Ident::new(RESERVED_TOOL).expect("letters");
        let subject = Subject::verdicts(ours);
        let now = self.readiness.clocks.now();
        let body = event(self.log.tenant(), now, self.log.extent().size)?;
        let same_key = self.readiness.keep_rules().await;
        let outcomes = self.log.propose(&subject, vec![body]).await?;
        drop(same_key);
        match outcomes.first() {
            Some(Outcome::Posted { .. } | Outcome::Duplicate { .. }) => Ok(()),
            other => Err(Failure::unless_posted(&subject, other)
                .map_or_else(Error::from, |_| Error::Unknown)
                .into()),
        }
    }
}

/// The event of a probe. Everything in it is plain: its nonce is its id.
fn event(tenant: &Ident, now: Nanos, as_of: u64) -> Result<Vec<u8>, Error> {
    let minute: String = now.to_string().chars().take("2026-11-20T05:48".len()).collect();
    let id = format!("{PROBE}-{}-{minute}Z", Subject::REPLICA);
    let params = strict_json::parse(b"{}").map_err(|_| Error::Unknown)?;
    let call = Call {
        nonce: &id,
        tenant,
        agent: RESERVED_TOOL,
        run: Some(Subject::REPLICA),
        tool: RESERVED_TOOL,
        action: PROBE,
        params: &params,
    };
    let event = json!({
        "specversion": "1.0", "type": DECISION, "source": RESERVED_TOOL, "id": id, "time": now.to_string(),
        "data": {
            "agent": {"id": RESERVED_TOOL, "run": Subject::REPLICA},
            "tool": {"name": RESERVED_TOOL, "action": PROBE},
            "verdict": "deny", "mode": "enforce",
            "reason": {"code": PROBE},
            "as_of": as_of,
            "call": {"digest": call.digest()},
        },
    });
    Ok(canonical::of(&event))
}
