//! Judges the whole history of one approval from its entries alone (`proto/formats/approval-export.md`).
//!
//! In scope: everything that follows from the decision's entry and the approval's own entries. Out of scope:
//! whether these entries are in a log (receipts show that), and what other entries of the log say. The caller
//! must supply that.

use super::{Event, Message, Phase, Requested, State, fold};
use crate::{
    Decider as _,
    decision::{self, Decision, Fields, NotPaused, exact_view},
};
use ledger::{
    canonical,
    entry::{Kind, Origin, View},
    ident::Ident,
    json,
    log::merkle::leaf_hash,
    time::Nanos,
};

/// Why a history is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The decision's entry.
    #[error("the decision's entry: {0}")]
    Opening(NotPaused),
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
    /// The disclosed call can't be hashed.
    #[error("the disclosed call: {0}")]
    NotFrozen(NotPaused),
    /// A contradiction that only the whole log shows.
    #[error("{0}")]
    Log(&'static str),
}

/// One message of the history, with the state after it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Number of the message, from 1.
    pub n: u64,
    /// Leaf index of the decision.
    pub index: u64,
    /// The entry's `journal.time`. Deadlines are judged by it.
    pub at: Nanos,
    /// The events as the message lists them. After a deadline they may be void; `phase` says what is true.
    pub events: Vec<Event>,
    /// Phase after this message.
    pub phase: Phase,
}

/// The audit of a history. No message so far contradicts it.
#[derive(Clone, Debug)]
pub struct Audit {
    decision: Decision,
    state: State,
    steps: Vec<Step>,
    last: (u64, Origin),
}

impl Audit {
    /// Begins with the leaf index and the bytes of the decision's entry. The caller has proven both by a
    /// receipt.
    pub fn begin(index: u64, entry: &[u8]) -> Result<Self, Fault> {
        let decision = Decision::of_entry(index, entry).map_err(Fault::Opening)?;
        if decision.call.shadow {
            return Err(Fault::Opening(NotPaused::Shadow));
        }
        if decision.call.declared.is_none() {
            return Err(Fault::Opening(NotPaused::Malformed("data.call.digest")));
        }
        let last = (index, decision.origin);
        let state = State::begin(&decision.leaf);
        Ok(Self { decision, state, steps: Vec::new(), last })
    }

    /// Takes the next message: leaf index and bytes of its entry. The caller has proven both by a receipt.
    /// After an error, do not use this audit any more.
    pub fn follow(&mut self, index: u64, entry: &[u8]) -> Result<(), Fault> {
        let n = self.state.n + 1;
        let wrong = |what| Fault::Message { n, what };
        let view = exact_view(entry).ok_or_else(|| wrong("not an entry of version 1"))?;
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
            check_request(requested, &self.decision).map_err(wrong)?;
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
        let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let shown = Fields::from([field("nonce", nonce), field("params", params)]);
        let frozen = self.decision.call.frozen(&shown).map_err(Fault::NotFrozen)?;
        if Some(&frozen.digest) == self.decision.call.declared.as_ref() {
            Ok(())
        } else {
            Err(Fault::Call("its digest is not the one that was approved"))
        }
    }

    /// Checks the owner that a disclosure of the decision's payload gives, in RFC 8785 form: no review by this
    /// owner may be there (P10). Owners that only the people file names are not in the log, so they can't be
    /// checked.
    pub fn check_owner(&self, owner: &str) -> Result<(), Fault> {
        let owners = json::parse_kept(owner.as_bytes());
        let owners = owners.as_ref().ok().and_then(decision::owners).unwrap_or_default();
        let mut reviewers = self.state.reviews.iter().map(|review| review.by.as_str());
        match reviewers.find(|by| owners.iter().any(|owner| owner == by)) {
            None => Ok(()),
            Some(_) => Err(Fault::Call("the owner that it names reviewed it")),
        }
    }

    /// Id of the approval.
    pub fn id(&self) -> &Ident {
        &self.decision.id
    }

    /// Tenant of the approval.
    pub fn tenant(&self) -> &Ident {
        &self.decision.call.tenant
    }

    /// State of the approval after the messages so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Leaf index of the decision.
    pub fn opening(&self) -> u64 {
        self.decision.index
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
        } else if view.text(&["tenant"]) != Some(self.decision.call.tenant.as_str()) {
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
        if message.approval_id != self.decision.id {
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

/// Whether a request is about this decision, and this call.
fn check_request(requested: &Requested, decision: &Decision) -> Result<(), &'static str> {
    let (opening, call) = (&requested.opening, &requested.call);
    let paused = &decision.call;
    let same_call = (&call.agent, &call.run) == (&paused.agent, &paused.run)
        && (&call.tool, &call.action) == (&paused.tool, &paused.action);
    if opening.index != decision.index || opening.producer != decision.producer {
        Err("`opening` does not name the decision's entry and producer")
    } else if requested.requested_at != decision.at() {
        Err("`requested_at` is not the decision's journal time")
    } else if !same_call {
        Err("`call` has another agent, run, tool or action than the decision")
    } else if Some(&call.digest) != paused.declared.as_ref() {
        Err("`call.digest` is not that of the decision")
    } else if requested.rule_digest != requested.rule.digest() {
        Err("`rule_digest` is not the digest of the rule")
    } else {
        Ok(())
    }
}

/// The name on the wire of an event or a phase.
pub(super) fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let name = value.get("type").unwrap_or(&value);
    name.as_str().unwrap_or_default().to_owned()
}
