//! Proves a copy of another replica's database before this machine serves it (P21).
//!
//! In scope: which checkpoint a majority has cosigned, whether the copy is that log, and whether its journal position is where its
//! entries end. Out of scope: how the copy came here, and what follows from its entries (`fsck`).
//!
//! The anchor is `[replica] members` of this machine's own configuration. Everything that the other replica says is compared with
//! what a majority of those, and of the sets to which they agreed, has cosigned.

mod journal;
mod prepare;

pub use journal::ends_there;
pub use prepare::{forget, lacks};

use super::steps::{Step, needed, step_from};
use crate::{
    log::{
        members::MemberSet,
        merkle::{self, Edge, Hash},
        replicas::{self, Certified, Uncertified},
    },
    post::{Keys, Log},
    reader, store,
    store::rocks::Rocks,
};

/// Most steps of members that are read from the register.
pub const STEPS_MAX: u64 = 10_000;
/// Most entries that a member may show beyond the copy: so many hashes are compared.
pub const TAIL_MAX: u64 = 4_000_000;

/// What a member shows of a log.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Its newest checkpoint, with cosignatures.
    pub note: String,
    /// Leaf hashes from the end of the copy to the size of that checkpoint, from its public tiles.
    pub tail: Vec<Hash>,
}

/// Why a copy is refused. Each text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The database can't be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The checkpoint is another log's.
    #[error(
        "it shows the log {shown}, and this configuration names {ours}. Correct public_url, or name a replica of this log"
    )]
    Origin {
        /// As the checkpoint names it.
        shown: String,
        /// As this configuration names it.
        ours: String,
    },
    /// Nobody else vouches for what it shows.
    #[error(
        "its checkpoint of size {size} counts for nothing: {why}. If `members` in [replica] is not that of the other replicas, \
         correct it. Otherwise that replica does not tell the truth: join from another one, and find out why"
    )]
    Uncertified {
        /// Size of the checkpoint.
        size: u64,
        /// What is wrong with it.
        why: Uncertified,
    },
    /// The members of the copy are not those to which the configured ones agreed.
    #[error(
        "the entries of the copy name other replicas than those to which a majority has agreed, step by step, from `members` in \
         [replica] on. Compare `members` with the configuration of another replica; if it is the same there, join from that one"
    )]
    Members,
    /// The copy is not what was cosigned.
    #[error(
        "its entries give another tree than the one of size {size} that {by} cosigned: the copy was changed, or its tiles. Nothing \
         of it is used. Join from another replica; stop this one, keep its disk, and run `countersign fsck` there"
    )]
    Root {
        /// Size of the checkpoint.
        size: u64,
        /// Names of those who have.
        by: String,
    },
    /// It ends before what was cosigned when the join began.
    #[error(
        "the copy ends at size {size}, and {known} was cosigned before it was made: it is an older one, or entries were left out. \
         Repeat the command; if it is refused again, join from another replica and find out why"
    )]
    Older {
        /// Size of the copy.
        size: u64,
        /// Size that was known.
        known: u64,
    },
    /// What it shows ends before the copy does.
    #[error(
        "it shows size {shown}, and the copy has {size}: a majority has not cosigned the rest. Find out whether the replicas are \
         well (`countersign replica status`), then repeat the command"
    )]
    Ahead {
        /// Size that it shows.
        shown: u64,
        /// Size of the copy.
        size: u64,
    },
}

/// The sets of replicas of a log, each with the size of the checkpoint to which majorities of it and of the set before agreed.
#[derive(Debug)]
pub struct Followed {
    sets: Vec<MemberSet>,
    sizes: Vec<u64>,
    /// The receipts of the steps, in the order of their versions.
    pub receipts: Vec<String>,
}

