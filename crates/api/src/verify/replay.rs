//! `countersign replay` and `explain`: verify an export, then compute its verdicts again (P15).

use super::{
    EXIT_REFUSED, EXIT_UNREADABLE, EXIT_USAGE, Failure, Given,
    export::{self, Whole},
    refused,
};
use crate::{
    cli::{Explain, Exported, Replay, Verify},
    explained,
    terminal::{bad, dim, good, harmless, say, say_json, strong, warn},
};
use decider::{
    decision::Fields,
    policy::{self, Bundle, Differs, Ruling},
};
use ledger::{
    entry::{Kind, View},
    event::is_reserved_tool,
    post::{self, Policies},
    system::policy::BundleEntry,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    process::ExitCode,
};

/// Most verdicts that are named in the text for people.
const NAMED_MAX: usize = 20;

/// What came of the verdicts.
struct Tally {
    same: u64,
    different: BTreeMap<u64, String>,
    not_replayable: BTreeMap<u64, String>,
    /// The leaf indexes whose verdicts were computed.
    range: RangeInclusive<u64>,
}

/// A bundle with its version; or why it can't be read.
type Read = Result<(Bundle, u64), String>;

/// An export while its verdicts are computed again, entry by entry.
struct Run<'e> {
    whole: &'e Whole,
    policies: Policies,
    /// Bundles by the leaf index of their entry: two versions may have one digest.
    bundles: HashMap<u64, Read>,
}

/// Computes the verdicts of an export again: all of them, or those of a range.
pub fn replay(arguments: &Replay) -> ExitCode {
    let Replay { exported, from, to } = arguments;
    ended(
        "replay",
        opened(exported).and_then(|whole| {
            let mut run = Run::new(&whole);
            let range = range(&whole, *from, *to)?;
            let (different, not_replayable) = (BTreeMap::new(), BTreeMap::new());
            let mut tally = Tally { same: 0, different, not_replayable, range: range.clone() };
            for index in 0..=*range.end() {
                if index < *range.start() {
                    run.note(index);
                    continue;
                }
                match run.step(index)? {
                    None => {}
                    Some(Ok(_)) => tally.same += 1,
                    Some(Err(why)) if why.is_not_replayable() => {
                        drop(tally.not_replayable.insert(index, why.to_string()));
                    }
                    Some(Err(why)) => drop(tally.different.insert(index, why.to_string())),
                }
            }
            tell(&whole, &tally, exported.json);
            Ok(tally.different.is_empty())
        }),
    )
}

/// Computes one verdict again, and shows how it came about.
pub fn explain(arguments: &Explain) -> ExitCode {
    let Explain { exported, index } = arguments;
    ended(
        "explain",
        opened(exported).and_then(|whole| {
            let mut run = Run::new(&whole);
            (0..*index).for_each(|at| run.note(at));
            let Some(outcome) = run.step(*index)? else {
                let text =
                    format!("entry {index} is no verdict by policies: there is nothing to compute");
                return Err(Failure::Usage(text));
            };
            run.show(*index, &outcome, exported.json)?;
            Ok(outcome.is_ok())
        }),
    )
}

