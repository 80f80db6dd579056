//! `verify --export` of a range of a log (`countersign export --from --to`): every entry of it is proven, and that none of
//! its period is left out.

use super::{
    Failure, Given,
    file::{self, Form},
    names, refused,
    report::Report,
};
use crate::terminal::{dim, good, harmless};
use ledger::{
    entry::{Kind, View},
    time::Nanos,
    verify::{
        self, Erased, Error,
        part::Part,
        period::{self, Chain, Period, Range},
        range::{self, Ranged},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The file that says that a folder is a range.
const NAMED: &str = "range.json";
/// Version of its form.
const VERSION: u32 = 1;

/// Which range of which log a folder has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOf {
    v: u32,
    origin: String,
    begin: u64,
    end: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Nanos>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Nanos>,
    disclosures: bool,
}

impl PartOf {
    /// A range of the log of this origin. `period`: if it has all entries of one.
    #[cfg(feature = "server")]
    pub fn new(origin: &str, range: Range, period: Option<Period>, disclosures: bool) -> Self {
        let Range { begin, end } = range;
        let (from, to) = (period.map(|period| period.from), period.map(|period| period.to));
        Self { v: VERSION, origin: origin.to_owned(), begin, end, from, to, disclosures }
    }

    fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(NAMED);
        let place = path.display().to_string();
        let of: Self = serde_json::from_slice(&file::bytes(&path)?)
            .map_err(|error| refused(&place, &format!("not what names a range: {error}")))?;
        if of.v != VERSION {
            let what = format!("version {}; this program reads {VERSION}", of.v);
            return Err(refused(&place, &what));
        }
        Ok(of)
    }

    /// Its file.
    #[cfg(feature = "server")]
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(&json!(self)).expect("JSON of texts and numbers");
        text.push(b'\n');
        text
    }
}

/// True if a folder has a range, and not a whole log.
pub(super) fn is_one(folder: &Path) -> bool {
    folder.join(NAMED).exists()
}

/// A range that verifies.
pub(super) struct Verified {
    place: String,
    of: PartOf,
    ranged: Ranged,
    /// True if an entry after the range shows that its period is over.
    is_over: bool,
    lines: usize,
    unknown: Vec<String>,
}

/// Verifies a range on its own.
pub(super) fn read(folder: &Path, given: &mut Given) -> Result<Verified, Failure> {
    let place = folder.display().to_string();
    let at = |name: &str| folder.join(name).display().to_string();
    let of = PartOf::read(folder)?;
    let note = file::read(folder.join("checkpoint"), Form::Checkpoint)?;
    let checkpoint = given.take_checkpoint(&at("checkpoint"), &note)?;
    if checkpoint.origin != of.origin {
        return Err(refused(&at(NAMED), &"it names another log than the checkpoint"));
    }
    let names = names::read(folder, checkpoint.size)?;
    let (trouble, seen) = (RefCell::new(None), RefCell::new(BTreeSet::new()));
    let get = |path: &str| {
        let path = folder.join(path);
        match file::bytes(&path) {
            Ok(bytes) => {
                seen.borrow_mut().insert(path);
                Some(bytes)
            }
            Err(failure) => {
                if path.exists() {
                    trouble.borrow_mut().get_or_insert(failure);
                }
                None
            }
        }
    };
    let told =
        |error: Error| trouble.borrow_mut().take().unwrap_or_else(|| refused(&place, &error));
    let range = Range { begin: of.begin, end: of.end };
    let part = Part::open(&given.keys, &note, &get).map_err(told)?;
    let chain = Chain::walk(&part).map_err(told)?;
    let is_over = match (of.from, of.to) {
        (Some(from), Some(to)) => {
            period::check(&part, &chain, Period { from, to }, range).map_err(told)?
        }
        (None, None) => true,
        _ => return Err(refused(&at(NAMED), &"a period has a beginning and an end")),
    };
    let mut payload = Vec::new();
    let ranged = range::range(&part, &chain, (&given.keys, &note), range, |index, _, view| {
        let committed = view.payload().count();
        if committed > 0 {
            payload.push((index, committed));
        }
        Ok(())
    });
    let ranged = ranged.map_err(told)?;
    given.signed_by(&at("checkpoint"), &ranged.keys)?;
    given.cosigned_by_its_own(&at("checkpoint"), checkpoint.size, &ranged.members)?;
    let mut erased = ranged.erased.clone();
    erased.add(given.entries.erased());
    let mut lines = 0;
    for (index, committed) in payload.iter().filter(|_| of.disclosures) {
        let entry = part.entry(*index).map_err(told)?;
        let (path, shown) = disclosed(folder, (*index, &entry, *committed), &erased, given)?;
        seen.borrow_mut().insert(path);
        lines += shown;
    }
    added(folder, &seen.borrow())?;
    let unknown = names.unknown.into_iter().filter(|name| name != NAMED).collect();
    Ok(Verified { place, of, ranged, is_over, lines, unknown })
}

