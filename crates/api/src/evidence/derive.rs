//! Derives every file of the evidence from its proven entries, in one pass.

use super::{
    Computed, Disclose, Error, Out, Request,
    agents::Agents,
    approvals::Approvals,
    availability::Availability,
    budgets::Budgets,
    changes::Changes,
    controls,
    deliveries::Deliveries,
    executions::Execution,
    findings::Weight,
    later,
    log::Log,
    oscal,
    population::Population,
    pretty,
    privacy::Privacy,
    report,
    samples::{Draw, Seed},
    sign_ins::SignIns,
    sources::Sources,
    table::Table,
    verdicts::Verdicts,
    versions,
    watched::Watched,
    words,
};
use decider::approval::AuditAll;
use ledger::{
    entry::{Kind, View},
    post::{Retention, is_probe},
    verify::period::Follow,
};
use serde_json::json;
use std::collections::BTreeSet;

/// True for an entry that a population holds.
type Belongs = fn(&View<'_>) -> bool;

/// What samples are drawn from: the control's name, and what belongs to it.
const DRAWS: [(&str, Belongs); 7] = [
    ("decisions", |view| view.kind == Kind::Decision),
    ("denied", |view| verdict(view) == "deny"),
    ("allowed", |view| matches!(verdict(view), "allow" | "sanitize")),
    ("approval_needed", super::approvals::is_elevated),
    ("policies", |view| view.kind == Kind::Policy && op(view) == "activate"),
    ("access", |view| view.kind == Kind::Access && matches!(op(view), "add" | "remove")),
    ("erasures", |view| view.kind == Kind::Erasure),
];

fn verdict<'v>(view: &'v View<'_>) -> &'v str {
    let verdict = view.text(&["event", "data", "verdict"]).filter(|_| view.kind == Kind::Decision);
    verdict.unwrap_or_default()
}

fn op<'v>(view: &'v View<'_>) -> &'v str {
    view.text(&["event", "op"]).unwrap_or_default()
}

/// What evidence says in the end.
#[derive(Clone, Debug)]
pub struct Conclusion {
    /// Why it is not whole. Empty if it is.
    pub missing: Vec<String>,
    /// Decisions of the period.
    pub decisions: u64,
    /// Findings that need an explanation, in words.
    pub exceptions: Vec<String>,
}

/// Everything that one pass over the period collects.
struct Pass<'p> {
    log: &'p Log<'p>,
    audit: AuditAll,
    follow: Follow,
    population: Population,
    sources: Sources,
    approvals: Approvals,
    changes: Changes,
    verdicts: Verdicts,
    privacy: Privacy,
    agents: Agents,
    budgets: Budgets,
    watched: Watched,
    sign_ins: SignIns,
    deliveries: Deliveries,
    availability: Availability,
    draws: Vec<Draw>,
}

/// Derives all files but the manifest. `progress` is told of each entry of the period.
pub fn derive(
    log: &Log<'_>,
    out: &mut dyn Out,
    request: &Request,
    progress: &dyn Fn(u64),
) -> Result<Conclusion, Error> {
    let seed = Seed::new(&log.signed().text(), request.auditor_seed.as_deref().unwrap_or_default());
    let draws = DRAWS.map(|(name, _)| Draw::new(name, seed, request.samples));
    let mut pass = Pass {
        log,
        audit: AuditAll::default(),
        follow: Follow::new(&log.chain, log.range),
        population: Population::new(log.period),
        sources: Sources::new(log.period),
        approvals: Approvals::default(),
        changes: Changes::default(),
        verdicts: Verdicts::default(),
        privacy: Privacy::default(),
        agents: Agents::default(),
        budgets: Budgets::default(),
        watched: Watched::default(),
        sign_ins: SignIns::default(),
        deliveries: Deliveries::default(),
        availability: Availability::new(log.period),
        draws: draws.into(),
    };
    pass.before()?;
    for number in log.range.begin / 256..log.range.end.div_ceil(256) {
        let bundle = log.bundle(number)?;
        for (at, entry) in (number * 256..).zip(bundle.entries()) {
            if (log.range.begin..log.range.end).contains(&at) {
                pass.take(out, at, entry)?;
                progress(at - log.range.begin + 1);
            }
        }
    }
    pass.finish(out, request, seed)
}

