//! Proposes what is posted: collects cosignatures, and puts what a majority has cosigned into the register (P21).
//!
//! Any replica may propose at any time. The one whose proposal was last taken goes first; the others wait a moment, which
//! only saves work.

use super::{Quorum, cosigner::Said};
use crate::{
    ident::Ident,
    journal::{Error, jetstream::register::Register},
    log::{checkpoint::Checkpoint, replicas::Certified},
    tenant::Ready,
};
use std::{collections::BTreeMap, time::Duration, time::Instant};
use tokio::task::JoinSet;

/// How long a replica lets the others propose first, times its place among them.
const TURN: Duration = Duration::from_millis(150);
/// Longest wait for a cosignature. It is longer than a replica waits for its own posting.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Pause after a proposal that no majority cosigned.
const AGAIN: Duration = Duration::from_millis(200);
/// Pause before a swap is repeated whose outcome is unknown, and how often it is.
const SWAP_AGAIN: Duration = Duration::from_millis(100);
const SWAPS_MAX: usize = 50;
/// Longest wait for the value that won instead.
const WINNER_WAIT: Duration = Duration::from_secs(2);

/// Why a proposal came to nothing.
enum Failed {
    /// Too few replicas cosigned, and what each says.
    Minority(BTreeMap<Ident, String>),
    /// This replica can't propose now.
    Own(String),
    /// The register does not answer.
    Register(Error),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Minority(said) => {
                let each: Vec<_> =
                    said.iter().map(|(name, why)| format!("{name}: {why}")).collect();
                write!(f, "no majority of the replicas cosigns ({})", each.join("; "))
            }
            Self::Own(why) => write!(f, "this replica can't propose: {why}"),
            Self::Register(error) => write!(f, "the register does not answer: {error}"),
        }
    }
}

