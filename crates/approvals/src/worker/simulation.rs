//! Three workers on one log, in one thread, driven by chance: appends are lost, late and doubled, answers are lost,
//! servers restart with nothing or with old clocks, clocks jump. Every schedule follows from its seed.
//!
//! Judged are the same things that an auditor judges: `AuditAll` over the entries, what callers were told against what
//! the log says, equal roots on every replica; and that work still gets done.

mod clients;
mod deciders;
mod replica;
mod world;

use super::{backlog::Backlog, follow::Follower, timers::Timers};
use crate::{commands::Commands, setup::Setup};
use clients::{Paused, Told, word};
use decider::approval::{AuditAll, Event, Phase};
use ledger::{
    canonical,
    entry::View,
    ident::Ident,
    keyring::Keyring,
    system::{By, Command as ByCommand, Genesis, KeyText, KeyUse},
};
use replica::Replica;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};
use world::World;

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
const WORKERS: u64 = 3;
const STEPS: u64 = 1_500;
const CALLS: u64 = 4;
const SECOND: i64 = 1_000_000_000;

type Task = Pin<Box<dyn Future<Output = Option<(Ident, Told)>>>>;

/// One worker's process: it loses all of this when it restarts.
struct Process {
    commands: Commands,
    follower: Follower,
    backlog: Arc<Backlog>,
    cursor: u64,
    tasks: Vec<Task>,
}

struct Simulation {
    world: Arc<Mutex<World>>,
    replicas: Vec<Arc<Replica>>,
    processes: Vec<Process>,
    setup: Setup,
    calls: Vec<Paused>,
    told: BTreeSet<(Ident, Told)>,
}

fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn setup() -> Setup {
    Setup::of_files(("rules.toml", RULES), ("people.toml", PEOPLE)).unwrap()
}

