//! `verify --evidence`: derives every file of an evidence folder again from the proven entries in it, and compares the
//! bytes (`proto/formats/evidence.md`).

use super::{Failure, Given, file, refused, report::Report};
use crate::{
    evidence::{
        self, Conclusion, Digests, EXPIRED, Error, Files, Gone, Log, Manifest, Out, PRODUCT,
        STATEMENT, digest,
    },
    terminal::{bad, dim, good, harmless},
};
use ledger::{
    leftover,
    log::{checkpoint::Checkpoint, note::Vkey},
    verify::KeysDocument,
};
use serde_json::json;
use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Deepest folder: `proof/tile/7/x000/x000/…`.
const DEPTH_MAX: usize = 14;
/// Most names that are told.
const TOLD_MAX: usize = 5;

/// Evidence that verifies.
pub(super) struct Verified {
    place: String,
    signed: Checkpoint,
    manifest: Manifest,
    conclusion: Conclusion,
    /// Whether there is a statement of whoever made it, and whether the given key signed it.
    statement: Statement,
}

/// A statement about who made the evidence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Statement {
    /// There is none.
    None,
    /// It was not checked: that needs the maker's key.
    NotChecked,
    /// It is about these files, and the given key signed it.
    Signed,
}

impl Verified {
    pub(super) fn is_whole(&self) -> bool {
        self.conclusion.missing.is_empty()
    }

    /// Refuses samples that were drawn by none of the checkpoints that the auditor was handed: once the auditor's text is
    /// known, whoever signs the log could try later checkpoints until the draw pleases.
    pub(super) fn drawn_by(&self, handed_over: &[Checkpoint]) -> Result<(), Failure> {
        let is_drawn = self.manifest.auditor_seed.is_some();
        if !is_drawn || handed_over.is_empty() || handed_over.contains(&self.signed) {
            return Ok(());
        }
        let sizes: Vec<String> = handed_over.iter().map(|given| given.size.to_string()).collect();
        let what = format!(
            "the samples were drawn by this checkpoint, of size {}, and you were handed the one of size {}: have the evidence made under that one",
            self.signed.size,
            sizes.join(", ")
        );
        Err(refused(&format!("{}/proof/checkpoint", self.place), &what))
    }
}

/// The files of a folder. Links are refused, so nothing is read through one.
struct Folder {
    path: PathBuf,
    names: BTreeSet<String>,
    /// What expired after the checkpoint, by the names below `proof/expired/`.
    expired: Vec<Gone>,
    /// What was read below `proof/`.
    seen: RefCell<Digests>,
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Failure> {
        let mut names = BTreeSet::new();
        walk(path, "", 0, &mut names)?;
        let gone = |path: &String| {
            let name = path.strip_prefix("proof/")?.strip_prefix(EXPIRED)?;
            Gone::parse(name.strip_suffix(".tlog-proof")?)
        };
        let expired = names.iter().filter_map(gone).collect();
        Ok(Self { path: path.to_owned(), names, expired, seen: RefCell::default() })
    }

    /// The bytes of a file. `None` if there is none.
    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        if !self.names.contains(name) {
            return Ok(None);
        }
        match file::bytes(&self.path.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Failure::Unreadable(text)) => Err(Error::Unreadable(text)),
            Err(_) => Err(Error::Unreadable(format!("{name}: can't be read"))),
        }
    }
}

impl Files for Folder {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = format!("proof/{path}");
        let bytes = self.bytes(&path)?;
        if let Some(bytes) = &bytes {
            self.seen.borrow_mut().entry(path).or_insert_with(|| digest(bytes));
        }
        Ok(bytes)
    }

    fn gone(&self, index: u64) -> Option<Gone> {
        Gone::explains(self.expired.iter().copied(), index)
    }
}

/// Compares each derived file with the one in the folder.
struct Compared<'f> {
    folder: &'f Folder,
    files: Digests,
}

impl Out for Compared<'_> {
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let wrong = |what: String| Error::File { place: path.to_owned(), what };
        let found = self.folder.bytes(path)?;
        let found =
            found.ok_or_else(|| wrong("missing, although it follows from proof/".into()))?;
        if found != bytes {
            let line = line_of(&found, bytes);
            return Err(wrong(format!(
                "not what follows from proof/: it differs from line {line} on. Somebody changed it, or what is in proof/"
            )));
        }
        self.files.insert(path.to_owned(), digest(bytes));
        Ok(())
    }
}

