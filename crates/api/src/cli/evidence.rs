//! The arguments of `evidence`.

use super::Remote;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `evidence`.
#[derive(Args, Debug)]
pub struct Evidence {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant, on a server (needs a key of role auditor, exporter or admin; for payload discloser)
    #[arg(long)]
    pub tenant: Option<String>,
    /// Make it from this export instead, offline
    #[arg(long, value_name = "DIR", conflicts_with = "tenant")]
    pub export: Option<PathBuf>,
    /// First moment of the period: a day, or RFC 3339 (default: the beginning of the log)
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// First moment after the period (default: the time of the last entry, which is not part of it). With --every: the
    /// folder that gets a folder for each tenant and month
    #[arg(long, value_name = "TIME|DIR")]
    pub to: Option<String>,
    /// Make the evidence of every month that is over and was not made before. Nothing that is complete is written again
    #[arg(long, value_enum, value_name = "PERIOD", requires = "to", conflicts_with_all = ["from", "out", "partial", "export"])]
    pub every: Option<Every>,
    /// Folder to write: a new or empty one, or earlier evidence of the same log
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A text of the auditor, given after the checkpoint was handed over: samples are drawn by it
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub auditor_seed: Option<String>,
    /// Samples of each control
    #[arg(long, default_value_t = 25, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(0..=10_000))]
    pub samples: usize,
    /// Whose payload it holds; needs the discloser role, unless none
    #[arg(long, value_enum, default_value_t = Disclosed::None)]
    pub disclose: Disclosed,
    /// Make it even if the period is not over; the first line and exit status 4 say so
    #[arg(long)]
    pub partial: bool,
    /// Under a checkpoint that outside witnesses have cosigned, with their cosignatures
    #[arg(long, conflicts_with_all = ["export", "partial"])]
    pub witnessed: bool,
    /// Sign a statement over all files with this key (statement.dsse.json)
    #[arg(long, value_name = "FILE")]
    pub signing_key: Option<PathBuf>,
    /// Make such a key, print its public half, and do nothing else
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub new_signing_key: Option<PathBuf>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// How long the periods of evidence are that is made again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Every {
    /// Calendar months, in UTC
    Month,
}

/// Whose payload evidence holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Disclosed {
    /// Nobody's
    None,
    /// That of the samples, and the words of reasons
    Samples,
    /// That of every decision of the period too: verdicts can be computed again
    All,
}
