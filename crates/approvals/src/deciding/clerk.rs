//! The server's own calls: changes of policies that people must approve first (P17). The clerk asks for the approval,
//! and carries out what was granted. Nobody else can redeem it.

use crate::{
    commands::{Commands, Error, Tokens},
    fault,
    history::Approval,
    log::Log,
};
use data_encoding::BASE64URL_NOPAD;
use decider::{
    approval::{Command, Outcome as Reported, Phase},
    call::Call,
};
use ledger::{
    Error as Failure, canonical,
    event::{self, RESERVED_TOOL},
    ident::Ident,
    journal::Subject,
    json, keyring,
    log::merkle::Hash,
    post::Outcome,
    system::{LeafAt, policy::Activates},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// The action that puts a bundle in force.
const ACTIVATE: &str = "policy.activate";
/// `redemption_id` of the clerk.
const REDEMPTION: &str = "activation";
/// Random bytes in a nonce.
const NONCE_BYTES: usize = 16;

/// A bundle that people are asked about: the params of the call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Leaf index of the bundle's entry.
    pub bundle: u64,
    /// Version of the bundle.
    pub version: u64,
    /// Its digest.
    pub digest: String,
    /// Digest of the bundle in force, which it replaces.
    pub replaces: Option<String>,
    /// True if it allows more than before in any way.
    pub widens: bool,
    /// Each change in words, what allows more first.
    pub changes: Vec<String>,
    /// What its tests say.
    pub tests: String,
}

/// Asks for changes and carries them out.
#[derive(Clone)]
pub struct Clerk {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) commands: Commands,
    pub(crate) tokens: Arc<Tokens>,
}

impl Clerk {
    fn name() -> Ident {
        Ident::new(RESERVED_TOOL).expect("letters")
    }

    /// Asks people whether a bundle may take effect. Returns the approval once it is open. `owners`: who wrote it; they
    /// never review it.
    pub async fn ask(
        &self,
        proposal: &Proposal,
        owners: &[Ident],
        comment: Option<&str>,
    ) -> Result<Result<Approval, crate::commands::NotOpened>, Error> {
        self.commands.readiness.decides().await?;
        let nonce = BASE64URL_NOPAD.encode(&keyring::random32()[..NONCE_BYTES]);
        let params = canonical::of(proposal);
        let params = json::parse(&params).map_err(|_| Error::Unknown)?;
        let call = Call {
            nonce: &nonce,
            tenant: self.log.tenant(),
            agent: RESERVED_TOOL,
            run: None,
            tool: RESERVED_TOOL,
            action: ACTIVATE,
            params: &params,
        };
        let mut payload = json!({"params": proposal, "nonce": nonce, "owner": owners});
        if let Some(comment) = comment {
            payload["reason"] = comment.into();
        }
        let event = json!({
            "specversion": "1.0", "type": event::DECISION, "source": RESERVED_TOOL, "id": nonce,
            "time": self.commands.readiness.clocks.now().to_string(),
            "data": {
                "agent": {"id": RESERVED_TOOL},
                "tool": {"name": RESERVED_TOOL, "action": ACTIVATE},
                "verdict": "approval_needed", "mode": "enforce",
                "reason": {"code": "review"},
                "as_of": self.log.extent().size,
                "activates": proposal.digest,
                "call": {"digest": call.digest()},
                "payload": payload,
            },
        });
        let replica = Ident::new(super::REPLICA).expect("letters and digits");
        let subject = Subject::Verdicts { replica, producer: Self::name() };
        let outcomes = self.log.propose(&subject, vec![canonical::of(&event)]).await?;
        match outcomes.first() {
            Some(Outcome::Posted { index }) => self.commands.open(*index).await,
            _ => Err(Error::Unknown),
        }
    }

    /// Redeems the approval and puts the bundle in force, in one message.
    pub(crate) async fn carry_out(&self, id: &Ident) -> Result<(), Error> {
        let Some(approval) = self.commands.reader.get(id).await? else { return Ok(()) };
        match approval.state.phase {
            Phase::Granted | Phase::Minted => {}
            Phase::Redeemed => {
                return self
                    .commands
                    .report(id, &Self::name(), Reported::Succeeded)
                    .await
                    .map(drop);
            }
            _ => return Ok(()),
        }
        let Some((activates, digest)) = self.granted(&approval)? else {
            return self.commands.revoke(id, RESERVED_TOOL, "payload_gone").await.map(drop);
        };
        let in_force = self.log.policies().in_force.map(|bundle| bundle.digest);
        if in_force != activates.replaces {
            return self.commands.revoke(id, RESERVED_TOOL, "replaced_meanwhile").await.map(drop);
        }
        let (_, minted) = self.tokens.mint(id, &Self::name()).await?;
        let Some(minted) = minted else { return Ok(()) };
        fault::point("activation_minted");
        let command = |world| Command::Redeem {
            world,
            enforcer: Self::name(),
            jti: minted.claims.jti.clone(),
            digest: digest.clone(),
            redemption_id: REDEMPTION.to_owned(),
        };
        let done = match self.commands.execute_activating(id, &activates, command).await {
            // Another bundle took effect in between: the next try sees it.
            Err(Error::Ledger(Failure::NotPosted { .. })) => return Err(Error::Contended),
            done => done?,
        };
        fault::point("activated");
        if done.refused.is_none() {
            self.commands.report(id, &Self::name(), Reported::Succeeded).await?;
        }
        Ok(())
    }

    /// What was granted, and its call digest. `None` if the call was erased.
    fn granted(&self, approval: &Approval) -> Result<Option<(Activates, String)>, Error> {
        let (decision, frozen) = self.commands.reader.opening(approval)?;
        let Some(frozen) = frozen else { return Ok(None) };
        let proposal: Proposal =
            serde_json::from_str(&frozen.params).map_err(|_| Error::Unknown)?;
        let leaf_hash = Hash::parse(&decision.leaf).ok_or(Error::Unknown)?;
        let activates = Activates {
            bundle: proposal.bundle,
            decision: LeafAt { index: decision.index, leaf_hash },
            digest: proposal.digest,
            replaces: proposal.replaces,
        };
        Ok(Some((activates, frozen.digest)))
    }
}
