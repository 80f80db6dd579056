//! A tenant whose log is cosigned by replicas: how far posting came, and whether a majority is there (P21).

use super::Tenant;
use crate::{
    ident::Ident,
    log::replicas::Members,
    post::{Keys, Log},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How far this replica could cosign.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    /// Tree size at the last message that is posted and committed. 0 while nothing may be cosigned.
    pub size: u64,
    /// Journal sequence up to which everything is posted and committed.
    pub journal: u64,
    /// Every key that ever signed checkpoints, up to there.
    pub keys: Arc<Keys>,
}

/// How another replica stands.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Tree size that it has posted.
    pub posted: u64,
    /// Journal sequence up to which it has posted.
    pub journal: u64,
    /// Tree size that it last cosigned.
    pub cosigned: u64,
    /// Tree size that it shows.
    pub shown: u64,
    /// When it last answered.
    pub heard: Option<Instant>,
    /// Why it did not answer or cosign the last time.
    pub says: Option<String>,
}

/// What must be seen by a person.
#[derive(Clone, Debug, Default)]
pub struct Alarms {
    /// Values of the register that were ignored, and what was wrong with the last one.
    pub ignored: (u64, String),
    /// Whose tree differs from this replica's.
    pub differs: Option<String>,
}

/// What a replica knows of its log and of the other replicas, as far as other modules need it.
pub struct Replica {
    /// Who cosigns.
    pub members: Arc<Members>,
    ready: watch::Sender<Ready>,
    /// True once this process has shown a checkpoint that a majority has cosigned.
    showed: AtomicBool,
    /// True while the newest cosigned checkpoint is one that this replica proposed.
    leads: AtomicBool,
    /// Largest tree size that a majority is known to have cosigned.
    certified: AtomicU64,
    /// Why nothing new is shown.
    alone: Mutex<Option<String>>,
    peers: Mutex<BTreeMap<Ident, Peer>>,
    alarms: Mutex<Alarms>,
    begun: Instant,
}

