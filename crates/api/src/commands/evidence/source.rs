//! Where evidence is made from: a server, or an export.

use super::{EXIT_FAILED, Failed, usage};
use crate::{
    cli::Evidence,
    client::Client,
    commands::export::checkpoint_of,
    evidence::{Error, Files, Log},
};
use ledger::{
    atomic,
    entry::View,
    log::tile::{Tile, read_bundle},
    system::policy::PartAt,
    time::Nanos,
    verify::period::Range,
};
use serde_json::Value;
use std::{cell::RefCell, collections::HashMap, path::PathBuf};

/// Largest file that is read from an export, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A log that can be read.
pub struct Source {
    place: Place,
    /// The checkpoint under which everything is proven, once it is chosen.
    note: RefCell<Vec<u8>>,
    /// Files of policies by digest, as a server tells them.
    policies: RefCell<Option<HashMap<String, String>>>,
}

enum Place {
    Server { client: Client, base: String },
    Export(PathBuf),
}

impl Source {
    /// Opens what the arguments name.
    pub fn open(arguments: &Evidence) -> Result<Self, Failed> {
        let place = match (&arguments.export, &arguments.tenant) {
            (Some(folder), _) => Place::Export(folder.clone()),
            (None, Some(tenant)) => {
                let client = Client::new(&arguments.remote)?;
                Place::Server { client, base: format!("/v1/tenants/{tenant}") }
            }
            (None, None) => return Err(usage("name the log: --tenant, or --export DIR")),
        };
        let source = Self { place, note: RefCell::default(), policies: RefCell::default() };
        let note = source.fetch("checkpoint")?.unwrap_or_default();
        if note.is_empty() {
            return Err(Failed::new(
                EXIT_FAILED,
                "there is no checkpoint: not an export, or an incomplete one",
            ));
        }
        source.note.replace(note);
        Ok(source)
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> Vec<u8> {
        self.note.borrow().clone()
    }

    /// `journal.time` of the first entry, and of the last one.
    pub fn times(&self) -> Result<(Nanos, Nanos), Failed> {
        let size = checkpoint_of(&self.note.borrow())?.size;
        let empty = || Failed::new(EXIT_FAILED, "the log has no entries");
        let last = size.checked_sub(1).ok_or_else(empty)?;
        let time = |index: u64| {
            let number = index / 256;
            let tile = Tile { level: None, number, width: Tile::width_at(None, number, size) };
            let bundle = self.get(&format!("tile/{tile}"))?.unwrap_or_default();
            let within = usize::try_from(index % 256).unwrap_or_default();
            let at = read_bundle(&bundle)
                .and_then(|entries| Some(View::parse(entries.get(within)?)?.origin.time));
            at.ok_or_else(|| Failed::new(EXIT_FAILED, format!("entry {index} can't be read")))
        };
        Ok((time(0)?, time(last)?))
    }

    /// Takes the earliest kept checkpoint that covers the period of a log that was opened under the newest one: so the same
    /// period gives the same evidence later on. Returns the range of the period.
    pub fn cover(&self, log: &Log<'_>) -> Result<Range, Failed> {
        let range = log.range;
        if let (Place::Server { client, base }, true) = (&self.place, log.is_over) {
            let least = range.end + 1;
            let note = client.get(&format!("{base}/logs/1/checkpoint?covers={least}"))?;
            self.note.replace(note);
        }
        Ok(range)
    }

    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.place {
            Place::Export(folder) => {
                let path = folder.join(path);
                if !path.exists() {
                    return Ok(None);
                }
                atomic::read(&path, FILE_BYTES_MAX).map_err(|e| Error::Unreadable(e.to_string()))
            }
            Place::Server { client, base } => {
                let failed = |error: crate::client::Error| Error::Unreadable(error.to_string());
                let bytes = match path.strip_prefix("disclosures/") {
                    Some(name) => {
                        let index = name.trim_end_matches(".disclosures");
                        client.get(&format!("{base}/entries/{index}/disclosures"))
                    }
                    None if path == "keys.json" => client.get(&format!("{base}/logs/1/keys")),
                    None => client.get(&format!("{base}/logs/1/{path}")),
                };
                let bytes = bytes.map_err(failed)?;
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
        }
    }

    /// Every file of every version of policies, by digest.
    fn policies(client: &Client, base: &str) -> Result<HashMap<String, String>, Error> {
        let failed = |error: crate::client::Error| Error::Unreadable(error.to_string());
        let status = client.get_json(&format!("{base}/policies")).map_err(failed)?;
        let newest = status["versions"][0]["version"].as_u64().unwrap_or_default();
        let mut files = HashMap::new();
        for version in 1..=newest {
            let told = client.get_json(&format!("{base}/policies/{version}")).map_err(failed)?;
            for file in told["files"].as_array().into_iter().flatten() {
                if let Some(content) = file["content"].as_str() {
                    files.insert(crate::evidence::sha256(content.as_bytes()), content.to_owned());
                }
            }
        }
        Ok(files)
    }

    /// Every file of every version of a list, by digest.
    fn list(
        client: &Client,
        base: &str,
        name: &str,
        files: &mut HashMap<String, String>,
    ) -> Result<(), Error> {
        let failed = |error: crate::client::Error| Error::Unreadable(error.to_string());
        let newest = client.get_json(&format!("{base}/lists/{name}")).map_err(failed)?;
        for version in 1..=newest["version"].as_u64().unwrap_or_default() {
            let told = client.get_json(&format!("{base}/lists/{name}/{version}"));
            if let Some(content) = told.map_err(failed)?["file"]["content"].as_str() {
                files.insert(crate::evidence::sha256(content.as_bytes()), content.to_owned());
            }
        }
        Ok(())
    }
}

/// The list whose file has this path.
fn list_of(path: &str) -> Option<&str> {
    path.strip_prefix("lists/")?.strip_suffix(".yaml")
}

impl Files for Source {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        if path == "checkpoint" {
            return Ok(Some(self.note.borrow().clone()));
        }
        self.fetch(path)
    }

    fn policy(&self, part: &PartAt) -> Result<Option<Vec<u8>>, Error> {
        match &self.place {
            Place::Export(_) => {
                let shown = self.fetch(&format!("disclosures/{}.disclosures", part.index))?;
                let shown = shown.unwrap_or_default();
                let line: Value = serde_json::from_slice(&shown).unwrap_or_default();
                Ok(line[2].as_str().map(|content| content.as_bytes().to_vec()))
            }
            Place::Server { client, base } => {
                let mut known = self.policies.borrow_mut();
                let known = match &mut *known {
                    Some(known) => known,
                    none => none.insert(Self::policies(client, base)?),
                };
                if !known.contains_key(&part.sha256)
                    && let Some(name) = list_of(&part.path)
                {
                    Self::list(client, base, name, known)?;
                }
                Ok(known.get(&part.sha256).map(|content| content.as_bytes().to_vec()))
            }
        }
    }
}
