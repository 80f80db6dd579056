//! Erased payload. The commit with the `erasure` entry hides it from all reading. Its bytes leave the files a
//! moment later ([`crate::chores`]), because rewriting a payload in place would make the store rewrite
//! everything after it.

use crate::{
    entry::{Kind, Payload, View},
    store::{self, Changes, Family, LogNumber, Read},
};
use serde::{Deserialize, Serialize};

/// `"erased" ‖ log ‖ index`, in `meta`: a JSON list of the names that were erased, or `null` for all.
fn key(number: LogNumber, index: u64) -> Vec<u8> {
    [number.meta("erased"), index.to_be_bytes().to_vec()].concat()
}

/// The erased names. `None` means all of them.
pub type Names = Option<Vec<String>>;

/// `"expired" ‖ log`, in `meta`: [`Expired`] as JSON.
fn expired_key(number: LogNumber) -> Vec<u8> {
    number.meta("expired")
}

/// `"expiring" ‖ log`, in `meta`: [`Expiring`] as JSON, until their bytes are gone.
pub fn expiring_key(number: LogNumber) -> Vec<u8> {
    number.meta("expiring")
}

/// Entries whose payload is gone as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expired {
    /// Entries before this leaf index have none that can be erased.
    pub below: u64,
    /// True if files of policies, and salts of entries without payload, are gone too: the tenant is deleted.
    pub all: bool,
}

impl Expired {
    /// True if the payload of that entry is gone.
    pub fn has(self, index: u64, kind: Kind) -> bool {
        self.all || index < self.below && kind.is_erasable()
    }
}

/// Entries whose payload expired, and whose bytes may still be in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiring {
    /// The first leaf index.
    pub from: u64,
    /// The leaf index after the last one.
    pub below: u64,
}

/// Entries of a log whose payload is gone as a whole.
pub fn expired(read: &dyn Read, number: LogNumber) -> Result<Expired, store::Error> {
    let row = read.get(Family::Meta, &expired_key(number))?;
    row.map_or(Ok(Expired::default()), |bytes| store::read_json(&bytes, "meta"))
}

/// Those entries whose bytes may still be in files.
pub fn expiring(read: &dyn Read, number: LogNumber) -> Result<Option<Expiring>, store::Error> {
    let row = read.get(Family::Meta, &expiring_key(number))?;
    row.map(|bytes| store::read_json(&bytes, "meta")).transpose()
}

/// True if no byte of what a deletion took away is left in files; the keys went after it.
pub fn is_emptied(read: &dyn Read, number: LogNumber) -> Result<bool, store::Error> {
    Ok(expiring(read, number)?.is_none_or(|Expiring { from, below }| from == below))
}

/// Hides the payload of the entries `from` to `below` - 1. Those before them are hidden already.
pub fn hide_below(
    changes: &mut Changes<'_>,
    number: LogNumber,
    (from, below): (u64, u64),
) -> Result<(), store::Error> {
    let before = expiring(changes, number)?;
    let from = before.map_or(from, |before| before.from.min(from));
    let (expired, expiring) = (Expired { below, all: false }, Expiring { from, below });
    changes.put(Family::Meta, expired_key(number), store::to_json(&expired));
    changes.put(Family::Meta, expiring_key(number), store::to_json(&expiring));
    Ok(())
}

/// Hides the payload of the entries before `size`, which are removed. Those before them may be hidden already.
pub fn hide_pruned(
    changes: &mut Changes<'_>,
    number: LogNumber,
    size: u64,
) -> Result<(), store::Error> {
    let before = expired(changes, number)?;
    let expired = Expired { below: before.below.max(size), ..before };
    changes.put(Family::Meta, expired_key(number), store::to_json(&expired));
    Ok(())
}

/// Hides the payload of all entries: the tenant is deleted. `size`: their number.
pub fn hide_all(changes: &mut Changes<'_>, number: LogNumber, size: u64) {
    let (expired, expiring) =
        (Expired { below: size, all: true }, Expiring { from: 0, below: size });
    changes.put(Family::Meta, expired_key(number), store::to_json(&expired));
    changes.put(Family::Meta, expiring_key(number), store::to_json(&expiring));
}

fn names(read: &dyn Read, number: LogNumber, index: u64) -> Result<Option<Names>, store::Error> {
    let expired = expired(read, number)?;
    if expired.all {
        return Ok(Some(None));
    }
    if index < expired.below {
        let entry = read.get(Family::Entries, &number.numbered(index))?;
        if entry.as_deref().and_then(View::parse).is_some_and(|view| view.kind.is_erasable()) {
            return Ok(Some(None));
        }
    }
    let bytes = read.get(Family::Meta, &key(number, index))?;
    bytes.map(|bytes| store::read_json(&bytes, "meta")).transpose()
}

