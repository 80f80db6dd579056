//! The commands of the full build.

use super::{Clock, Key, Rules, Slack, Teams};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The commands of the full build.
#[derive(Subcommand, Debug)]
pub enum ServerCommand {
    /// Run the server
    #[command(after_help = "Example:\n  countersign serve --config /etc/countersign.toml")]
    Serve(Serve),
    /// Show it all in a fresh directory: publish, receipt, verify, hold a payment, approve it, spend it once
    #[command(after_help = "\
Examples:
  countersign demo           and keep the server up to look around
  countersign demo --once    and end")]
    Demo(Demo),
    /// Make the data directory and a tenant; prints the first admin key once
    #[command(
        after_help = "Example:\n  countersign init --config countersign.toml --tenant acme\n\n\
                      Prints the operator key (first tenant only) and the tenant's first admin key. They are not \
                      stored: keep them."
    )]
    Init(Init),
    /// Read the configuration and tell every mistake in it
    #[command(after_help = "Example:\n  countersign check-config --config /etc/countersign.toml")]
    CheckConfig(WithConfig),
    /// Issue, list and remove API keys; rotate signing keys
    Key(Key),
    /// Who must approve what: test the files, put them in force, show what is in force
    Rules(Rules),
    /// Publish events from a file or standard input, with resume; or check them first
    #[command(after_help = "\
Exit codes: 0 all are in the log, 1 some were rejected or in conflict, or the server refused, 2 wrong usage,
3 the file or the position can't be used, 69 the server can't be reached: repeat later.

Examples:
  countersign publish --check events.ndjson                    sends nothing, needs no server
  countersign publish --server https://log.example.com --tenant acme --api-key-file gw.key events.ndjson
  countersign publish --tenant acme --api-key-file gw.key --resume events.position events.ndjson
  tail -f decisions.ndjson | countersign publish --tenant acme --api-key-file gw.key -")]
    Publish(Publish),
    /// Re-derive everything from the entries: tiles, roots, checkpoints, indexes (server stopped, or a backup)
    #[command(after_help = "\
Exit codes: 0 sound, 1 damage found, 3 can't be read.

Examples:
  countersign fsck --config /etc/countersign.toml                            the server is stopped
  countersign fsck --config /etc/countersign.toml --data-dir ./backups/nightly-1")]
    Fsck(Fsck),
    /// Write a static copy of a tenant's log that any tile verifier reads, or the history of one approval
    #[command(after_help = "\
Examples:
  countersign export --tenant acme --api-key-file auditor.key ./export
  countersign export --tenant acme --api-key-file auditor.key --approval apr-33f4htoag2cmmf5w5lugpo2h2e ./approval")]
    Export(Export),
    /// Erase the payload of an entry, on disk and in the journal
    #[command(after_help = "\
Examples:
  countersign erase --tenant acme --api-key-file admin.key 4711                  the whole payload
  countersign erase --tenant acme --api-key-file admin.key --field params 4711   one field of it")]
    Erase(Erase),
    /// After a clock was wrong: begin time anew
    Clock(Clock),
    /// Write a consistent copy of the database to a new directory on the server
    #[command(after_help = "Example:\n  countersign backup --api-key-file operator.key nightly-1")]
    Backup(Backup),
    /// The ways out of a halt
    Recover(Recover),
    /// Set up a Slack app
    Slack(Slack),
    /// Set up a Microsoft Teams bot
    Teams(Teams),
    /// Measure, against floors measured in the same run
    #[command(after_help = "Example:\n  countersign bench ingest --seconds 10")]
    Bench(Bench),
    /// Print the OpenAPI document
    #[command(hide = true)]
    Openapi,
}

/// Where the configuration is.
#[derive(Args, Debug, Clone)]
pub struct WithConfig {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE", default_value = crate::config::DEFAULT_PATH)]
    pub config: PathBuf,
}

/// Arguments of `serve`.
#[derive(Args, Debug, Clone)]
pub struct Serve {
    #[command(flatten)]
    pub config: WithConfig,
    /// For `bench`: append every write to this file
    #[arg(long, value_name = "FILE", hide = true)]
    pub record: Option<PathBuf>,
}

/// Where the running server is, and who asks.
#[derive(Args, Debug, Clone)]
pub struct Remote {
    /// Base URL of the server; without it, --config says where it is
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The server's configuration: where it listens, and its certificate (default: ./countersign.toml, if it is yours)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the API key
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// PEM file with the certificates of the authorities that may vouch for the server (default: the public ones)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Send the API key over plain http:// to another machine: only where nobody else is on the way
    #[arg(long)]
    pub allow_http: bool,
}

