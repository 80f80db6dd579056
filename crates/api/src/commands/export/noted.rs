//! The checkpoint that an export or evidence is proven by, as a server gives it.

use super::super::Failed;
use crate::client::{Client, Error};
use std::{thread, time::Duration};

/// The pause before a checkpoint is asked for again: the server asks its witnesses at most once in that time.
const PAUSE: Duration = Duration::from_secs(1);
/// Most requests for a checkpoint that no witness has cosigned yet.
const TRIES_MAX: u32 = 15;

/// A checkpoint of the log at `log`, the path of its routes: the newest one, or with `covers` the earliest kept one of a tree
/// of that size or larger. If it has to be `witnessed`, it is one that witnesses have cosigned, with their cosignatures: this
/// waits some seconds for them, because they come after the checkpoint is served.
pub fn checkpoint(
    client: &Client,
    log: &str,
    covers: Option<u64>,
    witnessed: bool,
) -> Result<Vec<u8>, Failed> {
    let covers = covers.map(|size| format!("covers={size}"));
    let witnessed = witnessed.then(|| "witnessed=true".to_owned());
    let asks_witnesses = witnessed.is_some();
    let query: Vec<String> = covers.into_iter().chain(witnessed).collect();
    let path = format!("{log}/checkpoint?{}", query.join("&"));
    let path = path.trim_end_matches('?');
    for _ in 1..TRIES_MAX {
        match client.get(path) {
            Err(Error::Refused { code, .. }) if asks_witnesses && code == "not_witnessed" => {
                thread::sleep(PAUSE);
            }
            answer => return Ok(answer?),
        }
    }
    Ok(client.get(path)?)
}
