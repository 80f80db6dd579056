//! The scrub: a running server reads everything that it stores again, in small steps, and compares it with the
//! root in memory (P4).
//!
//! In scope: entries and tiles against the root, payload against its leaf, and each index both ways. Every
//! step reads a few hundred keys one by one, or one short scan, so no snapshot is held while others write. Out
//! of scope: when and how often (`api::app`), and what needs the journal (`fsck`).

use crate::{
    entry::{Kind, View},
    fsck::{Report, base::Base, derived::Derived, families},
    ident::Ident,
    ledger::Ledger,
    log::{
        merkle::{self, Hash, Tiles as _, leaf_hash},
        tile::Tile,
    },
    post::{Keys, Log, event_key},
    reader::{Published, Reader},
    store::{self, Family, Read as _},
    tenant::Tenant,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Leaves of one step.
const LEAVES: u64 = 256;
/// Index rows in one step.
const ROWS: usize = 256;
/// Most findings that are kept for a log.
const FINDINGS_MAX: usize = 20;
/// Number of times a difference in the small families is checked again: they change with commits that are not
/// published yet. Each time, all that was posted at the time before is published, however long a majority of replicas is away.
const LOOKS: u32 = 8;

/// Status of the scrub of one log.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Status {
    /// Number of whole passes since the start.
    pub passes: u64,
    /// Time at which the last whole pass ended.
    #[serde(skip)]
    pub since: Option<Instant>,
    /// Leaves read in this pass.
    pub read: u64,
    /// Differences found.
    pub findings: Vec<String>,
}

/// The scrub of all logs.
pub struct Scrub {
    started: Instant,
    passes: Mutex<BTreeMap<Ident, Pass>>,
    told: Mutex<BTreeMap<Ident, Status>>,
}

/// One pass over one log.
struct Pass {
    begun: Instant,
    stage: Stage,
    derived: Derived,
    /// True if something could not be read, so that the pass is not whole.
    failed: bool,
    /// True once the indexes were checked.
    indexed: bool,
    looks: u32,
    /// The small families are compared once so many entries are published.
    after: u64,
}

enum Stage {
    /// Read leaves, beginning with this one.
    Leaves(u64),
    /// Read rows of this index, beginning with this key.
    Rows(Family, Vec<u8>),
    Small,
    /// Wait until the next pass is due.
    Rest,
}

/// Findings of one step.
#[derive(Default)]
struct Found {
    /// In families that decide: the log must halt.
    decides: Report,
    /// Elsewhere: health turns red.
    other: Report,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { started: Instant::now(), passes: Mutex::default(), told: Mutex::default() }
    }
}

impl Scrub {
    /// The status of a log.
    pub fn status(&self, tenant: &Ident) -> Status {
        self.told
            .lock()
            .expect("no holder of the lock panics")
            .get(tenant)
            .cloned()
            .unwrap_or_default()
    }

    /// Time since the last whole pass over a log. Without one, time since the start.
    pub fn age(&self, tenant: &Ident) -> Duration {
        self.status(tenant).since.unwrap_or(self.started).elapsed()
    }

    /// Does one step for a log: at most a few hundred reads. Returns the number of keys that were checked. 0
    /// if nothing is to be done until `rest` has passed since the last pass began.
    ///
    /// A finding in a family that decides halts the log.
    pub fn step(&self, ledger: &Ledger, tenant: &Tenant, rest: Duration) -> u64 {
        if tenant.halted().is_some() || tenant.must_reach().is_some() || !tenant.shows() {
            return 0;
        }
        let mut pass =
            self.passes.lock().expect("no holder of the lock panics").remove(&tenant.name);
        if pass.as_ref().is_none_or(|p| matches!(p.stage, Stage::Rest) && p.begun.elapsed() >= rest)
        {
            pass = Pass::begin(ledger, tenant).ok();
        }
        let Some(mut pass) = pass else { return 0 };
        let mut found = Found::default();
        let done = pass.step(ledger, tenant, &mut found).unwrap_or_else(|error| {
            // Missing data halts the log. What the disk fails to read is tried again in the next pass.
            match error {
                store::Error::Corrupt { .. } => found.decides.find(error.to_string()),
                _ => found.other.find(error.to_string()),
            }
            (pass.stage, pass.failed) = (Stage::Rest, true);
            0
        });
        self.tell(ledger, tenant, &pass, found);
        self.passes.lock().expect("no holder of the lock panics").insert(tenant.name.clone(), pass);
        done
    }

