//! Removes entries that are in a verified export (P20): first what follows from them is derived and named by an entry, then
//! the bundles go that nothing needs any more.
//!
//! Every server derives the same from its own entries before it removes one, so a wrong entry removes nothing. After a
//! crash in here, the next call goes on: what is stored for `fsck` is written before the first entry goes.

use crate::{
    chores::trim_below,
    entry::{Kind, Payload, View},
    fsck::{
        Report,
        base::{Base, is_as_said, leads_to, standing},
        derived::Derived,
        pruned::{begin, each_kept},
        tally::Tally,
    },
    ident::Ident,
    journal::Journal,
    json::Value,
    ledger::{Error, Ledger},
    log::merkle::{self, Hash},
    post::{APPROVAL, Log, Pruned, pruning, pruning_key},
    store::{self, Family, LogNumber, Write, rocks::Rocks},
    system::prune::{BUNDLE, Exported},
    tenant::Tenant,
    time::Nanos,
    verify::Walk,
};
use std::collections::{BTreeMap, BTreeSet};

/// Entries that are removed at once, before other tasks get their turn.
const AT_ONCE: usize = 20_000;

/// Why entries can't be pruned now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no bundle to remove.
    #[error("no whole bundle of 256 entries is left to prune before {until}: entries before {kept_from} were pruned")]
    Nothing {
        /// What was asked for.
        until: u64,
        /// The first leaf index from which every entry is here.
        kept_from: u64,
    },
    /// The export is not of this log as it is.
    #[error("the export is not one of this log: {0}")]
    Export(&'static str),
    /// An approval is not over.
    #[error("an approval that is not over needs entry {0}: prune no further, or wait for its end")]
    Open(u64),
    /// Bytes still leave the files.
    #[error("an erasure, an expiry or an earlier pruning is not complete: try again in a minute")]
    Unfinished,
    /// A message repeats one of the entries, and holds its payload.
    #[error("journal message {seq} repeats entry {index}, and could not be erased any more: wait until it is trimmed, or prune no further")]
    Repeated {
        /// Its sequence.
        seq: u64,
        /// Leaf index of the event that it repeats.
        index: u64,
    },
}

/// What a prune entry shall say, apart from who and why.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// The bundles before this leaf index go.
    pub size: u64,
    /// Root hash at that size.
    pub root: Hash,
    /// `journal.time` of the last entry before it.
    pub time: Nanos,
    /// Digests of what follows from the entries before it.
    pub families: BTreeMap<String, Hash>,
}

/// Decides how far `tenant` can be pruned, at most until entry `until`, and derives what its entry must say.
///
/// `needed`: the first leaf index that an open approval needs. The journal is trimmed as far: its messages hold the same
/// payload, and an erasure could not reach them any more.
pub async fn propose(
    ledger: &Ledger,
    tenant: &Tenant,
    (until, export): (u64, &Exported),
    needed: Option<u64>,
) -> Result<Result<Proposed, Refused>, Error> {
    let published = tenant.published();
    let size = match size_of(ledger, tenant, (until, export), needed)? {
        Ok(size) => size,
        Err(refused) => return Ok(Err(refused)),
    };
    if is_unfinished(ledger.store(), tenant.number)? {
        return Ok(Err(Refused::Unfinished));
    }
    let first = origin(ledger, tenant, size)?;
    if first.0 == tenant.position().epoch && !matches!(tenant.journal(), Journal::Absent) {
        if tenant.journal().state().await?.first < first.1 {
            trim_below(ledger, tenant, first.1).await?;
        }
        if let Some((index, seq)) = repeated(ledger.store(), tenant.number, size, first)? {
            return Ok(Err(Refused::Repeated { seq, index }));
        }
    }
    let reader = ledger.reader(tenant, &published);
    let root = merkle::root_at(&reader, size)?;
    let base = tokio::task::block_in_place(|| derive(ledger.store(), tenant, size))?;
    if base.state.root != root {
        return Err(corrupt("other entries than those of the tree").into());
    }
    let families = tokio::task::block_in_place(|| base.digests(ledger.store(), tenant.number))?;
    Ok(Ok(Proposed { size, root, time: base.state.time, families }))
}

/// The largest size that can be pruned: whole bundles, between two messages of the journal, before what is needed.
fn size_of(
    ledger: &Ledger,
    tenant: &Tenant,
    (until, export): (u64, &Exported),
    needed: Option<u64>,
) -> Result<Result<u64, Refused>, Error> {
    let published = tenant.published();
    let kept_from = published.kept_from();
    if export.size > published.size {
        return Ok(Err(Refused::Export("it has more entries than the log")));
    }
    if until > export.size {
        return Ok(Err(Refused::Export("it has fewer entries than shall be pruned")));
    }
    if merkle::root_at(&ledger.reader(tenant, &published), export.size)? != export.root {
        return Ok(Err(Refused::Export("its root is not the one that this log had at that size")));
    }
    let mut size = until.min(published.size.saturating_sub(1)) / BUNDLE * BUNDLE;
    while size > kept_from && !is_border(ledger, tenant, size)? {
        size -= BUNDLE;
    }
    if size <= kept_from {
        return Ok(Err(Refused::Nothing { until, kept_from }));
    }
    Ok(match needed.filter(|needed| *needed < size) {
        Some(needed) => Err(Refused::Open(needed)),
        None => Ok(size),
    })
}

