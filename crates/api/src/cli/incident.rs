//! `countersign incident …`.

use super::OfTenant;
use clap::{Args, Subcommand};

/// Arguments of `incident`.
#[derive(Args, Debug)]
pub struct Incident {
    #[command(subcommand)]
    pub command: IncidentCommand,
}

/// Commands of `incident`.
#[derive(Subcommand, Debug)]
pub enum IncidentCommand {
    /// Open an incident
    #[command(after_help = "\
The key needs the role responder, of one person, or admin.

Example:
  countersign incident open --tenant acme --api-key-file responder.key --reason 'payments to a wrong payee' --entry 812")]
    Open {
        #[command(flatten)]
        of: OfTenant,
        /// What happened: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Index of an entry that belongs to it: an alert, a freeze, a decision; may be repeated
        #[arg(long = "entry", value_name = "INDEX")]
        entries: Vec<u64>,
    },
    /// Add a note, and entries, to an open incident
    #[command(after_help = "\
Example:
  countersign incident note --tenant acme --api-key-file responder.key --reason 'the vendor was called' --entry 813 820")]
    Note {
        #[command(flatten)]
        of: OfTenant,
        /// The incident, as `incident list` names it
        #[arg(value_name = "INCIDENT")]
        incident: u64,
        /// The note: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Index of an entry that belongs to it; may be repeated
        #[arg(long = "entry", value_name = "INDEX")]
        entries: Vec<u64>,
    },
    /// Close an incident
    #[command(after_help = "\
Example:
  countersign incident close --tenant acme --api-key-file responder.key --reason 'repaired, ticket 4711' 820")]
    Close {
        #[command(flatten)]
        of: OfTenant,
        /// The incident, as `incident list` names it
        #[arg(value_name = "INCIDENT")]
        incident: u64,
        /// Why it is over: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show the open incidents
    #[command(
        after_help = "Example:\n  countersign incident list --tenant acme --api-key-file responder.key"
    )]
    List {
        #[command(flatten)]
        of: OfTenant,
        /// Closed ones too: every `incident` entry, the oldest first
        #[arg(long)]
        all: bool,
    },
    /// Write an incident as lines of JSON: its entries with receipts, and the words of its notes
    #[command(after_help = "\
A key with the role discloser too also gets the payload of the entries that belong to it.

Example:
  countersign incident export --tenant acme --api-key-file responder.key 820 > incident-820.ndjson
  countersign verify --key log.vkey --incident incident-820.ndjson")]
    Export {
        #[command(flatten)]
        of: OfTenant,
        /// The incident
        #[arg(value_name = "INCIDENT")]
        incident: u64,
    },
}
