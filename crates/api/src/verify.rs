//! `countersign verify`: prints what was checked, and what was not.

mod approval;

use crate::{
    cli::Verify,
    terminal::{bad, dim, good, harmless, say, strong, warn},
};
use ledger::{
    entry::View,
    log::{checkpoint::Checkpoint, note::Vkey},
    verify::{self, KeysDocument, Trusted},
};
use serde_json::{Value, json};
use std::{fmt::Display, io::Read as _, path::Path, process::ExitCode};

/// Refused.
const EXIT_REFUSED: u8 = 1;
/// Wrong usage.
const EXIT_USAGE: u8 = 2;
/// A file can't be read.
const EXIT_UNREADABLE: u8 = 3;
/// Largest single file that is read whole, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

enum Failure {
    Refused { place: String, error: String },
    Usage(String),
    Unreadable(String),
}

/// What is wrong, and where.
fn refused(place: &str, error: &impl Display) -> Failure {
    Failure::Refused { place: place.to_owned(), error: error.to_string() }
}

/// Verifies what the arguments name.
pub fn run(arguments: &Verify) -> ExitCode {
    let mut report = Report { json: arguments.json, items: Vec::new() };
    let result = check(arguments, &mut report);
    let code = match &result {
        Ok(()) => 0,
        Err(Failure::Refused { place, error }) => {
            report.refused(place, error);
            EXIT_REFUSED
        }
        Err(Failure::Usage(text)) => {
            warn(&format!("countersign verify: {text}"));
            EXIT_USAGE
        }
        Err(Failure::Unreadable(text)) => {
            warn(&format!("countersign verify: {text}"));
            EXIT_UNREADABLE
        }
    };
    if arguments.json {
        say(&json!({"verified": code == 0, "items": report.items}).to_string());
    }
    ExitCode::from(code)
}

fn check(arguments: &Verify, report: &mut Report) -> Result<(), Failure> {
    let nothing = arguments.receipts.is_empty()
        && arguments.checkpoint.is_empty()
        && arguments.export.is_none()
        && arguments.approval.is_none();
    if nothing {
        let text = "name a receipt, --checkpoint, --export or --approval";
        return Err(Failure::Usage(text.into()));
    }
    if arguments.disclosures.is_some() && arguments.receipts.len() != 1 {
        return Err(Failure::Usage("--disclosures goes with exactly one receipt".into()));
    }
    let trusted = trusted(arguments)?;
    for path in &arguments.receipts {
        receipt(path, arguments.disclosures.as_deref(), &trusted, report)?;
    }
    let mut checkpoints = Vec::new();
    for path in &arguments.checkpoint {
        let place = path.display().to_string();
        let checkpoint = verify::checkpoint(&read_text(path)?, &trusted);
        let checkpoint = checkpoint.map_err(|error| refused(&place, &error))?;
        report.checkpoint(&place, &checkpoint);
        checkpoints.push(checkpoint);
    }
    if let Some(path) = &arguments.proof {
        let [old, new] = &checkpoints[..] else {
            return Err(Failure::Usage(
                "--proof goes with two --checkpoint, the older first".into(),
            ));
        };
        let place = path.display().to_string();
        let proven = verify::consistency(&read_text(path)?, old, new);
        proven.map_err(|error| refused(&place, &error))?;
        report.consistency(&place, old, new);
    }
    if let Some(folder) = &arguments.export {
        export(folder, &trusted, report)?;
    }
    if let Some(folder) = &arguments.approval {
        approval::check(folder, &trusted, report)?;
    }
    Ok(())
}

/// The key on the command line or in its file, and what the keys document hands over to.
fn trusted(arguments: &Verify) -> Result<Vec<Trusted>, Failure> {
    let text = match Vkey::parse(&arguments.key) {
        Ok(_) => arguments.key.clone(),
        Err(_) => read_text(Path::new(&arguments.key))?,
    };
    let key = Vkey::parse(text.trim_end())
        .map_err(|e| Failure::Unreadable(format!("--key {}: {e}", arguments.key)))?;
    // An export carries its own keys document; the chain in it begins with the given key.
    let in_export = arguments.export.as_ref().or(arguments.approval.as_ref());
    let in_export = in_export.map(|folder| folder.join("keys.json"));
    let path = arguments.keys.clone().or_else(|| in_export.filter(|path| path.exists()));
    let document = path.as_ref().map(read_text).transpose()?;
    let document: Option<KeysDocument> = document
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|e| Failure::Unreadable(format!("keys document: {e}")))?;
    verify::trust(&key, document.as_ref()).map_err(|error| refused("keys document", &error))
}

