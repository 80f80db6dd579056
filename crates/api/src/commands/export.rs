//! `countersign export`: a static tlog-tiles directory, with keys and disclosures (`proto/formats/export.md`).

mod approval;
pub mod kept;
mod noted;
mod range;
pub mod target;
pub mod tiles;

use super::{EXIT_FAILED, Failed};
use crate::{
    cli::Export,
    client::{self, Client},
    terminal::{dim, harmless, say, warn},
};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::log::{
    checkpoint::Checkpoint,
    tile::{Tile, read_bundle},
};
use target::{Target, Verdict};

pub use noted::checkpoint;

/// Text of the README. An export is recognised by it.
fn readme(origin: &str) -> String {
    format!(
        "\
This is a complete copy of one Countersign log, as C2SP tlog-tiles.

  log                   {}

  checkpoint            the signed tree head: https://c2sp.org/tlog-checkpoint
  tile/entries/...      the entries, 256 in a bundle: https://c2sp.org/tlog-tiles
  tile/<level>/...      the hashes
  keys.json             the keys that sign, with the proofs that hand over between them
  disclosures/<n>...    payload of entry n that was not erased, one disclosure per line

Check it with the log's public key, which you must have from somewhere else:
  countersign verify --key <vkey> --export .

Only its owner can read these files: they may hold payload. To serve them, give others the right to.
",
        harmless(origin)
    )
}

