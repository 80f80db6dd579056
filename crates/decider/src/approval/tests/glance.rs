//! L13: what a message says at a glance is true, whatever came before.

use super::{
    desk::ident,
    laws::{any_history, event, moment, who},
};
use crate::approval::*;
use ledger::canonical;
use proptest::{collection::vec, prelude::*, sample::select};

/// Any event that ends an approval.
fn end() -> impl Strategy<Value = Event> {
    let text = || "[a-z]{1,3}";
    prop_oneof![
        vec(who(), 0..2).prop_map(|by| Event::Denied { by }),
        select(vec![Reason::Deadline, Reason::Undeliverable])
            .prop_map(|reason| Event::Expired { reason }),
        (text(), text()).prop_map(|(by, reason)| Event::Cancelled { by, reason }),
        (text(), text()).prop_map(|(by, reason)| Event::Revoked { by, reason }),
        select(vec![Event::Lapsed, Event::ReportMissed, Event::Superseded { rule: None }]),
        select(vec![Outcome::Succeeded, Outcome::NotStarted, Outcome::Unknown])
            .prop_map(|outcome| Event::ExecutionReported { outcome }),
    ]
}

proptest! {
    /// A message that ends an approval at a glance ends it, whatever came before, and whatever else it says.
    #[test]
    fn l13_an_end_at_a_glance_is_an_end(
        states in any_history(), end in end(), before in vec(event(), 0..3), after in vec(event(), 0..3),
        at in moment(), follows in prop::bool::weighted(0.9),
    ) {
        let events: Vec<Event> = before.into_iter().chain([end]).chain(after).collect();
        for state in states {
            let (n, prev) = (state.n + u64::from(follows), state.leaf.clone());
            let approval_id = state.id.clone().unwrap_or_else(|| ident("apr-1"));
            let message = Message { approval_id, n, prev, events: events.clone(), activates: None, decision: None };
            let glance: Glance = serde_json::from_slice(&canonical::of(&message)).unwrap();
            prop_assert_eq!((&glance.id, glance.n), (&message.approval_id, n));
            let is_over =
                |state: &State| Approval::is_terminal(state) || state.phase == Phase::Unknown || state.corrupt;
            let folded = fold(state, &message, "leaf", at);
            prop_assert!(is_over(&folded) || !glance.ends(), "{:?} {:?}", message.events, folded.phase);
            let redeems = |event: &Event| matches!(event, Event::Redeemed { .. });
            prop_assert!(glance.ends() || message.events.iter().any(redeems));
        }
    }
}

#[test]
fn the_first_message_names_its_decision() {
    let mut desk = super::desk::Desk::new("{}");
    desk.run(&["request", "ann approve"]);
    let opening = |(message, _, _): &(Message, String, Nanos)| {
        serde_json::from_slice::<Glance>(&canonical::of(message)).unwrap().opening()
    };
    assert_eq!(desk.log.iter().map(opening).collect::<Vec<_>>(), [Some(7), None]);
}
