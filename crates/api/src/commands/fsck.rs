//! `countersign fsck`: checks a stopped server's directory, or a backup.

use super::{EXIT_FAILED, EXIT_UNREADABLE, Failed, load};
use crate::{
    cli::Fsck,
    config::Config,
    terminal::{bad, dim, good, harmless, say},
};
use approvals::search;
use decider::approval::Audit;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{
    check_seal,
    fsck::{self, Replay, Report},
    guard::{Guard, Mark},
    ident::Ident,
    journal::{self, jetstream},
    keyring::{self, Keyring},
    list_logs, origin,
    post::Log,
    seal,
    store::{Family, LogNumber, Read as _, rocks::Rocks},
};
use serde_json::json;

/// What `fsck` can use beside the database.
struct Beside {
    config: Config,
    is_backup: bool,
    /// `None` for a backup: the guard belongs to the newest state.
    guard: Option<Guard>,
}

/// Checks every log. Exit status 1 if any is damaged.
pub fn run(arguments: &Fsck) -> Result<(), Failed> {
    let config = load(&arguments.config.config)?;
    let mut opening = config.ledger_options(false).store;
    let is_backup = arguments.data_dir.is_some();
    if let Some(path) = &arguments.data_dir {
        opening.path.clone_from(path);
    }
    // Opening for writing takes the lock, which detects a running server. A backup may be on a read-only disk.
    let store = if is_backup { Rocks::open_read_only(&opening) } else { Rocks::open(&opening) };
    let store = store.map_err(|e| {
        let hint =
            if matches!(e, ledger::store::Error::Held) { " (or check a backup)" } else { "" };
        Failed::new(EXIT_UNREADABLE, format!("{e}{hint}"))
    })?;
    let guard = if is_backup { None } else { Some(Guard::look(&config.file.guard_path)) };
    let guard = guard.transpose().map_err(|e| Failed::new(EXIT_UNREADABLE, e.to_string()))?;
    let beside = Beside { config, is_backup, guard: guard.flatten() };
    let logs = list_logs(&store)?;
    let lost = beside.lost(&logs);
    let damage = beside.operator(&store)?;
    let mut damaged = !lost.is_empty() || damage.is_some();
    let mut reports = Vec::new();
    if !arguments.json {
        for line in &lost {
            say(&format!("{} {}", bad("LOST"), harmless(line)));
        }
        if let Some(what) = &damage {
            say(&format!("{} {what}", bad("DAMAGED")));
        }
    }
    for (name, number) in logs {
        let (report, replay) = beside.log(&store, &name, number, arguments.replay)?;
        let differs = replay.as_ref().is_some_and(|replay| replay.difference.is_some());
        damaged |= report.damage > 0 || differs;
        if !arguments.json {
            print(&report, replay.as_ref());
        }
        reports.push(json!({"log": report, "replay": replay}));
    }
    if arguments.json {
        say(&json!({"sound": !damaged, "lost": lost, "damage": damage, "logs": reports})
            .to_string());
    }
    if damaged {
        Err(Failed::new(EXIT_FAILED, "damage was found; restore a backup"))
    } else {
        Ok(())
    }
}

