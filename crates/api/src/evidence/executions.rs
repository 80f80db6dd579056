//! Which reports of a gateway count. An execution and a heartbeat are events of exactly our types: another type that only
//! resembles them is an event like any other. An execution is of a decision only if it names the leaf hash of its entry.

use super::{Error, log::Log, values::text};
use ledger::{
    entry::{Kind, View},
    event::{EXECUTION, HEARTBEAT},
    log::merkle::leaf_hash,
    verify::period::number,
};

/// What an execution says that it carried out.
pub enum Execution {
    /// It names no decision.
    Unnamed,
    /// It names a decision that the log does not hold: there is another entry, or one with another leaf hash, or a decision
    /// of another producer.
    Unknown,
    /// Leaf index and entry of the decision.
    Of(u64, Vec<u8>),
}

impl Execution {
    /// Reads an entry of the period. `None` if it is no execution.
    pub fn read(log: &Log<'_>, index: u64, view: &View<'_>) -> Result<Option<Self>, Error> {
        if !is_of_type(view, EXECUTION) {
            return Ok(None);
        }
        if view.at(&["event", "data", "decision"]).is_none() {
            return Ok(Some(Self::Unnamed));
        }
        let decision = number(view, &["event", "data", "decision", "index"]);
        let Some(decision) = decision.filter(|decision| *decision < index) else {
            return Ok(Some(Self::Unknown));
        };
        let entry = log.entry(decision)?;
        let said = text(view, &["event", "data", "decision", "leaf_hash"]);
        let is_named = leaf_hash(&entry).to_string() == said;
        let is_theirs = View::parse(&entry).is_some_and(|judged| {
            judged.kind == Kind::Decision
                && text(&judged, &["producer"]) == text(view, &["producer"])
        });
        Ok(Some(if is_named && is_theirs { Self::Of(decision, entry) } else { Self::Unknown }))
    }
}

/// True for a heartbeat of a source.
pub fn is_heartbeat(view: &View<'_>) -> bool {
    is_of_type(view, HEARTBEAT)
}

fn is_of_type(view: &View<'_>, of: &str) -> bool {
    view.kind == Kind::Event && text(view, &["event", "type"]) == of
}
