//! What a replica shows of a log: its newest checkpoint, the steps of members, and the tiles beyond the copy.

use super::{failed, refused};
use crate::{client::Client, commands::Failed};
use ledger::{
    ident::Ident,
    log::{
        merkle::{Hash, TILE_WIDTH},
        replicas,
        tile::Tile,
    },
    replica::join::{Refused, Shown, TAIL_MAX},
    verify::KeysDocument,
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Longest wait for a checkpoint of a size that others have cosigned.
const WAIT: Duration = Duration::from_secs(30);
/// Pause before it is asked again.
const AGAIN: Duration = Duration::from_millis(200);

fn path(tenant: &Ident, rest: &str) -> String {
    format!("/v1/replicas/logs/{tenant}/{rest}")
}

fn text(replica: &Client, bytes: Vec<u8>) -> Result<String, Failed> {
    String::from_utf8(bytes).map_err(|error| Failed::from(replica.strange(error.as_bytes())))
}

/// Waits until the replica shows a tree of this size or larger. Returns its checkpoint.
pub fn wait(
    replica: &Client,
    (tenant, origin): (&Ident, &str),
    size: u64,
) -> Result<String, Failed> {
    let begun = Instant::now();
    loop {
        let answer = replica.get(&path(tenant, "checkpoint")).map_err(|error| {
            let failed = Failed::from(error);
            let text = format!(
                "tenant {tenant}: {}. --from and --also name a replica itself, not the load balancer",
                failed.text
            );
            Failed::new(failed.code, text)
        })?;
        let note = text(replica, answer)?;
        let its = note.lines().next().unwrap_or_default();
        if its != origin {
            let (shown, ours) = (its.to_owned(), origin.to_owned());
            return Err(refused(replica, tenant, &Refused::Origin { shown, ours }));
        }
        let shown = replicas::size_of(&note);
        if shown >= size {
            return Ok(note);
        }
        if begun.elapsed() > WAIT {
            return Err(failed(format!(
                "{}, tenant {tenant}: it shows size {shown}, and size {size} is cosigned: it is behind, or hides entries. Name a replica \
                 that is level (`countersign replica status`), and repeat the command",
                replica.server()
            )));
        }
        sleep(AGAIN);
    }
}

/// What it shows beyond a copy of `size` entries, and the steps of members that it names.
pub fn beyond(
    replica: &Client,
    (tenant, origin): (&Ident, &str),
    size: u64,
) -> Result<(Shown, Vec<String>), Failed> {
    let note = wait(replica, (tenant, origin), size)?;
    let shown = replicas::size_of(&note);
    if shown - size > TAIL_MAX {
        return Err(failed(format!(
            "{}, tenant {tenant}: it shows {} entries more than the copy has: repeat the command",
            replica.server(),
            shown - size
        )));
    }
    let document: KeysDocument = serde_json::from_value(replica.get_json(&path(tenant, "keys"))?)
        .map_err(|_| {
        failed(format!("{}: its keys document can't be read", replica.server()))
    })?;
    let steps = document.members.into_iter().map(|step| step.receipt).collect();
    let tail = tail(replica, tenant, (size, shown))?;
    Ok((Shown { note, tail }, steps))
}

/// The leaf hashes `from..to`, from its tiles.
fn tail(replica: &Client, tenant: &Ident, (from, to): (u64, u64)) -> Result<Vec<Hash>, Failed> {
    let width = TILE_WIDTH as u64;
    let mut hashes = Vec::new();
    let mut at = from;
    while at < to {
        let number = at / width;
        let tile = Tile { level: Some(0), number, width: Tile::width_at(Some(0), number, to) };
        let bytes = replica.get(&path(tenant, &format!("tile/{tile}")))?;
        let whole: Vec<Hash> = bytes.chunks_exact(32).filter_map(Hash::from_slice).collect();
        if whole.len() != tile.width || bytes.len() % 32 != 0 {
            return Err(Failed::from(replica.strange(b"a tile")));
        }
        hashes.extend_from_slice(&whole[usize::try_from(at % width).unwrap_or_default()..]);
        at = ((number + 1) * width).min(to);
    }
    Ok(hashes)
}
