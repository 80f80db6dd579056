//! `verify --export`: checks a whole log, every approval in it, and what its payload still discloses
//! (`proto/formats/export.md`).

use super::{
    Failure, Given, contradiction,
    file::{self, Form},
    names::{self, Names},
    refused,
    report::Report,
};
use crate::terminal::{dim, good, harmless};
use decider::{approval::AuditAll, decision::Fields};
use ledger::{
    entry::{Kind, View},
    ident::Ident,
    log::{
        merkle::{self, Hash, Tiles},
        tile::{Tile, read_bundle},
    },
    verify::{self, Erased, Error, Export},
};
use serde_json::json;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Most tiles or bundles kept in memory. Entry bundles take at most 16 MB each.
const KEPT_MAX: usize = 16;
/// Most sources and entries that are named in the text for people.
const NAMED_MAX: usize = 10;

/// An export that verifies.
pub(super) struct Whole {
    place: String,
    files: Files,
    export: Export,
    audit: AuditAll,
    names: Names,
    payload: Payload,
}

/// The state of an export's disclosures.
#[derive(Default)]
struct Payload {
    lines: usize,
    /// Names of erased fields that are still disclosed, by entry.
    still_here: BTreeMap<u64, Vec<String>>,
}

impl Whole {
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn size(&self) -> u64 {
        self.export.checkpoint.size
    }

    /// Root at that size, base64.
    pub(super) fn root(&self) -> String {
        self.export.checkpoint.root.to_string()
    }

    /// The entry at a leaf index.
    pub(super) fn entry(&self, index: u64) -> Option<Vec<u8>> {
        self.files.entry(index)
    }

    /// What the export discloses of an entry, checked against it.
    pub(super) fn payload(&self, index: u64, entry: &View<'_>) -> Result<Fields, Failure> {
        let path = self.files.folder.join(format!("disclosures/{index}.disclosures"));
        if !path.exists() {
            return Ok(Fields::new());
        }
        let text = file::read(&path, Form::Disclosures)?;
        let shown = verify::disclosures_of(&text, Some(entry));
        let shown = shown.map_err(|error| refused(&path.display().to_string(), &error))?;
        Ok(shown.into_iter().map(|(name, value)| (name, value.into_bytes())).collect())
    }

    /// What was erased, by the export's own entries.
    pub(super) fn erased(&self) -> &Erased {
        &self.export.erased
    }

    /// Leaf indexes of the messages of an approval, in order.
    pub(super) fn messages(&self, id: &Ident) -> Vec<u64> {
        self.audit.messages(id)
    }
}

/// Verifies an export on its own.
pub(super) fn read(folder: &Path, given: &mut Given) -> Result<Whole, Failure> {
    let place = folder.display().to_string();
    complete(folder)?;
    let note = file::read(folder.join("checkpoint"), Form::Checkpoint)?;
    let signed = folder.join("checkpoint").display().to_string();
    let checkpoint = given.take_checkpoint(&signed, &note)?;
    let names = names::read(folder, checkpoint.size)?;
    let files = Files::new(folder, checkpoint.size);
    let mut audit = AuditAll::default();
    let each = |index: u64, entry: &[u8], view: &View<'_>| {
        let told = audit.take(index, entry, view, |earlier| files.entry(earlier));
        told.map_err(|fault| {
            let id = view.text(&["event", "approval_id"]).unwrap_or("?");
            Error::export(format!("entry {index}"), format!("approval {id}: {fault}"))
        })
    };
    let done = verify::export(&given.keys, &note, |path| files.bytes(path), each);
    let mut export = match (done, files.trouble.borrow_mut().take()) {
        (Ok(export), _) => export,
        (Err(_), Some(trouble)) => return Err(Failure::Unreadable(trouble)),
        (Err(error), None) => return Err(refused(&place, &error)),
    };
    // A receipt may prove an erasure after this checkpoint. It explains what was gone when the export was
    // made.
    export.erased.add(given.entries.erased());
    let payload = if names.disclosures {
        disclosures(folder, &files, &export, given)?
    } else {
        Payload::default()
    };
    Ok(Whole { place, files, export, audit, names, payload })
}

/// Compares everything else with the whole log: each root, entry and range, and each signature with the keys
/// that the log itself names.
pub(super) fn compare(whole: &Whole, given: &mut Given) -> Result<(), Failure> {
    let Export { checkpoint, keys, members, .. } = &whole.export;
    given.cosigned_by_its_own(&whole.place, checkpoint.size, members)?;
    let compared = given.claim.export(&whole.place, checkpoint, &whole.files);
    compared.map_err(|error| contradiction(&error))?;
    given.signed_by(&whole.place, keys)
}

