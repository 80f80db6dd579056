//! Follows a change of the replicas: what the verifier's policy says of the set before it holds for the new set, once both have
//! cosigned a checkpoint that holds the change.

use super::{Anchor, Judged, Named, Policy, What, shown};
use crate::log::{
    cosignature::Cosigner,
    members::{self, Member, MemberSet},
    note,
};

/// A policy after a change of the replicas, and who cosigned the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The policy for larger trees.
    pub policy: Policy,
    /// What the group of the replicas before says of the checkpoint with the change.
    pub before: Judged,
    /// What the group of the new replicas says of it.
    pub after: Judged,
}

/// Why a change can't be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFollowed {
    /// The policy says nothing of the replicas before the change.
    #[error("the policy has no group of exactly the replicas before the change")]
    NoGroup,
    /// The policy asks for a number of replicas that has no counterpart.
    #[error(
        "the policy asks for {least} of {count} replicas, which is neither a majority nor all: nobody can say what that means for \
         other replicas. Write a policy for them"
    )]
    Rule {
        /// How many.
        least: usize,
        /// Of how many.
        count: usize,
    },
    /// A key would count twice.
    #[error(
        "the new replica {member} has the public key of {of}, which the policy counts too: one key would count twice. Ask the operator \
         for a replica with a key of its own"
    )]
    Twice {
        /// The replica.
        member: String,
        /// Who else has its key.
        of: String,
    },
    /// Too few have cosigned the checkpoint with the change.
    #[error("too few have agreed to the change: {0}")]
    Unmet(Judged),
    /// The policy asks for all, and not all have cosigned the checkpoint with the change.
    #[error(
        "the policy asks for all replicas, and not all have agreed to the change: {0}. A change needs a majority of them only, so compare \
         the new replicas with what the operator told you by another way, and write a policy for them: `countersign log policy --keys` \
         prints one, with a majority"
    )]
    NotAll(Judged),
    /// The note is wrong.
    #[error(transparent)]
    Note(#[from] note::Error),
}

impl Policy {
    /// Follows a change from the replicas `before` to `after`, by the checkpoint that both must have cosigned. The change and the
    /// log's signature must have been verified.
    pub fn follow(
        &self,
        (before, after): (&MemberSet, &MemberSet),
        (origin, note): (&str, &str),
    ) -> Result<Followed, NotFollowed> {
        let at = self.group_of(&before.members, origin).ok_or(NotFollowed::NoGroup)?;
        let old = self.alone(at).judge(note)?;
        if !old.met {
            return Err(self.unmet(at, old));
        }
        let (policy, group) = self.replaced(at, before, after)?;
        let new = policy.alone(group).judge(note)?;
        if !new.met {
            return Err(policy.unmet(group, new));
        }
        Ok(Followed { policy, before: old, after: new })
    }

    /// True if the policy has a group of exactly these replicas.
    pub fn knows(&self, members: &[Member], origin: &str) -> bool {
        self.group_of(members, origin).is_some()
    }

    fn unmet(&self, at: usize, judged: Judged) -> NotFollowed {
        match &self.named[at].what {
            What::Group { least, members } if *least == members.len() => {
                NotFollowed::NotAll(judged)
            }
            _ => NotFollowed::Unmet(judged),
        }
    }

    /// A policy of one group and its members alone, who are witnesses: it knows no other keys, so it ignores their lines.
    fn alone(&self, at: usize) -> Self {
        let What::Group { least, members } = &self.named[at].what else {
            return Self { logs: Vec::new(), named: vec![self.named[at].clone()], quorum: Some(0) };
        };
        let mut named: Vec<Named> = members.iter().map(|one| self.named[*one].clone()).collect();
        let what = What::Group { least: *least, members: (0..named.len()).collect() };
        named.push(Named { name: self.named[at].name.clone(), what });
        Self { logs: Vec::new(), quorum: Some(named.len() - 1), named }
    }

    fn key_of(&self, at: usize) -> Option<&Cosigner> {
        match &self.named[at].what {
            What::Witness(key) => Some(key),
            What::Group { .. } => None,
        }
    }

    /// The keys of a group of which every member is a replica of the log's own operator. `None` if it is another group: no step
    /// touches that.
    fn replicas_in(&self, at: usize, origin: &str) -> Option<Vec<&Cosigner>> {
        let What::Group { members, .. } = &self.named[at].what else { return None };
        let own = |key: &&Cosigner| members::is_replica(key.name(), origin);
        members.iter().map(|one| self.key_of(*one).filter(own)).collect()
    }