fn process_of(replica: &Arc<Replica>, setup: &Setup) -> Process {
    let setup = setup.clone();
    let files = Box::new(move |applied: Option<&_>| Ok((setup.clone(), applied.is_some())));
    let (log, clocks) = (Arc::<Replica>::clone(replica), Arc::<Replica>::clone(replica));
    let commands = Commands::new(log, clocks, files, "http://127.0.0.1".into());
    let backlog = Arc::<Backlog>::default();
    let follower = Follower {
        reader: commands.reader.clone(),
        readiness: Arc::clone(&commands.readiness),
        backlog: Arc::clone(&backlog),
    };
    commands.readiness.rules.read();
    Process { commands, follower, backlog, cursor: 0, tasks: Vec::new() }
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
        let (world, tenant) = (Arc::new(Mutex::new(World::new(seed))), ident("acme"));
        let replica = |_| Arc::new(Replica::new(&world, &tenant, keyring));
        let replicas: Vec<_> = (0..WORKERS).map(replica).collect();
        let setup = setup();
        begin(&replicas[0], keyring, &setup);
        let processes = replicas.iter().map(|replica| process_of(replica, &setup)).collect();
        let calls = (0..CALLS).map(clients::paused).collect();
        Self { world, replicas, processes, setup, calls, told: BTreeSet::new() }
    }

    fn chance(&self, n: u64) -> u64 {
        self.world.lock().unwrap().random.below(n)
    }

    /// Lets one task of a worker go on.
    fn poll(&mut self, at: usize) {
        let count = self.processes[at].tasks.len() as u64;
        if count == 0 {
            return;
        }
        let nth = self.chance(count) as usize;
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(told) = self.processes[at].tasks[nth].as_mut().poll(&mut context) {
            drop(self.processes[at].tasks.swap_remove(nth));
            self.told.extend(told);
        }
    }

    /// A worker reads what was posted since, and opens what it finds.
    fn follow(&mut self, at: usize) {
        let process = &mut self.processes[at];
        let size = crate::log::Log::extent(&*self.replicas[at]).size;
        if size > process.cursor {
            let (from, to) = (process.cursor, size);
            run(process.follower.follow_to(from, to)).unwrap();
            process.cursor = to;
        }
        if !process.commands.readiness.has_read_log() {
            run(process.follower.catch_up());
        }
        while let Some(index) = process.backlog.take() {
            let (commands, backlog) = (process.commands.clone(), Arc::clone(&process.backlog));
            process.tasks.push(Box::pin(async move {
                match commands.open(index).await {
                    Ok(_) => backlog.done(index),
                    Err(_) => backlog.again(index),
                }
                None
            }));
        }
    }

    fn pass_time(&mut self, at: usize) {
        let process = &mut self.processes[at];
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
        let call = self.calls[self.chance(CALLS) as usize].clone();
        let (what, who, random) = (self.chance(14), self.chance(3), self.chance(u64::MAX));
        let commands = self.processes[at].commands.clone();
        let task: Task = match what {
            0..=4 => Box::pin(clients::review(commands, call, who, random.is_multiple_of(12))),
            5..=7 => Box::pin(clients::mint(commands, call, random)),
            8..=10 => Box::pin(clients::redeem(commands, call, random)),
            11 | 12 => Box::pin(clients::report(commands, call, random)),
            _ => Box::pin(clients::give_up(commands, call, random)),
        };
        self.processes[at].tasks.push(task);
    }

    fn restart(&mut self, at: usize) {
        if self.chance(3) == 0 {
            self.replicas[at].forget();
            self.replicas[at].post(2);
        }
        self.processes[at] = process_of(&self.replicas[at], &self.setup);
    }

    fn set_clock(&self, at: usize) {
        let jump = [0, 1, -1, 20, -20, 45, -3_600][self.chance(7) as usize];
        *self.replicas[at].ahead.lock().unwrap() = jump * SECOND;
    }

    fn step(&mut self, nth: u64) {
        let at = self.chance(WORKERS) as usize;
        if nth.is_multiple_of(STEPS / CALLS) {
            let mut event = self.calls[(nth / (STEPS / CALLS)) as usize].event.clone();
            let mut world = self.world.lock().unwrap();
            event["time"] = serde_json::json!(world.time);
            world.publish(event.to_string().into_bytes());
        }
        match self.chance(1_000) {
            0..=2 => self.restart(at),
            3..=5 => self.set_clock(at),
            6..=14 => {
                let seconds = [1, 5, 30, 120, 400][self.chance(5) as usize];
                self.world.lock().unwrap().time.0 += seconds * SECOND.unsigned_abs();
            }
            15..=60 => self.world.lock().unwrap().deliver_late(),
            61..=250 => {
                let count = 1 + self.chance(3);
                self.replicas[at].post(count);
            }
            251..=350 => self.follow(at),
            351..=400 => self.pass_time(at),
            401..=470 => self.ask(at),
            _ => self.poll(at),
        }
    }

    /// Everything works again, and everybody finishes.
    fn settle(&mut self) {
        self.world.lock().unwrap().faults = false;
        for _ in 0..400 {
            for at in 0..WORKERS as usize {
                *self.replicas[at].ahead.lock().unwrap() = 0;
                self.world.lock().unwrap().deliver_late();
                self.replicas[at].post(u64::MAX >> 1);
                self.follow(at);
                for _ in 0..8 {
                    self.poll(at);
                }
            }
        }
    }

    /// What an auditor says of the log.
    fn judge(&self) -> BTreeMap<String, u64> {
        let (root, entries) = self.replicas[0].whole();
        for replica in &self.replicas[1..] {
            assert_eq!(replica.whole().0, root, "two replicas of one journal differ");
        }
        let mut audit = AuditAll::default();
        for (index, entry) in (0..).zip(&entries) {
            let view = View::parse(entry).unwrap();
            let read = |index: u64| entries.get(index as usize).cloned();
            audit.take(index, entry, &view, read).unwrap();
        }
        for (id, told) in &self.told {
            self.holds(id, told);
        }
        // A decision that nobody got to before its deadline opens nothing.
        let opened = self.calls.iter().filter(|call| !audit.messages(&call.id).is_empty());
        let mut counts = audit.phases();
        counts.insert("opened".into(), opened.count() as u64);
        counts.insert("told".into(), self.told.len() as u64);
        counts
    }

    /// What a caller was told stands in the log.
    fn holds(&self, id: &Ident, told: &Told) {
        let approval = self.processes[0].commands.reader.posted(id).unwrap().expect("told of it");
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

/// Runs a future that waits for nothing.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("it waits for something");
}

/// Runs one schedule. Returns how many approvals are in which phase, how often which fault happened, and what was told.
fn schedule(seed: u64, keyring: &Arc<Keyring>) -> BTreeMap<String, u64> {
    let mut simulation = Simulation::new(seed, keyring);
    for nth in 0..STEPS {
        simulation.step(nth);
    }
    simulation.settle();
    let mut counts = simulation.judge();
    for (fault, count) in &simulation.world.lock().unwrap().counts {
        *counts.entry((*fault).to_owned()).or_default() += count;
    }
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
        for phase in ["completed", "failed", "denied", "expired", "lapsed"] {
            // Far below what is usual, so that chance alone never fails the test.
            enough(phase, 3);
        }
    }
}
