//! `countersign policy …`.

use super::{Exported, Remote};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `policy`.
#[derive(Args, Debug)]
pub struct Policy {
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// Commands of `policy`. Only `propose`, `status` and `rollback` need a server.
#[derive(Subcommand, Debug)]
pub enum PolicyCommand {
    /// Read all files of a folder and report every mistake, with line, column and what to write instead
    #[command(after_help = "\
Exit codes: 0 no mistake, 3 a file can't be read, 64 there are mistakes.

Examples:
  countersign policy check policies/acme
  countersign policy check --rules approvals/acme/rules.toml policies/acme")]
    Check {
        #[command(flatten)]
        folder: Folder,
        /// rules.toml: each clause that pauses calls must have a rule beside the last one, for everything else
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
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
    #[command(after_help = "\
Examples:
  countersign policy build --json policies/acme
  countersign policy build --rules approvals/acme/rules.toml policies/acme")]
    Build {
        #[command(flatten)]
        folder: Folder,
        /// rules.toml: each clause that pauses calls must have a rule beside the last one, for everything else
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
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
    /// Judge many calls with given facts, one a line; the answers have the form of the exported bundle's in OPA
    #[command(after_help = "\
Each line is a question of a gateway with `facts`, as OPA gets it as its input: proto/formats/opa-bundle.md.

Exit codes: 0 judged, 1 a line is no strict JSON, 3 a file can't be read, 64 the files have mistakes.

Example:
  countersign policy judge policies/acme calls.jsonl")]
    Judge(Judge),
    /// Write the policies as a signed bundle for a gateway's own OPA (Rego v1); the same policies give the same bytes
    #[command(after_help = "\
OPA denies what it can't judge exactly; each such case is printed.

Exit codes: 0 written, 1 the key or the bundle can't be written, 3 a file can't be read, 64 the files have mistakes.

Examples:
  countersign policy export-opa --new-key --key opa.key
  countersign policy export-opa --key opa.key --key-id prod-1 --out bundle.tar.gz policies/acme
  opa run --server --bundle bundle.tar.gz --verification-key opa.key.pub --verification-key-id prod-1 --signing-alg ES256")]
    ExportOpa(ExportOpa),
    /// Judge every call of an export by a folder, and say which would be judged otherwise; newly allowed ones first
    #[command(after_help = "\
The export is verified first. Calls that gateways judged themselves count too, as far as their params are disclosed.

Lists: a list that has entries of its own (`countersign list add`) counts with the version that was in force at each call,
as a server would use it, and every other list, and every call before the first version, with the folder's file. With
`--lists folder` only the folder's files count. The answer names, for each list, what was used for how many calls.

Examples:
  countersign policy simulate --key log.vkey --export ./export policies/acme
  countersign policy simulate --key log.vkey --export ./export --lists folder policies/acme")]
    Simulate {
        #[command(flatten)]
        exported: Exported,
        /// Where the items of lists come from that have entries of their own in the log
        #[arg(long, value_enum, default_value = "recorded")]
        lists: ListsFrom,
        /// Folder with agents.yaml, tools.yaml, policies/, lists/ and tests/
        folder: PathBuf,
    },
    /// Propose a folder to a server: it takes effect once people approved exactly these files
    #[command(after_help = "\
The key needs the role author, and belongs to one person, who never reviews what that person proposed.

The tests of the folder run first. One that fails stops the proposal. What `countersign policy test --mutate` would report
(clauses that no test matches, changes that no test notices) does not: it is printed as a warning, and reviewers read it.

Example:
  countersign policy propose --tenant acme --api-key-file author.key --comment 'Transfers up to 5,000 EUR' policies/acme")]
    Propose {
        #[command(flatten)]
        of: PoliciesOf,
        /// Folder with agents.yaml, tools.yaml, policies/, lists/ and tests/
        folder: PathBuf,
        /// Why, for reviewers
        #[arg(long, value_name = "TEXT")]
        comment: String,
        /// A person who wrote it too, and so does not review it; may be repeated
        #[arg(long = "contributor", value_name = "PERSON")]
        contributors: Vec<String>,
        /// Wait until people decided, and it took effect
        #[arg(long)]
        wait: bool,
    },
    /// Show the policies in force on a server, and every version
    #[command(
        after_help = "Example:\n  countersign policy status --tenant acme --api-key-file author.key"
    )]
    Status {
        #[command(flatten)]
        of: PoliciesOf,
    },
    /// Propose an older version again: it takes effect once people approved it
    #[command(
        after_help = "Example:\n  countersign policy rollback --tenant acme --api-key-file author.key --comment 'Too strict' 3"
    )]
    Rollback {
        #[command(flatten)]
        of: PoliciesOf,
        /// The version
        version: u64,
        /// Why, for reviewers
        #[arg(long, value_name = "TEXT")]
        comment: String,
        /// Wait until people decided, and it took effect
        #[arg(long)]
        wait: bool,
    },
}

/// Arguments of `policy judge`.
#[derive(Args, Debug)]
pub struct Judge {
    /// Folder with agents.yaml, tools.yaml, policies/, lists/ and tests/
    pub folder: PathBuf,
    /// The calls, one JSON object a line
    pub calls: PathBuf,
}

/// Arguments of `policy export-opa`.
#[derive(Args, Debug)]
pub struct ExportOpa {
    /// Folder with agents.yaml, tools.yaml, policies/, lists/ and tests/
    pub folder: Option<PathBuf>,
    /// File of the key that signs: P-256, PEM (PKCS #8)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Make that file, and beside it FILE.pub for OPA
    #[arg(long)]
    pub new_key: bool,
    /// Name of the key in OPA's configuration (`keyid`); without it, a digest of the public key
    #[arg(long, value_name = "NAME")]
    pub key_id: Option<String>,
    /// For whom the bundle is: OPA accepts it only if its configuration names the same `scope`
    #[arg(long, value_name = "NAME")]
    pub scope: Option<String>,
    /// The bundle
    #[arg(long, value_name = "FILE", default_value = "bundle.tar.gz")]
    pub out: PathBuf,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Where the items of lists come from that have entries of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListsFrom {
    /// The version that was in force at each call
    Recorded,
    /// The files of the folder
    Folder,
}

impl ListsFrom {
    /// By its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Folder => "folder",
        }
    }
}

/// A tenant of a running server.
#[derive(Args, Debug)]
pub struct PoliciesOf {
    #[command(flatten)]
    pub remote: Remote,
    /// The tenant
    #[arg(long)]
    pub tenant: String,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
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
