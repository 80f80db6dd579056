//! `countersign alert …`.

use super::OfTenant;
use clap::{Args, Subcommand};

/// Arguments of `alert`.
#[derive(Args, Debug)]
pub struct Alert {
    #[command(subcommand)]
    pub command: AlertCommand,
}

/// Commands of `alert`.
#[derive(Subcommand, Debug)]
pub enum AlertCommand {
    /// Show the open alerts
    #[command(
        after_help = "Example:\n  countersign alert list --tenant acme --api-key-file responder.key"
    )]
    List {
        #[command(flatten)]
        of: OfTenant,
    },
    /// Close an alert
    #[command(after_help = "\
The key needs the role responder, of one person, or admin.

Example:
  countersign alert close --tenant acme --api-key-file responder.key --reason 'a load test, ticket 4711' 812")]
    Close {
        #[command(flatten)]
        of: OfTenant,
        /// The alert, as `alert list` names it
        #[arg(value_name = "ALERT")]
        alert: u64,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Write every alert and every close as lines of JSON, the oldest first
    #[command(
        after_help = "Example:\n  countersign alert export --tenant acme --api-key-file auditor.key > alerts.ndjson"
    )]
    Export {
        #[command(flatten)]
        of: OfTenant,
    },
}
