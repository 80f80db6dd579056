//! Servers on one log, on a bad network: what every simulation drives, whatever is asked of the servers.

use super::{Backlog, Follower, begin, ident, replica::Replica, world::World};
use crate::{
    commands::Commands,
    deciding::{Clerk, Desk, Terms},
    log::Log as _,
    setup::Setup,
};
use ledger::keyring::Keyring;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

/// How many servers there are.
pub const SERVERS: u64 = 3;
const SECOND: i64 = 1_000_000_000;

/// A request or a piece of background work. Its output is what a caller was told.
pub type Task<T> = Pin<Box<dyn Future<Output = Option<T>>>>;

/// One server's process: it loses all of this when it restarts.
pub struct Process<T> {
    pub commands: Commands,
    pub desk: Arc<Desk>,
    pub clerk: Clerk,
    follower: Follower,
    backlog: Arc<Backlog>,
    cursor: u64,
    pub tasks: Vec<Task<T>>,
}

impl<T> Process<T> {
    fn new(replica: &Arc<Replica>, setup: &Setup) -> Self {
        let setup = setup.clone();
        let files = Box::new(move |applied: Option<&_>| Ok((setup.clone(), applied.is_some())));
        let (log, clocks) = (Arc::<Replica>::clone(replica), Arc::<Replica>::clone(replica));
        let commands = Commands::new(log, clocks, files, "http://127.0.0.1".into());
        let log = Arc::clone(&commands.reader.log);
        let desk = Arc::new(Desk::new(
            &commands.policies,
            Arc::clone(&commands.readiness),
            (None, Terms { deciders: SERVERS, ..Terms::default() }),
        ));
        let clerk = Clerk { log, commands: commands.clone() };
        let backlog = Arc::<Backlog>::default();
        let follower = Follower {
            reader: commands.reader.clone(),
            readiness: Arc::clone(&commands.readiness),
            backlog: Arc::clone(&backlog),
        };
        commands.readiness.rules.read();
        Self { commands, desk, clerk, follower, backlog, cursor: 0, tasks: Vec::new() }
    }
}

pub struct Cluster<T> {
    pub world: Arc<Mutex<World>>,
    pub replicas: Vec<Arc<Replica>>,
    pub processes: Vec<Process<T>>,
    setup: Setup,
}

impl<T: 'static> Cluster<T> {
    pub fn new(seed: u64, keyring: &Arc<Keyring>, setup: Setup) -> Self {
        let (world, tenant) = (Arc::new(Mutex::new(World::new(seed))), ident("acme"));
        let replica = |_| Arc::new(Replica::new(&world, &tenant, keyring));
        let replicas: Vec<_> = (0..SERVERS).map(replica).collect();
        begin(&replicas[0], keyring, &setup);
        let processes = replicas.iter().map(|replica| Process::new(replica, &setup)).collect();
        Self { world, replicas, processes, setup }
    }

    pub fn chance(&self, n: u64) -> u64 {
        self.world.lock().unwrap().random.below(n)
    }

    /// Lets one task of a server go on. Returns what its caller was told.
    pub fn poll(&mut self, at: usize) -> Option<T> {
        let count = self.processes[at].tasks.len() as u64;
        if count == 0 {
            return None;
        }
        let nth = self.chance(count) as usize;
        let tasks = &mut self.processes[at].tasks;
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(told) = tasks[nth].as_mut().poll(&mut context) else { return None };
        drop(tasks.swap_remove(nth));
        told
    }

    /// A server reads what was posted since, and opens what it finds.
    pub fn follow(&mut self, at: usize) {
        let process = &mut self.processes[at];
        let size = self.replicas[at].extent().size;
        if size > process.cursor {
            run(process.follower.follow_to(process.cursor, size)).unwrap();
            process.cursor = size;
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

    /// A server starts again, sometimes with an empty disk.
    pub fn restart(&mut self, at: usize) {
        if self.chance(3) == 0 {
            self.replicas[at].forget();
            self.replicas[at].post(2);
        }
        self.processes[at] = Process::new(&self.replicas[at], &self.setup);
    }

    pub fn set_clock(&self, at: usize) {
        let jump = [0, 1, -1, 20, -20, 45, -3_600][self.chance(7) as usize];
        *self.replicas[at].ahead.lock().unwrap() = jump * SECOND;
    }

    /// As many seconds pass as one of these says.
    pub fn pass(&self, seconds: &[u64]) {
        let seconds = seconds[self.chance(seconds.len() as u64) as usize];
        self.world.lock().unwrap().time.0 += seconds * SECOND.unsigned_abs();
    }

    /// A server posts the next few messages.
    pub fn post(&self, at: usize) {
        let count = 1 + self.chance(3);
        self.replicas[at].post(count);
    }

    /// Everything works from now on for this server, and it posts all that there is.
    pub fn repair(&self, at: usize) {
        *self.replicas[at].ahead.lock().unwrap() = 0;
        let mut world = self.world.lock().unwrap();
        world.faults = false;
        world.deliver_late();
        drop(world);
        self.replicas[at].post(u64::MAX >> 1);
    }

    /// The entries, which are the same on every server.
    pub fn entries(&self) -> Vec<Vec<u8>> {
        let (root, entries) = self.replicas[0].whole();
        for replica in &self.replicas[1..] {
            assert_eq!(replica.whole().0, root, "two replicas of one journal differ");
        }
        entries
    }

    /// Adds how often which fault happened.
    pub fn count_faults(&self, counts: &mut BTreeMap<String, u64>) {
        for (fault, count) in &self.world.lock().unwrap().counts {
            *counts.entry((*fault).to_owned()).or_default() += count;
        }
    }
}

/// Runs a future that waits for nothing.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("it waits for something");
}
