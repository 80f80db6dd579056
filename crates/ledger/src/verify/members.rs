//! Changes of the replicas, each proven under a checkpoint that the set before it and the new one have cosigned; and the sets that
//! the log itself names.

use super::{DocumentedMembers, Error, Trusted, Verified, keys::Named};
use crate::{
    entry::{Kind, View},
    log::{
        members::{self, MemberSet},
        receipt::Receipt,
        replicas,
    },
    system::members::MembersChange,
};

/// A change that its receipt proves. Whether those who must have cosigned it is for the reader's policy.
#[derive(Debug)]
pub struct ProvenChange {
    /// What changed.
    pub change: MembersChange,
    /// The receipt of its entry.
    pub verified: Verified,
}

/// What a receipt says about the replicas. `None` if it is of another entry.
pub fn change_of(receipt: &Receipt) -> Option<MembersChange> {
    View::parse(&receipt.entry).filter(|view| view.kind == Kind::Members)?.event_as()
}

/// Verifies the changes of a document, in the order of their versions: each follows the one before it, and none is left out.
///
/// Those at the beginning, from before the first trusted key signed, can't be verified by it. They are left out: whoever begins with
/// a later key begins with the replicas of its time.
pub fn changes(
    document: &[DocumentedMembers],
    trusted: &[Trusted],
) -> Result<Vec<ProvenChange>, Error> {
    let mut found: Vec<ProvenChange> = Vec::new();
    for (position, one) in document.iter().enumerate() {
        let wrong = |what| Error::Members { version: position as u64 + 1, what };
        if one.version != position as u64 + 1 {
            return Err(wrong("it is missing: without it nobody knows who may cosign later"));
        }
        if found.is_empty() && is_earlier(&one.receipt, trusted) {
            continue;
        }
        let verified = super::receipt(&one.receipt, trusted)?;
        let change = change_of(&verified.receipt);
        let change = change.ok_or_else(|| wrong("its receipt is not of a members entry"))?;
        let last = found.last().map(|last| last.change.set(last.verified.receipt.index));
        let is_later = last.as_ref().is_none_or(|last| last.index < verified.receipt.index);
        let origin = &verified.checkpoint.origin;
        let follows = match &last {
            None => change.is_sound(origin),
            last => change.follows(last.as_ref(), origin),
        };
        if change.version != one.version || verified.receipt.index != one.index {
            return Err(wrong("its entry says something else"));
        }
        if !(follows && is_later) {
            return Err(wrong(
                "its entry does not follow the change before it, or is about keys that are not those of this log's replicas",
            ));
        }
        if trusted.iter().any(|key| change.has_key(key.vkey.public_bytes())) {
            return Err(wrong("it makes a key of the log a replica's"));
        }
        found.push(ProvenChange { change, verified });
    }
    Ok(found)
}

/// True if the checkpoint of a receipt is smaller than all that the trusted keys sign.
fn is_earlier(receipt: &str, trusted: &[Trusted]) -> bool {
    let size = Receipt::parse(receipt).map(|receipt| replicas::size_of(&receipt.checkpoint));
    let first = trusted.iter().map(|key| key.first_size).min().unwrap_or_default();
    size.is_ok_and(|size| (1..first).contains(&size))
}

/// The sets of replicas that the log itself names, in its `members` entries: oldest first, the one before the first change too.
/// Empty if it names none.
#[derive(Clone, Debug, Default)]
pub struct NamedSets(Vec<MemberSet>);

impl NamedSets {
    /// Takes a `members` entry. It must be one that posting lets stand. `keys`: the log's keys so far.
    pub(super) fn take(
        &mut self,
        (index, view): (u64, &View<'_>),
        origin: &str,
        keys: &Named,
    ) -> Result<(), &'static str> {
        let change: Option<MembersChange> = view.event_as();
        let change = change.filter(|change| {
            let is_log = change.members.iter().any(|one| keys.has(one.key.public_bytes()));
            change.follows(self.0.last(), origin) && !is_log
        });
        let change = change.ok_or("not a change of the replicas that can be here")?;
        if self.0.is_empty() {
            self.0.push(MemberSet::first(change.before.members.clone()));
        }
        self.0.push(change.set(index));
        Ok(())
    }

    /// All of them.
    pub fn sets(&self) -> &[MemberSet] {
        &self.0
    }

    /// The one in force at a tree size. `None` if the log names none.
    pub fn in_force(&self, size: u64) -> Option<&MemberSet> {
        members::in_force(&self.0, size)
    }
}
