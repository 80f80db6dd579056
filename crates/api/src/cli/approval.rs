//! `countersign approval …`.

use super::PoliciesOf;
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use decider::approval::DenyReason;

/// Arguments of `approval`.
#[derive(Args, Debug)]
pub struct Approval {
    #[command(subcommand)]
    pub command: ApprovalCommand,
}

/// Commands of `approval`.
#[derive(Subcommand, Debug)]
pub enum ApprovalCommand {
    /// List the approvals that the key may see
    #[command(after_help = "\
Examples:
  countersign approval list --tenant acme --api-key-file bob.key
  countersign approval list --tenant acme --api-key-file bob.key --state recent --json")]
    List {
        #[command(flatten)]
        of: PoliciesOf,
        /// `pending`: people are asked; `open`: not over; `recent`: ended lately
        #[arg(long, value_name = "STATE", default_value = "pending")]
        state: String,
    },
    /// Show one approval: the call, who is asked, and who answered
    #[command(after_help = "\
It shows what the page shows. With a reviewer key, the log records that its person saw this version.

Examples:
  countersign approval show --tenant acme --api-key-file bob.key apr-33f4htoag2cmmf5w5lugpo2h2e
  countersign approval show --tenant acme --api-key-file bob.key --json apr-33f4htoag2cmmf5w5lugpo2h2e")]
    Show {
        #[command(flatten)]
        of: PoliciesOf,
        /// The approval: `apr-…`
        id: String,
    },
    /// Approve a call: shows it, and asks for a confirmation
    #[command(after_help = "\
The key is a reviewer key, and its person is asked by the rule. The answer names the digest and the version that were
shown: if anything changed since, it is refused, and nothing is recorded. Without a terminal nobody can confirm: then name
both, as `approval show --json` gave them (`call.digest`, `version`), with --yes.

Exit codes: 0 recorded, 1 refused or not confirmed, 2 wrong usage, 69 the server can't be reached.

Examples:
  countersign approval approve --tenant acme --api-key-file bob.key apr-33f4htoag2cmmf5w5lugpo2h2e
  countersign approval approve --tenant acme --api-key-file bob.key --yes \\
      --digest daHInlbkNmfOsploZOOJj4dRqKv08fmS6ouQxznXZa4 --version 1 apr-33f4htoag2cmmf5w5lugpo2h2e")]
    Approve {
        #[command(flatten)]
        answer: Answer,
    },
    /// Deny a call: shows it, and asks for a confirmation
    #[command(after_help = "\
As for `countersign approval approve`. A denial is final.

Example:
  countersign approval deny --tenant acme --api-key-file bob.key --reason wrong_recipient \\
      --for-agent 'The invoice names another account' apr-33f4htoag2cmmf5w5lugpo2h2e")]
    Deny {
        #[command(flatten)]
        answer: Answer,
        /// Why: the log keeps this code for ever
        #[arg(long, value_name = "CODE", value_parser = PossibleValuesParser::new(DenyReason::ALL.map(DenyReason::code)))]
        reason: Option<String>,
        /// For the agent that is denied; can be erased later
        #[arg(long, value_name = "TEXT")]
        for_agent: Option<String>,
    },
    /// Ask a question instead of approving or denying
    #[command(after_help = "\
The question goes to the owner of the agent and to its gateway. It decides nothing, and no deadline moves. `approval show`
has the answer once there is one. A call can have five questions, and one of yours at a time. Without --digest the call is
shown first; with it, the question is about exactly what was shown (`approval show --json`, `call.digest`).

Exit codes: 0 recorded, 1 refused, 2 wrong usage, 69 the server can't be reached.

Example:
  countersign approval ask --tenant acme --api-key-file bob.key \\
      --text 'Which invoice is it?' apr-33f4htoag2cmmf5w5lugpo2h2e")]
    Ask {
        #[command(flatten)]
        of: PoliciesOf,
        /// The approval: `apr-…`
        id: String,
        /// The question: at most 2000 bytes; can be erased later
        #[arg(long, value_name = "TEXT")]
        text: String,
        /// The call digest that was shown
        #[arg(long, value_name = "DIGEST", allow_hyphen_values = true)]
        digest: Option<String>,
    },
}

/// A person's answer.
#[derive(Args, Debug)]
pub struct Answer {
    #[command(flatten)]
    pub of: PoliciesOf,
    /// The approval: `apr-…`
    pub id: String,
    /// For everybody who is asked; can be erased later
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Ask for no confirmation; needs --digest and --version
    #[arg(long, requires_all = ["digest", "version"])]
    pub yes: bool,
    /// The call digest that was shown
    #[arg(long, value_name = "DIGEST", allow_hyphen_values = true)]
    pub digest: Option<String>,
    /// The version of the approval that was shown
    #[arg(long, value_name = "N")]
    pub version: Option<u64>,
}
