//! `countersign erase`.

use super::Remote;
use clap::Args;

/// Arguments of `erase`.
#[derive(Args, Debug)]
pub struct Erase {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// Leaf indexes of the entries: up to 100, which cost hardly more than one
    #[arg(required_unless_present = "status", num_args = 1..=100, value_name = "INDEX")]
    pub indexes: Vec<u64>,
    /// Erase nothing: say whether the erasure that this entry records is complete. Exit status 1 if it is not
    #[arg(long, value_name = "ENTRY", conflicts_with_all = ["indexes", "fields", "cancel", "reason"])]
    pub status: Option<u64>,
    /// A field to erase (default: all fields)
    #[arg(long = "field")]
    pub fields: Vec<String>,
    /// Cancel the approval that still needs the erased payload; otherwise the erasure is refused
    #[arg(long)]
    pub cancel: bool,
    /// Reason, for example the number of the request; asked for at a terminal. Stored as evidence that can be erased
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}
