//! Part 3, approvals: every call that needed people, who answered and how fast, and whether it was executed without them.

mod call;
mod tables;

pub(super) use tables::yes;

use super::{Error, Out, executions::Execution, log::Log, table::Table, values::text};
use decider::{
    approval::{Event, Message, Phase, State, Via, fold},
    decision::APPROVAL_NEEDED,
};
use ledger::{
    entry::{Kind, View},
    event::is_reserved_tool,
    ident::Ident,
    log::merkle::leaf_hash,
    time::Nanos,
    verify::period::number,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A person who answers faster has hardly read what is asked.
pub const FAST_SECONDS: u64 = 10;

/// One call that needed people.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Elevated {
    /// The approval that its decision opens.
    pub approval: String,
    /// Agent, tool and action.
    pub agent: String,
    /// Name of the tool.
    pub tool: String,
    /// Name of the action.
    pub action: String,
    /// `journal.time` of the decision.
    pub decided_at: String,
    /// Leaf index of the first report that it was executed, made by a gateway.
    pub executed: Option<u64>,
    /// Why people were not asked, if an entry says so.
    pub unopened: Option<String>,
}

/// What one person answered in the period.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Person {
    /// Answers that count: approve, deny.
    pub approved: u64,
    /// Denials.
    pub denied: u64,
    /// Answers that were refused.
    pub refused: u64,
    /// Of these, because the person owns the agent.
    pub own_calls: u64,
    /// Answers on the page; the others came from a chat or the API.
    pub on_page: u64,
    /// Approvals whose page the person opened in the period.
    pub opened: BTreeSet<String>,
    /// Answers on the page to an approval whose page the person did not open before, as far as the log says.
    pub unseen: u64,
    /// Answers on the page of like calls, with one press for several.
    pub together: u64,
    /// Seconds from the question to each answer.
    #[serde(skip)]
    seconds: Vec<u64>,
}

impl Person {
    /// Answers that took less than [`FAST_SECONDS`].
    pub fn fast(&self) -> usize {
        self.seconds.iter().filter(|seconds| **seconds < FAST_SECONDS).count()
    }

    /// Number of answers that count.
    pub fn answers(&self) -> u64 {
        self.approved + self.denied
    }

    /// The time within which half of the answers came, in seconds.
    pub fn median(&self) -> Option<u64> {
        let mut seconds = self.seconds.clone();
        seconds.sort_unstable();
        seconds.get(seconds.len().checked_sub(1)? / 2).copied()
    }
}

/// The approvals that have a message in the period, and the calls that needed people.
pub struct Approvals {
    states: BTreeMap<Ident, State>,
    /// Approvals without a message in the period, of calls that were reported in it.
    reported: BTreeSet<Ident>,
    refusals: Table,
    /// By leaf index of the decision.
    pub elevated: BTreeMap<u64, Elevated>,
    /// By id.
    pub people: BTreeMap<String, Person>,
    /// Tokens minted, redeemed, and refused in the period.
    pub tokens: (u64, u64, u64),
    /// Tokens minted for the calls of each agent, by the key that signs them.
    pub minted: BTreeMap<String, BTreeMap<String, u64>>,
    /// Executions that name no decision of this log.
    pub unknown_executions: Vec<u64>,
}

