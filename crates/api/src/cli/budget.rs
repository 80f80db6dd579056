//! `countersign budget …`.

use super::Remote;
use clap::{Args, Subcommand};

/// Arguments of `budget`.
#[derive(Args, Debug)]
pub struct Budget {
    #[command(subcommand)]
    pub command: BudgetCommand,
}

/// Commands of `budget`.
#[derive(Subcommand, Debug)]
pub enum BudgetCommand {
    /// Show what is booked on the budgets of the policies, and what is left
    #[command(
        after_help = "Example:\n  countersign budget list --tenant acme --api-key-file admin.key"
    )]
    List {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
}
