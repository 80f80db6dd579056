//! The commands. Each ends with an exit status on which scripts can rely (`proto/errors.md`).

mod agent;
mod alert;
mod approval;
mod approved;
mod bench;
mod budget;
mod demo;
mod evidence;
mod export;
mod freeze;
mod fsck;
mod incident;
mod init;
mod list;
mod log;
mod policy;
mod prune;
mod publish;
mod recover;
mod remote;
mod replica;
mod rules;
mod serve;
mod sink;
mod slack;
mod sources;
mod teams;
mod tenant;

use crate::{
    act::Why,
    cli::ServerCommand,
    config::{Config, EXIT_CONFIG},
    terminal::{say, warn},
};
use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, ExitCode},
};

/// Damage was found, or a request was refused.
pub const EXIT_FAILED: u8 = 1;
/// The arguments are wrong.
pub const EXIT_USAGE: u8 = 2;
/// Something can't be read.
pub const EXIT_UNREADABLE: u8 = 3;
/// The server can't be reached.
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Why a command failed: exit status and text.
pub struct Failed {
    /// Exit status of the process.
    pub code: u8,
    /// Text for people.
    pub text: String,
}

impl Failed {
    /// A failure with a status.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl From<ledger::Error> for Failed {
    fn from(error: ledger::Error) -> Self {
        Self::new(EXIT_FAILED, error.to_string())
    }
}

impl From<ledger::store::Error> for Failed {
    fn from(error: ledger::store::Error) -> Self {
        Self::new(EXIT_UNREADABLE, error.to_string())
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::new(EXIT_FAILED, error.to_string())
    }
}

impl From<crate::client::Error> for Failed {
    fn from(error: crate::client::Error) -> Self {
        let code = match &error {
            crate::client::Error::File { .. } => EXIT_UNREADABLE,
            crate::client::Error::Usage(_) => EXIT_USAGE,
            crate::client::Error::Config(_) => EXIT_CONFIG,
            crate::client::Error::Unreachable { .. } => EXIT_UNAVAILABLE,
            crate::client::Error::Refused { .. } => EXIT_FAILED,
        };
        Self::new(code, error.to_string())
    }
}

/// Runs a command of the full build.
pub fn run(command: ServerCommand) -> ExitCode {
    // Everything that is written, also by the database, may be read by its owner only.
    use rustix::fs::Mode;
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let result = match command {
        ServerCommand::Serve(arguments) => serve::run(&arguments),
        ServerCommand::Demo(arguments) => demo::run(&arguments),
        ServerCommand::Init(arguments) => init::run(&arguments),
        ServerCommand::CheckConfig(arguments) => check_config(&arguments.config),
        ServerCommand::Key(arguments) => remote::key(&arguments.command),
        ServerCommand::Replica(arguments) => replica::run(&arguments.command),
        ServerCommand::Rules(arguments) => rules::run(&arguments.command),
        ServerCommand::Approval(arguments) => approval::run(&arguments.command),
        ServerCommand::Policy(arguments) => policy::run(&arguments.command),
        ServerCommand::List(arguments) => list::run(&arguments.command),
        ServerCommand::Freeze(arguments) => freeze::run(&arguments.command),
        ServerCommand::Alert(arguments) => alert::run(&arguments.command),
        ServerCommand::Incident(arguments) => incident::run(&arguments.command),
        ServerCommand::Agent(arguments) => agent::run(&arguments.command),
        ServerCommand::Budget(arguments) => budget::run(&arguments.command),
        ServerCommand::Publish(arguments) => publish::run(&arguments),
        ServerCommand::Fsck(arguments) => fsck::run(&arguments),
        ServerCommand::Export(arguments) => export::run(&arguments),
        ServerCommand::Evidence(arguments) => evidence::run(&arguments),
        ServerCommand::Erase(arguments) => remote::erase(&arguments),
        ServerCommand::Clock(arguments) => remote::clock(&arguments.command),
        ServerCommand::Backup(arguments) => remote::backup(&arguments),
        ServerCommand::Recover(arguments) => recover::run(&arguments),
        ServerCommand::Log(arguments) => log::run(&arguments.command),
        ServerCommand::Sources(arguments) => sources::run(&arguments.command),
        ServerCommand::Prune(arguments) => prune::run(&arguments),
        ServerCommand::Sink(arguments) => sink::run(&arguments.command),
        ServerCommand::Tenant(arguments) => tenant::run(&arguments.command),
        ServerCommand::Slack(arguments) => slack::run(&arguments.command),
        ServerCommand::Teams(arguments) => teams::run(&arguments.command),
        ServerCommand::Bench(arguments) => bench::run(&arguments),
        ServerCommand::Openapi => {
            say(crate::routes::document().trim_end());
            Ok(())
        }
        ServerCommand::Metrics => {
            say(crate::metrics::document().trim_end());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, text }) => {
            // Line breaks of ours separate mistakes. The text of a line may be foreign.
            let lines: Vec<String> = text.lines().map(crate::terminal::harmless).collect();
            warn(&format!("countersign: {}", lines.join("\n")));
            ExitCode::from(code)
        }
    }
}

