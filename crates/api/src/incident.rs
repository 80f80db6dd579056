//! What belongs to an incident, and its proof (`proto/formats/incidents.md`).
//!
//! In scope: which entries, and each one with its receipt under one checkpoint. Out of scope: who may ask, and HTTP. It
//! follows from the entries of the log below one size alone, so the same size gives the same bytes.

use ledger::{
    Ledger,
    entry::{Kind, View},
    log::{
        merkle::{self, Hash},
        receipt::Receipt,
    },
    reader::Reader,
    store,
    system::{alert::AlertBody, freeze::FreezeBody, incident::IncidentBody},
    tenant::Tenant,
};
use std::collections::{BTreeMap, BTreeSet};

/// Why an entry belongs to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It opens, notes or closes the incident.
    Message,
    /// It has the words of such an entry.
    Words,
    /// Such an entry names it.
    Named,
    /// It closes an alert, or lifts a freeze, that is named.
    End,
    /// An alert that is named says that it shows the alert.
    Shows,
}

impl Part {
    /// Its name in exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Words => "words",
            Self::Named => "named",
            Self::End => "end",
            Self::Shows => "shows",
        }
    }
}

/// What belongs to an incident, by leaf index.
pub type Parts = BTreeMap<u64, Part>;

fn corrupt(what: &'static str) -> store::Error {
    store::Error::Corrupt { family: "entries", what }
}

/// The `system` entries below `size` and from `down_to` on, the newest first: each names the one before it.
fn systems(
    reader: &Reader<'_>,
    size: u64,
    down_to: u64,
    mut each: impl FnMut(u64, &View<'_>),
) -> Result<(), store::Error> {
    let Some(mut at) = size.checked_sub(1) else { return Ok(()) };
    while at >= down_to {
        let entry = reader.entry(at)?.ok_or_else(|| corrupt("an entry"))?;
        let view = View::parse(&entry).ok_or_else(|| corrupt("an entry"))?;
        if view.kind.is_system() {
            each(at, &view);
        }
        match view.prior.system {
            Some(before) if before < at => at = before,
            _ => break,
        }
    }
    Ok(())
}

/// What belongs to the incident, of the entries below `size`. `None` if there is no such incident.
pub fn collect(
    reader: &Reader<'_>,
    incident: u64,
    size: u64,
) -> Result<Option<Parts>, store::Error> {
    let opens = |view: &View<'_>| {
        view.kind == Kind::Incident && view.text(&["event", "op"]) == Some("open")
    };
    let entry = if incident < size { reader.entry(incident)? } else { None };
    if !entry.as_deref().and_then(View::parse).is_some_and(|view| opens(&view)) {
        return Ok(None);
    }
    let (mut parts, mut named, mut words) = (Parts::new(), BTreeSet::new(), BTreeSet::new());
    systems(reader, size, incident, |index, view| {
        let body = view.event_as::<IncidentBody>().filter(|_| view.kind == Kind::Incident);
        if let Some(body) = body.filter(|body| body.place(index).0 == incident) {
            parts.insert(index, Part::Message);
            named.extend(body.entries().iter().copied());
            words.insert(body.reason().index);
        }
    })?;
    let (mut shows, mut ending) = (BTreeSet::new(), BTreeSet::new());
    for index in &named {
        let entry = reader.entry(*index)?.ok_or_else(|| corrupt("an entry"))?;
        let view = View::parse(&entry).ok_or_else(|| corrupt("an entry"))?;
        if let (Kind::Alert, Some(AlertBody::Raise(raise))) = (view.kind, view.event_as()) {
            shows.extend(raise.entries);
            ending.insert(*index);
        } else if view.kind == Kind::Freeze {
            ending.insert(*index);
        }
    }
    let mut ends = BTreeSet::new();
    if let Some(first) = ending.first() {
        systems(reader, size, *first, |index, view| {
            let of = match view.kind {
                Kind::Alert => match view.event_as() {
                    Some(AlertBody::Close(close)) => Some(close.alert),
                    _ => None,
                },
                Kind::Freeze => match view.event_as() {
                    Some(FreezeBody::Lift(lift)) => Some(lift.freeze),
                    _ => None,
                },
                _ => None,
            };
            if of.is_some_and(|of| ending.contains(&of)) {
                ends.insert(index);
            }
        })?;
    }
    for (indexes, part) in
        [(words, Part::Words), (named, Part::Named), (ends, Part::End), (shows, Part::Shows)]
    {
        for index in indexes {
            parts.entry(index).or_insert(part);
        }
    }
    Ok(Some(parts))
}

/// A checkpoint under which every part is proven.
pub struct At {
    /// Its tree size.
    pub size: u64,
    root: Hash,
    note: String,
}

impl At {
    /// The earliest checkpoint of a tree of `size` or more that is kept for ever. `None` while its second is not over.
    pub fn earliest(
        ledger: &Ledger,
        tenant: &Tenant,
        size: u64,
    ) -> Result<Option<Self>, store::Error> {
        let now = ledger.now().seconds();
        let kept = ledger.earliest_checkpoint(tenant, size)?;
        let kept = kept.filter(|kept| kept.second < now);
        Ok(kept.and_then(|kept| {
            let root = Hash::parse(kept.note.lines().nth(2)?)?;
            Some(Self { size: kept.size, root, note: kept.note })
        }))
    }

    /// The receipt of an entry. One that would not verify is never given.
    pub fn receipt(&self, reader: &Reader<'_>, index: u64) -> Result<Receipt, store::Error> {
        let entry = reader.entry(index)?.ok_or_else(|| corrupt("an entry"))?;
        let path = merkle::inclusion(reader, index, self.size)?;
        let leaf = merkle::leaf_hash(&entry);
        if !merkle::verify_inclusion(leaf, index, self.size, &path, &self.root) {
            return Err(corrupt("an entry is not the one in the tree"));
        }
        Ok(Receipt { entry, index, path, checkpoint: self.note.clone() })
    }
}
