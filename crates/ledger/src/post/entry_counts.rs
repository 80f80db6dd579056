//! What an entry adds to the counts, read from its bytes: for entries that are not posted from their messages.

use super::{
    counts::{By, Counts, OfEvent, of_approval},
    prepare::is_probe,
};
use crate::{
    entry::{Kind, View},
    event::{EXECUTION, RESERVED_TOOL},
};

impl Counts {
    /// Notes an entry. `index`: its own; `entry`: an earlier one by its index.
    pub fn view(&mut self, index: u64, view: &View<'_>, entry: impl Fn(u64) -> Option<Vec<u8>>) {
        self.kind(view.kind, view.origin.time);
        self.what(index, view, entry);
    }

    /// The same without its kind.
    pub(super) fn what(
        &mut self,
        index: u64,
        view: &View<'_>,
        entry: impl Fn(u64) -> Option<Vec<u8>>,
    ) {
        let time = view.origin.time;
        let Some(event) = view.at(&["event"]) else { return };
        let earlier = |at: u64| if at < index { entry(at) } else { None };
        match view.kind {
            Kind::Decision => {
                let producer = view.scope().producer;
                let by = By::new(view.is_ours(), producer == RESERVED_TOOL, is_probe(view));
                self.event(OfEvent::decision(event, producer, by), time, earlier);
            }
            Kind::Event if view.text(&["event", "type"]) == Some(EXECUTION) => {
                self.event(OfEvent::execution(event, view.is_result()), time, earlier);
            }
            Kind::Approval => self.facts(of_approval(event), time),
            _ => {}
        }
    }
}
