//! Re-derives everything a log keeps from its entry bytes: tiles, root, checkpoints, indexes. The judge of every test.

mod replay;

pub use replay::{Replay, replay};

use crate::{
    disclosure::{self, Scope},
    entry::{Kind, Payload, View},
    guard::Mark,
    ident::Ident,
    journal::embedded::{self, Volume},
    json::Value,
    log::{checkpoint, note::Vkey},
    post::{APPROVAL, EVIDENCE, Keys, Log, LogKey, event_key, source_key},
    reader,
    sequence::Sequence,
    store::{self, Family, LogNumber, Read as _, rocks::Rocks},
    system::{Access, AccessKey, Erasure, Genesis, KeyText},
    verify::{Summary, Walk},
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Most findings that are listed; more are only counted.
const FINDINGS_MAX: usize = 100;

/// What was found in one log.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The log.
    pub origin: String,
    /// Entries that were read.
    pub entries: u64,
    /// Root hash of those entries.
    pub root: String,
    /// Checkpoints that were compared and whose signatures hold.
    pub checkpoints: u64,
    /// What the entries say.
    pub summary: Summary,
    /// What is wrong; empty for a sound log.
    pub findings: Vec<String>,
    /// How much is wrong.
    pub damage: u64,
    /// What could not be checked, and why.
    pub unchecked: Vec<String>,
}

impl Report {
    /// Notes something that could not be checked.
    pub fn unchecked(&mut self, what: impl Into<String>) {
        self.unchecked.push(what.into());
    }

    /// Notes something that is wrong.
    pub fn find(&mut self, what: impl Into<String>) {
        self.damage += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what.into());
        }
    }
}

/// What the entries say the indexes must hold.
#[derive(Default)]
struct Derived {
    /// Events that hold a `(producer, source, id)`.
    keys: u64,
    signing: Keys,
    sources: BTreeMap<[u8; 32], Sequence>,
    access: BTreeMap<String, AccessKey>,
    erased: BTreeSet<u64>,
    without_payload: Vec<u64>,
    /// Entries of approvals.
    approvals: u64,
    /// The last `rules` entry.
    rules: Option<u64>,
    last: (u64, u64),
}

