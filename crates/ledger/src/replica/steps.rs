//! Changes of the replicas: which sets a checkpoint needs, and the *steps*, each a change with the receipt of its entry under a
//! checkpoint that majorities of both sets have cosigned (P21).
//!
//! A step is in the register before any checkpoint that the new set alone has cosigned. So whoever was away learns from the
//! register who may cosign, before it has posted the change itself.

use super::Quorum;
use crate::{
    journal::{Error, jetstream::register::Register},
    log::{
        checkpoint::Checkpoint,
        members::{self, MemberSet},
        merkle,
        receipt::Receipt,
        replicas::{self, Certified, Uncertified},
    },
    reader::{self, Published, Reader},
    store,
    verify::change_of,
};
use std::collections::{BTreeMap, BTreeSet};

/// How often a step is offered to the register before the proposal is given up.
const OFFERS_MAX: usize = 5;

/// Most versions by which a step in the register may be ahead of the last known one: anybody with its rights can write there.
const AHEAD_MAX: u64 = 8;

/// What is known of the steps of a log.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// What the register has, by version: its sequence and bytes. Anybody with its rights can write there.
    told: BTreeMap<u64, (u64, Vec<u8>)>,
    /// Those that were verified, by version.
    known: BTreeMap<u64, Step>,
    /// Versions that are stored in the database.
    stored: BTreeSet<u64>,
}

/// A change that majorities of both sets have cosigned.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The new set.
    pub(super) set: MemberSet,
    /// Tree size of its checkpoint.
    pub(super) size: u64,
    /// Its receipt, with the verified lines alone.
    pub(super) receipt: String,
    /// True if the log's signature could not be judged yet.
    is_vouched: bool,
}

/// Reads the step that leads on from the set `before` in the log `origin`. `certified`: reads a checkpoint that majorities of both sets
/// have cosigned.
pub(super) fn step_from(
    before: &MemberSet,
    origin: &str,
    text: &str,
    certified: impl FnOnce(&str, &[MemberSet]) -> Option<Certified>,
) -> Option<Step> {
    let receipt = Receipt::parse(text).ok()?;
    let change = change_of(&receipt).filter(|change| change.version == before.version + 1)?;
    let named = (before.version > 0).then_some(before);
    if !change.follows(named, origin) || change.before.members != before.members {
        return None;
    }
    let set = change.set(receipt.index);
    let is_later = set.index > before.index || before.version == 0;
    let certified = certified(&receipt.checkpoint, &[before.clone(), set.clone()])?;
    let Checkpoint { size, root, .. } = certified.checkpoint;
    if !is_later || size <= set.index || !receipt.leads_to(&root) {
        return None;
    }
    let receipt = Receipt { checkpoint: certified.note, ..receipt }.to_string();
    Some(Step { set, size, receipt, is_vouched: certified.is_vouched })
}

impl Quorum {
    /// Takes a message of the register that says to be a step. One that does not verify counts for nothing.
    pub(super) fn take_step(&self, version: u64, seq: u64, body: Vec<u8>) {
        let last = self.sets().last().map_or(0, |set| set.version);
        if version == 0 || version > last + AHEAD_MAX {
            return;
        }
        // The newest valid one is the one that all know, so that nobody replaces it.
        let text = std::str::from_utf8(&body).ok();
        let step = text.and_then(|text| self.verified_step(version, text));
        let mut steps = self.steps();
        steps.told.insert(version, (seq, body));
        if let Some(step) = step {
            steps.known.insert(version, step);
            drop(steps);
            self.verify_steps();
        }
    }

    /// Verifies what was told and could not be verified before, because a change before it was not known.
    pub(super) fn verify_steps(&self) {
        loop {
            let open: Vec<(u64, Vec<u8>)> = {
                let steps = self.steps();
                let open = steps.told.iter().filter(|(at, _)| !steps.known.contains_key(at));
                open.map(|(version, (_, body))| (*version, body.clone())).collect()
            };
            let found = open.into_iter().find_map(|(version, body)| {
                self.verified_step(version, &String::from_utf8(body).ok()?)
            });
            let Some(step) = found else { return };
            self.steps().known.insert(step.set.version, step);
        }
    }