impl Followed {
    /// Follows steps from the configured set on. `steps`: candidates in any order; what does not verify counts for nothing,
    /// because anybody with rights on the register can write there.
    pub fn from(
        first: &MemberSet,
        (origin, keys): (&str, &Keys),
        steps: &[impl AsRef<str>],
    ) -> Self {
        let mut followed = Self { sets: vec![first.clone()], sizes: vec![0], receipts: Vec::new() };
        while let Some(Step { set, size, receipt, .. }) =
            steps.iter().find_map(|text| followed.next((origin, keys), text.as_ref()))
        {
            followed.sets.push(set);
            followed.sizes.push(size);
            followed.receipts.push(receipt);
        }
        followed
    }

    /// The step after the last one, if this is it.
    fn next(&self, (origin, keys): (&str, &Keys), text: &str) -> Option<Step> {
        step_from(self.sets.last()?, origin, text, |note, both| {
            replicas::certified(note, origin, |size| keys.signers(size), both).ok()
        })
    }

    /// Reads a checkpoint: the log's keys and the majorities that its size needs.
    fn certified(&self, origin: &str, keys: &Keys, note: &str) -> Result<Certified, Refused> {
        let size = replicas::size_of(note);
        let shown = note.lines().next().unwrap_or_default();
        if shown != origin {
            let (shown, ours) = (shown.to_owned(), origin.to_owned());
            return Err(Refused::Origin { shown, ours });
        }
        let agreed = |set: &MemberSet| {
            let at = self.sets.iter().position(|one| one.version == set.version);
            at.is_some_and(|at| self.sizes[at] <= size)
        };
        let needed = needed(&self.sets, size, agreed);
        replicas::certified(note, origin, |size| keys.signers(size), &needed)
            .map_err(|why| Refused::Uncertified { size, why })
    }
}

/// Compares a copy with what a member shows: a majority has cosigned a tree of which the copy is the beginning.
///
/// `log`: as `load_log` reads it, and its entries were compared with its root by `fsck`.
pub fn is_cosigned(log: &Log, followed: &Followed, shown: &Shown) -> Result<Certified, Refused> {
    named_sets(log, followed)?;
    let certified = followed.certified(&log.origin, &log.keys, &shown.note)?;
    let (size, at) = (log.position.size, certified.checkpoint.size);
    if at < size {
        return Err(Refused::Ahead { shown: at, size });
    }
    if leads_to(log.edge.clone(), &shown.tail) != (at, certified.checkpoint.root) {
        let by: Vec<&str> = certified.by.iter().map(crate::ident::Ident::as_str).collect();
        return Err(Refused::Root { size: at, by: by.join(" and ") });
    }
    Ok(certified)
}

/// The same for the value that the register had when the join began: it must be of the copy's own history, and not newer than it.
pub fn is_not_older(
    store: &Rocks,
    log: &Log,
    followed: &Followed,
    value: &str,
) -> Result<Certified, Refused> {
    let certified = followed.certified(&log.origin, &log.keys, value)?;
    let (size, known) = (log.position.size, certified.checkpoint.size);
    if size < known {
        return Err(Refused::Older { size, known });
    }
    let published = crate::writer::published(log, String::new());
    let reader = reader::Reader { store, number: log.number, at: &published };
    if merkle::root_at(&reader, known)? != certified.checkpoint.root {
        let by: Vec<&str> = certified.by.iter().map(crate::ident::Ident::as_str).collect();
        return Err(Refused::Root { size: known, by: by.join(" and ") });
    }
    Ok(certified)
}

/// The sets that the entries name must be the ones that were followed.
fn named_sets(log: &Log, followed: &Followed) -> Result<(), Refused> {
    let within = |set: &&MemberSet| set.version == 0 || set.index < log.position.size;
    let known: Vec<&MemberSet> = followed.sets.iter().filter(within).collect();
    let named: Vec<&MemberSet> = log.keys.members.iter().collect();
    let same = if named.is_empty() { known.len() == 1 } else { named == known };
    if same { Ok(()) } else { Err(Refused::Members) }
}

/// Size and root of the tree that these leaves make of another one.
fn leads_to(mut edge: Edge, tail: &[Hash]) -> (u64, Hash) {
    let mut full = Vec::new();
    for leaf in tail {
        edge.append(*leaf, &mut full);
        full.clear();
    }
    (edge.size(), edge.root())
}

#[cfg(test)]
mod tests;
