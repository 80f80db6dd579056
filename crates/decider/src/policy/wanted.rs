//! What clauses ask to be redacted, and where.

use super::{detect::Chosen, pointer::Pointer};

/// What one item of a clause asks for.
#[derive(Clone, Copy)]
pub(super) struct Item<'b> {
    /// The place of the clause.
    pub(super) clause: usize,
    pub(super) at: &'b Pointer,
    pub(super) chosen: Chosen,
    /// A keyed token in place of a mark.
    pub(super) token: bool,
}

/// What is asked for at one place: which detectors, which of them by tokens, and by which clauses each.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    pub(super) chosen: Chosen,
    pub(super) masked: Chosen,
    pub(super) by: Vec<(Chosen, usize)>,
}

impl Wanted {
    pub(super) fn take(&mut self, item: &Item<'_>) {
        self.chosen = self.chosen.and(item.chosen);
        if !item.token {
            self.masked = self.masked.and(item.chosen);
        }
        self.by.push((item.chosen, item.clause));
    }
}
