//! The sinks of the running server: opened, started, and changed while it runs.

use super::{open, run, sender::Sink, setup::Setup, shelf::Shelf};
use ledger::{Error, Ledger, ident::Ident};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
};
use tokio::sync::Mutex as AsyncMutex;

/// The sinks, by name.
#[derive(Default)]
pub struct Sinks(Mutex<All>);

#[derive(Default)]
struct All {
    open: BTreeMap<Ident, Open>,
    /// One for each name that there was: whoever holds it sends. So a sink that is changed begins when its former self has
    /// ended.
    lanes: BTreeMap<Ident, Lane>,
    shelves: Shelves,
}

/// The shelf of each tenant, with the `public_url` that lines have. It goes with its last sink.
type Shelves = BTreeMap<(Ident, String), Weak<Shelf>>;

/// Held while a sink of this name runs.
pub type Lane = Arc<AsyncMutex<()>>;

struct Open {
    sink: Arc<Sink>,
    /// What it was opened from, with the contents of its files.
    from: [u8; 32],
}

/// A running sink.
pub type Running = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a new configuration changed, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Begin now.
    pub added: Vec<String>,
    /// End now.
    pub removed: Vec<String>,
    /// Go on as they are configured now.
    pub altered: Vec<String>,
}

impl Sinks {
    /// Opens the sinks of a configuration that was checked. Sends nothing yet. Errors: every mistake.
    pub fn open(setups: &BTreeMap<String, Setup>, public_url: &str) -> Result<Self, Error> {
        let mut all = All::default();
        let open = opened(setups, public_url, &mut all.shelves);
        all.open = open.map_err(|wrong| Error::Setup(wrong.join("\n")))?;
        Ok(Self(Mutex::new(all)))
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().expect("no holder of the lock panics")
    }

    /// The sinks of a tenant, by name.
    pub fn of(&self, tenant: &Ident) -> Vec<Arc<Sink>> {
        let all = self.lock();
        let sinks = all.open.values().map(|open| &open.sink);
        sinks.filter(|sink| sink.spec.tenant == *tenant).cloned().collect()
    }

    /// A sink of a tenant.
    pub fn one(&self, tenant: &Ident, name: &str) -> Option<Arc<Sink>> {
        self.of(tenant).into_iter().find(|sink| sink.spec.name.as_str() == name)
    }

    /// Runs every sink until its task ends; `spawn` starts the tasks.
    pub fn start(&self, ledger: &Arc<Ledger>, spawn: impl Fn(Running)) {
        let mut all = self.lock();
        let sinks: Vec<Arc<Sink>> = all.open.values().map(|open| Arc::clone(&open.sink)).collect();
        for sink in sinks {
            spawn(running(ledger, all.lane(&sink.spec.name), sink));
        }
    }

    /// Takes another configuration that was checked: what is as it was runs on, everything else ends, begins, or goes on from
    /// its place. If a sink can't be opened, nothing changes. Errors: every mistake.
    pub fn change(
        &self,
        (setups, public_url): (&BTreeMap<String, Setup>, &str),
        ledger: &Arc<Ledger>,
        spawn: impl Fn(Running),
    ) -> Result<Changed, Vec<String>> {
        let mut all = self.lock();
        let new = opened(setups, public_url, &mut all.shelves)?;
        let (mut old, mut said) = (std::mem::take(&mut all.open), Changed::default());
        for (name, mut open) in new {
            let before = old.remove(&name);
            if let Some(before) = before.as_ref().filter(|before| before.from == open.from) {
                open.sink = Arc::clone(&before.sink);
            } else {
                let list = if before.is_some() { &mut said.altered } else { &mut said.added };
                list.push(name.to_string());
                if let Some(before) = before {
                    before.sink.stop();
                    if let Some(sink) = Arc::get_mut(&mut open.sink) {
                        sink.follow(&before.sink);
                    }
                }
                let lane = all.lane(&name);
                spawn(running(ledger, lane, Arc::clone(&open.sink)));
            }
            all.open.insert(name, open);
        }
        for (name, gone) in old {
            gone.sink.stop();
            said.removed.push(name.to_string());
        }
        Ok(said)
    }
}

impl All {
    fn lane(&mut self, name: &Ident) -> Lane {
        Arc::clone(self.lanes.entry(name.clone()).or_default())
    }
}

fn running(ledger: &Arc<Ledger>, lane: Lane, sink: Arc<Sink>) -> Running {
    let ledger = Arc::clone(ledger);
    Box::pin(async move {
        let _lane = lane.lock().await;
        run::run(ledger, sink).await;
    })
}

/// Opens every sink. Errors: every mistake.
fn opened(
    setups: &BTreeMap<String, Setup>,
    public_url: &str,
    shelves: &mut Shelves,
) -> Result<BTreeMap<Ident, Open>, Vec<String>> {
    shelves.retain(|_, shelf| shelf.strong_count() > 0);
    let (mut opened, mut wrong) = (BTreeMap::new(), Vec::new());
    for (name, setup) in setups {
        let sink = open::sink(name, setup, public_url.trim_end_matches('/'));
        match sink.and_then(|sink| Ok((sink, mark(setup, public_url)?))) {
            Ok((mut sink, from)) => {
                let of = (sink.spec.tenant.clone(), sink.spec.url.clone());
                let known = shelves.entry(of).or_default();
                if let Some(shelf) = known.upgrade() {
                    sink.shelf = shelf;
                } else {
                    *known = Arc::downgrade(&sink.shelf);
                }
                let sink = Arc::new(sink);
                drop(opened.insert(sink.spec.name.clone(), Open { sink, from }));
            }
            Err(why) => wrong.push(format!("sink.{name}: {why}")),
        }
    }
    if wrong.is_empty() { Ok(opened) } else { Err(wrong) }
}

/// What a sink is opened from, in one number. Nobody outside sees it.
fn mark(setup: &Setup, public_url: &str) -> Result<[u8; 32], String> {
    let mut sha = Sha256::new();
    sha.update(serde_json::to_vec(setup).map_err(|error| error.to_string())?);
    sha.update(public_url);
    for content in open::files(setup)? {
        sha.update((content.len() as u64).to_be_bytes());
        sha.update(&*content);
    }
    Ok(sha.finalize().into())
}
