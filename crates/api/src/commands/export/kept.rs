//! `countersign export --into s3://bucket/prefix`: puts a verified export into a write-once store, and reads it back
//! (`proto/formats/export.md`, *In a write-once store*).

use super::{checkpoint_of, tiles};
use crate::{
    cli::{Export, ToStore, Verify},
    client::Client,
    commands::{EXIT_FAILED, EXIT_UNREADABLE, EXIT_USAGE, Failed},
    config::EXIT_CONFIG,
    s3::{self, Held, Place, Store, sha256_hex},
    terminal::{dim, harmless, say},
};
use approvals::secret;
use indicatif::ProgressBar;
use ledger::{
    canonical,
    clock::wall_clock,
    log::{checkpoint::Checkpoint, tile::Tile},
    system::retention::DAYS_MAX,
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

const DAY_SECONDS: u64 = 24 * 3600;

/// The file of `--store`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreFile {
    /// Base URL of the store: https, or http on a loopback address.
    endpoint: String,
    region: String,
    /// File with the access key's id, alone on a line.
    access_key_file: PathBuf,
    /// File with the secret access key, alone on a line.
    secret_key_file: PathBuf,
    /// Whether the bucket is part of the path, not of the host.
    #[serde(default)]
    path_style: bool,
    /// PEM file with the certificate authorities of the store.
    #[serde(default)]
    ca_file: Option<PathBuf>,
}

/// The list of all objects of one export. It is written last.
#[derive(Serialize)]
struct Manifest<'m> {
    v: u32,
    origin: &'m str,
    size: u64,
    root: String,
    objects: Vec<Object>,
}

/// One object, and the file of the export that it is.
#[derive(Serialize)]
struct Object {
    path: String,
    key: String,
    bytes: u64,
    sha256: String,
}

impl From<s3::Error> for Failed {
    fn from(error: s3::Error) -> Self {
        let code = match error {
            s3::Error::Place(_) => EXIT_CONFIG,
            s3::Error::Unreachable(_) => super::super::EXIT_UNAVAILABLE,
            s3::Error::Refused { .. } => EXIT_FAILED,
        };
        Self::new(code, error.to_string())
    }
}

/// Refuses what can't be kept, before anything is fetched.
pub fn check(arguments: &Export) -> Result<Option<(&ToStore, Store, String)>, Failed> {
    let to = &arguments.to_store;
    let Some(place) = &to.into else { return Ok(None) };
    let usage = |text: &str| Err(Failed::new(EXIT_USAGE, text));
    if arguments.disclosures {
        return usage(
            "--into and --disclosures: what nobody can delete can't be erased. Payload is never put into a write-once store",
        );
    }
    if arguments.approval.is_some() {
        return usage("--into takes a whole log, not the history of one approval");
    }
    let (Some(file), Some(_)) = (&to.store, &to.key) else {
        return usage(
            "--into needs --store FILE, and --key VKEY with which the export is verified first",
        );
    };
    let (store, prefix) = place_of(place, file)?;
    Ok(Some((to, store, prefix)))
}

/// The store at `s3://bucket/prefix` that a file describes, and the prefix of its keys.
pub fn place_of(place: &str, file: &Path) -> Result<(Store, String), Failed> {
    let usage = |text: &str| Err(Failed::new(EXIT_USAGE, text));
    let place = place.strip_prefix("s3://").unwrap_or_default();
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let named = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain) && part.len() <= 63
    };
    let prefix = prefix.trim_end_matches('/');
    if !named(bucket) || !(prefix.is_empty() || prefix.split('/').all(named)) {
        return usage("--into: s3://bucket/prefix, of letters, digits, `-`, `_`, `.` and `/`");
    }
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Ok((open(file, bucket)?, prefix))
}

fn open(path: &Path, bucket: &str) -> Result<Store, Failed> {
    let wrong = |what: String| Failed::new(EXIT_CONFIG, format!("{}: {what}", path.display()));
    let text = fs::read_to_string(path)
        .map_err(|e| Failed::new(EXIT_UNREADABLE, format!("{}: {e}", path.display())))?;
    let file: StoreFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let secret = |path: &Path| secret::read(path).map_err(|error| wrong(error.to_string()));
    let roots = file.ca_file.as_deref().map(crate::client::certificates).transpose()?;
    let place = Place {
        endpoint: file.endpoint,
        region: file.region,
        bucket: bucket.to_owned(),
        path_style: file.path_style,
        access_key: secret(&file.access_key_file)?,
        secret_key: secret(&file.secret_key_file)?,
        roots,
    };
    Ok(Store::new(place)?)
}

/// Days for which objects are locked: those that are asked for, or the tenant's retention, or its floor.
pub fn days(client: &Client, tenant: &str, asked: Option<u32>) -> Result<u32, Failed> {
    let shown = client.get_json(&format!("/v1/tenants/{tenant}/retention"));
    let number = |name: &str| -> Option<u32> {
        shown.as_ref().ok()?[name].as_u64().and_then(|days| days.try_into().ok())
    };
    let floor = number("floor_days").filter(|days| *days > 0);
    match asked.or_else(|| number("payload_days")).or(floor) {
        Some(days) if (1..=DAYS_MAX).contains(&days) && days >= floor.unwrap_or(0) => Ok(days),
        Some(days) => {
            let floor = floor.unwrap_or(1);
            let text = format!(
                "--retain-days {days}: {floor} to {DAYS_MAX}; the tenant's floor is {floor}"
            );
            Err(Failed::new(EXIT_USAGE, text))
        }
        None => {
            let text = "for how long is it kept? The tenant has no retention, or this key may not read it: say --retain-days";
            Err(Failed::new(EXIT_USAGE, text))
        }
    }
}