/// The leaf indexes that are asked for, as far as the export has them.
fn range(
    whole: &Whole,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<RangeInclusive<u64>, Failure> {
    let last = whole.size().saturating_sub(1);
    let (from, to) = (from.unwrap_or(0), to.unwrap_or(last));
    if from > to || to > last {
        let text = format!("--from {from} --to {to}: the export has the entries 0 to {last}");
        return Err(Failure::Usage(text));
    }
    Ok(from..=to)
}

pub(super) fn ended(command: &str, result: Result<bool, Failure>) -> ExitCode {
    let (code, text) = match result {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return ExitCode::from(EXIT_REFUSED),
        Err(Failure::Refused { place, error }) => {
            (EXIT_REFUSED, format!("refused: {place}: {error}"))
        }
        Err(Failure::Contradiction(error)) => (EXIT_REFUSED, format!("refused: {error}")),
        Err(Failure::Usage(text)) => (EXIT_USAGE, text),
        Err(Failure::Unreadable(text)) => (EXIT_UNREADABLE, text),
    };
    warn(&format!("countersign {command}: {}", harmless(&text)));
    ExitCode::from(code)
}

/// The export, verified as `verify --export` does.
pub(super) fn opened(exported: &Exported) -> Result<Whole, Failure> {
    let keys = exported.keys.clone().unwrap_or_else(|| exported.export.join("keys.json"));
    let arguments = Verify {
        key: exported.key.clone(),
        keys: Some(keys),
        receipts: Vec::new(),
        disclosures: None,
        checkpoint: Vec::new(),
        proof: Vec::new(),
        export: vec![exported.export.clone()],
        approval: Vec::new(),
        json: exported.json,
    };
    let mut given = Given::new(&arguments)?;
    let whole = export::read(&exported.export, &mut given)?;
    export::compare(&whole, &mut given)?;
    Ok(whole)
}

impl<'e> Run<'e> {
    fn new(whole: &'e Whole) -> Self {
        Self { whole, policies: Policies::default(), bundles: HashMap::new() }
    }

    /// Takes the next entry for what it says of policies alone.
    fn note(&mut self, index: u64) {
        let entry = self.whole.entry(index).unwrap_or_default();
        if let Some(view) = View::parse(&entry).filter(|view| view.kind == Kind::Policy) {
            self.policies.note(index, &view);
        }
    }

    /// Takes the next entry. `None` if it is no decision of ours.
    fn step(&mut self, index: u64) -> Result<Option<Result<Ruling, Differs>>, Failure> {
        let entry = self.whole.entry(index).unwrap_or_default();
        let Some(view) = View::parse(&entry) else { return Ok(None) };
        if view.kind == Kind::Policy {
            self.policies.note(index, &view);
        }
        if !view.is_ours() {
            return Ok(None);
        }
        let payload = self.whole.payload(index, &view)?;
        if view.text(&["event", "data", "tool", "name"]).is_some_and(is_reserved_tool)
            && view.text(&["event", "data", "activates"]).is_none()
        {
            return Ok(None);
        }
        if let Some(activates) = view.text(&["event", "data", "activates"]) {
            return Ok(asks_for_that(activates, &view, &payload).err().map(Err));
        }
        if view.at(&["event", "data"]).is_some_and(post::is_contended) {
            // It rests on nothing but that others changed what it rested on: there is nothing to compute. That it is a
            // denial was checked with the export.
            return Ok(None);
        }
        let bundle = match self.in_force()? {
            None => None,
            Some(Ok((bundle, version))) => Some((bundle, *version)),
            Some(Err(_)) => return Ok(Some(Err(Differs::Payload("bundle")))),
        };
        Ok(Some(policy::replay(&view, &payload, bundle)))
    }

    /// The bundle in force here, read from what the export discloses of its parts.
    fn in_force(&mut self) -> Result<Option<&Read>, Failure> {
        let Some(wanted) = self.policies.in_force.clone() else { return Ok(None) };
        if !self.bundles.contains_key(&wanted.bundle) {
            let read = self.read_bundle(wanted.bundle)?.map(|bundle| (bundle, wanted.version));
            self.bundles.insert(wanted.bundle, read);
        }
        Ok(self.bundles.get(&wanted.bundle))
    }

    fn read_bundle(&self, index: u64) -> Result<Result<Bundle, String>, Failure> {
        let entry = self.whole.entry(index).unwrap_or_default();
        let proposed = View::parse(&entry).and_then(|view| BundleEntry::of(&view));
        let Some(proposed) = proposed else {
            return Ok(Err(format!("entry {index} names no parts")));
        };
        let mut files = Vec::with_capacity(proposed.parts.len());
        for part in proposed.parts {
            let (path, at) = (&part.path, part.index);
            let entry = self.whole.entry(at).unwrap_or_default();
            let Some(view) = View::parse(&entry) else {
                return Ok(Err(format!("{path} (entry {at}) is not there")));
            };
            let payload = self.whole.payload(at, &view)?;
            let content = payload.get("content").and_then(|text| serde_json::from_slice(text).ok());
            let Some(content): Option<String> = content else {
                return Ok(Err(format!("{path} (entry {at}) is not disclosed")));
            };
            if !part.is(&content) {
                let what = format!("{path}: the file that it names has other content");
                return Err(refused(&format!("entry {at}"), &what));
            }
            files.push((part.path, content));
        }
        Ok(Bundle::read_again(&files).map_err(|first| first.to_string()))
    }

    fn show(
        &mut self,
        index: u64,
        outcome: &Result<Ruling, Differs>,
        as_json: bool,
    ) -> Result<(), Failure> {
        let entry = self.whole.entry(index).unwrap_or_default();
        let Some(view) = View::parse(&entry) else { return Ok(()) };
        let payload = self.whole.payload(index, &view)?;
        let clauses = match self.in_force()? {
            Some(Ok((bundle, _))) => policy::explained(&view, &payload, bundle),
            _ => None,
        };
        let facts: Value = payload
            .get("/data/facts")
            .and_then(|facts| serde_json::from_slice(facts).ok())
            .unwrap_or_default();
        if as_json {
            say_json(&json!({
                "index": index,
                "same": outcome.is_ok(),
                "verdict": outcome.as_ref().ok().map(|ruling| ruling.verdict.as_str()),
                "code": outcome.as_ref().ok().map(|ruling| &ruling.code),
                "clause": outcome.as_ref().ok().and_then(|ruling| ruling.clause.as_ref()),
                "why_not": outcome.as_ref().err().map(ToString::to_string),
                "facts": facts,
                "clauses": explained::json(&clauses.unwrap_or_default()),
            }));
            return Ok(());
        }
        explained::tell(&clauses.unwrap_or_default());
        say(&dim(&format!("facts: {}", harmless(&facts.to_string()))));
        match outcome {
            Ok(ruling) => {
                let by = ruling
                    .clause
                    .as_ref()
                    .map(|c| format!(" by {}", harmless(c)))
                    .unwrap_or_default();
                say(&format!(
                    "{}{by} ({}), as recorded",
                    strong(ruling.verdict.as_str()),
                    harmless(&ruling.code)
                ));
            }
            Err(why) => say(&bad(&harmless(&why.to_string()))),
        }
        Ok(())
    }
}

/// A question to people about a bundle must be about the bundle that its entry names (P17).
fn asks_for_that(activates: &str, view: &View<'_>, payload: &Fields) -> Result<(), Differs> {
    let is_whole = view.payload().count() == payload.len();
    let Some(params) = payload.get("params") else {
        let missing = "people were asked about nothing that can be read";
        return if is_whole { Err(Differs::Form(missing.into())) } else { Ok(()) };
    };
    let params: Value = serde_json::from_slice(params).unwrap_or_default();
    if params["digest"].as_str() == Some(activates) {
        return Ok(());
    }
    Err(Differs::Form("people were asked about another bundle than the entry names".into()))
}

fn tell(whole: &Whole, tally: &Tally, as_json: bool) {
    let Tally { same, different, not_replayable, range } = tally;
    let replayed = same + different.len() as u64;
    if as_json {
        say_json(&json!({
            "size": whole.size(), "root": whole.root(), "from": range.start(), "to": range.end(), "replayed": replayed, "same": same,
            "different": different, "not_replayable": not_replayable,
            "believed": ["the decider's clock, within 60 s of the journal's, and the offsets of time zones"],
        }));
        return;
    }
    for (title, found) in [("DIFFERENT", different), ("not replayable", not_replayable)] {
        for (index, why) in found.iter().take(NAMED_MAX) {
            let line = format!("  {title}: entry {index}: {}", harmless(why));
            say(&if title == "DIFFERENT" { bad(&line) } else { line });
        }
        if found.len() > NAMED_MAX {
            say(&format!("  {title}: {} more (--json lists all)", found.len() - NAMED_MAX));
        }
    }
    let summary = format!(
        "{replayed} verdicts replayed: {same} the same, {} different; {} not replayable",
        different.len(),
        not_replayable.len()
    );
    say(&if different.is_empty() { good(&summary) } else { bad(&summary) });
    say(&dim(&format!(
        "  over entries {} to {} of {}, root {} of size {}. Believed: the decider's clock, within 60 s of the journal's, and the offsets of time zones",
        range.start(),
        range.end(),
        whole.place(),
        whole.root(),
        whole.size()
    )));
}
