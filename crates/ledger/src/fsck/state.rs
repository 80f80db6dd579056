//! The small state that posting carries from entry to entry, derived from entries alone.

use crate::{
    entry::{Kind, View, is_reason},
    event,
    ident::Ident,
    journal::Subject,
    json::Value,
    log::note::Vkey,
    post::{Keys, LogKey, SYSTEM, source_key},
    sequence::Sequence,
    system::{Genesis, KeyText, members::MembersChange},
};
use std::collections::BTreeMap;

/// Updates the signing keys by a genesis or key entry, and the replicas by a members entry. `false` if the entry is none of them.
pub fn take_key(keys: &mut Keys, index: u64, view: &View<'_>) -> bool {
    if view.kind == Kind::Genesis {
        let genesis = view.event_as::<Genesis>();
        *keys = genesis.as_ref().map(Keys::of_genesis).unwrap_or_default();
        return genesis.is_some();
    }
    if view.kind == Kind::Members {
        let change = view.event_as::<MembersChange>();
        if let Some(change) = &change {
            keys.changed_members(change, index);
        }
        return change.is_some();
    }
    let number = |name| view.at(&["event", name]).and_then(Value::as_u64);
    let vkey = view.text(&["event", "vkey"]).and_then(|text| Vkey::parse(text).ok());
    let Some(vkey) = vkey.map(KeyText) else { return false };
    match view.text(&["event", "use"]) {
        Some("log") => {
            if let Some(old) = keys.log.last_mut() {
                old.last_size = number("old_last_size");
            }
            let first_size = number("first_size").unwrap_or(0);
            keys.log.push(LogKey { vkey, first_size, last_size: None, index });
        }
        Some("journal") => {
            let beside = view.at(&["event", "beside"]).is_some();
            keys.rotate_journal(vkey, beside);
        }
        Some("token") => keys.rotate_token(vkey),
        Some("agent") => keys.rotate_agent(vkey),
        _ => return false,
    }
    true
}

/// The numbers of every source.
pub type Sources = BTreeMap<[u8; 32], Sequence>;

/// Updates the numbers by an event.
pub fn take_number(sources: &mut Sources, view: &View<'_>) {
    let text = |path: &[&str]| view.text(path).unwrap_or("");
    let number = view.text(&["event", "sequence"]).and_then(|text| text.parse().ok());
    let Some(number) = number else { return };
    let heartbeat = text(&["event", "type"]) == event::HEARTBEAT;
    let key = source_key(view.scope());
    let known = sources.remove(&key);
    sources.insert(key, Sequence::after(known, number, heartbeat));
}

/// The signed subject of an entry's message. `None` if it came on `decisions.` or was rejected.
pub fn subject_of(view: &View<'_>) -> Option<Subject> {
    let topic = match view.kind {
        Kind::Evidence if is_reason(view) => {
            return Ident::new(SYSTEM).ok().map(Subject::Evidence);
        }
        Kind::Approval | Kind::Evidence | Kind::NotOpened => {
            let id = Ident::new(view.text(&["event", "approval_id"])?).ok()?;
            let evidence = view.kind == Kind::Evidence;
            return Some(if evidence { Subject::Evidence(id) } else { Subject::Approvals(id) });
        }
        // An activation comes with its approval's entry, and a clause's freeze with its decision's: that stands for the
        // message.
        Kind::Policy | Kind::Freeze if view.is_beside() => return None,
        Kind::Genesis
        | Kind::Erasure
        | Kind::Access
        | Kind::Key
        | Kind::Rules
        | Kind::Clock
        | Kind::Trim
        | Kind::Signer
        | Kind::Sources
        | Kind::Retention
        | Kind::Members
        | Kind::Prune
        | Kind::Delivery
        | Kind::Alert
        | Kind::Incident
        | Kind::Freeze
        | Kind::Agent
        | Kind::Policy => view.kind.as_str(),
        Kind::JournalGap => "gap",
        // The message that opened an epoch comes again at its own place, and gives no entry there.
        Kind::Journal
        | Kind::Decision
        | Kind::Event
        | Kind::Rejected
        | Kind::DuplicateConflict
        | Kind::GapOpened
        | Kind::GapClosed
        | Kind::BudgetWarned
        | Kind::BudgetExceeded
        | Kind::Void => return None,
    };
    Ident::new(topic).ok().map(Subject::System)
}