fn receipt(
    path: &Path,
    disclosures: Option<&Path>,
    trusted: &[Trusted],
    report: &mut Report,
) -> Result<(), Failure> {
    let place = path.display().to_string();
    let refused = |error| refused(&place, &error);
    let verified = verify::receipt(&read_text(path)?, trusted).map_err(refused)?;
    let shown = disclosures.map(read_text).transpose()?;
    let shown = shown
        .map(|text| verify::disclosures(&text, &verified.receipt.entry))
        .transpose()
        .map_err(refused)?;
    report.receipt(&place, &verified, shown.unwrap_or_default(), disclosures.is_some());
    Ok(())
}

fn export(folder: &Path, trusted: &[Trusted], report: &mut Report) -> Result<(), Failure> {
    let place = folder.display().to_string();
    let checkpoint = read_text(folder.join("checkpoint"))?;
    let read = |path: &str| std::fs::read(folder.join(path)).ok();
    let done = verify::export(trusted, &checkpoint, read, |_| {});
    let (checkpoint, summary) = done.map_err(|error| refused(&place, &error))?;
    let disclosed = export_disclosures(folder)?;
    report.export(&place, &checkpoint, &summary, disclosed);
    Ok(())
}

/// Checks every disclosure file of an export against its entry; returns how many lines there were.
fn export_disclosures(folder: &Path) -> Result<usize, Failure> {
    let Ok(files) = std::fs::read_dir(folder.join("disclosures")) else { return Ok(0) };
    let mut lines = 0;
    for file in files {
        let path = file.map_err(|e| Failure::Unreadable(e.to_string()))?.path();
        let place = path.display().to_string();
        let index = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        let index =
            index.ok_or_else(|| Failure::Unreadable(format!("{place}: not named by an index")))?;
        let entry = entry_of_export(folder, index).ok_or_else(|| {
            Failure::Unreadable(format!("{place}: its entry is not in the export"))
        })?;
        let shown = verify::disclosures(&read_text(&path)?, &entry);
        lines += shown.map_err(|error| refused(&place, &error))?.len();
    }
    Ok(lines)
}

fn entry_of_export(folder: &Path, index: u64) -> Option<Vec<u8>> {
    let checkpoint = std::fs::read_to_string(folder.join("checkpoint")).ok()?;
    let size = checkpoint.lines().nth(1)?.parse().ok()?;
    let number = index / 256;
    let width = ledger::log::tile::Tile::width_at(None, number, size);
    let tile = ledger::log::tile::Tile { level: None, number, width };
    let bundle = std::fs::read(folder.join(format!("tile/{tile}"))).ok()?;
    let entries = ledger::log::tile::read_bundle(&bundle)?;
    entries.get(usize::try_from(index % 256).ok()?).map(|entry| entry.to_vec())
}