    /// The group of exactly these members, all of them replicas of the log's own operator.
    fn group_of(&self, members: &[Member], origin: &str) -> Option<usize> {
        let is_it = |keys: Vec<&Cosigner>| {
            keys.len() == members.len()
                && keys.iter().all(|key| members.iter().any(|one| one.key == **key))
        };
        (0..self.named.len()).find(|at| self.replicas_in(*at, origin).is_some_and(is_it))
    }

    /// Which set of replicas the name of a group of the log's own says, and whether it is the group of exactly these members.
    pub(crate) fn anchor(&self, origin: &str) -> Option<(Anchor, usize)> {
        let named = |at: usize| {
            let anchor = Anchor::read(&self.named[at].name).ok().flatten();
            anchor.filter(|_| self.replicas_in(at, origin).is_some()).map(|anchor| (anchor, at))
        };
        (0..self.named.len()).find_map(named)
    }

    /// True if the group at `at` is exactly of these members.
    pub(crate) fn is_of(&self, at: usize, members: &[Member], origin: &str) -> bool {
        self.group_of(members, origin) == Some(at)
    }

    /// Refuses a new member whose public key the policy has elsewhere: it would count twice.
    fn is_nobody_else(
        &self,
        (at, leaving): (usize, &[usize]),
        one: &Member,
    ) -> Result<(), NotFollowed> {
        let public = one.key.public_bytes();
        let twice =
            |of: &[u8]| Err(NotFollowed::Twice { member: one.name.to_string(), of: shown(of) });
        if let Some(log) = self.logs.iter().find(|log| log.vkey.public_bytes() == public) {
            return twice(log.vkey.name().as_bytes());
        }
        let has_it =
            |place: &usize| self.key_of(*place).is_some_and(|key| key.public_bytes() == public);
        let Some(place) = (0..self.named.len()).find(has_it) else { return Ok(()) };
        let stays = !leaving.contains(&place) && self.key_of(place) != Some(&one.key);
        if stays || self.is_used(place, at) { twice(&self.named[place].name) } else { Ok(()) }
    }

    /// True if a name counts for anything but the group at `at`.
    fn is_used(&self, place: usize, at: usize) -> bool {
        let in_group = |(other, named): (usize, &Named)| {
            other != at
                && matches!(&named.what, What::Group { members, .. } if members.contains(&place))
        };
        self.quorum == Some(place) || self.named.iter().enumerate().any(in_group)
    }

    /// The policy with other replicas in the group at `at`, and the place of that group in it. Who is in no other group, and no
    /// longer in this one, counts for nothing in it.
    fn replaced(
        &self,
        at: usize,
        before: &MemberSet,
        after: &MemberSet,
    ) -> Result<(Self, usize), NotFollowed> {
        let What::Group { least, members } = &self.named[at].what else {
            return Err(NotFollowed::NoGroup);
        };
        let least = match (*least, before.members.len()) {
            (least, _) if least == before.majority() => after.majority(),
            (least, count) if least == count => after.members.len(),
            (least, count) => return Err(NotFollowed::Rule { least, count }),
        };
        let stays = |place: usize| {
            let key = self.key_of(place);
            key.is_some_and(|key| after.members.iter().any(|one| one.key == *key))
        };
        let leaves = |place: &usize| !stays(*place) && !self.is_used(*place, at);
        let leaving: Vec<usize> = members.iter().copied().filter(leaves).collect();
        after.members.iter().try_for_each(|one| self.is_nobody_else((at, &leaving), one))?;
        let (mut named, mut places) = (Vec::<Named>::new(), vec![0; self.named.len()]);
        let mut group = 0;
        for (place, one) in self.named.iter().enumerate() {
            if leaving.contains(&place) {
                continue;
            }
            let (mut what, mut name) = (one.what.clone(), one.name.clone());
            if place == at {
                let place_of = |one| position_of(&mut named, one);
                let of_members = after.members.iter().map(place_of).collect();
                what = What::Group { least, members: of_members };
                group = named.len();
                if Anchor::read(&name).ok().flatten().is_some() {
                    name = Anchor::of(after).to_string().into_bytes();
                }
            } else if let What::Group { members, .. } = &mut what {
                for member in members.iter_mut() {
                    *member = places[*member];
                }
            }
            places[place] = named.len();
            named.push(Named { name, what });
        }
        let quorum = self.quorum.map(|quorum| places[quorum]);
        Ok((Self { logs: self.logs.clone(), named, quorum }, group))
    }
}

