//! What leaves the writer: a log's state, its checkpoint, its mark for the guard.

use crate::{
    guard::Mark,
    journal::embedded::now,
    log::checkpoint::Checkpoint,
    post::Log,
    reader::Published,
    store::{Changes, Family},
    tenant::Tenant,
};

/// What is shown of a log.
pub fn published(log: &Log, checkpoint: String) -> Published {
    let position = &log.position;
    Published {
        size: position.size,
        root: position.root,
        checkpoint,
        edge: log.edge.clone(),
        epoch: position.epoch,
        posted: position.posted,
        clock: position.clock,
        keys: log.keys.clone(),
    }
}

/// How far a log is, for the guard.
pub fn mark(log: &Log) -> Mark {
    let position = &log.position;
    Mark { origin: log.origin.clone(), size: position.size, root: position.root }
}

/// The checkpoint of a log as it stands, signed by every key that must sign this size.
pub fn checkpoint(log: &Log, tenant: &Tenant) -> Result<String, String> {
    let position = &log.position;
    let checkpoint =
        Checkpoint { origin: log.origin.clone(), size: position.size, root: position.root };
    tenant.sign(&checkpoint, log.keys.signing(position.size)).map_err(|e| e.to_string())
}

/// Keeps the newest checkpoint, the last of each second, and the one that proves a key entry.
pub fn put_checkpoint(changes: &mut Changes<'_>, log: &Log, checkpoint: &str) {
    let (number, bytes) = (log.number, checkpoint.as_bytes().to_vec());
    changes.put(Family::Meta, number.meta("checkpoint"), bytes.clone());
    changes.put(Family::Checkpoints, number.numbered(now().seconds()), bytes.clone());
    if log.rotated {
        changes.put(Family::Rotations, number.numbered(log.position.size), bytes);
    }
}