/// Writes an export. What is already complete in the directory is not fetched again.
pub fn run(arguments: &Export) -> Result<(), Failed> {
    let store = kept::check(arguments)?;
    let client = Client::new(&arguments.remote)?;
    let Export { tenant, dir, disclosures: disclosed, .. } = arguments;
    let days = match &store {
        Some((to, ..)) => kept::days(&client, tenant, to.retain_days)?,
        None => 0,
    };
    if let Some(id) = &arguments.approval {
        return approval::run(&client, arguments, id);
    }
    if arguments.from.is_some() || arguments.to.is_some() {
        return range::run(&client, arguments);
    }
    let base = format!("/v1/tenants/{tenant}");
    let log = format!("{base}/logs/1");
    let note = checkpoint(&client, &log, None, arguments.witnessed)?;
    let checkpoint = checkpoint_of(&note)?;
    let Checkpoint { origin, size, .. } = &checkpoint;
    let target = Target::open(dir, &readme(origin), "checkpoint")?;
    if let Some(before) = &target.before {
        goes_on(before, &checkpoint)?;
    }
    target.begin()?;
    let bar = ProgressBar::new(tiles(*size).map(|(_, count)| count).sum());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} tiles eta {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for (level, count) in tiles(*size) {
        for number in 0..count {
            let tile = Tile { level, number, width: Tile::width_at(level, number, *size) };
            let path = format!("tile/{tile}");
            // A tile of one width never changes, so a complete one is right.
            if !target.read(&path)?.is_some_and(|bytes| is_whole(&tile, &bytes)) {
                let bytes = client.get(&format!("{log}/{path}"))?;
                if !is_whole(&tile, &bytes) {
                    return Err(client.strange(&bytes).into());
                }
                target.write(&path, &bytes)?;
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    target.write("keys.json", &client.get(&format!("{log}/keys"))?)?;
    if *disclosed {
        disclosures(&client, &base, &target, *size)?;
    }
    let removed = target.sweep(&|path| verdict(path, *size, *disclosed))?;
    if removed > 0 && !disclosed {
        warn(&format!(
            "note: {removed} disclosures of an earlier export were removed; --disclosures keeps them up to date"
        ));
    }
    target.finish(&note)?;
    say(&format!("{size} entries of {} in {}", harmless(origin), dir.display()));
    if let Some(store) = store {
        return kept::run(store, dir, days);
    }
    say(&dim(&format!("Check it: countersign verify --key <vkey> --export {}", dir.display())));
    Ok(())
}

/// A log only grows. Earlier exported parts are evidence, and stay if the server contradicts them.
fn goes_on(before: &Checkpoint, now: &Checkpoint) -> Result<(), Failed> {
    let same_size_other_root = before.size == now.size && before.root != now.root;
    if now.size >= before.size && !same_size_other_root {
        return Ok(());
    }
    let text = format!(
        "the directory holds {} entries of this log with the root {}, the server has {} with the root {}: the log went \
         back or was forked. Nothing was changed: keep the directory, it is evidence, and export into another one",
        before.size, before.root, now.size, now.root
    );
    Err(Failed::new(EXIT_FAILED, text))
}

/// What a file in the folder of an export of this size is.
fn verdict(path: &str, size: u64, disclosed: bool) -> Verdict {
    let index = |text: &str| text.parse().ok().filter(|index: &u64| index.to_string() == text);
    let keep = |is: bool| if is { Verdict::Keep } else { Verdict::Remove };
    if matches!(path, "README.txt" | "keys.json" | "checkpoint") {
        return Verdict::Keep;
    }
    if let Some(folder) = path.strip_suffix('/') {
        let ours = folder == "tile" || folder == "disclosures" || folder.starts_with("tile/");
        return if ours { Verdict::Keep } else { Verdict::Foreign };
    }
    if let Some(tile) = path.strip_prefix("tile/").and_then(Tile::parse) {
        let Tile { level, number, width } = tile;
        let is_there = tiles(size).any(|(of, count)| of == level && number < count);
        return keep(is_there && width == Tile::width_at(level, number, size));
    }
    let Some(name) = path.strip_prefix("disclosures/") else { return Verdict::Foreign };
    if let Some(index) = name.strip_suffix(".disclosures").and_then(index) {
        return keep(disclosed && index < size);
    }
    // An earlier version left this if its export was killed.
    if name.strip_suffix(".new").and_then(index).is_some() {
        return Verdict::Remove;
    }
    Verdict::Foreign
}

/// Content of a signed note. Signatures are checked by the verifier, who has the key.
pub fn checkpoint_of(note: &[u8]) -> Result<Checkpoint, Failed> {
    let text = String::from_utf8_lossy(note);
    let signed = text.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
    Checkpoint::parse(&signed)
        .ok_or_else(|| Failed::new(EXIT_FAILED, "the server's checkpoint can't be read"))
}

/// Levels of a tree's tiles, bundles first, with their numbers.
fn tiles(size: u64) -> impl Iterator<Item = (Option<u8>, u64)> {
    let levels = std::iter::once(None).chain((0..8).map(Some));
    levels.map(move |level| (level, (size >> (8 * u32::from(level.unwrap_or(0)))).div_ceil(256)))
}

/// True if these are all bytes of a tile.
fn is_whole(tile: &Tile, bytes: &[u8]) -> bool {
    match tile.level {
        None => read_bundle(bytes).is_some_and(|entries| entries.len() == tile.width),
        Some(_) => bytes.len() == 32 * tile.width,
    }
}

fn disclosures(client: &Client, base: &str, target: &Target, size: u64) -> Result<(), Failed> {
    let bar = ProgressBar::new(size);
    for index in 0..size {
        let path = format!("disclosures/{index}.disclosures");
        // Fetched each time, so that an erasure since an earlier export also removes them here.
        let through = size - 1;
        let path_of = format!("{base}/entries/{index}/disclosures?through={through}");
        let bytes = match client.get(&path_of) {
            // What an earlier export has of it stays.
            Err(client::Error::Refused { code, .. }) if code == "pruned" => {
                bar.inc(1);
                continue;
            }
            bytes => bytes?,
        };
        if bytes.is_empty() {
            target.remove(&path)?;
        } else {
            target.write(&path, &bytes)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Verdict) {
        assert_eq!(verdict(path, 300, true), expected, "{path}");
    }

    #[test]
    fn what_is_ours_and_what_is_not() {
        for path in [
            "README.txt",
            "tile/0/000",
            "tile/0/001.p/44",
            "tile/entries/000",
            "tile/1/000.p/1",
            "disclosures/299.disclosures",
        ] {
            check(path, Verdict::Keep);
        }
        for path in [
            "tile/0/000.p/7",
            "tile/0/001",
            "tile/entries/002",
            "tile/2/000.p/1",
            "disclosures/300.disclosures",
            "disclosures/7.new",
        ] {
            check(path, Verdict::Remove);
        }
        for path in [
            "notes",
            "README.txt~",
            "tile/0/7",
            "tile/x",
            "disclosures/07.disclosures",
            "disclosures/7",
            "disclosures/a.new",
            "x/7.disclosures",
        ] {
            check(path, Verdict::Foreign);
        }
        assert_eq!(verdict("disclosures/7.disclosures", 300, false), Verdict::Remove);
    }

    #[test]
    fn every_tile_of_a_tree() {
        let count = |size| tiles(size).map(|(_, count)| count).sum::<u64>();
        assert_eq!([0, 1, 256, 257, 65_536].map(count), [0, 2, 3, 5, 514]);
        let known = |size| tiles(size).filter(|(_, count)| *count > 0).count();
        assert_eq!([0, 1, 256, 65_536].map(known), [0, 2, 3, 4]);
        assert!(tiles(u64::MAX).all(|(_, count)| count > 0), "and no more memory for it");
    }
}
