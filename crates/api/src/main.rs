//! `countersign`: one binary with every role. Only this crate connects the parts.

mod cli;
mod evidence;
mod explained;
mod recounted;
mod replayed;
mod terminal;
mod verify;

#[cfg(feature = "server")]
mod access;
#[cfg(feature = "server")]
mod accounts;
#[cfg(feature = "server")]
mod act;
#[cfg(feature = "server")]
mod alerting;
#[cfg(feature = "server")]
mod app;
#[cfg(feature = "server")]
mod auth;
#[cfg(feature = "server")]
mod background;
#[cfg(feature = "server")]
mod body;
#[cfg(feature = "server")]
mod certificates;
#[cfg(feature = "server")]
mod chats;
#[cfg(feature = "server")]
mod client;
#[cfg(feature = "server")]
mod commands;
#[cfg(feature = "server")]
mod config;
#[cfg(feature = "server")]
mod counts;
#[cfg(feature = "server")]
mod event_result;
#[cfg(feature = "server")]
mod grades;
#[cfg(feature = "server")]
mod health;
#[cfg(feature = "server")]
mod incident;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod log;
#[cfg(feature = "server")]
mod metrics;
#[cfg(feature = "server")]
mod oidc;
#[cfg(feature = "server")]
mod opa_bundle;
#[cfg(feature = "server")]
mod pages;
#[cfg(feature = "server")]
mod passkeys;
#[cfg(feature = "server")]
mod places;
#[cfg(feature = "server")]
mod problem;
#[cfg(feature = "server")]
mod query;
#[cfg(feature = "server")]
mod reading;
#[cfg(feature = "server")]
mod reload;
#[cfg(feature = "server")]
mod replicas;
#[cfg(feature = "server")]
mod request;
#[cfg(feature = "server")]
mod reviewed;
#[cfg(feature = "server")]
mod routes;
#[cfg(feature = "server")]
mod s3;
#[cfg(feature = "server")]
mod serve;
#[cfg(feature = "server")]
mod sessions;
#[cfg(feature = "server")]
mod sinks;
#[cfg(feature = "server")]
mod sources;
#[cfg(feature = "server")]
mod tenants;
#[cfg(feature = "server")]
mod tls;
#[cfg(feature = "server")]
mod trouble;
#[cfg(feature = "server")]
mod vitals;
#[cfg(feature = "server")]
mod watching;
#[cfg(feature = "server")]
mod witness;

use clap::Parser as _;
use std::process::ExitCode;

/// Entries are parsed and written in many small allocations, and `fsck` and posting spend a good part of their time on them. RocksDB
/// keeps the allocator of the C library.
#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.command {
        cli::Command::Verify(arguments) => verify::run(&arguments),
        cli::Command::Replay(arguments) => verify::replay(&arguments),
        cli::Command::Explain(arguments) => verify::explain(&arguments),
        #[cfg(feature = "server")]
        cli::Command::Server(command) => commands::run(command),
    }
}
