//! `countersign evidence`: writes a folder that answers an auditor's request list offline (`proto/formats/evidence.md`).

mod ahead;
mod monthly;
mod signing;
mod source;

pub use monthly::start;

use super::{
    EXIT_FAILED, EXIT_UNREADABLE, EXIT_USAGE, Failed,
    export::{
        checkpoint_of,
        target::{Target, Verdict},
    },
};
use crate::{
    cli::{Disclosed, Every, Evidence},
    evidence::{
        self, Conclusion, Digests, Disclose, Error, Files, Gone, Log, Manifest, Out, Request,
        STATEMENT, digest,
    },
    terminal::{bad, dim, good, harmless, say, say_json},
};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{
    system::policy::PartAt,
    time::Nanos,
    verify::{period::Period, range::trust_of_itself},
};
use serde_json::json;
use source::Source;
use std::{cell::RefCell, collections::BTreeSet, path::Path};

/// The evidence was made, and is not whole.
const EXIT_PARTIAL: u8 = 4;
/// The file that is written last.
const LAST: &str = "manifest.json";

impl From<Failed> for Error {
    fn from(Failed { code, text }: Failed) -> Self {
        Self::Refused { code, text }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreadable(text) => Self::new(EXIT_UNREADABLE, text),
            Error::Refused { code, text } => Self::new(code, text),
            other => Self::new(EXIT_FAILED, other.to_string()),
        }
    }
}

/// Makes evidence, or a key to sign it with.
pub fn run(arguments: &Evidence) -> Result<(), Failed> {
    if let Some(path) = &arguments.new_signing_key {
        return signing::new_key(path);
    }
    if let Some(Every::Month) = arguments.every {
        return monthly::run(arguments);
    }
    let out =
        arguments.out.as_ref().ok_or_else(|| usage("name the folder to write: -o evidence"))?;
    let source = Source::open(arguments)?;
    let period = period(arguments, &source)?;
    let made = make(arguments, &source, period, out)?;
    tell(arguments, out, &made)
}

/// A folder that was written.
struct Made {
    conclusion: Conclusion,
    manifest: Manifest,
}

/// Writes the folder of a period.
fn make(arguments: &Evidence, source: &Source, period: Period, out: &Path) -> Result<Made, Failed> {
    let signer = arguments.signing_key.as_deref().map(signing::signer).transpose()?;
    let files: &dyn Files = source;
    let request = Request {
        period,
        auditor_seed: arguments.auditor_seed.clone(),
        samples: arguments.samples,
        disclose: match arguments.disclose {
            Disclosed::None => Disclose::None,
            Disclosed::Samples => Disclose::Samples,
            Disclosed::All => Disclose::All,
        },
    };
    let origin = checkpoint_of(&source.newest())?.origin;
    // Searched first without writing: the search reads bundles that are not a part of the evidence.
    let searched = Log::open(files, &trust_of_itself, &request, None)?;
    let range = source.cover(&searched)?;
    let readme = format!(
        "This is evidence from one Countersign log, for one period.\n\n  log      {}\n\nIt is being written: run the same command again if it was stopped.\n",
        harmless(&origin)
    );
    let target = Target::open(out, &readme, LAST)?;
    target.begin()?;
    target.remove(STATEMENT)?;
    let copied = Copied { target: &target, source: files, seen: RefCell::default() };
    let log = Log::open(&copied, &trust_of_itself, &request, Some(range))?;
    if !log.is_over && !arguments.partial {
        let text = format!(
            "the log has no entry at or after {}, so entries of the period may still come: name an earlier --to, wait for an entry, or take --partial",
            request.period.to
        );
        return Err(Failed::new(EXIT_FAILED, text));
    }
    source.fetch_ahead(arguments, range)?;
    let bar = bar(range.end - range.begin);
    let mut written = Written { target: &target, files: Digests::new() };
    let conclusion =
        evidence::derive(&log, &mut written, &request, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    let mut all = written.files;
    all.extend(copied.seen.borrow().clone());
    let manifest = Manifest::new(&log, &request, conclusion.missing.is_empty(), all);
    if let Some(signer) = &signer {
        target.write(STATEMENT, &evidence::envelope(&manifest, &conclusion, signer))?;
    }
    sweep(&target, &manifest, signer.is_some())?;
    target.finish(&manifest.bytes())?;
    Ok(Made { conclusion, manifest })
}

fn usage(text: &str) -> Failed {
    Failed::new(EXIT_USAGE, text)
}

/// The period. Without `--to` it ends at the last entry, which then shows that nothing is cut
/// off; without `--from` it begins with the log.
fn period(arguments: &Evidence, source: &Source) -> Result<Period, Failed> {
    let time = |text: &str| {
        let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
        let wrong = || {
            usage(&format!(
                "{}: not a day (2026-01-01) or a time (2026-01-01T00:00:00Z)",
                harmless(text)
            ))
        };
        Nanos::parse(&whole).ok_or_else(wrong)
    };
    let (first, last) = source.times()?;
    let from = arguments.from.as_deref().map_or(Ok(first), time)?;
    let to = arguments.to.as_deref().map_or(Ok(last), time)?;
    if from >= to {
        return Err(usage(&format!(
            "the period ends at {to}, which is not after its beginning {from}"
        )));
    }
    Ok(Period { from, to })
}

fn bar(entries: u64) -> ProgressBar {
    let bar = ProgressBar::new(entries);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} entries eta {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Reads from the source, and keeps what was read below `proof/`. A tile of one width never changes, so one that is there
/// already is not fetched again; it is proven like all others.
struct Copied<'c> {
    target: &'c Target,
    source: &'c dyn Files,
    seen: RefCell<Digests>,
}

impl Copied<'_> {
    fn keep(
        &self,
        path: &str,
        fetch: impl FnOnce() -> Result<Option<Vec<u8>>, Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let place = format!("proof/{path}");
        let known = self.seen.borrow().contains_key(&place);
        if (known || path.starts_with("tile/"))
            && let Some(bytes) = self.target.read(&place)?
        {
            self.seen.borrow_mut().entry(place).or_insert_with(|| digest(&bytes));
            return Ok(Some(bytes));
        }
        let bytes = fetch()?;
        if let Some(bytes) = &bytes {
            self.target.write(&place, bytes)?;
            self.seen.borrow_mut().insert(place, digest(bytes));
        }
        Ok(bytes)
    }
}

