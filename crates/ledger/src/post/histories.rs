//! The rows of earlier decisions derived from entries alone: what `verify`, `fsck` and `replay` compare (P14, P15).

use crate::{
    entry::{Kind, View},
    event::{EXECUTION, Verdict, is_reserved_tool},
    history::{CallOf, Decided, Named, Reported, Row, Track, outcome_of, walk},
    ident::Ident,
    json::Value,
    store::{self, Changes, Family, LogNumber, Memory, Write},
};

/// The rows as the entries give them.
#[derive(Default)]
pub struct Histories {
    rows: Memory,
    number: LogNumber,
}

impl Histories {
    /// The rows of a log with this number.
    pub fn new(number: LogNumber) -> Self {
        Self { number, ..Self::default() }
    }

    /// Takes an entry.
    ///
    /// Errors: why it can't be at its place.
    pub fn take(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        let judged = self.judge(index, view);
        self.with(|track| track.take_view(index, view)).map_err(|_| UNREADABLE)?;
        judged
    }

    /// Takes a decision as if it had this verdict, whoever made it.
    pub fn take_as(&mut self, index: u64, view: &View<'_>, verdict: &str) {
        let Some(call) = view.at(&["event", "data"]).map(CallOf::of) else { return };
        let (at, producer) = (view.origin.time, view.scope().producer);
        let kept =
            self.with(|track| track.decided((index, at), (producer, &call), (verdict, None)));
        kept.unwrap_or_default();
    }

    fn with(
        &mut self,
        change: impl FnOnce(&mut Track<'_, '_>) -> Result<(), store::Error>,
    ) -> Result<(), store::Error> {
        let writes = {
            let mut changes = Changes::new(&self.rows);
            change(&mut Track::new(&mut changes, self.number))?;
            changes.into_writes().collect::<Vec<_>>()
        };
        self.rows.apply(writes.into_iter());
        Ok(())
    }

    /// Whether what a decision of ours counted is the same at its place.
    fn judge(&self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        let data = view.at(&["event", "data"]).filter(|_| view.is_ours());
        let data = data.filter(|_| view.kind == Kind::Decision);
        let named = data.and_then(|data| Some((data, Named::read_all(data.get("history")?)?)));
        let Some((data, named)) = named else { return Ok(()) };
        let as_of = data.get("as_of").and_then(Value::as_u64);
        let as_of = as_of.filter(|as_of| *as_of <= index).ok_or("it counts entries after it")?;
        let mut changes = Changes::new(&self.rows);
        let track = Track::new(&mut changes, self.number);
        if track.changed(&named, &CallOf::of(data), as_of).map_err(|_| UNREADABLE)? {
            return Err("what it counts of earlier decisions changed before its place");
        }
        Ok(())
    }

    /// Takes what posting wrote.
    pub fn apply(&mut self, writes: &[Write]) {
        let kept = writes.iter().filter(|((family, _), _)| *family == Family::History);
        self.rows.apply(kept.cloned());
    }

    /// The rows.
    pub fn rows(&self) -> &Memory {
        &self.rows
    }

    /// Visits the decisions of a row, latest first, until `visit` returns false.
    pub fn walk(
        &self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error> {
        walk(&self.rows, self.number, row, visit)
    }
}

impl Track<'_, '_> {
    /// Takes what an entry says.
    pub fn take_view(&mut self, index: u64, view: &View<'_>) -> Result<(), store::Error> {
        let id = |path: &[&str]| view.text(path).and_then(|id| Ident::new(id).ok());
        let tool = view.text(&["event", "data", "tool", "name"]).unwrap_or_default();
        match view.kind {
            Kind::Decision if view.is_ours() && !is_reserved_tool(tool) => {
                let Some(call) = view.at(&["event", "data"]).map(CallOf::of) else { return Ok(()) };
                let verdict = view.text(&["event", "data", "verdict"]).unwrap_or_default();
                let asks = verdict == Verdict::ApprovalNeeded.as_str();
                let tenant = id(&["tenant"]).filter(|_| asks);
                let approval = tenant.map(|tenant| view.scope().approval_id(&tenant));
                let producer = view.scope().producer;
                self.decided((index, view.origin.time), (producer, &call), (verdict, approval))
            }
            Kind::Event if view.text(&["event", "type"]) == Some(EXECUTION) => {
                match view.at(&["event"]).and_then(Reported::read) {
                    Some(report) => self.reported(report, view.scope().producer, index),
                    None => Ok(()),
                }
            }
            Kind::Approval => {
                let outcome = view.at(&["event"]).and_then(outcome_of);
                match outcome.zip(id(&["event", "approval_id"])) {
                    Some((outcome, id)) => self.approved(&id, outcome, index),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

const UNREADABLE: &str = "the rows of earlier decisions can't be read";
