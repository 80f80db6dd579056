//! `countersign prune`: verifies an export, then asks the server to remove the entries that are in it.

use super::{EXIT_FAILED, Failed, export::kept, why};
use crate::{
    cli::{Prune, Verify},
    client::Client,
    s3::sha256_hex,
    terminal::{dim, harmless, say, say_json, strong},
};
use ledger::log::checkpoint::Checkpoint;
use serde_json::json;
use std::{path::Path, process::ExitCode};

/// Runs it.
pub fn run(arguments: &Prune) -> Result<(), Failed> {
    let Prune { tenant, until, export, key, reason, .. } = arguments;
    why(Some(reason))?;
    let client = Client::new(&arguments.remote)?;
    let verify = Verify { key: key.clone(), export: vec![export.clone()], ..Verify::default() };
    if crate::verify::quietly(&verify, arguments.json) != ExitCode::SUCCESS {
        return Err(Failed::new(EXIT_FAILED, "the export does not verify: nothing was pruned"));
    }
    let (checkpoint, manifest) = manifest(arguments, export)?;
    let sha256 = sha256_hex(&manifest);
    let body = json!({
        "until": until,
        "export": {"size": checkpoint.size, "root": checkpoint.root, "sha256": sha256},
        "reason": reason,
    });
    let answer = client.post_json(&format!("/v1/tenants/{tenant}/prunings"), &body)?;
    if arguments.json {
        say_json(&answer);
        return Ok(());
    }
    let number = |name: &str| harmless(&answer[name].to_string());
    say(&format!(
        "pruned: the bundles of entries before {}, recorded in entry {}",
        strong(&number("size")),
        number("index")
    ));
    if answer["status"] == json!("pending") {
        say("They are not all gone yet: the server goes on with it.");
    }
    say(&dim(&format!("Keep the export. Its manifest has the SHA-256 {sha256}")));
    Ok(())
}

/// The checkpoint of the export, and its manifest; if a store is named, it must have the same one.
fn manifest(arguments: &Prune, export: &Path) -> Result<(Checkpoint, Vec<u8>), Failed> {
    let (Some(place), Some(file)) = (&arguments.from, &arguments.store) else {
        let (checkpoint, _, manifest) = kept::manifest(export, "", |_, _| Ok(()))?;
        return Ok((checkpoint, manifest));
    };
    let (store, prefix) = kept::place_of(place, file)?;
    let (checkpoint, _, manifest) = kept::manifest(export, &prefix, |_, _| Ok(()))?;
    let key = kept::manifest_key(&prefix, checkpoint.size);
    let held = store.head(&key)?;
    let locked = held.is_some_and(|held| held.until.is_some());
    if !locked || store.get(&key)? != manifest {
        let text =
            format!("{key}: the store does not have this export, locked: nothing was pruned");
        return Err(Failed::new(EXIT_FAILED, text));
    }
    Ok((checkpoint, manifest))
}