    fn tell(&self, ledger: &Ledger, tenant: &Tenant, pass: &Pass, found: Found) {
        let mut told = self.told.lock().expect("no holder of the lock panics");
        let status = told.entry(tenant.name.clone()).or_default();
        match pass.stage {
            Stage::Leaves(next) => status.read = next,
            Stage::Rest if pass.failed => status.read = 0,
            Stage::Rest if status.read > 0 => {
                (status.passes, status.since, status.read) =
                    (status.passes + 1, Some(Instant::now()), 0);
            }
            _ => {}
        }
        let first = found.decides.findings.first().cloned();
        for finding in found.decides.findings.into_iter().chain(found.other.findings) {
            tracing::error!(tenant = %tenant.name, finding, "the scrub found damage");
            if status.findings.len() < FINDINGS_MAX && !status.findings.contains(&finding) {
                status.findings.push(finding);
            }
        }
        if let Some(first) = first {
            let reason = format!(
                "what is stored was changed behind the server's back: {first}. Stop it, run `countersign fsck`, then \
                 restore a backup"
            );
            ledger.halt(tenant, reason);
        }
    }
}

impl Pass {
    /// Begins at the first entry, or behind those that were pruned.
    fn begin(ledger: &Ledger, tenant: &Tenant) -> Result<Self, store::Error> {
        let base = Base::load(ledger.store(), tenant.number)?;
        let derived = base.map(|(_, base)| base.derived(tenant.number)).transpose()?;
        let derived = derived.unwrap_or_default();
        Ok(Self {
            begun: Instant::now(),
            stage: Stage::Leaves(derived.read),
            derived,
            failed: false,
            indexed: false,
            looks: 0,
            after: 0,
        })
    }

    fn step(
        &mut self,
        ledger: &Ledger,
        tenant: &Tenant,
        found: &mut Found,
    ) -> Result<u64, store::Error> {
        let at = tenant.published();
        match &self.stage {
            Stage::Rest => Ok(0),
            Stage::Leaves(next) if *next < at.size => {
                let next = *next;
                self.leaves(ledger, tenant, &at, next, found)
            }
            Stage::Leaves(_) => {
                self.stage =
                    if self.indexed { Stage::Small } else { Stage::Rows(Family::Keys, Vec::new()) };
                Ok(1)
            }
            Stage::Rows(family, from) => {
                let (family, from) = (*family, from.clone());
                self.rows(ledger, tenant, family, &from, found)
            }
            Stage::Small => self.small(ledger, tenant, &at, found),
        }
    }

    /// Checks the leaves of one tile: their hashes must be the tile's, and the tile must be part of the tree
    /// whose root is in memory.
    fn leaves(
        &mut self,
        ledger: &Ledger,
        tenant: &Tenant,
        at: &Arc<Published>,
        next: u64,
        found: &mut Found,
    ) -> Result<u64, store::Error> {
        let reader = ledger.reader(tenant, at);
        let first = next / LEAVES * LEAVES;
        let width = Tile::width_at(Some(0), first / LEAVES, at.size) as u64;
        let log = self.log(tenant);
        let mut hashes = Vec::new();
        for index in first..first + width {
            let entry = ledger.store().get(Family::Entries, &log.number.numbered(index))?;
            let Some(entry) = entry else {
                if index < at.kept_from() {
                    // It was pruned meanwhile.
                    *self = Self::begin(ledger, tenant)?;
                    return Ok(width);
                }
                found.decides.find(format!("entry {index} is missing"));
                self.on(first + width);
                return Ok(width);
            };
            hashes.push(leaf_hash(&entry));
            if index < next {
                continue;
            }
            let Some(view) = View::parse(&entry) else {
                found.decides.find(format!("entry {index} is not an entry"));
                self.on(first + width);
                return Ok(width);
            };
            self.derived.entry((ledger.store(), &log), index, &view, &mut found.decides)?;
            self.derived.payload((ledger.store(), &log), index, &view, &mut found.other);
        }
        if !is_in_tree(&reader, first, &hashes)? {
            found.decides.find(format!(
                "entries {first} to {} are not those whose root was signed",
                first + width - 1
            ));
        }
        self.on(first + width);
        Ok(width)
    }

    fn on(&mut self, next: u64) {
        self.stage = Stage::Leaves(next);
    }

    /// The parts of a log that its index keys need.
    fn log(&self, tenant: &Tenant) -> Log {
        let (journal, origin) = (self.derived.journal.0.clone(), tenant.origin.clone());
        Log::new(tenant.name.clone(), tenant.number, origin, journal)
    }

