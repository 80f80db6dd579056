//! Shows what a majority of the replicas has cosigned. Nothing else is shown of such a log (P21).

use super::{Active, Borders, Part, Stop, Writer, end_process, missing_handovers};
use crate::{
    guard::Mark,
    log::{members, replicas::Certified},
    reader,
    store::{self, LogNumber, rocks::Rocks},
};
use std::sync::Arc;

/// Why a replica halts whose configuration has another first set than the log's entries name: by that set the ones that were there
/// first would never be asked about the change.
pub const FIRST_DIFFERS: &str = "the first change of the replicas in the log begins with other replicas than [replica] members here. Compare \
     the configurations of all replicas with `before` of the entry (`countersign entries --kind members`). If only this one differs, \
     correct it, then start again. If the entry is wrong, somebody has this log's journal key and has made a false change: nothing \
     of it was shown; stop all replicas, and find out who (docs/operate/several-machines.md)";

/// What is posted and waits to be cosigned, and the newest checkpoint that is.
#[derive(Debug, Default)]
pub struct Cosigning {
    /// Posted states that are not shown yet.
    pub borders: Borders,
    newest: Option<Arc<Certified>>,
}

impl Cosigning {
    /// Begins with a log as it was opened.
    pub fn begin(borders: Borders) -> Self {
        Self { borders, newest: None }
    }

    /// Takes a cosigned checkpoint, if it is newer.
    pub fn take(&mut self, newer: &Arc<Certified>) {
        let size = |certified: &Certified| certified.checkpoint.size;
        if self.newest.as_ref().is_none_or(|known| size(known) < size(newer)) {
            self.newest = Some(Arc::clone(newer));
        }
    }
}

impl Part<'_> {
    /// Notes the state after a message, if nothing is provisional in it.
    pub(super) fn note_border(&mut self) {
        if self.log.position.provisional.is_empty() && self.log.position.size > 0 {
            let receipts = std::mem::take(&mut self.receipts);
            self.borders.note(&self.log, receipts);
        }
    }
}

impl Writer {
    /// After a commit: notes what may be cosigned now, and shows what is.
    pub(super) fn cosigned(&mut self, number: LogNumber, noted: Borders) {
        let Some(active) = self.logs.get_mut(&number) else { return };
        let Some(replica) = active.tenant.replica() else { return };
        active.cosigning.borders.append(noted);
        if active.log.rotated {
            // The checkpoint that proves a new log key, for the keys document: signed by both keys, of a size that is below every
            // checkpoint in which anybody sees that key.
            match missing_handovers(&self.store, &active.log, &active.tenant) {
                Ok(writes) if writes.is_empty() => {}
                Ok(writes) => {
                    self.store.commit(writes.into_iter()).unwrap_or_else(|e| end_process(&e));
                }
                Err(error) => tracing::error!(tenant = %active.tenant.name, error, "handovers"),
            }
        }
        let size = active.cosigning.borders.size().unwrap_or_default();
        let waits = active.must_reach.is_some() || !active.log.position.provisional.is_empty();
        replica.set_ready(if waits { 0 } else { size }, &active.log);
        if replica.first_differs() {
            return self.halt(number, FIRST_DIFFERS.into());
        }
        let receipts = match show(&self.store, active) {
            Ok(leads) => leads,
            Err(stop) => return self.halt(number, stop.to_string()),
        };
        for wanted in receipts {
            // A receipt may be lost: the producer publishes again, and gets it as a duplicate.
            if self.receipts.try_send(wanted).is_err()
                && let Some(active) = self.logs.get(&number)
            {
                active.tenant.count_receipt_dropped();
            }
        }
    }
}

/// Shows the newest cosigned checkpoint that is posted here. Returns the receipts that are due, if this replica sends them.
fn show(store: &Rocks, active: &mut Active) -> Result<Vec<super::ReceiptWanted>, Stop> {
    let Some(replica) = active.tenant.replica() else { return Ok(Vec::new()) };
    let Some(mut newest) = active.cosigning.newest.clone() else { return Ok(Vec::new()) };
    let size = newest.checkpoint.size;
    if size <= active.log.position.size {
        let sets = replica.sets();
        if newest.is_vouched {
            let (log, own) = (&active.log, &replica.members);
            let Ok(judged) = log.keys.certified(&log.origin, own, &newest.note) else {
                active.cosigning.newest = None;
                return Ok(Vec::new());
            };
            newest = Arc::new(judged);
            active.cosigning.newest = Some(Arc::clone(&newest));
        }
        if members::in_force(&sets, size).is_some_and(|set| set.version != newest.version) {
            // It was cosigned by replicas that the entries up to there have replaced.
            active.cosigning.newest = None;
            return Ok(Vec::new());
        }
    }
    let Some(border) = active.cosigning.borders.at(size) else { return Ok(Vec::new()) };
    let now = active.tenant.published();
    if replica.has_shown() && (now.size, now.posted) >= (size, border.posted) {
        return Ok(Vec::new());
    }
    let edge = reader::load_edge(store, active.log.number, size).map_err(unreadable)?;
    if edge.root() != newest.checkpoint.root {
        let origin = newest.checkpoint.origin.clone();
        return Err(Stop::Outvoted(Mark { origin, size, root: newest.checkpoint.root }));
    }
    let published = Arc::new(border.published(edge, newest.note.clone()));
    replica.set_shown();
    replica.set_alone(None);
    active.tenant.publish(published);
    let receipts = active.cosigning.borders.shown(size);
    // One replica sends them: whoever wants one gets it once.
    Ok(if replica.leads() { receipts } else { Vec::new() })
}

fn unreadable(error: store::Error) -> Stop {
    Stop::Post(error.into())
}
