//! `countersign fsck`: on a stopped server's directory or a backup.

use super::{EXIT_FAILED, EXIT_UNREADABLE, Failed, load};
use crate::{
    cli::Fsck,
    terminal::{bad, good, harmless, say},
};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{
    fsck::{self, Replay, Report},
    guard::Guard,
    ident::Ident,
    keyring,
    ledger::{check_seal, list_logs, load_log, origin},
    store::{LogNumber, rocks::Rocks},
};
use serde_json::json;

/// Checks every log; exits 1 if any is damaged.
pub fn run(arguments: &Fsck) -> Result<(), Failed> {
    let config = load(&arguments.config.config)?;
    let mut opening = config.ledger_options(false).store;
    let is_backup = arguments.data_dir.is_some();
    if let Some(path) = &arguments.data_dir {
        opening.path.clone_from(path);
    }
    // Opening for writing takes the lock: a running server is noticed. A backup may lie on a read-only disk.
    let store = if is_backup { Rocks::open_read_only(&opening) } else { Rocks::open(&opening) };
    let store = store.map_err(|e| {
        Failed::new(
            EXIT_UNREADABLE,
            format!("{e} (is the server still running? `fsck` needs it stopped, or a backup)"),
        )
    })?;
    // The guard belongs to the newest state; a backup is older.
    let guard = if is_backup { None } else { Some(Guard::open(&config.file.guard_path, 0)) };
    let guard = guard.transpose().map_err(|e| Failed::new(EXIT_UNREADABLE, e.to_string()))?;
    let lost = lost(&config.public_host, guard.as_ref(), &list_logs(&store)?);
    let seal_key = keyring::seal_key(&config.file.keys_dir, false);
    let mut damaged = !lost.is_empty();
    let mut reports = Vec::new();
    if !arguments.json {
        for line in &lost {
            say(&format!("{} {line}", bad("LOST")));
        }
    }
    for (name, number) in list_logs(&store)? {
        let origin = origin(&config.public_host, &name);
        let log = load_log(&store, &name, number, origin)?;
        let bar = ProgressBar::new(log.position.size);
        let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {per_sec} eta {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(name.to_string());
        let mark = guard.as_ref().and_then(|guard| guard.mark(&log.origin));
        let mut report = fsck::check(&store, &log, mark, |done| bar.set_position(done))?;
        // A backup that lies behind its guard may have been copied while it caught up: its checkpoint is then older.
        let signing = mark.is_none_or(|mark| mark.size <= log.position.size);
        match &seal_key {
            Ok(key) => {
                check_seal(&store, &log, key, signing)?.into_iter().for_each(|f| report.find(f));
            }
            Err(error) => report.unchecked(format!("the seal of the commit record: {error}")),
        }
        bar.finish_and_clear();
        let replay = if arguments.replay { Some(fsck::replay(&store, &log)?) } else { None };
        let differs = replay.as_ref().is_some_and(|replay| replay.difference.is_some());
        damaged |= report.damage > 0 || differs;
        if !arguments.json {
            print(&report, replay.as_ref());
        }
        reports.push(json!({"log": report, "replay": replay}));
    }
    if arguments.json {
        say(&json!({"sound": !damaged, "lost": lost, "logs": reports}).to_string());
    }
    if damaged {
        Err(Failed::new(EXIT_FAILED, "damage was found; restore a backup"))
    } else {
        Ok(())
    }
}

/// Logs that were signed, by the guard, and that the database does not hold.
fn lost(host: &str, guard: Option<&Guard>, logs: &[(Ident, LogNumber)]) -> Vec<String> {
    let held = |held: &str| logs.iter().any(|(name, _)| held == origin(host, name));
    let marks = guard.into_iter().flat_map(Guard::marks);
    let lost = marks.filter(|mark| mark.size > 0 && !held(&mark.origin));
    lost.map(|mark| format!("{} was signed up to size {}, and is not here", mark.origin, mark.size))
        .collect()
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
    for what in &report.unchecked {
        say(&format!("  not checked: {}", harmless(what)));
    }
    if report.damage > report.findings.len() as u64 {
        say(&format!("  … and {} more", report.damage - report.findings.len() as u64));
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