/// The first line in which two texts differ, from 1.
fn line_of(one: &[u8], other: &[u8]) -> usize {
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    one[..same].split(|byte| *byte == b'\n').count()
}

/// Verifies the evidence in a folder.
pub(super) fn read(
    path: &Path,
    given: &mut Given,
    maker: Option<&Vkey>,
) -> Result<Verified, Failure> {
    let place = path.display().to_string();
    if !path.join("manifest.json").exists() {
        let what = "there is no file `manifest.json`: it is no evidence, or is incomplete. Run `countersign evidence` into it again";
        return Err(Failure::Unreadable(format!("{place}: {what}")));
    }
    let folder = Folder::open(path)?;
    let told = |error: Error| failure(&place, error);
    let manifest = folder.bytes("manifest.json").map_err(told)?.unwrap_or_default();
    let manifest = Manifest::read(&manifest).map_err(told)?;
    if manifest.product != PRODUCT {
        let text = format!(
            "{place}: made by countersign {}; this is {PRODUCT}, whose texts may be others: verify it with that version",
            harmless(&manifest.product)
        );
        return Err(Failure::Unreadable(text));
    }
    let request = manifest.request().map_err(told)?;
    let keys = given.keys.clone();
    let trust = move |_: &KeysDocument| Ok(keys.clone());
    let log = Log::open(&folder, &trust, &request, Some(manifest.range())).map_err(told)?;
    let mut out = Compared { folder: &folder, files: Digests::new() };
    let conclusion = evidence::derive(&log, &mut out, &request, &|_| {}).map_err(told)?;
    let mut files = out.files;
    files.extend(folder.seen.borrow().clone());
    let expected = Manifest::new(&log, &request, conclusion.missing.is_empty(), files);
    if manifest != expected {
        return Err(refused(&format!("{place}/manifest.json"), &differs(&manifest, &expected)));
    }
    added(&folder, &expected).map_err(|what| refused(&place, &what))?;
    let statement = folder.bytes(STATEMENT).map_err(told)?;
    let statement = match (statement, maker) {
        (None, None) => Statement::None,
        (None, Some(_)) => {
            return Err(refused(&place, &"nobody signed it: there is no statement.dsse.json"));
        }
        (Some(bytes), maker) => {
            evidence::check_statement(&bytes, (&manifest, &conclusion), maker).map_err(told)?;
            if maker.is_some() { Statement::Signed } else { Statement::NotChecked }
        }
    };
    let at = format!("{place}/proof/checkpoint");
    let signed = given.take_checkpoint(&at, &log.note)?;
    given.signed_by(&at, &log.keys)?;
    given.cosigned_by_its_own(&at, signed.size, &log.members)?;
    for (path, later) in log.erased_later() {
        let at = format!("{place}/proof/{path}");
        given.later_receipt(&at, &later.receipt)?;
        let connected = given.claim.consistency(&at, (signed.size, later.size), &later.proof);
        connected.map_err(|error| super::contradiction(&error))?;
    }
    Ok(Verified { place, signed, manifest, conclusion, statement })
}

/// What a manifest says that does not follow from the folder.
fn differs(manifest: &Manifest, expected: &Manifest) -> String {
    let wrong: Vec<&str> = manifest
        .files
        .iter()
        .filter(|(path, digest)| expected.files.get(*path) != Some(digest))
        .map(|(path, _)| path.as_str())
        .chain(
            expected.files.keys().map(String::as_str).filter(|p| !manifest.files.contains_key(*p)),
        )
        .take(TOLD_MAX)
        .collect();
    if wrong.is_empty() {
        return "it says something else about the log than its checkpoint and entries".into();
    }
    format!("it says something else than the folder about {}", wrong.join(", "))
}

/// Refuses files that nothing explains: somebody might read them as a part of the evidence.
fn added(folder: &Folder, manifest: &Manifest) -> Result<(), String> {
    let known = |name: &&String| {
        manifest.files.contains_key(*name) || matches!(name.as_str(), "manifest.json" | STATEMENT)
    };
    let added: Vec<&str> = folder
        .names
        .iter()
        .filter(|name| !known(name))
        .map(String::as_str)
        .take(TOLD_MAX)
        .collect();
    if added.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}: not a part of this evidence, and a reader might take it for one: remove it",
        added.join(", ")
    ))
}

