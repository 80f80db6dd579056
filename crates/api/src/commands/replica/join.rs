//! `countersign replica join`: a new or wiped machine begins with what another replica has. Everything is proven first, then put in
//! place with one rename; until then `data_dir` stays empty, so an interrupted join is repeated.

mod fetch;
mod proof;
mod shown;

use super::super::{EXIT_UNAVAILABLE, runtime};
use crate::{
    cli::{Join, Remote},
    client::Client,
    commands::{EXIT_FAILED, Failed, load},
    config::Config,
    terminal::{dim, harmless, say},
};
use fetch::Staging;
use ledger::{
    Error,
    guard::{Guard, Mark},
    ident::Ident,
    journal::jetstream::{Connection, register::Register},
    keyring,
    log::replicas::{self, Members},
    origin,
    replica::join::STEPS_MAX,
    seal::SealKey,
};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Instant};
use tokio::runtime::Runtime;

/// What the register holds of a log when the join begins.
#[derive(Debug)]
struct Known {
    value: String,
    steps: Vec<String>,
}

/// This machine, and what it may rest on.
struct Here {
    config: Config,
    members: Arc<Members>,
    seal_key: SealKey,
    guard: Guard,
    /// The tenants whose keys are here.
    tenants: Vec<Ident>,
}

/// The others: the replica from which is copied, and those with which the copy is compared; NATS.
struct There {
    /// The first one is copied.
    replicas: Vec<Client>,
    runtime: Runtime,
    broker: Connection,
    known: BTreeMap<Ident, Known>,
}

/// Joins.
pub fn run(arguments: &Join) -> Result<(), Failed> {
    let begun = Instant::now();
    let mut here = Here::look(load(&arguments.config.config)?)?;
    let there = There::ask(&here, arguments)?;
    for tenant in &here.tenants {
        let size = there.known.get(tenant).map_or(0, |known| replicas::size_of(&known.value));
        let origin = origin(&here.config.public_host, tenant);
        for replica in &there.replicas {
            shown::wait(replica, (tenant, &origin), size)?;
        }
    }
    told(&begun, "the register, and what the replicas show, are known");
    let data_dir = here.config.file.data_dir.clone();
    let mut staging = Staging::open(&data_dir)?;
    let bytes = staging.fetch(&there.replicas[0])?;
    told(&begun, &format!("{} MiB are copied", bytes >> 20));
    match proof::prove(&here, &there, &staging.database()) {
        Ok(marks) => {
            told(&begun, "everything is proven");
            here.begin_guard(&marks)?;
            staging.put_in_place(&there.replicas[0])?;
        }
        // Nobody said anything against the copy: the same command goes on.
        Err(failed) if failed.code == EXIT_UNAVAILABLE => return Err(failed),
        Err(failed) => {
            staging.discard(&there.replicas[0])?;
            let text = format!("{}\nNothing of it was put in place.", failed.text);
            return Err(Failed::new(failed.code, text));
        }
    }
    say(&format!("{} is in place", data_dir.display()));
    told(&begun, "done");
    say(&dim(&format!(
        "Start the server. It posts what came since, and shows what the others cosign. If {} is not one of the replicas yet, `/readyz` is 503 \
         with `not_a_member`: run `countersign replica add` or `replace` at another one.",
        here.members.own()
    )));
    Ok(())
}

/// Says what is done, and how long it took.
fn told(begun: &Instant, what: &str) {
    say(&dim(&format!("  {:.1} s  {what}", begun.elapsed().as_secs_f32())));
}

fn failed(text: impl Into<String>) -> Failed {
    Failed::new(EXIT_FAILED, text)
}

