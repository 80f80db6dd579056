//! Fetches a copy of a replica's database into a folder beside `data_dir`. What is there already is not fetched again.

use super::failed;
use crate::{
    client::Client,
    commands::Failed,
    replicas::copies::{self, CopiedFile, FILES_MAX},
    terminal::harmless,
};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::atomic::{self, Folder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

/// Ending of the folder beside `data_dir`.
const ENDING: &str = ".joining";
/// The file in it that names the copy.
const COPY: &str = "copy.json";
/// The folder of the database in it.
const DATABASE: &str = "data";
/// Largest list of files, in bytes.
const COPY_BYTES_MAX: u64 = 64 << 20;

/// A copy, as the replica names it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Copied {
    copy: String,
    files: Vec<CopiedFile>,
}

/// The folder in which a join happens.
pub struct Staging {
    place: PathBuf,
    data_dir: PathBuf,
    copy: Option<Copied>,
}

impl Staging {
    /// Opens the folder of an interrupted join, or a new one.
    pub fn open(data_dir: &Path) -> Result<Self, Failed> {
        let mut name = data_dir.as_os_str().to_owned();
        name.push(ENDING);
        let (place, data_dir) = (PathBuf::from(name), data_dir.to_owned());
        if !place.exists() {
            atomic::make_folder(&place)?;
        }
        let known = atomic::read(&place.join(COPY), COPY_BYTES_MAX)?;
        let copy = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self { place, data_dir, copy })
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.place.join(DATABASE)
    }

    /// Fetches the whole copy. Returns its bytes.
    pub fn fetch(&mut self, replica: &Client) -> Result<u64, Failed> {
        let known = self.copy.take();
        let wanted = json!({"copy": known.as_ref().map(|known| &known.copy)});
        let answer = replica.post_json("/v1/replicas/copies", &wanted)?;
        let copy: Copied = serde_json::from_value(answer.clone())
            .map_err(|_| Failed::from(replica.strange(answer.to_string().as_bytes())))?;
        check(replica, &copy)?;
        if known.is_none_or(|known| known.copy != copy.copy) {
            remove(&self.database())?;
        }
        if !self.database().exists() {
            atomic::make_folder(&self.database())?;
        }
        let list = serde_json::to_vec(&copy).unwrap_or_default();
        atomic::replace(&self.place.join(COPY), &list)?;
        let bytes = copy.files.iter().map(|file| file.bytes).sum();
        let bar = ProgressBar::new(bytes);
        let style = ProgressStyle::with_template(
            "copy {bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        for file in &copy.files {
            self.file(replica, &copy.copy, file, &bar)?;
        }
        bar.finish_and_clear();
        self.copy = Some(copy);
        Folder::open(&self.database())?.sync_everything()?;
        Ok(bytes)
    }

    /// Fetches the rest of a file, piece by piece.
    fn file(
        &self,
        replica: &Client,
        copy: &str,
        wanted: &CopiedFile,
        bar: &ProgressBar,
    ) -> Result<(), Failed> {
        let CopiedFile { name, bytes } = wanted;
        let path = self.database().join(name);
        let mut file = File::options().create(true).append(true).open(&path)?;
        let mut at = file.metadata()?.len();
        bar.inc(at.min(*bytes));
        while at < *bytes {
            let piece = replica.get(&format!("/v1/replicas/copies/{copy}/{name}?from={at}"))?;
            if piece.is_empty() {
                return Err(failed(format!(
                    "{} ends {name} at {at} of {bytes} bytes: repeat the command",
                    replica.server()
                )));
            }
            file.write_all(&piece)?;
            at += piece.len() as u64;
            bar.inc(piece.len() as u64);
        }
        if at > *bytes {
            // It goes on from the beginning of this file next time.
            file.set_len(0)?;
            return Err(failed(format!(
                "{name} is longer than {} said: repeat the command",
                replica.server()
            )));
        }
        Ok(())
    }

    /// Puts the proven database in place of the empty `data_dir`, with one rename, and has the copy removed.
    pub fn put_in_place(self, replica: &Client) -> Result<(), Failed> {
        let from = self.database();
        Folder::open(&from)?.sync_everything()?;
        fs::rename(&from, &self.data_dir).map_err(|error| {
            failed(format!(
                "data_dir {}: {error}. If a disk is mounted there, let data_dir be a folder on that disk, and repeat the command",
                self.data_dir.display()
            ))
        })?;
        if let Some(above) = self.data_dir.parent().filter(|above| !above.as_os_str().is_empty()) {
            Folder::open(above)?.sync_everything()?;
        }
        self.discard(replica)
    }

    /// Removes what was fetched, here and there.
    pub fn discard(self, replica: &Client) -> Result<(), Failed> {
        remove(&self.place)?;
        if let Some(Copied { copy, .. }) = self.copy {
            // The replica removes it a day later by itself.
            let _removed = replica.delete(&format!("/v1/replicas/copies/{copy}"), &json!({}));
        }
        Ok(())
    }
}

/// Refuses a list by which something else than a database would be written.
fn check(replica: &Client, copy: &Copied) -> Result<(), Failed> {
    let is_one = copy.files.iter().any(|file| file.name == "CURRENT");
    let strange = copy.files.iter().find(|file| !copies::is_file_name(&file.name));
    let sum = copy.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes));
    if let Some(file) = strange {
        let name = harmless(&file.name);
        return Err(failed(format!(
            "{} lists a file {name}, which is none of a database: join from another replica",
            replica.server()
        )));
    }
    if copies::is_name(&copy.copy) && is_one && sum.is_some() && copy.files.len() <= FILES_MAX {
        return Ok(());
    }
    Err(failed(format!(
        "{} lists what is no database: join from another replica",
        replica.server()
    )))
}

fn remove(folder: &Path) -> Result<(), Failed> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
