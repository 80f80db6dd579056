//! Removes what the last prune entry lets go, and stores first what `fsck` needs in its place.

use super::derive;
use crate::{
    entry::{Kind, Payload, View},
    fsck::{
        base::{Base, is_as_said},
        pruned::each_kept,
    },
    ident::Ident,
    journal::{Journal, embedded::Volume},
    json::Value,
    ledger::{Error, Ledger},
    post::{APPROVAL, Log, Pruned, pruning, pruning_key},
    store::{self, Family, LogNumber, Write, rocks::Rocks},
    system::prune::BUNDLE,
    tenant::Tenant,
};
use std::collections::BTreeSet;

/// Entries that are removed at once, before other tasks get their turn.
const AT_ONCE: usize = 20_000;

/// The last pruning that is published, and whether what it lets go is gone.
pub fn last(ledger: &Ledger, tenant: &Tenant) -> Result<Option<(Pruned, bool)>, store::Error> {
    let done = pruning(ledger.store(), tenant.number)?.is_none();
    Ok(tenant.published().pruned.map(|pruned| (pruned, done)))
}

/// Removes what the last prune entry lets go. Returns true once all of it is gone. Under a legal hold nothing goes.
pub async fn complete(ledger: &Ledger, tenant: &Tenant) -> Result<bool, Error> {
    let _alone = tenant.erasing.lock().await;
    let (store, number) = (ledger.store(), tenant.number);
    let Some(pruned) = pruning(store, number)? else { return Ok(true) };
    // Its entry must be published: until then it may be another one.
    if tenant.position().retention.is_held() || tenant.published().pruned != Some(pruned) {
        return Ok(false);
    }
    tokio::task::block_in_place(|| keep_base(ledger, tenant, pruned))?;
    let trimmed = match tenant.journal() {
        Journal::Embedded(_) => tenant.journal().state().await?.first,
        _ => 0,
    };
    let kept = tokio::task::block_in_place(|| needed(ledger, tenant, pruned))?;
    let mut next = 0;
    while next < pruned.size {
        next = tokio::task::block_in_place(|| remove(store, number, (next, pruned.size), &kept))?;
        tokio::task::yield_now().await;
    }
    tokio::task::block_in_place(|| -> Result<(), store::Error> {
        store.commit(leftovers(store, number, pruned.size)?.into_iter())?;
        let (first, last) = (number.key(&[]), number.numbered(pruned.size));
        let volume = Volume { number, epoch: tenant.position().epoch };
        // Its messages were trimmed before, and their bytes are still in the files.
        store.shrink(Family::Journal, (&first, &volume.message(trimmed)))?;
        for family in [Family::Entries, Family::Payload, Family::Repeats] {
            store.shrink(family, (&first, &last))?;
        }
        store.commit(std::iter::once(((Family::Meta, pruning_key(number)), None)))
    })?;
    Ok(true)
}

/// Stores what the entries give, once it is what the prune entry says.
fn keep_base(ledger: &Ledger, tenant: &Tenant, pruned: Pruned) -> Result<(), Error> {
    let (store, number) = (ledger.store(), tenant.number);
    if Base::load(store, number)?.is_some_and(|(of, _)| of == pruned) {
        return Ok(());
    }
    let base = derive(store, tenant, pruned.size)?;
    let entry = ledger.entry(tenant, pruned.index)?.unwrap_or_default();
    is_as_said(View::parse(&entry).as_ref(), &base.state, &base.digests(store, number)?)
        .map_err(Error::Setup)?;
    Ok(store.commit(base.replace(store, number, pruned)?.into_iter())?)
}