impl Here {
    fn look(config: Config) -> Result<Self, Failed> {
        let Some(setup) = &config.file.replica else {
            return Err(failed(
                "the configuration has no [replica]: only a replica can join others",
            ));
        };
        let members = setup.open().map_err(failed)?;
        let data_dir = &config.file.data_dir;
        if !is_empty(data_dir)? {
            return Err(failed(format!(
                "data_dir {} is not empty: a machine that joins begins with an empty one. Move it away and keep it, because it may say what \
                 happened; then repeat the command",
                data_dir.display()
            )));
        }
        let tenants = tenants(&config.file.keys_dir)?;
        if tenants.is_empty() {
            return Err(failed(format!(
                "keys_dir {} has no keys of a tenant: copy the files of keys_dir from another replica, with mode 600 and the owner of the \
                 server",
                config.file.keys_dir.display()
            )));
        }
        let seal_key = keyring::seal_key(&config.file.keys_dir, false).map_err(Error::from)?;
        let guard =
            Guard::open(&config.file.guard_path, 0).map_err(|error| failed(error.to_string()))?;
        Ok(Self { config, members, seal_key, guard, tenants })
    }

    /// What this machine's guard says that it has cosigned.
    fn mark(&self, origin: &str) -> Option<&Mark> {
        self.guard.mark(origin)
    }

    /// Begins the guard with what is proven. One that is further stays: the server then posts up to there first.
    fn begin_guard(&mut self, marks: &[Mark]) -> Result<(), Failed> {
        let is_new =
            |mark: &&Mark| self.mark(&mark.origin).is_none_or(|known| known.size < mark.size);
        let new: Vec<Mark> = marks.iter().filter(is_new).cloned().collect();
        Ok(self.guard.advance(&new).map_err(Error::from)?)
    }
}

impl There {
    fn ask(here: &Here, arguments: &Join) -> Result<Self, Failed> {
        let replicas = std::iter::once(&arguments.from).chain(&arguments.also).map(|address| {
            Client::new(&Remote {
                server: Some(address.clone()),
                config: None,
                api_key_file: arguments.api_key_file.clone(),
                ca: arguments.ca.clone(),
                allow_http: arguments.allow_http,
            })
        });
        let replicas = replicas.collect::<Result<_, _>>()?;
        let Some((options, _)) = here.config.jetstream() else {
            return Err(failed("replicas need [journal] kind = \"jetstream\""));
        };
        let runtime = runtime()?;
        let away = |error: ledger::journal::Error| Failed::new(EXIT_UNAVAILABLE, error.to_string());
        let broker = runtime.block_on(Connection::open(&options)).map_err(away)?;
        let mut known = BTreeMap::new();
        for tenant in &here.tenants {
            let look = runtime.block_on(Register::look(&broker, tenant, STEPS_MAX));
            let (value, steps) = look.map_err(away)?;
            if value.is_empty() {
                return Err(failed(format!(
                    "the register has no checkpoint of {tenant}: no majority has cosigned one yet, or the register was lost. Start the \
                     replicas that are there; if one of them says that the register is empty, do what docs/operate/several-machines.md says, \
                     then repeat the command"
                )));
            }
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let steps = steps.into_iter().map(text).collect();
            known.insert(tenant.clone(), Known { value: text(value), steps });
        }
        Ok(Self { replicas, runtime, broker, known })
    }
}

/// True if a folder is not there, or has nothing in it.
fn is_empty(folder: &Path) -> Result<bool, Failed> {
    match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(format!("data_dir {}: {error}", folder.display()))),
        Ok(mut entries) => Ok(entries.next().is_none()),
    }
}

/// The tenants whose keys are in a keys directory.
fn tenants(keys_dir: &Path) -> Result<Vec<Ident>, Failed> {
    let read = std::fs::read_dir(keys_dir);
    let read = read.map_err(|error| failed(format!("keys_dir {}: {error}", keys_dir.display())))?;
    let mut tenants = Vec::new();
    for entry in read {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| Ident::new(name).ok());
        tenants.extend(name.filter(|_| entry.path().join("salt.key").exists()));
    }
    tenants.sort();
    Ok(tenants)
}

/// A refusal of what a replica gave.
fn refused(replica: &Client, tenant: &Ident, why: &impl std::fmt::Display) -> Failed {
    failed(format!("{}, tenant {tenant}: {}", replica.server(), harmless(&why.to_string())))
}
