//! Logs that replicas cosign: what is shown at the start, and what is kept of what was shown (P21).

use super::Ledger;
use crate::{
    guard,
    journal::Journal,
    log::{
        members,
        merkle::{self, Edge, Hash},
        replicas::{Certified, Members},
    },
    post::{self, Log, Position},
    proven::{self, Tree},
    reader::{self, Published},
    store::{self, Family, Read as _},
    tenant::Tenant,
    writer::{Borders, Cosigning, Work},
};
use std::sync::Arc;

/// Why a log that replicas cosign is halted at a server that is none.
pub(super) const REPLICAS_MISSING: &str = "replicas cosign this log, and [replica] is missing in the configuration: a server that signs \
     it alone could sign a second history. Put [replica] back (docs/operate/several-machines.md)";

/// True if replicas cosign this log: what was shown last has their cosignatures, or an entry names them.
pub(super) fn needs_replicas(log: &Log, stored: &Published) -> bool {
    let line = format!("\u{2014} {}", members::key_name(&log.origin, ""));
    !log.keys.members.is_empty() || stored.checkpoint.lines().any(|one| one.starts_with(&line))
}

/// What is shown at the start: `stored`, if a majority has cosigned it; otherwise nothing yet.
pub(super) fn shown(own: &Members, log: &Log, stored: Published) -> Published {
    let certified = log.keys.certified(&log.origin, own, &stored.checkpoint);
    let fits = certified.is_ok_and(|certified| {
        let of = certified.checkpoint;
        (of.size, of.root) == (stored.size, stored.root) && stored.edge.root() == stored.root
    });
    if fits {
        return Published { posted: 0, ..stored };
    }
    let edge = Edge::default();
    Published {
        size: 0,
        root: merkle::empty_root(),
        edge,
        checkpoint: String::new(),
        posted: 0,
        ..stored
    }
}

/// What an opened log may cosign at once: all that is posted.
pub(super) fn begin(tenant: &Tenant, log: &Log, waits: bool) -> Cosigning {
    let Some(replica) = tenant.replica() else { return Cosigning::default() };
    let mut borders = Borders::default();
    let is_whole = !waits && log.position.provisional.is_empty() && log.position.size > 0;
    if is_whole && !matches!(tenant.journal(), Journal::Absent) {
        borders.note(log, Vec::new());
        replica.set_ready(log.position.size, log);
    }
    Cosigning::begin(borders)
}

impl Ledger {
    /// The guard, if this server is a replica.
    pub fn shared_guard(&self) -> Option<&guard::Shared> {
        self.shared_guard.as_ref()
    }

    /// Tree size that this replica last cosigned. 0 if it is none.
    pub fn cosigned_size(&self, tenant: &Tenant) -> u64 {
        let known = self.shared_guard.as_ref();
        known.and_then(|guard| Some(guard.lock().mark(&tenant.origin)?.size)).unwrap_or_default()
    }

    /// Shows a cosigned checkpoint as soon as it is posted here.
    pub fn certified(&self, tenant: &Tenant, certified: Arc<Certified>) {
        self.inbox.push(tenant.number, Work::Certified(certified));
    }

    /// The root of a posted tree of `size`, computed from the stored tiles and entries, not from what is in memory.
    pub fn stored_root(&self, tenant: &Tenant, size: u64) -> Result<Hash, store::Error> {
        Ok(reader::load_edge(&*self.store, tenant.number, size)?.root())
    }

    /// What the posted journal messages `from..=to` of an epoch gave: the number of entries before them, and index and leaf hash of
    /// the first one of theirs, if there is one. Each entry that is read is proven to the posted root.
    ///
    /// [`store::Error::Pruned`] if they stood where entries were pruned.
    pub fn gave(
        &self,
        tenant: &Tenant,
        position: &Position,
        (epoch, from, to): (u64, u64, u64),
    ) -> Result<(u64, Option<(u64, Hash)>), store::Error> {
        let edge = reader::load_edge(&*self.store, tenant.number, position.size)?;
        if edge.root() != position.root {
            return Err(store::Error::Corrupt { family: "tiles", what: "the posted root" });
        }
        let (number, known, pruned) = (tenant.number, &self.proven_tiles, position.pruned);
        let tree = Tree { store: &*self.store, number, edge: &edge, known, pruned };
        let kept_from = pruned.map_or(0, |pruned| pruned.size);
        let range = (kept_from.saturating_sub(1), position.size);
        let first = post::first_from(|at| tree.entry(at), range, (epoch, from))?;
        if first < kept_from.max(1) {
            return Err(proven::missing(first, pruned));
        }
        let after = (epoch, to.saturating_add(1));
        let end = post::first_from(|at| tree.entry(at), (first, position.size), after)?;
        let hash = (first < end).then(|| tree.entry(first)).transpose()?;
        Ok((first, hash.map(|entry| (first, merkle::leaf_hash(&entry)))))
    }

    /// The step to a set of replicas, if it is stored: the receipt of its entry under a checkpoint of both sets.
    pub fn step(&self, tenant: &Tenant, version: u64) -> Result<Option<String>, store::Error> {
        let step = self.store.get(Family::Meta, &step_key(tenant, version))?;
        Ok(step.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Stores the step to a set of replicas.
    pub fn keep_step(
        &self,
        tenant: &Tenant,
        version: u64,
        receipt: &[u8],
    ) -> Result<(), store::Error> {
        let write = ((Family::Meta, step_key(tenant, version)), Some(receipt.to_vec()));
        self.store.commit(std::iter::once(write))
    }

    /// Stores what is shown, in place of what was shown in the same second.
    pub fn keep_shown(&self, tenant: &Tenant, published: &Published) -> Result<(), store::Error> {
        let (number, bytes) = (tenant.number, published.checkpoint.as_bytes().to_vec());
        let row = number.meta("checkpoint");
        if self.store.get(Family::Meta, &row)?.as_ref() == Some(&bytes) {
            return Ok(());
        }
        let second = number.numbered(tenant.now().seconds());
        let writes = [
            ((Family::Meta, row), Some(bytes.clone())),
            ((Family::Checkpoints, second), Some(bytes)),
        ];
        self.store.commit(writes.into_iter())
    }
}

/// `meta` key `"step" ‖ log ‖ version`.
fn step_key(tenant: &Tenant, version: u64) -> Vec<u8> {
    [&tenant.number.meta("step")[..], &version.to_be_bytes()].concat()
}
