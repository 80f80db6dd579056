//! `system.members`: who the replicas of the log are from this entry on (`proto/formats/system.md`).

use super::{By, Reason};
use crate::log::members::{self, Member, MemberSet};
use serde::{Deserialize, Serialize};

/// Most changes of members in one log.
pub const CHANGES_MAX: u64 = 10_000;

/// The body of a message on `system.members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembersChange {
    /// Version of this form: 1.
    pub v: u32,
    /// Version of the set: one more than that of the set before.
    pub version: u64,
    /// The replicas from now on, in the order of their names: 3 to 7.
    pub members: Vec<Member>,
    /// The set that was in force.
    pub before: Before,
    /// Who changed it.
    pub by: By,
    /// Evidence that says why.
    #[serde(default)]
    pub reason: Option<Reason>,
}

/// The set that a change replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// Its version; 0 for the set of the configuration, which no entry names.
    pub version: u64,
    /// Its members, in the order of their names.
    pub members: Vec<Member>,
}

impl MembersChange {
    /// True if it can be posted in the log of this origin after `last`, the set that an entry named last.
    pub fn follows(&self, last: Option<&MemberSet>, origin: &str) -> bool {
        self.before.version == last.map_or(0, |last| last.version)
            && last.is_none_or(|last| last.members == self.before.members)
            && self.is_sound(origin)
    }

    /// True if it is a change in the log of this origin, whatever was before it. Every key of both sets is named as this log's
    /// replicas are: a change is never about a key of somebody else, whom a verifier may have chosen as a witness.
    pub fn is_sound(&self, origin: &str) -> bool {
        let in_order = |all: &[Member]| all.windows(2).all(|two| two[0].name < two[1].name);
        let (new, old) = (&self.members, &self.before.members);
        let is_named =
            |member: &Member| member.key.name() == members::key_name(origin, member.name.as_str());
        // A cosignature does not cover the name of its key: one key under two names would count for both.
        let is_renamed = |member: &Member| {
            let is_it = |other: &Member| other.key.public_bytes() == member.key.public_bytes();
            old.iter().any(|other| other != member && is_it(other))
        };
        self.v == 1
            && self.version.checked_sub(1) == Some(self.before.version)
            && self.version <= CHANGES_MAX
            && [new, old].iter().all(|all| in_order(all) && members::mistake(all).is_none())
            && new.iter().chain(old).all(is_named)
            && !new.iter().any(is_renamed)
            && new != old
    }

    /// True if one of the new members has this public key.
    pub fn has_key(&self, public: &[u8; 32]) -> bool {
        self.members.iter().any(|member| member.key.public_bytes() == public)
    }

    /// The set that it puts in force, named by the entry at `index`.
    pub fn set(&self, index: u64) -> MemberSet {
        MemberSet { version: self.version, index, members: self.members.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ident::Ident,
        log::cosignature::CosignerKey,
        system::{By, Command},
    };

    const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";

    fn member(name: &str) -> Member {
        let key = CosignerKey::new(&members::key_name(ORIGIN, name), &[name.as_bytes()[0]; 32]);
        Member { name: Ident::new(name).unwrap(), key: key.public().clone() }
    }

    fn all(names: &[&str]) -> Vec<Member> {
        names.iter().map(|name| member(name)).collect()
    }

    fn change() -> MembersChange {
        MembersChange {
            v: 1,
            version: 1,
            members: all(&["a", "b", "d"]),
            before: Before { version: 0, members: all(&["a", "b", "c"]) },
            by: By::Command { command: Command::Init },
            reason: None,
        }
    }

    fn check(change: &MembersChange, last: Option<&MemberSet>, fits: bool) {
        assert_eq!(change.follows(last, ORIGIN), fits, "{change:?} after {last:?}");
    }

    #[test]
    fn p21_of_two_concurrent_changes_one_wins() {
        let first = change();
        check(&first, None, true);
        let posted = first.set(9);
        // The other one was made from the same set.
        check(&MembersChange { members: all(&["a", "b", "e"]), ..change() }, Some(&posted), false);
        let next = MembersChange {
            version: 2,
            members: all(&["a", "d", "e"]),
            before: Before { version: 1, members: posted.members.clone() },
            ..change()
        };
        check(&next, Some(&posted), true);
        check(&next, None, false);
        let other = Before { version: 1, members: all(&["a", "b", "c"]) };
        check(&MembersChange { before: other, ..next }, Some(&posted), false);
    }

    #[test]
    fn p21_what_can_be_no_set_is_refused() {
        let of = |members: Vec<Member>| MembersChange { members, ..change() };
        check(&of(all(&["a", "b"])), None, false);
        check(&of(all(&["a", "b", "c", "d", "e", "f", "g", "h"])), None, false);
        check(&of(all(&["b", "a", "d"])), None, false);
        check(&of(all(&["a", "b", "c"])), None, false);
        let copied = Member { name: Ident::new("d").unwrap(), key: member("b").key };
        check(&of(vec![member("a"), member("b"), copied]), None, false);
        let elsewhere = CosignerKey::new("other.example/replicas/d", &[7; 32]).public().clone();
        let elsewhere = Member { name: Ident::new("d").unwrap(), key: elsewhere };
        check(&of(vec![member("a"), member("b"), elsewhere.clone()]), None, false);
        let foreign = Before { version: 0, members: vec![member("a"), member("b"), elsewhere] };
        check(&MembersChange { before: foreign, ..change() }, None, false);
        let renamed = CosignerKey::new(&members::key_name(ORIGIN, "d"), &[b'c'; 32]);
        let renamed = Member { name: Ident::new("d").unwrap(), key: renamed.public().clone() };
        check(&of(vec![member("a"), member("b"), renamed]), None, false);
        check(&MembersChange { v: 2, ..change() }, None, false);
        check(&MembersChange { version: 2, ..change() }, None, false);
    }
}
