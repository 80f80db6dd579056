//! Removes entries that are in a verified export (P20): first what follows from them is derived and named by an entry, then
//! the bundles go that nothing needs any more.
//!
//! Every server derives the same from its own entries before it removes one, so a wrong entry removes nothing. After a
//! crash in here, the next call goes on: what is stored for `fsck` is written before the first entry goes.

mod remove;

pub use remove::{complete, last};

use crate::{
    chores::trim_below,
    entry::{Kind, View},
    fsck::{
        Report,
        base::{Base, standing},
        derived::Derived,
        leads_to,
        pruned::begin,
        tally::Tally,
    },
    journal::Journal,
    ledger::{Error, Ledger},
    log::merkle::{self, Hash},
    post::{Log, pruning},
    store::{self, Family, LogNumber, rocks::Rocks},
    system::prune::{BUNDLE, Exported},
    tenant::Tenant,
    time::Nanos,
    verify::Walk,
};
use std::collections::BTreeMap;

/// Why entries can't be pruned now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no bundle to remove.
    #[error(
        "no whole bundle of 256 entries is left to prune before {until}: entries before {kept_from} were pruned"
    )]
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
    #[error(
        "journal message {seq} repeats entry {index}, and could not be erased any more: wait until it is trimmed, or prune no further"
    )]
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
    let mut found =
        pruning(store, number)?.is_some() || crate::erased::expiring(store, number)?.is_some();
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
