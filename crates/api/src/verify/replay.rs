//! `countersign replay` and `explain`: verify an export, then compute its verdicts again (P15).

use super::{
    EXIT_REFUSED, EXIT_UNREADABLE, EXIT_USAGE, Failure, Given,
    export::{self, Whole},
    refused,
};
use crate::{
    cli::{Explain, Exported, Replay, Verify},
    explained,
    recounted::{Recount, Recounted},
    replayed::{Recorded, Replayed},
    terminal::{bad, dim, good, harmless, say, say_json, strong, warn},
};
use decider::{
    decision::Fields,
    policy::{self, Differs, Ruling},
};
use ledger::{
    entry::View,
    system::policy::{BundleEntry, ListForm, PartAt},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, ops::RangeInclusive, process::ExitCode, rc::Rc};

/// Most verdicts that are named in the text for people.
const NAMED_MAX: usize = 20;

/// What came of the verdicts.
struct Tally {
    same: u64,
    different: BTreeMap<u64, String>,
    not_replayable: BTreeMap<u64, String>,
    /// Verdicts whose counts of earlier decisions are the same, and those whose counts are believed.
    counted: (u64, u64),
    /// The leaf indexes whose verdicts were computed.
    range: RangeInclusive<u64>,
    /// What had to be believed.
    believed: Vec<&'static str>,
}

/// What had to be believed of every verdict.
const CLOCKS: &str =
    "the decider's clock, within 60 s of the journal's, and the offsets of time zones";

/// What an export discloses.
impl Recorded for Whole {
    type Error = Failure;

    fn payload(&self, index: u64, view: &View<'_>) -> Result<Rc<Fields>, Failure> {
        self.payload(index, view).map(Rc::new)
    }

    fn proposed(&self, index: u64) -> Result<Option<BundleEntry>, Failure> {
        let entry = self.entry(index).unwrap_or_default();
        Ok(View::parse(&entry).and_then(|view| BundleEntry::of(&view)))
    }

    fn list(&self, index: u64) -> Result<Option<ListForm>, Failure> {
        let entry = self.entry(index).unwrap_or_default();
        Ok(View::parse(&entry).as_ref().and_then(ListForm::of))
    }

    fn named(&self, index: u64) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.entry(index))
    }

    fn policy_file(&self, part: &PartAt) -> Result<Option<String>, Failure> {
        let entry = self.entry(part.index).unwrap_or_default();
        let Some(view) = View::parse(&entry) else { return Ok(None) };
        let payload = self.payload(part.index, &view)?;
        let content = payload.get("content").and_then(|text| serde_json::from_slice(text).ok());
        let content: Option<String> = content;
        if content.as_ref().is_some_and(|content| !part.is(content)) {
            let what = format!("{}: the file that it names has other content", part.path);
            return Err(refused(&format!("entry {}", part.index), &what));
        }
        Ok(content)
    }
}

/// An export while its verdicts are computed again, entry by entry.
struct Run<'e> {
    whole: &'e Whole,
    replayed: Replayed,
    recounted: Recounted,
    /// Verdicts whose counts of earlier decisions are the same, and those whose counts are believed.
    counted: (u64, u64),
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
            let (counted, believed, range_of) = ((0, 0), vec![CLOCKS], range.clone());
            let mut tally =
                Tally { same: 0, different, not_replayable, counted, range: range_of, believed };
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
            tally.counted = run.counted;
            let believed = run.replayed.believed.iter().map(|believed| believed.in_words());
            tally.believed.extend(believed);
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
                let text = format!(
                    "entry {index} holds no verdict by policies, or one about a result that nobody kept: there is nothing to compute"
                );
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
        policy: None,
        key: exported.key.clone(),
        keys: Some(keys),
        receipts: Vec::new(),
        disclosures: None,
        checkpoint: Vec::new(),
        proof: Vec::new(),
        export: vec![exported.export.clone()],
        approval: Vec::new(),
        incident: Vec::new(),
        evidence: Vec::new(),
        evidence_key: None,
        json: exported.json,
    };
    let mut given = Given::new(&arguments)?;
    let whole = export::read(&exported.export, &mut given)?;
    export::compare(&whole, &mut given)?;
    Ok(whole)
}

