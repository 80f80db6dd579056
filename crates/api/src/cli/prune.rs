//! `countersign prune`: removes entries that are in a verified export.

use super::Remote;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `prune`.
#[derive(Args, Debug)]
pub struct Prune {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// Entries before this leaf index go, as far as whole bundles of 256 fit
    #[arg(long, value_name = "INDEX")]
    pub until: u64,
    /// The export that has them (directory). It is verified first
    #[arg(long, value_name = "DIR")]
    pub export: PathBuf,
    /// The log's public key: `name+hash+base64`, or a file that holds it
    #[arg(long, value_name = "VKEY|FILE")]
    pub key: String,
    /// The write-once store that has the same export: its manifest is read and compared
    #[arg(long, value_name = "s3://BUCKET/PREFIX", requires = "store")]
    pub from: Option<String>,
    /// Where the store is, and the files of its secrets (TOML)
    #[arg(long, value_name = "FILE", requires = "from")]
    pub store: Option<PathBuf>,
    /// Why: kept beside the entry, and can be erased
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}
