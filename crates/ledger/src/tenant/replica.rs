//! A tenant whose log is cosigned by replicas: how far posting came, and whether a majority is there (P21).

use super::{Alarms, Peer, Tenant};
use crate::{
    ident::Ident,
    keyring,
    log::{
        members::{Member, MemberSet},
        note::Vkey,
        replicas::Members,
    },
    post::{Keys, Log},
    system::KeyUse,
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

/// What a replica knows of its log and of the other replicas, as far as other modules need it.
pub struct Replica {
    /// This replica, and the first set.
    pub members: Arc<Members>,
    /// Every set that the posted entries name, oldest first. Empty until the first change.
    named: Mutex<Arc<Vec<MemberSet>>>,
    /// True if the log's genesis names the first set, and the configuration says nothing of it.
    first_is_named: AtomicBool,
    ready: watch::Sender<Ready>,
    /// True once this process has shown a checkpoint that a majority has cosigned.
    showed: AtomicBool,
    /// True while the newest cosigned checkpoint is one that this replica proposed.
    leads: AtomicBool,
    /// Largest tree size that a majority is known to have cosigned.
    certified: AtomicU64,
    /// Why nothing new is shown.
    alone: Mutex<Option<String>>,
    /// Journal messages that are missing, and what the others say of them.
    hole: Mutex<Option<String>>,
    /// True once this process has followed the register to its end.
    knows_register: AtomicBool,
    peers: Mutex<BTreeMap<Ident, Peer>>,
    alarms: Mutex<Alarms>,
    begun: Instant,
}

impl Replica {
    pub(super) fn new(members: Arc<Members>) -> Self {
        Self {
            members,
            named: Mutex::default(),
            first_is_named: AtomicBool::new(false),
            ready: watch::Sender::default(),
            showed: AtomicBool::new(false),
            leads: AtomicBool::new(false),
            certified: AtomicU64::new(0),
            alone: Mutex::default(),
            hole: Mutex::default(),
            knows_register: AtomicBool::new(false),
            peers: Mutex::default(),
            alarms: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// Every set of replicas that is posted here, oldest first; the first one is configured.
    pub fn sets(&self) -> Vec<MemberSet> {
        let named = Arc::clone(&self.named.lock().expect("no holder of the lock panics"));
        self.members.sets(&named).to_vec()
    }

    /// The set of replicas in force where posting is now.
    pub fn set(&self) -> MemberSet {
        let named = Arc::clone(&self.named.lock().expect("no holder of the lock panics"));
        self.members.sets(&named).last().unwrap_or(self.members.first()).clone()
    }

    /// Notes the first set, as a genesis names it that is in the journal and not posted yet.
    pub(crate) fn set_first(&self, members: Vec<Member>) {
        self.first_is_named.store(true, Ordering::Relaxed);
        let mut named = self.named.lock().expect("no holder of the lock panics");
        if named.is_empty() {
            *named = Arc::new(vec![MemberSet::first(members)]);
        }
    }

    /// True if this replica is in the set in force.
    pub fn is_member(&self) -> bool {
        self.set().has(self.members.this())
    }

    /// Why this replica cosigns nothing: it is not, or no longer, in the set in force.
    pub fn not_a_member(&self) -> Option<String> {
        let set = self.set();
        if set.has(self.members.this()) {
            return None;
        }
        let own = self.members.own();
        let was = self.sets().iter().any(|set| set.has(self.members.this()));
        let key = set.members.iter().any(|one| one.name == *own);
        Some(if key {
            format!(
                "the replicas (version {}) have {own} with another key than this one's",
                set.version
            )
        } else if was {
            format!(
                "{own} was removed from the replicas: version {} has {}",
                set.version,
                set.names()
            )
        } else {
            format!(
                "{own} is not one of the replicas yet: version {} has {}",
                set.version,
                set.names()
            )
        })
    }

    /// True if the configuration has another first set than the log names, and should have the same.
    pub fn first_differs(&self) -> bool {
        if self.first_is_named.load(Ordering::Relaxed) {
            return false;
        }
        let named = Arc::clone(&self.named.lock().expect("no holder of the lock panics"));
        named.first().is_some_and(|first| first.members != self.members.first().members)
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
        self.set_named(log);
        self.ready.send_modify(|ready| {
            ready.size = size;
            ready.journal = log.position.posted;
            if *ready.keys != log.keys {
                ready.keys = Arc::new(log.keys.clone());
            }
        });
    }

    /// Forgets what a replica said whose name another one has in `after`: nobody has heard the new one.
    fn forget_replaced(&self, before: &MemberSet, after: &MemberSet) {
        let key = |set: &MemberSet, name: &Ident| {
            set.members.iter().find(|one| one.name == *name).map(|one| one.key.clone())
        };
        let is_replaced = |name: &Ident| {
            key(before, name).zip(key(after, name)).is_some_and(|(was, is)| was != is)
        };
        let mut peers = self.peers.lock().expect("no holder of the lock panics");
        peers.retain(|name, _| !is_replaced(name));
    }

    /// Notes which sets the posted entries name.
    pub(crate) fn set_named(&self, log: &Log) {
        if log.keys.first_members {
            self.first_is_named.store(true, Ordering::Relaxed);
        }
        let mut named = self.named.lock().expect("no holder of the lock panics");
        // Sets only come. Before the genesis is posted, its own is known from the journal.
        if named.len() < log.keys.members.len() {
            let before = self.members.sets(&named).last().unwrap_or(self.members.first());
            if let Some(after) = log.keys.members.last() {
                self.forget_replaced(before, after);
            }
            *named = Arc::new(log.keys.members.clone());
        }
    }

    /// Journal sequence up to which every replica has posted, this one too. 0 while one of them has not been heard: what it
    /// lacks, it could never post if it were gone.
    pub fn posted_by_all(&self) -> u64 {
        let peers = self.peers();
        let set = self.set();
        let others = set.members.iter().filter(|member| *member != self.members.this());
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

    /// True once this process has followed the register to its end: then [`Replica::certified`] is what a majority had cosigned
    /// when it started, or more.
    pub fn knows_register(&self) -> bool {
        self.knows_register.load(Ordering::Acquire)
    }

    pub(crate) fn set_knows_register(&self, knows: bool) {
        self.knows_register.store(knows, Ordering::Release);
    }

    /// Which journal messages are missing where posting stands, and what the others say of them. `None` if none are.
    pub fn hole(&self) -> Option<String> {
        self.hole.lock().expect("no holder of the lock panics").clone()
    }

    pub(crate) fn set_hole(&self, hole: Option<String>) {
        *self.hole.lock().expect("no holder of the lock panics") = hole;
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
    pub(crate) fn cosigned_by(mut self, members: Option<&Arc<Members>>, log: &Log) -> Self {
        self.replica = members.map(|members| {
            let replica = Replica::new(Arc::clone(members));
            replica.set_named(log);
            replica
        });
        self
    }

    /// What this replica knows, if replicas cosign the log.
    pub fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// Reads the files of keys that came since they were read.
    pub fn refresh_keys(&self) -> Result<(), keyring::Error> {
        self.keyring.write().expect("no holder of the lock panics").refresh()
    }

    /// The keys that must sign a size: all of one of these lists. There are several if the size is not posted here.
    pub(crate) fn log_keys_at(&self, size: u64) -> Vec<Vec<Vkey>> {
        let ready = self.replica.as_ref().map(|replica| replica.ready().borrow().clone());
        let ready = ready.unwrap_or_default();
        let published = self.published();
        let keys = if ready.keys.log.is_empty() { &published.keys } else { &ready.keys };
        let mut lists = vec![keys.signers(size)];
        if size > ready.size {
            let files = self.with_keys(|ring| ring.vkeys(KeyUse::Log));
            lists.extend(files.into_iter().rev().map(|key| vec![key]));
        }
        lists.retain(|list: &Vec<Vkey>| !list.is_empty());
        lists
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
        replica.alone().or_else(starts).or_else(|| replica.hole())
    }

    /// True if this process does what one server alone must do: it is the one signer, or the replica that leads.
    pub fn signs(&self) -> bool {
        self.shows() && self.replica.as_ref().is_none_or(Replica::leads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{cosignature::CosignerKey, members::Member};

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