fn walk(
    root: &Path,
    within: &str,
    depth: usize,
    names: &mut BTreeSet<String>,
) -> Result<(), Failure> {
    let path = root.join(within);
    let unreadable = |e: std::io::Error| Failure::Unreadable(format!("{}: {e}", path.display()));
    for found in fs::read_dir(&path).map_err(unreadable)? {
        let found = found.map_err(unreadable)?;
        let name = found.file_name().to_string_lossy().into_owned();
        let place = if within.is_empty() { name.clone() } else { format!("{within}/{name}") };
        let kind = found.file_type().map_err(unreadable)?;
        let shown = found.path().display().to_string();
        if kind.is_symlink() {
            return Err(refused(&shown, &"it is a link; evidence has none"));
        }
        if file::is_dropping(&name) || (kind.is_file() && leftover::is_leftover(&name)) {
            continue;
        }
        if kind.is_dir() && depth < DEPTH_MAX {
            walk(root, &place, depth + 1, names)?;
        } else if kind.is_file() {
            names.insert(place);
        } else {
            return Err(refused(&shown, &"not a file of evidence"));
        }
    }
    Ok(())
}

fn failure(place: &str, error: Error) -> Failure {
    match error {
        Error::Log(error) => refused(&format!("{place}/proof"), &error),
        Error::File { place: at, what } => refused(&format!("{place}: {at}"), &what),
        Error::Unreadable(text) | Error::Refused { text, .. } => Failure::Unreadable(text),
    }
}

impl Report {
    /// Reports evidence.
    pub(super) fn evidence(&mut self, verified: &Verified) {
        let Verified { place, signed, manifest, conclusion, statement } = verified;
        let range = manifest.range();
        let origin = harmless(&signed.origin);
        if verified.is_whole() {
            self.line(&format!("{} {}", good("verified"), harmless(place)));
        } else {
            self.line(&format!("{} {}", bad("NOT WHOLE"), harmless(place)));
            for line in &conclusion.missing {
                self.line(&bad(&format!("  {line}")));
            }
        }
        self.line(&format!(
            "  evidence of {origin}: {} decisions, entries {} to {} of {}, root {}",
            conclusion.decisions,
            range.begin,
            range.end.saturating_sub(1),
            signed.size,
            signed.root
        ));
        for text in &conclusion.exceptions {
            self.line(&bad(&format!("  exception: {}", harmless(text))));
        }
        let parts = [
            "1 population: every entry of the period proven, counted again",
            "2 samples: drawn again from the checkpoint and the auditor's text",
            "3 approvals and tokens: every approval of the period replayed",
            "4 policies, rules, keys: every system entry since the first",
            "5 replay: computed again where the payload is here",
            "6 operation and 7 privacy: counted again",
            "8 controls and the report: written again, the same bytes",
        ];
        for part in parts {
            self.line(&dim(&format!("  checked: {part}")));
        }
        if *statement == Statement::Signed {
            self.line(&dim("  checked: the maker's key signed statement.dsse.json, which is about exactly these files"));
        }
        let statement = match statement {
            Statement::NotChecked => ", who signed statement.dsse.json (give --evidence-key)",
            Statement::None | Statement::Signed => "",
        };
        self.line(&dim(&format!(
            "  not checked: what not-checked.txt lists; whether the checkpoint is the earliest that covers the period{statement}"
        )));
        self.item(json!({
            "place": place, "verified": true, "whole": verified.is_whole(), "origin": signed.origin,
            "size": signed.size, "root": signed.root.to_string(), "begin": range.begin, "end": range.end,
            "decisions": conclusion.decisions, "missing": conclusion.missing, "exceptions": conclusion.exceptions,
            "checked": ["population", "samples", "approvals", "policies", "replay", "operation", "privacy", "controls", "report"],
            "not_checked": ["not-checked.txt", "earliest_checkpoint"],
            "statement": match verified.statement {
                Statement::None => "none",
                Statement::NotChecked => "not_checked",
                Statement::Signed => "signed",
            },
        }));
    }
}
