//! `verify --policy`: which checkpoints count is the verifier's own decision, in a file of its own (C2SP tlog-policy). One that
//! an export carries is shown, and trusted by nobody.

use super::{
    Failure, Given,
    file::{self, Form},
    refused,
};
use ledger::{
    log::{
        checkpoint::Checkpoint,
        note::Vkey,
        policy::{Judged, Policy},
    },
    verify::{self, ProvenChange, Verified},
};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Name of a policy in the folder of an export.
pub(super) const CARRIED: &str = "tlog-policy";

/// The verifier's policy, and what it said of each checkpoint.
pub(super) struct Judge {
    place: String,
    policy: Policy,
    /// The policies after each change of the replicas that was followed, by the leaf index of the change.
    later: Vec<(u64, Policy)>,
    /// What was followed, a line each.
    steps: Vec<String>,
    said: RefCell<BTreeMap<(u64, String), Judged>>,
}

impl Judge {
    /// Reads the policy that is given, if there is one. It must accept the log of `key`.
    pub(super) fn read(path: Option<&PathBuf>, key: &Vkey) -> Result<Option<Self>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let place = path.display().to_string();
        let policy = Policy::parse(&file::bytes(path)?)
            .map_err(|error| Failure::Unreadable(format!("{place}: {error}")))?;
        if !policy.accepts(key) {
            let what = format!(
                "its log lines name other keys than {}, which --key gives: by this policy, that log does not count",
                key.label()
            );
            return Err(refused(&place, &what));
        }
        let (later, steps) = (Vec::new(), Vec::new());
        Ok(Some(Self { place, policy, later, steps, said: RefCell::default() }))
    }

    /// Follows the changes of the replicas in the keys document at `place`, from the replicas that the policy names.
    pub(super) fn follow(&mut self, place: &str, changes: &[ProvenChange]) -> Result<(), Failure> {
        let known = self.later.last().map_or(0, |(index, _)| *index);
        let begins = |one: &&ProvenChange| {
            !self.later.is_empty() || self.policy.knows(&one.change.before.members)
        };
        let is_new = |one: &&ProvenChange| one.verified.receipt.index > known;
        let from = changes.iter().position(|one| begins(&one) && is_new(&one));
        for ProvenChange { change, verified } in &changes[from.unwrap_or(changes.len())..] {
            let now = self.later.last().map_or(&self.policy, |(_, policy)| policy);
            let sets = (&change.before.members[..], &change.members[..]);
            let followed = now.follow(sets, &verified.receipt.checkpoint);
            let followed = followed.map_err(|error| {
                let what = format!(
                    "change {} of the replicas (entry {}) can't be followed: {error}",
                    change.version, verified.receipt.index
                );
                refused(place, &what)
            })?;
            let by = |judged: &Judged| {
                judged.by.iter().map(|by| by.name.as_str()).collect::<Vec<_>>().join(", ")
            };
            self.steps.push(format!(
                "replicas changed in entry {} to version {}: {}; agreed at size {} by {} of those before, and {} of the new ones",
                verified.receipt.index,
                change.version,
                change.set(0).names(),
                verified.checkpoint.size,
                by(&followed.before),
                by(&followed.after)
            ));
            self.later.push((verified.receipt.index, followed.policy));
        }
        Ok(())
    }

    /// The changes of the replicas that were followed, a line each.
    pub(super) fn steps(&self) -> &[String] {
        &self.steps
    }

    /// Judges a checkpoint that the log has signed.
    fn judge(&self, place: &str, note: &str, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let later = self.later.iter().rfind(|(index, _)| *index < checkpoint.size);
        let policy = later.map_or(&self.policy, |(_, policy)| policy);
        let judged = policy.judge(note).map_err(|error| refused(place, &error))?;
        if !judged.met {
            let (size, policy) = (checkpoint.size, &self.place);
            let what = format!(
                "the policy {policy} is not met by the checkpoint of size {size}: {judged}. A later checkpoint may have more cosignatures: ask for it (`?witnessed=true`). If the replicas have changed since the policy was made, give the newest keys document (--keys)"
            );
            return Err(refused(place, &what));
        }
        self.said.borrow_mut().insert((checkpoint.size, checkpoint.root.to_string()), judged);
        Ok(())
    }
}

impl Judge {
    /// What it said of the checkpoint of this size and root.
    pub(super) fn said(&self, size: u64, root: &str) -> Option<Judged> {
        self.said.borrow().get(&(size, root.to_owned())).cloned()
    }
}

/// What a policy in the folder of an export says, in words. Nothing rests on it.
pub(super) fn carried(folder: &str) -> Option<String> {
    let path = Path::new(folder).join(CARRIED);
    let bytes = path.exists().then(|| file::bytes(&path).ok()).flatten()?;
    Some(match Policy::parse(&bytes) {
        Ok(policy) => {
            let names: Vec<String> = policy.witnesses().map(|(name, _)| name).collect();
            let names = if names.is_empty() { "none".into() } else { names.join(", ") };
            let (logs, quorum) = (policy.logs().len(), policy.quorum());
            format!("{logs} logs, witnesses {names}, quorum {quorum}")
        }
        Err(error) => format!("unreadable ({error})"),
    })
}

impl Given {
    /// Keeps a checkpoint that the log has signed, once the policy counts it.
    pub(super) fn note(
        &mut self,
        place: &str,
        text: &str,
        checkpoint: &Checkpoint,
    ) -> Result<(), Failure> {
        if let Some(judge) = &self.judge {
            judge.judge(place, text, checkpoint)?;
        }
        self.keep_note(place, text, checkpoint);
        Ok(())
    }

    /// Verifies a receipt that only explains what is missing, from after the checkpoint that counts. The policy does not judge
    /// it: a consistency proof connects both.
    pub(super) fn later_receipt(&mut self, place: &str, text: &str) -> Result<Verified, Failure> {
        let judge = self.judge.take();
        let verified = self.receipt(place, text);
        self.judge = judge;
        verified
    }
}

/// Verifies one checkpoint, for [`Given::take_checkpoint`].
pub(super) fn signed(given: &Given, place: &str, text: &str) -> Result<Checkpoint, Failure> {
    verify::checkpoint(text, &given.keys)
        .map_err(|error| given.explain(place, Form::Checkpoint, text, &error))
}
