//! A write-once store, as `export` takes it.

use clap::Args;
use std::path::PathBuf;

/// A write-once store that gets the export too.
#[derive(Args, Debug)]
pub struct ToStore {
    /// Then put it into a write-once store with the S3 API (Object Lock), verified before and read back after
    #[arg(long, value_name = "s3://BUCKET/PREFIX", requires_all = ["store", "key"], conflicts_with_all = ["from", "to"])]
    pub into: Option<String>,
    /// Where the store is, and the files of its secrets (TOML)
    #[arg(long, value_name = "FILE", requires = "into")]
    pub store: Option<PathBuf>,
    /// The log's public key, with which the export is verified first: `name+hash+base64`, or a file that holds it
    #[arg(long, value_name = "VKEY|FILE", requires = "into")]
    pub key: Option<String>,
    /// Days for which nobody can delete it (default: the tenant's retention; never below its floor)
    #[arg(long, value_name = "DAYS", requires = "into")]
    pub retain_days: Option<u32>,
}