/// The name of something on the wire.
pub fn name(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

impl Default for Approvals {
    fn default() -> Self {
        const COLUMNS: &[&str] = &["index", "journal_time", "approval", "what", "by", "via", "why"];
        Self {
            states: BTreeMap::new(),
            reported: BTreeSet::new(),
            refusals: Table::new("approvals/refusals.csv", COLUMNS),
            elevated: BTreeMap::new(),
            people: BTreeMap::new(),
            tokens: (0, 0, 0),
            minted: BTreeMap::new(),
            unknown_executions: Vec::new(),
        }
    }
}

impl Approvals {
    /// Takes a message from before the period, of an approval that has one in it.
    pub fn before(&mut self, log: &Log<'_>, entry: &[u8], view: &View<'_>) -> Result<(), Error> {
        self.message(log, entry, view).map(drop)
    }

    fn message(
        &mut self,
        log: &Log<'_>,
        entry: &[u8],
        view: &View<'_>,
    ) -> Result<Option<Message>, Error> {
        let Some(message) = view.event_as::<Message>() else { return Ok(None) };
        let state = if let Some(state) = self.states.remove(&message.approval_id) {
            state
        } else {
            let opening = message.events.iter().find_map(|event| match event {
                Event::Requested(requested) => Some(requested.opening.index),
                _ => None,
            });
            let leaf = opening.map(|at| log.entry(at)).transpose()?;
            State::begin(&leaf.map(|bytes| leaf_hash(&bytes).to_string()).unwrap_or_default())
        };
        let state = fold(state, &message, &leaf_hash(entry).to_string(), view.origin.time);
        self.states.insert(message.approval_id.clone(), state);
        Ok(Some(message))
    }

    /// Takes the next entry of the period.
    pub fn take(
        &mut self,
        log: &Log<'_>,
        out: &mut dyn Out,
        (index, entry): (u64, &[u8]),
        view: &View<'_>,
    ) -> Result<(), Error> {
        match view.kind {
            Kind::Decision if is_elevated(view) => self.needs_people(index, view),
            Kind::NotOpened => {
                let decision = number(view, &["event", "decision", "index"]).unwrap_or_default();
                if let Some(call) = self.elevated.get_mut(&decision) {
                    call.unopened = Some(text(view, &["event", "not_opened"]).to_owned());
                }
            }
            Kind::Evidence => {
                // Once for each person, approval and version, by whichever server.
                let person = view.text(&["event", "shown", "to"]);
                let approval = text(view, &["event", "approval_id"]).to_owned();
                if let Some(person) =
                    person.filter(|_| text(view, &["event", "shown", "via"]) == "web")
                {
                    let person = self.people.entry(person.to_owned()).or_default();
                    person.opened.insert(approval);
                }
            }
            Kind::Approval => {
                let requested = |id: &Ident, states: &BTreeMap<Ident, State>| {
                    states.get(id).and_then(|state| Some(state.requested.as_ref()?.requested_at))
                };
                let Some(message) = self.message(log, entry, view)? else { return Ok(()) };
                let at = requested(&message.approval_id, &self.states);
                for event in &message.events {
                    self.event(out, (index, view), &message.approval_id, (event, at))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn needs_people(&mut self, index: u64, view: &View<'_>) {
        let tenant = Ident::new(text(view, &["tenant"]));
        let approval = tenant.map(|tenant| view.scope().approval_id(&tenant).to_string());
        let of = |path: &[&str]| text(view, path).to_owned();
        let elevated = Elevated {
            approval: approval.unwrap_or_default(),
            agent: of(&["event", "data", "agent", "id"]),
            tool: of(&["event", "data", "tool", "name"]),
            action: of(&["event", "data", "tool", "action"]),
            decided_at: view.origin.time.to_string(),
            executed: None,
            unopened: None,
        };
        self.elevated.entry(index).or_insert(elevated);
    }

    /// Takes the report at `index`: a gateway carried out a decision.
    pub fn executed(
        &mut self,
        log: &Log<'_>,
        index: u64,
        execution: &Execution,
    ) -> Result<(), Error> {
        let (decision, entry) = match execution {
            Execution::Unnamed => return Ok(()),
            Execution::Unknown => {
                self.unknown_executions.push(index);
                return Ok(());
            }
            Execution::Of(decision, entry) => (*decision, entry),
        };
        if !self.elevated.contains_key(&decision) {
            let Some(judged) = View::parse(entry).filter(is_elevated) else { return Ok(()) };
            self.needs_people(decision, &judged);
            self.released_before(log, decision)?;
        }
        if let Some(elevated) = self.elevated.get_mut(&decision) {
            elevated.executed.get_or_insert(index);
        }
        Ok(())
    }

    /// The approval of an earlier decision may have been over before the period began.
    fn released_before(&mut self, log: &Log<'_>, decision: u64) -> Result<(), Error> {
        let id = self.elevated.get(&decision).and_then(|call| Ident::new(&call.approval).ok());
        let Some(id) = id.filter(|id| !self.states.contains_key(id)) else { return Ok(()) };
        for index in log.messages_before(&id, decision)? {
            let entry = log.entry(index)?;
            if let Some(view) = View::parse(&entry) {
                self.message(log, &entry, &view)?;
            }
        }
        self.reported.insert(id);
        Ok(())
    }

    fn event(
        &mut self,
        out: &mut dyn Out,
        (index, view): (u64, &View<'_>),
        approval: &Ident,
        (event, requested): (&Event, Option<Nanos>),
    ) -> Result<(), Error> {
        let refused = match event {
            Event::Reviewed { by, decision, via, together, .. } => {
                let person = self.people.entry(by.to_string()).or_default();
                match name(decision).as_str() {
                    "approve" => person.approved += 1,
                    _ => person.denied += 1,
                }
                person.together += u64::from(together.is_some());
                person.on_page += u64::from(*via == Via::Web);
                // A chat shows the call in its card; nobody knows who reads a card.
                let is_unseen = *via == Via::Web && !person.opened.contains(approval.as_str());
                person.unseen += u64::from(is_unseen);
                let waited = requested.map(|from| view.origin.time.0.saturating_sub(from.0));
                person.seconds.extend(waited.map(|nanos| nanos / 1_000_000_000));
                return Ok(());
            }
            Event::TokenMinted { kid, .. } => {
                self.tokens.0 += 1;
                let asked = self.states.get(approval).and_then(|state| state.requested.as_ref());
                let agent = asked.map(|asked| asked.call.agent.clone()).unwrap_or_default();
                super::values::add(self.minted.entry(agent).or_default(), kid);
                return Ok(());
            }
            Event::Redeemed { .. } => {
                self.tokens.1 += 1;
                return Ok(());
            }
            Event::ReviewRejected { by, via, why } => {
                let who = by.as_ref().map(ToString::to_string).unwrap_or_default();
                if !who.is_empty() {
                    let person = self.people.entry(who.clone()).or_default();
                    person.refused += 1;
                    person.own_calls += u64::from(why == "own_call");
                }
                ["answer".to_owned(), who, name(via), why.clone()]
            }
            Event::RedeemRejected { enforcer, why, .. } => {
                self.tokens.2 += 1;
                ["redemption".to_owned(), enforcer.to_string(), String::new(), why.clone()]
            }
            _ => return Ok(()),
        };
        let [what, by, via, why] = refused.each_ref().map(String::as_str);
        let (index, at) = (index.to_string(), view.origin.time.to_string());
        self.refusals.row(out, &[&index, &at, approval.as_str(), what, by, via, why])
    }

    /// State of an approval at the end of the period.
    pub fn state(&self, id: &str) -> Option<&State> {
        self.states.get(&Ident::new(id).ok()?)
    }

    /// The approvals with a message in the period, and how they stand at its end.
    fn of_period(&self) -> impl Iterator<Item = (&Ident, &State)> {
        self.states.iter().filter(|(id, _)| !self.reported.contains(*id))
    }

    /// Number of approvals of the period in each phase at its end.
    pub fn phases(&self) -> BTreeMap<String, u64> {
        let mut phases = BTreeMap::new();
        for (_, state) in self.of_period() {
            *phases.entry(name(&state.phase)).or_default() += 1;
        }
        phases
    }

    /// True if people, or a rule without review, permitted the call and its token was spent.
    pub fn was_permitted(&self, elevated: &Elevated) -> bool {
        self.state(&elevated.approval).is_some_and(|state| state.redeemed.is_some())
    }

    /// Calls that a gateway executed although no approval was redeemed for them: decision, and the report.
    pub fn without_approval(&self) -> Vec<(u64, u64)> {
        let found = self.elevated.iter().filter(|(_, elevated)| !self.was_permitted(elevated));
        found.filter_map(|(index, elevated)| Some((*index, elevated.executed?))).collect()
    }

    /// Calls after `approval_needed` that were executed, and those of them that were redeemed with a grant.
    pub fn executed_and_permitted(&self) -> (u64, u64) {
        let mut counts = (0, 0);
        for elevated in self.elevated.values().filter(|call| !is_reserved_tool(&call.tool)) {
            let permitted = self.was_permitted(elevated);
            counts.0 += u64::from(permitted || elevated.executed.is_some());
            counts.1 += u64::from(permitted);
        }
        counts
    }
}

/// True if nobody granted what is approved: a rule lets it through without review.
pub fn is_unreviewed(state: &State) -> bool {
    let granted = !matches!(state.phase, Phase::None | Phase::Pending | Phase::Denied);
    granted && state.granted_at.is_some() && state.granted_by.is_empty()
}

/// True for a decision that pauses its call until people approve.
pub fn is_elevated(view: &View<'_>) -> bool {
    view.kind == Kind::Decision
        && text(view, &["event", "data", "verdict"]) == APPROVAL_NEEDED
        && text(view, &["event", "data", "mode"]) != "shadow"
}