/// Checks that the folder can be an export at all.
fn complete(folder: &Path) -> Result<(), Failure> {
    let unreadable = |what: &str| Failure::Unreadable(format!("{}: {what}", folder.display()));
    if folder.is_file() {
        return Err(unreadable("an export is a folder; unpack an archive first"));
    }
    if folder.join("opening.tlog-proof").exists() {
        return Err(unreadable("it is the history of one approval: give it by --approval"));
    }
    if super::range::is_one(folder) {
        return Err(unreadable("it is a range of a log; this needs an export of the whole log"));
    }
    if folder.is_dir() && !folder.join("checkpoint").exists() {
        return Err(unreadable(
            "there is no file `checkpoint`: it is not an export, or is incomplete. Run `countersign export` into it again",
        ));
    }
    Ok(())
}

/// Checks every disclosure of an export against its entry, and every entry's payload against the disclosures:
/// what is missing must have been erased.
fn disclosures(
    folder: &Path,
    files: &Files,
    export: &Export,
    given: &Given,
) -> Result<Payload, Failure> {
    let mut payload = Payload::default();
    for index in 0..export.checkpoint.size {
        let path = folder.join(format!("disclosures/{index}.disclosures"));
        let place = path.display().to_string();
        let entry = files.entry(index).unwrap_or_default();
        let view = View::parse(&entry);
        let committed = view.as_ref().map_or(0, |view| view.payload().count());
        let exists = path.exists();
        if committed == 0 && !exists {
            continue;
        }
        let text = if exists { file::read(&path, Form::Disclosures)? } else { String::new() };
        let shown = verify::disclosures_of(&text, view.as_ref());
        let shown = shown.map_err(|error| refused(&place, &error))?;
        given.fields.compare(&place, index, &shown)?;
        let kind = view.as_ref().map_or(Kind::Event, |view| view.kind);
        let standing = export.erased.judge((index, kind), committed, &shown);
        if standing.missing > 0 {
            let missing = standing.missing;
            return Err(refused(
                &place,
                &format!(
                    "{missing} of the {committed} fields that entry {index} commits to are not disclosed, and no erasure or retention entry says why: they were removed from this export or from the log's payload; or they were erased or expired while it was written: then export again, or give the receipt of the entry that says so too"
                ),
            ));
        }
        if exists && text.is_empty() {
            return Err(refused(&place, &"it is empty; an entry without disclosures has no file"));
        }
        payload.lines += shown.len();
        if !standing.still_here.is_empty() {
            payload.still_here.insert(index, standing.still_here);
        }
    }
    Ok(payload)
}

/// Tiles and bundles of an export. Some are kept in memory.
struct Files {
    folder: PathBuf,
    size: u64,
    kept: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The entries of the bundle that was read last, with its number: entries are read in order.
    last: RefCell<Option<(u64, Vec<Vec<u8>>)>>,
    /// The first file that exists and can't be read.
    trouble: RefCell<Option<String>>,
}

impl Files {
    fn new(folder: &Path, size: u64) -> Self {
        let (kept, last, trouble) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { folder: folder.to_owned(), size, kept, last, trouble }
    }

    fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(path);
        match file::bytes(&path) {
            Ok(bytes) => Some(bytes),
            Err(Failure::Unreadable(trouble)) if path.exists() => {
                self.trouble.borrow_mut().get_or_insert(trouble);
                None
            }
            Err(_) => None,
        }
    }

    /// Gives the bytes of a tile or bundle to `read`.
    fn with<T>(&self, tile: Tile, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let width = Tile::width_at(tile.level, tile.number, self.size);
        let path = format!("tile/{}", Tile { width, ..tile });
        let mut kept = self.kept.borrow_mut();
        if !kept.contains_key(&path) {
            let bytes = self.bytes(&path)?;
            if kept.len() == KEPT_MAX {
                kept.pop_first();
            }
            kept.insert(path.clone(), bytes);
        }
        read(&kept[&path])
    }

    fn entry(&self, index: u64) -> Option<Vec<u8>> {
        let (number, within) = (index / 256, usize::try_from(index % 256).ok()?);
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_none_or(|(known, _)| *known != number) {
            let tile = Tile { level: None, number, width: 0 };
            let owned = |entries: Vec<&[u8]>| entries.into_iter().map(<[u8]>::to_vec).collect();
            let entries = self.with(tile, |bundle| read_bundle(bundle).map(owned))?;
            *last = Some((number, entries));
        }
        last.as_ref()?.1.get(within).cloned()
    }
}

impl Tiles for Files {
    type Error = ();

