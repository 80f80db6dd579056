//! `countersign policy …`: reads a folder of policies, tests it, and says what it means. No server is needed.

mod explain;
mod export_opa;
mod judge;
mod remote;

use super::{EXIT_FAILED, EXIT_UNREADABLE, Failed};
use crate::{
    cli::{Folder, PolicyCommand},
    config::EXIT_CONFIG,
    terminal::{bad, dim, good, harmless, say, say_json, strong, warn},
};
use approvals::setup::{self, Setup};
use decider::policy::{
    self, Bundle, Change, Consequence, FILE_BYTES_MAX, FILES_MAX, Mistake, Source,
    cases::{self, Coverage, Survivor, TestCase, WrongVerdict},
};
use decider::rule::Rule;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Deepest folder below the tenant's.
const DEPTH_MAX: usize = 4;
/// Most clauses, and most changes that no test notices, that are named before something is proposed.
const GAPS_NAMED_MAX: usize = 10;

/// The files of a folder, by their path below it.
struct Files(Vec<(String, Vec<u8>)>);

/// Runs one of them.
pub fn run(command: &PolicyCommand) -> Result<(), Failed> {
    match command {
        PolicyCommand::Check { folder, rules } => check(folder, rules.as_deref()),
        PolicyCommand::Test { folder, mutate } => test(folder, *mutate),
        PolicyCommand::Build { folder, rules } => build(folder, rules.as_deref()),
        PolicyCommand::Diff { before, folder } => {
            let (before, after) =
                (Files::read(before)?.bundle()?, Files::read(&folder.folder)?.bundle()?);
            tell_changes(&policy::diff(&before, &after), folder.json);
            Ok(())
        }
        PolicyCommand::Explain { folder, call, at, verified } => {
            explain::run(folder, call, at.as_deref(), *verified)
        }
        PolicyCommand::Judge(arguments) => judge::run(arguments),
        PolicyCommand::ExportOpa(arguments) => export_opa::run(arguments),
        PolicyCommand::Simulate { exported, lists, folder } => {
            let bundle = Files::read(folder)?.bundle()?;
            match crate::verify::simulate(exported, &bundle, *lists) {
                code if code == ExitCode::SUCCESS => Ok(()),
                _ => Err(Failed::new(EXIT_FAILED, "nothing was simulated")),
            }
        }
        PolicyCommand::Propose { of, folder, comment, contributors, wait } => {
            let files = Files::read(folder)?;
            tested(&files)?;
            remote::propose(of, &files, (comment, contributors), *wait)
        }
        PolicyCommand::Status { of } => remote::status(of),
        PolicyCommand::Rollback { of, version, comment, wait } => {
            remote::rollback(of, *version, comment, *wait)
        }
    }
}

impl Files {
    /// Reads every YAML file below a folder, also where a link leads to one.
    fn read(folder: &Path) -> Result<Self, Failed> {
        let mut files = Self(Vec::new());
        files.read_below(folder, "", 0).map_err(|error| {
            Failed::new(EXIT_UNREADABLE, format!("{}: {error}", folder.display()))
        })?;
        Ok(files)
    }

    fn read_below(&mut self, folder: &Path, prefix: &str, depth: usize) -> io::Result<()> {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        found.sort();
        for path in found {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            // Editors leave links that lead nowhere under such names.
            if name.starts_with('.') {
                continue;
            }
            let kind = path.metadata()?.file_type();
            let below = format!("{prefix}{name}");
            if kind.is_dir() && depth < DEPTH_MAX {
                self.read_below(&path, &format!("{below}/"), depth + 1)?;
            }
            let lower = name.to_ascii_lowercase();
            let is_yaml = [".yaml", ".yml"].iter().any(|end| lower.ends_with(end));
            if !kind.is_file() || !is_yaml {
                continue;
            }
            if self.0.len() > FILES_MAX {
                return Err(io::Error::other(format!(
                    "more than {FILES_MAX} files: name the folder of one tenant"
                )));
            }
            // One byte more than a file may have: the reader says that it is too long.
            let mut bytes = Vec::new();
            File::open(&path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
            self.0.push((below, bytes));
        }
        Ok(())
    }

    fn sources(&self) -> Vec<Source<'_>> {
        self.0.iter().map(|(path, bytes)| Source { path, bytes }).collect()
    }

