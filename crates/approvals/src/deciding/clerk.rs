//! The server's own calls: changes of policies and lists that people must approve first (P17). The clerk asks for the approval,
//! and carries out what was granted. Nobody else can redeem it.

use crate::bundles::bundle_entry;
use crate::{
    commands::{Commands, Error, NotOpened},
    fault,
    history::Approval,
    log::Log,
};
use data_encoding::BASE64URL_NOPAD;
use decider::{
    approval::{Command, Outcome as Reported, Phase, Token, World},
    call::Call,
    policy::ListProposal,
    rule::{Rule, Visible, first_match},
};
use ledger::{
    Error as Failure, canonical,
    entry::View,
    event::{self, RESERVED_TOOL},
    ident::Ident,
    journal::Subject,
    json as strict_json, keyring,
    log::merkle::Hash,
    post::Outcome,
    system::{
        LeafAt,
        policy::{ACTIVATE, Activates, LIST_CHANGE, ListForm},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

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
    /// Which recorded calls it would have judged otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulation: Option<Simulation>,
}

/// What the newest recorded calls would have been by a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    /// Number of calls that were judged again.
    pub calls: u64,
    /// Those with the recorded verdict.
    pub same: u64,
    /// Those with another one.
    pub otherwise: u64,
    /// Those whose params are gone, or never were disclosed to us.
    pub not_simulated: u64,
    /// The kinds of change, what allows more first, each with its number and the first entries.
    pub changed: Vec<String>,
    /// Which versions of lists were used, by how many calls: a line for each list.
    #[serde(default)]
    pub lists: Vec<String>,
    /// First leaf index that was read.
    pub from: u64,
    /// Last leaf index that was read.
    pub to: u64,
    /// Root of the log at that size, base64.
    pub root: String,
}

/// What people are asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The action, `rules.apply` for example.
    pub action: &'a str,
    /// What exactly.
    pub params: &'a Value,
    /// Who wants it: they never review it.
    pub owners: &'a [Ident],
    /// Why, in their words.
    pub comment: Option<&'a str>,
}

/// Why an approval can't be redeemed for an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSpent {
    /// There is no such approval of such an act.
    Unknown,
    /// People approved something else.
    OtherCall,
    /// It is not granted, or was redeemed before.
    Phase(Phase),
}

/// Asks for changes and carries them out.
#[derive(Clone)]
pub struct Clerk {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) commands: Commands,
}

impl Clerk {
    fn name() -> Ident {
        Ident::new(RESERVED_TOOL).expect("letters")
    }

    /// Asks people whether a bundle may take effect. Returns the approval once it is open. `owners`: who wrote it; they
    /// never review it.
    pub async fn propose(
        &self,
        proposal: &Proposal,
        owners: &[Ident],
        comment: Option<&str>,
    ) -> Result<Result<Approval, NotOpened>, Error> {
        let params = json!(proposal);
        let question = Question { action: ACTIVATE, params: &params, owners, comment };
        self.ask(question, Some(&proposal.digest)).await
    }

    /// Asks people whether a version of a list may take effect. As [`Clerk::propose`].
    pub async fn propose_list(
        &self,
        proposal: &ListProposal,
        owners: &[Ident],
        comment: Option<&str>,
    ) -> Result<Result<Approval, NotOpened>, Error> {
        let params = json!(proposal);
        let question = Question { action: LIST_CHANGE, params: &params, owners, comment };
        self.ask(question, Some(&proposal.digest)).await
    }

