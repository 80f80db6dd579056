//! Part 4, changes: policies, rules, keys and access, with who and why; and who could do what at the end of the period.

use super::{
    Error, Out,
    approvals::Approvals,
    log::Log,
    table::Table,
    values::{add, text, who},
};
use decider::rule::Rule;
use ledger::{
    canonical,
    entry::{Kind, View},
    json::Value,
    post::Retention,
    system::{Reason, policy::Activation},
    time::Nanos,
    verify::period::number,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An API key in force.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKey {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// The person it belongs to.
    pub person: String,
    /// The producer it publishes as.
    pub producer: String,
    /// Since when.
    pub since: String,
    /// Leaf index of the entry that issued it.
    pub index: u64,
}

/// A bundle of policies that took effect.
#[derive(Clone, Debug, Serialize)]
pub struct Version {
    /// Leaf index of the activation.
    pub index: u64,
    /// When it took effect.
    pub at: String,
    /// Its number.
    pub number: u64,
    /// Leaf index of the bundle's entry.
    pub bundle: u64,
    /// Its digest.
    pub digest: String,
    /// The approval by which it took effect.
    pub approval: String,
    /// True if it was in force before the period began.
    pub before: bool,
}

/// What people changed, and what the server did by itself.
pub struct Changes {
    table: Table,
    reads: Table,
    /// Keys in force, by id.
    pub keys: BTreeMap<String, ApiKey>,
    /// Bundles that took effect, the one in force at the beginning first.
    pub versions: Vec<Version>,
    /// Changes of the period by what they are.
    pub counts: BTreeMap<String, u64>,
    /// Leaf indexes of erasures in the period.
    pub erasures: Vec<u64>,
    /// Leaf index of the rules in force, and names of their rules that ask nobody.
    pub rules: Option<(u64, Vec<String>)>,
    /// Retention and legal holds in force.
    pub retention: Retention,
    /// Entries whose payload expired in the period.
    pub expired: u64,
    /// Longest time without an entry, in seconds, and when it began.
    pub pause: (u64, String),
    last: Option<Nanos>,
    /// Digest of the rules in force; empty without any.
    rules_digest: String,
}

impl Default for Changes {
    fn default() -> Self {
        const CHANGES: &[&str] = &[
            "index",
            "journal_time",
            "what",
            "detail",
            "by",
            "person",
            "approval",
            "approved_by",
            "reason_entry",
            "reason",
        ];
        const READS: &[&str] =
            &["index", "journal_time", "by", "person", "from_entry", "to_entry", "seconds"];
        Self {
            table: Table::new("policies/changes.csv", CHANGES),
            reads: Table::new("privacy/reads.csv", READS),
            keys: BTreeMap::new(),
            versions: Vec::new(),
            counts: BTreeMap::new(),
            erasures: Vec::new(),
            rules: None,
            retention: Retention::default(),
            expired: 0,
            pause: (0, String::new()),
            last: None,
            rules_digest: String::new(),
        }
    }
}

impl Changes {
    /// Notes what was in force before the period.
    pub fn before(&mut self, index: u64, view: &View<'_>) {
        self.note(index, view);
        if let Some(version) = activated(index, view) {
            self.versions = vec![Version { before: true, ..version }];
        }
    }

    fn note(&mut self, index: u64, view: &View<'_>) {
        let op = text(view, &["event", "op"]);
        match view.kind {
            Kind::Access if op == "add" => {
                let roles = view.at(&["event", "roles"]).and_then(Value::as_array).unwrap_or(&[]);
                let roles = roles.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                let of = |name| text(view, &["event", name]).to_owned();
                let since = view.origin.time.to_string();
                let (name, person, producer) = (of("name"), of("person"), of("producer"));
                let key = ApiKey { name, roles, person, producer, since, index };
                self.keys.insert(of("key_id"), key);
            }
            Kind::Access if op == "remove" => {
                self.keys.remove(text(view, &["event", "key_id"]));
            }
            Kind::Rules => {
                let rules = view.at(&["event", "rules"]).and_then(Value::as_array).unwrap_or(&[]);
                let read = |rule| serde_json::from_slice::<Rule>(&canonical::to_vec(rule)).ok();
                let asks_nobody = rules.iter().filter_map(read).filter(|rule| rule.unreviewed);
                self.rules = Some((index, asks_nobody.map(|rule| rule.name).collect()));
                text(view, &["event", "rules_digest"]).clone_into(&mut self.rules_digest);
            }
            Kind::Retention => {
                self.retention.note(index, view);
                if self.retention.deleted.is_some() {
                    let reads = |role: &String| matches!(role.as_str(), "auditor" | "exporter");
                    self.keys.retain(|_, key| key.roles.iter().all(reads));
                }
            }
            Kind::Clock => self.retention.time_anew(),
            _ => {}
        }
    }

    /// Takes the next entry of the period. `approvals`: as they stand before it.
    pub fn take(
        &mut self,
        (log, approvals): (&Log<'_>, &Approvals),
        out: &mut dyn Out,
        index: u64,
        view: &View<'_>,
    ) -> Result<(), Error> {
        let now = view.origin.time;
        let waited = self.last.map_or(0, |last| now.0.saturating_sub(last.0) / 1_000_000_000);
        if waited > self.pause.0 {
            self.pause = (waited, self.last.unwrap_or_default().to_string());
        }
        self.last = Some(now);
        if !view.kind.is_system() {
            return Ok(());
        }
        let before = self.rules_digest.clone();
        let expired = self.retention.expired;
        self.note(index, view);
        self.expired += self.retention.expired - expired;
        let activation = activated(index, view);
        if view.kind == Kind::Erasure {
            self.erasures.push(index);
        }
        match (view.kind, text(view, &["event", "op"])) {
            (Kind::Access, "read") => return self.read(out, index, view),
            // A person who comes changes nothing.
            (Kind::Access, "signed_in") => return Ok(()),
            _ => {}
        }
        let (what, mut detail) = in_words(view);
        if view.kind == Kind::Rules {
            detail.push_str(rules_or_people(&before, &self.rules_digest));
        }
        add(&mut self.counts, &what);
        // What is put in force follows its approval. Who proposed it is in the entry that it names.
        let (by, person) = match put_in_force(view) {
            Some(proposed) => log.with(proposed, |_, proposed| Ok(who(proposed)))?,
            None => who(view),
        };
        let approval = match text(view, &["event", "approval_id"]) {
            "" => text(view, &["event", "by", "approval"]).to_owned(),
            approval => approval.to_owned(),
        };
        let approved_by = approvals.approved_by(&approval);
        self.versions.extend(activation);
        let reason = view.at(&["event", "reason"]).map(canonical::to_vec);
        let reason = reason.and_then(|bytes| serde_json::from_slice::<Reason>(&bytes).ok());
        let words = match &reason {
            Some(reason) => words_of(log, reason.index)?,
            None => String::new(),
        };
        let cells = [
            index.to_string(),
            now.to_string(),
            what,
            detail,
            by,
            person,
            approval,
            approved_by,
            reason.map(|reason| reason.index.to_string()).unwrap_or_default(),
            words,
        ];
        self.table.row(out, &cells.each_ref().map(String::as_str))
    }

    fn read(&mut self, out: &mut dyn Out, index: u64, view: &View<'_>) -> Result<(), Error> {
        let bound =
            |name| number(view, &["event", name]).map(|n| n.to_string()).unwrap_or_default();
        let (by, person) = who(view);
        add(&mut self.counts, "payload read");
        let (index, at) = (index.to_string(), view.origin.time.to_string());
        let cells = [&index, &at, &by, &person, &bound("from"), &bound("to"), &bound("seconds")];
        self.reads.row(out, &cells.map(String::as_str))
    }

    /// People who hold keys of more than one of these roles: they could do and approve the same thing.
    pub fn conflicts(&self) -> Vec<(String, Vec<String>)> {
        const APART: [&str; 3] = ["author", "reviewer", "admin"];
        let mut roles: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for key in self.keys.values().filter(|key| !key.person.is_empty()) {
            let held = key.roles.iter().map(String::as_str).filter(|role| APART.contains(role));
            roles.entry(&key.person).or_default().extend(held);
        }
        let several = roles.into_iter().filter(|(_, held)| held.len() > 1);
        several
            .map(|(person, held)| {
                (person.to_owned(), held.into_iter().map(str::to_owned).collect())
            })
            .collect()
    }

    /// Writes the tables.
    pub fn finish(&mut self, out: &mut dyn Out) -> Result<(), Error> {
        const KEYS: &[&str] =
            &["key", "name", "roles", "person", "producer", "since", "entry", "conflict_of_duties"];
        let empty = Self::default();
        std::mem::replace(&mut self.table, empty.table).finish(out)?;
        std::mem::replace(&mut self.reads, empty.reads).finish(out)?;
        let conflicts: BTreeMap<_, _> = self.conflicts().into_iter().collect();
        let mut table = Table::new("policies/access-review.csv", KEYS);
        for (id, key) in &self.keys {
            let conflict = conflicts.get(&key.person).map(|roles| roles.join(" and "));
            let (roles, index) = (key.roles.join(" "), key.index.to_string());
            let conflict = conflict.unwrap_or_default();
            let cells =
                [id, &key.name, &roles, &key.person, &key.producer, &key.since, &index, &conflict];
            table.row(out, &cells.map(String::as_str))?;
        }
        table.finish(out)
    }
}

fn activated(index: u64, view: &View<'_>) -> Option<Version> {
    let activation: Activation = view.event_as().filter(|_| view.kind == Kind::Policy)?;
    Some(Version {
        index,
        at: view.origin.time.to_string(),
        number: activation.version,
        bundle: activation.bundle,
        digest: activation.digest,
        approval: activation.approval_id.to_string(),
        before: false,
    })
}

/// The entry that proposed what this one puts in force: a bundle, or a version of a list.
fn put_in_force(view: &View<'_>) -> Option<u64> {
    match view.text(&["event", "op"]).filter(|_| view.kind == Kind::Policy)? {
        "activate" => number(view, &["event", "bundle"]),
        "change" => number(view, &["event", "list"]),
        _ => None,
    }
}

/// What was applied: an entry has rules, people and channels together, and the digest of the people is salted anew.
fn rules_or_people(before: &str, now: &str) -> &'static str {
    match before {
        "" => ": the first rules, people and channels",
        same if same == now => ": the rules stay; people or channels were applied",
        _ => ": the rules changed; people and channels were applied with them",
    }
}

/// What a system entry is about, and about which thing.
fn in_words(view: &View<'_>) -> (String, String) {
    let of = |name| text(view, &["event", name]);
    let count = |name| number(view, &["event", name]).map(|n| n.to_string()).unwrap_or_default();
    let (what, detail) = match (view.kind, of("op")) {
        (Kind::Access, "add") => ("key issued", format!("{} {}", of("key_id"), of("name"))),
        (Kind::Access, _) => ("key removed", of("key_id").to_owned()),
        (Kind::Policy, "part") => ("policy file", of("sha256").to_owned()),
        (Kind::Policy, "bundle") => {
            ("policies proposed", format!("version {} {}", count("version"), of("digest")))
        }
        (Kind::Policy, "list") => {
            ("list proposed", format!("{} version {}", of("name"), count("version")))
        }
        (Kind::Policy, "change") => {
            ("list in force", format!("{} version {}", of("name"), count("version")))
        }
        (Kind::Policy, _) => {
            ("policies in force", format!("version {} {}", count("version"), of("digest")))
        }
        (Kind::Rules, _) => ("rules applied", of("rules_digest").to_owned()),
        (Kind::Key, _) => ("signing key rotated", format!("{} {}", of("use"), of("vkey"))),
        (Kind::Erasure, _) => ("payload erased", format!("entry {}", count("index"))),
        (Kind::Sources, _) => ("sources declared", String::new()),
        (Kind::Members, _) => ("replicas changed", format!("version {}", count("version"))),
        (Kind::Retention, "set") => {
            let days = |name| match count(name) {
                days if days.is_empty() => "not set".to_owned(),
                days => format!("{days} days"),
            };
            let (payload, journal) = (days("payload_days"), days("journal_days"));
            let floor = days("floor_days");
            ("retention set", format!("payload {payload}, floor {floor}, journal {journal}"))
        }
        (Kind::Retention, "hold") => ("legal hold begun", of("hold").to_owned()),
        (Kind::Retention, "release") => ("legal hold released", of("hold").to_owned()),
        (Kind::Retention, "delete") => ("tenant deleted", of("why").to_owned()),
        (Kind::Retention, _) => {
            ("payload expired", format!("entries {} to below {}", count("from"), count("below")))
        }
        (Kind::Freeze, "lift") => ("freeze lifted", format!("freeze {}", count("freeze"))),
        (Kind::Freeze, _) => {
            let at = of("producer");
            let at = if at.is_empty() { String::new() } else { format!(" at {at}") };
            ("frozen", format!("{} {}{at}", of("scope"), of("id")))
        }
        (Kind::Agent, "revoke") => ("agent token revoked", of("agent").to_owned()),
        (Kind::Agent, _) => {
            let chain = view.at(&["event", "chain"]).and_then(Value::as_array).unwrap_or_default();
            let agent = chain.last().and_then(Value::as_str).unwrap_or_default();
            ("agent token issued", agent.to_owned())
        }
        (Kind::Clock, _) => ("clock reset", of("at").to_owned()),
        (Kind::Journal, _) => ("journal begun again", format!("epoch {}", count("epoch"))),
        (Kind::JournalGap, _) => {
            ("journal messages gone", format!("{} to {}", count("from"), count("to")))
        }
        (Kind::Trim, _) => ("journal trimmed", format!("below {}", count("below"))),
        (Kind::Signer, _) => ("server began to sign", of("id").to_owned()),
        (kind, _) => (kind.as_str(), String::new()),
    };
    (what.to_owned(), detail)
}

/// The words of a reason, if its payload may be read and was not erased.
pub fn words_of(log: &Log<'_>, index: u64) -> Result<String, Error> {
    let entry = log.entry(index)?;
    let fields = match View::parse(&entry) {
        Some(view) => log.disclosed(index, &view, true)?.unwrap_or_default(),
        None => return Ok(String::new()),
    };
    let words = fields.get("reason").and_then(|bytes| serde_json::from_slice(bytes).ok());
    Ok(words.unwrap_or_default())
}
