//! Fetches the bundles of a range while those before them are being judged.

use super::Failed;
use crate::client::Client;
use ledger::{log::tile::Tile, verify::period::Range};
use std::{
    cell::RefCell,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

/// Bundles that wait to be judged, at most 16 MB each.
const WAITING_MAX: usize = 2;

/// A bundle with its number.
type Fetched = (u64, Result<Vec<u8>, Failed>);

/// The bundles of a range, in order.
pub struct Ahead {
    fetched: Receiver<Fetched>,
    /// The one that came last, if nobody has taken it.
    next: RefCell<Option<Fetched>>,
}

impl Ahead {
    /// Begins. `log`: path of the log's routes; `size`: that of the tree under which the bundles are read.
    pub fn start(client: Client, log: String, range: Range, size: u64) -> Self {
        let (send, fetched) = sync_channel(WAITING_MAX);
        thread::spawn(move || {
            for number in range.begin / 256..range.end.div_ceil(256) {
                let width = Tile::width_at(None, number, size);
                let tile = Tile { level: None, number, width };
                let bytes = client.get(&format!("{log}/tile/{tile}")).map_err(Failed::from);
                // Nobody waits for more once the evidence is made, or has failed.
                if send.send((number, bytes)).is_err() {
                    break;
                }
            }
        });
        Self { fetched, next: RefCell::default() }
    }

    /// The bundle of this number. `None` if it is none of those that are still to come.
    pub fn take(&self, number: u64) -> Option<Result<Vec<u8>, Failed>> {
        let mut next = self.next.borrow_mut();
        loop {
            match next.take() {
                Some((at, bytes)) if at == number => return Some(bytes),
                Some(later) if later.0 > number => {
                    *next = Some(later);
                    return None;
                }
                // It was there already.
                Some(_) | None => *next = Some(self.fetched.recv().ok()?),
            }
        }
    }
}