    /// Asks people whether somebody may do something. Returns the approval once it is open. `activates`: digest of the
    /// bundle that its redemption puts in force.
    pub async fn ask(
        &self,
        question: Question<'_>,
        activates: Option<&str>,
    ) -> Result<Result<Approval, NotOpened>, Error> {
        let Question { action, params, owners, comment } = question;
        self.commands.readiness.decides().await?;
        let nonce = BASE64URL_NOPAD.encode(&keyring::random32()[..NONCE_BYTES]);
        let strict = canonical::of(params);
        let strict = strict_json::parse(&strict).map_err(|_| Error::Unknown)?;
        let call = Call {
            nonce: &nonce,
            tenant: self.log.tenant(),
            agent: RESERVED_TOOL,
            run: None,
            tool: RESERVED_TOOL,
            action,
            params: &strict,
        };
        let mut payload = json!({"params": params, "nonce": nonce, "owner": owners});
        if let Some(comment) = comment {
            payload["reason"] = comment.into();
        }
        let mut event = json!({
            "specversion": "1.0", "type": event::DECISION, "source": RESERVED_TOOL, "id": nonce,
            "time": self.commands.readiness.clocks.now().to_string(),
            "data": {
                "agent": {"id": RESERVED_TOOL},
                "tool": {"name": RESERVED_TOOL, "action": action},
                "verdict": "approval_needed", "mode": "enforce",
                "reason": {"code": "review"},
                "as_of": self.log.extent().size,
                "call": {"digest": call.digest()},
                "payload": payload,
            },
        });
        if let Some(digest) = activates {
            event["data"]["activates"] = digest.into();
        }
        let subject = Subject::verdicts(Self::name());
        let same_key = self.commands.readiness.keep_rules().await;
        let outcomes = self.log.propose(&subject, vec![canonical::of(&event)]).await?;
        drop(same_key);
        match outcomes.first() {
            Some(Outcome::Posted { index }) => self.commands.open(*index).await,
            other => Err(Failure::unless_posted(&subject, other)
                .map_or_else(Error::from, |_| Error::Unknown)),
        }
    }

    /// True if the rules that were applied last ask people before somebody does this. Without such a rule, whoever has
    /// the key does it alone.
    pub fn demands_review(&self, action: &str, params: &Value) -> Result<bool, Error> {
        let Some((_, applied)) = self.log.rules()? else { return Ok(false) };
        let rules = applied.rules.into_iter().map(serde_json::from_value::<Rule>);
        let rules: Vec<Rule> = rules.filter_map(Result::ok).collect();
        let strict = canonical::of(params);
        let strict = strict_json::parse(&strict).map_err(|_| Error::Unknown)?;
        let labels = BTreeMap::new();
        let call =
            Visible { tool: RESERVED_TOOL, action, clause: None, labels: &labels, params: &strict };
        Ok(first_match(&rules, &call).is_some())
    }

    /// Redeems an approval for exactly this, once. Report it afterwards ([`Clerk::done`]).
    pub async fn spend(
        &self,
        id: &Ident,
        (action, params): (&str, &Value),
    ) -> Result<Result<(), NotSpent>, Error> {
        let Some(approval) = self.commands.reader.find(id, |_| true).await? else {
            return Ok(Err(NotSpent::Unknown));
        };
        let (decision, frozen) = self.commands.reader.opening(&approval)?;
        let ours = decision.producer == Self::name() && decision.call.action == action;
        let Some(frozen) = frozen.filter(|_| ours) else { return Ok(Err(NotSpent::Unknown)) };
        if frozen.params.as_bytes() != canonical::of(params) {
            return Ok(Err(NotSpent::OtherCall));
        }
        let phase = approval.state.phase;
        if !matches!(phase, Phase::Granted | Phase::Minted) {
            return Ok(Err(NotSpent::Phase(phase)));
        }
        let Some(token) = self.mint(id).await? else { return Ok(Err(NotSpent::Phase(phase))) };
        // One redemption wins: another request with the same approval has another id.
        let redemption_id = BASE64URL_NOPAD.encode(&keyring::random32()[..NONCE_BYTES]);
        let command = redeem(&token, &frozen.digest, &redemption_id);
        let done = self.commands.execute(id, command).await?;
        Ok(match done.refused {
            None => Ok(()),
            Some(_) => Err(NotSpent::Phase(done.approval.state.phase)),
        })
    }

    /// Records a token of the grant. No token is signed: nobody but this server redeems it, here and
    /// now. `None` if the approval gives none any more.
    async fn mint(&self, id: &Ident) -> Result<Option<Token>, Error> {
        let jti = BASE64URL_NOPAD.encode(&keyring::random32()[..NONCE_BYTES]);
        let command = |world| Command::Mint {
            world,
            enforcer: Self::name(),
            jti: jti.clone(),
            kid: RESERVED_TOOL.to_owned(),
        };
        let done = self.commands.execute(id, command).await?;
        Ok(done.approval.state.token.filter(|_| done.refused.is_none()))
    }

    /// Reports that what was approved is done.
    pub async fn done(&self, id: &Ident) -> Result<(), Error> {
        self.commands.report(id, &Self::name(), Reported::Succeeded).await.map(drop)
    }