impl<'e> Run<'e> {
    fn new(whole: &'e Whole) -> Self {
        let (replayed, recounted) = (Replayed::default(), Recounted::default());
        Self { whole, replayed, recounted, counted: (0, 0) }
    }

    /// Takes the next entry for what it says of policies alone.
    fn note(&mut self, index: u64) {
        let entry = self.whole.entry(index).unwrap_or_default();
        if let Some(view) = View::parse(&entry) {
            self.replayed.note(index, &view);
            self.recounted.take(index, &view);
        }
    }

    /// Takes the next entry. `None` if there is nothing to compute.
    fn step(&mut self, index: u64) -> Result<Option<Result<Ruling, Differs>>, Failure> {
        let entry = self.whole.entry(index).unwrap_or_default();
        let Some(view) = View::parse(&entry) else { return Ok(None) };
        let outcome = self.replayed.step(self.whole, index, &view)?;
        let outcome = match outcome {
            Some(Ok(ruling)) => Some(self.count_again((index, &view), ruling)?),
            outcome => outcome,
        };
        self.recounted.take(index, &view);
        Ok(outcome)
    }

    /// Counts again what the verdict counted of earlier decisions.
    fn count_again(
        &mut self,
        (index, view): (u64, &View<'_>),
        ruling: Ruling,
    ) -> Result<Result<Ruling, Differs>, Failure> {
        let payload = self.whole.payload(index, view)?;
        let earlier = |at: u64| {
            let entry = self.whole.entry(at).unwrap_or_default();
            match View::parse(&entry) {
                Some(view) => self.whole.payload(at, &view).map(Rc::new),
                None => Ok(Rc::default()),
            }
        };
        match self.recounted.again((index, view), &payload, earlier)? {
            Recount::None => {}
            Recount::Same => self.counted.0 += 1,
            Recount::Believed => self.counted.1 += 1,
            Recount::Other => {
                let what = "its counts of earlier decisions are not those of the log";
                return Ok(Err(Differs::Form(what.into())));
            }
        }
        Ok(Ok(ruling))
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
        let clauses = match self.replayed.bundle(self.whole)? {
            Some(Ok((bundle, _))) => policy::explained(&view, &payload, bundle),
            _ => None,
        };
        let facts: Value = payload
            .get("/data/facts")
            .and_then(|facts| serde_json::from_slice(facts).ok())
            .unwrap_or_default();
        let params: Value = payload
            .get("params")
            .and_then(|params| serde_json::from_slice(params).ok())
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
                "lists": outcome.as_ref().ok().map(|ruling| &ruling.lists),
                "budgets": outcome.as_ref().ok().map(explained::budgets),
                "clauses": explained::json(&clauses.unwrap_or_default(), &params),
            }));
            return Ok(());
        }
        explained::tell(&clauses.unwrap_or_default(), &params);
        say(&dim(&format!("facts: {}", harmless(&facts.to_string()))));
        if let Ok(Ruling { lists, .. }) = outcome {
            for (name, version) in lists {
                say(&dim(&format!("list {}: version {version}", harmless(name))));
            }
        }
        match outcome {
            Ok(ruling) => {
                explained::tell_budgets(ruling);
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

fn tell(whole: &Whole, tally: &Tally, as_json: bool) {
    let Tally { same, different, not_replayable, counted: (recounted, uncounted), range, believed } =
        tally;
    let replayed = same + different.len() as u64;
    if as_json {
        say_json(&json!({
            "size": whole.size(), "root": whole.root(), "from": range.start(), "to": range.end(), "replayed": replayed, "same": same,
            "different": different, "not_replayable": not_replayable,
            "history": {"counted_again": recounted, "believed": uncounted},
            "believed": believed,
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
    if recounted + uncounted > 0 {
        say(&dim(&format!(
            "  earlier decisions: {recounted} verdicts counted again from the entries before them; {uncounted} believed, because values of earlier calls are not disclosed"
        )));
    }
    say(&dim(&format!(
        "  over entries {} to {} of {}, root {} of size {}. Believed: {}",
        range.start(),
        range.end(),
        whole.place(),
        whole.root(),
        whole.size(),
        believed.join("; ")
    )));
}
