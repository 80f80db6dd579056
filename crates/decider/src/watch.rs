//! The watch of a log: reads posted entries in order, and finds what people shall see (`proto/formats/alerts.md`).
//!
//! Pure: time is `journal.time` of the entries alone, so the same log and settings give the same alerts. Time moves with
//! entries only. Memory is bounded: what is watched of each sort has a limit. Numbers are added, multiplied, divided
//! and their square roots taken, in IEEE 754, so every machine finds the same.

mod amounts;
mod clock;
mod finding;
mod habits;
mod saved;
mod seen;
mod series;
mod settings;
mod subject;
mod subjects;
mod waiting;

pub use settings::Settings;

use clock::{Clock, Step};
use finding::{Finding, raise};
use ledger::{
    entry::View,
    event::Alerting,
    system::alert::{About, AlertRule, Raise, Sort},
    time::Nanos,
};
use seen::{Call, Refusal, Seen};
use serde::{Deserialize, Serialize};
use subjects::Subjects;
use waiting::Waiting;

/// Most agents, tools and producers that are watched.
pub const AGENTS_MAX: usize = 2_000;
/// See [`AGENTS_MAX`].
pub const TOOLS_MAX: usize = 500;
/// See [`AGENTS_MAX`].
pub const PRODUCERS_MAX: usize = 200;

/// The state of a watch: everything follows from the entries so far.
pub struct Watch {
    settings: Settings,
    state: State,
}

/// What follows from the entries so far.
#[derive(Serialize, Deserialize)]
struct State {
    clock: Clock,
    agents: Subjects,
    tools: Subjects,
    producers: Subjects,
    amounts: amounts::Amounts,
    waiting: Waiting,
    /// The time, if a minute has passed since the entry before.
    minute: Option<Nanos>,
}

impl Watch {
    /// A watch that has read nothing.
    pub fn new(settings: Settings) -> Self {
        let state = State {
            clock: Clock::default(),
            agents: Subjects::new(Sort::Agent, AGENTS_MAX),
            tools: Subjects::new(Sort::Tool, TOOLS_MAX),
            producers: Subjects::new(Sort::Producer, PRODUCERS_MAX),
            amounts: amounts::Amounts::default(),
            waiting: Waiting::default(),
            minute: None,
        };
        Self { settings, state }
    }

    /// Takes the next entry, and gives the alerts that it shows, in order.
    pub fn take(&mut self, index: u64, view: &View<'_>) -> Vec<Raise> {
        let mut found = of_clauses(index, view);
        let Self { settings, state } = self;
        let mut seen = state.see((index, view.origin.time), Seen::of(view), settings);
        // What this entry ends did not wait.
        state.waiting.take(index, view);
        if let Some(now) = state.minute.take() {
            state.waiting.minute(now, index, settings, &mut seen);
        }
        seen.retain(|finding| !self.settings.off.contains(&finding.rule));
        found.extend(seen);
        let numbered = (0..).zip(found);
        numbered.map(|(nth, finding)| raise(finding, index, nth)).collect()
    }
}

impl State {
    fn see(
        &mut self,
        (index, time): (u64, Nanos),
        seen: Seen,
        settings: &Settings,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        for step in self.clock.moves_to(time) {
            self.step(step, settings, &mut found);
        }
        match seen {
            Seen::Call(call) => self.call((index, time), &call, settings, &mut found),
            Seen::Refused(refusals) => {
                for refusal in refusals {
                    self.refused((index, time), &refusal);
                }
            }
            Seen::Other => {}
        }
        found
    }

    fn step(&mut self, step: Step, settings: &Settings, found: &mut Vec<Finding>) {
        match step {
            Step::Minute(now) => self.minute = Some(now),
            Step::Interval(at) => {
                for all in [&mut self.agents, &mut self.tools, &mut self.producers] {
                    all.interval(&at, settings, found);
                }
            }
            Step::Pause => {
                for all in [&mut self.agents, &mut self.tools, &mut self.producers] {
                    all.pause();
                }
            }
            Step::Day(class) => {
                for all in [&mut self.agents, &mut self.tools, &mut self.producers] {
                    all.day(class);
                }
                self.amounts.day();
            }
        }
    }

    fn call(
        &mut self,
        at: (u64, Nanos),
        call: &Call,
        settings: &Settings,
        found: &mut Vec<Finding>,
    ) {
        let all = [
            (&mut self.agents, &call.agent),
            (&mut self.tools, &call.tool),
            (&mut self.producers, &call.producer),
        ];
        for (subjects, id) in all {
            if let Some(subject) = subjects.of(id, at.1) {
                subject.call(at, call);
            }
        }
        if let Some(agent) = self.agents.of(&call.agent, at.1) {
            found.extend(agent.habits.call(at, call, (agent.age(at.1), settings)));
        }
        found.extend(self.amounts.call(at, call, settings));
    }

    fn refused(&mut self, at: (u64, Nanos), refusal: &Refusal) {
        let of = self.waiting.call_of(&refusal.approval);
        let (agent, tool) = of.map_or((None, None), |(agent, tool)| (Some(agent), Some(tool)));
        let all = [
            (&mut self.agents, agent),
            (&mut self.tools, tool),
            (&mut self.producers, Some(refusal.enforcer.clone())),
        ];
        for (subjects, id) in all {
            if let Some(subject) = id.and_then(|id| subjects.of(&id, at.1)) {
                subject.refused(at);
            }
        }
    }
}

/// What clauses of a decision or a report of ours raise.
fn of_clauses(index: u64, view: &View<'_>) -> Vec<Finding> {
    if !view.is_ours() && !view.is_result() {
        return Vec::new();
    }
    let alerting = view.at(&["event", "data"]).map(Alerting::of).unwrap_or_default();
    let text = |path: &[&str]| view.text(path).unwrap_or_default().to_owned();
    let about = || About {
        what: Sort::Agent,
        id: text(&["event", "data", "agent", "id"]),
        producer: ledger::ident::Ident::new(view.text(&["producer"]).unwrap_or_default()).ok(),
    };
    let of = |one: Alerting| Finding {
        rule: AlertRule::Clause,
        name: Some(one.name),
        clause: Some(one.clause),
        about: about(),
        since: view.origin.time,
        values: vec![
            ("verdict", text(&["event", "data", "verdict"])),
            ("tool", text(&["event", "data", "tool", "name"])),
            ("action", text(&["event", "data", "tool", "action"])),
            ("session", text(&["event", "data", "agent", "session"])),
        ],
        entries: vec![index],
    };
    alerting.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests;
