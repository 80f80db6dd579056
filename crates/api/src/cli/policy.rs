//! `countersign policy …`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `policy`.
#[derive(Args, Debug)]
pub struct Policy {
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// Commands of `policy`. None of them needs a server.
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Read all files of a folder and report every mistake, with line, column and what to write instead
    #[command(after_help = "\
Exit codes: 0 no mistake, 3 a file can't be read, 64 there are mistakes.

Example:
  countersign policy check policies/acme")]
    Check {
        #[command(flatten)]
        folder: Folder,
    },
    /// Run the tests of a folder; with --mutate also find changes that no test notices
    #[command(after_help = "\
Exit codes: 0 all pass, 1 a test fails, or --mutate found a change that no test notices, 3 a file can't be read,
64 the files have mistakes.

Examples:
  countersign policy test policies/acme
  countersign policy test --mutate policies/acme")]
    Test {
        #[command(flatten)]
        folder: Folder,
        /// Leave out each clause, and move each bound by one: list the changes that no test notices
        #[arg(long)]
        mutate: bool,
    },
    /// Show the digest that names the bundle, and the digests of its files
    #[command(after_help = "Example:\n  countersign policy build --json policies/acme")]
    Build {
        #[command(flatten)]
        folder: Folder,
    },
    /// Say in words what changes between two folders, what allows more first
    #[command(after_help = "Example:\n  countersign policy diff policies/in-force policies/acme")]
    Diff {
        /// The folder that is in force
        before: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// Judge one call, and show what each clause says of it
    #[command(after_help = "\
Exit codes: 0 judged, 1 the call can't be read, 3 a file can't be read, 64 the files have mistakes.

Examples:
  countersign policy explain policies/acme call.json
  countersign policy explain --at 2026-12-24T18:00:00Z policies/acme call.json")]
    Explain {
        #[command(flatten)]
        folder: Folder,
        /// The call: `agent`, `tool`, `params`, `context` and `labels` as JSON; `-` reads standard input
        call: PathBuf,
        /// The time of the call (RFC 3339); now, if it is left out
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// Take the agent's identity as verified
        #[arg(long)]
        verified: bool,
    },
}

/// The folder of a tenant's policies.
#[derive(Args, Debug)]
pub struct Folder {
    /// Folder with agents.yaml, tools.yaml, policies/, lists/ and tests/
    pub folder: PathBuf,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}
