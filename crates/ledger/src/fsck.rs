//! Derives everything that a log stores from its entry bytes: tiles, root, checkpoints, indexes. Every test is
//! judged by it.

mod approvals;
pub(crate) mod base;
mod before;
mod day_counts;
pub(crate) mod derived;
mod events;
pub(crate) mod families;
mod gone;
mod messages;
mod payload;
mod payloads;
mod position;
pub(crate) mod pruned;
mod replay;
mod rows;
mod state;
#[cfg(feature = "jetstream")]
mod stream;
mod sums;
pub(crate) mod tally;

pub use approvals::{Whole, approvals};
pub use gone::Gone;
pub use messages::{Compared, Messages, Outcomes};
use payload::Erased;
pub use replay::{Replay, replay};
pub(crate) use rows::{count as rows, leads_to};
#[cfg(feature = "jetstream")]
pub use stream::stream;

use crate::{
    disclosure::Seed,
    guard::Mark,
    ident::Ident,
    journal::embedded::{self, Volume},
    ledger::load_access,
    log::{checkpoint, merkle::Hash},
    post::{Keys, Log, Position, pruning},
    reader, seal,
    store::{self, Family, LogNumber, Read as _, rocks::Rocks},
    verify::{Summary, Walk},
};
use derived::Derived;
use payloads::Payloads;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};
use tally::Tally;

/// Most findings that are listed. Further ones are counted.
const FINDINGS_MAX: usize = 100;

/// The findings in one log.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Origin of the log.
    pub origin: String,
    /// Entries that were read.
    pub entries: u64,
    /// Entries before this leaf index were pruned. The others were read.
    pub pruned: u64,
    /// Root hash of those entries.
    pub root: String,
    /// Checkpoints that were compared and whose signatures are right.
    pub checkpoints: u64,
    /// Totals from the entries.
    pub summary: Summary,
    /// Messages of the journal that were posted again, signatures included. `None` if the journal is
    /// elsewhere.
    pub journal: Option<Compared>,
    /// What could not be checked, and why.
    pub unchecked: Vec<String>,
    /// What erasure entries name, by leaf index. It explains what is gone from a journal.
    #[serde(skip)]
    pub erased: BTreeMap<u64, Erased>,
    /// Which journal messages may be gone.
    #[serde(skip)]
    pub gone: Gone,
    /// Faults. Empty for a sound log.
    pub findings: Vec<String>,
    /// Number of faults.
    pub damage: u64,
}

impl Report {
    /// Notes something that could not be checked.
    pub fn unchecked(&mut self, what: impl Into<String>) {
        self.unchecked.push(what.into());
    }

    /// Notes several faults.
    fn find_all(&mut self, findings: Vec<String>) {
        for finding in findings {
            self.find(finding);
        }
    }

    /// Adds the faults of another report.
    fn add(&mut self, other: Self) {
        self.damage += other.damage;
        let room = FINDINGS_MAX.saturating_sub(self.findings.len());
        self.findings.extend(other.findings.into_iter().take(room));
    }

    /// Notes a fault.
    pub fn find(&mut self, what: impl Into<String>) {
        self.damage += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what.into());
        }
    }
}

/// Reads a log's commit record, signing keys and API keys, and nothing else, because the rest is being judged.
pub fn load(
    store: &Rocks,
    name: &Ident,
    number: LogNumber,
    origin: String,
) -> Result<Log, store::Error> {
    let read = |what: &str, missing| {
        let kept = store.get(Family::Meta, &number.meta(what))?;
        kept.ok_or(store::Error::Corrupt { family: "meta", what: missing })
    };
    let position: Position =
        store::read_json(seal::value(&read("position", "the commit record is missing")?), "meta")?;
    let keys: Keys = store::read_json(&read("keys", "the keys are missing")?, "meta")?;
    let mut log = Log::new(name.clone(), number, origin, position.journal.clone());
    (log.position, log.keys) = (position, keys);
    log.access = Arc::new(load_access(store, number)?);
    Ok(log)
}