impl Beside {
    fn log(
        &self,
        store: &Rocks,
        name: &Ident,
        number: LogNumber,
        replay: bool,
    ) -> Result<(Report, Option<Replay>), Failed> {
        let origin = origin(&self.config.public_host, name);
        let log = match fsck::load(store, name, number, origin.clone()) {
            Ok(log) => log,
            // Without its commit record, nothing else of a log can be judged.
            Err(error) => {
                let mut report = Report { origin, ..Report::default() };
                report.find(error.to_string());
                return Ok((report, None));
            }
        };
        let bar = ProgressBar::new(log.position.size);
        let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {per_sec} eta {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(name.to_string());
        let mark = self.guard.as_ref().and_then(|guard| guard.mark(&log.origin));
        let mut report = fsck::check(store, &log, mark, |done| bar.set_position(done))?;
        bar.finish_and_clear();
        if mark.is_none() && !self.is_backup && log.position.size > 0 {
            let path = self.config.file.guard_path.display();
            report.find(if self.guard.is_none() {
                format!("the guard {path} is missing: put its file back, or read SECURITY.md before you begin a new one")
            } else {
                format!("the guard {path} knows nothing of this log: it was replaced, or `public_url` was changed")
            });
        }
        self.seal(store, &log, mark, &mut report)?;
        audit(store, &log, &mut report)?;
        self.stream(store, &log, mark, &mut report);
        let replay = if replay { Some(fsck::replay(store, &log)?) } else { None };
        Ok((report, replay))
    }

    /// Checks that this installation wrote the commit record, if its key is here.
    fn seal(
        &self,
        store: &Rocks,
        log: &Log,
        mark: Option<&Mark>,
        report: &mut Report,
    ) -> Result<(), Failed> {
        // A backup that is behind its guard may have been copied while it caught up.
        let behind = mark.is_some_and(|mark| mark.size > log.position.size);
        match keyring::seal_key(&self.config.file.keys_dir, false) {
            Ok(key) => {
                check_seal(store, log, &key, behind)?.into_iter().for_each(|f| report.find(f));
            }
            Err(error) => report.unchecked(format!("the seal of the commit record: {error}")),
        }
        Ok(())
    }

    /// Checks that this installation wrote the operator key's digest, if the seal's key is here.
    fn operator(&self, store: &Rocks) -> Result<Option<String>, Failed> {
        let kept = store.get(Family::Meta, crate::auth::OPERATOR)?;
        let (Some(kept), Ok(key)) = (kept, keyring::seal_key(&self.config.file.keys_dir, false))
        else {
            return Ok(None);
        };
        let ours = key.open(seal::OPERATOR, "", &kept).is_some();
        Ok((!ours).then(|| "the operator key's digest was not written by this server".into()))
    }

    /// Logs that have a mark in the guard but are not in the database.
    fn lost(&self, logs: &[(Ident, LogNumber)]) -> Vec<String> {
        let host = &self.config.public_host;
        let held = |held: &str| logs.iter().any(|(name, _)| held == origin(host, name));
        let marks = self.guard.iter().flat_map(Guard::marks);
        let lost = marks.filter(|mark| mark.size > 0 && !held(&mark.origin));
        lost.map(|mark| {
            format!("{} was signed up to size {}, and is not here", mark.origin, mark.size)
        })
        .collect()
    }

    /// Posts again what a stream still holds, if the broker answers.
    fn stream(&self, store: &Rocks, log: &Log, mark: Option<&Mark>, report: &mut Report) {
        let ended = log.position.retention.deleted.is_some();
        if ended || log.position.journal.starts_with("embedded:") {
            return;
        }
        let behind = mark.is_some_and(|mark| mark.size > log.position.size);
        let compared = if self.is_backup || behind {
            Err("the stream is newer than this database".to_owned())
        } else {
            self.ask_broker(store, log, report).map_err(|error| error.to_string())
        };
        if let Err(why) = compared {
            report.unchecked(format!("the journal's messages and their signatures: {why}"));
        }
    }

    fn ask_broker(
        &self,
        store: &Rocks,
        log: &Log,
        report: &mut Report,
    ) -> Result<(), journal::Error> {
        let options = self.config.jetstream().map(|(options, _)| options);
        let none = || journal::Error::Unavailable("[journal] names no broker".into());
        let options = options.ok_or_else(none)?;
        let keyring = Keyring::open(&self.config.file.keys_dir, &log.tenant).ok();
        let runtime = super::runtime().map_err(|e| journal::Error::Unavailable(e.text))?;
        runtime.block_on(async {
            let broker = jetstream::Connection::open(&options).await?;
            let stream = jetstream::Jetstream::open(&broker, &log.tenant).await?;
            fsck::stream(&stream, (store, log), keyring.as_ref(), report).await
        })
    }
}

/// Checks the life of every approval: the events in its entries must be possible. Each is found by the search.
pub fn audit(store: &Rocks, log: &Log, report: &mut Report) -> Result<(), Failed> {
    let mut search = search::Check::new(store, log)?;
    let mut failed = None;
    fsck::approvals(store, log, |approval| {
        if let Err(fault) = judge(&approval) {
            report.find(format!("approval {}: {fault}", approval.id));
        }
        failed = failed.take().or(search.take(&approval).err());
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    search.finish()?.into_iter().for_each(|finding| report.find(finding));
    Ok(())
}

fn judge(approval: &fsck::Whole) -> Result<(), String> {
    let opening = approval.opening.as_ref();
    let (index, entry) = opening.ok_or("its first message names no decision that is here")?;
    let mut audit = Audit::begin(*index, entry).map_err(|fault| fault.to_string())?;
    if *audit.id() != approval.id {
        return Err("the decision that it names opens another approval".into());
    }
    for (index, entry) in &approval.messages {
        let followed = audit.follow(*index, entry);
        followed.map_err(|fault| format!("entry {index}: {fault}"))?;
    }
    let field = |name| approval.disclosed.get(name).and_then(|v| std::str::from_utf8(v).ok());
    if let Some(owner) = field("owner") {
        audit.check_owner(owner).map_err(|fault| fault.to_string())?;
    }
    if let (Some(nonce), Some(params)) = (field("nonce"), field("params")) {
        audit.check_call(nonce, params).map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

fn print(report: &Report, replay: Option<&Replay>) {
    let verdict = if report.damage == 0 { good("sound") } else { bad("DAMAGED") };
    say(&format!(
        "{verdict} {}: {} entries, {} checkpoints, root {}",
        report.origin, report.entries, report.checkpoints, report.root
    ));
    for finding in &report.findings {
        say(&format!("  {}", harmless(finding)));
    }
    if report.damage > report.findings.len() as u64 {
        say(&format!("  … and {} more", report.damage - report.findings.len() as u64));
    }
    if let Some(journal) = &report.journal {
        let before = journal.first.map_or(0, |first| first - 1);
        let trimmed =
            if before > 0 { format!("; {before} before them are gone") } else { String::new() };
        say(&dim(&format!(
            "  {} journal messages were posted again, and gave {} entries{trimmed}",
            journal.messages, journal.entries
        )));
    }
    for line in &report.unchecked {
        say(&dim(&format!("  not checked: {}", harmless(line))));
    }
    match replay {
        Some(Replay { difference: Some(difference), .. }) => {
            say(&format!("  {} {}", bad("replay:"), harmless(difference)));
        }
        Some(Replay { impossible: Some(why), messages, .. }) => {
            say(&format!(
                "  replay: {messages} messages agree; the rest can't be posted again: {why}"
            ));
        }
        Some(replay) => say(&format!(
            "  replay: {} messages give the same {} entries",
            replay.messages, replay.entries
        )),
        None => {}
    }
}
