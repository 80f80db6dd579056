//! `countersign policy export-opa`: the policies as a signed bundle for a gateway's own OPA.

use super::Files;
use crate::{
    cli::ExportOpa,
    commands::{EXIT_FAILED, EXIT_UNREADABLE, EXIT_USAGE, Failed},
    opa_bundle::{BundleKey, packed},
    terminal::{harmless, say, say_json, strong, warn},
};
use decider::policy::LANGUAGE;
use ledger::{atomic, keyring};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Makes a key, or a bundle, or both.
pub(super) fn run(arguments: &ExportOpa) -> Result<(), Failed> {
    let ExportOpa { folder, key, new_key, key_id, scope, out, json } = arguments;
    if *new_key {
        make(key, *json)?;
    }
    let key = read(key, key_id.as_deref())?;
    let Some(folder) = folder else {
        return if *new_key {
            say(&format!("key id: {}", harmless(&key.id)));
            Ok(())
        } else {
            Err(Failed::new(EXIT_USAGE, "name the folder of the policies, or --new-key"))
        };
    };
    let bundle = Files::read(folder)?.bundle()?;
    let metadata = json!({"digest": bundle.digest(), "language": LANGUAGE, "version": 0});
    let exported = bundle.to_rego(0, &metadata);
    let bytes = packed(&exported.files, &key, scope.as_deref())
        .map_err(|error| Failed::new(EXIT_FAILED, error.to_string()))?;
    write(out, &bytes)?;
    if *json {
        say_json(&json!({
            "out": out, "bytes": bytes.len(), "digest": bundle.digest(), "key_id": key.id, "denied": exported.left,
        }));
        return Ok(());
    }
    for left in &exported.left {
        warn(&format!("{} OPA denies what {}", strong("note:"), harmless(left)));
    }
    say(&format!("{}: key id {}", harmless(&out.display().to_string()), harmless(&key.id)));
    Ok(())
}

fn public(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// Makes a key, and the file of its public key beside it. A file that is there stays.
fn make(path: &Path, quiet: bool) -> Result<(), Failed> {
    let refused =
        |path: &Path, error| Failed::new(EXIT_FAILED, format!("{}: {error}", path.display()));
    let pem = std::iter::repeat_with(keyring::random32).find_map(|random| BundleKey::make(&random));
    let pem = pem.expect("one of them is a key");
    atomic::create(path, pem.as_bytes()).map_err(|error| refused(path, error))?;
    let beside = public(path);
    let key = read(path, None)?;
    atomic::create(&beside, key.public_pem().as_bytes())
        .map_err(|error| refused(&beside, error))?;
    if quiet {
        return Ok(());
    }
    say(&format!(
        "{}: the key; {}: the public key, for OPA",
        harmless(&path.display().to_string()),
        harmless(&beside.display().to_string())
    ));
    Ok(())
}

fn read(path: &Path, id: Option<&str>) -> Result<BundleKey, Failed> {
    BundleKey::of_file(path, id)
        .map_err(|why| Failed::new(EXIT_UNREADABLE, format!("{}: {why}", path.display())))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    atomic::replace(path, bytes)
        .map_err(|error| Failed::new(EXIT_FAILED, format!("{}: {error}", path.display())))
}
