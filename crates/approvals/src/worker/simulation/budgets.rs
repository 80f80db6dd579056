//! Deciders that spend one budget, driven by chance: appends are lost, late and doubled, servers restart, clocks jump,
//! windows end, and gateways report late, twice or never.
//!
//! Judged: no cap is exceeded, by a count of its own; every decision and every notice is what the entries before it
//! give; and nearly all of each cap is spent before somebody is denied (P18).

use super::{
    cluster::{Cluster, SERVERS},
    deciders, ident,
};
use decider::policy::Inquiry;
use ledger::{
    budget::{Asking, Booked},
    canonical,
    entry::{Kind, View},
    json,
    keyring::Keyring,
    post::Budgets,
    time::Nanos,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const AGENTS: &str =
    "language: 1\nagents:\n  - {id: bot, owners: [p-ann]}\n  - {id: other, owners: [p-ann]}\n";
const TOOLS: &str = "language: 1\ntools:\n  - {name: llm, actions: [{name: ask, effect: write}]}\n";
const POLICY: &str = r#"language: 1
policy: llm
clauses:
  - {id: all, agents: [bot, other], tool: llm, actions: [ask], then: allow}
budgets:
  - {id: calls, agents: [bot, other], tool: llm, sum: calls, per: agent, window: hour, max: 20, warn_at: 80, at_cap: deny}
  - {id: cost, tool: llm, actions: [ask], sum: cost, per: all, window: day, zone: Europe/Berlin, max: {EUR: "6.00"}, at_cap: deny}
"#;
/// The caps, as the policy says: calls of an agent in an hour, millionths of all in a day.
const CALLS_MAX: u64 = 20;
const COST_MAX: u64 = 6_000_000;
/// The largest cost of a call, in millionths: what may be left where one does not fit.
const COST_OF_CALL_MAX: u64 = 80_000;
const STEPS: u64 = 3_000;
const SCHEDULES: u64 = 15;

/// A call that was allowed: leaf index, leaf hash, cost in cents.
#[derive(Clone, Debug)]
struct Allowed {
    index: u64,
    cents: u64,
}

struct Simulation {
    cluster: Cluster<Allowed>,
    askers: u64,
    asked: u64,
    allowed: Vec<Allowed>,
    reports: u64,
}

impl Simulation {
    fn new(seed: u64, keyring: &Arc<Keyring>, askers: u64) -> Self {
        let texts = [
            ("agents.yaml", AGENTS.to_owned()),
            ("policies/llm.yaml", POLICY.to_owned()),
            ("tools.yaml", TOOLS.to_owned()),
        ];
        let cluster = deciders::cluster_with(seed, keyring, &texts);
        Self { cluster, askers, asked: 0, allowed: Vec::new(), reports: 0 }
    }

    fn ask(&mut self) {
        let at = self.cluster.chance(self.askers) as usize;
        // Now and then a gateway repeats its last question.
        if self.asked == 0 || self.cluster.chance(8) > 0 {
            self.asked += 1;
        }
        let number = self.asked;
        let cents = 1 + number % 8;
        let agent = if number.is_multiple_of(3) { "other" } else { "bot" };
        let question = json!({"id": format!("q-{number}"), "source": "/gw",
            "nonce": format!("nonce-{number}"), "agent": {"id": agent},
            "tool": {"name": "llm", "action": "ask"}, "params": {},
            "cost": {"amount": format!("0.{cents:02}"), "currency": "EUR"}});
        let desk = Arc::clone(&self.cluster.processes[at].desk);
        self.cluster.processes[at].tasks.push(Box::pin(async move {
            let text = canonical::of(&question);
            let inquiry = Inquiry::read(json::parse(&text).unwrap()).unwrap();
            let told = desk.decide(&ident("gw"), &[inquiry]).await.ok()?.pop()?.ok()?;
            (told.ruling.verdict.as_str() == "allow")
                .then_some(Allowed { index: told.index()?, cents })
        }));
    }

    /// A gateway reports a call: what it cost, or less, or more; now and then nothing, or for the second time.
    fn report(&mut self) {
        if self.allowed.is_empty() {
            return;
        }
        let recent = self.allowed.len().min(12) as u64;
        let back = self.cluster.chance(recent) as usize;
        let Allowed { index, cents } = self.allowed[self.allowed.len() - 1 - back].clone();
        let cents = [cents, cents / 2, 0, cents][self.cluster.chance(4) as usize];
        let about = (index, format!("x-{}", self.reports + 1));
        let cost = json!({"cost": {"amount": format!("0.{cents:02}"), "currency": "EUR"}});
        if deciders::reported(&self.cluster, about, &cost) {
            self.reports += 1;
        }
    }

    fn step(&mut self) {
        let at = self.cluster.chance(SERVERS) as usize;
        match self.cluster.chance(1_000) {
            0..=2 => self.cluster.restart(at),
            3..=5 => self.cluster.set_clock(at),
            6..=14 => self.cluster.pass(&[1, 5, 30, 70]),
            15 => self.cluster.pass(&[400, 1_000, 4_000]),
            16..=60 => self.cluster.world.lock().unwrap().deliver_late(),
            61..=300 => self.cluster.post(at),
            301..=340 => deciders::follow(&mut self.cluster, at),
            341..=370 => self.report(),
            371..=520 => self.ask(),
            _ => self.allowed.extend(self.cluster.poll(at)),
        }
    }

    fn judge(&self) -> BTreeMap<String, u64> {
        let entries = self.cluster.entries();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut count = |name: &str| *counts.entry(name.to_owned()).or_default() += 1;
        let (mut derived, mut naive) = (Budgets::default(), Naive::default());
        for (index, entry) in (0..).zip(&entries) {
            let view = View::parse(entry).unwrap();
            assert_eq!(derived.take(index, &view), Ok(()), "entry {index}");
            match view.kind {
                Kind::BudgetWarned | Kind::BudgetExceeded => count(view.kind.as_str()),
                Kind::Void => count(view.text(&["event", "reason"]).unwrap()),
                Kind::Event => naive.report(&view),
                Kind::Decision if view.is_ours() && view.text(&["producer"]) == Some("gw") => {
                    count(naive.decision(index, &view));
                }
                _ => {}
            }
        }
        for allowed in &self.allowed {
            let entry = View::parse(&entries[allowed.index as usize]).unwrap();
            assert_eq!(entry.text(&["event", "data", "verdict"]), Some("allow"));
        }
        counts
    }
}

/// What was spent, counted anew from what is booked and reported.
#[derive(Default)]
struct Naive {
    /// Of each call: whose, when, in which windows, and what it counts.
    calls: BTreeMap<u64, Call>,
    reported: BTreeSet<u64>,
    /// Windows of an agent in which a call was denied.
    denied: BTreeSet<(String, Nanos)>,
}

struct Call {
    agent: String,
    hour: Nanos,
    day: Nanos,
    at: Nanos,
    millionths: u64,
}

impl Naive {
    fn report(&mut self, view: &View<'_>) {
        let index = view.at(&["event", "data", "decision", "index"]).and_then(json::Value::as_u64);
        let Some(call) = index.and_then(|index| self.calls.get_mut(&index)) else { return };
        // Only the first report counts, and only in time.
        let time = view.origin.time;
        if self.reported.insert(index.unwrap()) && time <= call.at.plus_seconds(900) {
            let cents = view.text(&["event", "data", "cost", "amount"]).unwrap();
            let cents: u64 = cents.trim_start_matches("0.").parse().unwrap();
            call.millionths = call.millionths.min(cents * 10_000);
        }
    }

    fn decision(&mut self, index: u64, view: &View<'_>) -> &'static str {
        let text = |path: &[&str]| view.text(path).unwrap().to_owned();
        let agent = text(&["event", "data", "agent", "id"]);
        let time = view.origin.time;
        let hour = Nanos(time.0 - time.0 % 3_600_000_000_000);
        let asking = view.at(&["event", "data", "budgets"]).and_then(Asking::read);
        let calls_of = |calls: &BTreeMap<u64, Call>| {
            calls.values().filter(|call| call.agent == agent && call.hour == hour).count() as u64
        };
        let code = text(&["event", "data", "reason", "code"]);
        if text(&["event", "data", "verdict"]) == "deny" {
            let spent = |day: Nanos| -> u64 {
                self.calls.values().filter(|call| call.day == day).map(|call| call.millionths).sum()
            };
            let day = self.calls.values().map(|call| call.day).max().unwrap_or_default();
            let first = self.denied.insert((agent.clone(), hour));
            let cost_left = COST_MAX.saturating_sub(spent(day));
            let by_cost = cost_left < COST_OF_CALL_MAX;
            if first && !by_cost {
                let calls = calls_of(&self.calls);
                assert!(
                    calls * 100 >= CALLS_MAX * 95,
                    "{code} after {calls} of {CALLS_MAX} calls, and {} of {COST_MAX}",
                    spent(day)
                );
            }
            return if code == "contended" { "contended" } else { "denied" };
        }
        let asking = asking.expect("what is allowed is booked");
        assert!(asking.asked.iter().all(|asked| asked.booked == Booked::Within));
        let day = asking.asked.iter().find(|asked| asked.id == "llm/cost").unwrap().from;
        let cost = text(&["event", "data", "cost", "amount"]);
        let cents: u64 = cost.trim_start_matches("0.").parse().unwrap();
        let call = Call { agent: agent.clone(), hour, day, at: time, millionths: cents * 10_000 };
        self.calls.insert(index, call);
        assert!(calls_of(&self.calls) <= CALLS_MAX, "more calls than the cap");
        let spent: u64 =
            self.calls.values().filter(|call| call.day == day).map(|call| call.millionths).sum();
        assert!(spent <= COST_MAX, "{spent} of {COST_MAX} spent");
        "allowed"
    }
}

fn schedule_of(seed: u64, keyring: &Arc<Keyring>, askers: u64) -> BTreeMap<String, u64> {
    let mut simulation = Simulation::new(seed, keyring, askers);
    for _ in 0..STEPS {
        simulation.step();
    }
    let told = deciders::settled(&mut simulation.cluster);
    simulation.allowed.extend(told);
    let mut counts = simulation.judge();
    simulation.cluster.count_faults(&mut counts);
    *counts.entry("reports".into()).or_default() += simulation.reports;
    counts
}

fn check(schedule: fn(u64, &Arc<Keyring>) -> BTreeMap<String, u64>, least: &[(&str, u64)]) {
    let counts = super::all_schedules(SCHEDULES, schedule);
    if super::seeds(SCHEDULES).len() > 1 {
        for (name, least) in least {
            let count = counts.get(*name).copied().unwrap_or(0);
            assert!(count >= *least, "{name}: {counts:?}");
        }
    }
}

#[test]
fn p18_three_deciders_never_overspend_and_spend_nearly_all() {
    let least = [
        ("lost", 50),
        ("late", 50),
        ("doubled", 50),
        ("allowed", 500),
        ("denied", 200),
        ("reports", 500),
        ("budget", 5),
        ("budget_warned", 20),
        ("budget_exceeded", 20),
    ];
    check(|seed, keyring| schedule_of(seed, keyring, SERVERS), &least);
}

#[test]
fn p18_one_decider_never_overspends_and_spends_nearly_all() {
    check(|seed, keyring| schedule_of(seed, keyring, 1), &[("allowed", 500), ("denied", 200)]);
}
