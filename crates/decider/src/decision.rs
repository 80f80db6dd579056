//! The decision that pauses a call: the one reader of it, for the worker, for `rules test` and for the auditor.
//!
//! In scope: what the event says of the call (`proto/formats/event.md`), and the frozen call that its payload gives.
//! Out of scope: whether anything may be asked about it now, which needs a clock and rules.

use crate::{
    call::{Call, approval_id},
    rule::Visible,
};
use ledger::{
    canonical,
    disclosure::Scope,
    entry::{Kind, Origin, View},
    event::{self, Event, Type, Verdict},
    ident::Ident,
    json::{self, Value},
    log::merkle::leaf_hash,
    time::Nanos,
};
use std::{collections::BTreeMap, ops::RangeInclusive};

/// How long `payload.nonce` may be, in bytes; 16 random bytes in base64url are 22.
pub const NONCE_BYTES: RangeInclusive<usize> = 1..=64;
/// Most owners that a decision names.
pub const OWNERS_MAX: usize = 256;
/// The verdict that pauses a call.
pub const APPROVAL_NEEDED: &str = Verdict::ApprovalNeeded.as_str();

/// Payload fields by name, each in RFC 8785 form.
pub type Fields = BTreeMap<String, Vec<u8>>;

/// A decision that pauses a call, as it stands in the log.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The approval it opens: follows from tenant, producer, source and id.
    pub id: Ident,
    /// Leaf index of the decision.
    pub index: u64,
    /// Leaf hash, base64. The approval's first message names it as `prev`.
    pub leaf: String,
    /// When and where the journal took it.
    pub origin: Origin,
    /// The gateway that published it.
    pub producer: Ident,
    /// What it says of the call.
    pub call: PausedCall,
}

/// What a decision event says of the call it pauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedCall {
    /// The tenant whose agent calls.
    pub tenant: Ident,
    /// `data.agent.id`
    pub agent: String,
    /// `data.agent.run`
    pub run: Option<String>,
    /// `data.tool.name`
    pub tool: String,
    /// `data.tool.action`
    pub action: String,
    /// The clause of our policies that asked for approval. `None` for what a gateway decided.
    pub clause: Option<String>,
    /// `data.labels`
    pub labels: BTreeMap<String, String>,
    /// `data.call.digest`: the digest that the data plane computed.
    pub declared: Option<String>,
    /// CloudEvents `time`: when the data plane says it judged the call. `None`: before 1970, or after 2554.
    pub said_at: Option<Nanos>,
    /// True if `data.mode` is `shadow`: the gateway only observes.
    pub shadow: bool,
}

/// The erasable part of a paused call, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// `payload.nonce`
    pub nonce: String,
    /// `payload.params`, in RFC 8785 form.
    pub params: String,
    /// `payload.owner`: the agent's owners, as the decision names them: a principal id, or several.
    pub owners: Vec<String>,
    /// `payload.reason`: the agent's own words.
    pub agent_says: Option<String>,
    /// The whole call in RFC 8785 form: what is hashed and executed.
    pub canonical: String,
    /// The call digest, computed by this server.
    pub digest: String,
}

/// Why an event pauses no call. The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPaused {
    /// These bytes are no entry that a log of ours holds.
    #[error("not an entry of version 1")]
    NotAnEntry,
    /// Another kind of entry, or another type of event.
    #[error("only events of type {decision} pause a call", decision = event::DECISION)]
    NotADecision,
    /// The gateway's verdict is not `approval_needed`.
    #[error("the verdict is {0:?}: only `approval_needed` pauses a call")]
    Verdict(String),
    /// No decision that was posted is so.
    #[error("{0} is absent, or not of the form that proto/formats/event.md gives it")]
    Malformed(&'static str),
    /// The gateway only observes.
    #[error("data.mode is `shadow`: nothing is paused and nobody is asked")]
    Shadow,
    /// A member is absent that people must see, or that the digest needs.
    #[error("data.payload.{0} is absent: the call can't be shown and its digest can't be checked")]
    Absent(&'static str),
    /// A nonce that no digest is computed with.
    #[error(
        "data.payload.nonce must be a text of {min} to {max} bytes: send 16 random bytes in base64url",
        min = NONCE_BYTES.start(),
        max = NONCE_BYTES.end()
    )]
    Nonce,
    /// The data plane did not say which call it froze.
    #[error("data.call.digest is absent; the digest of this call of tenant {tenant} is {computed}")]
    NoDigest {
        /// The tenant for which it was computed.
        tenant: Ident,
        /// What it would be.
        computed: String,
    },
    /// The digest belongs to another call.
    #[error(
        "data.call.digest is {said:?}, but the digest of this call of tenant {tenant} is {computed}"
    )]
    Digest {
        /// Digest in the event.
        said: String,
        /// The tenant for which it was computed.
        tenant: Ident,
        /// Digest that was computed.
        computed: String,
    },
}

