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
    verify::{self, Following, NamedSets, ProvenChange, Step, Verified},
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
    /// The policy from size to size.
    following: Following,
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
        let following = Following::new(policy, key.name());
        Ok(Some(Self { place, following, steps: Vec::new(), said: RefCell::default() }))
    }

    /// Follows the changes of the replicas that all keys documents prove, from the replicas that the policy names.
    pub(super) fn follow(&mut self, changes: &[ProvenChange]) -> Result<(), Failure> {
        self.following.follow(changes).map_err(|what| refused(&self.place, &what))?;
        if let Some(version) = self.following.taken_for() {
            self.steps.push(format!(
                "the policy does not say which set its replicas are: they were taken for version {version}, the newest in the keys \
                 document that fits. `countersign log policy` says it, in the name of the group"
            ));
        }
        self.steps.extend(self.following.steps().iter().map(said_of));
        Ok(())
    }

    /// The changes of the replicas that were followed, a line each.
    pub(super) fn steps(&self) -> &[String] {
        &self.steps
    }

    /// Judges a checkpoint that the log has signed.
    fn judge(&self, place: &str, note: &str, checkpoint: &Checkpoint) -> Result<(), Failure> {
        let (size, own) = (checkpoint.size, &self.place);
        let policy = self.following.at(size).map_err(|why| {
            let what = format!("the policy {own} can't judge the checkpoint of size {size}: {why}");
            refused(place, &what)
        })?;
        let judged = policy.judge(note).map_err(|error| refused(place, &error))?;
        if !judged.met {
            let what = format!(
                "the policy {own} is not met by the checkpoint of size {size}: {judged}. A later checkpoint may have more cosignatures: ask for it (`?witnessed=true`). If the replicas have changed since the policy was made, give the newest keys document (--keys)"
            );
            return Err(refused(place, &what));
        }
        self.said.borrow_mut().insert((size, checkpoint.root.to_string()), judged);
        Ok(())
    }

    /// Compares the replicas by which checkpoints of up to `size` were judged with those that the log itself names, as the entries
    /// at `place` say: all up to that size.
    fn reconcile(&self, place: &str, size: u64, named: &NamedSets) -> Result<(), Failure> {
        for (judged, _) in self.said.borrow().keys().filter(|(judged, _)| *judged <= size) {
            self.following.reconcile(*judged, named.sets()).map_err(|why| {
                refused(place, &format!("the checkpoint of size {judged}: {why}"))
            })?;
        }
        Ok(())
    }
}

/// A change that was followed, in words.
fn said_of(step: &Step) -> String {
    let by = |judged: &Judged| {
        judged.by.iter().map(|by| by.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    format!(
        "replicas changed in entry {} to version {}: {}; agreed at size {} by {} of those before, and {} of the new ones",
        step.set.index,
        step.set.version,
        step.set.names(),
        step.size,
        by(&step.before),
        by(&step.after)
    )
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

    /// Compares the replicas that the log itself names with those by which the policy judged.
    pub(super) fn cosigned_by_its_own(
        &self,
        place: &str,
        size: u64,
        named: &NamedSets,
    ) -> Result<(), Failure> {
        self.judge.as_ref().map_or(Ok(()), |judge| judge.reconcile(place, size, named))
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
