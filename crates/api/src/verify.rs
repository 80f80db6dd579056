//! `countersign verify`: prints what was checked, and what was not. All files of one command form one claim.

mod approval;
mod evidence;
mod export;
mod fields;
mod file;
mod incident;
mod keys;
mod names;
mod passkeys;
mod policy;
mod range;
mod replay;
mod report;
#[cfg(feature = "server")]
mod simulate;

use crate::{
    cli::Verify,
    terminal::{harmless, warn},
};
use approval::History;
use export::Whole;
use fields::Fields;
use file::Form;
use keys::{agree, document};
use ledger::{
    log::{
        checkpoint::Checkpoint,
        note::{self, Vkey},
        receipt,
    },
    verify::{
        self, Claim, ConsistencyProof, DocumentedMembers, Entries, Trust, Trusted, Unconnected,
    },
};
use policy::Judge;
use report::Report;
use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
};

/// Exit status: something was refused.
const EXIT_REFUSED: u8 = 1;
/// Exit status: wrong usage.
const EXIT_USAGE: u8 = 2;
/// Exit status: a file can't be read.
const EXIT_UNREADABLE: u8 = 3;
/// Exit status: everything was verified, and evidence says itself that it is not whole.
const EXIT_PARTIAL: u8 = 4;

enum Failure {
    Refused { place: String, error: String },
    Contradiction(String),
    Usage(String),
    Unreadable(String),
}

/// The failure of one part, with its place.
fn refused(place: &str, error: &impl Display) -> Failure {
    Failure::Refused { place: place.to_owned(), error: error.to_string() }
}

/// The failure of parts that are valid alone but contradict each other.
fn contradiction(error: &impl Display) -> Failure {
    Failure::Contradiction(error.to_string())
}

#[cfg(feature = "server")]
pub use range::PartOf;
pub use replay::{explain, replay};
#[cfg(feature = "server")]
pub use simulate::simulate;

/// Verifies the files that the arguments name.
pub fn run(arguments: &Verify) -> ExitCode {
    quietly(arguments, false)
}

/// The same; if `quiet`, what verifies is not told.
pub fn quietly(arguments: &Verify, quiet: bool) -> ExitCode {
    let mut report = Report::default();
    let code = match check(arguments, &mut report) {
        Ok(true) => 0,
        Ok(false) => EXIT_PARTIAL,
        Err(Failure::Refused { place, error }) => {
            report.refused(&place, &error);
            EXIT_REFUSED
        }
        Err(Failure::Contradiction(error)) => {
            report.contradiction(&error);
            EXIT_REFUSED
        }
        Err(Failure::Usage(text)) => {
            report.unusable(&text);
            warn(&format!("countersign verify: {}", harmless(&text)));
            EXIT_USAGE
        }
        Err(Failure::Unreadable(text)) => {
            report.unusable(&text);
            warn(&format!("countersign verify: {}", harmless(&text)));
            EXIT_UNREADABLE
        }
    };
    if !quiet || code != 0 {
        report.print(arguments.json, code == 0 || code == EXIT_PARTIAL);
    }
    ExitCode::from(code)
}

/// Everything verified so far, to be compared with what follows.
struct Given {
    keys: Vec<Trusted>,
    /// True if a keys document was given. Then a signature by another key is not caused by a forgotten
    /// `--keys`.
    documented: bool,
    claim: Claim,
    /// Checkpoints by size.
    checkpoints: BTreeMap<u64, Checkpoint>,
    /// Every entry that a receipt proves.
    entries: Entries,
    /// Every signed note, with its place.
    notes: Vec<(String, String)>,
    fields: Fields,
    /// The verifier's own policy.
    judge: Option<Rc<Judge>>,
}

