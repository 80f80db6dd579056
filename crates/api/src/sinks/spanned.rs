//! Reads what the span of an entry is made of: of an approval, all its entries and its decision.

use super::{
    format::Site,
    shelf::Leaf,
    span::{self, Names, Span},
};
use decider::approval::{Event, Message};
use ledger::{
    Ledger,
    entry::{Kind, Own, View},
    post::APPROVAL,
    store,
    tenant::Tenant,
};

/// The span of an entry: of a decision, or of the approval that it ends.
pub fn spanned(
    ledger: &Ledger,
    tenant: &Tenant,
    (site, names): (&Site, Names),
    leaf: &Leaf,
) -> Result<Option<Span>, store::Error> {
    let (index, bytes) = (leaf.index, leaf.entry.as_bytes());
    match View::parse(bytes).map(|view| view.kind) {
        Some(Kind::Decision) => Ok(span::decision(site, (index, &leaf.hash), bytes, names)),
        Some(Kind::Approval) => {
            let Some(own) = Own::<Message>::read(bytes) else { return Ok(None) };
            let mut entries = Vec::new();
            for (at, sort) in ledger.of_approval(tenant, &own.event.approval_id)? {
                if sort == APPROVAL && at <= index {
                    entries.extend(known(ledger, tenant, at)?.map(|entry| (at, entry)));
                }
            }
            let opening = match entries.first().and_then(|(_, entry)| opened_by(entry)) {
                Some(at) => known(ledger, tenant, at)?,
                None => None,
            };
            Ok(span::approval(site, opening.as_deref(), &entries, names))
        }
        _ => Ok(None),
    }
}

/// An entry. `None` if it was pruned: it is in an export then.
fn known(ledger: &Ledger, tenant: &Tenant, index: u64) -> Result<Option<Vec<u8>>, store::Error> {
    match ledger.entry(tenant, index) {
        Err(store::Error::Pruned { .. }) => Ok(None),
        found => found,
    }
}

/// Leaf index of the decision that opened an approval, in its first entry.
fn opened_by(entry: &[u8]) -> Option<u64> {
    match Own::<Message>::read(entry)?.event.events.first() {
        Some(Event::Requested(requested)) => Some(requested.opening.index),
        _ => None,
    }
}
