//! The span of an approval: from the pause to its end, under the span of its decision.

use super::{Collected, Names, Place, Sort, Span, decision_id, derived, place};
use crate::sinks::format::Site;
use decider::approval::{Event, Message, Phase, State, fold};
use ledger::{entry::Own, log::merkle::leaf_hash};
use serde_json::Value;

/// Most events of a span: what OpenTelemetry's own libraries keep.
const EVENTS_MAX: usize = 128;

/// The span of an approval, if the last of its `entries` is the one that ended it. `opening`: the decision's entry, or none
/// where it was pruned. `entries`: every entry of the approval up to that one, by leaf index.
pub fn approval(
    site: &Site,
    opening: Option<&[u8]>,
    entries: &[(u64, Vec<u8>)],
    names: Names,
) -> Option<Span> {
    let first: Own<Message> = Own::read(&entries.first()?.1)?;
    let begin =
        opening.map_or_else(|| first.event.prev.clone(), |entry| leaf_hash(entry).to_string());
    let mut state = State::begin(&begin);
    let (mut events, mut was_open, mut end) = (Vec::new(), true, 0);
    for (index, entry) in entries {
        let Own { event, origin, .. }: Own<Message> = Own::read(entry)?;
        was_open = state.phase == Phase::None || state.phase.is_open();
        state = fold(state, &event, &leaf_hash(entry).to_string(), origin.time);
        end = origin.time.0;
        events.extend(event.events.iter().map(|event| (end, name(event), *index)));
    }
    if !was_open || state.phase.is_open() || state.phase == Phase::None {
        return None;
    }
    let requested = state.requested.as_deref()?;
    let decision = requested.opening.index;
    let (index, entry) = entries.last()?;
    let mut said = Collected::default();
    said.entry(site, (*index, &leaf_hash(entry)), "approval");
    said.text("countersign.approval_id", state.id.as_ref()?.as_str());
    said.text("countersign.approval.end", &format!("{:?}", state.phase).to_lowercase());
    said.text("countersign.approval.rule", &requested.rule.name);
    said.number("countersign.decision.index", decision);
    let call = &requested.call;
    let run = call.run.as_deref().unwrap_or_default();
    let event = opening.and_then(|entry| serde_json::from_slice::<Value>(entry).ok());
    let event = event.map(|entry| entry["event"].clone()).unwrap_or_default();
    let session = super::text(&event, &["data", "agent", "session"]);
    said.call([&call.agent, run, session, &call.tool, &call.action], names);
    said.text("countersign.producer", requested.opening.producer.as_str());
    let Place { trace, flags, .. } = place(&site.origin, decision, &event);
    let events_dropped = events.len().saturating_sub(EVENTS_MAX) as u64;
    events.truncate(EVENTS_MAX);
    Some(Span {
        sort: Sort::Approval,
        trace,
        id: derived("approval", &site.origin, decision),
        parent: Some(decision_id(&site.origin, decision)),
        // The span above is ours.
        flags: flags & 0xff | super::HERE,
        name: format!("approve {}", call.tool),
        time: (requested.requested_at.0.min(end), end),
        attributes: said.0,
        events,
        events_dropped,
    })
}

/// The name of an event, as the log has it.
fn name(event: &Event) -> String {
    let said = serde_json::to_value(event).unwrap_or_default();
    super::text(&said, &["type"]).to_owned()
}
