//! Follows a change of the replicas: what the verifier's policy says of the set before it holds for the new set, once both have
//! cosigned a checkpoint that holds the change.

use super::{Judged, Named, Policy, What};
use crate::log::{cosignature::Cosigner, members::Member, note};

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
    /// Too few have cosigned the checkpoint with the change.
    #[error("too few have agreed to the change: {0}")]
    Unmet(Judged),
    /// The note is wrong.
    #[error(transparent)]
    Note(#[from] note::Error),
}

impl Policy {
    /// Follows a change from the replicas `before` to `after`, by the checkpoint that both must have cosigned. Its log must have
    /// been verified.
    pub fn follow(
        &self,
        (before, after): (&[Member], &[Member]),
        note: &str,
    ) -> Result<Followed, NotFollowed> {
        let at = self.group_of(before).ok_or(NotFollowed::NoGroup)?;
        let old = self.asking_only(at).judge(note)?;
        if !old.met {
            return Err(NotFollowed::Unmet(old));
        }
        let (policy, group) = self.replaced(at, before, after)?;
        let new = policy.asking_only(group).judge(note)?;
        if !new.met {
            return Err(NotFollowed::Unmet(new));
        }
        Ok(Followed { policy, before: old, after: new })
    }

    /// True if the policy has a group of exactly these replicas.
    pub fn knows(&self, members: &[Member]) -> bool {
        self.group_of(members).is_some()
    }

    /// The same policy with another quorum.
    fn asking_only(&self, at: usize) -> Self {
        Self { quorum: Some(at), ..self.clone() }
    }

    fn key_of(&self, at: usize) -> Option<&Cosigner> {
        match &self.named[at].what {
            What::Witness(key) => Some(key),
            What::Group { .. } => None,
        }
    }

    /// The group of exactly these members.
    fn group_of(&self, members: &[Member]) -> Option<usize> {
        self.named.iter().position(|named| match &named.what {
            What::Group { members: at, .. } => {
                at.len() == members.len()
                    && at.iter().all(|at| {
                        let key = self.key_of(*at);
                        key.is_some_and(|key| members.iter().any(|one| one.key == *key))
                    })
            }
            What::Witness(_) => false,
        })
    }

    /// The policy with other replicas in the group at `at`, and the place of that group in it. Who is in no other group, and no
    /// longer in this one, counts for nothing in it.
    fn replaced(
        &self,
        at: usize,
        before: &[Member],
        after: &[Member],
    ) -> Result<(Self, usize), NotFollowed> {
        let What::Group { least, members } = &self.named[at].what else {
            return Err(NotFollowed::NoGroup);
        };
        let majority = |count: usize| count / 2 + 1;
        let least = match (*least, before.len()) {
            (least, count) if least == majority(count) => majority(after.len()),
            (least, count) if least == count => after.len(),
            (least, count) => return Err(NotFollowed::Rule { least, count }),
        };
        let is_used_elsewhere = |place: usize| {
            let in_group = |(other, named): (usize, &Named)| {
                other != at
                    && matches!(&named.what, What::Group { members, .. } if members.contains(&place))
            };
            self.quorum == Some(place) || self.named.iter().enumerate().any(in_group)
        };
        let stays = |place: usize| {
            let key = self.key_of(place);
            key.is_some_and(|key| after.iter().any(|one| one.key == *key))
        };
        let (mut named, mut places) = (Vec::<Named>::new(), vec![0; self.named.len()]);
        let mut group = 0;
        for (place, one) in self.named.iter().enumerate() {
            if members.contains(&place) && !stays(place) && !is_used_elsewhere(place) {
                continue;
            }
            let mut what = one.what.clone();
            if place == at {
                let of_members = after.iter().map(|one| position_of(&mut named, one)).collect();
                what = What::Group { least, members: of_members };
                group = named.len();
            } else if let What::Group { members, .. } = &mut what {
                for member in members.iter_mut() {
                    *member = places[*member];
                }
            }
            places[place] = named.len();
            named.push(Named { name: one.name.clone(), what });
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
        let (old, new) = (members(&["a", "b", "c"]), members(&["a", "d", "e"]));
        let check = |by: &[&str], follows: bool| {
            let followed = of.follow((&old, &new), &note(by));
            assert_eq!(followed.is_ok(), follows, "{by:?} {followed:?}");
        };
        check(&["a", "b", "d"], true);
        check(&["b", "c", "d", "e"], true);
        check(&["a", "b", "c"], false);
        check(&["a", "d", "e"], false);
        check(&[], false);
        let next = of.follow((&old, &new), &note(&["a", "b", "d"])).unwrap().policy;
        let met = |by: &[&str]| next.judge(&note(by)).unwrap().met;
        assert!(met(&["a", "d"]) && met(&["d", "e"]));
        assert!(!met(&["a", "b"]) && !met(&["b", "c"]), "those that left count for nothing");
        assert_eq!(next.quorum(), "replicas");
        assert!(next.knows(&new) && !next.knows(&old));
        let to_five = members(&["a", "d", "e", "f", "g"]);
        let five = next.follow((&new, &to_five), &note(&["a", "d", "f"])).unwrap().policy;
        assert!(!five.judge(&note(&["a", "d"])).unwrap().met, "three of five");
        assert!(five.judge(&note(&["a", "g", "f"])).unwrap().met);
    }

    #[test]
    fn p21_witnesses_beside_the_replicas_stay_asked() {
        let of = policy(2, "group both all replicas w\n", "both");
        let (old, new) = (members(&["a", "b", "c"]), members(&["a", "b", "d"]));
        let next = of.follow((&old, &new), &note(&["a", "b"])).unwrap().policy;
        assert!(!next.judge(&note(&["a", "d"])).unwrap().met);
        assert!(next.judge(&note(&["a", "d", "w"])).unwrap().met);
        let of = policy(1, "", "replicas");
        let lost = of.follow((&old, &new), &note(&["a", "b"]));
        assert_eq!(lost, Err(NotFollowed::Rule { least: 1, count: 3 }));
        let lost = policy(2, "", "w").follow((&new, &old), &note(&["a", "b"]));
        assert_eq!(lost, Err(NotFollowed::NoGroup));
    }
}
