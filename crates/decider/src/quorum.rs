//! How many of which groups must say yes, and whether they have: distinct people, each filling one place.
//!
//! In scope: limits, who fills the places (bipartite matching), who is still needed. Out of scope: who may review at
//! all, which `approval` decides before it asks here.

use ledger::ident::Ident;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Groups of each active person.
pub type People = BTreeMap<Ident, BTreeSet<String>>;

/// Who must say yes. Depth at most 2: `all` and `any` hold leaves, or each other once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Quorum {
    /// So many people of one group.
    AtLeast {
        /// 1 to [`PLACES_MAX`].
        at_least: u32,
        /// A group of the people file.
        of: String,
    },
    /// Every part, each by other people.
    All {
        /// 1 to [`PARTS_MAX`] parts.
        all: Vec<Quorum>,
    },
    /// One of the parts.
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
/// Most ways to meet a quorum, multiplied over the `any` within an `all`: each is tried.
pub const WAYS_MAX: usize = 256;
/// Most people that any way asks for: a token names all of them.
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
    /// The parts multiply.
    #[error("there are more than {WAYS_MAX} ways to meet it: use fewer `any` within `all`")]
    Ways,
    /// A way to meet it needs too many people.
    #[error("it must not need more than {NEEDED_MAX} people, {0} here")]
    People(usize),
    /// A group's name is empty, too long, or has control characters.
    #[error("a group's name must have 1 to {GROUP_BYTES_MAX} bytes and no control characters")]
    Group,
}

/// One way to meet a quorum: the group asked for each place.
type Way<'a> = Vec<&'a str>;

impl Quorum {
    /// Whether it keeps the limits. The other methods expect one that does.
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

    /// How many people the longest way needs.
    fn people_max(&self) -> usize {
        match self {
            Self::AtLeast { at_least, .. } => *at_least as usize,
            Self::All { all } => all.iter().map(Self::people_max).sum(),
            Self::Any { any } => any.iter().map(Self::people_max).max().unwrap_or_default(),
        }
    }

    /// Every group that is asked.
    pub fn groups(&self) -> BTreeSet<&str> {
        match self {
            Self::AtLeast { of, .. } => BTreeSet::from([of.as_str()]),
            Self::All { all: parts } | Self::Any { any: parts } => {
                parts.iter().flat_map(Self::groups).collect()
            }
        }
    }

    /// Whether it asks any of these groups.
    pub fn asks(&self, groups: &BTreeSet<String>) -> bool {
        match self {
            Self::AtLeast { of, .. } => groups.contains(of),
            Self::All { all: parts } | Self::Any { any: parts } => {
                parts.iter().any(|part| part.asks(groups))
            }
        }
    }

    /// Who fills the places, in order of names, if these people with these groups are enough. The first way in the
    /// order of the rule counts.
    pub fn met(&self, approvers: &People) -> Option<Vec<Ident>> {
        self.ways().iter().find_map(|way| {
            let filled = fill(way, approvers);
            let mut by = filled.into_iter().collect::<Option<Vec<_>>>()?;
            by.sort();
            Some(by.into_iter().cloned().collect())
        })
    }

    /// Whether these people fill one way, each of them one place: what [`Quorum::met`] gives does. More groups than
    /// were counted then do no harm.
    pub fn is_filled_by(&self, people: &People) -> bool {
        let mut ways = self.ways().into_iter().filter(|way| way.len() == people.len());
        ways.any(|way| fill(&way, people).iter().all(Option::is_some))
    }

    /// Who is still needed beside these approvers, by the way that needs the fewest: `(how many, of which group)` in
    /// order of groups. Empty when it is met.
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

    /// Those without whom these people can't meet it, in order of names; `None`: they can't even together. Any of
    /// them may be the owner of a call and then may not review it, so a rule should have none.
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

/// Fills as many places as these people can, each one at most. Kuhn's algorithm: a place takes somebody free, or
/// somebody whose place another can take. Places and people are tried in order, so the result is always the same.
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
