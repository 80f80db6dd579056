//! Changes of the replicas, each proven under a checkpoint that the set before it and the new one have cosigned.

use super::{DocumentedMembers, Error, Trusted, Verified};
use crate::{
    entry::{Kind, View},
    log::receipt::Receipt,
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
        let verified = super::receipt(&one.receipt, trusted)?;
        let change = change_of(&verified.receipt);
        let change = change.ok_or_else(|| wrong("its receipt is not of a members entry"))?;
        let last = found.last().map(|last| last.change.set(last.verified.receipt.index));
        let is_later = last.as_ref().is_none_or(|last| last.index < verified.receipt.index);
        let follows = change.follows(last.as_ref(), &verified.checkpoint.origin);
        if change.version != one.version || verified.receipt.index != one.index {
            return Err(wrong("its entry says something else"));
        }
        if !(follows && is_later) {
            return Err(wrong("its entry does not follow the change before it"));
        }
        found.push(ProvenChange { change, verified });
    }
    Ok(found)
}
