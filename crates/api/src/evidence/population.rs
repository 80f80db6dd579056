//! Part 1, population: what was decided, counted from every entry of the period.

use super::{
    Error, Out,
    executions::Execution,
    table::Table,
    values::{add, text},
};
use ledger::{
    entry::{Kind, View},
    json::Value,
    post::is_probe,
    time::Nanos,
    verify::period::{Period, number},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

/// Most gaps of the journal that are kept by their numbers. `population/gaps.csv` has all.
const GONE_MAX: usize = 5;

/// Length of a day in the text of a moment: `2026-11-20`.
const DAY_LENGTH: usize = 10;

/// What is counted together: day, by whom, verdict, mode, tool, producer.
type Cell = [String; 6];

/// Decisions by cell. A cell that is known is found without a copy of its texts.
#[derive(Default)]
struct Cells {
    counts: HashMap<String, (Cell, u64)>,
    key: String,
}

impl Cells {
    fn add(&mut self, cell: [&str; 6]) {
        self.key.clear();
        for text in cell {
            // With its length, so that no two cells have one key.
            let _ = write!(self.key, "{} {text}", text.len());
        }
        match self.counts.get_mut(&self.key) {
            Some((_, count)) => *count += 1,
            None => drop(self.counts.insert(self.key.clone(), (cell.map(str::to_owned), 1))),
        }
    }

    fn sorted(&self) -> BTreeMap<&Cell, u64> {
        self.counts.values().map(|(cell, count)| (cell, *count)).collect()
    }
}

/// The value of a name, which may be new.
fn known<'m, T: Default>(all: &'m mut BTreeMap<String, T>, name: &str) -> &'m mut T {
    if !all.contains_key(name) {
        all.insert(name.to_owned(), T::default());
    }
    all.get_mut(name).expect("it was put there")
}

/// Totals of a period.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Entries by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Entries of the range whose time is not in the period: a clock was reset.
    pub outside: u64,
    /// Decisions.
    pub decisions: u64,
    /// Probes of deciders, which are no decisions about calls.
    pub probes: u64,
    /// Decisions by verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Decisions by mode.
    pub modes: BTreeMap<String, u64>,
    /// Decisions that this server made. The others were told by gateways.
    pub ours: u64,
    /// Decisions on which at least one policy applied: they name policy and version.
    pub covered: u64,
    /// Denials by reason code.
    pub denials: BTreeMap<String, u64>,
    /// Refused messages by reason code.
    pub rejected: BTreeMap<String, u64>,
    /// Decisions of ours that did not stand, by reason.
    pub voids: BTreeMap<String, u64>,
    /// Reports of executions.
    pub executions: u64,
    /// Executions that name a decision of the log.
    pub executions_with_decision: u64,
    /// Journal messages that are gone.
    pub journal_gaps: u64,
    /// Their first and last sequence, and the leaf index of each entry that says so: the first few.
    #[serde(skip)]
    pub journal_gone: Vec<(u64, u64, u64)>,
    /// Time from the verdict to the journal, in microseconds, of decisions of ours: p50, p99.
    pub latency_us: Option<(u64, u64)>,
    /// Decisions by day.
    pub days: BTreeMap<String, BTreeMap<String, u64>>,
    /// Decisions by tool.
    pub tools: BTreeMap<String, u64>,
    /// Decisions and denials by agent.
    pub agents: BTreeMap<String, (u64, u64)>,
}

/// The tables of part 1.
pub struct Population {
    period: Period,
    decisions: Table,
    cells: Cells,
    latencies: Vec<u32>,
    /// What was counted.
    pub totals: Totals,
}

