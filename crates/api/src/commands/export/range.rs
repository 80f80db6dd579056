//! `countersign export --from --to`: a range of a log as a folder that proves it (`proto/formats/export.md`).

use super::{Target, Verdict, checkpoint, checkpoint_of, tiles::unreadable};
use crate::{
    cli::Export,
    client::Client,
    commands::{EXIT_FAILED, EXIT_USAGE, Failed},
    terminal::{dim, harmless, say},
    verify::PartOf,
};
use ledger::{
    log::tile::Tile,
    time::Nanos,
    verify::{
        KeysDocument,
        part::Part,
        period::{self, Chain, Period, Range},
        range,
    },
};
use std::{cell::RefCell, collections::BTreeSet, path::Path};

/// What says which range it is. Written last.
pub const LAST: &str = "range.json";

/// Text of the README. An export is recognised by it.
fn readme(origin: &str) -> String {
    format!(
        "\
This is a range of one Countersign log, with its proof.

  log                   {}

  range.json            which entries, and of which period
  checkpoint            the signed tree head: https://c2sp.org/tlog-checkpoint
  tile/entries/...      the entries, 256 in a bundle: https://c2sp.org/tlog-tiles; the range, and every system entry
  tile/<level>/...      the hashes that lead from them to the tree head
  keys.json             the keys that sign, with the proofs that hand over between them
  disclosures/<n>...    payload of entry n that was not erased, one disclosure per line

Check it with the log's public key, which you must have from somewhere else:
  countersign verify --key <vkey> --export .

Only its owner can read these files: they may hold payload. To serve them, give others the right to.
",
        harmless(origin)
    )
}

/// One end of a range: a leaf index, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    At(u64),
    Time(Nanos),
}

fn end(name: &str, text: &str) -> Result<End, Failed> {
    if let Ok(index) = text.parse() {
        return Ok(End::At(index));
    }
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Nanos::parse(&whole).map(End::Time).ok_or_else(|| {
        let text = harmless(text);
        let what = "not a leaf index (4711), a day (2026-01-01) or a time (2026-01-01T00:00:00Z)";
        Failed::new(EXIT_USAGE, format!("--{name} {text}: {what}"))
    })
}

/// Reads from the server, and keeps what was read in the folder. A tile of one width never changes.
struct Copied<'c> {
    client: &'c Client,
    log: &'c str,
    target: &'c Target,
    /// False while the range is searched: what only the search reads is not a part of it.
    keeps: bool,
    seen: &'c RefCell<BTreeSet<String>>,
    trouble: &'c RefCell<Option<Failed>>,
}

impl Copied<'_> {
    fn get(&self, path: &str) -> Option<Vec<u8>> {
        let bytes = self.read(path);
        bytes.map_err(|failed| self.trouble.borrow_mut().get_or_insert(failed).code).ok()
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, Failed> {
        let known = if self.keeps { self.target.read(path)? } else { None };
        let bytes = if let Some(bytes) = known {
            bytes
        } else {
            let bytes = self.client.get(&format!("{}/{path}", self.log))?;
            if self.keeps {
                self.target.write(path, &bytes)?;
            }
            bytes
        };
        if self.keeps {
            self.seen.borrow_mut().insert(path.to_owned());
        }
        Ok(bytes)
    }
}

/// Writes a range of a log.
pub fn run(client: &Client, arguments: &Export) -> Result<(), Failed> {
    let Export { tenant, dir, disclosures, witnessed, .. } = arguments;
    let [from, to] = [("from", &arguments.from), ("to", &arguments.to)]
        .map(|(name, text)| text.as_deref().map(|text| end(name, text)).transpose());
    let (from, to) = (from?, to?);
    let base = format!("/v1/tenants/{tenant}");
    let log = format!("{base}/logs/1");
    let note_of = |covers, witnessed| {
        let note = checkpoint(client, &log, covers, witnessed)?;
        String::from_utf8(note).map_err(|_| unreadable())
    };
    let newest = note_of(None, false)?;
    let origin = checkpoint_of(newest.as_bytes())?.origin;
    let target = Target::open(dir, &readme(&origin), LAST)?;
    target.begin()?;
    let (seen, trouble) = (RefCell::default(), RefCell::default());
    let at = |keeps: bool| Copied {
        client,
        log: &log,
        target: &target,
        keeps,
        seen: &seen,
        trouble: &trouble,
    };
    let keys = client.get(&format!("{log}/keys"))?;
    let document: KeysDocument = serde_json::from_slice(&keys).map_err(|_| unreadable())?;
    let trusted = range::trust_of_itself(&document).map_err(|error| refused(&error))?;
    let told = |error| trouble.borrow_mut().take().unwrap_or_else(|| refused(&error));
    // Searched first without writing: the search reads bundles that are not a part of the range.
    let search = at(false);
    let part = Part::open(&trusted, &newest, |path: &str| search.get(path)).map_err(told)?;
    let size = part.signed().size;
    let chain = Chain::walk(&part).map_err(told)?;
    let found = wanted(&part, &chain, (from, to)).map_err(|error| match error {
        Wrong::Log(error) => told(error),
        Wrong::Usage(text) => Failed::new(EXIT_USAGE, text),
    })?;
    let (range, period) = found;
    // The earliest kept checkpoint that shows the range and that it is over: so the same range gives the same bytes.
    // Under one that is witnessed they may differ, because another one is the newest witnessed one then.
    let note = if range.end < size || *witnessed {
        note_of(Some(size.min(range.end + 1)), *witnessed)?
    } else {
        newest.clone()
    };
    let copy = at(true);
    let part = Part::open(&trusted, &note, |path: &str| copy.get(path)).map_err(told)?;
    let chain = Chain::walk(&part).map_err(told)?;
    if let Some(period) = period {
        period::check(&part, &chain, period, range).map_err(told)?;
    }
    let mut with_payload = Vec::new();
    let verified = range::range(&part, &chain, (&trusted, &note), range, |index, _, view| {
        if view.payload().next().is_some() {
            with_payload.push(index);
        }
        Ok(())
    });
    verified.map_err(told)?;
    let mut kept = seen.borrow().clone();
    if *disclosures {
        kept.extend(disclose(client, &base, &target, (&with_payload, range.end))?);
    }
    target.write("checkpoint", note.as_bytes())?;
    target.write("keys.json", &keys)?;
    kept.extend(["checkpoint", "keys.json", "README.txt", LAST].map(str::to_owned));
    target.sweep(&|path| verdict(path, &kept))?;
    target.finish(&PartOf::new(&origin, range, period, *disclosures).bytes())?;
    tell(&origin, range, dir);
    Ok(())
}