/// Verifies the export in `dir`, puts it into the store, and reads back what it wrote.
pub fn run(
    (to, store, prefix): (&ToStore, Store, String),
    dir: &Path,
    days: u32,
) -> Result<(), Failed> {
    let key = to.key.clone().unwrap_or_default();
    let verify = Verify { key, export: vec![dir.to_owned()], ..Verify::default() };
    if crate::verify::run(&verify) != ExitCode::SUCCESS {
        let text = "the export does not verify: nothing was put into the store";
        return Err(Failed::new(EXIT_FAILED, text));
    }
    // To the end of a day, so that an export that goes on later that day finds its own locks.
    let day = (wall_clock().seconds() / DAY_SECONDS + 1 + u64::from(days)) * DAY_SECONDS;
    let until = Nanos(0).plus_seconds(day);
    let (checkpoint, count, bytes) =
        manifest(dir, &prefix, |key, bytes| keep(&store, key, bytes, until))?;
    let key = manifest_key(&prefix, checkpoint.size);
    keep(&store, &key, &bytes, until)?;
    say(&format!("{count} objects are locked until {until}, and were read back"));
    say(&format!("{}  sha256 {}", harmless(&key), sha256_hex(&bytes)));
    say(&dim("It names every object of this export. Who has it can check all of them."));
    Ok(())
}

/// The key of the manifest of an export of this size.
pub fn manifest_key(prefix: &str, size: u64) -> String {
    format!("{prefix}exports/{size}.json")
}

/// The checkpoint of the export in `dir`, the number of its objects, and its manifest. `each` takes every object with its key.
pub fn manifest(
    dir: &Path,
    prefix: &str,
    mut each: impl FnMut(&str, &[u8]) -> Result<(), Failed>,
) -> Result<(Checkpoint, usize, Vec<u8>), Failed> {
    let checkpoint = checkpoint_of(&file(dir, "checkpoint")?)?;
    let Checkpoint { origin, size, root } = &checkpoint;
    let all = files(*size);
    let bar = ProgressBar::new(all.len() as u64);
    let mut objects = Vec::with_capacity(all.len());
    for (path, key) in all {
        let bytes = file(dir, &path)?;
        let key = format!("{prefix}{key}");
        each(&key, &bytes)?;
        let (length, sha256) = (bytes.len() as u64, sha256_hex(&bytes));
        objects.push(Object { path, key, bytes: length, sha256 });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let count = objects.len();
    let manifest = Manifest { v: 1, origin, size: *size, root: root.to_string(), objects };
    let bytes = canonical::of(&manifest);
    Ok((checkpoint, count, bytes))
}

/// Every file of the export, with the key of its object. A tile of one width never changes; the others are named by size.
fn files(size: u64) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (level, count) in tiles(size) {
        for number in 0..count {
            let tile = Tile { level, number, width: Tile::width_at(level, number, size) };
            all.push((format!("tile/{tile}"), format!("tile/{tile}")));
        }
    }
    all.push(("keys.json".into(), format!("keys/{size}.json")));
    all.push(("README.txt".into(), format!("readme/{size}.txt")));
    all.push(("checkpoint".into(), format!("checkpoints/{size}")));
    all
}

/// Puts one object into the store, unless it is there; then checks content and lock.
fn keep(store: &Store, key: &str, bytes: &[u8], until: Nanos) -> Result<(), Failed> {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let found = store.head(key)?;
    let wrote = found.is_none() && store.put(key, bytes, until)?;
    let mut held = match found {
        Some(held) => held,
        None => held(store, key)?,
    };
    // What was just written is read back; of the rest, the store's own sum is enough, if it has one.
    let same = match held.sha256.filter(|_| !wrote) {
        Some(sum) => sum == digest,
        None => store.get(key)? == bytes,
    };
    if !same {
        let text = format!(
            "{key} holds something else: nothing was changed. Another log has this prefix, or this log was forked; keep both"
        );
        return Err(Failed::new(EXIT_FAILED, text));
    }
    if held.until.is_some_and(|locked| locked < until) {
        store.lock_longer(key, until)?;
        held = self::held(store, key)?;
    }
    if held.until.is_none_or(|locked| locked < until) {
        let text = format!(
            "{key} is not locked (mode COMPLIANCE) until {until}: make the bucket with Object Lock, and let this key read and set retention"
        );
        return Err(Failed::new(EXIT_FAILED, text));
    }
    Ok(())
}

fn held(store: &Store, key: &str) -> Result<Held, Failed> {
    let missing = || Failed::new(EXIT_FAILED, format!("{key} was written, and is not there"));
    store.head(key)?.ok_or_else(missing)
}

fn file(dir: &Path, path: &str) -> Result<Vec<u8>, Failed> {
    let path = dir.join(path);
    fs::read(&path).map_err(|e| Failed::new(EXIT_UNREADABLE, format!("{}: {e}", path.display())))
}
