//! Part 6: alerts and incidents. Who closed what, how long that took, and what is open at the end of the period.

use super::{
    Error, Out,
    table::Table,
    values::{text, who},
};
use ledger::{
    entry::{Kind, View},
    system::{
        alert::{AlertBody, Alerts},
        incident::{IncidentBody, Incidents},
    },
    time::Nanos,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Alerts raised in the period.
    pub raised: u64,
    /// Alerts closed in the period, whenever they were raised.
    pub closed: u64,
    /// Alerts that are open at its end.
    pub open: u64,
    /// Incidents opened in the period.
    pub incidents: u64,
    /// Incidents closed in the period, whenever they were opened.
    pub incidents_closed: u64,
    /// Incidents that are open at its end.
    pub incidents_open: u64,
}

/// What is known of an alert that is open: its cells.
struct Raised {
    at: Nanos,
    cells: [String; 8],
}

/// What is known of an incident that is open.
struct Begun {
    at: Nanos,
    by: (String, String),
    messages: u32,
    named: u32,
}

/// The two tables, and what is open so far.
pub struct Watched {
    alerts: Table,
    incidents: Table,
    /// Which alerts and incidents are open follows from the entries, as posting has it.
    all: (Alerts, Incidents),
    raised: BTreeMap<u64, Raised>,
    begun: BTreeMap<u64, Begun>,
    totals: Totals,
}

impl Default for Watched {
    fn default() -> Self {
        const ALERTS: &[&str] = &[
            "index",
            "raised",
            "rule",
            "name",
            "clause",
            "about",
            "id",
            "producer",
            "state",
            "close_index",
            "closed",
            "closed_by",
            "closed_person",
            "seconds_to_close",
        ];
        const INCIDENTS: &[&str] = &[
            "index",
            "opened",
            "opened_by",
            "opened_person",
            "messages",
            "entries",
            "state",
            "close_index",
            "closed",
            "closed_by",
            "closed_person",
            "seconds_to_close",
        ];
        Self {
            alerts: Table::new("operation/alerts.csv", ALERTS),
            incidents: Table::new("operation/incidents.csv", INCIDENTS),
            all: Default::default(),
            raised: BTreeMap::new(),
            begun: BTreeMap::new(),
            totals: Totals::default(),
        }
    }
}

/// Whole seconds between two moments.
fn seconds(from: Nanos, to: Nanos) -> String {
    (to.0.saturating_sub(from.0) / 1_000_000_000).to_string()
}

impl Watched {
    /// Takes an entry before the period: what it leaves open belongs to it.
    pub fn before(&mut self, index: u64, view: &View<'_>) {
        match view.kind {
            Kind::Alert => drop(self.alert(index, view)),
            Kind::Incident => drop(self.incident(index, view)),
            _ => {}
        }
    }

    /// Takes the next entry of the period.
    pub fn take(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<(), Error> {
        match view.kind {
            Kind::Alert => {
                let is_raise = text(view, &["event", "op"]) == "raise";
                *(if is_raise { &mut self.totals.raised } else { &mut self.totals.closed }) += 1;
                let Some((raised, cells)) = self.alert(index, view) else { return Ok(()) };
                self.alerts.row(out, &row(&raised.cells, &cells))
            }
            Kind::Incident => {
                match text(view, &["event", "op"]) {
                    "open" => self.totals.incidents += 1,
                    "close" => self.totals.incidents_closed += 1,
                    _ => {}
                }
                let Some((begun, cells)) = self.incident(index, view) else { return Ok(()) };
                self.incidents.row(out, &row(&begun, &cells))
            }
            _ => Ok(()),
        }
    }

    /// Notes an alert. Returns what is over with this entry: it was closed, or is never open.
    fn alert(&mut self, index: u64, view: &View<'_>) -> Option<(Raised, [String; 6])> {
        let body: AlertBody = view.event_as()?;
        self.all.0.take(index, &body).ok()?;
        match body {
            AlertBody::Raise(_) => {
                let event = |path: &[&str]| text(view, &[&["event"], path].concat()).to_owned();
                let cells = [
                    index.to_string(),
                    view.origin.time.to_string(),
                    event(&["rule"]),
                    event(&["name"]),
                    event(&["clause"]),
                    event(&["about", "what"]),
                    event(&["about", "id"]),
                    event(&["about", "producer"]),
                ];
                let raised = Raised { at: view.origin.time, cells };
                if self.all.0.open.contains(&index) {
                    self.raised.insert(index, raised);
                    return None;
                }
                Some((raised, ending("too many open")))
            }
            AlertBody::Close(close) => {
                let raised = self.raised.remove(&close.alert)?;
                let cells = ended(index, raised.at, view);
                Some((raised, cells))
            }
        }
    }

    /// Notes a message of an incident. Returns what is over with this entry.
    fn incident(&mut self, index: u64, view: &View<'_>) -> Option<([String; 6], [String; 6])> {
        let body: IncidentBody = view.event_as()?;
        self.all.1.take(index, &body).ok()?;
        let (incident, n) = body.place(index);
        let named = u32::try_from(body.entries().len()).unwrap_or(u32::MAX);
        if let IncidentBody::Open(_) = body {
            let begun = Begun { at: view.origin.time, by: who(view), messages: 1, named };
            self.begun.insert(index, begun);
            return None;
        }
        let begun = self.begun.get_mut(&incident)?;
        (begun.messages, begun.named) = (n, begun.named.saturating_add(named));
        if let IncidentBody::Note(_) = body {
            return None;
        }
        let begun = self.begun.remove(&incident)?;
        let cells = ended(index, begun.at, view);
        Some((begun.cells(incident), cells))
    }

    /// Writes what is open at the end.
    pub fn finish(mut self, out: &mut dyn Out) -> Result<Totals, Error> {
        for raised in self.raised.values() {
            self.alerts.row(out, &row(&raised.cells, &ending("open")))?;
        }
        self.alerts.finish(out)?;
        (self.totals.open, self.totals.incidents_open) =
            (self.raised.len() as u64, self.begun.len() as u64);
        for (index, begun) in self.begun {
            self.incidents.row(out, &row(&begun.cells(index), &ending("open")))?;
        }
        self.incidents.finish(out)?;
        Ok(self.totals)
    }
}

impl Begun {
    /// The first cells of its row.
    fn cells(&self, index: u64) -> [String; 6] {
        let (by, person) = self.by.clone();
        let (messages, named) = (self.messages.to_string(), self.named.to_string());
        [index.to_string(), self.at.to_string(), by, person, messages, named]
    }
}

/// The last cells of what nobody closed.
fn ending(state: &str) -> [String; 6] {
    let mut cells: [String; 6] = std::array::from_fn(|_| String::new());
    state.clone_into(&mut cells[0]);
    cells
}

/// The last cells of what was closed by an entry.
fn ended(index: u64, since: Nanos, view: &View<'_>) -> [String; 6] {
    let (by, person) = who(view);
    let time = view.origin.time;
    ["closed".to_owned(), index.to_string(), time.to_string(), by, person, seconds(since, time)]
}

fn row<'c>(begin: &'c [String], end: &'c [String]) -> Vec<&'c str> {
    begin.iter().chain(end).map(String::as_str).collect()
}
