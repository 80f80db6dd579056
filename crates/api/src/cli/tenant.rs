//! `countersign tenant …`: the beginning of a tenant, retention, legal holds, its end.

use super::{Approved, Remote, WithConfig};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `tenant`.
#[derive(Args, Debug)]
pub struct Tenant {
    #[command(subcommand)]
    pub command: TenantCommand,
}

/// A tenant, and who asks.
#[derive(Args, Debug)]
pub struct OfTenant {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Commands of `tenant`.
#[derive(Subcommand, Debug)]
pub enum TenantCommand {
    /// Show for how long payload is kept; or set it, in place of what was set before
    #[command(after_help = "\
Examples:
  countersign tenant retention --tenant acme --api-key-file admin.key                        show it
  countersign tenant retention --tenant acme --api-key-file admin.key --payload-days 400 \\
      --floor-days 365 --reason 'records policy 7'
  countersign tenant retention --tenant acme --api-key-file admin.key --payload-for-ever --reason 'audit 2026'")]
    Retention(Retention),
    /// Begin a legal hold: nothing is erased until it is released
    #[command(
        after_help = "Example:\n  countersign tenant hold --tenant acme --api-key-file admin.key --reason 'letter of \
                      2026-05-04' case-17"
    )]
    Hold {
        #[command(flatten)]
        of: OfTenant,
        /// Name of the hold. It stays in the log for ever: name no person
        hold: String,
        /// Why: kept beside the entry
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End a legal hold
    #[command(
        after_help = "Example:\n  countersign tenant release --tenant acme --api-key-file admin.key --reason 'case \
                      closed' case-17"
    )]
    Release {
        #[command(flatten)]
        of: OfTenant,
        /// Name of the hold
        hold: String,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        approved: Approved,
    },
    /// Make a tenant on a running server (operator key). With replicas, on all of them: first make its keys, and copy them
    #[command(
        after_help = "Examples:\n  countersign tenant create --api-key-file operator.key globex\n  countersign tenant create --api-key-file \
                      operator.key --policy globex.policy globex     with replicas: the policy that names them"
    )]
    Create(CreateTenant),
    /// Make the key files of a tenant that replicas shall have, before `tenant create`. Needs no server
    #[command(
        after_help = "On one replica. Then copy the folder that it prints to keys_dir of every other one, with mode 600 for its files, and \
                      run `tenant create` at any of them.\n\nExample:\n  countersign tenant make-keys --config countersign.toml globex"
    )]
    MakeKeys {
        #[command(flatten)]
        config: WithConfig,
        /// Name of the new tenant
        tenant: String,
    },
    /// Delete a tenant for good: payload, journal and keys go; entries and proofs stay
    #[command(
        after_help = "Example:\n  countersign tenant delete --api-key-file admin.key --reason 'the contract ended' acme"
    )]
    Delete(Delete),
}

/// Arguments of `tenant create`.
#[derive(Args, Debug)]
pub struct CreateTenant {
    #[command(flatten)]
    pub remote: Remote,
    /// Name of the new tenant
    pub tenant: String,
    /// Why: kept beside the entry of its first admin key, and can be erased
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// With replicas: writes the first policy for those who verify into this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tenant delete`.
#[derive(Args, Debug)]
pub struct Delete {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant
    pub tenant: String,
    /// Why. It stays in the log for ever: name no person
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub approved: Approved,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tenant retention`.
#[derive(Args, Debug)]
pub struct Retention {
    #[command(flatten)]
    pub of: OfTenant,
    /// Days that payload is kept
    #[arg(long, value_name = "DAYS", conflicts_with = "payload_for_ever")]
    pub payload_days: Option<u32>,
    /// Payload is kept for ever
    #[arg(long)]
    pub payload_for_ever: bool,
    /// Days below which that can never be set again (default: as before)
    #[arg(long, value_name = "DAYS", requires = "reason")]
    pub floor_days: Option<u32>,
    /// Days that posted journal messages are kept (default: as configured)
    #[arg(long, value_name = "DAYS", requires = "reason")]
    pub journal_days: Option<u32>,
    /// Why: kept beside the entry, and can be erased
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub approved: Approved,
}
