//! `countersign recover`: the exits from a halt. Each needs an explicit argument of the operator.

use super::{EXIT_FAILED, Failed, load};
use crate::{
    act::{self, Why},
    app::App,
    cli::Recover,
    config::Config,
    terminal::{dim, say, warn},
};
use ledger::{
    Error, check_seal, follow, fsck,
    gone::Hole,
    guard::Guard,
    ident::Ident,
    journal::{
        Journal,
        jetstream::{self, register::Register},
    },
    keyring::{self, Keyring},
    list_logs, load_log,
    log::replicas,
    origin,
    post::Log,
    recover,
    store::rocks::Rocks,
    system::{By, Command},
    tenant::Tenant,
    writer,
};
use serde_json::json;
use std::sync::Arc;

/// Runs one exit for one tenant.
pub fn run(arguments: &Recover) -> Result<(), Failed> {
    if !arguments.accept_journal_loss && !arguments.new_guard && !arguments.accept_hole {
        let text = "say which: --accept-journal-loss, --accept-hole or --new-guard (see --help)";
        return Err(Failed::new(2, text));
    }
    let why = super::ask_why(arguments.reason.as_deref())?;
    let config = load(&arguments.config.config)?;
    let all_lost = arguments.accept_journal_loss && arguments.all_replicas_lost;
    if config.file.replica.is_some() && !arguments.new_guard && !all_lost {
        let text = "with [replica] this would part the replicas: docs/operate/several-machines.md says what to do instead. If every replica \
                    and NATS are lost: --accept-journal-loss --all-replicas-lost";
        return Err(Failed::new(EXIT_FAILED, text));
    }
    let name =
        Ident::new(&arguments.tenant).map_err(|e| Failed::new(2, format!("--tenant: {e}")))?;
    let store = Rocks::open(&config.ledger_options(false).store)?;
    let mut guard = Guard::open(&config.file.guard_path, 0)
        .map_err(|e| Failed::new(EXIT_FAILED, e.to_string()))?;
    let number = list_logs(&store)?.into_iter().find(|(tenant, _)| *tenant == name);
    let (_, number) = number.ok_or_else(|| Failed::new(EXIT_FAILED, "no such tenant here"))?;
    let origin = origin(&config.public_host, &name);
    let mut log = load_log(&store, &name, number, origin)?;
    let seal_key = keyring::seal_key(&config.file.keys_dir, false).map_err(Error::from)?;
    log.seal_key = Some(Arc::new(seal_key));
    if arguments.new_guard {
        new_guard(&store, &mut guard, &log)?;
        drop((store, guard));
        if config.file.replica.is_some() {
            // What a replica remembers is its own: no entry of the log is about it, and a majority would have to be there.
            return Ok(());
        }
        return super::runtime()?.block_on(keep_why(config, &name, why.as_ref()));
    }
    if arguments.accept_hole {
        return super::runtime()?.block_on(accept_hole(&config, &log));
    }
    super::runtime()?.block_on(journal_loss(&config, &store, &mut guard, log, why))
}

/// Trusts the database as it is, after checking all of it.
fn new_guard(store: &Rocks, guard: &mut Guard, log: &Log) -> Result<(), Failed> {
    if let Some(mark) = guard.mark(&log.origin) {
        let text = format!("the guard knows this log at size {}: nothing to recover", mark.size);
        return Err(Failed::new(EXIT_FAILED, text));
    }
    // Signing restarts from this state, so it must be what this server wrote last.
    if let Some(key) = &log.seal_key
        && let Some(fault) = check_seal(store, log, key, false)?
    {
        return Err(Failed::new(EXIT_FAILED, fault));
    }
    let mut report = fsck::check(store, log, None, |_| {})?;
    super::fsck::audit(store, log, &mut report)?;
    if report.damage > 0 {
        return Err(Failed::new(
            EXIT_FAILED,
            "the log is damaged; run `countersign fsck`, restore a backup",
        ));
    }
    guard.advance(&[writer::mark(log)]).map_err(Error::from)?;
    say(&format!("the guard begins again at size {}", log.position.size));
    say(&dim(
        "If anybody holds a checkpoint of a larger size, this database must not sign: stop it and tell them.",
    ));
    Ok(())
}