fn read_text(path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = path.as_ref();
    let unreadable = |what: String| Failure::Unreadable(format!("{}: {what}", path.display()));
    let mut bytes = Vec::new();
    let read = if path == "-" {
        std::io::stdin().take(FILE_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.map_err(|e| unreadable(e.to_string()))?;
    String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8 text".into()))
}

struct Report {
    json: bool,
    items: Vec<Value>,
}

impl Report {
    fn line(&self, text: &str) {
        if !self.json {
            say(text);
        }
    }

    fn refused(&mut self, place: &str, error: &str) {
        let (place, text) = (harmless(place), harmless(error));
        self.line(&format!("{} {place}\n  {text}", bad("REFUSED")));
        self.items.push(json!({"place": place, "verified": false, "error": text}));
    }

    fn checkpoint(&mut self, place: &str, checkpoint: &Checkpoint) {
        let Checkpoint { origin, size, root } = checkpoint;
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        self.line(&format!("  checkpoint of {}: {size} entries, root {root}", harmless(origin)));
        self.line(&dim(
            "  checked: the log's signature. Not checked: that it is consistent with other checkpoints, or that \
             others were shown the same (compare it with theirs)",
        ));
        self.items.push(json!({
            "place": place, "verified": true, "origin": origin, "size": size, "root": root.to_string(),
            "checked": ["log_signature"],
            "not_checked": ["consistency_with_other_checkpoints", "same_view_for_everybody"],
        }));
    }

    fn consistency(&mut self, place: &str, old: &Checkpoint, new: &Checkpoint) {
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        self.line(&format!(
            "  the log of {} entries is a prefix of the log of {}",
            old.size, new.size
        ));
        self.items.push(json!({
            "place": place, "verified": true, "from": old.size, "to": new.size, "checked": ["consistency"],
        }));
    }

    fn receipt(
        &mut self,
        place: &str,
        verified: &verify::Verified,
        shown: Vec<(String, String)>,
        disclosed: bool,
    ) {
        let (receipt, checkpoint) = (&verified.receipt, &verified.checkpoint);
        let view = View::parse(&receipt.entry);
        let kind = view.as_ref().map_or("unreadable", |view| view.kind.as_str());
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        self.line(&format!(
            "  entry {} of {} ({} entries): {}",
            receipt.index,
            harmless(&checkpoint.origin),
            checkpoint.size,
            strong(kind)
        ));
        if let Some(view) = &view {
            self.line(&format!("  {}", describe(view)));
        }
        for (name, value) in &shown {
            self.line(&format!("  {} = {}", harmless(name), harmless(value)));
        }
        let mut checked = vec!["log_signature", "inclusion", "entry_bytes"];
        let mut not_checked = vec![
            "consistency_with_other_checkpoints",
            "same_view_for_everybody",
            "truth_of_the_event",
        ];
        if disclosed {
            checked.push("disclosures");
        } else {
            not_checked.push("payload");
        }
        self.line(&dim(&format!(
            "  checked: the log's signature, the entry's bytes and place{}. Not checked: whether others were shown \
             the same log, whether what the producer wrote is true{}",
            if disclosed { ", the disclosures" } else { "" },
            if disclosed { "" } else { ", the payload (no disclosures given)" },
        )));
        let shown: serde_json::Map<String, Value> = shown
            .into_iter()
            .map(|(name, value)| (name, serde_json::from_str(&value).unwrap_or(Value::Null)))
            .collect();
        self.items.push(json!({
            "place": place, "verified": true, "origin": checkpoint.origin, "size": checkpoint.size,
            "root": checkpoint.root.to_string(), "index": receipt.index, "kind": kind,
            "entry": serde_json::from_slice::<Value>(&receipt.entry).unwrap_or(Value::Null),
            "disclosed": shown, "checked": checked, "not_checked": not_checked,
        }));
    }

    fn export(
        &mut self,
        place: &str,
        checkpoint: &Checkpoint,
        summary: &verify::Summary,
        disclosed: usize,
    ) {
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        self.line(&format!(
            "  whole log {}: {} entries, root {}",
            harmless(&checkpoint.origin),
            checkpoint.size,
            checkpoint.root
        ));
        for (kind, count) in &summary.kinds {
            self.line(&format!("  {count:>10} {kind}"));
        }
        let missing = summary.open_gaps.values().fold(0_u64, |sum, open| sum.saturating_add(*open));
        self.line(&format!(
            "  numbers of sources that never arrived: {missing}; journal sequences missing: {}; journal epochs: {}",
            summary.journal_gaps, summary.epochs
        ));
        self.line(&dim(&format!(
            "  checked: every entry, every tile, the root, the log's signature, {disclosed} disclosures. Not checked: \
             what came after this checkpoint, whether others were shown the same log, whether what producers wrote \
             is true",
        )));
        self.items.push(json!({
            "place": place, "verified": true, "origin": checkpoint.origin, "size": checkpoint.size,
            "root": checkpoint.root.to_string(), "summary": summary, "disclosures": disclosed,
            "checked": ["log_signature", "every_entry", "every_tile", "root", "disclosures"],
            "not_checked": ["later_entries", "same_view_for_everybody", "truth_of_the_events"],
        }));
    }
}

/// One line about an entry, for people.
fn describe(view: &View<'_>) -> String {
    let text = |path: &[&str]| harmless(view.text(path).unwrap_or("-"));
    let when = view.origin.time;
    match view.kind {
        ledger::entry::Kind::Decision => format!(
            "{} {} {}/{} by agent {}, from {} at {when}",
            text(&["event", "data", "verdict"]),
            text(&["event", "id"]),
            text(&["event", "data", "tool", "name"]),
            text(&["event", "data", "tool", "action"]),
            text(&["event", "data", "agent", "id"]),
            text(&["producer"]),
        ),
        _ => format!("posted at {when}, producer {}", text(&["producer"])),
    }
}
