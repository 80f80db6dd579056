//! Three workers on one log, in one thread, driven by chance: appends are lost, late and doubled, answers are lost,
//! servers restart with nothing or with old clocks, clocks jump. Every schedule follows from its seed.
//!
//! Judged are the same things that an auditor judges: `AuditAll` over the entries, what callers were told against what
//! the log says, equal roots on every replica; and that work still gets done.

mod budgets;
mod clients;
mod cluster;
mod deciders;
mod histories;
mod replica;
mod searched;
mod world;

use super::{backlog::Backlog, follow::Follower, timers::Timers};
use crate::setup::Setup;
use clients::{Paused, Told, word};
use cluster::{Cluster, SERVERS, Task};
use decider::approval::{AuditAll, Event, Phase};
use ledger::{
    canonical,
    entry::{Kind, View},
    ident::Ident,
    keyring::Keyring,
    system::{By, Command as ByCommand, Genesis, KeyText, KeyUse},
};
use replica::Replica;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const RULES: &str = r#"
[[rule]]
name = "transfers"
quorum = {at_least = 2, of = "finance"}
approve_within = "20m"
execute_within = "10m"
report_within = "5m"
token_life = "2m"
owner = "none"
"#;
const PEOPLE: &str = r#"
[[person]]
id = "p-ann"
name = "Ann"
groups = ["finance"]
[[person]]
id = "p-bob"
name = "Bob"
groups = ["finance"]
[[person]]
id = "p-cid"
name = "Cid"
groups = ["finance"]
"#;
const STEPS: u64 = 1_500;
const CALLS: u64 = 4;

struct Simulation {
    cluster: Cluster<(Ident, Told)>,
    calls: Vec<Paused>,
    told: BTreeSet<(Ident, Told)>,
}

fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn setup() -> Setup {
    Setup::of_files(("rules.toml", RULES), ("people.toml", PEOPLE)).unwrap()
}

/// How the log begins: genesis and rules.
fn begin(replica: &Replica, keyring: &Keyring, setup: &Setup) {
    let keys = |usage| keyring.vkeys(usage).into_iter().map(KeyText).collect();
    let genesis = Genesis {
        v: 1,
        origin: "log.example/acme".into(),
        tenant: ident("acme"),
        journal: "sim".into(),
        log_keys: keys(KeyUse::Log),
        journal_keys: keys(KeyUse::Journal),
        token_keys: keys(KeyUse::Token),
        salt_key_id: keyring.salt_key_id(),
        members: None,
        predecessor: None,
        by: By::Command { command: ByCommand::Init },
    };
    let by = By::Command { command: ByCommand::Init };
    let rules = setup.body(keyring.salt_key(), "bm9uY2Vub25jZW5vbmNlbg".into(), by, None);
    replica.begin("system.genesis", &canonical::of(&genesis));
    replica.begin("system.rules", &canonical::of(&rules));
}

impl Simulation {
    fn new(seed: u64, keyring: &Arc<Keyring>) -> Self {
        let cluster = Cluster::new(seed, keyring, setup());
        let calls = (0..CALLS).map(clients::paused).collect();
        Self { cluster, calls, told: BTreeSet::new() }
    }

    fn pass_time(&mut self, at: usize) {
        let process = &mut self.cluster.processes[at];
        let now = process.commands.readiness.clocks.now();
        let due = process.commands.reader.registry.open().take_due(now, 8);
        for id in due {
            let timers = Timers { commands: process.commands.clone() };
            process.tasks.push(Box::pin(async move {
                timers.check(&id).await;
                None
            }));
        }
    }

