//! Entries that name others by their leaf hashes.

use super::{Error, Walk};
use crate::log::tile::Tile;
use data_encoding::BASE64;

/// An erasure, and an entry that a decision opened nothing, must name the leaf hash of the entry at that index. The tiles were compared with the entries before.
pub(super) fn leaves_are_as_named(
    all: &[(u64, u64, String)],
    walk: &Walk,
    read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
) -> Result<(), Error> {
    let mut last: Option<(u64, Vec<u8>)> = None;
    for (at, of, leaf) in all {
        let (number, place) = (of / 256, usize::try_from(of % 256).unwrap_or_default());
        if last.as_ref().is_none_or(|(known, _)| *known != number) {
            let bytes = if number == walk.size() / 256 {
                walk.edge().partial(0).iter().flat_map(|hash| hash.0).collect()
            } else {
                read(&format!("tile/{}", Tile { level: Some(0), number, width: 256 }))
                    .unwrap_or_default()
            };
            last = Some((number, bytes));
        }
        let hashes = last.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        let named = hashes.chunks_exact(32).nth(place).map(|hash| BASE64.encode(hash));
        if named.as_ref() != Some(leaf) {
            let what = "the leaf hash that it names is not that of the entry at that index";
            return Err(Error::export(format!("entry {at}"), what));
        }
    }
    Ok(())
}