/// False if everything verifies, and evidence says itself that it is not whole.
fn check(arguments: &Verify, report: &mut Report) -> Result<bool, Failure> {
    let Verify { receipts, checkpoint, export, approval, evidence, disclosures, proof, .. } =
        arguments;
    let parts = receipts.len() + checkpoint.len() + export.len() + approval.len() + evidence.len();
    let parts = parts + arguments.incident.len();
    if parts == 0 {
        let text = "name a receipt, --checkpoint, --export, --approval, --incident or --evidence";
        return Err(Failure::Usage(text.into()));
    }
    if disclosures.is_some() && receipts.len() != 1 {
        return Err(Failure::Usage("--disclosures goes with exactly one receipt".into()));
    }
    let mut given = Given::new(arguments)?;
    report.judge.clone_from(&given.judge);
    for path in receipts {
        given.take_receipt(path, disclosures.as_deref(), report)?;
    }
    let mut handed_over = Vec::new();
    for path in checkpoint {
        let (place, text) = (path.display().to_string(), file::read(path, Form::Checkpoint)?);
        let checkpoint = given.take_checkpoint(&place, &text)?;
        report.checkpoint(&place, &checkpoint);
        handed_over.push(checkpoint);
    }
    for path in &arguments.incident {
        report.incident(&incident::read(path, &mut given)?);
    }
    let histories: Result<Vec<History>, Failure> =
        approval.iter().map(|folder| History::read(folder, &mut given)).collect();
    let (ranges, whole): (Vec<&PathBuf>, Vec<&PathBuf>) =
        export.iter().partition(|folder| range::is_one(folder));
    let wholes: Result<Vec<Whole>, Failure> =
        whole.into_iter().map(|folder| export::read(folder, &mut given)).collect();
    let (histories, wholes) = (histories?, wholes?);
    for folder in ranges {
        report.range(&range::read(folder, &mut given)?);
    }
    let mut all_whole = true;
    let maker = arguments.evidence_key.as_deref().map(|given| key("--evidence-key", given));
    let maker = maker.transpose()?;
    for folder in evidence {
        let verified = evidence::read(folder, &mut given, maker.as_ref())?;
        verified.drawn_by(&handed_over)?;
        all_whole &= verified.is_whole();
        report.evidence(&verified);
    }
    for path in proof {
        given.take_proof(path, report)?;
    }
    for whole in &wholes {
        export::compare(whole, &mut given)?;
        report.export(whole, &given.fields.erased(whole));
    }
    for history in &histories {
        let later = history.compare(&histories, &wholes, &given)?;
        report.history(history, later.as_deref());
    }
    let open = given.finish()?;
    report.together(parts + proof.len(), &open);
    Ok(all_whole)
}

impl Given {
    fn new(arguments: &Verify) -> Result<Self, Failure> {
        let first = key("--key", &arguments.key)?;
        let mut given = Self {
            keys: vec![Trusted { vkey: first.clone(), first_size: 0, last_size: None }],
            documented: false,
            claim: Claim::default(),
            entries: Entries::default(),
            checkpoints: BTreeMap::new(),
            notes: Vec::new(),
            fields: Fields::default(),
            judge: None,
        };
        let mut judge = Judge::read(arguments.policy.as_ref(), &first)?;
        let mut changed: Vec<(String, Vec<DocumentedMembers>)> = Vec::new();
        // An export carries its own keys document; its chain begins with the given key.
        let folders = arguments.export.iter().chain(&arguments.approval);
        let evidence = arguments.evidence.iter().map(|folder| folder.join("proof/keys.json"));
        let carried = folders.map(|folder| folder.join("keys.json")).chain(evidence);
        let carried = carried.filter(|path| path.exists());
        let paths: Vec<PathBuf> = arguments.keys.iter().cloned().chain(carried).collect();
        let mut from: Option<&Path> = None;
        for path in &paths {
            let (Trust { keys, handovers }, members) = document(path, &first)?;
            let place = path.display().to_string();
            changed.push((place.clone(), members));
            for (n, handover) in handovers.iter().enumerate() {
                let place = format!("{place} (key {})", n + 2);
                given.claim.receipt(&place, handover).map_err(|error| contradiction(&error))?;
                let (index, entry) = (handover.receipt.index, &handover.receipt.entry);
                given.entries.take(&place, index, entry).map_err(|error| contradiction(&error))?;
            }
            if let Some(other) = from.filter(|_| !agree(&given.keys, &keys)) {
                let text = format!(
                    "{} and {place} contradict each other: they hand over from the given key to different keys, or at different sizes",
                    other.display()
                );
                return Err(Failure::Contradiction(text));
            }
            if from.is_none() || keys.len() > given.keys.len() {
                given.keys = keys;
            }
            from = from.or(Some(path.as_path()));
            given.documented = true;
        }
        let mut proven = Vec::new();
        for (place, members) in changed {
            proven.extend(given.take_changes(&place, &members)?);
        }
        judge.as_mut().map_or(Ok(()), |judge| judge.follow(&proven))?;
        given.judge = judge.map(Rc::new);
        Ok(given)
    }

    fn take_checkpoint(&mut self, place: &str, text: &str) -> Result<Checkpoint, Failure> {
        let checkpoint = policy::signed(self, place, text)?;
        self.claim.checkpoint(place, &checkpoint).map_err(|error| contradiction(&error))?;
        self.note(place, text, &checkpoint)?;
        Ok(checkpoint)
    }

    /// Verifies a receipt on its own, and adds it to the claim.
    fn receipt(&mut self, place: &str, text: &str) -> Result<verify::Verified, Failure> {
        let verified = verify::receipt(text, &self.keys);
        let verified =
            verified.map_err(|error| self.explain(place, Form::Receipt, text, &error))?;
        self.claim.receipt(place, &verified).map_err(|error| contradiction(&error))?;
        let (index, entry) = (verified.receipt.index, &verified.receipt.entry);
        self.entries.take(place, index, entry).map_err(|error| contradiction(&error))?;
        self.note(place, &verified.receipt.checkpoint, &verified.checkpoint)?;
        Ok(verified)
    }