/// True if pruning may end there, as posting judges it.
fn is_border(ledger: &Ledger, tenant: &Tenant, size: u64) -> Result<bool, store::Error> {
    let last = ledger.entry(tenant, size - 1)?.unwrap_or_default();
    let opens = View::parse(&last).is_some_and(|view| view.kind == Kind::GapOpened);
    Ok(opens || origin(ledger, tenant, size)? != origin(ledger, tenant, size - 1)?)
}

/// Place in the journal of the message that gave an entry.
fn origin(ledger: &Ledger, tenant: &Tenant, index: u64) -> Result<(u64, u64), store::Error> {
    let entry = ledger.entry(tenant, index)?.unwrap_or_default();
    let view = View::parse(&entry).ok_or_else(|| corrupt("an entry"))?;
    Ok((view.origin.epoch, view.origin.seq))
}

/// True while bytes leave the files.
fn is_unfinished(store: &Rocks, number: LogNumber) -> Result<bool, store::Error> {
    let mut found = pruning(store, number)?.is_some() || crate::erased::expiring(store, number)?.is_some();
    for prefix in ["erasing", "unnamed"].map(|what| number.meta(what)) {
        store.scan(Family::Meta, &prefix, |key, _| {
            found |= key.starts_with(&prefix);
            false
        })?;
    }
    Ok(found)
}

/// A message from `first` on, in the journal, that repeats an event before `size`: leaf index of that, and its sequence.
fn repeated(
    store: &Rocks,
    number: LogNumber,
    size: u64,
    first: (u64, u64),
) -> Result<Option<(u64, u64)>, store::Error> {
    let (prefix, end, mut found) = (number.key(&[]), number.numbered(size), None);
    store.scan(Family::Repeats, &prefix, |key, _| {
        let part = |at: usize| key.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        if let (Some(index), Some(epoch), Some(seq)) = (part(4), part(12), part(20))
            && key < end.as_slice()
            && (epoch, seq) >= first
        {
            found = Some((index, seq));
        }
        key < end.as_slice() && found.is_none()
    })?;
    Ok(found)
}

fn corrupt(what: &'static str) -> store::Error {
    store::Error::Corrupt { family: "entries", what }
}

/// Derives what the entries before `size` give, from what is stored of an earlier pruning on.
fn derive(store: &Rocks, tenant: &Tenant, size: u64) -> Result<Base, store::Error> {
    let (name, number, origin) = (tenant.name.clone(), tenant.number, tenant.origin.clone());
    let log = Log::new(name, number, origin, String::new());
    let begun = begin(store, &log)?;
    let (mut walk, mut derived) = match &begun {
        Some(begun) => begun.resume(&log)?,
        None => (Walk::default(), Derived::default()),
    };
    let from = walk.size();
    let subjects = begun.iter().flat_map(|begun| begun.base.subjects());
    derived.subject_rows = Some(subjects.map(|(key, seq)| (key.to_vec(), seq)).collect());
    derived.events = Some(Tally::default());
    let (mut report, mut failed) = (Report::default(), None);
    store.scan(Family::Entries, &number.numbered(from), |key, entry| {
        let index = walk.size();
        if index >= size || key != number.numbered(index) {
            return false;
        }
        match walk.read(entry) {
            Ok((view, _)) => {
                failed = derived.entry((store, &log), index, &view, &mut report).err();
            }
            Err(error) => report.find(error.to_string()),
        }
        failed.is_none() && report.damage == 0
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(finding) = report.findings.first() {
        tracing::error!(tenant = %tenant.name, finding, "what shall be pruned is damaged");
        return Err(corrupt("what shall be pruned is not what its entries say"));
    }
    let expected = derived.events.take().unwrap_or_default();
    let mut found = expected.other();
    crate::fsck::rows(store, number, Family::Keys, |key, value| {
        if (from..size).contains(&leads_to(Family::Keys, key, value)) {
            found.add(key, value);
        }
    })?;
    let (_, approvals) = standing(store, number, Family::Approvals, size)?;
    if walk.size() != size || !found.is_same(&expected) || approvals != derived.approvals {
        return Err(corrupt("what shall be pruned is not what its indexes say"));
    }
    let subjects = derived.subject_rows.take().unwrap_or_default();
    Base::of(&mut derived, &walk, number, &subjects)
}

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
    let kept = tokio::task::block_in_place(|| needed(ledger, tenant, pruned))?;
    let mut next = 0;
    while next < pruned.size {
        next = tokio::task::block_in_place(|| remove(store, number, (next, pruned.size), &kept))?;
        tokio::task::yield_now().await;
    }
    tokio::task::block_in_place(|| -> Result<(), store::Error> {
        store.commit(leftovers(store, number, pruned.size)?.into_iter())?;
        let (first, last) = (number.key(&[]), number.numbered(pruned.size));
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
