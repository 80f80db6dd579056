//! What the entries so far say of freezes: a decision permits nothing that is frozen at its place, nothing that is frozen
//! is redeemed, and a clause's freeze stands right after its decision (P14).

use crate::{
    entry::{Kind, View},
    event::Verdict,
    json::Value,
    post::{self, Freezes},
    system::freeze::{Acting, FreezeBody, Target},
};
use std::collections::HashMap;

/// What is frozen, and what must follow.
#[derive(Default)]
pub(super) struct Frozen {
    pub(super) freezes: Freezes,
    /// A decision whose clause freezes something: leaf index, place in the journal, and what the next entry freezes.
    follows: Option<(u64, (u64, u64), Target)>,
    /// Who acts in calls that people are to be asked about, by the leaf index of the decision.
    asked: HashMap<u64, Acting>,
    /// Who acts in the calls of approvals.
    of_approvals: HashMap<String, Acting>,
}

/// Another entry, by leaf index and leaf hash.
type Names = Option<(u64, String)>;

impl Frozen {
    /// Takes the next entry. Returns the decision that it names.
    pub(super) fn take(&mut self, index: u64, view: &View<'_>) -> Result<Names, &'static str> {
        if let Some((_, place, _)) = &self.follows {
            let beside = matches!(view.kind, Kind::GapClosed | Kind::Freeze) && view.is_beside();
            if !beside || *place != (view.origin.epoch, view.origin.seq) {
                return Err(
                    "a clause of a decision before it freezes something, and this is not it",
                );
            }
        }
        match view.kind {
            Kind::Freeze => self.freeze(index, view),
            Kind::Decision => {
                self.decision(index, view);
                Ok(None)
            }
            Kind::Approval => self.approval(view).map(|()| None),
            _ => Ok(None),
        }
    }

    /// Refuses a log that ends before a freeze that must follow.
    pub(super) fn end(&self) -> Result<(), &'static str> {
        let missing = "a clause of the last decision freezes something, and no freeze follows";
        if self.follows.is_some() { Err(missing) } else { Ok(()) }
    }

    fn freeze(&mut self, index: u64, view: &View<'_>) -> Result<Names, &'static str> {
        let body: FreezeBody = view.event_as().ok_or("not a freeze entry")?;
        let decision = match &body {
            FreezeBody::Freeze(freeze) => freeze.decision.clone(),
            FreezeBody::Lift(_) => None,
        };
        if let (Some(decision), FreezeBody::Freeze(freeze)) = (&decision, &body) {
            let follows = self.follows.take();
            let fits = follows
                .is_some_and(|(of, _, target)| (of, target) == (decision.index, freeze.target()));
            if !fits {
                return Err("no clause of the decision before it freezes this");
            }
        }
        if !self.freezes.note(index, view) {
            return Err("not a freeze that can be here, or it lifts one that is not in force");
        }
        Ok(decision.map(|decision| (decision.index, decision.leaf_hash.to_string())))
    }

    fn decision(&mut self, index: u64, view: &View<'_>) {
        let Some(data) = view.at(&["event", "data"]) else { return };
        let call = Acting::of(view.text(&["producer"]).unwrap_or_default(), data);
        let scope = post::frozen_by_clause(data).filter(|_| view.is_ours());
        let target = scope.and_then(|scope| self.freezes.by_clause(scope, &call));
        let place = (view.origin.epoch, view.origin.seq);
        self.follows = target.map(|target| (index, place, target));
        let verdict = data.get("verdict").and_then(Value::as_str);
        if verdict == Some(Verdict::ApprovalNeeded.as_str()) {
            self.asked.insert(index, call);
        }
    }

    fn approval(&mut self, view: &View<'_>) -> Result<(), &'static str> {
        let Some(said) = view.at(&["event"]) else { return Ok(()) };
        let id = said.get("approval_id").and_then(Value::as_str).unwrap_or_default();
        let events = said.get("events").and_then(Value::as_array).unwrap_or_default();
        let opening = |event: &Value<'_>| event.get("opening")?.get("index")?.as_u64();
        if let Some(call) = events.iter().find_map(opening).and_then(|at| self.asked.remove(&at)) {
            self.of_approvals.insert(id.to_owned(), call);
        }
        let call = self.of_approvals.get(id).filter(|_| post::redeems(said));
        if call.is_some_and(|call| self.freezes.stopping(call).is_some()) {
            return Err("it redeems an approval of a call that is frozen at its place");
        }
        Ok(())
    }
}
