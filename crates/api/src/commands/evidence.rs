//! `countersign evidence`: writes a folder that answers an auditor's request list offline (`proto/formats/evidence.md`).

mod signing;
mod source;

use super::{
    EXIT_FAILED, EXIT_UNREADABLE, EXIT_USAGE, Failed,
    export::{
        checkpoint_of,
        target::{Target, Verdict},
    },
};
use crate::{
    cli::{Disclosed, Evidence},
    evidence::{
        self, Conclusion, Digests, Disclose, Error, Files, Log, Manifest, Out, Request, STATEMENT,
        digest,
    },
    terminal::{bad, dim, good, harmless, say, say_json},
};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{
    system::policy::PartAt,
    time::Nanos,
    verify::{self, KeysDocument, period::Period},
};
use serde_json::json;
use source::Source;
use std::{cell::RefCell, collections::BTreeSet};

/// The evidence was made, and is not whole.
const EXIT_PARTIAL: u8 = 4;
/// The file that is written last.
const LAST: &str = "manifest.json";

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreadable(text) => Self::new(EXIT_UNREADABLE, text),
            other => Self::new(EXIT_FAILED, other.to_string()),
        }
    }
}

/// Makes evidence, or a key to sign it with.
pub fn run(arguments: &Evidence) -> Result<(), Failed> {
    if let Some(path) = &arguments.new_signing_key {
        return signing::new_key(path);
    }
    let out =
        arguments.out.as_ref().ok_or_else(|| usage("name the folder to write: -o evidence"))?;
    let signer = arguments.signing_key.as_deref().map(signing::signer).transpose()?;
    let source = Source::open(arguments)?;
    let files: &dyn Files = &source;
    let (period, note) = period(arguments, &source)?;
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
    // Searched first without writing: the search reads bundles that are not a part of the evidence.
    let searched = Log::open(files, &trust, &request, None)?;
    let range = source.cover(&searched)?;
    let origin = checkpoint_of(&note)?.origin;
    let readme = format!(
        "This is evidence from one Countersign log, for one period.\n\n  log      {}\n\nIt is being written: run the same command again if it was stopped.\n",
        harmless(&origin)
    );
    let target = Target::open(out, &readme, LAST)?;
    target.begin()?;
    target.remove(STATEMENT)?;
    let copied = Copied { target: &target, source: files, seen: RefCell::default() };
    let log = Log::open(&copied, &trust, &request, Some(range))?;
    if !log.is_over && !arguments.partial {
        let text = format!(
            "the log has no entry at or after {}, so entries of the period may still come: name an earlier --to, wait for an entry, or take --partial",
            request.period.to
        );
        return Err(Failed::new(EXIT_FAILED, text));
    }
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
    tell(arguments, &conclusion, &manifest, &log)
}

fn usage(text: &str) -> Failed {
    Failed::new(EXIT_USAGE, text)
}

/// Whoever makes evidence takes the log's first key from the log; whoever verifies it has the key from elsewhere.
fn trust(document: &KeysDocument) -> Result<Vec<verify::Trusted>, verify::Error> {
    let wrong = verify::Error::Keys { position: 0, what: "the document has no key" };
    let first = document.keys.first().ok_or(wrong)?;
    Ok(verify::trust(&first.vkey.0, Some(document))?.keys)
}

/// The period, and the newest checkpoint. Without `--to` it ends at the last entry, which then shows that nothing is cut
/// off; without `--from` it begins with the log.
fn period(arguments: &Evidence, source: &Source) -> Result<(Period, Vec<u8>), Failed> {
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
    let note = source.newest();
    let (first, last) = source.times()?;
    let from = arguments.from.as_deref().map_or(Ok(first), time)?;
    let to = arguments.to.as_deref().map_or(Ok(last), time)?;
    if from >= to {
        return Err(usage(&format!(
            "the period ends at {to}, which is not after its beginning {from}"
        )));
    }
    Ok((Period { from, to }, note))
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
        let failed = |error: Failed| Error::Unreadable(error.text);
        let place = format!("proof/{path}");
        let known = self.seen.borrow().contains_key(&place);
        if (known || path.starts_with("tile/"))
            && let Some(bytes) = self.target.read(&place).map_err(failed)?
        {
            self.seen.borrow_mut().entry(place).or_insert_with(|| digest(&bytes));
            return Ok(Some(bytes));
        }
        let bytes = fetch()?;
        if let Some(bytes) = &bytes {
            self.target.write(&place, bytes).map_err(failed)?;
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
}

/// Writes what was derived.
struct Written<'t> {
    target: &'t Target,
    files: Digests,
}

impl Out for Written<'_> {
    fn put(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        self.target.write(path, bytes).map_err(|error| Error::Unreadable(error.text))?;
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

fn tell(
    arguments: &Evidence,
    conclusion: &Conclusion,
    manifest: &Manifest,
    log: &Log<'_>,
) -> Result<(), Failed> {
    let out = arguments.out.as_deref().unwrap_or(std::path::Path::new("."));
    let Conclusion { missing, decisions, exceptions } = conclusion;
    if arguments.json {
        say_json(&json!({
            "out": out, "whole": missing.is_empty(), "missing": missing, "decisions": decisions,
            "exceptions": exceptions, "begin": log.range.begin, "end": log.range.end, "files": manifest.files.len(),
        }));
    } else {
        say(&format!(
            "{decisions} decisions, entries {} to {}, in {}",
            log.range.begin,
            log.range.end.saturating_sub(1),
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