    /// A client asks a worker something.
    fn ask(&mut self, at: usize) {
        let call = self.calls[self.cluster.chance(CALLS) as usize].clone();
        let chance = |n| self.cluster.chance(n);
        let (what, who, random) = (chance(16), chance(3), chance(u64::MAX));
        let commands = self.cluster.processes[at].commands.clone();
        let task: Task<_> = match what {
            0..=4 => Box::pin(clients::review(commands, call, who, random.is_multiple_of(12))),
            5..=7 => Box::pin(clients::mint(commands, call, random)),
            8..=10 => Box::pin(clients::redeem(commands, call, random)),
            11 | 12 => Box::pin(clients::report(commands, call, random)),
            13 | 14 => Box::pin(clients::look(commands, call, who)),
            _ => Box::pin(clients::give_up(commands, call, random)),
        };
        self.cluster.processes[at].tasks.push(task);
    }

    fn step(&mut self, nth: u64) {
        let at = self.cluster.chance(SERVERS) as usize;
        let due = nth.is_multiple_of(STEPS / CALLS);
        if due || nth == 1 {
            let call = (nth / (STEPS / CALLS)) as usize;
            let mut event =
                if due { self.calls[call].event.clone() } else { clients::unshowable().event };
            let mut world = self.cluster.world.lock().unwrap();
            event["time"] = serde_json::json!(world.time);
            world.publish(event.to_string().into_bytes());
        }
        match self.cluster.chance(1_000) {
            0..=2 => self.cluster.restart(at),
            3..=5 => self.cluster.set_clock(at),
            6..=14 => self.cluster.pass(&[1, 5, 30, 120, 400]),
            15..=60 => self.cluster.world.lock().unwrap().deliver_late(),
            61..=250 => self.cluster.post(at),
            251..=350 => self.cluster.follow(at),
            351..=400 => self.pass_time(at),
            401..=480 => self.ask(at),
            _ => self.told.extend(self.cluster.poll(at)),
        }
    }

    /// Everything works again, and everybody finishes.
    fn settle(&mut self) {
        for _ in 0..400 {
            for at in 0..SERVERS as usize {
                self.cluster.repair(at);
                self.cluster.follow(at);
                for _ in 0..8 {
                    self.told.extend(self.cluster.poll(at));
                }
            }
        }
    }

    /// What an auditor says of the log.
    fn judge(&self) -> BTreeMap<String, u64> {
        let entries = self.cluster.entries();
        let mut audit = AuditAll::default();
        for (index, entry) in (0..).zip(&entries) {
            let view = View::parse(entry).unwrap();
            let read = |index: u64| entries.get(index as usize).cloned();
            audit.take(index, entry, &view, read).unwrap();
        }
        for (id, told) in &self.told {
            self.holds(id, told);
        }
        // A decision that nobody got to before its deadline opens nothing, and one entry says so.
        let not_opened = |id: &Ident| {
            let says = |view: &View<'_>| {
                view.kind == Kind::NotOpened
                    && view.text(&["event", "approval_id"]) == Some(id.as_str())
            };
            entries
                .iter()
                .filter(|entry| View::parse(entry).is_some_and(|view| says(&view)))
                .count()
        };
        for call in &self.calls {
            let opened = usize::from(!audit.messages(&call.id).is_empty());
            assert_eq!(
                opened + not_opened(&call.id),
                1,
                "{}: opened once, or said why not",
                call.id
            );
        }
        assert_eq!(not_opened(&clients::unshowable().id), 1, "by three servers, said once");
        let showings = Self::showings(&entries);
        let opened = self.calls.iter().filter(|call| !audit.messages(&call.id).is_empty());
        let mut counts = audit.phases();
        counts.insert("opened".into(), opened.count() as u64);
        counts.insert("told".into(), self.told.len() as u64);
        counts.insert("shown".into(), showings);
        counts
    }

    /// Number of showings in the log. Each approval, person and version is there once, whichever servers showed it.
    fn showings(entries: &[Vec<u8>]) -> u64 {
        let mut seen = BTreeSet::new();
        for entry in entries {
            let view = View::parse(entry).unwrap();
            let Some(shown) = view.at(&["event", "shown"]) else { continue };
            let key = (
                view.text(&["event", "approval_id"]).map(str::to_owned),
                shown.get("to").cloned(),
                shown.get("version").cloned(),
            );
            assert!(seen.insert(format!("{key:?}")), "noted twice: {key:?}");
        }
        seen.len() as u64
    }

    /// What a caller was told stands in the log.
    fn holds(&self, id: &Ident, told: &Told) {
        let reader = &self.cluster.processes[0].commands.reader;
        let approval = reader.posted(id).unwrap().expect("told of it");
        let state = &approval.state;
        let stands = match told {
            Told::Redeemed { redemption_id } => {
                let redeemed = state.redeemed.as_ref();
                redeemed.is_some_and(|redeemed| redeemed.redemption_id == *redemption_id)
            }
            Told::Reviewed { by, choice } => {
                // A later denial by the same person counts instead, so look at what happened.
                let said = |event: &Event| matches!(event, Event::Reviewed { by: who, decision, .. } if who == by && word(*decision) == *choice);
                approval.steps.iter().any(|step| step.events.iter().any(said))
            }
            Told::Reported { outcome } => {
                let phase = if *outcome == "completed" { Phase::Completed } else { Phase::Failed };
                state.phase == phase
            }
        };
        assert!(stands, "{id}: {told:?} was told, and the log says {state:?}");
    }
}

