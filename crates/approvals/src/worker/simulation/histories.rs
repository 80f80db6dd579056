//! Deciders that count earlier decisions, driven by chance: appends are lost, late and doubled, servers restart, and clocks
//! jump.
//!
//! Judged: no session has two allows, and no agent has a third one after two failed calls, by a count of its own; every
//! decision is what the entries before it give; the first question of a session is allowed; and calls that count nothing
//! are never void for it (P14, P15).

use super::{
    cluster::{Cluster, SERVERS},
    deciders, ident,
};
use decider::policy::{CONTENDED, Inquiry};
use ledger::{
    canonical,
    entry::{Kind, View},
    json,
    keyring::Keyring,
    post::Histories,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const AGENTS: &str =
    "language: 1\nagents:\n  - {id: bot, owners: [p-ann]}\n  - {id: other, owners: [p-ann]}\n";
const TOOLS: &str = "language: 1\ntools:\n  - {name: bank, actions: [{name: pay, effect: write}, {name: see, effect: read}, {name: login, effect: write}]}\n";
const POLICY: &str = r"language: 1
policy: bank
clauses:
  - id: once
    agents: [bot, other]
    tool: bank
    actions: [pay]
    when: {history: {call: {tool: bank, actions: [pay]}, verdicts: [allow], within: 31d, same: session, count: {max: 0}}}
    then: allow
  - {id: logs-in, agents: [bot, other], tool: bank, actions: [login], then: allow}
  - id: two-failed
    tool: bank
    actions: [login]
    when: {history: {call: {tool: bank, actions: [login]}, verdicts: [allow], outcome: [failed], within: 31d, same: agent, count: {min: 2}}}
    then: deny
  - {id: sees, agents: [bot, other], tool: bank, actions: [see], then: allow}
";
const STEPS: u64 = 2_000;
const SCHEDULES: u64 = 20;

struct Simulation {
    cluster: Cluster<u64>,
    asked: u64,
    /// Leaf indexes of what was told.
    told: Vec<u64>,
    reports: u64,
}

/// The question under a number: five of one session come after each other.
fn question(number: u64) -> serde_json::Value {
    let agent = if number.is_multiple_of(3) { "other" } else { "bot" };
    let action = ["pay", "pay", "login", "pay", "see"][(number % 5) as usize];
    json!({"id": format!("q-{number}"), "source": "/gw", "nonce": format!("nonce-{number}"),
        "agent": {"id": agent, "session": format!("s-{}", number / 10)},
        "tool": {"name": "bank", "action": action}, "params": {}})
}

impl Simulation {
    fn new(seed: u64, keyring: &Arc<Keyring>) -> Self {
        let texts = [
            ("agents.yaml", AGENTS.to_owned()),
            ("policies/bank.yaml", POLICY.to_owned()),
            ("tools.yaml", TOOLS.to_owned()),
        ];
        let cluster = deciders::cluster_with(seed, keyring, &texts);
        Self { cluster, asked: 0, told: Vec::new(), reports: 0 }
    }

    /// Asks one question, or a batch of three.
    fn ask(&mut self) {
        let at = self.cluster.chance(SERVERS) as usize;
        // Now and then a gateway repeats its last question.
        if self.asked == 0 || self.cluster.chance(8) > 0 {
            self.asked += 1;
        }
        let many = if self.cluster.chance(4) == 0 { 3 } else { 1 };
        let numbers: Vec<u64> = (self.asked..self.asked + many).collect();
        self.asked += many - 1;
        let desk = Arc::clone(&self.cluster.processes[at].desk);
        self.cluster.processes[at].tasks.push(Box::pin(async move {
            let texts: Vec<Vec<u8>> =
                numbers.iter().map(|number| canonical::of(&question(*number))).collect();
            let read = |text| Inquiry::read(json::parse(text).unwrap()).unwrap();
            let inquiries: Vec<Inquiry<'_>> = texts.iter().map(|text| read(text)).collect();
            let told = desk.decide(&ident("gw"), &inquiries).await.ok()?;
            told.into_iter().rev().find_map(|told| told.ok()?.index())
        }));
    }

    /// A gateway reports that a call failed; now and then for the second time.
    fn report(&mut self) {
        if self.told.is_empty() {
            return;
        }
        let recent = self.told.len().min(12) as u64;
        let index = self.told[self.told.len() - 1 - self.cluster.chance(recent) as usize];
        let about = (index, format!("x-{}", self.reports + 1));
        if deciders::reported(&self.cluster, about, &json!({"outcome": "failed"})) {
            self.reports += 1;
        }
    }

    fn step(&mut self) {
        let at = self.cluster.chance(SERVERS) as usize;
        match self.cluster.chance(1_000) {
            0..=2 => self.cluster.restart(at),
            3..=5 => self.cluster.set_clock(at),
            6..=14 => self.cluster.pass(&[1, 5, 30, 70]),
            16..=60 => self.cluster.world.lock().unwrap().deliver_late(),
            61..=300 => self.cluster.post(at),
            301..=340 => deciders::follow(&mut self.cluster, at),
            341..=350 => self.report(),
            371..=470 => self.ask(),
            _ => self.told.extend(self.cluster.poll(at)),
        }
    }

    fn judge(&self) -> BTreeMap<String, u64> {
        let entries = self.cluster.entries();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut count = |name: &str| *counts.entry(name.to_owned()).or_default() += 1;
        let (mut derived, mut naive) = (Histories::default(), Naive::default());
        for (index, entry) in (0..).zip(&entries) {
            let view = View::parse(entry).unwrap();
            assert_eq!(derived.take(index, &view), Ok(()), "entry {index}");
            match view.kind {
                Kind::Void => {
                    let why = view.text(&["event", "reason"]).unwrap();
                    let number: u64 =
                        view.text(&["event", "id"]).unwrap()[2..].parse().unwrap_or(0);
                    assert!(why != "history" || number % 5 != 4, "`see` counts nothing");
                    count(why);
                }
                Kind::Event => naive.report(&view),
                Kind::Decision if view.is_ours() && view.text(&["producer"]) == Some("gw") => {
                    count(naive.decision(index, &view));
                }
                _ => {}
            }
        }
        counts
    }
}

/// What was allowed and what failed, counted anew.
#[derive(Default)]
struct Naive {
    paid: BTreeSet<String>,
    contended: BTreeSet<String>,
    logins: BTreeMap<u64, String>,
    failed: BTreeMap<String, u64>,
}

impl Naive {
    fn report(&mut self, view: &View<'_>) {
        let index = view.at(&["event", "data", "decision", "index"]).and_then(json::Value::as_u64);
        // The first report counts.
        if let Some(agent) = index.and_then(|index| self.logins.remove(&index)) {
            *self.failed.entry(agent).or_default() += 1;
        }
    }

    fn decision(&mut self, index: u64, view: &View<'_>) -> &'static str {
        let text = |path: &[&str]| view.text(path).unwrap_or_default().to_owned();
        let session = text(&["event", "data", "agent", "session"]);
        let agent = text(&["event", "data", "agent", "id"]);
        let allowed = text(&["event", "data", "verdict"]) == "allow";
        if text(&["event", "data", "reason", "code"]) == CONTENDED {
            self.contended.insert(session);
            return CONTENDED;
        }
        match &*text(&["event", "data", "tool", "action"]) {
            "pay" => {
                let first = !self.paid.contains(&session);
                assert_eq!(allowed, first, "entry {index}: one allow in each session, the first");
                self.paid.insert(session);
                if allowed { "paid" } else { "second" }
            }
            "login" => {
                let failed = self.failed.get(&agent).copied().unwrap_or(0);
                assert_eq!(allowed, failed < 2, "entry {index}: {failed} failed before");
                if allowed {
                    self.logins.insert(index, agent);
                }
                if allowed { "login" } else { "locked" }
            }
            _ => {
                assert!(allowed, "entry {index}: what counts nothing is allowed");
                "seen"
            }
        }
    }
}

fn schedule(seed: u64, keyring: &Arc<Keyring>) -> BTreeMap<String, u64> {
    let mut simulation = Simulation::new(seed, keyring);
    for _ in 0..STEPS {
        simulation.step();
    }
    let told = deciders::settled(&mut simulation.cluster);
    simulation.told.extend(told);
    let mut counts = simulation.judge();
    simulation.cluster.count_faults(&mut counts);
    *counts.entry("reports".into()).or_default() += simulation.reports;
    counts
}

#[test]
fn p14_p15_three_deciders_never_both_get_the_first() {
    let counts = super::all_schedules(SCHEDULES, schedule);
    if super::seeds(SCHEDULES).len() > 1 {
        for (name, least) in [
            ("lost", 50),
            ("late", 50),
            ("doubled", 50),
            ("paid", 100),
            ("second", 100),
            ("login", 50),
            ("locked", 20),
            ("seen", 100),
            ("history", 20),
        ] {
            let count = counts.get(name).copied().unwrap_or(0);
            assert!(count >= least, "{name}: {counts:?}");
        }
    }
}
