//! Whether decisions opened an approval or none.

use super::Told;
use crate::{entry::View, json::Value, post::NotOpenedBody};

impl Told {
    /// A decision opens one approval or none, and an entry says that it opened none once.
    pub(super) fn not_opened(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        let NotOpenedBody { decision, .. } = view.event_as().ok_or("not a not_opened entry")?;
        self.named.push((index, decision.index, decision.leaf_hash.to_string()));
        let first = self.not_opened.insert(decision.index);
        first.then_some(()).ok_or("an earlier entry says the same of its decision")
    }

    /// An approval is not of a decision that opened none.
    pub(super) fn opens(&self, view: &View<'_>) -> Result<(), &'static str> {
        let events = view.at(&["event", "events"]).and_then(Value::as_array).unwrap_or_default();
        let opening = |event: &Value<'_>| event.get("opening")?.get("index")?.as_u64();
        let none = events.iter().filter_map(opening).any(|index| self.not_opened.contains(&index));
        if none {
            return Err("it is the approval of a decision that opened none, by an earlier entry");
        }
        Ok(())
    }
}
