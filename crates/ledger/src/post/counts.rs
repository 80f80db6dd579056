//! What an entry adds to the counts of its UTC day (`proto/formats/counts.md`), and the sums of a batch. The rows change
//! in the commit of the entries.
//!
//! In scope: the sums, which follow from the entries and their order alone. Out of scope: who may read them (`api`), and
//! the comparison with the entries (`fsck`).

use crate::{
    entry::{Kind, View},
    json::Value,
    log::merkle::leaf_hash,
    store::{self, Changes, Family, LogNumber, Read},
    time::Nanos,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Most values of one name that have a count of their own, in one day and in all days. What comes later that day is
/// counted together.
pub const VALUES_MAX: u64 = 100;
/// The same for calls, whose values are sets of several members.
pub const CALLS_MAX: u64 = 500;
/// The "day" of the counts over all days.
pub const ALL_DAYS: u32 = u32::MAX;
/// Upper bounds of the classes of `latency`, in milliseconds.
pub const LATENCY_MS: [u64; 14] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 20_000, 60_000];

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Entries, by kind.
    Kind,
    /// Decisions, by verdict.
    Verdict,
    /// Decisions: `enforce` or `shadow`.
    Mode,
    /// Decisions, by tool.
    Tool,
    /// Decisions, by producer.
    Producer,
    /// Decisions: `ours`, `told`, or `server` for the server's own questions to people.
    By,
    /// Decisions about agents' calls: `with` a policy that applied, or `without`.
    Policy,
    /// Denials, by reason code.
    Denied,
    /// Decisions of ours about agents' calls, by the time until the journal took them.
    Latency,
    /// Events of approvals, by type.
    Approval,
    /// Executions that were reported as events, by the verdict of the decision that they name, or `none`.
    Execution,
    /// Probes, by the server that decided.
    Probe,
    /// Decisions: tool, verdict, whether it is enforced, what it would be, and the reason code, as a JSON array.
    Call,
    /// Denials, by agent.
    Agent,
}

impl Name {
    /// Every name, in rows and answers.
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::Kind, "kind"),
        (Self::Verdict, "verdict"),
        (Self::Mode, "mode"),
        (Self::Tool, "tool"),
        (Self::Producer, "producer"),
        (Self::By, "by"),
        (Self::Policy, "policy"),
        (Self::Denied, "denied"),
        (Self::Latency, "latency"),
        (Self::Approval, "approval"),
        (Self::Execution, "execution"),
        (Self::Probe, "probe"),
        (Self::Call, "call"),
        (Self::Agent, "denied_agent"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Most values that have a count of their own.
    fn most(self) -> u64 {
        if self == Self::Call { CALLS_MAX } else { VALUES_MAX }
    }
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The server, about a gateway's call.
    Ours,
    /// A producer.
    Told,
    /// The server, about a question of its own to people.
    Server,
    /// The server, to show that it decides.
    Probe,
}

impl By {
    /// `is_own`: the decision is on a question of the server itself; `is_probe`: it is its probe.
    pub fn new(ours: bool, is_own: bool, is_probe: bool) -> Self {
        match (ours, is_own) {
            (true, true) if is_probe => Self::Probe,
            (true, true) => Self::Server,
            (true, false) => Self::Ours,
            (false, _) => Self::Told,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Told => "told",
            Self::Server => "server",
            Self::Probe => "probe",
        }
    }
}

/// What one entry adds: a name and a value, each once.
pub type Facts = Vec<(Name, Box<str>)>;

/// What an event adds, from its plain part. The decision of an execution is looked up when it is posted.
#[derive(Clone, Debug, Default)]
pub struct OfEvent {
    facts: Facts,
    /// When a decision of ours was made.
    judged: Option<Nanos>,
    is_execution: bool,
    /// The decision that an execution names: leaf index and leaf hash.
    executed: Option<(u64, String)>,
}

