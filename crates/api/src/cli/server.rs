//! The commands of the full build.

use super::{
    Agent, Alert, Approval, Budget, Clock, Erase, Evidence, Freeze, Incident, Key, List, Log,
    Policy, Prune, Replica, Rules, Sink, Slack, Sources, Teams, Tenant, ToStore,
};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// The commands of the full build.
#[derive(Subcommand, Debug)]
pub enum ServerCommand {
    /// Run the server
    #[command(after_help = "Example:\n  countersign serve --config /etc/countersign.toml")]
    Serve(Serve),
    /// Show everything in a new directory: publish, get a receipt, verify it, pause a payment, approve it, redeem it once
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
    /// Check the configuration and report every mistake
    #[command(after_help = "Example:\n  countersign check-config --config /etc/countersign.toml")]
    CheckConfig(WithConfig),
    /// Issue, list and remove API keys; rotate signing keys
    Key(Key),
    /// Test the files of rules and people, put them in force, show what is in force
    Rules(Rules),
    /// Several servers that sign one log together: make a replica's key, show how they stand
    Replica(Replica),
    /// Write the first policy of a log: which checkpoints count, for whoever verifies
    Log(Log),
    /// Declare the sources that must report, and show which of them are silent
    Sources(Sources),
    /// Show how the systems stand that entries are sent to; test one; send entries again
    Sink(Sink),
    /// Check, test and explain policies: files that say what agents may do
    #[command(after_help = "\
Examples:
  countersign policy check policies/acme
  countersign policy test --mutate policies/acme
  countersign policy diff policies/in-force policies/acme
  countersign policy explain policies/acme call.json")]
    Policy(Policy),
    /// See what waits for you, and answer: for people with a reviewer key
    #[command(after_help = "\
Examples:
  countersign approval list --tenant acme --api-key-file bob.key
  countersign approval show --tenant acme --api-key-file bob.key apr-33f4htoag2cmmf5w5lugpo2h2e
  countersign approval approve --tenant acme --api-key-file bob.key apr-33f4htoag2cmmf5w5lugpo2h2e")]
    Approval(Approval),
    /// Show the lists of a tenant's policies, and ask people to add and remove items
    #[command(after_help = "\
Examples:
  countersign list show --tenant acme --api-key-file author.key known-hosts
  countersign list add --tenant acme --api-key-file author.key --comment 'Ticket 4711' known-hosts api.example.eu")]
    List(List),
    /// Stop an agent, a session, a run, a tool, a gateway or everything at once; show and lift freezes
    #[command(after_help = "\
Examples:
  countersign freeze add --tenant acme --api-key-file responder.key --reason 'pays the wrong people' agent payments-bot
  countersign freeze list --tenant acme --api-key-file responder.key
  countersign freeze lift --tenant acme --api-key-file responder.key --reason 'repaired' --wait 812")]
    Freeze(Freeze),
    /// Show what clauses and the watch of the log found, and close it
    #[command(after_help = "\
Examples:
  countersign alert list --tenant acme --api-key-file responder.key
  countersign alert close --tenant acme --api-key-file responder.key --reason 'a load test' 812
  countersign alert export --tenant acme --api-key-file auditor.key")]
    Alert(Alert),
    /// Collect alerts, freezes, other entries and notes under one name, and export them with their proofs
    #[command(after_help = "\
Examples:
  countersign incident open --tenant acme --api-key-file responder.key --reason 'payments to a wrong payee' --entry 812
  countersign incident note --tenant acme --api-key-file responder.key --reason 'the vendor was called' --entry 813 820
  countersign incident close --tenant acme --api-key-file responder.key --reason 'repaired, ticket 4711' 820
  countersign incident export --tenant acme --api-key-file responder.key 820 > incident-820.ndjson")]
    Incident(Incident),
    /// Tokens by which agents prove who they are
    #[command(after_help = "\
Example:
  countersign agent token issue --tenant acme --api-key-file gw.key --scope payments payments-bot")]
    Agent(Agent),
    /// Show what is booked on budgets, and what is left
    Budget(Budget),
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
  countersign export --tenant acme --api-key-file auditor.key --approval apr-33f4htoag2cmmf5w5lugpo2h2e ./approval
  countersign export --tenant acme --api-key-file auditor.key --into s3://evidence/acme --store s3.toml --key log.vkey ./export")]
    Export(Export),
    /// Write a folder that answers an auditor's request list offline: what was decided in a period, by whom, under which
    /// policies, with proofs, samples, figures and a page to read
    #[command(after_help = "\
Exit codes: 0 made, 1 refused or not whole without --partial, 2 wrong usage, 3 a file can't be read, 4 made, and not whole.

Examples:
  countersign evidence --tenant acme --api-key-file auditor.key --from 2026-01-01 --to 2026-07-01 -o evidence
  countersign evidence --export ./export --auditor-seed 'taken from the newspaper of today' -o evidence
  countersign verify --key log.vkey --evidence ./evidence")]
    Evidence(Evidence),
    /// Erase the payload of an entry, on disk and in the journal
    #[command(after_help = "\
Examples:
  countersign erase --tenant acme --api-key-file admin.key 4711                  the whole payload
  countersign erase --tenant acme --api-key-file admin.key --field params 4711   one field of it
  countersign erase --tenant acme --api-key-file admin.key 4711 4712 4713        several at once")]
    Erase(Erase),
    /// Set for how long payload and journal messages are kept; begin and end legal holds
    Tenant(Tenant),
    /// Remove old entries that are in a verified export; tiles, roots and all proofs stay
    #[command(after_help = "\
Example:
  countersign prune --tenant acme --api-key-file admin.key --until 512 --export ./export --key log.vkey \\
      --reason 'records policy 9'")]
    Prune(Prune),
    /// Restart time after a clock was wrong
    Clock(Clock),
    /// Write a consistent copy of the database to a new directory on the server
    #[command(after_help = "Example:\n  countersign backup --api-key-file operator.key nightly-1")]
    Backup(Backup),
    /// Leave a halt
    Recover(Recover),
    /// Set up a Slack app
    Slack(Slack),
    /// Set up a Microsoft Teams bot
    Teams(Teams),
    /// Measure the speed, against floors of the same run
    #[command(after_help = "Example:\n  countersign bench ingest --seconds 10")]
    Bench(Bench),
    /// Print the OpenAPI document
    #[command(hide = true)]
    Openapi,
    /// Print the list of metrics, as JSON
    #[command(hide = true)]
    Metrics,
}

