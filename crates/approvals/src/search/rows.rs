//! The form of the rows: their keys, which sort the latest first, and what is in them.

use crate::{commands::over_since, history::Approval};
use data_encoding::BASE64URL_NOPAD;
use ledger::{ident::Ident, search::Row, store, time::Nanos};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes of a term in a key.
pub(super) const TERM_BYTES: usize = 16;
/// Bytes of a place in a key.
const PLACE_BYTES: usize = 16;

/// What a row says of its approval. All of it is plain in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facets {
    /// Id of the approval.
    pub id: Ident,
    /// `data.agent.id`
    pub agent: String,
    /// `data.tool.name`
    pub tool: String,
    /// Owners of the agent, by the request.
    pub owners: Vec<Ident>,
    /// Who answered, sorted by name.
    pub by: Vec<Ident>,
    /// True if people can still answer.
    pub pending: bool,
    /// True if it is over.
    pub over: bool,
    /// Leaf index of its last entry.
    pub last: u64,
}

impl Facets {
    /// What is found of an approval. `None` before the request.
    pub fn of(approval: &Approval) -> Option<Self> {
        let requested = approval.state.requested.as_deref()?;
        Some(Self {
            id: approval.id.clone(),
            agent: requested.call.agent.clone(),
            tool: requested.call.tool.clone(),
            owners: requested.owners.clone(),
            by: approval.state.reviews.iter().map(|review| review.by.clone()).collect(),
            pending: approval.is_pending(),
            over: over_since(approval).is_some(),
            last: approval.last_index(),
        })
    }
}

/// By what a row is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term<'a> {
    /// A group that the rule asks.
    Group(&'a str),
    /// A person who answered.
    Person(&'a Ident),
}

impl Term<'_> {
    pub(super) fn key(self) -> [u8; TERM_BYTES] {
        let (kind, name) = match self {
            Self::Group(name) => ("group", name),
            Self::Person(id) => ("person", id.as_str()),
        };
        let hash =
            Sha256::new().chain_update(kind).chain_update(b"\0").chain_update(name).finalize();
        let mut key = [0; TERM_BYTES];
        key.copy_from_slice(&hash[..TERM_BYTES]);
        key
    }
}

/// The place of an approval among all: by the time and the leaf index of its decision. The latest comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place([u8; PLACE_BYTES]);

impl Place {
    /// Place of a decision.
    pub fn new(at: Nanos, index: u64) -> Self {
        Self((!((u128::from(at.0) << 64) | u128::from(index))).to_be_bytes())
    }

    /// Not after any place of this time.
    pub(super) fn first_at(time: Nanos) -> Self {
        Self::new(time, u64::MAX)
    }

    /// Not after any place of a time before this one, and after all others.
    pub(super) fn before(time: Nanos) -> Self {
        Self::first_at(Nanos(time.0.saturating_sub(1)))
    }

    /// Time of the decision.
    pub fn at(self) -> Nanos {
        let (time, _) = self.0.split_first_chunk().expect("it is longer");
        Nanos(!u64::from_be_bytes(*time))
    }

    pub(super) fn read(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A short name of it, for the address of the next page.
    pub fn cursor(self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// The place that a [cursor](Self::cursor) names.
    pub fn named(cursor: &str) -> Option<Self> {
        Self::read(&BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?)
    }
}

/// The rows of an approval.
pub(super) fn of(approval: &Approval) -> Vec<Row> {
    let (requested, facets) = (approval.state.requested.as_deref(), Facets::of(approval));
    let Some((requested, facets)) = requested.zip(facets) else { return Vec::new() };
    let groups = requested.rule.quorum.groups();
    let terms = groups.into_iter().map(Term::Group).chain(facets.by.iter().map(Term::Person));
    let place = Place::new(requested.requested_at, requested.opening.index);
    let value = store::to_json(&facets);
    terms.map(|term| ([&term.key()[..], place.as_bytes()].concat(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_latest_place_is_the_first(a in any::<(u64, u64)>(), b in any::<(u64, u64)>()) {
            let place = |(at, index)| Place::new(Nanos(at), index);
            prop_assert_eq!(place(a).cmp(&place(b)), b.cmp(&a));
            prop_assert_eq!(place(a).as_bytes().cmp(place(b).as_bytes()), b.cmp(&a));
            prop_assert_eq!(place(a).at(), Nanos(a.0));
            prop_assert_eq!(Place::named(&place(a).cursor()), Some(place(a)));
            prop_assert_eq!(Place::before(Nanos(a.0)) <= place(b), b.0 < a.0 || a.0 == 0 && b.0 == 0);
        }
    }

    #[test]
    fn terms_differ_by_kind_and_name() {
        let id = Ident::new("finance").unwrap();
        assert_ne!(Term::Group("finance").key(), Term::Person(&id).key());
        assert_ne!(Term::Group("finance").key(), Term::Group("legal").key());
        for wrong in ["", "x", "AAAA", "not base64!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(Place::named(wrong), None, "{wrong}");
        }
    }
}
