//! File names in an export: those that belong to it, those that an operating system or a killed export left,
//! and unknown ones.

use super::{Failure, file::is_dropping, refused};
use ledger::{leftover, log::tile::Tile};
use std::{fs, path::Path};

/// Deepest folder of an export: `tile/7/x000/x000/…` has at most seven groups of digits.
const DEPTH_MAX: usize = 12;

/// Files in the folder of an export that do not belong to it.
#[derive(Default)]
pub(super) struct Names {
    /// Left by an operating system, or by an export that was killed. Not read.
    pub(super) ignored: Vec<String>,
    /// Unknown. Not read.
    pub(super) unknown: Vec<String>,
    /// True if there are disclosures.
    pub(super) disclosures: bool,
}

/// Reads all names. Refuses a name that looks like a part of the export but can't be one at this size.
pub(super) fn read(folder: &Path, size: u64) -> Result<Names, Failure> {
    let mut names = Names::default();
    walk(folder, "", size, &mut names)?;
    names.ignored.sort();
    names.unknown.sort();
    Ok(names)
}

fn walk(folder: &Path, within: &str, size: u64, names: &mut Names) -> Result<(), Failure> {
    let path = folder.join(within);
    let unreadable = |e: std::io::Error| Failure::Unreadable(format!("{}: {e}", path.display()));
    for file in fs::read_dir(&path).map_err(unreadable)? {
        let file = file.map_err(unreadable)?;
        let name = file.file_name().to_string_lossy().into_owned();
        let place = if within.is_empty() { name.clone() } else { format!("{within}/{name}") };
        let kind = file.file_type().map_err(unreadable)?;
        if is_dropping(&name) || (kind.is_file() && is_leftover(&place)) {
            names.ignored.push(place);
            continue;
        }
        let shown = file.path().display().to_string();
        if kind.is_symlink() && (!within.is_empty() || is_ours(&name)) {
            return Err(refused(&shown, &"it is a link; an export has none"));
        }
        if kind.is_dir() && is_folder(&place) && place.split('/').count() < DEPTH_MAX {
            names.disclosures |= place == "disclosures";
            walk(folder, &place, size, names)?;
        } else if place.starts_with("tile/") || place.starts_with("disclosures/") {
            belongs(&place, size).map_err(|what| refused(&shown, &what))?;
        } else if !is_ours(&name) {
            names.unknown.push(place);
        }
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "README.txt" | "checkpoint" | "keys.json" | "tlog-policy" | "tile" | "disclosures"
    )
}

fn is_folder(place: &str) -> bool {
    place == "tile" || place == "disclosures" || place.starts_with("tile/")
}

/// True if a killed export was writing this file. The next export into the folder removes it.
fn is_leftover(place: &str) -> bool {
    let name = place.rsplit('/').next().unwrap_or(place);
    // `300.new` was left by earlier versions.
    let old = place.strip_prefix("disclosures/").and_then(|name| name.strip_suffix(".new"));
    leftover::is_leftover(name) || old.and_then(index).is_some()
}

/// The index of an entry as an export writes it: without leading zeros or a sign.
fn index(text: &str) -> Option<u64> {
    text.parse().ok().filter(|n: &u64| n.to_string() == text)
}

/// Checks whether a file below `tile/` or `disclosures/` belongs to an export of this size.
fn belongs(place: &str, size: u64) -> Result<(), String> {
    if let Some(path) = place.strip_prefix("tile/") {
        let tile = Tile::parse(path);
        let fits =
            tile.is_some_and(|tile| Tile::width_at(tile.level, tile.number, size) == tile.width);
        let what = "it is no tile or bundle of this size, and a reader might take it for proven: remove it";
        return if fits { Ok(()) } else { Err(what.into()) };
    }
    let name =
        place.strip_prefix("disclosures/").and_then(|name| name.strip_suffix(".disclosures"));
    match name.and_then(index) {
        None => Err("not named as an export names them (`300.disclosures`): remove it".into()),
        Some(n) if n >= size => Err(format!(
            "entry {n} is not in the export, which ends with entry {}",
            size.saturating_sub(1)
        )),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: &str, fits: bool) {
        assert_eq!(belongs(place, 300).is_ok(), fits, "{place}");
    }

    #[test]
    fn names_of_an_export_of_300() {
        for place in ["tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
            check(place, true);
        }
        for place in [
            "tile/0/001",
            "tile/0/001.p/43",
            "tile/0/002.p/1",
            "tile/2/000.p/1",
            "tile/0/000.new",
            "tile/x",
            "tile/00/000",
        ] {
            check(place, false);
        }
        check("disclosures/299.disclosures", true);
        check("disclosures/0.disclosures", true);
        for name in ["300", "0299", "+299", "00", "", "1e2", "-1"] {
            check(&format!("disclosures/{name}.disclosures"), false);
        }
        check("disclosures/299", false);
        check("disclosures/299.disclosures.bak", false);
    }

    #[test]
    fn what_a_killed_export_left() {
        let check = |place: &str, left: bool| assert_eq!(is_leftover(place), left, "{place}");
        let fresh = format!(".countersign-{}.new", "0f".repeat(16));
        for folder in ["", "tile/", "tile/0/", "tile/entries/000.p/", "disclosures/"] {
            check(&format!("{folder}{fresh}"), true);
            check(&format!("{folder}{fresh}.disclosures"), false);
        }
        check("disclosures/0.new", true);
        check("disclosures/300.new", true);
        for place in [
            "300.new",
            "tile/0/000.new",
            "disclosures/0300.new",
            "disclosures/+3.new",
            "disclosures/.new",
            "disclosures/a.new",
            "disclosures/3.new.disclosures",
            "disclosures/.countersign-0f.new",
        ] {
            check(place, false);
        }
    }
}