/// Path of the configuration.
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
    /// Base URL of the server (default: from --config)
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// The server's configuration, for its address and certificate (default: ./countersign.toml, if you own it)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the API key
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// PEM file with the certificate authorities of the server (default: the public ones)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Allow the API key to be sent over plain http:// to another machine: only where nobody else can read the network
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
    /// Directory to make, or an empty one (default: a new one)
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// End when the demo is over
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
    /// For an existing tenant: finish an interrupted `init`, or issue another admin key
    #[arg(long, conflicts_with = "adopt")]
    pub new_admin_key: bool,
    /// The person of the admin key: needed where the rules ask people about what an admin does
    #[arg(long, value_name = "ID", conflicts_with = "adopt")]
    pub person: Option<String>,
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
    /// Events: one a line, or JSON over several lines (one event, several, an array); `-` reads standard input
    pub file: PathBuf,
    /// Check the events as the server would, and send nothing
    #[arg(long, conflicts_with = "resume")]
    pub check: bool,
    /// Events per request, 1 to 1000
    #[arg(long, default_value_t = 500)]
    pub batch: usize,
    /// Store the position in this file and continue from there; only for the same input file, which may have grown
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
    /// Also post the retained journal again from its beginning and compare every leaf (P6); asks NATS if it is configured
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
    /// Directory to write: a new or empty one, or an earlier export of the same log, which is updated
    pub dir: PathBuf,
    /// Only the history of this approval (needs a key of role auditor or admin)
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to"])]
    pub approval: Option<String>,
    /// Only a range, from this leaf index, day or time on, with its proof
    #[arg(long, value_name = "INDEX|TIME")]
    pub from: Option<String>,
    /// The range ends with this leaf index, or before this day or time
    #[arg(long, value_name = "INDEX|TIME")]
    pub to: Option<String>,
    /// Also write disclosures (needs the discloser role)
    #[arg(long)]
    pub disclosures: bool,
    /// Under a checkpoint that outside witnesses have cosigned, with their cosignatures
    #[arg(long)]
    pub witnessed: bool,
    #[command(flatten)]
    pub to_store: ToStore,
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
#[expect(clippy::struct_excessive_bools, reason = "each is a flag on the command line")]
pub struct Recover {
    #[command(flatten)]
    pub config: WithConfig,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// The broker lost messages permanently: begin a new journal epoch, by an entry that says what is missing
    #[arg(long)]
    pub accept_journal_loss: bool,
    /// With [replica]: every replica and NATS are lost, and this is the one database that is left
    #[arg(long, requires = "accept_journal_loss")]
    pub all_replicas_lost: bool,
    /// Journal messages are gone, nothing explains it, and there is no newer backup: record that in the log and continue
    #[arg(long, conflicts_with_all = ["accept_journal_loss", "new_guard"])]
    pub accept_hole: bool,
    /// The guard file is lost permanently: make a new one at the database's size
    #[arg(long, conflicts_with = "accept_journal_loss")]
    pub new_guard: bool,
    /// Why; asked for at a terminal. Kept in the log beside what was done, and can be erased
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Arguments of `bench`.
#[derive(Args, Debug, Clone)]
pub struct Bench {
    /// What to measure: ingest, single, open-loop, proofs, approvals, jetstream, decide, evidence, sinks, or all of them
    #[arg(default_value = "all")]
    pub what: String,
    /// Directory to work in, kept afterwards (default: a fresh one in the current directory, removed when all went well)
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Seconds per measurement
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Leaves for the proof measurement; evidence takes at most a million, sinks half a million
    #[arg(long, default_value_t = 10_000_000)]
    pub leaves: u64,
    /// Finished approvals beside the open ones, for the start of approvals
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
