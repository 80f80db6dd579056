//! Hands over every approval of a log, entry by entry. This crate does not know how to judge one.

use crate::{
    entry::{Kind, Payload, View},
    ident::Ident,
    json::Value,
    post::{APPROVAL, Log},
    store::{self, Family, Read as _, rocks::Rocks},
};

use std::collections::BTreeMap;

/// One approval: its id, the entry of its decision if its first message names one, and its own entries in
/// order.
pub struct Whole {
    /// Id of the approval.
    pub id: Ident,
    /// Leaf index and bytes of the decision.
    pub opening: Option<(u64, Vec<u8>)>,
    /// The remaining payload of the decision: RFC 8785 values by name.
    pub disclosed: BTreeMap<String, Vec<u8>>,
    /// Leaf index and bytes of each message.
    pub messages: Vec<(u64, Vec<u8>)>,
}

/// Hands over every approval of a log. [`super::check`] finds an id that occurs twice, or an entry of no
/// approval.
pub fn approvals(
    store: &Rocks,
    log: &Log,
    mut judge: impl FnMut(Whole),
) -> Result<(), store::Error> {
    let prefix = log.number.key(&[]);
    let mut next: Option<(Ident, Vec<u64>)> = None;
    let mut failed = None;
    let mut hand_over = |approval: Option<(Ident, Vec<u64>)>| {
        let Some((id, indexes)) = approval else { return true };
        match whole(store, log, id, indexes) {
            Ok(Some(whole)) => judge(whole),
            Ok(None) => {}
            Err(error) => failed = Some(error),
        }
        failed.is_none()
    };
    store.scan(Family::Approvals, &prefix, |key, value| {
        let Some(rest) = key.strip_prefix(&prefix[..]) else { return false };
        let Some((id, index)) = place(rest) else { return true };
        if value != [APPROVAL] {
            return true;
        }
        match &mut next {
            Some((known, indexes)) if *known == id => indexes.push(index),
            _ => return hand_over(next.replace((id, vec![index]))),
        }
        true
    })?;
    hand_over(next);
    failed.map_or(Ok(()), Err)
}

/// `approval id ‖ 0x00 ‖ index u64`
fn place(rest: &[u8]) -> Option<(Ident, u64)> {
    let (id, index) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
    let id = std::str::from_utf8(id.strip_suffix(&[0])?).ok()?;
    Some((Ident::new(id).ok()?, u64::from_be_bytes(index.try_into().ok()?)))
}

/// `None` for an approval that was pruned: it was over, and its entries are in an export.
fn whole(
    store: &Rocks,
    log: &Log,
    id: Ident,
    indexes: Vec<u64>,
) -> Result<Option<Whole>, store::Error> {
    let entry = |index: u64| -> Result<Option<(u64, Vec<u8>)>, store::Error> {
        let bytes = store.get(Family::Entries, &log.number.numbered(index))?;
        Ok(bytes.map(|bytes| (index, bytes)))
    };
    let mut messages = Vec::with_capacity(indexes.len());
    let pruned = indexes.iter().all(|index| *index < log.kept_from());
    let count = indexes.len();
    for index in indexes {
        messages.extend(entry(index)?);
    }
    if pruned && messages.len() < count {
        return Ok(None);
    }
    let named = messages.first().and_then(|(_, bytes)| opening_of(bytes));
    let opening = named.map(entry).transpose()?.flatten();
    let payload = match &opening {
        Some((index, _)) => crate::erased::left(store, log.number, *index)?.unwrap_or_default(),
        None => Payload::default(),
    };
    if pruned && opening.is_none() {
        return Ok(None);
    }
    Ok(Some(Whole { id, opening, disclosed: payload.values(), messages }))
}

/// The decision that an approval's first message names.
fn opening_of(bytes: &[u8]) -> Option<u64> {
    let view = View::parse(bytes).filter(|view| view.kind == Kind::Approval)?;
    let first = view.at(&["event", "events"])?.as_array()?.first()?;
    first.get("opening")?.get("index").and_then(Value::as_u64)
}
