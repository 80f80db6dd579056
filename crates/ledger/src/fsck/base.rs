//! What follows from the entries before a pruning: what a pruned log is derived from, in place of nothing. Each family has
//! a digest in the `prune` entry, so nobody can change the base behind it.
//!
//! In scope: the form of the base, its digests, storing and reading it. Out of scope: deriving it (`derived`), and removing
//! entries (`crate::pruning`).

use super::{
    derived::Derived,
    rows::{count, leads_to},
};
use crate::{
    canonical,
    entry::{Kind, Prior, View},
    log::merkle::{Edge, Hash},
    post::{
        Budgets, Freezes, Histories, Identities, Keys, Log, Policies, Position, Pruned, Reports,
        Retention,
    },
    sequence::Sequence,
    store::{self, Family, LogNumber, Read as _, Write, rocks::Rocks},
    system::{ClaimId, KeyId, alert::Alerts, incident::Incidents, prune::FAMILIES},
    time::Nanos,
    verify::Walk,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The small values that posting and `fsck` carry from entry to entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub size: u64,
    pub root: Hash,
    pub time: Nanos,
    pub prior: Prior,
    /// Journal identity and epoch.
    pub journal: (String, u64),
    /// Epoch and sequence of the last message that gave an entry, and whether it had one of its own.
    pub last: (u64, u64, bool),
    pub clock: Option<u64>,
    pub rules: Option<u64>,
    pub sources: Option<u64>,
    pub signer: Option<ClaimId>,
    pub retention: Retention,
    pub policies: Policies,
    pub freezes: Freezes,
    pub identities: Identities,
    #[serde(default)]
    pub alerts: Alerts,
    #[serde(default)]
    pub incidents: Incidents,
    pub pruned: Option<Pruned>,
    pub topics: BTreeMap<String, u64>,
    pub keys: Keys,
    /// Number of events, and of entries of approvals.
    pub counts: (u64, u64),
    /// Places of rejected messages.
    pub rejected: BTreeSet<(u64, u64)>,
    /// What the log says of its own holes.
    pub erased: BTreeSet<(u64, u64)>,
    pub holes: Vec<(u64, u64, u64)>,
    pub trimmed: BTreeMap<u64, u64>,
}

type Rows = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// What the entries before a size give.
pub(crate) struct Base {
    pub state: State,
    /// Rows by their place in [`FAMILIES`] and their key without the log.
    rows: Rows,
}

/// Place of a family in [`FAMILIES`].
fn place(name: &str) -> u8 {
    let at = FAMILIES.iter().position(|known| *known == name);
    u8::try_from(at.expect("a family")).expect("few families")
}

/// SHA-256 over rows in their order: length and bytes of each key and value.
#[derive(Default)]
struct OfRows(Sha256);

