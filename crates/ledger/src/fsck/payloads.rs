//! Checks the payload of every entry, in their order.

use super::{
    Report,
    payload::{self, Holds},
};
use crate::{
    entry::{Payload, View},
    erased::{self, Expired, Expiring, Names},
    post::Retention,
    store::{self, Family, LogNumber, rocks::Rocks, rocks::Rows},
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
    next: u64,
    /// Rows of this log.
    count: u64,
    /// Entries whose payload is incomplete, with the number of missing fields.
    pub less: BTreeMap<u64, usize>,
    report: Report,
}

impl<'a> Payloads<'a> {
    /// Before the first.
    pub fn new(store: &'a Rocks, number: LogNumber) -> Result<Self, store::Error> {
        Ok(Self {
            store,
            number,
            rows: store.rows(Family::Payload, &number.key(&[])),
            erased: erased::all(store, number)?,
            expired: erased::expired(store, number)?,
            expiring: erased::expiring(store, number)?,
            next: 0,
            count: 0,
            less: BTreeMap::new(),
            report: Report::default(),
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
        let leaving = self.expiring.is_some_and(|expiring| expiring.from <= index);
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
        || leaving.is_some_and(|leaving| leaving.below != below || leaving.from >= leaving.below)
    {
        report.find("the database hides other payload as expired than the retention entries name");
    }
    Ok(())
}
