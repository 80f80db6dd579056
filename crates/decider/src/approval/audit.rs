//! Judges the whole history of one approval from its entries alone (`proto/formats/approval-export.md`).
//!
//! In scope: everything that follows from the decision's entry and the approval's own entries. Out of scope:
//! whether these entries are in a log (receipts show that), and what other entries of the log say. The caller
//! must supply that.

use super::{Event, Message, Phase, Requested, State, fold};
use crate::{
    Decider as _,
    call::{Call, approval_id},
};
use ledger::{
    canonical,
    disclosure::Scope,
    entry::{Kind, Origin, View},
    event::DECISION,
    ident::Ident,
    json,
    log::merkle::leaf_hash,
    time::Nanos,
};

/// Why a history is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// What is wrong with the decision's entry.
    #[error("the decision's entry: {0}")]
    Opening(&'static str),
    /// One message of the history is wrong.
    #[error("message {n}: {what}")]
    Message {
        /// Number of the message by position: 1 for the first one given.
        n: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A message holds an event that could not happen at that point.
    #[error(
        "message {n}: `{event}` can't have happened while the approval was {phase}, as the messages before tell it"
    )]
    CantFollow {
        /// Number of the message that holds the event.
        n: u64,
        /// Name of the event on the wire.
        event: String,
        /// Phase of the approval before the event, by its name on the wire.
        phase: String,
    },
    /// What is wrong with the disclosed call.
    #[error("the disclosed call: {0}")]
    Call(&'static str),
    /// A contradiction that only the whole log shows.
    #[error("{0}")]
    Log(&'static str),
}

/// One message of the history, with the state after it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Number of the message, from 1.
    pub n: u64,
    /// Leaf index.
    pub index: u64,
    /// The entry's `journal.time`. Deadlines are judged by it.
    pub at: Nanos,
    /// The events as the message lists them. After a deadline they may be void; `phase` says what is true.
    pub events: Vec<Event>,
    /// Phase after this message.
    pub phase: Phase,
}

/// The decision, as read from its entry.
#[derive(Clone, Debug)]
struct Opened {
    id: Ident,
    index: u64,
    tenant: Ident,
    producer: Ident,
    origin: Origin,
    agent: String,
    run: Option<String>,
    tool: String,
    action: String,
    digest: String,
}

/// The audit of a history. No message so far contradicts it.
#[derive(Clone, Debug)]
pub struct Audit {
    opened: Opened,
    state: State,
    steps: Vec<Step>,
    last: (u64, Origin),
}

impl Audit {
    /// Begins with the leaf index and the bytes of the decision's entry. The caller has proven both by a
    /// receipt.
    pub fn begin(index: u64, entry: &[u8]) -> Result<Self, Fault> {
        let view = view(entry).ok_or(Fault::Opening("not an entry of version 1"))?;
        let opened = Opened::read(index, &view).map_err(Fault::Opening)?;
        let last = (index, opened.origin);
        let state = State::begin(&leaf_hash(entry).to_string());
        Ok(Self { opened, state, steps: Vec::new(), last })
    }

    /// Takes the next message: leaf index and bytes of its entry. The caller has proven both by a receipt.
    /// After an error, do not use this audit any more.
    pub fn follow(&mut self, index: u64, entry: &[u8]) -> Result<(), Fault> {
        let n = self.state.n + 1;
        let wrong = |what| Fault::Message { n, what };
        let view = view(entry).ok_or_else(|| wrong("not an entry of version 1"))?;
        let event = view.at(&["event"]).map(canonical::to_vec).unwrap_or_default();
        let message = Message::read(&event);
        let first = message.as_ref().and_then(|message| message.events.first());
        let anew = matches!(first, Some(Event::ClockReset { .. }));
        self.check_place((index, anew), &view).map_err(wrong)?;
        let message = message
            .ok_or_else(|| wrong("not an approval message as formats/approval.md has it"))?;
        if let Some(Event::ClockReset { clock }) = message.events.first()
            && *clock >= index
        {
            return Err(wrong("it says that time began anew by an entry that comes after it"));
        }
        self.check_chain(&message).map_err(wrong)?;
        if let Some(Event::Requested(requested)) = message.events.first() {
            self.opened.check(requested).map_err(wrong)?;
        }
        let (at, leaf) = (view.origin.time, leaf_hash(entry).to_string());
        let after = fold(self.state.clone(), &message, &leaf, at);
        if after.corrupt {
            return Err(self.cant_follow(n, &message, at));
        }
        self.state = after;
        self.last = (index, view.origin);
        let phase = self.state.phase;
        self.steps.push(Step { n, index, at, events: message.events, phase });
        Ok(())
    }

    /// Checks the call that disclosures of the decision's payload give: its digest must be the approved one.
    /// `nonce` and `params` are the RFC 8785 forms of these fields.
    pub fn check_call(&self, nonce: &str, params: &str) -> Result<(), Fault> {
        let wrong = || Fault::Call("nonce or params can't be read");
        let nonce = json::parse_kept(nonce.as_bytes()).map_err(|_| wrong())?;
        let params = json::parse_kept(params.as_bytes()).map_err(|_| wrong())?;
        let Opened { tenant, agent, run, tool, action, digest, .. } = &self.opened;
        let nonce = nonce.as_str().ok_or_else(wrong)?;
        let run = run.as_deref();
        let call = Call { nonce, tenant, agent, run, tool, action, params: &params };
        if call.digest() == *digest {
            Ok(())
        } else {
            Err(Fault::Call("its digest is not the one that was approved"))
        }
    }