impl Replica {
    pub(super) fn new(members: Arc<Members>) -> Self {
        Self {
            members,
            ready: watch::Sender::default(),
            showed: AtomicBool::new(false),
            leads: AtomicBool::new(false),
            certified: AtomicU64::new(0),
            alone: Mutex::default(),
            peers: Mutex::default(),
            alarms: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// Time since this process opened the log.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How the other replicas stand, by name.
    pub fn peers(&self) -> BTreeMap<Ident, Peer> {
        self.peers.lock().expect("no holder of the lock panics").clone()
    }

    /// Notes something about another replica.
    pub fn note_peer(&self, name: &Ident, note: impl FnOnce(&mut Peer)) {
        let mut peers = self.peers.lock().expect("no holder of the lock panics");
        note(peers.entry(name.clone()).or_default());
    }

    /// What must be seen by a person.
    pub fn alarms(&self) -> Alarms {
        self.alarms.lock().expect("no holder of the lock panics").clone()
    }

    /// Notes what must be seen by a person.
    pub fn alarm(&self, note: impl FnOnce(&mut Alarms)) {
        note(&mut self.alarms.lock().expect("no holder of the lock panics"));
    }

    /// Receives how far this replica could cosign.
    pub fn ready(&self) -> watch::Receiver<Ready> {
        self.ready.subscribe()
    }

    /// Notes how far posting came. `size`: 0 while nothing may be cosigned.
    pub(crate) fn set_ready(&self, size: u64, log: &Log) {
        self.ready.send_modify(|ready| {
            ready.size = size;
            ready.journal = log.position.posted;
            if *ready.keys != log.keys {
                ready.keys = Arc::new(log.keys.clone());
            }
        });
    }

    /// Journal sequence up to which every replica has posted, this one too. 0 while one of them has not been heard: what it
    /// lacks, it could never post if it were gone.
    pub fn posted_by_all(&self) -> u64 {
        let peers = self.peers();
        let others = self.members.all().iter().filter(|member| member.name != *self.members.own());
        let others = others.map(|member| {
            peers
                .get(&member.name)
                .filter(|peer| peer.heard.is_some())
                .map_or(0, |peer| peer.journal)
        });
        others.min().unwrap_or_default().min(self.ready.borrow().journal)
    }

    /// Largest tree size that a majority is known to have cosigned.
    pub fn certified(&self) -> u64 {
        self.certified.load(Ordering::Relaxed)
    }

    /// Notes a size that a majority has cosigned.
    pub fn set_certified(&self, size: u64) {
        self.certified.fetch_max(size, Ordering::Relaxed);
    }

    /// True once a cosigned checkpoint was shown by this process.
    pub fn has_shown(&self) -> bool {
        self.showed.load(Ordering::Acquire)
    }

    pub(crate) fn set_shown(&self) {
        self.showed.store(true, Ordering::Release);
    }

    /// True if this replica does what one of them must do. It only saves work: nothing rests on it.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// Sets whether the newest cosigned checkpoint is one that this replica proposed.
    pub fn set_leads(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    /// Why nothing new is shown, if no majority cosigns.
    pub fn alone(&self) -> Option<String> {
        self.alone.lock().expect("no holder of the lock panics").clone()
    }

    /// Sets why nothing new is shown. `None` once a majority cosigns.
    pub fn set_alone(&self, why: Option<String>) {
        *self.alone.lock().expect("no holder of the lock panics") = why;
    }
}

impl Tenant {
    /// The same for a log that replicas cosign.
    #[must_use]
    pub(crate) fn cosigned_by(mut self, members: Option<&Arc<Members>>) -> Self {
        self.replica = members.map(|members| Replica::new(Arc::clone(members)));
        self
    }

    /// What this replica knows, if replicas cosign the log.
    pub fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// The journal sequence below which messages may be trimmed, because every replica has posted them. `u64::MAX` if this
    /// server signs alone.
    pub fn posted_by_all(&self) -> u64 {
        self.replica.as_ref().map_or(u64::MAX, Replica::posted_by_all)
    }

    /// True if what this process shows is signed as it must be: it is the one signer, or a majority of replicas has
    /// cosigned since it started.
    pub fn shows(&self) -> bool {
        self.replica.as_ref().map_or_else(|| self.unposted_claim().is_none(), Replica::has_shown)
    }

    /// Why nothing may be appended, if replicas cosign the log and can't: it would be told to nobody.
    pub fn no_quorum(&self) -> Option<String> {
        let replica = self.replica.as_ref()?;
        let starts =
            || (!replica.has_shown()).then(|| "no cosigned checkpoint was shown yet".into());
        replica.alone().or_else(starts)
    }

    /// True if this process does what one server alone must do: it is the one signer, or the replica that leads.
    pub fn signs(&self) -> bool {
        self.shows() && self.replica.as_ref().is_none_or(Replica::leads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{cosignature::CosignerKey, replicas::Member};

    fn replica() -> Replica {
        let key = |name: &str| {
            CosignerKey::new(&format!("log.example/{name}"), &[name.as_bytes()[0]; 32])
        };
        let name = |name: &str| Ident::new(name).unwrap();
        let member = |of: &str| Member { name: name(of), key: key(of).public().clone() };
        let all = ["a", "b", "c"].map(member).into();
        Replica::new(Arc::new(Members::new(name("a"), key("a"), all).unwrap()))
    }

    #[test]
    fn p21_nothing_is_trimmed_that_a_replica_may_lack() {
        let replica = replica();
        let says = |name: &str, journal, is_heard: bool| {
            replica.note_peer(&Ident::new(name).unwrap(), |peer| {
                peer.journal = journal;
                peer.heard = is_heard.then(Instant::now);
            });
            replica.posted_by_all()
        };
        replica.ready.send_modify(|ready| ready.journal = 90);
        assert_eq!(replica.posted_by_all(), 0, "nobody was heard yet");
        assert_eq!(says("b", 100, true), 0, "c was never heard");
        assert_eq!(says("c", 100, false), 0, "c only failed to answer");
        assert_eq!(says("c", 70, true), 70);
        assert_eq!(says("c", 100, true), 90, "this one is behind");
        // One that was begun anew needs the journal from its beginning.
        assert_eq!(says("b", 0, true), 0);
    }
}
