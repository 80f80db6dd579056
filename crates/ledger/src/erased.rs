//! Erased payload. The commit with the `erasure` entry hides it from all reading. Its bytes leave the files a
//! moment later ([`crate::chores`]), because rewriting a payload in place would make the store rewrite
//! everything after it.

use crate::{
    entry::Payload,
    store::{self, Changes, Family, LogNumber, Read},
};

/// `"erased" ‖ log ‖ index`, in `meta`: a JSON list of the names that were erased, or `null` for all.
fn key(number: LogNumber, index: u64) -> Vec<u8> {
    [number.meta("erased"), index.to_be_bytes().to_vec()].concat()
}

/// The erased names. `None` means all of them.
pub type Names = Option<Vec<String>>;

fn names(read: &dyn Read, number: LogNumber, index: u64) -> Result<Option<Names>, store::Error> {
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
