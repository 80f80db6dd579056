//! `countersign export`: a static tlog-tiles directory, with keys and disclosures (`proto/formats/export.md`).

mod approval;

use super::{EXIT_FAILED, Failed};
use crate::{
    cli::Export,
    client::Client,
    terminal::{dim, say},
};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::log::{checkpoint::Checkpoint, tile::Tile};
use std::{fs, path::Path};

const README: &str = "\
This is a complete copy of one Countersign log, as C2SP tlog-tiles.

  checkpoint            the signed tree head: https://c2sp.org/tlog-checkpoint
  tile/entries/...      the entries, 256 in a bundle: https://c2sp.org/tlog-tiles
  tile/<level>/...      the hashes
  keys.json             the keys that sign, with the proofs that hand over between them
  disclosures/<n>...    payload of entry n that was not erased, one disclosure per line

Check it with the log's public key, which you must have from somewhere else:
  countersign verify --key <vkey> --export .
";

/// Writes an export; what is complete in the directory already is not fetched again.
pub fn run(arguments: &Export) -> Result<(), Failed> {
    let client = Client::new(&arguments.remote)?;
    if let Some(id) = &arguments.approval {
        let Export { tenant, dir, disclosures, .. } = arguments;
        return approval::run(&client, tenant, id, dir, *disclosures);
    }
    let base = format!("/v1/tenants/{}", arguments.tenant);
    let log = format!("{base}/logs/1");
    let dir = &arguments.dir;
    fs::create_dir_all(dir)?;
    let note = client.get(&format!("{log}/checkpoint"))?;
    let checkpoint = checkpoint_of(&note)?;
    let tiles = tiles(checkpoint.size);
    let bar = ProgressBar::new(tiles.len() as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} tiles eta {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for tile in tiles {
        let path = format!("tile/{tile}");
        // A full tile never changes; a partial one is small. Both are written whole, so what is there is right.
        if !dir.join(&path).exists() {
            write(dir, &path, &client.get(&format!("{log}/{path}"))?)?;
        }
        remove_older(dir, &tile)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    write(dir, "keys.json", &client.get(&format!("{log}/keys"))?)?;
    write(dir, "README.txt", README.as_bytes())?;
    if arguments.disclosures {
        disclosures(&client, &base, dir, checkpoint.size)?;
    }
    // Last: a directory with a checkpoint is complete.
    write(dir, "checkpoint", &note)?;
    say(&format!("{} entries of {} in {}", checkpoint.size, checkpoint.origin, dir.display()));
    say(&dim(&format!("Check it: countersign verify --key <vkey> --export {}", dir.display())));
    Ok(())
}

/// What a signed note commits to; its signatures are for the verifier, who has the key.
fn checkpoint_of(note: &[u8]) -> Result<Checkpoint, Failed> {
    let text = String::from_utf8_lossy(note);
    let signed = text.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
    Checkpoint::parse(&signed)
        .ok_or_else(|| Failed::new(EXIT_FAILED, "the server's checkpoint can't be read"))
}

/// Removes the narrower forms of a tile that an earlier export into this directory left.
fn remove_older(dir: &Path, tile: &Tile) -> Result<(), Failed> {
    let full = Tile { width: 256, ..*tile };
    let folder = dir.join(format!("tile/{full}.p"));
    let Ok(files) = fs::read_dir(&folder) else { return Ok(()) };
    let keep = dir.join(format!("tile/{tile}"));
    for file in files {
        let path = file?.path();
        if path != keep {
            fs::remove_file(path)?;
        }
    }
    if tile.width == 256 {
        fs::remove_dir(folder)?;
    }
    Ok(())
}

/// Every bundle and tile of a tree.
fn tiles(size: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for level in [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5), Some(6), Some(7)] {
        let count = size >> (8 * u32::from(level.unwrap_or(0)));
        for number in 0..count.div_ceil(256) {
            tiles.push(Tile { level, number, width: Tile::width_at(level, number, size) });
        }
    }
    tiles
}

fn disclosures(client: &Client, base: &str, dir: &Path, size: u64) -> Result<(), Failed> {
    let bar = ProgressBar::new(size);
    for index in 0..size {
        let path = format!("disclosures/{index}.disclosures");
        // Asked for every time: an erasure since an earlier export must take them from here too.
        let bytes = client.get(&format!("{base}/entries/{index}/disclosures"))?;
        if !bytes.is_empty() {
            write(dir, &path, &bytes)?;
        } else if dir.join(&path).exists() {
            fs::remove_file(dir.join(&path))?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Replaces a file whole.
fn write(dir: &Path, path: &str, bytes: &[u8]) -> Result<(), Failed> {
    let path = dir.join(path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    Ok(fs::rename(new, path)?)
}
