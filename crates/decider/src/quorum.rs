//! Quorums: how many people of which groups must approve, and whether they have. Each person fills one place
//! only.
//!
//! In scope: limits, who fills the places (bipartite matching), who is still needed. Out of scope: who may
//! review at all. `approval` decides that before it asks here.

use ledger::ident::Ident;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Active people, each with their groups.
pub type People = BTreeMap<Ident, BTreeSet<String>>;

/// People who must approve. Depth at most 2: `all` and `any` hold leaves, or hold each other once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Quorum {
    /// A number of people of one group.
    AtLeast {
        /// Number of people, 1 to [`PLACES_MAX`].
        at_least: u32,
        /// A group of the people file.
        of: String,
    },
    /// Every part must be met, each by different people.
    All {
        /// 1 to [`PARTS_MAX`] parts.
        all: Vec<Quorum>,
    },
    /// One of the parts must be met.
    Any {
        /// 1 to [`PARTS_MAX`] parts.
        any: Vec<Quorum>,
    },
}

/// Most people that one part may ask for.
pub const PLACES_MAX: u32 = 16;
/// Most parts of an `all` or `any`.
pub const PARTS_MAX: usize = 8;
/// Deepest nesting: a leaf alone is 0, `all` or `any` of leaves 1.
pub const DEPTH_MAX: usize = 2;
/// Most ways to meet a quorum: the product over each `any` within an `all`. Every way is tried.
pub const WAYS_MAX: usize = 256;
/// Most people that one way may need. A token names all of them.
pub const NEEDED_MAX: usize = 64;
/// Longest name of a group, in bytes.
pub const GROUP_BYTES_MAX: usize = 64;

/// Why a quorum can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// `at_least` is 0 or too big.
    #[error("`at_least` must be 1 to {PLACES_MAX}, not {0}")]
    Places(u32),
    /// An `all` or `any` with no part or too many.
    #[error("`all` and `any` must have 1 to {PARTS_MAX} parts, not {0}")]
    Parts(usize),
    /// `all` in `any` in `all`, or the like.
    #[error("`all` and `any` may be nested once: write the inner one out")]
    Depth,
    /// The parts give too many ways: see [`WAYS_MAX`].
    #[error("there are more than {WAYS_MAX} ways to meet it: use fewer `any` within `all`")]
    Ways,
    /// A way to meet it needs too many people.
    #[error("it must not need more than {NEEDED_MAX} people, {0} here")]
    People(usize),
    /// A group's name is empty, too long, or has control characters.
    #[error("a group's name must have 1 to {GROUP_BYTES_MAX} bytes and no control characters")]
    Group,
}

/// One way to meet a quorum: the group needed for each place.
type Way<'a> = Vec<&'a str>;

impl Quorum {
    /// Checks the limits. The other methods expect a quorum that keeps them.
    pub fn check(&self) -> Result<(), QuorumError> {
        self.check_to(DEPTH_MAX)?;
        if self.way_count() > WAYS_MAX {
            return Err(QuorumError::Ways);
        }
        let people = self.people_max();
        if people > NEEDED_MAX { Err(QuorumError::People(people)) } else { Ok(()) }
    }

    fn check_to(&self, depth: usize) -> Result<(), QuorumError> {
        let parts = match self {
            Self::AtLeast { at_least, of } => {
                if !(1..=PLACES_MAX).contains(at_least) {
                    return Err(QuorumError::Places(*at_least));
                }
                let fits = (1..=GROUP_BYTES_MAX).contains(&of.len())
                    && !ledger::json::text_has_control(of);
                return if fits { Ok(()) } else { Err(QuorumError::Group) };
            }
            Self::All { all: parts } | Self::Any { any: parts } => parts,
        };
        if !(1..=PARTS_MAX).contains(&parts.len()) {
            return Err(QuorumError::Parts(parts.len()));
        }
        let depth = depth.checked_sub(1).ok_or(QuorumError::Depth)?;
        parts.iter().try_for_each(|part| part.check_to(depth))
    }

    fn way_count(&self) -> usize {
        match self {
            Self::AtLeast { .. } => 1,
            Self::All { all } => all.iter().map(Self::way_count).product(),
            Self::Any { any } => any.iter().map(Self::way_count).sum(),
        }
    }

    /// Number of people that the longest way needs.
    fn people_max(&self) -> usize {
        match self {
            Self::AtLeast { at_least, .. } => *at_least as usize,
            Self::All { all } => all.iter().map(Self::people_max).sum(),
            Self::Any { any } => any.iter().map(Self::people_max).max().unwrap_or_default(),
        }
    }