impl OfEvent {
    /// Reads the plain part of a decision about a call of `producer`'s.
    pub fn decision(plain: &Value<'_>, producer: &str, by: By) -> Self {
        let at = |path: &[&str]| path.iter().try_fold(plain, |value, name| value.get(name));
        let text = |path: &[&str]| at(path).and_then(Value::as_str);
        if by == By::Probe {
            let decider = text(&["data", "agent", "run"]).unwrap_or_default();
            return Self { facts: vec![(Name::Probe, decider.into())], ..Self::default() };
        }
        let verdict = text(&["data", "verdict"]).unwrap_or_default();
        let mode = text(&["data", "mode"]).unwrap_or("enforce");
        let tool = text(&["data", "tool", "name"]).unwrap_or_default();
        let would = text(&["data", "shadow", "verdict"]).unwrap_or_default();
        let reason = text(&["data", "reason", "code"]);
        let call = json!([tool, verdict, mode != "shadow", would, reason.unwrap_or_default()]);
        let mut facts: Facts = vec![
            (Name::Verdict, verdict.into()),
            (Name::Mode, mode.into()),
            (Name::Tool, tool.into()),
            (Name::Call, call.to_string().into()),
            (Name::Producer, producer.into()),
            (Name::By, by.as_str().into()),
        ];
        if by != By::Server {
            let id = text(&["data", "policy", "id"]).is_some();
            let version = text(&["data", "policy", "version"]).is_some();
            let with = if id && version { "with" } else { "without" };
            facts.push((Name::Policy, with.into()));
        }
        if verdict == "deny" {
            facts.push((Name::Denied, reason.unwrap_or("none").into()));
            let agent = text(&["data", "agent", "id"]).unwrap_or_default();
            facts.push((Name::Agent, agent.into()));
        }
        let judged = text(&["time"]).and_then(Nanos::parse).filter(|_| by == By::Ours);
        Self { facts, judged, is_execution: false, executed: None }
    }

    /// Reads the plain part of an execution. `ours`: it is our report of a result. Of an approved call that counts nothing
    /// here, because its outcome is reported to the approval.
    pub fn execution(plain: &Value<'_>, ours: bool) -> Self {
        if ours && plain.get("data").is_some_and(|data| data.get("approval_id").is_some()) {
            return Self::default();
        }
        let named = plain.get("data").and_then(|data| data.get("decision"));
        let index = named.and_then(|named| named.get("index")?.as_u64());
        let hash = named.and_then(|named| Some(named.get("leaf_hash")?.as_str()?.to_owned()));
        Self { is_execution: true, executed: index.zip(hash), ..Self::default() }
    }

    /// Everything that the event's entry adds. `time`: its `journal.time`; `entry`: an earlier entry by its index.
    fn facts(self, time: Nanos, entry: impl FnOnce(u64) -> Option<Vec<u8>>) -> Facts {
        let mut facts = self.facts;
        if let Some(judged) = self.judged {
            let millis = time.0.saturating_sub(judged.0).div_ceil(1_000_000);
            let class = LATENCY_MS.iter().find(|bound| millis <= **bound);
            let class = class.map_or("more".into(), |bound| bound.to_string().into());
            facts.push((Name::Latency, class));
        }
        if self.is_execution {
            let verdict = self.executed.and_then(|(index, hash)| {
                let entry = entry(index).filter(|entry| leaf_hash(entry).to_string() == hash)?;
                let view = View::parse(&entry).filter(|view| view.kind == Kind::Decision)?;
                view.text(&["event", "data", "verdict"]).map(Box::from)
            });
            facts.push((Name::Execution, verdict.unwrap_or_else(|| "none".into())));
        }
        facts
    }
}

/// What an approval's message adds: the types of its events.
pub fn of_approval(message: &Value<'_>) -> Facts {
    let events = message.get("events").and_then(Value::as_array).unwrap_or_default();
    let kinds = events.iter().filter_map(|event| event.get("type").and_then(Value::as_str));
    kinds.map(|kind| (Name::Approval, kind.into())).collect()
}

/// The sums over the entries of a batch.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Few: mostly one. The last one is that of the last entry.
    days: Vec<(u32, Day)>,
    /// How many values were new, each on its day.
    new: u64,
}

type Day = [Values; Name::ALL.len()];

/// Counts by value, and the values in the order in which they came.
#[derive(Clone, Debug, Default)]
struct Values {
    /// Each with its place among all new values.
    order: Vec<(u64, Box<str>)>,
    counts: BTreeMap<Box<str>, u64>,
}

/// The UTC day of a time, counted from 1970-01-01.
pub fn day_of(time: Nanos) -> u32 {
    u32::try_from(time.seconds() / 86_400).unwrap_or(ALL_DAYS - 1)
}

impl Counts {
    fn add(&mut self, time: Nanos, name: Name, value: &str) {
        let day = day_of(time);
        let last = self.days.len().saturating_sub(1);
        let at = match self.days.last() {
            Some((known, _)) if *known == day => last,
            _ => self.days.iter().position(|(known, _)| *known == day).unwrap_or_else(|| {
                self.days.push((day, Day::default()));
                self.days.len() - 1
            }),
        };
        let values = &mut self.days[at].1[name as usize];
        if let Some(count) = values.counts.get_mut(value) {
            *count += 1;
        } else {
            self.new += 1;
            values.order.push((self.new, value.into()));
            values.counts.insert(value.into(), 1);
        }
    }