impl Remote {
    /// The configuration file, for a command that also reads other things in it.
    pub fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| crate::config::DEFAULT_PATH.into())
    }
}

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Directory to make and use, or an empty one (default: a fresh one)
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// End after the story instead of staying up
    #[arg(long)]
    pub once: bool,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

/// Arguments of `init`.
#[derive(Args, Debug)]
pub struct Init {
    #[command(flatten)]
    pub config: WithConfig,
    /// Name of the tenant: a-z, 0-9 and -, at most 63
    #[arg(long)]
    pub tenant: String,
    /// Post an existing journal again with the tenant's existing keys (a replica)
    #[arg(long)]
    pub adopt: bool,
    /// The tenant exists: finish an `init` that was cut off, or issue one more admin key
    #[arg(long, conflicts_with = "adopt")]
    pub new_admin_key: bool,
    /// Why: kept beside the entry of the admin key, and can be erased
    #[arg(long, value_name = "TEXT", conflicts_with = "adopt")]
    pub reason: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `publish`.
#[derive(Args, Debug)]
pub struct Publish {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant
    #[arg(long, required_unless_present = "check")]
    pub tenant: Option<String>,
    /// Events: one a line, or JSON as a person writes it (one event, several, an array); `-` reads standard input
    pub file: PathBuf,
    /// Check the events as the server would, and send nothing
    #[arg(long, conflicts_with = "resume")]
    pub check: bool,
    /// Events per request, 1 to 1000
    #[arg(long, default_value_t = 500)]
    pub batch: usize,
    /// Remember in this file how far the events are published, and go on from there; only for the same file, or a longer one
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Write one JSON line per event to standard output
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `fsck`.
#[derive(Args, Debug)]
pub struct Fsck {
    #[command(flatten)]
    pub config: WithConfig,
    /// Check this database directory (a backup) instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Also post the retained journal again from its beginning and compare every leaf (P6); asks NATS where it is there
    #[arg(long)]
    pub replay: bool,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `export`.
#[derive(Args, Debug)]
pub struct Export {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// Directory to write: a new or empty one, or an earlier export of the same log, which is brought up to date
    pub dir: PathBuf,
    /// Only the history of this approval (needs a key of role auditor or admin)
    #[arg(long, value_name = "ID")]
    pub approval: Option<String>,
    /// Also write disclosures (needs the discloser role)
    #[arg(long)]
    pub disclosures: bool,
}

/// Arguments of `erase`.
#[derive(Args, Debug)]
pub struct Erase {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// Leaf index of the entry
    pub index: u64,
    /// A field to erase; all of them when not given
    #[arg(long = "field")]
    pub fields: Vec<String>,
    /// Cancel an approval that still needs what is erased; refused otherwise
    #[arg(long)]
    pub cancel: bool,
    /// Why, e.g. the number of the request; asked for at a terminal. Kept beside the entry, and can be erased itself
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `backup`.
#[derive(Args, Debug)]
pub struct Backup {
    #[command(flatten)]
    pub remote: Remote,
    /// New directory on the server's machine, inside its configured `backup_dir`
    pub name: String,
}

/// Arguments of `recover`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign recover --config c.toml --tenant acme --accept-journal-loss --reason 'broker lost its disk, INC-31'
  countersign recover --config c.toml --tenant acme --new-guard --reason 'guard volume lost, INC-32'")]
pub struct Recover {
    #[command(flatten)]
    pub config: WithConfig,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// The broker lost messages for good: begin a new journal epoch by an entry that says what is missing
    #[arg(long)]
    pub accept_journal_loss: bool,
    /// Journal messages are gone that nothing explains, and there is no newer backup: say so in the log, and go on
    #[arg(long, conflicts_with_all = ["accept_journal_loss", "new_guard"])]
    pub accept_hole: bool,
    /// The guard file is lost for good: begin a new one at the database's size
    #[arg(long, conflicts_with = "accept_journal_loss")]
    pub new_guard: bool,
    /// Why; asked for at a terminal. Kept in the log beside what was done, and can be erased
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `bench`.
#[derive(Args, Debug, Clone)]
pub struct Bench {
    /// What to measure: ingest, single, open-loop, proofs, approvals, jetstream, or all of them
    #[arg(default_value = "all")]
    pub what: String,
    /// Directory to work in, kept afterwards (default: a fresh one in the current directory, removed when all went well)
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Seconds per measurement
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Leaves for the proof measurement
    #[arg(long, default_value_t = 10_000_000)]
    pub leaves: u64,
    /// Finished approvals behind the open ones, for the start of approvals
    #[arg(long, default_value_t = 200_000)]
    pub finished: u64,
    /// Open approvals, for the start of approvals and the inbox
    #[arg(long, default_value_t = 10_000)]
    pub open: u64,
    /// A running NATS server for the JetStream measurements
    #[arg(long, value_name = "URL")]
    pub nats: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}
