//! What the writer publishes: a log's state, its checkpoint, and its mark for the guard.

use crate::{
    guard::Mark,
    log::{checkpoint::Checkpoint, merkle},
    post::Log,
    reader::{Published, Reader},
    store::{Changes, Family, Read as _, Write, rocks::Rocks},
    tenant::Tenant,
    time::Nanos,
};
use std::sync::Arc;

/// The published state of a log.
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
        pruned: position.pruned,
        policies: position.policies.clone(),
        freezes: Arc::new(position.freezes.clone()),
        identities: Arc::new(position.identities.clone()),
        alerts: Arc::new(position.alerts.clone()),
        incidents: Arc::new(position.incidents.clone()),
        keys: log.keys.clone(),
    }
}

/// The mark of a log, for the guard.
pub fn mark(log: &Log) -> Mark {
    let position = &log.position;
    Mark { origin: log.origin.clone(), size: position.size, root: position.root }
}

/// The checkpoint of a log at its present size, signed by every key that must sign this size.
pub fn checkpoint(log: &Log, tenant: &Tenant) -> Result<String, String> {
    let position = &log.position;
    let checkpoint =
        Checkpoint { origin: log.origin.clone(), size: position.size, root: position.root };
    tenant.sign(&checkpoint, log.keys.signing(position.size)).map_err(|e| e.to_string())
}

/// Stores the newest checkpoint, the last of each second, and the one that proves a key entry.
pub fn put_checkpoint(changes: &mut Changes<'_>, log: &Log, checkpoint: &str, now: Nanos) {
    let (number, bytes) = (log.number, checkpoint.as_bytes().to_vec());
    changes.put(Family::Meta, number.meta("checkpoint"), bytes.clone());
    changes.put(Family::Checkpoints, number.numbered(now.seconds()), bytes.clone());
    if log.rotated {
        changes.put(Family::Rotations, number.numbered(log.position.size), bytes);
    }
}

/// The missing checkpoints that prove key entries. Nothing was signed while the log caught up; once it leads
/// to what was signed, they are made from its tiles.
pub fn missing_handovers(store: &Rocks, log: &Log, tenant: &Tenant) -> Result<Vec<Write>, String> {
    let shown = published(log, String::new());
    let reader = Reader { store, number: log.number, at: &shown };
    let mut writes = Vec::new();
    for size in log.keys.log.iter().filter(|key| key.index > 0).map(|key| key.index + 1) {
        let place = log.number.numbered(size);
        let kept = store.get(Family::Rotations, &place).map_err(|e| e.to_string())?;
        if kept.is_some() || size > log.position.size {
            continue;
        }
        let root = merkle::root_at(&reader, size).map_err(|e| e.to_string())?;
        let checkpoint = Checkpoint { origin: log.origin.clone(), size, root };
        match tenant.sign(&checkpoint, log.keys.signing(size)) {
            Ok(text) => writes.push(((Family::Rotations, place), Some(text.into_bytes()))),
            // The file of a key that no longer signs may have been removed rightly.
            Err(error) => {
                tracing::warn!(tenant = %tenant.name, size, %error, "no checkpoint proves a log key");
            }
        }
    }
    Ok(writes)
}
