//! The decision event that pauses a call, read back from the ledger, with its frozen call.

use decider::{
    call::{Call, approval_id},
    rule::Facts,
};
use ledger::{
    disclosure::Scope,
    entry::{Kind, Payload, View},
    event,
    ident::Ident,
    json::{self, Value},
    log::merkle::leaf_hash,
    time::Nanos,
};
use std::collections::BTreeMap;

/// Longest `payload.nonce`, in bytes. 16 random bytes in base64url take 22.
const NONCE_BYTES_MAX: usize = 64;

/// A decision event with verdict `approval_needed`, from its entry.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Id of its approval.
    pub id: Ident,
    /// Leaf index of the decision.
    pub index: u64,
    /// Leaf hash, base64. The approval's first message names it as `prev`.
    pub leaf: String,
    /// `journal.time`
    pub at: Nanos,
    /// CloudEvents `time`: when the data plane judged the call, by its own word.
    pub said_at: Option<Nanos>,
    /// Producer that published the decision.
    pub producer: Ident,
    /// Tenant of the agent.
    pub tenant: Ident,
    /// `data.agent.id`
    pub agent: String,
    /// `data.agent.run`
    pub run: Option<String>,
    /// `data.tool.name`
    pub tool: String,
    /// `data.tool.action`
    pub action: String,
    /// `data.labels`
    pub labels: BTreeMap<String, String>,
    /// `data.call.digest`: the digest that the data plane computed.
    pub declared: Option<String>,
    /// True if `data.mode` is `shadow`: the gateway only observes.
    pub shadow: bool,
}

/// The erasable part of a paused call.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// `payload.nonce`
    pub nonce: String,
    /// `payload.params`, in RFC 8785 form.
    pub params: String,
    /// `payload.owner`: the agent's owner, as the data plane names it: a principal id.
    pub owner: Option<String>,
    /// `payload.reason`: the agent's own words.
    pub agent_says: Option<String>,
    /// The whole call in RFC 8785 form: what is hashed and executed.
    pub canonical: String,
    /// The call digest, computed by this server.
    pub digest: String,
}

impl Opening {
    /// Reads an entry. `None` if it is not a decision with verdict `approval_needed`.
    pub fn of_entry(tenant: &Ident, index: u64, entry: &[u8]) -> Option<Self> {
        let view = View::parse(entry).filter(|view| view.kind == Kind::Decision)?;
        let data = |path: &[&str]| view.text(&[&["event", "data"], path].concat());
        if data(&["verdict"]) != Some("approval_needed")
            || view.text(&["event", "type"]) != Some(event::DECISION)
        {
            return None;
        }
        let text = |path: &[&str]| data(path).map(str::to_owned);
        let producer = Ident::new(view.text(&["producer"])?).ok()?;
        let source = view.text(&["event", "source"])?;
        let scope = Scope { producer: producer.as_str(), source, id: view.text(&["event", "id"])? };
        let labels = match view.at(&["event", "data", "labels"]) {
            Some(Value::Object(members)) => members
                .iter()
                .filter_map(|(name, value)| Some((name.to_string(), value.as_str()?.to_owned())))
                .collect(),
            _ => BTreeMap::new(),
        };
        Some(Self {
            id: approval_id(tenant, scope),
            index,
            leaf: leaf_hash(entry).to_string(),
            at: view.origin.time,
            said_at: view.text(&["event", "time"]).and_then(Nanos::parse),
            tenant: tenant.clone(),
            agent: text(&["agent", "id"])?,
            run: text(&["agent", "run"]),
            tool: text(&["tool", "name"])?,
            action: text(&["tool", "action"])?,
            labels,
            declared: text(&["call", "digest"]),
            shadow: data(&["mode"]) == Some("shadow"),
            producer,
        })
    }

    /// The frozen call from the payload. `None` if params or nonce are absent or erased.
    pub fn frozen(&self, payload: &Payload) -> Option<Frozen> {
        let fields = payload.values();
        let text = |name: &str| -> Option<String> {
            let value = fields.get(name)?;
            json::parse_kept(value).ok()?.as_str().map(str::to_owned)
        };
        let nonce = text("nonce").filter(|n| (1..=NONCE_BYTES_MAX).contains(&n.len()))?;
        let params = fields.get("params")?;
        let parsed = json::parse_kept(params).ok()?;
        let call = Call {
            nonce: &nonce,
            tenant: &self.tenant,
            agent: &self.agent,
            run: self.run.as_deref(),
            tool: &self.tool,
            action: &self.action,
            params: &parsed,
        };
        let (canonical, digest) = (String::from_utf8(call.canonical()).ok()?, call.digest());
        let params = String::from_utf8(params.clone()).ok()?;
        let (owner, agent_says) = (text("owner"), text("reason"));
        Some(Frozen { nonce, params, owner, agent_says, canonical, digest })
    }

    /// Calls `look` with the parts of the call that rules can see.
    pub fn with_facts<T>(&self, frozen: &Frozen, look: impl FnOnce(&Facts<'_>) -> T) -> Option<T> {
        let params = json::parse_kept(frozen.params.as_bytes()).ok()?;
        let (tool, action) = (self.tool.as_str(), self.action.as_str());
        Some(look(&Facts { tool, action, labels: &self.labels, params: &params }))
    }
}
