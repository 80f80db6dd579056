//! The states between messages that this replica has posted and not shown yet. A checkpoint that a majority cosigns ends at
//! one of them, though rarely at the end of a commit of this replica.

use super::ReceiptWanted;
use crate::{
    log::merkle::Edge,
    post::{Freezes, Identities, Keys, Log, Policies, Pruned},
    reader::Published,
    system::{alert::Alerts, incident::Incidents},
};
use std::{collections::VecDeque, sync::Arc};

/// Most borders that are remembered. A checkpoint at an older one is not shown; a later one is.
const BORDERS_MAX: usize = 65_536;

/// What a log says beside its entries, between two messages. Most messages change none of it, so borders share it.
#[derive(Debug)]
struct Beside {
    epoch: u64,
    clock: Option<u64>,
    pruned: Option<Pruned>,
    policies: Policies,
    freezes: Arc<Freezes>,
    identities: Arc<Identities>,
    alerts: Arc<Alerts>,
    incidents: Arc<Incidents>,
    keys: Keys,
}

impl Beside {
    fn of(log: &Log) -> Self {
        let at = &log.position;
        Self {
            epoch: at.epoch,
            clock: at.clock,
            pruned: at.pruned,
            policies: at.policies.clone(),
            freezes: Arc::new(at.freezes.clone()),
            identities: Arc::new(at.identities.clone()),
            alerts: Arc::new(at.alerts.clone()),
            incidents: Arc::new(at.incidents.clone()),
            keys: log.keys.clone(),
        }
    }

    /// True if it is what this log says now.
    fn is_of(&self, log: &Log) -> bool {
        let at = &log.position;
        (self.epoch, self.clock, self.pruned) == (at.epoch, at.clock, at.pruned)
            && self.policies == at.policies
            && *self.freezes == at.freezes
            && *self.identities == at.identities
            && *self.alerts == at.alerts
            && *self.incidents == at.incidents
            && self.keys == log.keys
    }
}

/// The state after one message.
#[derive(Debug)]
pub struct Border {
    /// Tree size there.
    pub size: u64,
    /// Journal sequence of the message.
    pub posted: u64,
    beside: Arc<Beside>,
    /// Receipts that producers want of this message and of those before it.
    receipts: Vec<ReceiptWanted>,
}

impl Border {
    /// The state as it is shown under a checkpoint of its size, with the right edge there.
    pub fn published(&self, edge: Edge, checkpoint: String) -> Published {
        let beside = &self.beside;
        Published {
            size: self.size,
            root: edge.root(),
            checkpoint,
            edge,
            epoch: beside.epoch,
            posted: self.posted,
            clock: beside.clock,
            pruned: beside.pruned,
            policies: beside.policies.clone(),
            freezes: Arc::clone(&beside.freezes),
            identities: Arc::clone(&beside.identities),
            alerts: Arc::clone(&beside.alerts),
            incidents: Arc::clone(&beside.incidents),
            keys: beside.keys.clone(),
        }
    }
}

/// Borders in the order of the journal, a bounded number of them.
#[derive(Debug, Default)]
pub struct Borders {
    kept: VecDeque<Border>,
    last: Option<Arc<Beside>>,
}

impl Borders {
    /// Notes the state that a log has now.
    pub fn note(&mut self, log: &Log, receipts: Vec<ReceiptWanted>) {
        let last = self.last.take().filter(|last| last.is_of(log));
        let beside = last.unwrap_or_else(|| Arc::new(Beside::of(log)));
        self.last = Some(Arc::clone(&beside));
        let (size, posted) = (log.position.size, log.position.posted);
        self.kept.push_back(Border { size, posted, beside, receipts });
        if self.kept.len() > BORDERS_MAX {
            self.kept.pop_front();
        }
    }

    /// Adds those that were noted later.
    pub fn append(&mut self, mut later: Self) {
        self.kept.append(&mut later.kept);
        self.last = later.last.or(self.last.take());
        let excess = self.kept.len().saturating_sub(BORDERS_MAX);
        self.kept.drain(..excess);
    }

    /// The state with which new borders are compared, so that they share it.
    #[must_use]
    pub fn going_on(&self) -> Self {
        Self { kept: VecDeque::new(), last: self.last.clone() }
    }

    /// Tree size at the last border.
    pub fn size(&self) -> Option<u64> {
        self.kept.back().map(|border| border.size)
    }

    /// The last border of this size: messages after it gave no entries.
    pub fn at(&self, size: u64) -> Option<&Border> {
        let after = self.kept.partition_point(|border| border.size <= size);
        self.kept.get(after.checked_sub(1)?).filter(|border| border.size == size)
    }

    /// Forgets what is before the last border of this size, and gives the receipts that are wanted up to there.
    pub fn shown(&mut self, size: u64) -> Vec<ReceiptWanted> {
        let after = self.kept.partition_point(|border| border.size <= size);
        let mut receipts = Vec::new();
        for border in self.kept.iter_mut().take(after) {
            receipts.append(&mut border.receipts);
        }
        self.kept.drain(..after.saturating_sub(1));
        receipts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ident::Ident, store::LogNumber};

    fn log(size: u64, posted: u64) -> Log {
        let name = Ident::new("acme").unwrap();
        let mut log = Log::new(name, LogNumber(1), "a/l".into(), "jetstream:x".into());
        (log.position.size, log.position.posted) = (size, posted);
        log
    }

    #[test]
    fn p21_borders_are_found_by_size() {
        let mut borders = Borders::default();
        let mut later = borders.going_on();
        for (size, posted) in [(1, 1), (3, 2), (3, 3), (3, 4), (7, 5)] {
            later.note(&log(size, posted), Vec::new());
        }
        borders.append(later);
        let posted = |borders: &Borders, size| borders.at(size).map(|border| border.posted);
        assert_eq!(borders.size(), Some(7));
        assert_eq!(posted(&borders, 0), None);
        assert_eq!(posted(&borders, 1), Some(1));
        assert_eq!(posted(&borders, 2), None, "in the middle of a message");
        assert_eq!(posted(&borders, 3), Some(4), "those that gave no entry belong to it");
        assert_eq!(posted(&borders, 8), None);
        borders.shown(3);
        assert_eq!((posted(&borders, 1), posted(&borders, 3)), (None, Some(4)));
        assert_eq!(posted(&borders, 7), Some(5));
    }

    #[test]
    fn p21_what_did_not_change_is_shared() {
        let mut borders = Borders::default();
        borders.note(&log(1, 1), Vec::new());
        borders.note(&log(2, 2), Vec::new());
        let mut changed = log(3, 3);
        changed.position.clock = Some(2);
        let mut later = borders.going_on();
        later.note(&changed, Vec::new());
        borders.append(later);
        let beside: Vec<_> =
            borders.kept.iter().map(|border| Arc::as_ptr(&border.beside)).collect();
        assert_eq!(beside[0], beside[1]);
        assert_ne!(beside[1], beside[2]);
        assert_eq!(borders.at(3).unwrap().beside.clock, Some(2));
        assert_eq!(borders.at(2).unwrap().beside.clock, None, "as it was there");
    }
}