    /// Checks some rows of an index: each must name an entry that it is about.
    fn rows(
        &mut self,
        ledger: &Ledger,
        tenant: &Tenant,
        family: Family,
        from: &[u8],
        found: &mut Found,
    ) -> Result<u64, store::Error> {
        let prefix = tenant.number.key(&[]);
        let from = if from.is_empty() { prefix.clone() } else { from.to_vec() };
        let (mut rows, mut next) = (Vec::new(), None);
        ledger.store().scan(family, &from, |key, value| {
            if !key.starts_with(&prefix) {
                return false;
            }
            if rows.len() == ROWS {
                next = Some(key.to_vec());
                return false;
            }
            rows.push((key.to_vec(), value.to_vec()));
            true
        })?;
        let done = rows.len() as u64;
        for (key, value) in rows {
            if !Self::leads_to_its_entry(ledger, tenant, family, (&key[4..], &value))? {
                let name = if family == Family::Keys { "events" } else { "approvals" };
                found.decides.find(format!("a row of the index of {name} leads to another entry"));
            }
        }
        self.stage = match (next, family) {
            (Some(next), family) => Stage::Rows(family, next),
            (None, Family::Keys) => Stage::Rows(Family::Approvals, Vec::new()),
            (None, _) => Stage::Small,
        };
        self.indexed = matches!(self.stage, Stage::Small);
        Ok(done.max(1))
    }

    fn leads_to_its_entry(
        ledger: &Ledger,
        tenant: &Tenant,
        family: Family,
        (rest, value): (&[u8], &[u8]),
    ) -> Result<bool, store::Error> {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
        let index = if family == Family::Keys {
            number(value)
        } else {
            number(&rest[rest.len().saturating_sub(8)..])
        };
        let Some(index) = index else { return Ok(false) };
        let entry = ledger.store().get(Family::Entries, &tenant.number.numbered(index))?;
        if entry.is_none() && index < tenant.published().kept_from() {
            return Ok(true);
        }
        // A row and its entry were written in one commit, so the entry must exist.
        let Some(view) = entry.as_deref().and_then(View::parse) else { return Ok(false) };
        let text = |path: &[&str]| view.text(path).unwrap_or("");
        Ok(match (family, view.kind) {
            (Family::Keys, Kind::Decision | Kind::Event) => event_key(view.scope()) == rest,
            (Family::Approvals, Kind::Approval | Kind::Evidence | Kind::NotOpened) => {
                rest.strip_suffix(&index.to_be_bytes()).and_then(|id| id.strip_suffix(&[0]))
                    == Some(text(&["event", "approval_id"]).as_bytes())
            }
            _ => false,
        })
    }

    /// Compares the small families, which change with every commit, with what all entries gave.
    fn small(
        &mut self,
        ledger: &Ledger,
        tenant: &Tenant,
        at: &Published,
        found: &mut Found,
    ) -> Result<u64, store::Error> {
        if at.size < self.after {
            return Ok(0);
        }
        let log = self.log(tenant);
        let (mut decides, mut other) = (Report::default(), Report::default());
        families::values(ledger.store(), (log.number, &at.keys), &self.derived, &mut decides)?;
        let kept = ledger.store().get(Family::Meta, &log.number.meta("keys"))?;
        let kept = kept.map(|bytes| store::read_json::<Keys>(&bytes, "meta")).transpose()?;
        if kept.as_ref() != Some(&at.keys) {
            decides.find("the stored signing keys are not those in force");
        }
        families::payloads(ledger.store(), &log, &self.derived, &mut other)?;
        if decides.damage + other.damage > 0 && self.looks < LOOKS {
            // A commit may have come meanwhile: first read what it brought.
            (self.looks, self.after) = (self.looks + 1, tenant.position().size);
            let next = self.derived.read;
            let more = next < tenant.published().size;
            self.stage = if more { Stage::Leaves(next) } else { Stage::Small };
            return Ok(u64::from(more));
        }
        (found.decides, found.other) = (decides, other);
        (self.stage, self.looks, self.after) = (Stage::Rest, 0, 0);
        self.derived = Derived::default();
        Ok(1)
    }
}

/// True if these are all leaf hashes of a tile of the tree.
fn is_in_tree(reader: &Reader<'_>, first: u64, hashes: &[Hash]) -> Result<bool, store::Error> {
    let size = reader.at.size;
    if reader.hashes(0, first, hashes.len())? != hashes {
        return Ok(false);
    }
    // The path goes through the whole tile, so it commits to every hash of it.
    let path = merkle::inclusion(reader, first, size)?;
    Ok(hashes
        .first()
        .is_some_and(|leaf| merkle::verify_inclusion(*leaf, first, size, &path, &reader.at.root)))
}
