//! The configuration: one TOML file without hidden layers. Every mistake is reported at once. `example.toml`
//! lists every key.

mod check;
mod file;
mod mistakes;
mod watch;

pub use file::*;

use crate::limits::{self, Shares};
use approvals::setup::{ChatKind, Connections};
use ledger::{
    Options,
    ident::Ident,
    journal::jetstream,
    store::rocks::{Compression, Opening},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Exit status for a bad configuration. sysexits has `EX_CONFIG` (78), but operators' scripts know 64 as
/// "wrong usage".
pub const EXIT_CONFIG: u8 = 64;

/// Path of the configuration, unless another one is given.
pub const DEFAULT_PATH: &str = "countersign.toml";

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, as written.
    pub file: File,
    /// `public_url` without its scheme and trailing slash. It begins every origin.
    pub public_host: String,
    /// Settings that are allowed but doubtful.
    pub warnings: Vec<String>,
    /// For `bench`: file to which every write is appended.
    pub record: Option<PathBuf>,
    /// The file it was read from.
    pub path: PathBuf,
    /// Shares of this process's open files. `serve` determines them.
    pub shares: Shares,
}

impl Config {
    /// Reads and checks a file. Reports all mistakes at once, each a line that says what to do.
    pub fn load(path: &Path) -> Result<Self, Vec<String>> {
        let text = text(path)?;
        let read = mistakes::read(&text);
        // A value that could not be read is not also checked.
        match (Self::check(read.file), read.wrong) {
            (checked, wrong) if wrong.is_empty() => Ok(Self { path: path.to_owned(), ..checked? }),
            (checked, mut wrong) => {
                let more = checked.err().unwrap_or_default();
                let is_new =
                    |line: &String| !read.left_out.iter().any(|name| line.starts_with(name));
                wrong.extend(more.into_iter().filter(is_new));
                Err(wrong)
            }
        }
    }

    /// Reads a file without checking what it names, for commands that only call a server.
    pub fn file(path: &Path) -> Result<File, Vec<String>> {
        let read = mistakes::read(&text(path)?);
        if read.wrong.is_empty() { Ok(read.file) } else { Err(read.wrong) }
    }

    /// Raises this process's limits as far as the system allows, and divides them.
    pub fn claim_limits(&mut self) -> Result<(), Vec<String>> {
        let followers = match self.file.journal {
            Journal::Embedded => 0,
            // One follower for each tenant's folder, and some for future tenants.
            Journal::Jetstream { .. } => {
                let tenants = std::fs::read_dir(&self.file.keys_dir).map_or(0, Iterator::count) + 8;
                // A replica also follows the register of each.
                if self.file.replica.is_some() { 2 * tenants } else { tenants }
            }
        };
        self.warnings.extend(limits::warning());
        self.shares = limits::claim(self.file.limits.connections, followers)?;
        Ok(())
    }

    /// Options with which to open the ledger.
    pub fn ledger_options(&self, create: bool) -> Options {
        let compression = match self.file.compression {
            CompressionName::Full => Compression::Full,
            CompressionName::None => Compression::None,
        };
        Options {
            store: Opening {
                path: self.file.data_dir.clone(),
                create,
                compression,
                files_max: self.shares.store_files,
                record: self.record.clone(),
            },
            keys_dir: self.file.keys_dir.clone(),
            guard_path: self.file.guard_path.clone(),
            public_host: self.public_host.clone(),
            commit_messages_max: self.file.limits.commit_messages,
            clock: ledger::clock::wall_clock,
            one_signer: one_signer(),
            replicas: None,
        }
    }

    /// Options of the broker, and the replicas. `None` with the embedded journal.
    pub fn jetstream(&self) -> Option<(jetstream::Options, usize)> {
        let Journal::Jetstream {
            url,
            credentials_file,
            user,
            password_file,
            token_file,
            tls_ca_file,
            replicas,
        } = self.file.journal.clone()
        else {
            return None;
        };
        let options = jetstream::Options {
            url,
            credentials_file,
            user,
            password_file,
            token_file,
            tls_ca_file,
            ..jetstream::Options::default()
        };
        Some((options, replicas))
    }

    /// The connections by name, each with its tenant and its chat. The names were checked.
    pub fn connections(&self) -> Connections {
        let File { slack, teams, webhook, .. } = &self.file;
        let slack = slack.iter().map(|(name, c)| (name, &c.tenant, ChatKind::Slack));
        let teams = teams.iter().map(|(name, c)| (name, &c.tenant, ChatKind::Teams));
        let webhook = webhook.iter().map(|(name, c)| (name, &c.tenant, ChatKind::Webhook));
        let all = slack.chain(teams).chain(webhook);
        let known = |(name, tenant, chat): (&String, &String, ChatKind)| {
            Some((Ident::new(name).ok()?, (Ident::new(tenant).ok()?, chat)))
        };
        all.filter_map(known).collect()
    }

    /// The path of `public_url` before our own paths: empty, or for example `/countersign` behind a proxy that removes it.
    pub fn base(&self) -> &str {
        let (_, rest) = self.file.public_url.split_once("://").unwrap_or_default();
        rest.find('/').map_or("", |at| rest[at..].trim_end_matches('/'))
    }

    /// Time in which the scrub reads everything once.
    pub fn scrub_period(&self) -> Duration {
        Duration::from_secs(u64::from(self.file.scrub_days) * 24 * 3600)
    }

    /// How long posted journal messages are kept.
    pub fn journal_retention(&self, days: Option<u32>) -> Duration {
        let days = days.unwrap_or(self.file.journal_retention_days);
        Duration::from_secs(u64::from(days) * 24 * 3600)
    }
}

fn text(path: &Path) -> Result<String, Vec<String>> {
    let text = std::fs::read_to_string(path);
    let hint = "name the configuration with --config, or copy example.toml and edit it";
    text.map_err(|e| vec![format!("{}: {e}; {hint}", path.display())])
}

/// Only in tests may several servers post and decide on one journal.
#[cfg(feature = "fault-points")]
#[allow(clippy::disallowed_methods, reason = "a test's switch, absent from the shipped binary")]
fn one_signer() -> bool {
    std::env::var_os("COUNTERSIGN_SEVERAL_SIGNERS").is_none()
}

/// One log has one signer.
#[cfg(not(feature = "fault-points"))]
const fn one_signer() -> bool {
    true
}