fn tell(origin: &str, range: Range, dir: &Path) {
    let (origin, dir) = (harmless(origin), dir.display());
    say(&match range.end - range.begin {
        0 => format!("no entries of {origin} in {dir}"),
        count => {
            format!("{count} entries of {origin}, {} to {}, in {dir}", range.begin, range.end - 1)
        }
    });
    say(&dim(&format!("Check it: countersign verify --key <vkey> --export {dir}")));
}

fn refused(error: &ledger::verify::Error) -> Failed {
    Failed::new(EXIT_FAILED, error.to_string())
}

/// Why a range can't be found.
enum Wrong {
    Log(ledger::verify::Error),
    Usage(String),
}

impl From<ledger::verify::Error> for Wrong {
    fn from(error: ledger::verify::Error) -> Self {
        Self::Log(error)
    }
}

/// The range that is asked for. Leaf indexes name the first and the last entry; times a period, without its end.
fn wanted<R: Fn(&str) -> Option<Vec<u8>>>(
    part: &Part<R>,
    chain: &Chain,
    asked: (Option<End>, Option<End>),
) -> Result<(Range, Option<Period>), Wrong> {
    let size = part.signed().size;
    let last = size.checked_sub(1).ok_or_else(|| Wrong::Usage("the log has no entries".into()))?;
    let mixed = "--from and --to are both leaf indexes, or both times";
    let (from, to) = match asked {
        (Some(End::Time(from)), Some(End::Time(to))) => (from, to),
        (Some(End::Time(from)), None) => (from, Nanos(u64::MAX)),
        (None, Some(End::Time(to))) => (Nanos(0), to),
        (Some(End::Time(_)), Some(End::At(_))) | (Some(End::At(_)), Some(End::Time(_))) => {
            return Err(Wrong::Usage(mixed.into()));
        }
        (from, to) => {
            let index = |end, otherwise| match end {
                Some(End::At(index)) => index,
                _ => otherwise,
            };
            let (from, to) = (index(from, 0), index(to, last));
            if from > to || to > last {
                let text = format!("--from {from} --to {to}: the log has the entries 0 to {last}");
                return Err(Wrong::Usage(text));
            }
            return Ok((Range { begin: from, end: to + 1 }, None));
        }
    };
    if from >= to {
        let text = format!("the period ends at {to}, which is not after its beginning {from}");
        return Err(Wrong::Usage(text));
    }
    let period = Period { from, to };
    Ok((period::find(part, chain, period)?, Some(period)))
}

/// Writes the disclosures of entries that have payload. Returns their paths.
fn disclose(
    client: &Client,
    base: &str,
    target: &Target,
    (indexes, end): (&[u64], u64),
) -> Result<Vec<String>, Failed> {
    let mut written = Vec::new();
    for index in indexes {
        let through = end - 1;
        let bytes = client.get(&format!("{base}/entries/{index}/disclosures?through={through}"))?;
        if !bytes.is_empty() {
            let path = format!("disclosures/{index}.disclosures");
            target.write(&path, &bytes)?;
            written.push(path);
        }
    }
    Ok(written)
}

fn verdict(path: &str, kept: &BTreeSet<String>) -> Verdict {
    if kept.contains(path) {
        return Verdict::Keep;
    }
    if let Some(folder) = path.strip_suffix('/') {
        let ours = folder == "tile" || folder == "disclosures" || folder.starts_with("tile/");
        return if ours { Verdict::Keep } else { Verdict::Foreign };
    }
    let is_tile = path.strip_prefix("tile/").and_then(Tile::parse).is_some();
    let is_payload = path.starts_with("disclosures/") && path.ends_with(".disclosures");
    if is_tile || is_payload { Verdict::Remove } else { Verdict::Foreign }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<End>) {
        assert_eq!(end("from", text).ok(), expected, "{text}");
    }

    #[test]
    fn an_end_is_an_index_or_a_time() {
        check("4711", Some(End::At(4711)));
        check("0", Some(End::At(0)));
        check("2026-01-01", Nanos::parse("2026-01-01T00:00:00Z").map(End::Time));
        check("2026-01-01T10:00:00Z", Nanos::parse("2026-01-01T10:00:00Z").map(End::Time));
        for wrong in ["", "-1", "yesterday", "2026-13-01", "18446744073709551616", "1e3"] {
            check(wrong, None);
        }
    }
}
