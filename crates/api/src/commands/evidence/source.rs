//! Where evidence is made from: a server, or an export.

use super::{EXIT_FAILED, Failed, ahead::Ahead, usage};
use crate::{
    cli::Evidence,
    client::Client,
    commands::export::{checkpoint, checkpoint_of, tiles::Remote},
    evidence::{EXPIRED, Error, Files, Gone, Log},
};
use ledger::{
    atomic,
    entry::{Kind, View},
    log::{
        merkle,
        receipt::Receipt,
        tile::{Tile, read_bundle},
    },
    system::policy::PartAt,
    time::Nanos,
    verify::{
        ConsistencyProof,
        period::{Range, number},
    },
};
use serde_json::Value;
use std::{cell::RefCell, collections::HashMap, path::PathBuf};

/// Largest file that is read from an export, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A log that can be read.
pub struct Source {
    place: Place,
    /// True if witnesses have to have cosigned that checkpoint.
    witnessed: bool,
    /// The checkpoint under which everything is proven, once it is chosen.
    note: RefCell<Vec<u8>>,
    /// Files of policies by digest, as a server tells them.
    policies: RefCell<Option<HashMap<String, String>>>,
    /// Erasures and expiries after that checkpoint.
    later: RefCell<Later>,
    /// Bundles of the period that are fetched ahead.
    ahead: RefCell<Option<Ahead>>,
}

/// What let payload go after a checkpoint.
#[derive(Default)]
struct Later {
    /// Leaf indexes of erasures, by the erased entry, in order.
    erasures: HashMap<u64, Vec<u64>>,
    /// What expired, with the leaf index of the entry that says so, in order.
    expired: Vec<(Gone, u64)>,
    /// True if the tenant is deleted: no payload is left, and nobody may ask for any.
    deleted: bool,
}

impl Later {
    /// The entry whose receipt lies at this path, without its ending.
    fn at(&self, path: &str) -> Option<u64> {
        if let Some(name) = path.strip_prefix(EXPIRED) {
            let gone = Gone::parse(name)?;
            return self.expired.iter().find(|(one, _)| *one == gone).map(|(_, at)| *at);
        }
        let (erased, n) = path.strip_prefix("erasures/")?.split_once('-')?;
        let place = n.parse::<usize>().ok()?.checked_sub(1)?;
        self.erasures.get(&erased.parse().ok()?)?.get(place).copied()
    }
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
        let (note, policies, later) = (RefCell::default(), RefCell::default(), RefCell::default());
        let witnessed = arguments.witnessed;
        let source = Self { place, witnessed, note, policies, later, ahead: RefCell::default() };
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
    /// period gives the same evidence later on. Of those that are witnessed it takes the newest. Returns the range of the period.
    pub fn cover(&self, log: &Log<'_>) -> Result<Range, Failed> {
        let range = log.range;
        if let (Place::Server { client, base }, true) = (&self.place, log.is_over) {
            let least = range.end + 1;
            let of_log = format!("{base}/logs/1");
            let note = checkpoint(client, &of_log, Some(least), self.witnessed)?;
            let size = checkpoint_of(&note)?.size;
            self.note.replace(note);
            self.note_later(log, size)?;
        }
        Ok(range)
    }

    /// Notes which erasures and expiries came after the checkpoint that was taken.
    fn note_later(&self, log: &Log<'_>, size: u64) -> Result<(), Failed> {
        let mut later = self.later.borrow_mut();
        if let Some(last) = log.chain.entries.last() {
            later.deleted = log.with(*last, |_, view| Ok(Gone::of(view) == Some(Gone::All)))?;
        }
        for at in log.chain.entries.iter().copied().filter(|at| *at >= size) {
            log.with(at, |_, view| {
                let erased = number(view, &["event", "index"]);
                match view.kind {
                    Kind::Erasure => {
                        let erased = erased.ok_or("an erasure of no entry")?;
                        later.erasures.entry(erased).or_default().push(at);
                    }
                    Kind::Retention => {
                        later.expired.extend(Gone::of(view).map(|gone| (gone, at)));
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// What proves an erasure or an expiry after the checkpoint: its receipt, and that its log continues this one. Each is
    /// under the earliest kept checkpoint that has it, so it is the same later on.
    fn proof_later(&self, path: &str) -> Result<Option<Vec<u8>>, Failed> {
        let Place::Server { client, base } = &self.place else { return Ok(None) };
        let Some((path, kind)) = path.split_once('.') else { return Ok(None) };
        let Some(index) = self.later.borrow().at(path) else { return Ok(None) };
        let log = format!("{base}/logs/1");
        let note = checkpoint(client, &log, Some(index + 1), false)?;
        let to = checkpoint_of(&note)?.size;
        let tiles = Remote::new(client, &log, to);
        if kind == "json" {
            let from = checkpoint_of(&self.note.borrow())?.size;
            let proof = merkle::consistency(&tiles, from, to)?;
            let proof = proof.iter().map(ToString::to_string).collect();
            let proof = serde_json::to_vec(&ConsistencyProof { from, to, proof });
            return Ok(Some(proof.unwrap_or_default()));
        }
        let entry = client.get(&format!("{base}/entries/{index}"))?;
        let path = merkle::inclusion(&tiles, index, to)?;
        let checkpoint = String::from_utf8_lossy(&note).into_owned();
        Ok(Some(Receipt { entry, index, path, checkpoint }.to_string().into_bytes()))
    }

    /// Begins to fetch the bundles of a range, which are read in order from here on.
    pub fn fetch_ahead(&self, arguments: &Evidence, range: Range) -> Result<(), Failed> {
        if let Place::Server { base, .. } = &self.place {
            let size = checkpoint_of(&self.note.borrow())?.size;
            let (client, log) = (Client::new(&arguments.remote)?, format!("{base}/logs/1"));
            self.ahead.replace(Some(Ahead::start(client, log, range, size)));
        }
        Ok(())
    }

    /// A bundle that was fetched ahead.
    fn fetched(&self, path: &str) -> Option<Result<Vec<u8>, Failed>> {
        let ahead = self.ahead.borrow();
        let tile = Tile::parse(path.strip_prefix("tile/")?).filter(|tile| tile.level.is_none());
        ahead.as_ref()?.take(tile?.number)
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
                let bytes = match path.strip_prefix("disclosures/") {
                    Some(name) => {
                        let index = name.trim_end_matches(".disclosures");
                        client.get(&format!("{base}/entries/{index}/disclosures"))
                    }
                    None if path == "keys.json" => client.get(&format!("{base}/logs/1/keys")),
                    None => client.get(&format!("{base}/logs/1/{path}")),
                };
                let bytes = bytes.map_err(Failed::from)?;
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
        }
    }

    /// Every file of every version of policies, by digest.
    fn policies(client: &Client, base: &str) -> Result<HashMap<String, String>, Error> {
        let failed = |error: crate::client::Error| Failed::from(error);
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
        if path.starts_with("erasures/") || path.starts_with(EXPIRED) {
            return Ok(self.proof_later(path)?);
        }
        if path.starts_with("disclosures/") && self.later.borrow().deleted {
            return Ok(None);
        }
        match self.fetched(path) {
            Some(bytes) => Ok(Some(bytes?)),
            None => self.fetch(path),
        }
    }

    fn gone(&self, index: u64) -> Option<Gone> {
        let later = self.later.borrow();
        Gone::explains(later.expired.iter().map(|(gone, _)| *gone), index)
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