/// Reads the configuration. Fails with every mistake.
pub fn load(path: &Path) -> Result<Config, Failed> {
    Config::load(path).map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(|line| format!("\n  {line}")).collect();
        Failed::new(EXIT_CONFIG, format!("{}:{}", path.display(), lines.concat()))
    })
}

/// The actor in words, from the member `by` of an entry.
fn who(by: &serde_json::Value) -> String {
    let text = |name: &str| by[name].as_str().map(crate::terminal::harmless);
    match (text("key"), text("person"), text("operator"), text("command"), text("server")) {
        (Some(key), Some(person), ..) => format!("{person} (key {key})"),
        (Some(key), ..) => format!("key {key}"),
        (_, _, Some(operator), ..) => format!("operator key {operator}"),
        (_, _, _, Some(command), _) => format!("countersign {command}"),
        (.., Some(duty)) => format!("the server ({duty})"),
        _ => "nobody said".to_owned(),
    }
}

/// Checks a `--reason` as the server does.
pub fn why(text: Option<&str>) -> Result<Option<Why>, Failed> {
    let why = text.map(|text| Why::try_from(text.to_owned())).transpose();
    why.map_err(|wrong| Failed::new(2, format!("--{wrong}")))
}

/// As [`why`], for acts that can't be undone: asks the person if there is a terminal.
pub fn ask_why(text: Option<&str>) -> Result<Option<Why>, Failed> {
    use std::io::{BufRead as _, IsTerminal as _};
    if text.is_some() {
        return why(text);
    }
    if !io::stdin().is_terminal() {
        warn("No --reason is given: the log will say who did this, and not why.");
        return Ok(None);
    }
    warn("Why? One line, kept beside the entry; it can be erased, so still name nobody:");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    why(Some(line.trim()))
}

fn check_config(path: &Path) -> Result<(), Failed> {
    let config = load(path)?;
    for warning in &config.warnings {
        warn(&format!("warning: {warning}"));
    }
    rules::check_all(&config)?;
    say(&format!("# {} is right. Effective configuration:", path.display()));
    let text = toml::to_string(&config.file);
    say(text.map_err(|e| Failed::new(EXIT_FAILED, e.to_string()))?.trim_end());
    Ok(())
}

/// Makes a new folder in another one, which only this user may enter.
fn fresh_folder(place: &Path, begin: &str) -> Result<PathBuf, Failed> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mark = data_encoding::HEXLOWER.encode(&ledger::keyring::random32()[..8]);
    let folder = place.join(format!("{begin}{mark}"));
    // It fails if somebody made the folder before.
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

/// A runtime for commands that need one.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Asks a server that this process started to end (SIGTERM).
fn terminate(child: &Child) -> io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};
    Ok(kill_process(Pid::from_child(child), Signal::TERM)?)
}

/// Says which replicas have not done their part, and why, if an answer names some.
fn say_missing(answer: &serde_json::Value) {
    for one in answer["missing"].as_array().into_iter().flatten() {
        let text = |name: &str| crate::terminal::harmless(one[name].as_str().unwrap_or_default());
        say(&format!("  not yet {}: {}", text("replica"), text("why")));
    }
}
