//! Part 6: what left to SIEMs by which sink, how far, and what the receiver's word for it was.

use super::{
    Error, Out,
    table::Table,
    values::{text, who},
};
use ledger::{
    entry::{Kind, View},
    foreign,
    system::delivery::{Delivery, Standing},
};
use std::collections::BTreeMap;

/// How a sink stood at the end of the period, and what it did within.
#[derive(Clone, Debug)]
pub struct Sink {
    /// Its name.
    pub name: String,
    /// Kind of the receiver, and format of the records.
    pub kind: String,
    /// What the receiver's answers show.
    pub level: &'static str,
    /// Everything that its filter names was delivered below this leaf index, or refused.
    pub to: u64,
    /// Records that were taken in the period.
    pub taken: u64,
    /// Records that were refused in the period.
    pub refused: u64,
    /// How often it began to stand still in the period.
    pub stood_still: u64,
    /// Payload fields that may leave, in one text.
    pub payload: String,
    /// True if nothing arrived any more at the end of the period.
    pub stands_still: bool,
}

/// The table, and the sinks so far.
pub struct Deliveries {
    table: Table,
    sinks: BTreeMap<String, Sink>,
}

impl Default for Deliveries {
    fn default() -> Self {
        const COLUMNS: &[&str] = &[
            "index",
            "journal_time",
            "sink",
            "state",
            "kind",
            "format",
            "level",
            "filter",
            "payload",
            "from_entry",
            "below_entry",
            "taken",
            "refused",
            "by",
            "person",
        ];
        let table = Table::new("operation/deliveries.csv", COLUMNS);
        Self { table, sinks: BTreeMap::new() }
    }
}

impl Deliveries {
    /// Takes an entry before the period: how each sink stood when it began.
    pub fn before(&mut self, view: &View<'_>) {
        if let Some(body) = body(view) {
            self.note(&body, 0);
        }
    }

    /// Takes the next entry of the period.
    pub fn take(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<(), Error> {
        let Some(body) = body(view) else { return Ok(()) };
        self.note(&body, 1);
        let filter: Vec<String> = body.filter.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let refused: Vec<String> = body.refused.iter().map(u64::to_string).collect();
        let (by, person) = who(view);
        self.table.row(
            out,
            &[
                &index.to_string(),
                &view.origin.time.to_string(),
                body.sink.as_str(),
                text(view, &["event", "state"]),
                body.kind.as_str(),
                body.format.as_str(),
                body.level.as_str(),
                &filter.join(" "),
                &body.payload.join(" "),
                &body.from.to_string(),
                &body.to.to_string(),
                &body.count.to_string(),
                &refused.join(" "),
                &by,
                &person,
            ],
        )
    }

    /// `times` is 0 for an entry before the period: it counts for nothing within.
    fn note(&mut self, body: &Delivery, times: u64) {
        let name = body.sink.to_string();
        let sink = self.sinks.entry(name.clone()).or_insert_with(|| Sink {
            name,
            kind: String::new(),
            level: "",
            to: 0,
            taken: 0,
            refused: 0,
            stood_still: 0,
            payload: String::new(),
            stands_still: false,
        });
        sink.kind = format!("{}, {}", body.kind, body.format);
        sink.level = body.level.as_str();
        sink.payload = foreign::harmless(&body.payload.join(", "));
        // What is sent again moves no place, and says nothing of how the sink stands.
        if body.state == Standing::Again {
            return;
        }
        sink.to = body.to;
        sink.taken += times * body.count;
        sink.refused += times * body.refused.len() as u64;
        let stands_still = body.state == Standing::StandsStill;
        sink.stood_still += times * u64::from(stands_still && !sink.stands_still);
        sink.stands_still = stands_still;
    }

    /// Writes the table. Returns the sinks, by name.
    pub fn finish(self, out: &mut dyn Out) -> Result<Vec<Sink>, Error> {
        self.table.finish(out)?;
        Ok(self.sinks.into_values().collect())
    }
}

fn body(view: &View<'_>) -> Option<Delivery> {
    (view.kind == Kind::Delivery).then(|| view.event_as())?
}