    /// Redeems the approval and puts the bundle or the version of a list in force, in one message.
    pub(crate) async fn carry_out(&self, id: &Ident) -> Result<(), Error> {
        let Some(approval) = self.commands.reader.get(id).await? else { return Ok(()) };
        let action = approval.state.requested.as_ref().map(|asked| asked.call.action.as_str());
        let Some(action) = action.filter(|action| [ACTIVATE, LIST_CHANGE].contains(action)) else {
            // Whoever asked for it does it.
            return Ok(());
        };
        match approval.state.phase {
            Phase::Granted | Phase::Minted => {}
            Phase::Redeemed => return self.done(id).await,
            _ => return Ok(()),
        }
        let Some((mut activates, digest)) = self.granted(&approval, action)? else {
            return self.commands.revoke(id, RESERVED_TOOL, "payload_gone").await.map(drop);
        };
        if self.is_outdated(&activates)? {
            return self.commands.revoke(id, RESERVED_TOOL, "replaced_meanwhile").await.map(drop);
        }
        let Some(token) = self.mint(id).await? else { return Ok(()) };
        activates.before = token.exp;
        fault::point("activation_minted");
        let command = redeem(&token, &digest, REDEMPTION);
        let done = match self.commands.execute_activating(id, &activates, command).await {
            // Something else took effect in between: the next try sees it.
            Err(Error::Ledger(Failure::NotPosted { .. })) => return Err(Error::Contended),
            done => done?,
        };
        fault::point("activated");
        if done.refused.is_none() {
            self.done(id).await?;
        }
        Ok(())
    }

    /// True if something else took effect since people were asked, so that what they approved replaces it no more.
    fn is_outdated(&self, activates: &Activates) -> Result<bool, Error> {
        let policies = self.log.policies();
        let in_force = policies.in_force.as_ref();
        let Some(list) = activates.list else {
            let replaces = in_force.map(|bundle| &bundle.digest) == activates.replaces.as_ref();
            return Ok(!replaces || policies.has_new_list_since(activates.decision.index));
        };
        let entry = self.log.entry(list)?.unwrap_or_default();
        let Some(form) = View::parse(&entry).as_ref().and_then(ListForm::of) else {
            return Ok(true);
        };
        let bundle = match in_force {
            Some(bundle) => self.log.entry(bundle.bundle)?,
            None => None,
        };
        let bundle = bundle.as_deref().and_then(bundle_entry);
        let file = bundle.and_then(|bundle| Some(bundle.part(&form.part.path)?.index));
        Ok(!policies.is_next(&form, file))
    }

    /// What was granted, and its call digest. `None` if the call was erased.
    fn granted(
        &self,
        approval: &Approval,
        action: &str,
    ) -> Result<Option<(Activates, String)>, Error> {
        let (decision, frozen) = self.commands.reader.opening(approval)?;
        let Some(frozen) = frozen else { return Ok(None) };
        let leaf_hash = Hash::parse(&decision.leaf).ok_or(Error::Unknown)?;
        let mut activates = Activates {
            bundle: None,
            list: None,
            decision: LeafAt { index: decision.index, leaf_hash },
            digest: String::new(),
            before: approval.state.execution_deadline.unwrap_or_default(),
            replaces: None,
        };
        let unreadable = |_| Error::Unknown;
        if action == LIST_CHANGE {
            let of: ListProposal = serde_json::from_str(&frozen.params).map_err(unreadable)?;
            (activates.list, activates.digest) = (Some(of.entry), of.digest);
        } else {
            let of: Proposal = serde_json::from_str(&frozen.params).map_err(unreadable)?;
            (activates.bundle, activates.digest) = (Some(of.bundle), of.digest);
            activates.replaces = of.replaces;
        }
        Ok(Some((activates, frozen.digest)))
    }
}

/// Redeems what the clerk minted for a call, for itself.
fn redeem<'a>(
    token: &'a Token,
    digest: &'a str,
    redemption_id: &'a str,
) -> impl Fn(World) -> Command + 'a {
    move |world| Command::Redeem {
        world,
        enforcer: Clerk::name(),
        jti: token.jti.clone(),
        digest: digest.to_owned(),
        redemption_id: redemption_id.to_owned(),
    }
}