impl Quorum {
    /// Proposes, until the task ends.
    pub(super) async fn propose_all(&self, register: &Register) -> Result<(), Error> {
        let (mut ready, mut seen) = (self.replica().ready(), self.seen.subscribe());
        loop {
            let now = ready.borrow_and_update().clone();
            let known = seen.borrow_and_update().size();
            if now.size <= known || self.may_cosign().is_err() {
                self.compare(now.size)?;
                tokio::select! {
                    changed = ready.changed() => if changed.is_err() { return Ok(()) },
                    changed = seen.changed() => if changed.is_err() { return Ok(()) },
                }
                continue;
            }
            if !self.replica().leads() {
                let turn = TURN * u32::try_from(self.replica().members.rank() + 1).unwrap_or(1);
                let news = seen.wait_for(|seen| seen.size() > known);
                if tokio::time::timeout(turn, news).await.is_ok() {
                    continue;
                }
            }
            let now = ready.borrow_and_update().clone();
            match self.propose(register, &now).await {
                Ok(()) => {}
                Err(Failed::Register(Error::Halt(reason))) => return Err(Error::Halt(reason)),
                Err(failed) => {
                    let why = failed.to_string();
                    if self.replica().alone().is_none() {
                        tracing::warn!(tenant = %self.tenant.name, why, "nothing new is shown");
                    }
                    self.replica().set_alone(Some(why));
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Halts this replica if a majority has cosigned another tree than is posted here.
    fn compare(&self, posted: u64) -> Result<(), Error> {
        let newest = self.seen.borrow().newest.clone();
        let Some(newest) = newest.filter(|newest| newest.checkpoint.size <= posted) else {
            return Ok(());
        };
        let Checkpoint { size, root, .. } = newest.checkpoint;
        if self.tenant.published().size >= size {
            return Ok(());
        }
        let own = tokio::task::block_in_place(|| self.ledger.stored_root(&self.tenant, size));
        match own {
            Ok(own) if own != root => Err(Error::Halt(format!(
                "a majority of the replicas has cosigned another tree of size {size} (root {root}) than this server \
                 posted ({own}). Keep this database for those who look into it, and begin this replica anew \
                 (docs/operate/several-machines.md)"
            ))),
            _ => Ok(()),
        }
    }

    /// One proposal.
    async fn propose(&self, register: &Register, ready: &Ready) -> Result<(), Failed> {
        let size = ready.size;
        let own = |error: &dyn std::fmt::Display| Failed::Own(error.to_string());
        let root = tokio::task::block_in_place(|| self.ledger.stored_root(&self.tenant, size));
        let root = root.map_err(|error| own(&error))?;
        let checkpoint = Checkpoint { origin: self.tenant.origin.clone(), size, root };
        let note = self.tenant.sign(&checkpoint, ready.keys.signing(size));
        let note = note.map_err(|error| own(&error))?;
        let lines = self.collect(&note).await?;
        let by = lines.keys().copied().collect();
        let note: String = std::iter::once(note).chain(lines.into_values()).collect();
        self.swap(register, Certified { checkpoint, note, by }).await.map_err(Failed::Register)
    }

    /// The cosignatures of a majority, by the place of the member.
    async fn collect(&self, note: &str) -> Result<BTreeMap<usize, String>, Failed> {
        let members = &self.replica().members;
        let mut asked = JoinSet::new();
        for (at, member) in members.all().iter().enumerate() {
            if member.name != *members.own() {
                let (peers, name) = (self.peers.clone(), member.name.clone());
                let body = note.as_bytes().to_vec();
                asked.spawn(async move { (at, peers.ask(&name, body, ANSWER_WAIT).await) });
            }
        }
        let mut lines = BTreeMap::new();
        let mut refused = BTreeMap::new();
        match self.cosign(note).await {
            Ok(line) => drop(lines.insert(members.rank(), line)),
            Err(why) => drop(refused.insert(members.own().clone(), why)),
        }
        while lines.len() < members.majority()
            && let Some(answer) = asked.join_next().await
        {
            let Ok((at, answer)) = answer else { continue };
            let name = &members.all()[at].name;
            let line = self.heard(name, answer).and_then(|said| {
                let line = said.line.ok_or(said.refused.unwrap_or_else(|| "no answer".into()))?;
                let is_its = members.has_cosigned(at, note, &line);
                if is_its { Ok(line) } else { Err("its cosignature is wrong".into()) }
            });
            match line {
                Ok(line) => drop(lines.insert(at, line)),
                Err(why) => {
                    self.replica().note_peer(name, |peer| peer.says = Some(why.clone()));
                    refused.insert(name.clone(), why);
                }
            }
        }
        // The others may still cosign it; nobody waits for them.
        asked.detach_all();
        if lines.len() < members.majority() { Err(Failed::Minority(refused)) } else { Ok(lines) }
    }

    /// Notes what a replica answered.
    pub(super) fn heard(
        &self,
        name: &Ident,
        answer: Result<Vec<u8>, Error>,
    ) -> Result<Said, String> {
        // What went wrong with the journal is in the words of the error; this was only a question to a replica.
        let said = answer.map_err(|error| match error {
            Error::Unavailable(why) | Error::Unknown(why) => why,
            error => error.to_string(),
        });
        let said = said.and_then(|bytes| {
            serde_json::from_slice::<Said>(&bytes)
                .map_err(|_| "its answer is unreadable".to_owned())
        });
        self.replica().note_peer(name, |peer| match &said {
            Ok(said) => {
                (peer.posted, peer.cosigned, peer.shown) = (said.posted, said.cosigned, said.shown);
                peer.journal = said.journal;
                (peer.heard, peer.says) = (Some(Instant::now()), said.refused.clone());
            }
            Err(why) => peer.says = Some(why.clone()),
        });
        said
    }

    /// Puts a cosigned checkpoint into the register. An unknown outcome is settled by another swap, never by reading.
    async fn swap(&self, register: &Register, certified: Certified) -> Result<(), Error> {
        let own = self.replica().members.own();
        let mut seen = self.seen.subscribe();
        let mut last = Error::Unknown("no swap was made".into());
        for _ in 0..SWAPS_MAX {
            let (seq, known) = {
                let seen = seen.borrow_and_update();
                (seen.seq, seen.size())
            };
            if known >= certified.checkpoint.size {
                return Ok(());
            }
            let body = certified.note.clone().into_bytes();
            match register.swap(seq, own, body).await {
                Ok(at) => {
                    self.took(at, Some(own.to_string()), Ok(certified));
                    return Ok(());
                }
                Err(Error::Conflict) => {
                    last = Error::Conflict;
                    let newer = seen.wait_for(|seen| seen.seq > seq);
                    if tokio::time::timeout(WINNER_WAIT, newer).await.is_err() {
                        break;
                    }
                }
                Err(Error::Halt(reason)) => return Err(Error::Halt(reason)),
                Err(error) => {
                    last = error;
                    tokio::time::sleep(SWAP_AGAIN).await;
                }
            }
        }
        Err(last)
    }
}
