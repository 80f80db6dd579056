//! The last check of what a replica has promised never to post (P21): whoever hands it to the writer.

use super::{Stop, Work};
use crate::{
    guard::Port,
    post::{Log, Was},
};

/// [`Stop::Promised`] if these works would post a message that this replica has promised not to post.
pub(super) fn check(guard: &Port, log: &Log, works: &[Work]) -> Result<(), Stop> {
    let Some(shared) = guard.shared() else { return Ok(()) };
    let has = |seq: &u64| shared.promises().has(&log.origin, log.position.epoch, *seq);
    let broken = works.iter().find_map(|work| match work {
        Work::Post { messages, .. } => messages.iter().map(|(arrival, _)| arrival.seq).find(has),
        Work::Explained { holes, .. } => {
            let messages = holes.iter().filter_map(|hole| match &hole.what {
                Was::Message(gone) if !gone.leaves.is_empty() => Some(gone.seq),
                Was::Message(_) | Was::Nobodys { .. } => None,
            });
            messages.into_iter().find(has)
        }
        _ => None,
    });
    broken.map_or(Ok(()), |seq| Err(Stop::Promised(seq)))
}