impl Population {
    /// For a period.
    pub fn new(period: Period) -> Self {
        const COLUMNS: &[&str] = &[
            "index",
            "journal_time",
            "producer",
            "source",
            "id",
            "decided_by",
            "agent",
            "run",
            "tool",
            "action",
            "verdict",
            "mode",
            "reason",
            "policy",
            "policy_version",
            "call_digest",
            "cost",
            "currency",
        ];
        Self {
            period,
            decisions: Table::new("population/decisions.csv", COLUMNS),
            cells: Cells::default(),
            latencies: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Takes the next entry of the range. False if its time is not in the period.
    pub fn take(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<bool, Error> {
        if !self.period.holds(view.origin.time) {
            self.totals.outside += 1;
            return Ok(false);
        }
        *self.totals.kinds.entry(view.kind.as_str()).or_default() += 1;
        match view.kind {
            Kind::Decision if is_probe(view) => self.totals.probes += 1,
            Kind::Decision => self.decision(out, index, view)?,
            Kind::Rejected => add(&mut self.totals.rejected, text(view, &["event", "reason"])),
            Kind::Void => add(&mut self.totals.voids, text(view, &["event", "reason"])),
            Kind::JournalGap => {
                let bound = |name| number(view, &["event", name]).unwrap_or_default();
                let missing = bound("to").saturating_add(1).saturating_sub(bound("from"));
                self.totals.journal_gaps = self.totals.journal_gaps.saturating_add(missing);
                if self.totals.journal_gone.len() < GONE_MAX {
                    self.totals.journal_gone.push((bound("from"), bound("to"), index));
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// Counts an execution of the period.
    pub fn executed(&mut self, execution: &Execution) {
        self.totals.executions += 1;
        self.totals.executions_with_decision += u64::from(matches!(execution, Execution::Of(..)));
    }

    fn decision(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<(), Error> {
        let data = view.at(&["event", "data"]);
        let of = |path: &[&str]| {
            let found = path.iter().try_fold(data?, |value, name| value.get(name));
            found.and_then(Value::as_str)
        };
        let of = |path: &[&str]| of(path).unwrap_or_default();
        let (verdict, mode) = (of(&["verdict"]), of(&["mode"]));
        let (tool, agent) = (of(&["tool", "name"]), of(&["agent", "id"]));
        let (policy, version) = (of(&["policy", "id"]), of(&["policy", "version"]));
        let is_ours = view.is_ours();
        let by = if is_ours { "countersign" } else { "gateway" };
        let (at, producer) = (view.origin.time.to_string(), text(view, &["producer"]));
        let day = at.get(..DAY_LENGTH).unwrap_or_default();
        let totals = &mut self.totals;
        totals.decisions += 1;
        totals.ours += u64::from(is_ours);
        totals.covered += u64::from(!policy.is_empty() && !version.is_empty());
        add(&mut totals.verdicts, verdict);
        add(&mut totals.modes, if mode.is_empty() { "not said" } else { mode });
        add(&mut totals.tools, tool);
        add(known(&mut totals.days, day), verdict);
        let of_agent = known(&mut totals.agents, agent);
        of_agent.0 += 1;
        if verdict == "deny" {
            of_agent.1 += 1;
            add(&mut totals.denials, of(&["reason", "code"]));
        }
        let judged = view.text(&["event", "time"]).filter(|_| is_ours).and_then(Nanos::parse);
        if let Some(judged) = judged {
            let micros = view.origin.time.0.saturating_sub(judged.0) / 1_000;
            self.latencies.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
        self.decisions.row(
            out,
            &[
                &index.to_string(),
                &at,
                producer,
                text(view, &["event", "source"]),
                text(view, &["event", "id"]),
                by,
                agent,
                of(&["agent", "run"]),
                tool,
                of(&["tool", "action"]),
                verdict,
                mode,
                of(&["reason", "code"]),
                policy,
                version,
                of(&["call", "digest"]),
                of(&["cost", "amount"]),
                of(&["cost", "currency"]),
            ],
        )?;
        self.cells.add([day, by, verdict, mode, tool, producer]);
        Ok(())
    }

    /// Writes what is left. Returns the totals.
    pub fn finish(mut self, out: &mut dyn Out) -> Result<Totals, Error> {
        const COLUMNS: &[&str] =
            &["day", "decided_by", "verdict", "mode", "tool", "producer", "decisions"];
        self.decisions.finish(out)?;
        let mut counts = Table::new("population/counts.csv", COLUMNS);
        for (cell, count) in self.cells.sorted() {
            let [day, by, verdict, mode, tool, producer] = cell.each_ref().map(String::as_str);
            counts.row(out, &[day, by, verdict, mode, tool, producer, &count.to_string()])?;
        }
        counts.finish(out)?;
        self.latencies.sort_unstable();
        let at = |percent: usize| {
            let place = (self.latencies.len() * percent).div_ceil(100).checked_sub(1)?;
            self.latencies.get(place).map(|micros| u64::from(*micros))
        };
        self.totals.latency_us = at(50).zip(at(99));
        Ok(self.totals)
    }
}