    /// Checks the owner that a disclosure of the decision's payload gives, in RFC 8785 form: no review by this
    /// owner may be there (P10). Owners that only the people file names are not in the log, so they can't be
    /// checked.
    pub fn check_owner(&self, owner: &str) -> Result<(), Fault> {
        let owner = json::parse_kept(owner.as_bytes());
        let owner = owner.as_ref().ok().and_then(json::Value::as_str);
        match self.state.reviews.iter().find(|review| owner == Some(review.by.as_str())) {
            None => Ok(()),
            Some(_) => Err(Fault::Call("the owner that it names reviewed it")),
        }
    }

    /// Id of the approval.
    pub fn id(&self) -> &Ident {
        &self.opened.id
    }

    /// Tenant of the approval.
    pub fn tenant(&self) -> &Ident {
        &self.opened.tenant
    }

    /// State of the approval after the messages so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Leaf index of the decision.
    pub fn opening(&self) -> u64 {
        self.opened.index
    }

    /// Leaf indexes of the messages so far.
    pub fn indexes(&self) -> Vec<u64> {
        self.steps.iter().map(|step| step.index).collect()
    }

    /// The messages so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Checks kind and tenant, and that the entry comes later than the one before, in the log and in the
    /// journal. Journal time may go back where a `clock` entry restarted time.
    fn check_place(&self, (index, anew): (u64, bool), view: &View<'_>) -> Result<(), &'static str> {
        let (last_index, last) = &self.last;
        let order = |origin: &Origin| (origin.epoch, origin.seq);
        if view.kind != Kind::Approval {
            Err("its entry is not of kind approval")
        } else if view.text(&["tenant"]) != Some(self.opened.tenant.as_str()) {
            Err("it is of another tenant than the decision")
        } else if index <= *last_index || order(&view.origin) <= order(last) {
            Err("it does not come after the one before, in the log or in the journal")
        } else if view.origin.time < last.time && !anew {
            Err("its journal time is before that of the one before")
        } else {
            Ok(())
        }
    }

    /// Checks that the message belongs to this approval, has the next number, and names the entry before it.
    fn check_chain(&self, message: &Message) -> Result<(), &'static str> {
        if message.approval_id != self.opened.id {
            Err("it is of another approval: the id must follow from the decision's event")
        } else if message.n != self.state.n + 1 {
            Err("its number is another: a message is missing, or they are out of order")
        } else if message.prev != self.state.leaf {
            Err("`prev` is not the leaf hash of the entry before: that one was replaced, or this")
        } else {
            Ok(())
        }
    }

    /// Finds the event of a message that could not happen.
    fn cant_follow(&self, n: u64, message: &Message, at: Nanos) -> Fault {
        let mut state = self.state.clone();
        for event in &message.events {
            let before = state.phase;
            state = super::Approval::evolve(state, event, at);
            if state.corrupt {
                return Fault::CantFollow { n, event: word(event), phase: word(&before) };
            }
        }
        Fault::Message { n, what: "it has no events, or they can't have happened" }
    }
}

impl Opened {
    fn read(index: u64, view: &View<'_>) -> Result<Self, &'static str> {
        let data = |path: &[&str]| view.text(&[&["event", "data"], path].concat());
        let is_opening = view.kind == Kind::Decision
            && view.text(&["event", "type"]) == Some(DECISION)
            && data(&["verdict"]) == Some("approval_needed")
            && data(&["mode"]) != Some("shadow");
        if !is_opening {
            return Err("not a decision that asks for approval");
        }
        let ident = |path: &[&str]| Ident::new(view.text(path)?).ok();
        let missing = "a member is missing";
        let (tenant, producer) = (ident(&["tenant"]), ident(&["producer"]));
        let (tenant, producer) = (tenant.ok_or(missing)?, producer.ok_or(missing)?);
        let source = view.text(&["event", "source"]).ok_or(missing)?;
        let id = view.text(&["event", "id"]).ok_or(missing)?;
        let text = |path: &[&str]| data(path).map(str::to_owned).ok_or(missing);
        Ok(Self {
            id: approval_id(&tenant, Scope { producer: producer.as_str(), source, id }),
            index,
            origin: view.origin,
            agent: text(&["agent", "id"])?,
            run: data(&["agent", "run"]).map(str::to_owned),
            tool: text(&["tool", "name"])?,
            action: text(&["tool", "action"])?,
            digest: data(&["call", "digest"]).map(str::to_owned).ok_or("it has no call digest")?,
            tenant,
            producer,
        })
    }

    /// Checks that the request is about this decision and this call.
    fn check(&self, requested: &Requested) -> Result<(), &'static str> {
        let (opening, call) = (&requested.opening, &requested.call);
        let same_call = (&call.agent, &call.run) == (&self.agent, &self.run)
            && (&call.tool, &call.action) == (&self.tool, &self.action);
        if opening.index != self.index || opening.producer != self.producer {
            Err("`opening` does not name the decision's entry and producer")
        } else if requested.requested_at != self.origin.time {
            Err("`requested_at` is not the decision's journal time")
        } else if !same_call {
            Err("`call` has another agent, run, tool or action than the decision")
        } else if call.digest != self.digest {
            Err("`call.digest` is not that of the decision")
        } else if requested.rule_digest != requested.rule.digest() {
            Err("`rule_digest` is not the digest of the rule")
        } else {
            Ok(())
        }
    }
}

/// Reads an entry. Its bytes must be in RFC 8785 form, so that it holds nothing that readers skip.
fn view(entry: &[u8]) -> Option<View<'_>> {
    let form = canonical::to_vec(&json::parse_kept(entry).ok()?);
    View::parse(entry).filter(|_| form == entry)
}

/// The name on the wire of an event or a phase.
pub(super) fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let name = value.get("type").unwrap_or(&value);
    name.as_str().unwrap_or_default().to_owned()
}