    /// Every group that the quorum names.
    pub fn groups(&self) -> BTreeSet<&str> {
        match self {
            Self::AtLeast { of, .. } => BTreeSet::from([of.as_str()]),
            Self::All { all: parts } | Self::Any { any: parts } => {
                parts.iter().flat_map(Self::groups).collect()
            }
        }
    }

    /// True if the quorum names any of these groups.
    pub fn asks(&self, groups: &BTreeSet<String>) -> bool {
        match self {
            Self::AtLeast { of, .. } => groups.contains(of),
            Self::All { all: parts } | Self::Any { any: parts } => {
                parts.iter().any(|part| part.asks(groups))
            }
        }
    }

    /// The people who fill the places, sorted by name, if these people with these groups are enough. The first
    /// way in the order of the rule counts.
    pub fn met(&self, approvers: &People) -> Option<Vec<Ident>> {
        self.ways().iter().find_map(|way| {
            let filled = fill(way, approvers);
            let mut by = filled.into_iter().collect::<Option<Vec<_>>>()?;
            by.sort();
            Some(by.into_iter().cloned().collect())
        })
    }

    /// True if these people fill one way exactly, one place each. The result of [`Quorum::met`] does. It does
    /// no harm if they have more groups now than when they were counted.
    pub fn is_filled_by(&self, people: &People) -> bool {
        let mut ways = self.ways().into_iter().filter(|way| way.len() == people.len());
        ways.any(|way| fill(&way, people).iter().all(Option::is_some))
    }

    /// People still needed beside these approvers: `(how many, of which group)`, sorted by group, for the way
    /// that needs the fewest. Empty once the quorum is met.
    pub fn needed(&self, approvers: &People) -> Vec<(u32, String)> {
        let missing = self.ways().into_iter().map(|way| {
            let filled = fill(&way, approvers);
            let open = way.iter().zip(filled).filter(|(_, person)| person.is_none());
            open.map(|(group, _)| *group).collect::<Vec<_>>()
        });
        let mut counts = BTreeMap::new();
        for group in missing.min_by_key(Vec::len).unwrap_or_default() {
            *counts.entry(group).or_insert(0) += 1;
        }
        counts.into_iter().map(|(group, count)| (count, group.to_owned())).collect()
    }

    /// The people whose absence alone would make the quorum unreachable, sorted by name. `None` if even all of
    /// them together cannot meet it. Any of them may own the agent of a call and then may not review it, so a
    /// rule should have none.
    pub fn indispensable(&self, people: &People) -> Option<Vec<Ident>> {
        let by = self.met(people)?; // without anybody else it is still met
        let lost = |person: &Ident| {
            let mut others = people.clone();
            others.remove(person);
            self.met(&others).is_none()
        };
        Some(by.into_iter().filter(lost).collect())
    }

    fn ways(&self) -> Vec<Way<'_>> {
        match self {
            Self::AtLeast { at_least, of } => vec![vec![of.as_str(); *at_least as usize]],
            Self::Any { any } => any.iter().flat_map(Self::ways).collect(),
            Self::All { all } => all.iter().fold(vec![vec![]], |heads: Vec<Way<'_>>, part| {
                let tails = part.ways();
                let joined = heads.iter().flat_map(|head| {
                    tails.iter().map(move |tail| [head.as_slice(), tail.as_slice()].concat())
                });
                joined.collect()
            }),
        }
    }
}

/// Fills as many places as possible, each person at most one (Kuhn's algorithm): a place takes a free person,
/// or a person whose place another can take. Places and people are tried in order, so the result is
/// deterministic.
fn fill<'a>(way: &Way<'_>, people: &'a People) -> Vec<Option<&'a Ident>> {
    let people: Vec<_> = people.iter().collect();
    let mut place_of = vec![None; people.len()];
    for place in 0..way.len() {
        seat(place, way, &people, &mut vec![false; people.len()], &mut place_of);
    }
    let mut filled = vec![None; way.len()];
    for (person, place) in place_of.iter().enumerate() {
        if let Some(place) = place {
            filled[*place] = Some(people[person].0);
        }
    }
    filled
}

fn seat(
    place: usize,
    way: &Way<'_>,
    people: &[(&Ident, &BTreeSet<String>)],
    tried: &mut [bool],
    place_of: &mut [Option<usize>],
) -> bool {
    for person in 0..people.len() {
        if tried[person] || !people[person].1.contains(way[place]) {
            continue;
        }
        tried[person] = true;
        let free = match place_of[person] {
            None => true,
            Some(other) => seat(other, way, people, tried, place_of),
        };
        if free {
            place_of[person] = Some(place);
            return true;
        }
    }
    false
}

#[cfg(test)]
pub(crate) mod tests;