impl Decision {
    /// Reads the decision at a leaf index from its entry's bytes. A decision in shadow mode is read too: see
    /// [`PausedCall::asked`].
    pub fn of_entry(index: u64, entry: &[u8]) -> Result<Self, NotPaused> {
        let view = exact_view(entry).ok_or(NotPaused::NotAnEntry)?;
        if view.kind != Kind::Decision {
            return Err(NotPaused::NotADecision);
        }
        let text = |path: &'static [&'static str]| {
            view.text(path).ok_or(NotPaused::Malformed(path[path.len() - 1]))
        };
        let ident = |path: &'static [&'static str]| {
            Ident::new(text(path)?).map_err(|_| NotPaused::Malformed(path[0]))
        };
        let (tenant, producer) = (ident(&["tenant"])?, ident(&["producer"])?);
        let (source, id) = (text(&["event", "source"])?, text(&["event", "id"])?);
        let scope = Scope { producer: producer.as_str(), source, id, ours: view.is_ours() };
        let event = view.at(&["event"]).ok_or(NotPaused::Malformed("event"))?;
        Ok(Self {
            id: approval_id(&tenant, scope),
            index,
            leaf: leaf_hash(entry).to_string(),
            origin: view.origin,
            call: PausedCall::read(&tenant, event)?,
            producer,
        })
    }

    /// When the journal took it.
    pub fn at(&self) -> Nanos {
        self.origin.time
    }
}

impl PausedCall {
    /// Reads an event as its producer sends it, for a tenant.
    pub fn of_event(tenant: &Ident, event: &Event) -> Result<Self, NotPaused> {
        if event.kind != Type::Decision {
            return Err(NotPaused::NotADecision);
        }
        let plain = json::parse_kept(&event.plain).map_err(|_| NotPaused::Malformed("event"))?;
        Self::read(tenant, &plain)
    }