    fn steps(&self) -> std::sync::MutexGuard<'_, Steps> {
        self.steps.lock().expect("no holder of the lock panics")
    }

    /// Every set that is known, oldest first: those that are posted here, then those that proven steps lead to.
    pub(super) fn sets(&self) -> Vec<MemberSet> {
        let mut sets = self.replica().sets();
        let steps = self.steps();
        while let Some(step) = sets.last().and_then(|last| steps.known.get(&(last.version + 1))) {
            sets.push(step.set.clone());
        }
        sets
    }

    /// The sets of which majorities must have cosigned a checkpoint of `size`: the one in force there, and both sets of every
    /// change below it for which no step of that size or less is known.
    pub(super) fn needed(&self, size: u64) -> Vec<MemberSet> {
        let sets = self.sets();
        let steps = self.steps();
        let is_shown =
            |set: &MemberSet| steps.known.get(&set.version).is_some_and(|step| step.size <= size);
        needed(&sets, size, is_shown)
    }

    /// A step, if it verifies: the log's keys, the entry, its place, and majorities of both sets.
    fn verified_step(&self, version: u64, text: &str) -> Option<Step> {
        let sets = self.sets();
        let before = sets.get(usize::try_from(version.checked_sub(1)?).ok()?)?;
        let certified = |note: &str, both: &[MemberSet]| self.certified(note, both).ok();
        let step = step_from(before, &self.tenant.origin, text, certified)?;
        let posted = sets.get(usize::try_from(version).ok()?);
        posted.is_none_or(|posted| *posted == step.set).then_some(step)
    }

    /// Reads a note that a majority of each of these sets has cosigned. If its size is not posted here, a key may have taken over
    /// below it: then the keys that sign now count, each one whose file is here, and otherwise the word of the majorities.
    pub(super) fn certified(
        &self,
        note: &str,
        sets: &[MemberSet],
    ) -> Result<Certified, Uncertified> {
        let mut last = None;
        let (size, origin) = (replicas::size_of(note), &self.tenant.origin);
        for keys in self.tenant.log_keys_at(size) {
            let read = replicas::certified(note, origin, |_| keys.clone(), sets);
            match read {
                Ok(certified) => return Ok(certified),
                Err(error) => drop(last.get_or_insert(error)),
            }
        }
        let last = last.unwrap_or(Uncertified::Unsigned(size));
        if self.replica().ready().borrow().size >= size {
            return Err(last);
        }
        replicas::vouched(note, origin, sets).map_err(|_| last)
    }

    /// Puts a step for every change below a cosigned checkpoint into the register, before the checkpoint itself.
    pub(super) async fn put_steps(
        &self,
        register: &Register,
        certified: &Certified,
    ) -> Result<(), Error> {
        let size = certified.checkpoint.size;
        let below: Vec<MemberSet> =
            self.sets().into_iter().filter(|set| set.version > 0 && set.index < size).collect();
        for set in below {
            let mut last = Error::Conflict;
            let mut is_there = false;
            for _ in 0..OFFERS_MAX {
                let (told, known) = {
                    let steps = self.steps();
                    let told = steps.told.get(&set.version).cloned();
                    (told, steps.known.get(&set.version).cloned())
                };
                let valid = known.as_ref().map(|step| step.receipt.as_bytes());
                is_there = told.as_ref().is_some_and(|(_, body)| Some(&body[..]) == valid);
                if is_there {
                    break;
                }
                let text = if let Some(step) = known {
                    step.receipt
                } else {
                    let made = tokio::task::block_in_place(|| self.step(&set, certified));
                    made.map_err(|error| Error::Unavailable(error.to_string()))?
                };
                let expected = told.map_or(0, |(seq, _)| seq);
                let body = text.into_bytes();
                match register.change(set.version, expected, body.clone()).await {
                    Ok(seq) => self.take_step(set.version, seq, body),
                    Err(Error::Halt(reason)) => return Err(Error::Halt(reason)),
                    Err(error) => {
                        // Another replica was first, or the outcome is unknown: it comes, or is offered again.
                        last = error;
                        tokio::time::sleep(super::PAUSE).await;
                    }
                }
            }
            if !is_there && !self.steps().known.contains_key(&set.version) {
                return Err(last);
            }
        }
        Ok(())
    }

    /// The receipt of a change under a cosigned checkpoint.
    fn step(&self, set: &MemberSet, certified: &Certified) -> Result<String, store::Error> {
        let (store, number) = (self.ledger.store(), self.tenant.number);
        let size = certified.checkpoint.size;
        let edge = reader::load_edge(store, number, size)?;
        let at = Published {
            size,
            root: edge.root(),
            edge,
            checkpoint: certified.note.clone(),
            ..(*self.tenant.published()).clone()
        };
        let reader = Reader { store, number, at: &at };
        let missing = store::Error::Corrupt { family: "entries", what: "a members entry" };
        let entry = reader.entry(set.index)?.ok_or(missing)?;
        let path = merkle::inclusion(&reader, set.index, size)?;
        let checkpoint = certified.note.clone();
        Ok(Receipt { entry, index: set.index, path, checkpoint }.to_string())
    }

    /// Stores the steps that are shown here, so that they are served, also after the register was lost.
    pub(super) fn keep_steps(&self, shown: u64) -> Result<(), store::Error> {
        self.judge_steps(shown);
        let new: Vec<(u64, String)> = {
            let steps = self.steps();
            let new = steps
                .known
                .values()
                .filter(|step| step.size <= shown && !step.is_vouched)
                .filter(|step| !steps.stored.contains(&step.set.version));
            new.map(|step| (step.set.version, step.receipt.clone())).collect()
        };
        for (version, receipt) in new {
            self.ledger.keep_step(&self.tenant, version, receipt.as_bytes())?;
            self.steps().stored.insert(version);
        }
        Ok(())
    }

    /// Judges what was vouched for, once its size is shown here.
    fn judge_steps(&self, shown: u64) {
        let vouched: Vec<Step> = {
            let steps = self.steps();
            let open = steps.known.values().filter(|step| step.is_vouched && step.size <= shown);
            open.cloned().collect()
        };
        for step in vouched {
            let judged = self.verified_step(step.set.version, &step.receipt);
            let mut steps = self.steps();
            match judged {
                Some(judged) => drop(steps.known.insert(step.set.version, judged)),
                None => drop(steps.known.remove(&step.set.version)),
            }
        }
    }

    /// Reads the stored steps, which must verify like those of the register.
    pub(super) fn load_steps(&self) {
        for set in self.replica().sets().into_iter().filter(|set| set.version > 0) {
            let stored = self.ledger.step(&self.tenant, set.version).ok().flatten();
            if let Some(step) = stored.and_then(|text| self.verified_step(set.version, &text)) {
                let mut steps = self.steps();
                steps.stored.insert(set.version);
                steps.known.insert(set.version, step);
            }
        }
    }
}

