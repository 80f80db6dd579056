//! `countersign agent …`.

use super::OfTenant;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `agent`.
#[derive(Args, Debug)]
pub struct Agent {
    #[command(subcommand)]
    pub command: AgentCommand,
}

/// Commands of `agent`.
#[derive(Subcommand, Debug)]
pub enum AgentCommand {
    /// Issue, list and revoke the tokens by which agents prove who they are
    #[command(subcommand)]
    Token(AgentTokenCommand),
}

/// Commands of `agent token`.
#[derive(Subcommand, Debug)]
pub enum AgentTokenCommand {
    /// Issue a token: it is printed once, and stored nowhere
    #[command(after_help = "\
The key needs the role admin; or enforcer, for an agent that lists its gateway in agents.yaml (`gateways`).

Examples:
  countersign agent token issue --tenant acme --api-key-file gw.key --scope payments --seconds 300 payments-bot
  countersign agent token issue --tenant acme --api-key-file gw.key --scope payments --for planner.token worker-7")]
    Issue {
        #[command(flatten)]
        of: OfTenant,
        /// The agent
        agent: String,
        /// A tool that it is for; once for each
        #[arg(long, value_name = "TOOL", required = true)]
        scope: Vec<String>,
        /// Seconds for which it is valid, at most 3600
        #[arg(long, value_name = "N")]
        seconds: Option<u64>,
        /// The region that its calls must name
        #[arg(long, value_name = "NAME")]
        region: Option<String>,
        /// File with the token of the agent for which it acts
        #[arg(long = "for", value_name = "FILE")]
        of_token: Option<PathBuf>,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Show the tokens of an agent that have not expired
    #[command(
        after_help = "Example:\n  countersign agent token list --tenant acme --api-key-file admin.key payments-bot"
    )]
    List {
        #[command(flatten)]
        of: OfTenant,
        /// The agent
        agent: String,
    },
    /// Revoke a token, or every token of an agent so far, and what was issued on them
    #[command(after_help = "\
The key needs the role admin or responder; or enforcer, for its own agents.

Examples:
  countersign agent token revoke --tenant acme --api-key-file admin.key --reason 'leaked' payments-bot 1-812
  countersign agent token revoke --tenant acme --api-key-file admin.key --reason 'incident 7' payments-bot")]
    Revoke {
        #[command(flatten)]
        of: OfTenant,
        /// The agent
        agent: String,
        /// The token's id (`jti`). Left out: every token of the agent so far
        jti: Option<String>,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