/// The place of a replica; it is added if it is not there.
fn position_of(named: &mut Vec<Named>, member: &Member) -> usize {
    let is_it = |named: &Named| matches!(&named.what, What::Witness(key) if **key == member.key);
    named.iter().position(is_it).unwrap_or_else(|| {
        let name = format!("replica-{}", member.name).into_bytes();
        named.push(Named { name, what: What::Witness(Box::new(member.key.clone())) });
        named.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ident::Ident,
        log::{checkpoint::Checkpoint, cosignature::CosignerKey, merkle::leaf_hash, note::Signer},
    };

    fn key(name: &str) -> CosignerKey {
        CosignerKey::new(&format!("log.example/replicas/{name}"), &[name.as_bytes()[0]; 32])
    }

    const ORIGIN: &str = "log.example/v1/tenants/acme/logs/1";

    fn set(version: u64, names: &[&str]) -> MemberSet {
        MemberSet { version, index: version * 5, members: members(names) }
    }

    fn members(names: &[&str]) -> Vec<Member> {
        let member = |name: &&str| Member {
            name: Ident::new(name).unwrap(),
            key: key(name).public().clone(),
        };
        names.iter().map(member).collect()
    }

    fn policy(least: usize, more: &str, quorum: &str) -> Policy {
        let replicas = members(&["a", "b", "c"]).into_iter();
        let mut lines: Vec<String> =
            replicas.map(|one| format!("witness replica-{} {}\n", one.name, one.key)).collect();
        lines.push(format!("witness w {}\n", key("w").public()));
        lines.push(format!("group replicas {least} replica-a replica-b replica-c\n{more}"));
        let text = lines.concat();
        Policy::parse(format!("{text}quorum {quorum}\n").as_bytes()).expect(&text)
    }

    fn note(by: &[&str]) -> String {
        let root = leaf_hash(b"one");
        let checkpoint = Checkpoint { origin: "log.example/l".into(), size: 9, root };
        let lines = by.iter().map(|name| key(name).cosign(7, &checkpoint.text()));
        checkpoint.sign([&Signer::new("log.example/l", &[1; 32])]) + &lines.collect::<String>()
    }

    #[test]
    fn p21_a_change_is_followed_if_both_sets_agree() {
        let of = policy(2, "", "replicas");
        let (old, new) = (set(0, &["a", "b", "c"]), set(1, &["a", "d", "e"]));
        let check = |by: &[&str], follows: bool| {
            let followed = of.follow((&old, &new), (ORIGIN, &note(by)));
            assert_eq!(followed.is_ok(), follows, "{by:?} {followed:?}");
        };
        check(&["a", "b", "d"], true);
        check(&["b", "c", "d", "e"], true);
        check(&["a", "b", "c"], false);
        check(&["a", "d", "e"], false);
        check(&[], false);
        let next = of.follow((&old, &new), (ORIGIN, &note(&["a", "b", "d"]))).unwrap().policy;
        let met = |by: &[&str]| next.judge(&note(by)).unwrap().met;
        assert!(met(&["a", "d"]) && met(&["d", "e"]));
        assert!(!met(&["a", "b"]) && !met(&["b", "c"]), "those that left count for nothing");
        assert_eq!(next.quorum(), "replicas");
        assert!(next.knows(&new.members, ORIGIN) && !next.knows(&old.members, ORIGIN));
        let to_five = set(2, &["a", "d", "e", "f", "g"]);
        let five = (ORIGIN, &*note(&["a", "d", "f"]));
        let five = next.follow((&new, &to_five), five).unwrap().policy;
        assert!(!five.judge(&note(&["a", "d"])).unwrap().met, "three of five");
        assert!(five.judge(&note(&["a", "g", "f"])).unwrap().met);
    }

    #[test]
    fn p21_witnesses_beside_the_replicas_stay_asked() {
        let of = policy(2, "group both all replicas w\n", "both");
        let (old, new) = (set(0, &["a", "b", "c"]), set(1, &["a", "b", "d"]));
        let next = of.follow((&old, &new), (ORIGIN, &note(&["a", "b"]))).unwrap().policy;
        assert!(!next.judge(&note(&["a", "d"])).unwrap().met);
        assert!(next.judge(&note(&["a", "d", "w"])).unwrap().met);
        let of = policy(1, "", "replicas");
        let lost = of.follow((&old, &new), (ORIGIN, &note(&["a", "b"])));
        assert_eq!(lost, Err(NotFollowed::Rule { least: 1, count: 3 }));
        let lost = policy(2, "", "w").follow((&new, &old), (ORIGIN, &note(&["a", "b"])));
        assert_eq!(lost, Err(NotFollowed::NoGroup));
    }

    #[test]
    fn p21_a_step_touches_no_outside_witness() {
        let of = policy(2, "", "replicas");
        let (old, new) = (set(0, &["a", "b", "c"]), set(1, &["a", "b", "d"]));
        let agreed = note(&["a", "b", "d"]);
        assert!(of.follow((&old, &new), (ORIGIN, &agreed)).is_ok());
        // The same keys are somebody else's to a log of another host.
        let elsewhere = "log.example.org/v1/tenants/acme/logs/1";
        let refused = of.follow((&old, &new), (elsewhere, &agreed));
        assert_eq!(refused, Err(NotFollowed::NoGroup));
        // A group with one outside witness is never followed.
        let outside = CosignerKey::new("w.example.org", b"wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww");
        let mut before = old.clone();
        before.members[2].key = outside.public().clone();
        let lines = before.members.iter().map(|one| format!("witness {} {}\n", one.name, one.key));
        let text = lines.collect::<String>() + "group g 2 a b c\nquorum g\n";
        let of = Policy::parse(text.as_bytes()).unwrap();
        let refused = of.follow((&before, &new), (ORIGIN, &agreed));
        assert_eq!(refused, Err(NotFollowed::NoGroup));
    }

    #[test]
    fn p21_one_key_counts_once_whatever_its_name() {
        let more = "group both all replicas w\n";
        let old = set(0, &["a", "b", "c"]);
        let check = |name: &str, seed: u8, follows: bool| {
            let mut new = set(1, &["a", "b", "d"]);
            let name = format!("log.example/replicas/{name}");
            new.members[2].key = CosignerKey::new(&name, &[seed; 32]).public().clone();
            let followed =
                policy(2, more, "both").follow((&old, &new), (ORIGIN, &note(&["a", "b"])));
            assert_eq!(followed.is_ok(), follows, "{name} {followed:?}");
            let is_twice = matches!(followed, Err(NotFollowed::Twice { .. }));
            assert_eq!(is_twice, !follows, "{name} {followed:?}");
        };
        check("d", b'd', true);
        check("d", b'w', false);
        check("w", b'w', false);
        // One that was named so before, and leaves, is nobody else.
        check("d", b'c', true);
    }

    #[test]
    fn p21_lines_that_a_step_does_not_need_are_ignored() {
        let (old, new) = (set(0, &["a", "b", "c"]), set(1, &["a", "b", "d"]));
        let junk = |name: &str| key(name).cosign(7, "log.example/l\n1\nAAAA\n");
        let of = policy(2, "", "replicas");
        let check = |name: &str, follows: bool| {
            let note = note(&["a", "b"]) + &junk(name);
            assert_eq!(of.follow((&old, &new), (ORIGIN, &note)).is_ok(), follows, "{name}");
        };
        check("w", true);
        check("x", true);
        // Of a key that is asked, a wrong line refuses the note.
        check("c", false);
        check("d", false);
        // A checkpoint that is judged has every key of the policy known.
        assert!(of.judge(&(note(&["a", "b"]) + &junk("w"))).is_err());
    }

    #[test]
    fn p21_who_asks_for_all_is_told_what_to_do() {
        let (old, new) = (set(0, &["a", "b", "c"]), set(1, &["a", "b", "d"]));
        let of = policy(3, "", "replicas");
        let followed = of.follow((&old, &new), (ORIGIN, &note(&["a", "b", "c", "d"])));
        let next = followed.unwrap().policy;
        assert!(!next.judge(&note(&["a", "b"])).unwrap().met);
        let short = of.follow((&old, &new), (ORIGIN, &note(&["a", "b", "d"]))).unwrap_err();
        assert!(short.to_string().contains("write a policy for them"), "{short}");
    }
}