/// Checks one log. `mark` is the guard's mark, if it is known. `progress` receives the number of entries done.
///
/// In a second thread, messages of the embedded journal are posted again, and payloads are compared.
pub fn check(
    store: &Rocks,
    log: &Log,
    mark: Option<&Mark>,
    progress: impl FnMut(u64),
) -> Result<Report, store::Error> {
    let (size, embedded) = (log.position.size, log.position.journal.starts_with("embedded:"));
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| -> Result<_, store::Error> {
            let begun = pruned::begin(store, log)?;
            let base = begun.as_ref().map_or(0, |begun| begun.base.state.size);
            let mut payloads = Payloads::new(store, log, base)?;
            if embedded {
                let messages = Messages::new(store, log)?.with(payloads);
                return Ok((Some(all_messages(store, log, messages)?), None));
            }
            payloads.judge_rest(size)?;
            Ok((None, Some(payloads)))
        });
        let (mut report, mut derived) = entries(store, log, mark, progress)?;
        let (messages, mut payloads) = beside.join().expect("no panic in the other thread")?;
        if let Some(messages) = messages {
            let outcomes = messages.finish(&derived.gone)?;
            report.find_all(outcomes.findings);
            report.find_all(outcomes.missing);
            report.journal = Some(outcomes.compared);
            payloads = outcomes.payloads;
        }
        if let Some(mut payloads) = payloads {
            payloads.judge_rest(size)?;
            derived.less = payloads.finish(report.entries, &mut report)?;
        }
        families::payloads(store, log, &derived, &mut report)?;
        report.erased = derived.erased;
        report.gone = derived.gone;
        Ok(report)
    })
}

/// Posts every message of the embedded journal again.
fn all_messages<'a>(
    store: &'a Rocks,
    log: &'a Log,
    mut messages: Messages<'a>,
) -> Result<Messages<'a>, store::Error> {
    let volume = Volume { number: log.number, epoch: log.position.epoch };
    let mut failed = None;
    store.scan(Family::Journal, &volume.message(0), |key, value| {
        let Some(seq) = volume.seq(key) else { return false };
        let Some(message) = embedded::decode(seq, value) else {
            messages.unreadable(seq);
            return false;
        };
        let seed = message.headers.salt.as_deref().and_then(Seed::from_header);
        messages.take(message, seed).unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    })?;
    failed.map_or(Ok(messages), Err)
}

