//! What was read of payload so far, so that nothing is read twice.

use decider::decision::Fields;
use ledger::{log::merkle::Hash, time::Nanos, verify::Erased};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What was read of payload so far.
#[derive(Default)]
pub struct Read {
    /// The entry that was read last: several parts ask for one entry, one after the other.
    pub(super) last: RefCell<Option<(u64, Rc<Fields>)>>,
    /// Erasures after the checkpoint, by the erased entry and the erasure's place among these.
    pub(super) later: RefCell<BTreeMap<(u64, usize), Later>>,
    /// What retention let expire after the checkpoint, by the path of its receipt without ending.
    pub(super) expired: RefCell<BTreeMap<String, Step>>,
}

/// What explains, after the checkpoint, that payload is gone.
#[derive(Clone, Debug)]
pub struct Later {
    /// Leaf index of its entry.
    pub index: u64,
    /// Its receipt.
    pub receipt: String,
    /// The tree size of its receipt.
    pub size: u64,
    /// The proof that the log of that size continues this one.
    pub proof: Vec<Hash>,
    pub(super) at: Nanos,
    pub(super) by: (String, String),
    pub(super) fields: String,
    pub(super) erased: Erased,
}

/// A step of retention after the checkpoint, or the deletion of the tenant.
#[derive(Clone, Debug)]
pub struct Step {
    pub(super) later: Later,
    /// The entries of this folder that lost their payload by it.
    pub(super) entries: BTreeSet<u64>,
}
