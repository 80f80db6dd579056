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
        after_help = "Every replica makes its own. The public keys of the first replicas go into `[replica.members]` of all of them; that of a \
                      later one goes to `replica add` or `replica replace`.\n\n\
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
    /// Begin this machine as a replica with what another one has, proven before it serves; needs the server stopped here
    #[command(after_help = "\
Before: the configuration with [replica], the files of keys_dir from another replica, this replica's own key (`replica key`), the folder
of the guard, and an empty data_dir. --from is the address of a replica itself, not that of the load balancer. Its configuration needs
backup_dir.

Everything is compared with what a majority of the replicas has cosigned, from `members` in [replica] on. Nothing is used before that;
an interrupted join leaves nothing half: repeat the command.

Exit codes: 0 proven and in place, 1 refused, 69 a replica can't be reached.

Example:
  countersign replica join --config countersign.toml --from https://10.0.0.1:8470 --also https://10.0.0.2:8470 --api-key-file operator.key")]
    Join(Join),
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
    /// Add a replica to every log of this installation (operator key)
    #[command(after_help = "\
From the entry on that records it, majorities count with the new replica. Start the new one before (`replica join`): it posts and shows
what the others cosign, and cosigns once it is added.

Exit codes: 0 in force, 1 refused, 69 the server can't be reached.

Example:
  countersign replica add d log.example.com/replicas/d+00000000+base64 --reason 'A fourth site.'")]
    Add {
        #[command(flatten)]
        change: Change,
        /// Its name
        name: String,
        /// Its public key, as `replica key` printed it there
        vkey: String,
    },
    /// Remove a replica from every log of this installation (operator key)
    #[command(after_help = "\
At least three must stay, and a majority of those that stay must answer. The one that is removed cosigns nothing more and says
so: take it out of the load balancer, and stop it.

Example:
  countersign replica remove c --reason 'The machine is sold.'")]
    Remove {
        #[command(flatten)]
        change: Change,
        /// Its name
        name: String,
    },
    /// Replace a replica, for example one whose machine is lost, in one change (operator key)
    #[command(after_help = "\
The new one has a key of its own: a cosigner key is never copied. It may have the name of the old one.

Example:
  countersign replica replace c d log.example.com/replicas/d+00000000+base64 --reason 'The disk of c is lost.'")]
    Replace {
        #[command(flatten)]
        change: Change,
        /// Name of the one that leaves
        old: String,
        /// Name of the one that joins
        name: String,
        /// Its public key, as `replica key` printed it there
        vkey: String,
    },
    /// Show who the replicas are, with their keys (operator key)
    Members {
        #[command(flatten)]
        remote: Remote,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
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

/// What every change of the replicas takes.
#[derive(Args, Debug)]
pub struct Change {
    #[command(flatten)]
    pub remote: Remote,
    /// Why: kept as erasable evidence
    #[arg(long)]
    pub reason: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `replica join`.
#[derive(Args, Debug)]
pub struct Join {
    #[command(flatten)]
    pub config: WithConfig,
    /// Base URL of the replica from which the database is copied
    #[arg(long, value_name = "URL")]
    pub from: String,
    /// Base URL of a further replica with whose checkpoint and tiles the copy is compared; may be repeated
    #[arg(long, value_name = "URL")]
    pub also: Vec<String>,
    /// File with the operator key
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<std::path::PathBuf>,
    /// PEM file with the certificate authorities of the replicas (default: the public ones)
    #[arg(long, value_name = "FILE")]
    pub ca: Option<std::path::PathBuf>,
    /// Allow the key and the database to be sent over plain http:// between machines: only where nobody else can read the network
    #[arg(long)]
    pub allow_http: bool,
}

/// Arguments of `key make`.
#[derive(Args, Debug)]
#[command(
    after_help = "On one replica. Then copy the file to keys_dir of every other one, with mode 600, and run `key rotate` at any of them.\n\n\
                  Example:\n  countersign key make --config countersign.toml --tenant acme --use log"
)]
pub struct MakeKey {
    #[command(flatten)]
    pub config: WithConfig,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// Which key
    #[arg(long = "use", value_name = "log|journal|token|agent", default_value = "log")]
    pub usage: String,
}