/// What is erased of a log, by leaf index.
#[cfg(feature = "rocksdb")]
pub fn all(
    store: &store::rocks::Rocks,
    number: LogNumber,
) -> Result<std::collections::BTreeMap<u64, Names>, store::Error> {
    let (prefix, mut all, mut failed) = (number.meta("erased"), Vec::new(), None);
    store.scan(Family::Meta, &prefix, |key, value| {
        let Some(index) = key.strip_prefix(&prefix[..]) else { return false };
        let index = store::read_u64(index, "meta");
        match index.and_then(|index| Ok((index, store::read_json(value, "meta")?))) {
            Ok(one) => all.push(one),
            Err(error) => failed = Some(error),
        }
        failed.is_none()
    })?;
    failed.map_or(Ok(all.into_iter().collect()), Err)
}

/// Hides `fields` (all if absent) of an entry's payload, in addition to what is hidden.
pub fn hide(
    changes: &mut Changes<'_>,
    number: LogNumber,
    index: u64,
    fields: Option<&[String]>,
) -> Result<(), store::Error> {
    let before = names(changes, number, index)?;
    let after: Names = match (before, fields) {
        (Some(None), _) | (_, None) => None,
        (before, Some(fields)) => {
            let mut all = before.flatten().unwrap_or_default();
            all.extend(fields.iter().cloned());
            all.sort();
            all.dedup();
            Some(all)
        }
    };
    changes.put(Family::Meta, key(number, index), store::to_json(&after));
    Ok(())
}

/// The remaining payload of an entry. `None` if none is stored for it.
pub fn left(
    read: &dyn Read,
    number: LogNumber,
    index: u64,
) -> Result<Option<Payload>, store::Error> {
    let Some(bytes) = read.get(Family::Payload, &number.numbered(index))? else { return Ok(None) };
    let names = names(read, number, index)?;
    let corrupt = store::Error::Corrupt { family: "payload", what: "a payload" };
    left_of(&bytes, names.as_ref()).map(Some).ok_or(corrupt)
}

/// What remains of a stored payload, of which this was erased. `None` if it can't be read.
pub fn left_of(bytes: &[u8], erased: Option<&Names>) -> Option<Payload> {
    let mut payload = Payload::decode(bytes)?;
    if let Some(erased) = erased {
        payload.commit_salt = None;
        payload.disclosures.retain(|text| {
            let name = Payload::name(text);
            let listed = |names: &Vec<String>| name.is_some_and(|name| names.contains(&name));
            erased.as_ref().is_some_and(|names| !listed(names))
        });
    }
    Some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disclosure::{Scope, Seed, text},
        store::Memory,
    };

    const LOG: LogNumber = LogNumber(1);

    fn store() -> Memory {
        let seed = Seed::derive(&[1; 32], 1, 1);
        let scope = Scope { producer: "gw-1", source: "/s", id: "1", ours: false };
        let salt = |name| seed.salt(&scope, name);
        let disclosures = ["a", "b"].map(|name| text(&salt(name), name, b"1")).to_vec();
        let payload = Payload { commit_salt: Some(salt("")), disclosures };
        let mut memory = Memory::default();
        let key = (Family::Payload, LOG.numbered(7));
        memory.apply(std::iter::once((key, Some(payload.encode()))));
        memory
    }

    /// Erases one list of fields after the other; checks whether the salt remains, and how many fields.
    fn check(erasures: &[Option<&[&str]>], salt: bool, fields: usize) {
        let mut memory = store();
        for erasure in erasures {
            let mut changes = Changes::new(&memory);
            let names: Option<Vec<String>> =
                erasure.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            hide(&mut changes, LOG, 7, names.as_deref()).unwrap();
            let writes: Vec<_> = changes.into_writes().collect();
            memory.apply(writes.into_iter());
        }
        let left = left(&memory, LOG, 7).unwrap().unwrap();
        assert_eq!((left.commit_salt.is_some(), left.disclosures.len()), (salt, fields));
        assert!(super::left(&memory, LOG, 8).unwrap().is_none());
    }

    #[test]
    fn p11_what_is_erased_is_hidden_at_once() {
        check(&[], true, 2);
        check(&[None], false, 0);
        check(&[Some(&["a"])], false, 1);
        check(&[Some(&["a"]), Some(&["b", "a"])], false, 0);
        check(&[Some(&["other"])], false, 2);
        check(&[Some(&["a"]), None], false, 0);
        check(&[None, Some(&["a"])], false, 0);
    }
}