    fn take_receipt(
        &mut self,
        path: &Path,
        disclosures: Option<&Path>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let place = path.display().to_string();
        let verified = self.receipt(&place, &file::read(path, Form::Receipt)?)?;
        let shown = disclosures.map(|path| -> Result<_, Failure> {
            let place = path.display().to_string();
            let shown =
                verify::disclosures(&file::read(path, Form::Disclosures)?, &verified.receipt.entry);
            let shown = shown.map_err(|error| refused(&place, &error))?;
            self.fields.take(&place, verified.receipt.index, &shown)?;
            Ok(shown)
        });
        report.receipt(&place, &verified, shown.transpose()?.as_deref());
        Ok(())
    }

    fn take_proof(&mut self, path: &Path, report: &mut Report) -> Result<(), Failure> {
        let place = path.display().to_string();
        let proof = ConsistencyProof::parse(&file::read(path, Form::Proof)?);
        let proof = proof.map_err(|error| refused(&place, &error))?;
        let (from, to) = (proof.from, proof.to);
        let (Some(old), Some(new)) = (self.checkpoints.get(&from), self.checkpoints.get(&to))
        else {
            let sizes: Vec<String> = self.checkpoints.keys().take(8).map(u64::to_string).collect();
            let text = format!(
                "it is for sizes {from} and {to}; what you gave is of {}. Give checkpoints or receipts of both sizes",
                sizes.join(", ")
            );
            return Err(refused(&place, &text));
        };
        let hashes = proof.verify(old, new).map_err(|error| refused(&place, &error))?;
        self.claim
            .consistency(&place, (from, to), &hashes)
            .map_err(|error| contradiction(&error))?;
        report.consistency(&place, from, to);
        Ok(())
    }

    fn keep_note(&mut self, place: &str, text: &str, checkpoint: &Checkpoint) {
        if self.notes.last().is_none_or(|(_, last)| last != text) {
            self.notes.push((place.to_owned(), text.to_owned()));
        }
        self.checkpoints.entry(checkpoint.size).or_insert_with(|| checkpoint.clone());
    }

    /// Checks what needs all parts. Returns the trees that nothing connects with the largest.
    fn finish(&self) -> Result<Vec<Unconnected>, Failure> {
        self.entries.finish().map_err(|error| contradiction(&error))?;
        if let Some((place, keys)) = self.entries.retired(&self.keys) {
            self.signed_by(place, &keys)?;
        }
        self.claim.finish().map_err(|error| contradiction(&error))
    }

    /// Checks that one of these keys, which `place` names, has signed every checkpoint.
    fn signed_by(&self, place: &str, keys: &[Trusted]) -> Result<(), Failure> {
        for (note_place, note) in &self.notes {
            verify::checkpoint(note, keys).map_err(|error| {
                let text = format!("{place} and {note_place} contradict each other: by the keys that the log itself names there, {error}");
                Failure::Contradiction(text)
            })?;
        }
        Ok(())
    }

    /// Says why a text was refused, and what may have happened to it or to the keys.
    fn explain(&self, place: &str, form: Form, text: &str, error: &verify::Error) -> Failure {
        let unsigned = match error {
            verify::Error::Checkpoint(error)
            | verify::Error::Receipt(receipt::Error::Checkpoint(error)) => Some(error),
            _ => None,
        };
        let hint = match unsigned {
            Some(note::Error::Unsigned { by, .. }) => self.other_signer(by),
            _ => file::after(form, text),
        };
        refused(place, &format!("{error}{hint}"))
    }

    fn other_signer(&self, by: &str) -> &'static str {
        let name = self.keys.first().map_or("", |key| key.vkey.name());
        let same_log =
            by.split(", ").any(|signer| signer.rsplit_once('+').is_some_and(|(of, _)| of == name));
        match (same_log, self.documented) {
            (false, _) => ". It is of another log",
            (true, false) => {
                ". Was the key rotated? Then give the keys document by --keys (GET T/logs/1/keys, or keys.json of an export)"
            }
            (true, true) => {
                ". The keys document does not hand over to that key: is it older than this? Fetch it again"
            }
        }
    }
}

/// Reads a public key from the command line or from its file.
fn key(option: &str, given: &str) -> Result<Vkey, Failure> {
    let unusable = |what: &str| Err::<Vkey, _>(Failure::Unreadable(format!("{option}: {what}")));
    if let Some(what) = file::secret(given.trim()) {
        return unusable(what);
    }
    match Vkey::parse(given.trim()) {
        Ok(key) => Ok(key),
        Err(error) if !Path::new(given).exists() && given.contains('+') => {
            unusable(&format!("{given}: {error}. There is no file of that name either"))
        }
        Err(_) if !Path::new(given).exists() => unusable(&format!(
            "{given}: no such file, and no key: give a public key (name+8 hex digits+base64), or a file that holds it"
        )),
        Err(_) => Vkey::parse(file::read(given, Form::Key)?.trim())
            .or_else(|error| unusable(&format!("{given}: {error}"))),
    }
}
