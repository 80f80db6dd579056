//! `countersign replica …`: the cosigner key, who the replicas are, and how they stand.

mod join;
mod keys;
mod members;

pub use keys::make as make_key;

use super::{EXIT_FAILED, EXIT_USAGE, Failed, load};
use crate::{
    cli::ReplicaCommand,
    client::Client,
    config::{Config, EXIT_CONFIG},
    replicas::Setup,
    terminal::{bad, dim, good, harmless, say, say_json, strong, warn},
};
use ledger::{
    Error,
    ident::Ident,
    journal::jetstream,
    list_logs, load_log, origin,
    replica::{self, Put},
    store::{Family, Read as _, rocks::Rocks},
};
use serde_json::Value;
use std::path::Path;

/// Runs one of them.
pub fn run(command: &ReplicaCommand) -> Result<(), Failed> {
    match command {
        ReplicaCommand::Key { config, name, file } => {
            let read = Config::file(&config.config);
            let read = read.map_err(|wrong| Failed::new(EXIT_CONFIG, wrong.join("\n")))?;
            let wrong = |error| Failed::new(EXIT_USAGE, format!("--name: {error}"));
            let name = Ident::new(name).map_err(|error| wrong(error.to_string()))?;
            let (_, host) = read.public_url.split_once("://").ok_or_else(|| {
                Failed::new(EXIT_CONFIG, "public_url: an http:// or https:// URL is needed")
            })?;
            let made = Setup::make_key(file, host.trim_end_matches('/'), name.as_str());
            say(&made.map_err(Error::from)?.to_string());
            warn(&dim("The key file is never copied to another machine, and is in no backup."));
            Ok(())
        }
        ReplicaCommand::Add { change, name, vkey } => {
            members::change(change, None, Some((name, vkey)))
        }
        ReplicaCommand::Remove { change, name } => members::change(change, Some(name), None),
        ReplicaCommand::Replace { change, old, name, vkey } => {
            members::change(change, Some(old), Some((name, vkey)))
        }
        ReplicaCommand::Members { remote, json } => members::show(remote, *json),
        ReplicaCommand::Join(arguments) => join::run(arguments),
        ReplicaCommand::PutBack { config, tenant } => put_back(&config.config, tenant),
        ReplicaCommand::Status { remote, json } => {
            let answer = Client::new(remote)?.get_json("/v1/replicas")?;
            if *json {
                say_json(&answer);
            }
            let logs = answer["logs"].as_array().map(Vec::as_slice).unwrap_or_default();
            if logs.is_empty() && !json {
                say("This server signs alone: it has no [replica] in its configuration.");
            }
            let mut stopped = 0;
            for log in logs {
                stopped += usize::from(!log["stopped"].is_null());
                if !json {
                    show(log);
                }
            }
            if stopped > 0 {
                return Err(Failed::new(EXIT_FAILED, format!("{stopped} logs show nothing new")));
            }
            Ok(())
        }
    }
}

/// The exit from a lost register.
fn put_back(path: &Path, tenant: &str) -> Result<(), Failed> {
    let config = load(path)?;
    let failed = |text: String| Failed::new(EXIT_FAILED, text);
    let name = Ident::new(tenant).map_err(|e| Failed::new(EXIT_USAGE, format!("--tenant: {e}")))?;
    let (Some(setup), Some((options, copies))) = (&config.file.replica, config.jetstream()) else {
        return Err(failed(
            "this server signs alone: it has no [replica] in its configuration".into(),
        ));
    };
    let members = setup.open().map_err(failed)?;
    let store = Rocks::open(&config.ledger_options(false).store).map_err(Error::from)?;
    let number = list_logs(&store)?.into_iter().find(|(tenant, _)| *tenant == name);
    let (_, number) = number.ok_or_else(|| failed("no such tenant here".into()))?;
    let log = load_log(&store, &name, number, origin(&config.public_host, &name))?;
    let note = store.get(Family::Meta, &number.meta("checkpoint")).map_err(Error::from)?;
    let note = String::from_utf8(note.unwrap_or_default()).unwrap_or_default();
    let put = super::runtime()?.block_on(async {
        let broker = jetstream::Connection::open(&options).await?;
        replica::put_back((&broker, copies), &name, (&*members, &log), &note).await
    });
    match put.map_err(Error::from)? {
        Put::Nothing => Err(failed(
            "this replica has shown no cosigned checkpoint: run it on another one".into(),
        )),
        Put::There(size) => {
            say(&format!("the register holds size {size}: nothing to put back"));
            Ok(())
        }
        Put::Back(size) => {
            say(&format!("size {size} is in the register again"));
            warn(&dim("If another replica has shown more, run it there too. Then start them all."));
            Ok(())
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".into(), harmless)
}

fn show(log: &Value) {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let all = log["members"].as_array().map(Vec::as_slice).unwrap_or_default();
    let most = all.iter().map(|one| number(&one["posted"])).max().unwrap_or_default();
    let state = match log["stopped"].as_str() {
        Some(why) => bad(&format!("nothing new is shown: {}", harmless(why))),
        None if log["is_member"] == false => bad("this server is not one of the replicas"),
        None => good(&format!("{} of {} must cosign", log["majority"], all.len())),
    };
    let which = dim(&members::which(log));
    say(&format!("{}  {state}  {which}", strong(&text(&log["tenant"]))));
    for one in all {
        let (posted, cosigned, shown) =
            (number(&one["posted"]), number(&one["cosigned"]), number(&one["shown"]));
        let own = if one["name"] == log["replica"] { " (this one)" } else { "" };
        let heard = match one["heard_seconds"].as_u64() {
            None => bad("never answered"),
            Some(seconds) if seconds < 10 => good("answers"),
            Some(seconds) => bad(&format!("silent for {seconds} s")),
        };
        let lag = most.saturating_sub(posted);
        say(&format!(
            "  {}{own}  {heard}  posted {posted} ({lag} behind), cosigned {cosigned}, shows {shown}",
            strong(&text(&one["name"]))
        ));
        if let Some(says) = one["says"].as_str() {
            say(&dim(&format!("    {}", harmless(says))));
        }
    }
    let ignored = number(&log["ignored"]);
    if ignored > 0 {
        say(&bad(&format!("  {ignored} values of the register were ignored: see /healthz")));
    }
}