    /// Notes an entry of a kind: every entry once.
    pub fn kind(&mut self, kind: Kind, time: Nanos) {
        self.add(time, Name::Kind, kind.as_str());
    }

    /// Notes what an event adds.
    pub fn event(&mut self, of: OfEvent, time: Nanos, entry: impl FnOnce(u64) -> Option<Vec<u8>>) {
        self.facts(of.facts(time, entry), time);
    }

    /// Notes what an entry adds.
    pub fn facts(&mut self, facts: Facts, time: Nanos) {
        for (name, value) in facts {
            self.add(time, name, &value);
        }
    }

    /// True if nothing was noted since the last [`Counts::write`].
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// Adds what was noted to the rows of a log.
    pub fn write(
        &mut self,
        changes: &mut Changes<'_>,
        number: LogNumber,
    ) -> Result<(), store::Error> {
        let mut days = std::mem::take(&mut self.days);
        days.push((ALL_DAYS, all_days(&days)));
        for (day, names) in days {
            for ((name, _), values) in Name::ALL.into_iter().zip(names) {
                if !values.order.is_empty() {
                    values.write(changes, &Rows { number, day, name })?;
                }
            }
        }
        Ok(())
    }
}

/// The counts over several days, in the order in which the values came.
fn all_days(days: &[(u32, Day)]) -> Day {
    std::array::from_fn(|name| {
        let mut all = Values::default();
        let of_name = || days.iter().map(|(_, day)| &day[name]);
        all.order = of_name().flat_map(|values| values.order.iter().cloned()).collect();
        all.order.sort();
        for (value, count) in of_name().flat_map(|values| &values.counts) {
            *all.counts.entry(value.clone()).or_default() += count;
        }
        all
    })
}

/// The rows of one name on one day.
struct Rows {
    number: LogNumber,
    day: u32,
    name: Name,
}

/// What a row is, after its name.
const VALUE: u8 = 0;
const OTHER: u8 = 1;
const NUMBER: u8 = 2;

impl Rows {
    fn key(&self, what: u8, value: &str) -> Vec<u8> {
        let (day, name) = (self.day.to_be_bytes(), self.name.as_str().as_bytes());
        self.number.key(&[&day, name, &[what], value.as_bytes()].concat())
    }
}

fn read(changes: &Changes<'_>, key: &[u8]) -> Result<Option<u64>, store::Error> {
    changes.get(Family::Counts, key)?.map(|bytes| store::read_u64(&bytes, "counts")).transpose()
}

impl Values {
    fn write(mut self, changes: &mut Changes<'_>, rows: &Rows) -> Result<(), store::Error> {
        let number = rows.key(NUMBER, "");
        let before = read(changes, &number)?.unwrap_or(0);
        let (mut known, mut other) = (before, 0);
        for (_, value) in &self.order {
            // A value that came on two days is written once, where it came first.
            let Some(count) = self.counts.remove(value) else { continue };
            let key = rows.key(VALUE, value);
            let counted = match read(changes, &key)? {
                Some(counted) => counted,
                None if known < rows.name.most() => {
                    known += 1;
                    0
                }
                None => {
                    other += count;
                    continue;
                }
            };
            changes.put(Family::Counts, key, (counted + count).to_be_bytes().to_vec());
        }
        if known != before {
            changes.put(Family::Counts, number, known.to_be_bytes().to_vec());
        }
        if other > 0 {
            let key = rows.key(OTHER, "");
            let counted = read(changes, &key)?.unwrap_or(0);
            changes.put(Family::Counts, key, (counted + other).to_be_bytes().to_vec());
        }
        Ok(())
    }
}

/// The counts of one name on one day, as they are read back.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct OfName {
    /// By value.
    pub values: BTreeMap<String, u64>,
    /// Of all values that came after the first [`VALUES_MAX`], or [`CALLS_MAX`].
    pub other: u64,
}

/// The counts of one day, by name.
pub type OfDay = BTreeMap<&'static str, OfName>;

/// Reads the rest of a row's key, after the log: the day, the name, and what it is about. `None` if it is no such key.
pub fn read_key(rest: &[u8]) -> Option<(u32, &'static str, Option<&str>)> {
    let (day, rest) = rest.split_first_chunk()?;
    let end = rest.iter().position(|byte| *byte <= NUMBER)?;
    let named = std::str::from_utf8(&rest[..end]).ok()?;
    let (_, name) = Name::ALL.into_iter().find(|(_, name)| *name == named)?;
    let value = std::str::from_utf8(&rest[end + 1..]).ok()?;
    let value = (rest[end] == VALUE).then_some(value);
    Some((u32::from_be_bytes(*day), name, value)).filter(|_| rest[end] != NUMBER)
}

#[cfg(test)]
mod tests;