/// Reads all entries, and compares everything that follows from them.
fn entries(
    store: &Rocks,
    log: &Log,
    mark: Option<&Mark>,
    mut progress: impl FnMut(u64),
) -> Result<(Report, Derived), store::Error> {
    let mut report = Report { origin: log.origin.clone(), ..Report::default() };
    let (number, size) = (log.number, log.position.size);
    let mut due = checkpoints(store, log, &mut report)?;
    if let Some(mark) = mark {
        due.entry(mark.size).or_default().push((mark.root, "the guard".into()));
    }
    let begun = pruned::begin(store, log)?;
    let (mut walk, mut derived) = match &begun {
        Some(begun) => begun.resume(log)?,
        None => (Walk::default(), Derived::default()),
    };
    derived.events = Some(Tally::default());
    if let Some(begun) = &begun {
        begun.check(store, log, &mut due, &mut derived, &mut report)?;
    } else if log.position.pruned.is_some() && pruning(store, number)?.is_none() {
        report.find("the log was pruned, and what the pruned entries gave is not stored");
    }
    report.pruned = walk.size();
    let mut failed = None;
    store.scan(Family::Entries, &number.numbered(walk.size()), |key, bytes| {
        let index = key.strip_prefix(&number.key(&[])[..]).and_then(|rest| rest.try_into().ok());
        let Some(index) = index.map(u64::from_be_bytes) else { return false };
        if index != walk.size() || index >= size {
            report.find(format!("entry {index} where {} was expected (of {size})", walk.size()));
            return false;
        }
        let (view, full) = match walk.read(bytes) {
            Ok(read) => read,
            Err(error) => {
                report.find(error.to_string());
                return false;
            }
        };
        for tile in full {
            let kept = store.get(Family::Tiles, &number.tile(tile.level, tile.number));
            if !matches!(kept, Ok(Some(kept)) if kept == tile.bytes) {
                let place = format!("tile {}/{}", tile.level, tile.number);
                report.find(format!("{place} is not the entries' hashes"));
            }
        }
        if let Err(error) = derived.entry((store, log), index, &view, &mut report) {
            failed = Some(error);
            return false;
        }
        for (root, what) in due.remove(&walk.size()).unwrap_or_default() {
            if root != walk.root() {
                let size = walk.size();
                report.find(format!("{what} of size {size} has another root than the entries"));
            }
        }
        if index % 4096 == 0 {
            progress(index);
        }
        true
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    report.entries = walk.size();
    report.root = walk.root().to_string();
    report.summary = walk.summary().clone();
    edge(store, log, &walk, &mut report);
    uncompared(log, mark, due, &mut report);
    let behind = (mark.is_none_or(|mark| mark.size > size) || !log.position.signed)
        && !log.position.journal.starts_with("embedded:");
    families::checkpoints(store, log, behind, &mut report)?;
    let base = begun.map_or(0, |begun| begun.base.state.size);
    families::compare(store, log, (&walk, base), &mut derived, &mut report)?;
    Ok((report, derived))
}

/// Checks that tiles and last entries give the root from which the server would start.
fn edge(store: &Rocks, log: &Log, walk: &Walk, report: &mut Report) {
    match reader::load_edge(store, log.number, walk.size()) {
        Ok(edge) if edge.root() == walk.root() => {}
        Ok(_) => report.find("the tiles give another root than the entries"),
        Err(error) => report.find(format!("the tiles can't be read: {error}")),
    }
}

/// Reports checkpoints, and a guard's mark, of sizes beyond the entries.
fn uncompared(log: &Log, mark: Option<&Mark>, due: Due, report: &mut Report) {
    let size = log.position.size;
    for (at, what) in due.into_iter().filter(|(at, _)| *at > 0) {
        if at > size && mark.is_some_and(|mark| mark.size == at) {
            let older = format!(
                "size {at} was signed, by the guard, and the commit record ends at {size}: the newest entries were lost, \
                 or this is an older copy of the database"
            );
            if log.position.journal.starts_with("embedded:") {
                report.find(older);
            } else {
                // This is a backup: `serve` posts the rest, and signs only if that gives the guard's root.
                report.unchecked(format!("{older}; `serve` posts the journal again up to there"));
            }
            continue;
        }
        for (_, what) in what {
            report
                .find(format!("{what} of size {at} could not be compared: the entries end before"));
        }
    }
}

type Due = BTreeMap<u64, Vec<(Hash, String)>>;

/// Every stored checkpoint, by size. Wrong signatures become findings at once.
fn checkpoints(store: &Rocks, log: &Log, report: &mut Report) -> Result<Due, store::Error> {
    let number = log.number;
    let mut notes: Vec<(String, Vec<u8>)> = Vec::new();
    for (family, name) in
        [(Family::Checkpoints, "checkpoint of second"), (Family::Rotations, "rotation")]
    {
        store.scan(family, &number.key(&[]), |key, value| {
            let ours = key.starts_with(&number.key(&[]));
            if ours {
                let rest = key[4..].try_into().map_or(0, u64::from_be_bytes);
                notes.push((format!("{name} {rest}"), value.to_vec()));
            }
            ours
        })?;
    }
    let newest = store.get(Family::Meta, &number.meta("checkpoint"))?;
    notes.extend(newest.map(|note| ("newest checkpoint".to_owned(), note)));
    let keys: Vec<_> = log.keys.log.iter().map(|key| key.vkey.0.clone()).collect();
    let mut due = Due::new();
    for (name, note) in notes {
        let opened = String::from_utf8(note).ok().map(|note| checkpoint::open(&note, &keys));
        match opened {
            Some(Ok(opened)) if opened.checkpoint.size <= log.position.size => {
                let size = opened.checkpoint.size;
                let in_force: Vec<_> = log.keys.signing(size).collect();
                if !opened.signers.iter().any(|at| in_force.contains(&&keys[*at])) {
                    report.find(format!("{name}: signed by a key that does not sign size {size}"));
                }
                report.checkpoints += 1;
                due.entry(size).or_default().push((opened.checkpoint.root, name));
            }
            Some(Ok(opened)) => {
                report.find(format!("{name}: of size {}, beyond the log", opened.checkpoint.size));
            }
            Some(Err(error)) => report.find(format!("{name}: {error}")),
            None => report.find(format!("{name}: not text")),
        }
    }
    Ok(due)
}
