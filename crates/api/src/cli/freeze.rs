//! `countersign freeze …`.

use super::{Approved, OfTenant};
use clap::{Args, Subcommand, ValueEnum};

/// Arguments of `freeze`.
#[derive(Args, Debug)]
pub struct Freeze {
    #[command(subcommand)]
    pub command: FreezeCommand,
}

/// What sort of thing is stopped.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Scope {
    Agent,
    Session,
    Run,
    Tool,
    Producer,
    Tenant,
}

impl Scope {
    /// Its name in requests.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Run => "run",
            Self::Tool => "tool",
            Self::Producer => "producer",
            Self::Tenant => "tenant",
        }
    }
}

/// Commands of `freeze`.
#[derive(Subcommand, Debug)]
pub enum FreezeCommand {
    /// Stop something at once: its calls are denied, and approvals of them are not redeemed
    #[command(after_help = "\
The key needs the role responder, of one person, or admin.

Examples:
  countersign freeze add --tenant acme --api-key-file responder.key --reason 'pays the wrong people' agent payments-bot
  countersign freeze add --tenant acme --api-key-file responder.key --producer gw-1 --reason 'incident 7' session s-81
  countersign freeze add --tenant acme --api-key-file responder.key --reason 'stop everything' tenant acme")]
    Add {
        #[command(flatten)]
        of: OfTenant,
        /// What sort of thing
        scope: Scope,
        /// Its id, as calls have it. It stays in the log for ever
        id: String,
        /// Stop it in the calls of this producer alone
        #[arg(long, value_name = "NAME")]
        producer: Option<String>,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Show what is frozen
    #[command(
        after_help = "Example:\n  countersign freeze list --tenant acme --api-key-file responder.key"
    )]
    List {
        #[command(flatten)]
        of: OfTenant,
    },
    /// Ask people to let it go on, and lift the freeze once they approved
    #[command(after_help = "\
The rules in force say who is asked: a rule for the tool countersign, action freeze.lift. Nobody lifts a freeze alone.

Example:
  countersign freeze lift --tenant acme --api-key-file responder.key --reason 'repaired, ticket 4711' --wait 812")]
    Lift {
        #[command(flatten)]
        of: OfTenant,
        /// The freeze, as `freeze list` names it
        #[arg(value_name = "FREEZE")]
        freeze: u64,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        approved: Approved,
    },
}
