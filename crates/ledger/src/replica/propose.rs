//! Proposes what is posted: collects cosignatures, and puts what a majority has cosigned into the register (P21).
//!
//! Any replica may propose at any time. The one whose proposal was last taken goes first; the others wait a moment, which
//! only saves work.

use super::{Quorum, cosigner::Said};
use crate::{
    ident::Ident,
    journal::{Error, jetstream::register::Register},
    log::{
        checkpoint::Checkpoint,
        members::{self, Member, MemberSet},
        replicas::{Certified, has_cosigned},
    },
    tenant::Ready,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
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

/// Cosignatures of a proposal, and why others did not cosign it.
#[derive(Default)]
struct Collected {
    by: Vec<Member>,
    lines: BTreeMap<Ident, String>,
    refused: BTreeMap<Ident, String>,
}

impl Collected {
    fn take(&mut self, by: &Member, line: String) {
        self.by.push(by.clone());
        self.lines.insert(by.name.clone(), line);
    }

    fn has_majorities(&self, needed: &[MemberSet]) -> bool {
        let count = |set: &MemberSet| self.by.iter().filter(|one| set.has(one)).count();
        needed.iter().all(|set| count(set) >= set.majority())
    }
}

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
            self.read_again(now.size)?;
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
                let turn = TURN * u32::try_from(self.rank() + 1).unwrap_or(1);
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
        if newest.is_vouched {
            match self.certified(&newest.note, &self.needed(size)) {
                Ok(judged) => self.seen.send_modify(|seen| seen.judged(judged)),
                Err(error) => {
                    self.revoke(&newest, &error.to_string());
                    return Ok(());
                }
            }
        }
        let sets = self.replica().sets();
        let in_force = members::in_force(&sets, size).map_or(0, |set| set.version);
        if newest.version != in_force {
            let was = newest.version;
            self.revoke(&newest, &format!("it was cosigned by the replicas of version {was}, and version {in_force} is in force there"));
            return Ok(());
        }
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
        let needed = self.needed(size);
        let version = needed.first().map_or(0, |set| set.version);
        let lines = self.collect(&note, &needed).await?;
        let by = lines.keys().cloned().collect();
        let note: String = std::iter::once(note).chain(lines.into_values()).collect();
        let certified = Certified { checkpoint, note, by, version, is_vouched: false };
        self.put_steps(register, &certified).await.map_err(Failed::Register)?;
        self.swap(register, certified).await.map_err(Failed::Register)
    }

    /// The place of this replica in the set in force; that of one more if it is not in it.
    fn rank(&self) -> usize {
        let (set, own) = (self.replica().set(), self.replica().members.this());
        set.members.iter().position(|one| one == own).unwrap_or(set.members.len())
    }

    /// The cosignatures of a majority of each of these sets, by the name of the member.
    async fn collect(
        &self,
        note: &str,
        needed: &[MemberSet],
    ) -> Result<BTreeMap<Ident, String>, Failed> {
        let own = &self.replica().members;
        // A replaced member may have the name of its successor: whoever answers is the one whose key has cosigned.
        let members: Vec<&Member> = needed.iter().flat_map(|set| &set.members).collect();
        let names: BTreeSet<&Ident> = members.iter().map(|member| &member.name).collect();
        let mut asked = JoinSet::new();
        for name in names.into_iter().filter(|name| *name != own.own()) {
            let (peers, name, body) = (self.peers.clone(), name.clone(), note.as_bytes().to_vec());
            asked.spawn(async move {
                let answer = peers.ask(&name, body, ANSWER_WAIT).await;
                (name, answer)
            });
        }
        let mut collected = Collected::default();
        match self.cosign(note).await {
            Ok(line) => collected.take(own.this(), line),
            Err(why) => drop(collected.refused.insert(own.own().clone(), why)),
        }
        while !collected.has_majorities(needed)
            && let Some(answer) = asked.join_next().await
        {
            let Ok((name, answer)) = answer else { continue };
            let line = self.heard(&name, answer).and_then(|said| {
                let line = said.line.ok_or(said.refused.unwrap_or_else(|| "no answer".into()))?;
                let mut of_name = members.iter().filter(|member| member.name == name);
                let by = of_name.find(|member| has_cosigned(member, note, &line));
                by.map(|by| (*by, line)).ok_or_else(|| "its cosignature is wrong".into())
            });
            match line {
                Ok((by, line)) => collected.take(by, line),
                Err(why) => {
                    self.replica().note_peer(&name, |peer| peer.says = Some(why.clone()));
                    collected.refused.insert(name, why);
                }
            }
        }
        // The others may still cosign it; nobody waits for them.
        asked.detach_all();
        if collected.has_majorities(needed) {
            Ok(collected.lines)
        } else {
            Err(Failed::Minority(collected.refused))
        }
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
                (peer.journal, peer.set) = (said.journal, said.set.clone());
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
