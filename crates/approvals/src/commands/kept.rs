//! Approvals as they were read last, so that the next command proves and folds only the entries that came since.
//!
//! What is kept was proven when it was read, and entries never change. Whether there are newer ones is asked of the log
//! each time.

use crate::history::Approval;
use ledger::ident::Ident;
use std::{collections::HashMap, sync::Mutex};

/// Most approvals kept, about 2 KB each.
const APPROVALS_MAX: usize = 8192;

/// The approvals that were read or changed last.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Generations>);

/// When the young ones are half of what may be kept, they become the old ones, and the old ones are dropped.
#[derive(Default)]
struct Generations {
    young: HashMap<Ident, Approval>,
    old: HashMap<Ident, Approval>,
}

impl Kept {
    /// Takes out an approval as it was read last. Whoever takes it reads on, and keeps the result.
    pub fn take(&self, id: &Ident) -> Option<Approval> {
        let mut kept = self.0.lock().expect("no holder of the lock panics");
        let young = kept.young.remove(id);
        let old = kept.old.remove(id);
        young.or(old)
    }

    /// Keeps an approval as it is now.
    pub fn keep(&self, approval: Approval) {
        let mut kept = self.0.lock().expect("no holder of the lock panics");
        if kept.young.len() >= APPROVALS_MAX / 2 {
            kept.old = std::mem::take(&mut kept.young);
        }
        kept.young.insert(approval.id.clone(), approval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decider::approval::State;

    fn approval(id: usize) -> Approval {
        let id = Ident::new(&format!("apr-{id}")).unwrap();
        Approval { id, state: State::begin(""), steps: Vec::new(), expected: 0 }
    }

    #[test]
    fn p13_the_newest_are_kept_and_their_number_is_bounded() {
        let kept = Kept::default();
        (0..3 * APPROVALS_MAX).for_each(|id| kept.keep(approval(id)));
        let taken: Vec<_> =
            (0..3 * APPROVALS_MAX).filter(|id| kept.take(&approval(*id).id).is_some()).collect();
        assert_eq!(taken.len(), APPROVALS_MAX);
        assert_eq!(taken[0], 2 * APPROVALS_MAX);
        assert!(kept.take(&approval(2 * APPROVALS_MAX).id).is_none(), "it was taken out");
    }
}