impl Pass<'_> {
    /// What was in force when the period began, and the earlier messages of its approvals, in the order of the log.
    fn before(&mut self) -> Result<(), Error> {
        let log = self.log;
        let begin = log.range.begin;
        let system = log.chain.entries.iter().copied().filter(|index| *index < begin);
        let all: BTreeSet<u64> = system.chain(log.earlier_messages()?).collect();
        for index in all {
            let entry = log.entry(index)?;
            let view = View::parse(&entry).ok_or_else(|| unreadable(index))?;
            self.audit(index, &entry, &view)?;
            if view.kind == Kind::Approval {
                self.approvals.before(log, &entry, &view)?;
            }
            self.changes.before(index, &view);
            if view.kind == Kind::Sources {
                self.sources.declare(&view);
            }
            self.verdicts.before(index, &view);
            self.watched.before(index, &view);
            self.sign_ins.before(&view);
            self.deliveries.before(&view);
        }
        if let Some(last) = begin.checked_sub(1) {
            let entry = log.entry(last)?;
            let view = View::parse(&entry).ok_or_else(|| unreadable(last))?;
            let wrong = |what: &str| Error::file(&format!("entry {last}"), what.to_owned());
            self.follow.before(last, &view).map_err(wrong)?;
        }
        Ok(())
    }

    /// Replays every approval of the period, by the rules that were in force (P8).
    fn audit(&mut self, index: u64, entry: &[u8], view: &View<'_>) -> Result<(), Error> {
        // An act before the period may name an approval whose messages are not here.
        if matches!(view.kind, Kind::Access | Kind::Retention | Kind::Freeze)
            && index < self.log.range.begin
        {
            return Ok(());
        }
        let failed = std::cell::RefCell::new(None);
        let read = |earlier| match self.log.entry(earlier) {
            Ok(entry) => Some(entry),
            Err(error) => {
                failed.borrow_mut().get_or_insert(error);
                None
            }
        };
        let told = self.audit.take(index, entry, view, read);
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        told.map_err(|fault| Error::file(&format!("entry {index}"), fault.to_string()))
    }

    fn take(&mut self, out: &mut dyn Out, index: u64, entry: &[u8]) -> Result<(), Error> {
        let log = self.log;
        let view = View::parse(entry).ok_or_else(|| unreadable(index))?;
        let wrong = |what: &str| Error::file(&format!("entry {index}"), what.to_owned());
        if view.text(&["tenant"]) != Some(&log.tenant) {
            return Err(wrong("it is of another tenant than the genesis"));
        }
        self.follow.take(index, &view).map_err(wrong)?;
        self.audit(index, entry, &view)?;
        self.changes.take((log, &self.approvals), out, index, &view)?;
        self.verdicts.take(log, out, index, &view)?;
        self.budgets.take(out, index, &view)?;
        self.watched.take(out, index, &view)?;
        self.sign_ins.take(out, index, &view)?;
        self.deliveries.take(out, index, &view)?;
        if !self.population.take(out, index, &view)? {
            return Ok(());
        }
        if is_probe(&view) {
            self.availability.take(&view);
            return Ok(());
        }
        self.sources.take(out, index, &view)?;
        self.approvals.take(log, out, (index, entry), &view)?;
        if let Some(execution) = Execution::read(log, index, &view)? {
            self.population.executed(&execution);
            self.approvals.executed(log, index, &execution)?;
        }
        self.agents.take(index, &view);
        self.privacy.take(log, index, &view)?;
        for (draw, (_, belongs)) in self.draws.iter_mut().zip(DRAWS) {
            if belongs(&view) {
                draw.take(index);
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        out: &mut dyn Out,
        request: &Request,
        seed: Seed,
    ) -> Result<Conclusion, Error> {
        let log = self.log;
        let totals = self.population.finish(out)?;
        let sources = self.sources.finish(out)?;
        self.availability.finish(out)?;
        self.budgets.finish(out)?;
        let watched = self.watched.finish(out)?;
        let sign_ins = self.sign_ins.finish(out)?;
        let sinks = self.deliveries.finish(out)?;
        let drawn: BTreeSet<u64> = self.draws.iter().flat_map(Draw::drawn).collect();
        self.approvals.finish(log, out, &drawn)?;
        self.changes.finish(out)?;
        let told = versions::finish(log, out, &self.changes.versions, &self.approvals)?;
        let (by, bundle) = ((&self.approvals, &self.changes), told.bundle.as_ref());
        let agents = self.agents.finish(out, bundle, by, report::ROWS_MAX)?;
        let different = std::mem::take(&mut self.verdicts.different);
        let tally = self.verdicts.finish(out)?;
        let privacy = self.privacy.finish(out)?;
        let computed = Computed {
            request,
            log,
            totals: &totals,
            sources: &sources,
            approvals: &self.approvals,
            changes: &self.changes,
            verdicts: &tally,
            different: &different,
            privacy,
            availability: self.availability.share(),
            watched,
            sign_ins,
            sinks: &sinks,
        };
        samples(log, out, &self.draws)?;
        let gone_later = later::finish(log, out)?;
        let (figures, findings) = (computed.figures(), computed.findings(&gone_later));
        out.put("privacy/retention.json", &pretty(&retention(&self.changes.retention)))?;
        out.put("population/summary.json", &pretty(&json!(totals)))?;
        let mut named: BTreeSet<u64> =
            findings.iter().flat_map(|finding| finding.leaves.iter().copied()).collect();
        named.extend(drawn);
        for index in named {
            out.put(&format!("receipts/{index}.tlog-proof"), log.receipt(index)?.as_bytes())?;
        }
        controls::finish(out, &figures)?;
        oscal::finish(out, &computed, (&figures, &findings))?;
        let missing = missing(log);
        let conclusions = json!({"v": 1, "whole": missing.is_empty(), "missing": missing, "figures": figures, "findings": findings});
        out.put("conclusions.json", &pretty(&conclusions))?;
        let shown = report::Shown {
            computed: &computed,
            figures: &figures,
            findings: &findings,
            missing: &missing,
            draws: &self.draws,
            seed,
            versions: &told,
            agents: &agents,
        };
        out.put("not-checked.txt", words::not_checked(&computed).join("\n").as_bytes())?;
        out.put("report.html", report::page(&shown).as_bytes())?;
        out.put("README.txt", words::readme(&computed, &missing).as_bytes())?;
        let exceptions = findings.into_iter().filter(|found| found.weight == Weight::Exception);
        let exceptions = exceptions.map(|found| found.text).collect();
        Ok(Conclusion { missing, decisions: totals.decisions, exceptions })
    }
}

/// For how long payload was kept at the end of the period, and which legal holds were in force.
fn retention(in_force: &Retention) -> serde_json::Value {
    let Retention { set, payload_days, floor_days, journal_days, holds, expired, deleted, .. } =
        in_force;
    let holds: Vec<_> =
        holds.iter().map(|(hold, index)| json!({"hold": hold, "index": index})).collect();
    json!({
        "v": 1, "set": set, "payload_days": payload_days, "floor_days": floor_days,
        "journal_days": journal_days, "holds": holds, "expired_below": expired, "deleted": deleted,
    })
}

/// Why the evidence is not whole.
fn missing(log: &Log<'_>) -> Vec<String> {
    let open = format!(
        "the log has no entry at or after {}: entries of the period may still come",
        log.period.to
    );
    if log.is_over { Vec::new() } else { vec![open] }
}

/// Writes what was drawn.
fn samples(log: &Log<'_>, out: &mut dyn Out, draws: &[Draw]) -> Result<(), Error> {
    const COLUMNS: &[&str] = &[
        "control",
        "rank",
        "index",
        "journal_time",
        "kind",
        "producer",
        "agent",
        "tool",
        "action",
        "verdict",
        "reason",
        "policy",
        "policy_version",
        "payload",
    ];
    let mut table = Table::new("samples/samples.csv", COLUMNS);
    for draw in draws {
        for (rank, index) in (1..).zip(draw.drawn()) {
            let entry = log.entry(index)?;
            let view = View::parse(&entry).ok_or_else(|| unreadable(index))?;
            let disclosed = log.disclosed(index, &view, true)?;
            let payload = disclosed.map_or("not disclosed".to_owned(), |fields| {
                let words = fields.iter().map(|(name, value)| {
                    let value: String = String::from_utf8_lossy(value).chars().take(200).collect();
                    format!("{name}={value}")
                });
                words.collect::<Vec<_>>().join("; ")
            });
            let of = |path: &[&str]| view.text(path).unwrap_or_default();
            let data = |names: &[&'static str]| {
                let path: Vec<&str> = ["event", "data"].iter().chain(names).copied().collect();
                view.text(&path).unwrap_or_default().to_owned()
            };
            let cells = [
                draw.control().to_owned(),
                i32::to_string(&rank),
                index.to_string(),
                view.origin.time.to_string(),
                view.kind.as_str().to_owned(),
                of(&["producer"]).to_owned(),
                data(&["agent", "id"]),
                data(&["tool", "name"]),
                data(&["tool", "action"]),
                data(&["verdict"]),
                data(&["reason", "code"]),
                data(&["policy", "id"]),
                data(&["policy", "version"]),
                payload,
            ];
            table.row(out, &cells.each_ref().map(String::as_str))?;
        }
    }
    table.finish(out)
}

fn unreadable(index: u64) -> Error {
    Error::file(&format!("entry {index}"), "not an entry of version 1".into())
}

impl Disclose {
    /// In words, for the report.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::None => "No payload is in this folder.",
            Self::Samples => {
                "Payload of the drawn samples, and the words of reasons, are in this folder."
            }
            Self::All => {
                "Payload of every decision of the period and of the drawn samples, and the words of reasons, are in this folder."
            }
        }
    }
}