    /// Errors: every mistake, a line each.
    fn bundle(&self) -> Result<Bundle, Failed> {
        Bundle::read(&self.sources()).map_err(|mistakes| mistaken(&mistakes))
    }
}

fn mistaken(mistakes: &[Mistake]) -> Failed {
    let lines = mistakes.iter().map(|mistake| format!("\n{mistake}"));
    Failed::new(EXIT_CONFIG, format!("{}:{}", counted(mistakes.len()), lines.collect::<String>()))
}

fn counted(mistakes: usize) -> String {
    if mistakes == 1 { "1 mistake".into() } else { format!("{mistakes} mistakes") }
}

fn in_json(mistakes: &[Mistake]) -> Value {
    let one = |Mistake { file, line, column, text }: &Mistake| json!({"file": file, "line": line, "column": column, "text": text});
    mistakes.iter().map(one).collect()
}

/// The rules of a file; none without one.
fn rules_of(path: Option<&Path>) -> Result<Option<Vec<Rule>>, Failed> {
    let Some(path) = path else { return Ok(None) };
    let (name, text) = super::rules::text(path, setup::RULES_BYTES_MAX)?;
    let rules = Setup::rules_of((&name, &text));
    rules.map(Some).map_err(|wrong| Failed::new(EXIT_CONFIG, wrong.join("\n")))
}

fn check(folder: &Folder, rules: Option<&Path>) -> Result<(), Failed> {
    let files = Files::read(&folder.folder)?;
    let rules = rules_of(rules)?;
    let (bundle, cases) = (Bundle::read(&files.sources()), cases::read(&files.sources()));
    let mut mistakes = bundle.as_ref().err().cloned().unwrap_or_default();
    mistakes.extend(cases.as_ref().err().cloned().unwrap_or_default());
    if let (Ok(bundle), Some(rules)) = (&bundle, &rules) {
        mistakes.extend(bundle.caught_by_the_rest(rules));
    }
    let warnings = bundle.as_ref().map(Bundle::warnings).unwrap_or_default();
    if folder.json {
        say_json(&json!({"mistakes": in_json(&mistakes), "warnings": in_json(&warnings)}));
    }
    if !mistakes.is_empty() {
        return Err(if folder.json {
            Failed::new(EXIT_CONFIG, counted(mistakes.len()))
        } else {
            mistaken(&mistakes)
        });
    }
    if !folder.json {
        for warning in &warnings {
            warn(&format!("{} {}", strong("warning:"), harmless(&warning.to_string())));
        }
        let clauses = bundle.map(|bundle| bundle.clauses().len()).unwrap_or_default();
        say(&format!(
            "{}: {clauses} clauses, {} tests",
            good("no mistakes"),
            cases.map(|c| c.len()).unwrap_or_default()
        ));
    }
    Ok(())
}

