//! The command line: words and their meaning. What they do lies in `commands`.

#[cfg(feature = "server")]
mod agent;
#[cfg(feature = "server")]
mod alert;
#[cfg(feature = "server")]
mod approval;
#[cfg(feature = "server")]
mod budget;
#[cfg(feature = "server")]
mod erase;
#[cfg(feature = "server")]
mod evidence;
#[cfg(feature = "server")]
mod freeze;
#[cfg(feature = "server")]
mod groups;
#[cfg(feature = "server")]
mod incident;
#[cfg(feature = "server")]
mod list;
#[cfg(feature = "server")]
mod policy;
#[cfg(feature = "server")]
mod prune;
#[cfg(feature = "server")]
mod replica;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod sink;
#[cfg(feature = "server")]
mod store;
#[cfg(feature = "server")]
mod tenant;

#[cfg(feature = "server")]
pub use self::{
    agent::*, alert::*, approval::*, budget::*, erase::*, evidence::*, freeze::*, groups::*,
    incident::*, list::*, policy::*, prune::*, replica::*, server::*, sink::*, store::*, tenant::*,
};

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Proof and human approval for AI agents' calls.
#[derive(Parser, Debug)]
#[command(name = "countersign", version, max_term_width = 100)]
#[command(after_help = "\
Examples:
  countersign demo                                   see it work in a fresh directory
  countersign init --config countersign.toml --tenant acme
  countersign serve --config countersign.toml
  countersign verify --key log.vkey receipt.tlog-proof")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Check receipts, checkpoints and whole exports, offline, with the log's public key alone
    Verify(Verify),
    /// Compute every recorded verdict of an export again, offline, from its entry and the policies that it names
    Replay(Replay),
    /// Show one recorded verdict of an export: its facts, and what each clause said
    Explain(Explain),
    #[cfg(feature = "server")]
    #[command(flatten)]
    Server(ServerCommand),
}

/// An export to read, and the key to check it with.
#[derive(Args, Debug)]
pub struct Exported {
    /// The log's public key: `name+hash+base64`, or a file that holds it
    #[arg(long, value_name = "VKEY|FILE")]
    pub key: String,
    /// Keys document that leads from that key to later ones (default: the export's own `keys.json`)
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// The export (directory), with disclosures
    #[arg(long, value_name = "DIR")]
    pub export: PathBuf,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `replay`.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit codes: 0 every verdict that could be computed is the recorded one, 1 refused or another verdict, 2 wrong usage,
3 a file can't be read.

The whole export is verified, whatever range is computed again.

Examples:
  countersign replay --key log.vkey --export ./export
  countersign replay --key log.vkey --export ./export --from 1200 --to 2400")]
pub struct Replay {
    #[command(flatten)]
    pub exported: Exported,
    /// First leaf index whose verdict is computed again (default: 0)
    #[arg(long, value_name = "INDEX")]
    pub from: Option<u64>,
    /// Last leaf index (default: the last one of the export)
    #[arg(long, value_name = "INDEX")]
    pub to: Option<u64>,
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit codes: 0 computed and the same, 1 refused or another verdict, 2 wrong usage, 3 a file can't be read.

Example:
  countersign explain --key log.vkey --export ./export 811")]
pub struct Explain {
    #[command(flatten)]
    pub exported: Exported,
    /// Leaf index of the decision
    pub index: u64,
}

/// Arguments of `verify`.
#[derive(Args, Debug, Default)]
#[command(after_help = "\
Exit codes: 0 verified, 1 refused, 2 wrong usage, 3 a file can't be read, 4 verified, and the evidence is not whole.

Examples:
  countersign verify --key log.vkey receipt.tlog-proof
  countersign verify --key log.vkey --keys keys.json receipt.tlog-proof   follow key rotations
  countersign verify --key log.vkey --disclosures r.disclosures receipt.tlog-proof
  countersign verify --key log.vkey --policy tlog-policy receipt.tlog-proof   who else must have cosigned
  countersign verify --key log.vkey --checkpoint checkpoint
  countersign verify --key log.vkey --checkpoint old --checkpoint new --proof proof.json
  countersign verify --key log.vkey --export ./export
  countersign verify --key log.vkey --export ./export --checkpoint old --approval ./history receipt.tlog-proof
  countersign verify --key log.vkey --approval ./apr-33f4htoag2cmmf5w5lugpo2h2e
  countersign verify --key log.vkey --evidence ./evidence --checkpoint handed-over

Everything given to one command is one claim: parts that contradict each other are refused.")]
pub struct Verify {
    /// The log's public key: `name+hash+base64`, or a file that holds it
    #[arg(long, value_name = "VKEY|FILE")]
    pub key: String,
    /// Keys document that leads from that key to later ones (`GET …/logs/1/keys`, or `keys.json`)
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Your own policy (C2SP tlog-policy): every checkpoint must have the cosignatures of its quorum
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Receipts (C2SP tlog-proof with the entry in its `extra` line); `-` reads standard input
    #[arg(value_name = "RECEIPT")]
    pub receipts: Vec<PathBuf>,
    /// Disclosures that go with the one receipt, one per line
    #[arg(long, value_name = "FILE")]
    pub disclosures: Option<PathBuf>,
    /// A checkpoint; may be repeated
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
    /// A consistency proof (`GET …/proofs/consistency?from=…&to=…`) between the sizes of two given checkpoints or receipts
    #[arg(long, value_name = "FILE")]
    pub proof: Vec<PathBuf>,
    /// A whole export (directory); may be repeated
    #[arg(long, value_name = "DIR")]
    pub export: Vec<PathBuf>,
    /// The history of one approval (directory that `export --approval` wrote); may be repeated
    #[arg(long, value_name = "DIR")]
    pub approval: Vec<PathBuf>,
    /// An incident (file that `incident export` wrote); may be repeated
    #[arg(long, value_name = "FILE")]
    pub incident: Vec<PathBuf>,
    /// Evidence of a period (directory that `countersign evidence` wrote); may be repeated
    #[arg(long, value_name = "DIR")]
    pub evidence: Vec<PathBuf>,
    /// Public key of whoever made the evidence: its statement.dsse.json must be signed by it
    #[arg(long, value_name = "VKEY|FILE", requires = "evidence")]
    pub evidence_key: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}
