//! Checks the payload of every entry, in their order.

use super::{
    Report,
    payload::{self, Holds},
    pruned::each_kept,
};
use crate::{
    entry::{Payload, View},
    erased::{self, Expired, Expiring, Names},
    post::{Log, Retention, pruning},
    store::{self, Family, LogNumber, Read as _, rocks::Rocks, rocks::Rows},
};
use std::collections::BTreeMap;

/// The payloads of a log, read once and in order.
pub(super) struct Payloads<'a> {
    store: &'a Rocks,
    number: LogNumber,
    rows: Rows<'a>,
    erased: BTreeMap<u64, Names>,
    expired: Expired,
    expiring: Option<Expiring>,
    /// Entries before this leaf index are being removed.
    removing: u64,
    next: u64,
    /// Rows of this log.
    count: u64,
    /// Entries whose payload is incomplete, with the number of missing fields.
    pub less: BTreeMap<u64, usize>,
    report: Report,
}

impl<'a> Payloads<'a> {
    /// Before that of the entry at `base`. Those before it are compared at once: pruned entries have none.
    pub fn new(store: &'a Rocks, log: &Log, base: u64) -> Result<Self, store::Error> {
        let number = log.number;
        let mut report = Report::default();
        let removing = pruning(store, number)?.map_or(0, |pruned| pruned.size);
        if base > 0 && removing == 0 {
            before(store, log, base, &mut report)?;
        }
        Ok(Self {
            store,
            number,
            rows: store.rows(Family::Payload, &number.numbered(base)),
            erased: erased::all(store, number)?,
            expired: erased::expired(store, number)?,
            expiring: erased::expiring(store, number)?,
            removing,
            next: base,
            count: base,
            less: BTreeMap::new(),
            report,
        })
    }

    /// Judges the payload of the next entry. `made`: the payload that its journal message gives, if that message was
    /// posted again and gives exactly this entry. Then only bytes are compared.
    pub fn judge(&mut self, index: u64, entry: &[u8], made: Option<&[u8]>) {
        self.next = index + 1;
        let key = self.number.numbered(index);
        while self.rows.item().is_some_and(|(at, _)| at < key.as_slice()) {
            self.count += 1;
            self.rows.step();
        }
        let kept = self.rows.item().filter(|(at, _)| *at == key.as_slice()).map(|(_, kept)| kept);
        if (self.expired.all || index < self.expired.below)
            && View::parse(entry).is_some_and(|view| self.expired.has(index, view.kind))
        {
            if let Some(what) = self.expired(index, kept) {
                self.report.find(format!("entry {index}: {what}"));
            }
            return;
        }
        let names = self.erased.get(&index);
        let told = match (kept, made) {
            (Some(kept), Some(made)) if kept == made && names.is_none() => Ok(Holds::Whole),
            (kept, _) => judge(kept, names, entry),
        };
        match told {
            Ok(Holds::Whole) => {}
            Ok(Holds::Less(missing)) => drop(self.less.insert(index, missing)),
            Err(what) => self.report.find(format!("entry {index}: {what}")),
        }
    }

    /// What is wrong with a payload that expired. While its bytes leave the files they may still be there.
    fn expired(&self, index: u64, kept: Option<&[u8]>) -> Option<&'static str> {
        let expiring = self.expiring.is_some_and(|expiring| expiring.from <= index);
        let leaving = expiring || index < self.removing;
        match kept.and_then(Payload::decode) {
            None => Some("its payload is unreadable"),
            Some(payload) if payload != Payload::default() && !leaving => {
                Some("it expired, and payload is still there")
            }
            Some(_) => None,
        }
    }

    /// Judges the payloads of all entries that are left.
    pub fn judge_rest(&mut self, size: u64) -> Result<(), store::Error> {
        let (store, number) = (self.store, self.number);
        store.scan(Family::Entries, &number.numbered(self.next), |key, entry| {
            let more = self.next < size && key == number.numbered(self.next);
            if more {
                self.judge(self.next, entry, None);
            }
            more
        })
    }

    /// Ends. Every row must be that of an entry.
    pub fn finish(
        mut self,
        size: u64,
        report: &mut Report,
    ) -> Result<BTreeMap<u64, usize>, store::Error> {
        let prefix = self.number.key(&[]);
        while self.rows.item().is_some_and(|(key, _)| key.starts_with(&prefix)) {
            self.count += 1;
            self.rows.step();
        }
        self.rows.status()?;
        report.add(self.report);
        if self.count != size {
            report.find(format!("the payloads: {} where the entries give {size}", self.count));
        }
        Ok(self.less)
    }
}

/// Of the entries before a base, exactly those that are here have a payload, and an empty one if it can be erased.
fn before(store: &Rocks, log: &Log, base: u64, report: &mut Report) -> Result<(), store::Error> {
    let (mut rows, prefix) = (0_u64, log.number.key(&[]));
    let end = log.number.numbered(base);
    store.scan(Family::Payload, &prefix, |key, _| {
        rows += u64::from(key < end.as_slice());
        key < end.as_slice()
    })?;
    let (mut entries, mut wrong, mut failed) = (0_u64, Vec::new(), None);
    each_kept(store, log, base, |index, entry| {
        entries += 1;
        let kept = match store.get(Family::Payload, &log.number.numbered(index)) {
            Ok(kept) => kept.as_deref().and_then(Payload::decode),
            Err(error) => return failed = Some(error),
        };
        let fits = View::parse(entry).zip(kept).is_some_and(|(view, kept)| {
            if view.kind.is_erasable() {
                kept == Payload::default()
            } else {
                matches!(payload::judge(&view, &kept), Ok(Holds::Whole))
            }
        });
        if !fits {
            wrong.push(format!("entry {index}: its payload is not what is left of a pruned part"));
        }
    })?;
    report.find_all(wrong);
    if rows != entries {
        report.find(format!("the payloads before {base}: {rows}, and {entries} entries stay"));
    }
    failed.map_or(Ok(()), Err)
}

fn judge(kept: Option<&[u8]>, names: Option<&Names>, entry: &[u8]) -> Result<Holds, &'static str> {
    let payload = kept.and_then(|kept| erased::left_of(kept, names));
    let payload = payload.ok_or("its payload is unreadable")?;
    // An entry that can't be read is reported where entries are checked.
    View::parse(entry).map_or(Ok(Holds::Whole), |view| payload::judge(&view, &payload))
}

/// Exactly what expired is hidden.
pub(super) fn expired(
    store: &Rocks,
    number: LogNumber,
    retention: &Retention,
    report: &mut Report,
) -> Result<(), store::Error> {
    let all = retention.deleted.is_some();
    let below = retention.deleted.map_or(retention.expired, |last| last + 1);
    let leaving = erased::expiring(store, number)?;
    if erased::expired(store, number)? != (Expired { below, all })
        || leaving.is_some_and(|leaving| leaving.below > below || leaving.from >= leaving.below)
    {
        report.find("the database hides other payload as expired than the retention entries name");
    }
    Ok(())
}