/// The bundles that stay: those of system entries, of the last entry, and of what entries up to the pruning still name.
fn needed(ledger: &Ledger, tenant: &Tenant, pruned: Pruned) -> Result<BTreeSet<u64>, Error> {
    let (store, number) = (ledger.store(), tenant.number);
    let log = Log::new(tenant.name.clone(), number, tenant.origin.clone(), String::new());
    let mut named = BTreeSet::from([pruned.size - 1]);
    each_kept(store, &log, pruned.size, |index, entry| {
        let Some(view) = View::parse(entry).filter(|view| view.kind.is_system()) else { return };
        named.insert(index);
        if view.kind == Kind::Clock {
            // It shows which stretch of time ends before the clock.
            named.extend(index.checked_sub(1));
        }
    })?;
    let mut approvals = BTreeSet::new();
    let mut prior = None;
    ledger.entries(tenant, (pruned.size, pruned.index), |index, entry| {
        let Some(view) = View::parse(entry) else { return };
        if index == pruned.size {
            prior = view.prior.approval;
        }
        named.extend(names(&view).into_iter().flatten().filter(|at| *at < pruned.size));
        let id = view.text(&["event", "approval_id"]).and_then(|id| Ident::new(id).ok());
        approvals.extend(id);
    })?;
    let mut oldest = pruned.size;
    for id in approvals {
        for (index, kind) in ledger.of_approval(tenant, &id)? {
            if index < pruned.size {
                named.insert(index);
                if kind == APPROVAL {
                    oldest = oldest.min(index);
                    let entry = ledger.entry(tenant, index)?.unwrap_or_default();
                    named.extend(View::parse(&entry).as_ref().and_then(opening));
                }
            }
        }
    }
    // Who follows one of these approvals back walks along the entries of all others.
    while let Some(index) = prior.filter(|index| *index >= oldest) {
        named.insert(index);
        let entry = ledger.entry(tenant, index)?.unwrap_or_default();
        prior = View::parse(&entry).and_then(|view| view.prior.approval);
    }
    Ok(named.into_iter().map(|index| index / BUNDLE).collect())
}

/// Leaf indexes that an entry names: the decision of an execution, of an activation or of a freeze, of an approval, and
/// the reason of an act.
fn names(view: &View<'_>) -> [Option<u64>; 4] {
    let at = |path: &[&str]| view.at(path).and_then(Value::as_u64);
    [
        at(&["event", "data", "decision", "index"]),
        at(&["event", "decision", "index"]),
        at(&["event", "reason", "index"]),
        opening(view),
    ]
}

/// The decision that an approval's first message names.
fn opening(view: &View<'_>) -> Option<u64> {
    let first = view.at(&["event", "events"])?.as_array()?.first()?;
    first.get("opening")?.get("index")?.as_u64()
}

/// Removes some entries and payloads `from..size`, apart from the bundles that stay. Returns where to go on.
fn remove(
    store: &Rocks,
    number: LogNumber,
    (from, size): (u64, u64),
    kept: &BTreeSet<u64>,
) -> Result<u64, store::Error> {
    let (prefix, mut next, mut rows) = (number.key(&[]), size, Vec::new());
    store.scan(Family::Entries, &number.numbered(from), |key, entry| {
        let index = key.strip_prefix(&prefix[..]).and_then(|rest| rest.try_into().ok());
        let Some(index) = index.map(u64::from_be_bytes).filter(|index| *index < size) else {
            return false;
        };
        if rows.len() == AT_ONCE {
            next = index;
            return false;
        }
        let stays = kept.contains(&(index / BUNDLE));
        let empty = View::parse(entry).is_some_and(|view| view.kind.is_erasable());
        rows.push((key.to_vec(), stays, empty));
        true
    })?;
    let empty = Payload::default().encode();
    let mut entries: Vec<Write> = Vec::new();
    let mut payloads: Vec<Write> = Vec::new();
    for (key, stays, erasable) in rows {
        if !stays {
            entries.push(((Family::Entries, key.clone()), None));
            payloads.push(((Family::Payload, key), None));
        } else if erasable {
            payloads.push(((Family::Payload, key), Some(empty.clone())));
        }
    }
    store.commit(entries.into_iter().chain(payloads))?;
    Ok(next)
}

/// Rows about pruned entries that nobody reads any more.
fn leftovers(store: &Rocks, number: LogNumber, size: u64) -> Result<Vec<Write>, store::Error> {
    let mut writes = Vec::new();
    let places = [
        (Family::Repeats, number.key(&[])),
        (Family::Meta, number.meta("erased")),
        (Family::Meta, number.meta("missing")),
    ];
    for (family, prefix) in places {
        store.scan(family, &prefix, |key, _| {
            let index = key.strip_prefix(&prefix[..]).and_then(|rest| rest.first_chunk());
            let ours = index.is_some_and(|index| u64::from_be_bytes(*index) < size);
            if ours {
                writes.push(((family, key.to_vec()), None));
            }
            ours
        })?;
    }
    let prefix = number.meta("unnamed");
    store.scan(Family::Meta, &prefix, |key, value| {
        let row = store::read_json::<crate::post::Erasing>(value, "meta").ok();
        if row.is_some_and(|row| row.index < size) && key.starts_with(&prefix) {
            writes.push(((Family::Meta, key.to_vec()), None));
        }
        key.starts_with(&prefix)
    })?;
    Ok(writes)
}