/// Runs one schedule. Returns how many approvals are in which phase, how often which fault happened, and what was told.
fn schedule(seed: u64, keyring: &Arc<Keyring>) -> BTreeMap<String, u64> {
    let mut simulation = Simulation::new(seed, keyring);
    for nth in 0..STEPS {
        simulation.step(nth);
    }
    simulation.settle();
    let mut counts = simulation.judge();
    simulation.cluster.count_faults(&mut counts);
    counts
}

/// Seeds to run: one with `COUNTERSIGN_SEED`, else as many as `COUNTERSIGN_SCHEDULES` says.
#[allow(clippy::disallowed_methods, reason = "a test's switches")]
fn seeds(schedules: u64) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("COUNTERSIGN_SEED") {
        return vec![seed];
    }
    let begin = u64::from_le_bytes(ledger::keyring::random32()[..8].try_into().unwrap());
    (0..number("COUNTERSIGN_SCHEDULES").unwrap_or(schedules))
        .map(|n| begin.wrapping_add(n))
        .collect()
}

/// Runs many schedules, and adds up what happened in them.
fn all_schedules(
    schedules: u64,
    schedule: fn(u64, &Arc<Keyring>) -> BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::create(folder.path(), &ident("acme"), "log.example/acme").unwrap();
    let keyring = Arc::new(keyring);
    // Waits with a time limit need a runtime; its clock stands still here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for seed in seeds(schedules) {
        let one = std::panic::catch_unwind(|| schedule(seed, &keyring));
        let one = one.unwrap_or_else(|fault| {
            eprintln!("the schedule of COUNTERSIGN_SEED={seed} failed");
            std::panic::resume_unwind(fault)
        });
        for (name, count) in one {
            *counts.entry(name).or_default() += count;
        }
    }
    eprintln!("{counts:?}");
    counts
}

#[test]
fn p8_p9_p10_three_workers_on_a_bad_network() {
    let counts = all_schedules(400, schedule);
    let schedules = seeds(400).len() as u64;
    if schedules > 1 {
        let enough = |name: &str, least: u64| {
            assert!(counts.get(name).is_some_and(|count| *count >= least), "{name}: {counts:?}");
        };
        for fault in ["lost", "late", "doubled", "answer lost"] {
            enough(fault, 100);
        }
        let opened = counts.get("opened").copied().unwrap_or(0);
        assert!(opened * 100 >= 95 * CALLS * schedules, "opened: {counts:?}");
        enough("shown", 100);
        for phase in ["completed", "failed", "denied", "expired", "lapsed"] {
            // Far below what is usual, so that chance alone never fails the test.
            enough(phase, 3);
        }
    }
}