fn test(folder: &Folder, mutate: bool) -> Result<(), Failed> {
    let files = Files::read(&folder.folder)?;
    let bundle = files.bundle()?;
    let cases = cases::read(&files.sources()).map_err(|mistakes| mistaken(&mistakes))?;
    let failures = cases::run(&bundle, &cases);
    let coverage = cases::coverage(&bundle, &cases);
    let survivors =
        if mutate && failures.is_empty() { mutants(&bundle, &cases) } else { Vec::new() };
    if folder.json {
        let met = |met: &Coverage| json!({"matched": met.matched, "not_matched": met.not_matched, "errors": met.errors});
        let coverage: Value = coverage
            .iter()
            .map(|(name, m)| (name.clone(), met(m)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let failed: Vec<Value> = failures.iter().map(|f| json!({"name": f.name, "mistake": in_json(std::slice::from_ref(&f.mistake))[0]})).collect();
        let left: Vec<Value> =
            survivors.iter().map(|s| json!({"clause": s.clause, "change": s.change})).collect();
        say_json(
            &json!({"tests": cases.len(), "failed": failed, "coverage": coverage, "unnoticed": left}),
        );
    } else {
        tell_tests(&cases, &failures, &coverage, &survivors, mutate);
    }
    match (failures.len(), survivors.len()) {
        (0, 0) => Ok(()),
        (0, left) => Err(Failed::new(EXIT_FAILED, format!("changes that no test notices: {left}"))),
        (failed, _) => Err(Failed::new(EXIT_FAILED, format!("tests that fail: {failed}"))),
    }
}

/// Runs the tests of what is about to be proposed: one that fails stops it, and what they leave open is reported.
fn tested(files: &Files) -> Result<(), Failed> {
    let bundle = files.bundle()?;
    let cases = cases::read(&files.sources()).map_err(|mistakes| mistaken(&mistakes))?;
    let failures = cases::run(&bundle, &cases);
    if !failures.is_empty() {
        let lines = failures.iter().map(|failure| format!("\n{}", failure.mistake));
        let text = format!("tests that fail: {}:{}", failures.len(), lines.collect::<String>());
        return Err(Failed::new(EXIT_FAILED, text));
    }
    if let Some(left) = cases::gaps(&bundle, &cases).in_words(GAPS_NAMED_MAX) {
        let hint = "reviewers read this too; `countersign policy test --mutate` shows all of it";
        warn(&format!("{} {}; {hint}", strong("warning:"), harmless(&left)));
    }
    Ok(())
}

fn mutants(bundle: &Bundle, cases: &[TestCase]) -> Vec<Survivor> {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} changes");
    bar.set_style(style.expect("a template of ours"));
    let survivors = cases::survivors(bundle, cases, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    survivors
}

fn tell_tests(
    cases: &[TestCase],
    failures: &[WrongVerdict],
    coverage: &BTreeMap<String, Coverage>,
    survivors: &[Survivor],
    mutate: bool,
) {
    for failure in failures {
        say(&format!("{} {}", bad("failed"), harmless(&failure.mistake.to_string())));
    }
    let width = coverage.keys().map(String::len).max().unwrap_or_default();
    say(&dim(&format!("{:width$}  matched  not matched  errors", "clause")));
    for (name, met) in coverage {
        let line =
            format!("{name:width$}  {:7}  {:11}  {:6}", met.matched, met.not_matched, met.errors);
        let hint = met.hint().map(|hint| format!("  {hint}")).unwrap_or_default();
        say(&format!("{line}{}", bad(&hint)));
    }
    for Survivor { clause, change } in survivors {
        say(&format!(
            "{} {clause}: {change}: add a test that shows the difference",
            bad("unnoticed")
        ));
    }
    let passed = cases.len() - failures.len();
    let sound = failures.is_empty() && survivors.is_empty();
    let noticed = if mutate && sound { ", and notice every change that was tried" } else { "" };
    let summary = format!("{passed} of {} tests pass{noticed}", cases.len());
    say(&if sound { good(&summary) } else { summary });
}

fn build(folder: &Folder, rules: Option<&Path>) -> Result<(), Failed> {
    let bundle = Files::read(&folder.folder)?.bundle()?;
    let left = rules_of(rules)?.map(|rules| bundle.caught_by_the_rest(&rules));
    if let Some(left) = left.filter(|left| !left.is_empty()) {
        return Err(mistaken(&left));
    }
    if folder.json {
        say_json(&json!({"digest": bundle.digest(), "parts": bundle.parts()}));
        return Ok(());
    }
    for part in bundle.parts() {
        say(&format!("{}  {}", dim(&part.sha256), harmless(&part.path)));
    }
    say(&format!("{}  the bundle", strong(bundle.digest())));
    Ok(())
}

fn tell_changes(changes: &[Change], as_json: bool) {
    if as_json {
        let one = |c: &Change| json!({"what": c.what, "change": c.text, "consequence": c.says()});
        say_json(&changes.iter().map(one).collect());
        return;
    }
    for change in changes {
        let says = change.says();
        let says = match change.consequence() {
            Some(Consequence::More) => bad(says),
            Some(Consequence::Unclear) => strong(says),
            Some(Consequence::Less) => good(says),
            None => dim(says),
        };
        let (what, text) = (strong(&harmless(&change.what)), harmless(&change.text));
        say(&format!("{what}: {text}: {says}"));
    }
    if changes.is_empty() {
        say("nothing changes");
    }
}
