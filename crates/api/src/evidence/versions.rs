//! Part 4, versions: every bundle of policies that was in force in the period, what it changed, and who reviewed it.

use super::{
    Error, Out,
    approvals::{Approvals, is_unreviewed},
    changes::{Version, words_of},
    log::Log,
    table::Table,
};
use crate::replayed;
use decider::policy::{self, Bundle};
use ledger::{ident::Ident, system::By, system::policy::BundleEntry};
use serde::Serialize;

/// One version, for people.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Told {
    /// Its number.
    pub version: u64,
    /// When it took effect.
    pub since: String,
    /// Who proposed it, and who else wrote it.
    pub by: String,
    /// Who approved it.
    pub approved: String,
    /// True if nobody had to.
    pub unreviewed: bool,
    /// The author's comment, if it may be read.
    pub comment: String,
    /// What it changed, one sentence each.
    pub changes: Vec<String>,
}

/// The versions, and what the last one lets agents do.
#[derive(Default)]
pub struct Versions {
    /// Oldest first.
    pub told: Vec<Told>,
    /// Every clause in force at the end, in words.
    pub clauses: Vec<String>,
    /// Why there are none.
    pub no_clauses: String,
    /// The bundle in force at the end, if it can be read.
    pub bundle: Option<Bundle>,
}

/// Writes the tables, and tells each version.
pub fn finish(
    log: &Log<'_>,
    out: &mut dyn Out,
    versions: &[Version],
    approvals: &Approvals,
) -> Result<Versions, Error> {
    const COLUMNS: &[&str] = &[
        "entry",
        "in_force_since",
        "version",
        "digest",
        "proposed_by",
        "contributors",
        "approval",
        "approved_by",
        "unreviewed",
        "comment",
        "files",
    ];
    let mut table = Table::new("policies/versions.csv", COLUMNS);
    let mut diffs = Table::new("policies/diffs.csv", &["version", "consequence", "what", "change"]);
    let mut told = Versions::default();
    let mut last: Option<Bundle> = None;
    for version in versions {
        let proposed = log.proposed(version.bundle)?;
        let bundle = replayed::read(log, version.bundle)?;
        let mut one = tell(log, version, &proposed, approvals)?;
        if let (Some(before), Ok(after)) = (&last, &bundle) {
            for change in policy::diff(before, after) {
                let cells =
                    [&version.number.to_string(), change.says(), &change.what, &change.text];
                diffs.row(out, &cells)?;
                one.changes.push(format!("{}: {}: {}", change.what, change.text, change.says()));
            }
        }
        write(out, &mut table, version, (&proposed, &one))?;
        told.told.push(one);
        match bundle {
            Ok(bundle) => {
                told.clauses = policy::all_new(&bundle);
                told.no_clauses.clear();
                last = Some(bundle);
            }
            Err(why) => {
                told.clauses.clear();
                told.no_clauses = why;
                last = None;
            }
        }
    }
    if versions.is_empty() {
        told.no_clauses = "No policies of this server were in force.".into();
    }
    table.finish(out)?;
    diffs.finish(out)?;
    told.bundle = last;
    Ok(told)
}

fn write(
    out: &mut dyn Out,
    table: &mut Table,
    version: &Version,
    (proposed, one): (&BundleEntry, &Told),
) -> Result<(), Error> {
    let files: Vec<String> =
        proposed.parts.iter().map(|part| format!("{} (entry {})", part.path, part.index)).collect();
    let contributors: Vec<&str> = proposed.contributors.iter().map(Ident::as_str).collect();
    let cells = [
        version.index.to_string(),
        version.at.clone(),
        version.number.to_string(),
        version.digest.clone(),
        one.by.clone(),
        contributors.join(" "),
        version.approval.clone(),
        one.approved.clone(),
        if one.unreviewed { "yes".into() } else { "no".into() },
        one.comment.clone(),
        files.join("; "),
    ];
    table.row(out, &cells.each_ref().map(String::as_str))
}

fn tell(
    log: &Log<'_>,
    version: &Version,
    proposed: &BundleEntry,
    approvals: &Approvals,
) -> Result<Told, Error> {
    let state = approvals.state(&version.approval);
    let granted = state.map(|state| {
        let people: Vec<&str> = state.granted_by.iter().map(Ident::as_str).collect();
        people.join(", ")
    });
    let before = format!("before this period ({})", version.approval);
    let comment = match &proposed.reason {
        Some(reason) => words_of(log, reason.index)?,
        None => String::new(),
    };
    Ok(Told {
        version: version.number,
        since: version.at.clone(),
        by: author(&proposed.by),
        approved: granted.unwrap_or(before),
        unreviewed: state.is_some_and(is_unreviewed),
        comment,
        changes: Vec::new(),
    })
}

fn author(by: &By) -> String {
    match by {
        By::Key { person: Some(person), .. } => person.to_string(),
        By::Key { key, .. } => format!("key {key}"),
        By::Operator { operator } => format!("operator {operator}"),
        By::Command { .. } => "a command at the machine".into(),
        By::Server { .. } => "the server".into(),
    }
}
