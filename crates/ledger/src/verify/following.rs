//! The policy of a verifier from tree size to tree size, as it follows the changes of the replicas that keys documents prove.

use super::ProvenChange;
use crate::log::{
    members::{self, MemberSet},
    policy::{Anchor, Judged, Policy},
};
use std::collections::BTreeMap;

/// A policy, and those that it becomes with each change of the replicas that it follows.
#[derive(Debug)]
pub struct Following {
    origin: String,
    first: Policy,
    /// Which set its group of replicas is; `None` if nothing says it.
    begins: Option<u64>,
    /// True if the name of the group says it.
    is_anchored: bool,
    /// What was followed, in the order of versions.
    later: Vec<Step>,
    /// A change that could not be followed: its leaf index, and why.
    stopped: Option<(u64, String)>,
}

/// A change that was followed.
#[derive(Debug)]
pub struct Step {
    /// The set that it put in force.
    pub set: MemberSet,
    /// Tree size of the checkpoint that both sets have cosigned.
    pub size: u64,
    /// Who of the set before has cosigned it.
    pub before: Judged,
    /// Who of the new set.
    pub after: Judged,
    policy: Policy,
}

impl Following {
    /// A policy for the log of this origin, which follows nothing yet.
    pub fn new(policy: Policy, origin: &str) -> Self {
        let begins = policy.anchor(origin).map(|(anchor, _)| anchor.version);
        let (later, is_anchored) = (Vec::new(), begins.is_some());
        Self { origin: origin.into(), first: policy, begins, is_anchored, later, stopped: None }
    }

    /// Follows the changes that keys documents prove. Of a change that several prove, any that can be followed will do. One that
    /// can't be followed ends it: what is larger is not judged then ([`Self::at`]).
    ///
    /// An error says what the policy and the changes contradict each other about.
    pub fn follow<'a>(
        &mut self,
        changes: impl IntoIterator<Item = &'a ProvenChange>,
    ) -> Result<(), String> {
        let mut by_version: BTreeMap<u64, Vec<&ProvenChange>> = BTreeMap::new();
        for one in changes {
            by_version.entry(one.change.version).or_default().push(one);
        }
        if let Some((anchor, _)) = self.first.anchor(&self.origin) {
            for one in by_version.values().flatten() {
                self.agrees(anchor, &sets_of(one))?;
            }
        } else {
            let sets = by_version.values().flatten().flat_map(|one| sets_of(one));
            self.begins = self.latest(sets);
        }
        let Some(begins) = self.begins else { return Ok(()) };
        for (version, candidates) in by_version.range(begins.saturating_add(1)..) {
            let last = self.later.last().map_or(begins, |step| step.set.version);
            let index = candidates.iter().map(|one| one.verified.receipt.index).min();
            if *version != last + 1 {
                let why = format!(
                    "the replicas changed from version {last} to {version}, and what proves the changes between is signed by log keys \
                     from before the given one: begin with the log key that the policy came with, or get a policy of now"
                );
                self.stopped = index.map(|index| (index, why));
                break;
            }
            let mut why = String::new();
            let step =
                candidates.iter().find_map(|one| self.step(one).map_err(|error| why = error).ok());
            let Some(step) = step else {
                self.stopped = index.map(|index| (index, why));
                break;
            };
            self.later.push(step);
        }
        Ok(())
    }

    fn step(&self, one: &ProvenChange) -> Result<Step, String> {
        let [before, set] = sets_of(one);
        let now = self.later.last().map_or(&self.first, |step| &step.policy);
        let note = (self.origin.as_str(), one.verified.receipt.checkpoint.as_str());
        let followed = now.follow((&before, &set), note).map_err(|error| {
            format!(
                "change {} of the replicas (entry {}) can't be followed: {error}",
                set.version, set.index
            )
        })?;
        let size = one.verified.checkpoint.size;
        let (before, after, policy) = (followed.before, followed.after, followed.policy);
        Ok(Step { set, size, before, after, policy })
    }

    /// The latest of these sets that is a group of the policy.
    fn latest(&self, sets: impl IntoIterator<Item = MemberSet>) -> Option<u64> {
        let known = sets.into_iter().filter(|set| self.first.knows(&set.members, &self.origin));
        known.map(|set| set.version).max()
    }

    /// Compares the set that the policy names with sets that the log names.
    fn agrees(&self, anchor: Anchor, sets: &[MemberSet]) -> Result<(), String> {
        let at = self.first.anchor(&self.origin).map(|(_, at)| at);
        for set in sets.iter().filter(|set| set.version == anchor.version) {
            // Before a change, an entry repeats the members, and not where they were named.
            let elsewhere = set.index > 0 && set.index != anchor.index;
            let is_it = at.is_some_and(|at| self.first.is_of(at, &set.members, &self.origin));
            if elsewhere || !is_it {
                return Err(format!(
                    "the policy's group {anchor} has other replicas than the log names as version {} ({}), or names another entry: it \
                     is not the policy of this log, or was changed. Get it again: `countersign log policy --keys`",
                    set.version,
                    set.names()
                ));
            }
        }
        Ok(())
    }

    /// The policy for checkpoints of this size, or why there is none.
    pub fn at(&self, size: u64) -> Result<&Policy, &str> {
        if let Some((_, why)) = self.stopped.as_ref().filter(|(index, _)| *index < size) {
            return Err(why);
        }
        let step = self.later.iter().rfind(|step| step.set.index < size);
        Ok(step.map_or(&self.first, |step| &step.policy))
    }

    /// What was followed.
    pub fn steps(&self) -> &[Step] {
        &self.later
    }

    /// The version that an unnamed group of replicas was taken for, if there was a choice.
    pub fn taken_for(&self) -> Option<u64> {
        self.begins.filter(|_| !self.is_anchored)
    }

    /// Compares the replicas by which a checkpoint of this size was judged with those that the log's own entries name there. `sets`
    /// are all of them, oldest first.
    pub fn reconcile(&self, size: u64, sets: &[MemberSet]) -> Result<(), String> {
        if let Some((anchor, _)) = self.first.anchor(&self.origin) {
            self.agrees(anchor, sets)?;
            let is_named = sets.iter().any(|set| set.version == anchor.version);
            if anchor.version > 0 && anchor.index < size && !is_named {
                return Err(format!(
                    "the policy names version {} of the replicas, by entry {}, and the log has no such entry",
                    anchor.version, anchor.index
                ));
            }
        }
        let Some(in_force) = members::in_force(sets, size) else { return Ok(()) };
        let step = self.later.iter().rfind(|step| step.set.index < size);
        let begins = self.begins.or_else(|| self.latest(sets.iter().cloned()));
        let Some(judged) = step.map_or(begins, |step| Some(step.set.version)) else {
            return Ok(());
        };
        if judged >= in_force.version {
            return Ok(());
        }
        Err(format!(
            "it was judged by version {judged} of the replicas, and the log's own entry {} names version {} ({}): they changed, and no \
             keys document here proves that those before agreed. Give the newest one (--keys)",
            in_force.index,
            in_force.version,
            in_force.names()
        ))
    }
}

/// The set before a change, and the new one. Of the one before, the entry does not say where it was named.
fn sets_of(one: &ProvenChange) -> [MemberSet; 2] {
    let before = &one.change.before;
    let before = MemberSet { version: before.version, index: 0, members: before.members.clone() };
    [before, one.change.set(one.verified.receipt.index)]
}
