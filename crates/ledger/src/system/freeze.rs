//! `system.freeze`: what agents may not do from now on, whatever the policies say (`proto/formats/system.md`).

use super::{By, LeafAt, Reason};
use crate::{
    event::is_reserved_tool,
    ident::Ident,
    json::{Value, text_has_control},
};
use serde::{Deserialize, Serialize};

/// Most freezes by people in force at once.
pub const FREEZES_MAX: usize = 512;
/// Most freezes by clauses in force at once for one producer. The next one stops the producer.
pub const OF_CLAUSES_MAX: usize = 64;
/// Longest id of what is frozen, in bytes: that of an agent in an event.
const ID_BYTES_MAX: usize = 256;

/// What sort of thing a freeze stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FreezeScope {
    /// An agent, wherever it stands in the chain of a call.
    Agent,
    /// A session of an agent.
    Session,
    /// A run of an agent.
    Run,
    /// A tool, for every agent.
    Tool,
    /// A producer: everything that one gateway asks for.
    Producer,
    /// The tenant: every call.
    Tenant,
}

impl FreezeScope {
    /// Every scope with its name.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Agent, "agent"),
        (Self::Session, "session"),
        (Self::Run, "run"),
        (Self::Tool, "tool"),
        (Self::Producer, "producer"),
        (Self::Tenant, "tenant"),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(scope, _)| *scope == self).map_or("", |(_, name)| name)
    }

    /// The scope with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(scope, _)| *scope)
    }
}

/// What a freeze stops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// What sort of thing.
    pub scope: FreezeScope,
    /// Its id, compared byte for byte.
    pub id: String,
    /// The producer whose calls alone are stopped. Absent: everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<Ident>,
}

impl Target {
    /// What is wrong with it, if it stops nothing that a tenant of this name has.
    pub fn fault(&self, tenant: &Ident) -> Option<&'static str> {
        let Self { scope, id, producer } = self;
        if id.is_empty() || id.len() > ID_BYTES_MAX || text_has_control(id) {
            return Some("id is a text of 1 to 256 bytes, without control characters");
        }
        let whole = matches!(scope, FreezeScope::Producer | FreezeScope::Tenant);
        match scope {
            _ if whole && producer.is_some() => {
                Some("producer narrows an agent, a session, a run or a tool")
            }
            FreezeScope::Producer if Ident::new(id).is_err() => Some("id is no name of a producer"),
            FreezeScope::Producer | FreezeScope::Tool if is_reserved_tool(id) => {
                Some("what begins with `countersign` is ours: it can't be frozen")
            }
            FreezeScope::Tenant if id != tenant.as_str() => {
                Some("id is the name of the tenant, so that nobody stops one by mistake")
            }
            _ => None,
        }
    }

    /// True if the call is stopped.
    pub fn stops(&self, call: &Acting) -> bool {
        let Self { scope, id, producer } = self;
        if producer.as_ref().is_some_and(|producer| *producer.as_str() != *call.producer) {
            return false;
        }
        match scope {
            FreezeScope::Agent => call.agent == *id || call.chain.contains(id),
            FreezeScope::Session => call.session.as_ref() == Some(id),
            FreezeScope::Run => call.run.as_ref() == Some(id),
            FreezeScope::Tool => call.tool == *id,
            FreezeScope::Producer => call.producer == *id,
            FreezeScope::Tenant => true,
        }
    }
}

/// Who acts in a call, as far as a freeze asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acting {
    producer: String,
    agent: String,
    chain: Vec<String>,
    session: Option<String>,
    run: Option<String>,
    tool: String,
    /// True if the agent has proven who it is.
    verified: bool,
}

impl Acting {
    /// Reads the members `agent` and `tool`: those of an event's `data`, or of a question.
    pub fn of(producer: &str, data: &Value<'_>) -> Self {
        let text = |of: &str, name: &str| {
            data.get(of).and_then(|found| found.get(name)?.as_str()).map(str::to_owned)
        };
        let chain = data.get("agent").and_then(|agent| agent.get("chain")?.as_array());
        let chain = chain.unwrap_or(&[]).iter().filter_map(Value::as_str);
        Self {
            producer: producer.to_owned(),
            agent: text("agent", "id").unwrap_or_default(),
            chain: chain.map(str::to_owned).collect(),
            session: text("agent", "session"),
            run: text("agent", "run"),
            tool: text("tool", "name").unwrap_or_default(),
            verified: data.get("verified_by").is_some(),
        }
    }

    /// The producer that asks.
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// True if the server itself asks people: that is never frozen, or nothing could be lifted.
    pub fn is_ours(&self) -> bool {
        is_reserved_tool(&self.tool)
    }

    /// What a clause freezes of this call. An agent that has proven who it is is frozen everywhere. Otherwise the freeze holds for
    /// calls of the producer that asked alone: nobody freezes another's agent by claiming its id. The same is true of a session,
    /// whose id no token proves. A call without a session has its agent frozen.
    pub fn target(&self, scope: FreezeScope) -> Target {
        let producer = Ident::new(&self.producer).ok();
        if let (FreezeScope::Session, Some(id)) = (scope, &self.session) {
            return Target { scope, id: id.clone(), producer };
        }
        let producer = producer.filter(|_| !self.verified);
        Target { scope: FreezeScope::Agent, id: self.agent.clone(), producer }
    }
}

/// The body of a message on `system.freeze`, and the `event` of every `freeze` entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum FreezeBody {
    /// Something is frozen from this entry on.
    Freeze(Freeze),
    /// A freeze ends.
    Lift(Lift),
}

/// A freeze begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// What sort of thing is stopped.
    pub scope: FreezeScope,
    /// Its id.
    pub id: String,
    /// The producer whose calls alone are stopped. Absent: everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<Ident>,
    /// The decision whose clause did it. Absent: somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<LeafAt>,
    /// Who did it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Freeze {
    /// What it stops.
    pub fn target(&self) -> Target {
        Target { scope: self.scope, id: self.id.clone(), producer: self.producer.clone() }
    }
}

/// A freeze ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lift {
    /// Leaf index of the entry with which it began.
    pub freeze: u64,
    /// Who did it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl FreezeBody {
    /// Evidence that says why.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Freeze(Freeze { reason, .. }) | Self::Lift(Lift { reason, .. }) => {
                reason.as_ref()
            }
        }
    }
}
