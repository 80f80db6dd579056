//! Posts that the entries before a size are removed: an export has them (P20). Judged by the log alone, so every server
//! comes to the same answer, whatever it has removed already.

use super::{Error, Log, Prepared, body::read};
use crate::{
    entry::{Kind, Origin, View},
    erased,
    journal::Subject,
    log::merkle,
    proven::Tree,
    store::{self, Changes, Family, LogNumber, Read},
    system::prune::{Prune, Pruned},
};

/// `"pruning" ‖ log`, in `meta`: a [`Pruned`] as JSON, until its entries are removed.
pub fn pruning_key(number: LogNumber) -> Vec<u8> {
    number.meta("pruning")
}

/// The pruning whose entries are not all removed.
pub fn pruning(read: &dyn Read, number: LogNumber) -> Result<Option<Pruned>, store::Error> {
    let row = read.get(Family::Meta, &pruning_key(number))?;
    row.map(|bytes| store::read_json(&bytes, "meta")).transpose()
}

impl Log {
    /// The entries before this leaf index may be gone: nothing is judged by them.
    pub fn kept_from(&self) -> u64 {
        self.position.pruned.map_or(0, |pruned| pruned.size)
    }

    /// Lets the entries before a size go.
    pub(super) fn post_prune(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Result<Option<u64>, Error> {
        let Some(prune) = read::<Prune>(&message.body) else { return Ok(None) };
        let (size, here) = (prune.size, self.position.size);
        let fits = prune.is_sound()
            && size > self.kept_from()
            && size < here
            && prune.export.size <= here
            && !self.position.retention.is_held()
            && self.is_earlier(prune.reason.as_ref());
        if !fits || !self.is_as_said(changes, &prune)? {
            return Ok(None);
        }
        let Some(index) = self.append_plain(changes, (Kind::Prune, origin), message, subject)
        else {
            return Ok(None);
        };
        let pruned = Pruned { index, size, time: prune.time };
        self.position.pruned = Some(pruned);
        self.position.retention.prune(size);
        erased::hide_pruned(changes, self.number, size)?;
        changes.put(Family::Meta, pruning_key(self.number), store::to_json(&pruned));
        Ok(Some(index))
    }

    /// True if both roots are those of the tree, and the size is between two messages of the journal, or behind a gap
    /// that the next entry opened: then what is kept follows from what was read.
    fn is_as_said(&self, changes: &Changes<'_>, prune: &Prune) -> Result<bool, store::Error> {
        let tree = Tree {
            store: changes,
            number: self.number,
            edge: &self.edge,
            known: &self.proven_tiles,
            pruned: self.position.pruned,
        };
        let corrupt = || store::Error::Corrupt { family: "entries", what: "an entry" };
        let place_of = |index| -> Result<(Kind, Origin), store::Error> {
            let entry = tree.entry(index)?;
            View::parse(&entry).map(|view| (view.kind, view.origin)).ok_or_else(corrupt)
        };
        let ((kind, last), (_, first)) = (place_of(prune.size - 1)?, place_of(prune.size)?);
        let between = (last.epoch, last.seq) != (first.epoch, first.seq);
        Ok((between || kind == Kind::GapOpened)
            && last.time == prune.time
            && merkle::root_at(&tree, prune.size)? == prune.root
            && merkle::root_at(&tree, prune.export.size)? == prune.export.root)
    }
}