    fn hashes(&self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, ()> {
        let tile = Tile { level: Some(level), number: first / merkle::TILE_WIDTH as u64, width: 0 };
        let within = (first % merkle::TILE_WIDTH as u64) as usize;
        let hashes = self.with(tile, |bytes| {
            let part = bytes.get(within * 32..(within + count) * 32)?;
            Some(part.chunks_exact(32).filter_map(Hash::from_slice).collect())
        });
        hashes.ok_or(())
    }
}

impl Report {
    /// Reports an export. `elsewhere`: fields that it erased and that other files disclose.
    pub(super) fn export(&mut self, whole: &Whole, elsewhere: &[String]) {
        let Whole { place, export, names, payload, .. } = whole;
        let Export { checkpoint, summary, .. } = export;
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
        let phases = whole.audit.phases();
        let approvals: u64 = phases.values().sum();
        if approvals > 0 {
            let each: Vec<String> =
                phases.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
            self.line(&format!("  approvals: {approvals} ({})", each.join(", ")));
        }
        self.gaps(summary);
        self.payload(whole);
        for field in elsewhere.iter().take(NAMED_MAX) {
            self.line(&format!(
                "  ERASED, AND STILL HERE: {}. The log says that it was erased",
                harmless(field)
            ));
        }
        let all = "every entry, every tile, the root, the log's signature, that the log names itself and its keys, that no event and no message of the journal stands twice, every approval's life and rule, that each change of policies was approved and each verdict by policies names those in force";
        self.line(&dim(&format!(
            "  checked: {all}{}. Not checked: what came after this checkpoint, whether others were shown the same log, \
             whether what producers wrote is true, whether verdicts by policies follow from them (`countersign replay`){}",
            if names.disclosures { format!(", {} disclosures, that nothing but what was erased is missing", payload.lines) } else { String::new() },
            if names.disclosures { "" } else { ", the payload (the export carries no disclosures)" },
        )));
        self.carried(place);
        let mut item = item(whole);
        item["erased_and_disclosed_elsewhere"] = json!(elsewhere);
        self.item(item);
    }

    fn gaps(&mut self, summary: &verify::Summary) {
        let missing = summary.open_gaps.values().fold(0_u64, |sum, open| sum.saturating_add(*open));
        self.line(&format!(
            "  numbers of sources that never arrived: {missing}; journal sequences missing: {}; journal epochs: {}",
            summary.journal_gaps, summary.epochs
        ));
        let runs = summary.told_early.values();
        let told: u64 = runs.clone().map(|run| run.entries).sum();
        let missing: u64 = runs.map(|run| run.last.saturating_sub(run.entries)).sum();
        if told + missing > 0 {
            self.line(&format!(
                "  verdicts told before they were recorded: {told}; numbers of them that are missing: {missing}"
            ));
        }
        for (source, open) in summary.open_gaps.iter().take(NAMED_MAX) {
            self.line(&format!("  {open:>10} of {}", harmless(source)));
        }
        if summary.open_gaps.len() > NAMED_MAX {
            let rest = summary.open_gaps.len() - NAMED_MAX;
            self.line(&format!("             and of {rest} more sources (--json lists all)"));
        }
    }

    fn payload(&mut self, whole: &Whole) {
        let Whole { names, payload, .. } = whole;
        for (index, fields) in payload.still_here.iter().take(NAMED_MAX) {
            let fields = harmless(&fields.join(", "));
            self.line(&format!(
                "  ERASED, AND STILL HERE: {fields} of entry {index}. The log says that it was erased: delete it from this export"
            ));
        }
        if payload.still_here.len() > NAMED_MAX {
            let rest = payload.still_here.len() - NAMED_MAX;
            self.line(&format!(
                "  ERASED, AND STILL HERE: fields of {rest} more entries (--json lists all)"
            ));
        }
        if !names.ignored.is_empty() {
            let ignored = harmless(&names.ignored.join(", "));
            let by = "an operating system or a killed export";
            self.line(&dim(&format!("  ignored, as left by {by}: {ignored}")));
        }
        if !names.unknown.is_empty() {
            let unknown = harmless(&names.unknown.join(", "));
            self.line(&dim(&format!("  not read, because not part of an export: {unknown}")));
        }
    }
}

fn item(whole: &Whole) -> serde_json::Value {
    let Whole { place, export, names, payload, .. } = whole;
    let checkpoint = &export.checkpoint;
    let mut checked = vec![
        "log_signature",
        "every_entry",
        "every_tile",
        "root",
        "genesis",
        "keys_named_by_the_log",
        "no_event_twice",
        "every_approval",
        "policies_in_force",
    ];
    let mut not_checked = vec![
        "later_entries",
        "same_view_for_everybody",
        "truth_of_the_events",
        "verdicts_computed_again",
    ];
    if names.disclosures {
        checked.extend(["disclosures", "nothing_missing_but_erased"]);
    } else {
        not_checked.push("payload");
    }
    json!({
        "place": place, "verified": true, "origin": checkpoint.origin, "size": checkpoint.size,
        "root": checkpoint.root.to_string(), "summary": export.summary, "approvals": whole.audit.phases(),
        "disclosures": payload.lines, "erased_and_still_here": payload.still_here,
        "ignored": names.ignored, "not_looked_at": names.unknown,
        "checked": checked, "not_checked": not_checked,
    })
}