/// Checks one log. `mark` is what the guard holds, if it is at hand; `progress` is told entries done.
pub fn check(
    store: &Rocks,
    log: &Log,
    mark: Option<&Mark>,
    mut progress: impl FnMut(u64),
) -> Result<Report, store::Error> {
    let mut report = Report { origin: log.origin.clone(), ..Report::default() };
    let (number, size) = (log.number, log.position.size);
    let mut due = checkpoints(store, log, &mut report)?;
    if let Some(mark) = mark {
        due.entry(mark.size).or_default().push((mark.root, "the guard".into()));
    }
    let mut walk = Walk::default();
    let mut derived = Derived::default();
    let mut failed = None;
    store.scan(Family::Entries, &number.key(&[]), |key, bytes| {
        let index = key.strip_prefix(&number.key(&[])[..]).and_then(|rest| rest.try_into().ok());
        let Some(index) = index.map(u64::from_be_bytes) else { return false };
        if index != walk.size() || index >= size {
            report.find(format!("entry {index} where {} was expected (of {size})", walk.size()));
            return false;
        }
        match walk.entry(bytes) {
            Err(error) => {
                report.find(error.to_string());
                return false;
            }
            Ok(full) => {
                for tile in full {
                    let kept = store.get(Family::Tiles, &number.tile(tile.level, tile.number));
                    if !matches!(kept, Ok(Some(kept)) if kept == tile.bytes) {
                        report.find(format!(
                            "tile {}/{} is not the entries' hashes",
                            tile.level, tile.number
                        ));
                    }
                }
            }
        }
        if let Err(error) = derived.entry(store, number, index, bytes, &mut report) {
            failed = Some(error);
            return false;
        }
        for (root, what) in due.remove(&walk.size()).unwrap_or_default() {
            if root != walk.root() {
                report.find(format!(
                    "{what} of size {} has another root than the entries",
                    walk.size()
                ));
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
    finish(store, log, &walk, due, &derived, &mut report)?;
    Ok(report)
}

type Due = BTreeMap<u64, Vec<(crate::log::merkle::Hash, String)>>;

/// Every stored checkpoint by size; those whose signature does not hold are findings at once.
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

impl Derived {
    fn entry(
        &mut self,
        store: &Rocks,
        number: LogNumber,
        index: u64,
        bytes: &[u8],
        report: &mut Report,
    ) -> Result<(), store::Error> {
        let Some(view) = View::parse(bytes) else { return Ok(()) };
        self.last = (view.origin.epoch, view.origin.seq);
        self.payload(store, number, index, &view, report)?;
        match view.kind {
            Kind::Decision | Kind::Event => self.event(store, number, index, &view, report)?,
            Kind::Access => match view.event_as::<Access>() {
                Some(Access::Add(key)) => drop(self.access.insert(key.key_id.clone(), key)),
                Some(Access::Remove { key_id }) => drop(self.access.remove(&key_id)),
                None => report.find(format!("entry {index}: not an access entry")),
            },
            Kind::Genesis | Kind::Key => self.signing(index, &view, report),
            Kind::Approval | Kind::Evidence => {
                self.of_approval(store, number, index, &view, report)?;
            }
            Kind::Rules => self.rules = Some(index),
            Kind::Erasure => {
                self.erased.extend(view.event_as::<Erasure>().map(|erasure| erasure.index));
            }
            _ => {}
        }
        Ok(())
    }

    /// The signing keys that genesis and key entries give.
    fn signing(&mut self, index: u64, view: &View<'_>, report: &mut Report) {
        if let Some(genesis) = view.event_as::<Genesis>() {
            self.signing = Keys::of_genesis(&genesis);
            return;
        }
        let number = |name| view.at(&["event", name]).and_then(Value::as_u64);
        let vkey = view.text(&["event", "vkey"]).and_then(|text| Vkey::parse(text).ok());
        let Some(vkey) = vkey.map(KeyText) else {
            return report.find(format!("entry {index}: not a key entry"));
        };
        match view.text(&["event", "use"]) {
            Some("log") => {
                if let Some(old) = self.signing.log.last_mut() {
                    old.last_size = number("old_last_size");
                }
                let first_size = number("first_size").unwrap_or(0);
                self.signing.log.push(LogKey { vkey, first_size, last_size: None, index });
            }
            Some("journal") => self.signing.journal = vec![vkey],
            Some("token") => self.signing.rotate_token(vkey),
            _ => report.find(format!("entry {index}: a key for nothing known")),
        }
    }

    /// The index of approvals leads to each of their entries.
    fn of_approval(
        &mut self,
        store: &Rocks,
        number: LogNumber,
        index: u64,
        view: &View<'_>,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        self.approvals += 1;
        let id = view.text(&["event", "approval_id"]).and_then(|id| Ident::new(id).ok());
        let kind = if view.kind == Kind::Approval { APPROVAL } else { EVIDENCE };
        let key = id.map(|id| number.approval(&id, Some(index)));
        let kept = key.map(|key| store.get(Family::Approvals, &key)).transpose()?.flatten();
        if kept != Some(vec![kind]) {
            report.find(format!("entry {index}: the index of approvals does not lead to it"));
        }
        Ok(())
    }

    fn event(
        &mut self,
        store: &Rocks,
        number: LogNumber,
        index: u64,
        view: &View<'_>,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        let text = |path: &[&str]| view.text(path).unwrap_or("");
        let scope = Scope {
            producer: text(&["producer"]),
            source: text(&["event", "source"]),
            id: text(&["event", "id"]),
        };
        self.keys += 1;
        let kept = store.get(Family::Keys, &number.key(&event_key(scope)))?;
        if kept != Some(index.to_be_bytes().to_vec()) {
            report.find(format!("entry {index}: the index of events does not lead to it"));
        }
        let sequence = view.text(&["event", "sequence"]).and_then(|text| text.parse().ok());
        let Some(sequence) = sequence else { return Ok(()) };
        let heartbeat = text(&["event", "type"]) == crate::event::HEARTBEAT;
        match self.sources.get_mut(&source_key(scope)) {
            None => drop(self.sources.insert(source_key(scope), Sequence::begin(sequence))),
            Some(known) if heartbeat => drop(known.heartbeat(sequence)),
            Some(known) => drop(known.observe(sequence)),
        }
        Ok(())
    }

    fn payload(
        &mut self,
        store: &Rocks,
        number: LogNumber,
        index: u64,
        view: &View<'_>,
        report: &mut Report,
    ) -> Result<(), store::Error> {
        let kept = store.get(Family::Payload, &number.numbered(index))?;
        let Some(payload) = kept.and_then(|bytes| Payload::decode(&bytes)) else {
            report.find(format!("entry {index}: its payload is unreadable"));
            return Ok(());
        };
        let digests: BTreeSet<&str> = view.payload().collect();
        for text in &payload.disclosures {
            if !digests.contains(disclosure::digest(text).as_str()) {
                report.find(format!("entry {index}: a disclosure that it does not commit to"));
            }
        }
        if payload.disclosures.len() < digests.len() || payload.commit_salt.is_none() {
            self.without_payload.push(index);
        }
        Ok(())
    }
}

/// What can be said only at the end.
fn finish(
    store: &Rocks,
    log: &Log,
    walk: &Walk,
    due: Due,
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    let position = &log.position;
    if walk.size() != position.size || walk.root() != position.root {
        report.find(format!(
            "{} entries, where the commit record says {}",
            walk.size(),
            position.size
        ));
    }
    for (size, what) in
        due.into_iter().flat_map(|(size, list)| list.into_iter().map(move |w| (size, w.1)))
    {
        if size > 0 {
            report.find(format!("{what} of size {size} could not be compared"));
        }
    }
    if derived.rules != position.rules {
        report.find("the last rules are not those of the last rules entry");
    }
    if walk.prior() != position.prior {
        report.find("the commit record does not name the last approval and system entries");
    }
    if reader::load_edge(store, log.number, walk.size())?.root() != walk.root() {
        report.find("the tiles give another root than the entries");
    }
    if walk.size() > 0 && derived.last > (position.epoch, position.posted) {
        report.find("the last entry comes from after the posted journal position");
    }
    for index in derived.without_payload.iter().filter(|index| !derived.erased.contains(index)) {
        report.find(format!("entry {index}: payload is missing, and no erasure says why"));
    }
    let count = |family| -> Result<u64, store::Error> {
        let prefix = log.number.key(&[]);
        let mut count = 0;
        store.scan(family, &prefix, |key, _| {
            let ours = key.starts_with(&prefix);
            count += u64::from(ours);
            ours
        })?;
        Ok(count)
    };
    let tiles: u64 = (1..8).map(|level| walk.size() >> (8 * level)).sum();
    for (family, expected, name) in [
        (Family::Keys, derived.keys, "the index of events"),
        (Family::Approvals, derived.approvals, "the index of approvals"),
        (Family::Tiles, tiles, "the tiles"),
        (Family::Payload, walk.size(), "the payloads"),
        (Family::Sources, derived.sources.len() as u64, "the sources"),
        (Family::Access, derived.access.len() as u64, "the API keys"),
    ] {
        let found = count(family)?;
        if found != expected {
            report.find(format!("{name}: {found} where the entries give {expected}"));
        }
    }
    if position.journal.starts_with("embedded:") {
        let volume = Volume { number: log.number, epoch: position.epoch };
        embedded::check(store, volume, position.posted)?.for_each(|finding| report.find(finding));
    }
    compare_values(store, (log.number, &log.keys), derived, report)
}

fn compare_values(
    store: &Rocks,
    (number, keys): (LogNumber, &Keys),
    derived: &Derived,
    report: &mut Report,
) -> Result<(), store::Error> {
    if derived.signing != *keys {
        report.find("the signing keys are not those of genesis and the key entries");
    }
    for (source, expected) in &derived.sources {
        let kept = store.get(Family::Sources, &number.key(source))?;
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Sequence>(&bytes).ok());
        if kept.as_ref() != Some(expected) {
            report.find("the numbers of a source are not what its entries give");
        }
    }
    for (id, expected) in &derived.access {
        let kept = store.get(Family::Access, &number.key(id.as_bytes()))?;
        let kept = kept.and_then(|bytes| serde_json::from_slice::<AccessKey>(&bytes).ok());
        let owner = store.get(Family::Access, &LogNumber::ALL.key(id.as_bytes()))?;
        if kept.as_ref() != Some(expected) || owner != Some(number.0.to_be_bytes().to_vec()) {
            report.find(format!("API key {id} is not what its entry says"));
        }
    }
    Ok(())
}