/// Checks the disclosures of an entry. Returns their file, and how many there are.
fn disclosed(
    folder: &Path,
    (index, entry, committed): (u64, &[u8], usize),
    erased: &Erased,
    given: &Given,
) -> Result<(PathBuf, usize), Failure> {
    let path = folder.join(format!("disclosures/{index}.disclosures"));
    let text = if path.exists() { file::read(&path, Form::Disclosures)? } else { String::new() };
    let place = path.display().to_string();
    let view = View::parse(entry);
    let shown = verify::disclosures_of(&text, view.as_ref());
    let shown = shown.map_err(|error| refused(&place, &error))?;
    given.fields.compare(&place, index, &shown)?;
    let kind = view.map_or(Kind::Event, |view| view.kind);
    let missing = erased.judge((index, kind), committed, &shown).missing;
    if missing > 0 {
        let what = format!(
            "{missing} of the {committed} fields that entry {index} commits to are not disclosed, and no erasure or retention entry says why: they were removed from this export; or they were erased or expired after its checkpoint: then give the receipt of the entry that says so too"
        );
        return Err(refused(&place, &what));
    }
    Ok((path, shown.len()))
}

/// Refuses tiles and disclosures that nothing here proves: a reader might take them for proven.
fn added(folder: &Path, seen: &BTreeSet<PathBuf>) -> Result<(), Failure> {
    let mut open = vec![folder.join("tile"), folder.join("disclosures")];
    while let Some(at) = open.pop() {
        let Ok(found) = fs::read_dir(&at) else { continue };
        for file in found.filter_map(Result::ok) {
            let path = file.path();
            let name = file.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                open.push(path);
            } else if !seen.contains(&path)
                && !file::is_dropping(&name)
                && !ledger::leftover::is_leftover(&name)
            {
                let what =
                    "not a part of this range, and a reader might take it for proven: remove it";
                return Err(refused(&path.display().to_string(), &what));
            }
        }
    }
    Ok(())
}

impl Report {
    /// Reports a range.
    pub(super) fn range(&mut self, verified: &Verified) {
        let Verified { place, of, ranged, is_over, lines, unknown } = verified;
        let Ranged { checkpoint, summary, system, .. } = ranged;
        let PartOf { begin, end, from, to, disclosures, .. } = of;
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        let entries = match end - begin {
            0 => "no entries".to_owned(),
            count => format!("{count} entries, {begin} to {}", end - 1),
        };
        self.line(&format!(
            "  a range of {}: {entries} of {}, root {}; and all {system} system entries",
            harmless(&checkpoint.origin),
            checkpoint.size,
            checkpoint.root
        ));
        for (kind, count) in &summary.kinds {
            self.line(&format!("  {count:>10} {kind}"));
        }
        if let (Some(from), Some(to)) = (from, to) {
            let open =
                if *is_over { "" } else { "; it is not over: later entries may belong to it" };
            self.line(&format!("  every entry of {from} to {to}, the end not included{open}"));
        }
        if !unknown.is_empty() {
            let unknown = harmless(&unknown.join(", "));
            self.line(&dim(&format!("  not read, because not part of an export: {unknown}")));
        }
        let payload = if *disclosures {
            format!("{lines} disclosures, and that nothing but what was erased is missing")
        } else {
            "no payload: the export carries no disclosures".to_owned()
        };
        self.line(&dim(&format!(
            "  checked: each entry of the range leads to the signed root and none in it is left out, the log's signature, that the log names itself and its keys, the order of time and journal, {payload}. Not checked: entries outside the range, approvals (`verify --evidence`, or the whole log), whether an event stands twice outside the range, what came after this checkpoint, whether others were shown the same log, whether what producers wrote is true"
        )));
        self.carried(place);
        self.item(json!({
            "place": place, "verified": true, "origin": checkpoint.origin, "size": checkpoint.size,
            "root": checkpoint.root.to_string(), "begin": begin, "end": end, "from": from, "to": to, "over": is_over,
            "summary": summary, "disclosures": lines, "not_looked_at": unknown,
            "checked": ["log_signature", "every_entry_of_the_range", "system_entries", "keys_named_by_the_log", "order"],
            "not_checked": ["entries_outside_the_range", "every_approval", "later_entries", "same_view_for_everybody", "truth_of_the_events"],
        }));
    }
}