/// Keeps what was done and why as evidence in the log, because a new guard is not an entry.
async fn keep_why(config: Config, name: &Ident, why: Option<&Why>) -> Result<(), Failed> {
    let app = App::open(config, false).await?;
    let kept = match app.ledger.tenant(name.as_str()) {
        Some(tenant) => {
            app.start_follower(&tenant);
            let by = By::Command { command: Command::Recover };
            let words = json!({"act": "new_guard", "by": by, "reason": why});
            act::keep_words(&app.ledger, &tenant, &words).await.map(|words| words.index)
        }
        None => Err(Error::Setup("the tenant vanished".into())),
    };
    app.stop_tasks().await;
    tokio::task::block_in_place(|| drop(app));
    match kept {
        Ok(index) => say(&format!("recorded in entry {index}")),
        Err(error) => warn(&format!("The guard is made, but no entry says so: {error}")),
    }
    Ok(())
}

/// Declares in the journal that messages are gone and nothing explains it. The next `serve` posts on from
/// there.
async fn accept_hole(config: &Config, log: &Log) -> Result<(), Failed> {
    let Some((options, _)) = config.jetstream() else {
        return Err(Failed::new(
            EXIT_FAILED,
            "the embedded journal lies in the database: restore a backup",
        ));
    };
    let broker = jetstream::Connection::open(&options).await.map_err(Error::from)?;
    let stream = jetstream::Jetstream::open(&broker, &log.tenant).await.map_err(Error::from)?;
    let keyring = Keyring::open(&config.file.keys_dir, &log.tenant).map_err(Error::from)?;
    let published = writer::published(log, String::new());
    let (journal, clock) = (Journal::JetStream(stream.clone()), ledger::clock::wall_clock);
    let tenant = Tenant::new(log, keyring, journal, published, clock);
    let holes = follow::unexplained(&stream, &tenant, (&log.position, log.keys.journal()))
        .await
        .map_err(Error::from)?;
    if holes.is_empty() {
        let text = "every message that is gone is explained: there is nothing to accept";
        return Err(Failed::new(EXIT_FAILED, text));
    }
    for (from, to) in holes {
        let by = By::Command { command: Command::Recover };
        let hole = Hole { from, to, by, agreed: None };
        follow::append_gap(&tenant, &stream, &hole, u64::MAX).await.map_err(Error::from)?;
        say(&format!("journal messages {from} to {to} are given up: an entry will say so"));
    }
    say(&dim(
        "Start the server. If what was signed before can't be reached without them, it halts: restore a newer backup.",
    ));
    Ok(())
}

/// Refuses to begin a replicated log anew while its register has something: then NATS is not lost, or another replica is back.
async fn nothing_is_left(broker: &jetstream::Connection, log: &Log) -> Result<(), Failed> {
    let (value, _) = Register::look(broker, &log.tenant, 0).await.map_err(Error::from)?;
    if value.is_empty() {
        return Ok(());
    }
    let size = replicas::size_of(&String::from_utf8_lossy(&value));
    let text = format!(
        "the register has a checkpoint of size {size}: not everything is lost. A machine that is alone joins the replicas that are left \
         (`countersign replica join`); docs/operate/several-machines.md says more"
    );
    Err(Failed::new(EXIT_FAILED, text))
}

async fn journal_loss(
    config: &Config,
    store: &Rocks,
    guard: &mut Guard,
    log: Log,
    why: Option<Why>,
) -> Result<(), Failed> {
    let Some((options, replicas)) = config.jetstream() else {
        return Err(Failed::new(
            EXIT_FAILED,
            "the embedded journal lies in the database: there is nothing to accept",
        ));
    };
    let broker = jetstream::Connection::open(&options).await.map_err(Error::from)?;
    if config.file.replica.is_some() {
        nothing_is_left(&broker, &log).await?;
    }
    // The stream was deleted and not made again: the new epoch begins on a new stream.
    let stream = match jetstream::Jetstream::create(&broker, &log.tenant, replicas).await {
        Ok(made) => made,
        Err(_) => jetstream::Jetstream::open(&broker, &log.tenant).await.map_err(Error::from)?,
    };
    let keyring = Keyring::open(&config.file.keys_dir, &log.tenant).map_err(Error::from)?;
    let published = writer::published(&log, String::new());
    let (journal, clock) = (Journal::JetStream(stream.clone()), ledger::clock::wall_clock);
    let tenant = Tenant::new(&log, keyring, journal, published, clock);
    let why = why.map(|why| why.to_string());
    let done =
        recover::accept_journal_loss(store, guard, &tenant, log, (&stream, why.as_deref())).await?;
    say(&format!(
        "journal epoch {} begins with entry {}: the old journal is posted up to {}, what it held after that is lost; \
         the new one is posted from {}",
        done.epoch, done.index, done.previous_posted, done.from
    ));
    if let Some(error) = done.reason_lost {
        warn(&format!("The reason could not be kept: {error}"));
    }
    say(&dim("Start the server. Producers should publish again what they hold no receipt for."));
    Ok(())
}
