//! `countersign replica …`.

use super::{Remote, WithConfig};
use clap::{Args, Subcommand};

/// Arguments of `replica`.
#[derive(Args, Debug)]
pub struct Replica {
    #[command(subcommand)]
    pub command: ReplicaCommand,
}

/// Commands of `replica`.
#[derive(Subcommand, Debug)]
pub enum ReplicaCommand {
    /// Make this replica's cosigner key, if its file is not there, and print the public key; needs no server
    #[command(
        after_help = "Every replica makes its own. The public keys go into `[replica.members]` of all of them.\n\n\
                      Example:\n  countersign replica key --config countersign.toml --name a /etc/countersign/cosigner.key"
    )]
    Key {
        #[command(flatten)]
        config: WithConfig,
        /// Name of this replica
        #[arg(long)]
        name: String,
        /// File of the key
        file: std::path::PathBuf,
    },
    /// Put the newest cosigned checkpoint that this replica has shown back into a register that was lost; needs the server
    /// stopped
    #[command(
        after_help = "Stop all replicas first, and run it on the one that has shown most (`replica status`).\n\n\
                      Example:\n  countersign replica put-back --config countersign.toml --tenant acme"
    )]
    PutBack {
        #[command(flatten)]
        config: WithConfig,
        /// The tenant
        #[arg(long)]
        tenant: String,
    },
    /// Show how the replicas stand, as this server sees it (operator key)
    #[command(after_help = "\
Exit codes: 0 a majority cosigns, 1 nothing new is shown or a replica differs, 69 the server can't be reached.

Example:
  countersign replica status --api-key-file operator.key")]
    Status {
        #[command(flatten)]
        remote: Remote,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
}