    /// Reads the plain part of an event.
    fn read(tenant: &Ident, event: &Value<'_>) -> Result<Self, NotPaused> {
        let at = |path: &str| path.split('.').try_fold(event, |value, name| value.get(name));
        let may = |path: &'static str| match at(path) {
            Some(value) => {
                let text = value.as_str().ok_or(NotPaused::Malformed(path))?;
                Ok(Some(text.to_owned()))
            }
            None => Ok(None),
        };
        let must = |path: &'static str| may(path)?.ok_or(NotPaused::Malformed(path));
        if must("type")? != event::DECISION {
            return Err(NotPaused::NotADecision);
        }
        let verdict = must("data.verdict")?;
        if verdict != APPROVAL_NEEDED {
            return Err(NotPaused::Verdict(verdict));
        }
        let shadow = match may("data.mode")?.as_deref() {
            None | Some("enforce") => false,
            Some("shadow") => true,
            Some(_) => return Err(NotPaused::Malformed("data.mode")),
        };
        Ok(Self {
            tenant: tenant.clone(),
            agent: must("data.agent.id")?,
            run: may("data.agent.run")?,
            tool: must("data.tool.name")?,
            action: must("data.tool.action")?,
            clause: may("data.policy.id")?.filter(|_| at("data.as_of").is_some()),
            labels: labels(at("data.labels"))?,
            declared: may("data.call.digest")?,
            said_at: may("time")?.as_deref().and_then(Nanos::parse),
            shadow,
        })
    }

    /// The frozen call from what is left of the payload.
    pub fn frozen(&self, payload: &Fields) -> Result<Frozen, NotPaused> {
        let value = |name: &'static str| {
            let bytes = payload.get(name).ok_or(NotPaused::Absent(name))?;
            json::parse_kept(bytes).map_err(|_| NotPaused::Malformed(name))
        };
        let text = |name| Some(value(name).ok()?.as_str()?.to_owned());
        let params = value("params")?;
        let nonce = value("nonce")?;
        let nonce = nonce.as_str().filter(|nonce| NONCE_BYTES.contains(&nonce.len()));
        let nonce = nonce.ok_or(NotPaused::Nonce)?;
        let call = Call {
            nonce,
            tenant: &self.tenant,
            agent: &self.agent,
            run: self.run.as_deref(),
            tool: &self.tool,
            action: &self.action,
            params: &params,
        };
        let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| NotPaused::Malformed("params"));
        Ok(Frozen {
            params: utf8(canonical::to_vec(&params))?,
            canonical: utf8(call.canonical())?,
            digest: call.digest(),
            nonce: nonce.to_owned(),
            owners: match payload.get("owner") {
                None => Vec::new(),
                Some(_) => owners(&value("owner")?).ok_or(NotPaused::Malformed("owner"))?,
            },
            agent_says: text("reason"),
        })
    }

    /// The frozen call that people may be asked about: the gateway waits for them, and it is the call whose digest it
    /// sent (P7).
    pub fn asked(&self, payload: &Fields) -> Result<Frozen, NotPaused> {
        if self.shadow {
            return Err(NotPaused::Shadow);
        }
        let frozen = self.frozen(payload)?;
        let (tenant, computed) = (self.tenant.clone(), frozen.digest.clone());
        match &self.declared {
            None => Err(NotPaused::NoDigest { tenant, computed }),
            Some(said) if *said != computed => {
                Err(NotPaused::Digest { said: said.clone(), tenant, computed })
            }
            Some(_) => Ok(frozen),
        }
    }

    /// Calls `look` with what rules see of the call. `None` if these are no params that [`PausedCall::frozen`] gave.
    pub fn with_facts<T>(
        &self,
        frozen: &Frozen,
        look: impl FnOnce(&Visible<'_>) -> T,
    ) -> Option<T> {
        let params = json::parse_kept(frozen.params.as_bytes()).ok()?;
        let (tool, action) = (self.tool.as_str(), self.action.as_str());
        let clause = self.clause.as_deref();
        Some(look(&Visible { tool, action, clause, labels: &self.labels, params: &params }))
    }
}

/// One text, or a list of at most [`OWNERS_MAX`]. Whatever else stands there names nobody. `None` for more: nobody may
/// push an owner out of the list (P10).
pub(crate) fn owners(named: &Value<'_>) -> Option<Vec<String>> {
    let one = std::slice::from_ref(named);
    let texts = named.as_array().unwrap_or(one);
    let named = texts.iter().filter_map(|owner| owner.as_str().map(str::to_owned)).collect();
    (texts.len() <= OWNERS_MAX).then_some(named)
}

fn labels(value: Option<&Value<'_>>) -> Result<BTreeMap<String, String>, NotPaused> {
    let malformed = || NotPaused::Malformed("data.labels");
    let members = match value {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(malformed()),
    };
    let label = |(name, value): &json::Member<'_>| {
        Ok((name.to_string(), value.as_str().ok_or_else(malformed)?.to_owned()))
    };
    members.iter().map(label).collect()
}

/// An entry whose bytes are in RFC 8785 form: it has no byte that this reader passes over.
pub(crate) fn exact_view(entry: &[u8]) -> Option<View<'_>> {
    let value = json::parse_kept(entry).ok()?;
    if canonical::to_vec(&value) != entry {
        return None;
    }
    View::of(value)
}

#[cfg(test)]
mod tests;
