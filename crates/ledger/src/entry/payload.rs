//! The erasable part of an entry.

use crate::{
    canonical,
    disclosure::Salt,
    json::{self, Value},
};
use std::collections::BTreeMap;

/// The erasable part of an entry, stored apart from it: the salt of `commit`, and the disclosures that are not erased.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Payload {
    /// Absent after an erasure.
    pub commit_salt: Option<Salt>,
    /// Texts of the disclosures.
    pub disclosures: Vec<Vec<u8>>,
}

impl Payload {
    /// `1 ‖ u16 length ‖ commit salt ‖ (u32 length ‖ disclosure)*`, big-endian.
    pub fn encode(&self) -> Vec<u8> {
        let total: usize = self.disclosures.iter().map(|d| d.len() + 4).sum();
        let mut out = begin(self.commit_salt.as_ref(), total);
        for text in &self.disclosures {
            push(&mut out, |out| out.extend_from_slice(text));
        }
        out
    }

    /// Reads what [`Payload::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[1, high, low], rest) = bytes.split_first_chunk::<3>()? else { return None };
        let (salt, mut rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        let salt = std::str::from_utf8(salt).ok()?;
        let commit_salt = (!salt.is_empty()).then(|| Salt(salt.to_owned()));
        let mut disclosures = Vec::new();
        while !rest.is_empty() {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let (text, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            disclosures.push(text.to_vec());
            rest = tail;
        }
        Some(Self { commit_salt, disclosures })
    }

    /// The remaining fields: RFC 8785 values by name.
    pub fn values(&self) -> BTreeMap<String, Vec<u8>> {
        let named = |disclosure: &Vec<u8>| match json::parse_kept(disclosure).ok()?.as_array()? {
            [_, Value::String(name), value] => {
                Some((name.clone().into_owned(), canonical::to_vec(value)))
            }
            _ => None,
        };
        self.disclosures.iter().filter_map(named).collect()
    }

    /// One value of it in RFC 8785 form; the others are read past.
    pub fn value(&self, name: &str) -> Option<Vec<u8>> {
        self.disclosures.iter().find_map(|text| match json::parse_kept(text).ok()?.as_array()? {
            [_, Value::String(found), value] if found == name => Some(canonical::to_vec(value)),
            _ => None,
        })
    }

    /// The name inside a disclosure text.
    pub fn name(disclosure: &[u8]) -> Option<String> {
        match json::parse_kept(disclosure).ok()?.as_array()? {
            [_, Value::String(name), _] => Some(name.clone().into_owned()),
            _ => None,
        }
    }
}

/// The encoded payload without disclosures, with space for `more` bytes.
pub(super) fn begin(commit_salt: Option<&Salt>, more: usize) -> Vec<u8> {
    let salt = commit_salt.map_or("", |salt| salt.0.as_str());
    let mut out = Vec::with_capacity(3 + salt.len() + more);
    out.push(1);
    out.extend_from_slice(&u16::try_from(salt.len()).expect("43 characters").to_be_bytes());
    out.extend_from_slice(salt.as_bytes());
    out
}

/// Appends the disclosure that `write` appends, after its length. Returns where it begins.
pub(super) fn push(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - at - 4).expect("an event is at most 256 KiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    at + 4
}