impl Files for Copied<'_> {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        self.keep(path, || self.source.get(path))
    }

    fn policy(&self, part: &PartAt) -> Result<Option<Vec<u8>>, Error> {
        self.keep(&evidence::policy_path(part), || self.source.policy(part))
    }

    fn gone(&self, index: u64) -> Option<Gone> {
        self.source.gone(index)
    }
}

/// Writes what was derived.
struct Written<'t> {
    target: &'t Target,
    files: Digests,
}

impl Out for Written<'_> {
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.target.write(path, bytes)?;
        self.files.insert(path.to_owned(), digest(bytes));
        Ok(())
    }
}

/// Removes what earlier evidence left in the folder.
fn sweep(target: &Target, manifest: &Manifest, signed: bool) -> Result<(), Failed> {
    let folders: BTreeSet<&str> =
        manifest.files.keys().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    target.sweep(&|path| {
        let top = path.split('/').next().unwrap_or_default();
        let is_kept = manifest.files.contains_key(path) || (signed && path == STATEMENT);
        if is_kept || path.ends_with('/') {
            Verdict::Keep
        } else if folders.contains(top) {
            Verdict::Remove
        } else {
            Verdict::Foreign
        }
    })?;
    Ok(())
}

fn tell(arguments: &Evidence, out: &Path, made: &Made) -> Result<(), Failed> {
    let Made { conclusion, manifest } = made;
    let range = manifest.range();
    let Conclusion { missing, decisions, exceptions } = conclusion;
    if arguments.json {
        say_json(&json!({
            "out": out, "whole": missing.is_empty(), "missing": missing, "decisions": decisions,
            "exceptions": exceptions, "begin": range.begin, "end": range.end, "files": manifest.files.len(),
        }));
    } else {
        say(&format!(
            "{decisions} decisions, entries {} to {}, in {}",
            range.begin,
            range.end.saturating_sub(1),
            out.display()
        ));
        for text in exceptions {
            say(&bad(&format!("  exception: {}", harmless(text))));
        }
        if exceptions.is_empty() {
            say(&good("  no exceptions were found"));
        }
        say(&dim(&format!("Read it: {}/report.html", out.display())));
        say(&dim(&format!(
            "Check it: countersign verify --key <vkey> --evidence {}",
            out.display()
        )));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failed::new(EXIT_PARTIAL, format!("not whole: {}", missing.join("; "))))
}