/// The sets of which majorities must have cosigned a checkpoint of `size`. `is_shown`: both sets of that change have cosigned a
/// checkpoint of that size or less that holds it.
pub(super) fn needed(
    sets: &[MemberSet],
    size: u64,
    is_shown: impl Fn(&MemberSet) -> bool,
) -> Vec<MemberSet> {
    let mut needed: Vec<MemberSet> = members::in_force(sets, size).into_iter().cloned().collect();
    for two in sets.windows(2).filter(|two| two[1].index < size && !is_shown(&two[1])) {
        for set in two {
            if !needed.contains(set) {
                needed.push(set.clone());
            }
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p21_the_first_checkpoint_with_a_change_needs_both_sets() {
        let of = |version, index| MemberSet { version, index, members: Vec::new() };
        let sets = [of(0, 0), of(1, 7), of(2, 9)];
        let check = |size, shown: &[u64], versions: &[u64]| {
            let found = needed(&sets, size, |set| shown.contains(&set.version));
            let mut found: Vec<u64> = found.iter().map(|set| set.version).collect();
            found.sort_unstable();
            assert_eq!(found, versions, "size {size}, shown {shown:?}");
        };
        check(5, &[], &[0]);
        check(7, &[], &[0]);
        check(8, &[], &[0, 1]);
        check(9, &[1], &[1]);
        check(10, &[1], &[1, 2]);
        // Two changes that one checkpoint holds first: all three.
        check(10, &[], &[0, 1, 2]);
        check(50, &[1, 2], &[2]);
    }
}
