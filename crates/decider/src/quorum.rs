//! How many of which groups must say yes, and whether they have: distinct people, each filling one place.

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
