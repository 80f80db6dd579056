//! `countersign sink …`.

use super::OfTenant;
use clap::{Args, Subcommand};

/// Arguments of `sink`.
#[derive(Args, Debug)]
pub struct Sink {
    #[command(subcommand)]
    pub command: SinkCommand,
}

/// Commands of `sink`.
#[derive(Subcommand, Debug)]
pub enum SinkCommand {
    /// Show how far each sink is, and what is wrong with it
    #[command(
        after_help = "Example:\n  countersign sink status --tenant acme --api-key-file auditor.key"
    )]
    Status {
        #[command(flatten)]
        of: OfTenant,
    },
    /// Send a record that says that it is a test, and show what came back
    #[command(
        after_help = "Example:\n  countersign sink test --tenant acme --api-key-file admin.key siem"
    )]
    Test {
        #[command(flatten)]
        of: OfTenant,
        /// Name of the sink
        sink: String,
    },
    /// Show the records that the receiver refused, with its words
    #[command(
        after_help = "Example:\n  countersign sink letters --tenant acme --api-key-file admin.key siem"
    )]
    Letters {
        #[command(flatten)]
        of: OfTenant,
        /// Name of the sink
        sink: String,
    },
    /// Send a range of entries again. What is taken is no letter any more
    #[command(after_help = "\
Example:
  countersign sink resend --tenant acme --api-key-file admin.key --from 400 --to 900 --reason 'index was lost, INC-7' siem")]
    Resend {
        #[command(flatten)]
        of: OfTenant,
        /// Name of the sink
        sink: String,
        /// The first leaf index
        #[arg(long, value_name = "INDEX")]
        from: u64,
        /// The leaf index after the last one
        #[arg(long, value_name = "INDEX")]
        to: u64,
        /// Why: kept beside the entry that says so, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}