impl OfRows {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            self.0.update((part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }

    fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

impl Base {
    /// What was derived from all entries before the walk's size. `subjects`: the last sequence of each signed subject.
    pub fn of(
        derived: &mut Derived,
        walk: &Walk,
        number: LogNumber,
        subjects: &BTreeMap<Vec<u8>, u64>,
    ) -> Result<Self, store::Error> {
        let (epoch, seq) = derived.last;
        let state = State {
            size: walk.size(),
            root: walk.root(),
            time: derived.time,
            prior: walk.prior(),
            journal: derived.journal.clone(),
            last: (epoch, seq, walk.had_own()),
            clock: derived.clock,
            rules: derived.rules,
            sources: derived.declared,
            signer: derived.signer.clone(),
            retention: derived.retention.clone(),
            policies: derived.policies.clone(),
            freezes: derived.freezes.clone(),
            identities: derived.identities.clone(),
            alerts: derived.alerts.clone(),
            incidents: derived.incidents.clone(),
            pruned: derived.pruned,
            topics: derived.topics.clone(),
            keys: derived.signing.clone(),
            counts: (derived.keys, derived.approvals),
            rejected: derived.rejected.clone(),
            erased: derived.gone.erased.clone(),
            holes: derived.gone.holes.clone(),
            trimmed: derived.gone.below().clone(),
        };
        let mut rows = Rows::new();
        let mut put = |name: &str, key: &[u8], value: Vec<u8>| {
            rows.insert((place(name), key.to_vec()), value);
        };
        put("state", b"", canonical::of(&state));
        for (id, key) in &derived.access {
            put("access", id.as_str().as_bytes(), store::to_json(key));
        }
        for (source, sequence) in &derived.sources {
            put("sources", source, store::to_json(sequence));
        }
        for (source, reported) in derived.reports.all() {
            put("reports", source, store::to_json(reported));
        }
        for (subject, seq) in subjects {
            put("subjects", subject, seq.to_be_bytes().to_vec());
        }
        for (key, value) in derived.counts.rows(number)?.rows(Family::Counts) {
            put("counts", &key[4..], value.to_vec());
        }
        for (key, value) in derived.budgets.iter().flat_map(|b| b.rows().rows(Family::Budgets)) {
            put("budgets", &key[4..], value.to_vec());
        }
        for (key, value) in derived.histories.iter().flat_map(|h| h.rows().rows(Family::History)) {
            put("history", &key[4..], value.to_vec());
        }
        Ok(Self { state, rows })
    }

    fn of_family(&self, name: &str) -> impl Iterator<Item = (&[u8], &[u8])> {
        let at = place(name);
        let all = self.rows.range((at, Vec::new())..(at + 1, Vec::new()));
        all.map(|((_, key), value)| (key.as_slice(), value.as_slice()))
    }

    /// The digest of each family. Events and approvals are read where they are: their rows never change.
    pub fn digests(
        &self,
        store: &Rocks,
        number: LogNumber,
    ) -> Result<BTreeMap<String, Hash>, store::Error> {
        let mut digests = BTreeMap::new();
        for name in FAMILIES {
            let digest = match name {
                "approvals" => standing(store, number, Family::Approvals, self.state.size)?.0,
                "events" => standing(store, number, Family::Keys, self.state.size)?.0,
                _ => {
                    let mut of = OfRows::default();
                    self.of_family(name).for_each(|(key, value)| of.add(key, value));
                    of.finish()
                }
            };
            digests.insert(name.to_owned(), digest);
        }
        Ok(digests)
    }

    /// The last sequence of each signed subject.
    pub fn subjects(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let number = |value: &[u8]| value.try_into().map_or(0, u64::from_be_bytes);
        self.of_family("subjects").map(move |(key, value)| (key, number(value)))
    }

    /// The numbers of each source.
    pub fn sources(&self) -> Result<BTreeMap<[u8; 32], Sequence>, store::Error> {
        let read = |(key, value): (&[u8], &[u8])| {
            let key = key.try_into().map_err(|_| corrupt())?;
            Ok((key, store::read_json(value, "meta")?))
        };
        self.of_family("sources").map(read).collect()
    }

    fn writes(&self, number: LogNumber, family: Family, name: &str) -> Vec<Write> {
        let write =
            |(key, value): (&[u8], &[u8])| ((family, number.key(key)), Some(value.to_vec()));
        self.of_family(name).map(write).collect()
    }

    /// What is booked on budgets.
    pub fn budgets(&self, number: LogNumber) -> Budgets {
        let mut budgets = Budgets::new(number);
        budgets.apply(&self.writes(number, Family::Budgets, "budgets"));
        budgets
    }

    /// The rows of earlier decisions.
    pub fn histories(&self, number: LogNumber) -> Histories {
        let mut histories = Histories::new(number);
        histories.apply(&self.writes(number, Family::History, "history"));
        histories
    }

    /// What was derived so far, to go on from there.
    pub fn derived(&self, number: LogNumber) -> Result<Derived, store::Error> {
        let State { last, journal, .. } = &self.state;
        let state = self.state.clone();
        let mut reports = Reports::default();
        for (key, value) in self.of_family("reports") {
            let key = key.try_into().map_err(|_| corrupt())?;
            reports.set(key, store::read_json(value, "meta")?);
        }
        let mut access = BTreeMap::new();
        for (key, value) in self.of_family("access") {
            let id = std::str::from_utf8(key).ok().and_then(KeyId::new).ok_or_else(corrupt)?;
            access.insert(id, store::read_json(value, "meta")?);
        }
        let mut derived = Derived {
            read: state.size,
            signing: state.keys,
            sources: self.sources()?,
            access,
            rules: state.rules,
            declared: state.sources,
            retention: state.retention,
            reports,
            budgets: Some(self.budgets(number)),
            histories: Some(self.histories(number)),
            signer: state.signer,
            clock: state.clock,
            policies: state.policies,
            freezes: state.freezes,
            identities: state.identities,
            alerts: state.alerts,
            incidents: state.incidents,
            pruned: state.pruned,
            journal: journal.clone(),
            last: (last.0, last.1),
            time: state.time,
            topics: state.topics,
            rejected: state.rejected,
            keys: state.counts.0,
            approvals: state.counts.1,
            ..Derived::default()
        };
        derived.gone.restore(state.erased, state.holes, state.trimmed);
        derived.counts.begin(self.writes(number, Family::Counts, "counts"));
        Ok(derived)
    }

    /// The commit record from which messages are posted again.
    pub fn position(&self) -> Position {
        let state = self.state.clone();
        Position {
            size: state.size,
            root: state.root,
            epoch: state.journal.1,
            posted: state.last.1,
            time: state.time,
            clock: state.clock,
            signer: state.signer,
            prior: state.prior,
            rules: state.rules,
            sources: state.sources,
            retention: state.retention,
            policies: state.policies,
            freezes: state.freezes,
            identities: state.identities,
            alerts: state.alerts,
            incidents: state.incidents,
            pruned: state.pruned,
            topics: state.topics,
            ..Position::begin(state.journal.0)
        }
    }

    /// A walk that goes on behind the base. `kept`: the entries before it that are here, each proven.
    pub fn walk(&self, edge: Edge, kept: &[(u64, Hash)]) -> Walk {
        let State { time, prior, last, .. } = &self.state;
        Walk::resume(edge, (*time, *prior, *last), kept)
    }

    /// Reads the base of a pruned log, and of which pruning it is.
    pub fn load(store: &Rocks, number: LogNumber) -> Result<Option<(Pruned, Self)>, store::Error> {
        let Some(of) = store.get(Family::Meta, &number.meta("pruned"))? else { return Ok(None) };
        let of: Pruned = store::read_json(&of, "meta")?;
        let prefix = number.meta("base");
        let mut rows = Rows::new();
        store.scan(Family::Meta, &prefix, |key, value| {
            let row = key.strip_prefix(&prefix[..]).and_then(<[u8]>::split_first);
            let ours = row.is_some();
            rows.extend(row.map(|(family, key)| ((*family, key.to_vec()), value.to_vec())));
            ours
        })?;
        let state = rows.get(&(place("state"), Vec::new())).ok_or_else(corrupt)?;
        let state = store::read_json(state, "meta")?;
        Ok(Some((of, Self { state, rows })))
    }

    /// The writes that put this base in the place of an earlier one.
    pub fn replace(
        &self,
        store: &Rocks,
        number: LogNumber,
        of: Pruned,
    ) -> Result<Vec<Write>, store::Error> {
        let prefix = number.meta("base");
        let mut writes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        store.scan(Family::Meta, &prefix, |key, _| {
            let ours = key.starts_with(&prefix);
            if ours {
                writes.insert(key.to_vec(), None);
            }
            ours
        })?;
        for ((family, key), value) in &self.rows {
            writes.insert([&prefix[..], &[*family], key].concat(), Some(value.clone()));
        }
        writes.insert(number.meta("pruned"), Some(store::to_json(&of)));
        Ok(writes.into_iter().map(|(key, value)| ((Family::Meta, key), value)).collect())
    }
}

fn corrupt() -> store::Error {
    store::Error::Corrupt { family: "meta", what: "what the pruned entries gave" }
}

/// Digest and number of the rows of an index that lead to entries before `size`.
pub(crate) fn standing(
    store: &Rocks,
    number: LogNumber,
    family: Family,
    size: u64,
) -> Result<(Hash, u64), store::Error> {
    let (mut of, mut found) = (OfRows::default(), 0);
    count(store, number, family, |key, value| {
        if leads_to(family, key, value) < size {
            of.add(key, value);
            found += 1;
        }
    })?;
    Ok((of.finish(), found))
}

/// The `prune` entry of a base says these digests of it.
pub(crate) fn is_as_said(
    entry: Option<&View<'_>>,
    state: &State,
    digests: &BTreeMap<String, Hash>,
) -> Result<(), String> {
    let entry = entry.filter(|view| view.kind == Kind::Prune);
    let said = entry.and_then(View::event_as::<crate::system::prune::Prune>);
    let said = said.ok_or("no prune entry says what was pruned")?;
    if (said.size, said.root) != (state.size, state.root) {
        return Err("what is stored of the pruned entries is of another size or root than the prune entry says".into());
    }
    let differs: Vec<&str> = FAMILIES
        .into_iter()
        .filter(|name| said.families.get(*name) != digests.get(*name))
        .collect();
    if differs.is_empty() {
        return Ok(());
    }
    Err(format!(
        "what the pruned entries gave is not what the prune entry says: {}",
        differs.join(", ")
    ))
}

impl Log {
    /// A log to which messages are posted again behind a base.
    pub(super) fn behind(&mut self, base: &Base, edge: Edge) {
        self.position = base.position();
        self.keys = base.state.keys.clone();
        self.edge = edge;
    }
}
