//! The whole history of one approval, judged from its entries alone (`proto/formats/approval-export.md`).
//!
//! In scope: everything that follows from the decision's entry and the approval's own entries. Out of scope: that they
//! are in a log at all (receipts show that), and whatever stands elsewhere in it, which the caller must say.

use super::{Event, Message, Phase, Requested, State, fold};
use crate::{
    Decider as _,
    decision::{Decision, Fields, NotPaused, exact_view},
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
    /// One message.
    #[error("message {n}: {what}")]
    Message {
        /// Which: the place that it was given at, 1 for the first.
        n: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// One event that could not have happened then.
    #[error(
        "message {n}: `{event}` can't have happened while the approval was {phase}, as the messages before tell it"
    )]
    CantFollow {
        /// In which message.
        n: u64,
        /// Its name.
        event: String,
        /// The state before.
        phase: String,
    },
    /// The disclosed call.
    #[error("the disclosed call: {0}")]
    Call(&'static str),
    /// The disclosed call can't be hashed.
    #[error("the disclosed call: {0}")]
    NotFrozen(NotPaused),
    /// What only the whole log shows.
    #[error("{0}")]
    Log(&'static str),
}

/// What one message made happen.
#[derive(Clone, Debug)]
pub struct Step {
    /// 1, 2, …
    pub n: u64,
    /// Leaf index.
    pub index: u64,
    /// `journal.time`, by which it is judged.
    pub at: Nanos,
    /// The events as they are written. After a deadline they may be void: the phase says what is true.
    pub events: Vec<Event>,
    /// The phase after it.
    pub phase: Phase,
}

/// A history that holds so far.
#[derive(Clone, Debug)]
pub struct Audit {
    decision: Decision,
    state: State,
    steps: Vec<Step>,
    last: (u64, Origin),
}

impl Audit {
    /// Begins with the decision's entry: its leaf index and bytes, both proven by a receipt.
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

    /// Takes the next message: its leaf index and its entry's bytes, both proven by a receipt. After an error the audit
    /// is over.
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

    /// The frozen call, given back by disclosures of the decision's payload: its digest must be the one that was
    /// approved. `nonce` and `params` are the RFC 8785 forms of these fields.
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

    /// The owner that the decision names, given back by a disclosure, in RFC 8785 form: no review of theirs may stand
    /// (P10). Whoever else owns the agent is nowhere in the log.
    pub fn check_owner(&self, owner: &str) -> Result<(), Fault> {
        let owner = json::parse_kept(owner.as_bytes());
        let owner = owner.as_ref().ok().and_then(json::Value::as_str);
        match self.state.reviews.iter().find(|review| owner == Some(review.by.as_str())) {
            None => Ok(()),
            Some(_) => Err(Fault::Call("the owner that it names reviewed it")),
        }
    }

    /// Which approval it is.
    pub fn id(&self) -> &Ident {
        &self.decision.id
    }

    /// Whose.
    pub fn tenant(&self) -> &Ident {
        &self.decision.call.tenant
    }

    /// What has become of it, as far as these messages tell.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Leaf index of the decision.
    pub fn opening(&self) -> u64 {
        self.decision.index
    }

    /// Leaf index of every message so far.
    pub fn indexes(&self) -> Vec<u64> {
        self.steps.iter().map(|step| step.index).collect()
    }

    /// Every message so far.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Kind, tenant, and that it came later than the one before, in the log and in the journal.
    /// Where time began anew, it may go back.
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

    /// Whose message, which number, and what it follows.
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

    /// Names the event by which a message can't be true.
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
