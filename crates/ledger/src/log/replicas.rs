//! The replicas of a log: who they are, and which checkpoint a majority of them has cosigned (P21).
//!
//! It is one operator's quorum, not independent witnesses.

mod agreed;
mod certified;
mod statement;
#[cfg(test)]
mod tests;

pub use agreed::{Agreed, Disagreed, Missing, Posted, Promise};
pub use certified::{Certified, Uncertified, certified, proposed, size_of, vouched};
pub use statement::{Claim, EntryOf, Files, Place, Statement};

use super::{
    checkpoint::Checkpoint,
    cosignature::{self, CosignerKey},
    members::{self, Member, MemberSet},
};
use crate::ident::Ident;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// This replica, and the first set of replicas, as its configuration has them.
pub struct Members {
    own: Member,
    key: CosignerKey,
    first: MemberSet,
}

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members")
            .field("own", &self.own)
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

/// A replica's statement that a process of its starts, after the one whose statement has the sequence `after`. So an old
/// statement, told again, says nothing of the process that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Names the process.
    pub process: String,
    /// Sequence of the statement before it. 0 if there is none.
    pub after: u64,
    /// By the replica's key, in base64.
    signature: String,
}

impl Start {
    fn message(origin: &str, name: &Ident, process: &str, after: u64) -> Vec<u8> {
        format!("countersign-replica-start/v1\n{origin}\n{name}\n{process}\n{after}\n").into_bytes()
    }
}

impl Members {
    /// Checks that `first` can be the first replicas of a log, and that `key` is the one of `own`. This replica may have come
    /// later: then it is not among them.
    pub fn new(own: Ident, key: CosignerKey, first: Vec<Member>) -> Result<Self, String> {
        if let Some(wrong) = members::mistake(&first) {
            return Err(wrong);
        }
        let listed = first.iter().find(|member| member.name == own);
        if let Some(listed) = listed.filter(|listed| listed.key != *key.public()) {
            return Err(format!(
                "the key file holds {}, and the member {own} is listed with {}: a key is never copied",
                key.public().label(),
                listed.key.label()
            ));
        }
        let copied = first.iter().find(|one| one.name != own && one.key == *key.public());
        if let Some(copied) = copied {
            return Err(format!("{own} has the key of {}: a key is never copied", copied.name));
        }
        let own = Member { name: own, key: key.public().clone() };
        Ok(Self { own, key, first: MemberSet::first(first) })
    }

    /// Name of this replica.
    pub fn own(&self) -> &Ident {
        &self.own.name
    }

    /// This replica's name and public key.
    pub fn this(&self) -> &Member {
        &self.own
    }

    /// The first set of replicas, as it is configured.
    pub fn first(&self) -> &MemberSet {
        &self.first
    }

    /// The sets of a log, oldest first: those that its entries name, or the first one alone.
    pub fn sets<'a>(&'a self, named: &'a [MemberSet]) -> &'a [MemberSet] {
        if named.is_empty() { std::slice::from_ref(&self.first) } else { named }
    }

    /// This replica's cosignature of a checkpoint: a line.
    pub fn cosign(&self, time: u64, checkpoint: &Checkpoint) -> String {
        self.key.cosign(time, &checkpoint.text())
    }

    /// This replica's statement that a process of its starts.
    pub fn start(&self, origin: &str, process: &str, after: u64) -> Start {
        let message = Start::message(origin, self.own(), process, after);
        let signature = BASE64.encode(&self.key.sign(&message));
        Start { process: process.into(), after, signature }
    }

    /// True if a statement was made with this replica's key, for this log.
    pub fn is_own_start(&self, origin: &str, start: &Start) -> bool {
        let message = Start::message(origin, self.own(), &start.process, start.after);
        let signature = BASE64.decode(start.signature.as_bytes());
        signature.is_ok_and(|signature| self.key.public().has_signed(&message, &signature))
    }
}

/// True if `line` is `member`'s cosignature of this note.
pub fn has_cosigned(member: &Member, note: &str, line: &str) -> bool {
    let one_line = line.ends_with('\n') && line.matches('\n').count() == 1;
    let key = std::slice::from_ref(&member.key);
    one_line && cosignature::open(&format!("{note}{line}"), key).is_ok_and(|found| found.len() == 1)
}
