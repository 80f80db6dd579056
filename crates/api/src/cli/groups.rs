//! Commands with commands of their own: keys, rules, chats.

use super::{MakeKey, Remote, WithConfig};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `key`.
#[derive(Args, Debug)]
pub struct Key {
    #[command(subcommand)]
    pub command: KeyCommand,
}

/// Commands of `key`.
#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Issue an API key; prints it once
    #[command(
        after_help = "Example:\n  countersign key add --tenant acme --api-key-file admin.key --role publisher \
                            --producer gw-1 --name 'gateway 1'"
    )]
    Add {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// Roles: publisher, enforcer, reviewer, author, responder, exporter, auditor, discloser, admin
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        /// The producer, for publisher and enforcer
        #[arg(long)]
        producer: Option<String>,
        /// The person of the key: required for reviewer, author and responder; with other roles, entries then name the person too
        #[arg(long)]
        person: Option<String>,
        /// A label for people
        #[arg(long, default_value = "")]
        name: String,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        approved: Approved,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Put a person's passkey in force: the page /passkeys shows the request
    #[command(
        after_help = "Example:\n  countersign key passkey --tenant acme --api-key-file admin.key REQUEST"
    )]
    Passkey {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// The request, as its person sent it
        request: String,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Link a person to an account at a provider of `OpenID` Connect: the sign-in page shows issuer and subject
    #[command(
        after_help = "Example:\n  countersign key link --tenant acme --api-key-file admin.key --person p-ana --issuer \
                      https://id.example.com --subject 00u1a2b3c4"
    )]
    Link {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// The person
        #[arg(long, value_name = "ID")]
        person: String,
        /// The issuer, as the configuration of the server has it
        #[arg(long, value_name = "URL")]
        issuer: String,
        /// The subject at the provider
        #[arg(long)]
        subject: String,
        /// A label for people
        #[arg(long, default_value = "")]
        name: String,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        approved: Approved,
    },
    /// List API keys
    #[command(
        after_help = "Example:\n  countersign key list --tenant acme --api-key-file admin.key"
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
    /// Remove an API key
    #[command(
        after_help = "Example:\n  countersign key remove --tenant acme --api-key-file admin.key 0123456789abcdef"
    )]
    Remove {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// The key's id: 16 hex digits after `cs_`
        key_id: String,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Remove it even if it is the tenant's last admin key
        #[arg(long)]
        last_admin: bool,
    },
    /// Make the file of the next signing key, for replicas: each must have it before `key rotate`
    Make(MakeKey),
    /// Rotate a signing key: log, journal, token or agent
    #[command(
        after_help = "Example:\n  countersign key rotate --tenant acme --api-key-file admin.key --use log"
    )]
    Rotate {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// Which key
        #[arg(long = "use", value_name = "log|journal|token|agent", default_value = "log")]
        usage: String,
        /// For the log key: how many more entries the old key signs beside the new one
        #[arg(long, default_value_t = 1000)]
        overlap: u64,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// Arguments of `log`.
#[derive(Args, Debug)]
pub struct Log {
    #[command(subcommand)]
    pub command: LogCommand,
}

/// Commands of `log`.
#[derive(Subcommand, Debug)]
pub enum LogCommand {
    /// Print a policy (C2SP tlog-policy) with the log's key, the configured replicas and witnesses; needs no server
    #[command(after_help = "\
Whoever verifies keeps it where the log's operator can't change it, and decides about its quorum: verify --policy FILE.

Example:
  countersign log policy --config countersign.toml --key log.vkey > tlog-policy
  countersign log policy --config countersign.toml --key log.vkey --keys keys.json     the replicas in force, by the log")]
    Policy {
        #[command(flatten)]
        config: WithConfig,
        /// The log's public key: `name+hash+base64`, or a file that holds it
        #[arg(long, value_name = "VKEY|FILE")]
        key: String,
        /// The log's keys document (GET T/logs/1/keys): the replicas in force now, instead of the configured first ones
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
}

/// Arguments of `clock`.
#[derive(Args, Debug)]
pub struct Clock {
    #[command(subcommand)]
    pub command: ClockCommand,
}

/// Commands of `clock`.
#[derive(Subcommand, Debug)]
pub enum ClockCommand {
    /// Confirm that the server's clock is right again; open approvals have their whole time again
    #[command(
        after_help = "Example:\n  countersign clock reset --tenant acme --api-key-file admin.key --reason 'The clock \
                      was a day ahead until 14:05; NTP is set up now.'"
    )]
    Reset {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// What happened, for readers of the log
        #[arg(long)]
        reason: String,
    },
}

/// Arguments of `rules`.
#[derive(Args, Debug)]
pub struct Rules {
    #[command(subcommand)]
    pub command: RulesCommand,
}

/// Commands of `rules`.
#[derive(Subcommand, Debug)]
pub enum RulesCommand {
    /// Show what the files would do with an event: which rule, who is asked, where and when; needs no server
    #[command(after_help = "\
Exit codes: 0 it would be asked for, 1 the event pauses no call, 3 it can't be read, 64 the files have mistakes.

Example:
  countersign rules test --config countersign.toml --tenant acme event.json")]
    Test {
        #[command(flatten)]
        config: WithConfig,
        /// The tenant; optional if only one has files
        #[arg(long)]
        tenant: Option<String>,
        /// A decision event as a producer publishes it; `-` reads standard input
        event: PathBuf,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Put the server's files in force, if they are the same as the ones here
    #[command(
        after_help = "Example:\n  countersign rules apply --config countersign.toml --tenant acme --api-key-file \
                      admin.key"
    )]
    Apply {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        approved: Approved,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Compute the digests of a `rules` entry from files alone, to check them
    #[command(after_help = "\
The salt stands in the evidence that the entry's `reason` names (GET …/entries/<index>/disclosures, member people_salt).

Exit codes: 0 computed, and equal to what was given, 1 another digest, 3 a file can't be read, 64 the files have mistakes.

Example:
  countersign rules digest --salt 0nZ… --expect-people 612i… rules.toml people.toml")]
    Digest {
        /// The rules file
        rules: PathBuf,
        /// The people file
        people: PathBuf,
        /// The salt of people and channels; without it only the digest of the rules is computed
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        salt: Option<String>,
        /// `rules_digest` of the entry, to compare
        #[arg(long, value_name = "DIGEST", allow_hyphen_values = true)]
        expect_rules: Option<String>,
        /// `people_digest` of the entry, to compare
        #[arg(long, value_name = "DIGEST", allow_hyphen_values = true, requires = "salt")]
        expect_people: Option<String>,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the rules in force, and whether the server's files are the same
    #[command(
        after_help = "Example:\n  countersign rules show --tenant acme --api-key-file admin.key"
    )]
    Show {
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

/// Arguments of `sources`.
#[derive(Args, Debug)]
pub struct Sources {
    #[command(subcommand)]
    pub command: SourcesCommand,
}

/// Commands of `sources`.
#[derive(Subcommand, Debug)]
pub enum SourcesCommand {
    /// Declare the sources that must report, in place of those before
    #[command(
        after_help = "Example:\n  countersign sources apply --tenant acme --api-key-file admin.key --reason 'OPA of the \
                      data platform is new' sources.toml"
    )]
    Apply {
        #[command(flatten)]
        remote: Remote,
        /// The tenant
        #[arg(long)]
        tenant: String,
        /// Why: kept beside the entry, and can be erased
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The file (TOML): a table [[source]] for each source
        file: PathBuf,
        /// Answer as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the sources that must report, which of them are silent, and which others reported
    #[command(
        after_help = "Example:\n  countersign sources show --tenant acme --api-key-file admin.key"
    )]
    Show {
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

/// Arguments of `slack`.
#[derive(Args, Debug)]
pub struct Slack {
    #[command(subcommand)]
    pub command: SlackCommand,
}

/// Commands of `slack`.
#[derive(Subcommand, Debug)]
pub enum SlackCommand {
    /// Print the app manifest that Slack's console imports (Create New App, From a manifest)
    #[command(
        after_help = "Example:\n  countersign slack manifest --config countersign.toml acme-slack"
    )]
    Manifest {
        #[command(flatten)]
        config: WithConfig,
        /// Name of the connection: the `acme-slack` of `[slack.acme-slack]`
        connection: String,
    },
}

/// Arguments of `teams`.
#[derive(Args, Debug)]
pub struct Teams {
    #[command(subcommand)]
    pub command: TeamsCommand,
}

/// Commands of `teams`.
#[derive(Subcommand, Debug)]
pub enum TeamsCommand {
    /// Write the app package (ZIP) that a Teams admin uploads
    #[command(
        after_help = "Example:\n  countersign teams package --config countersign.toml acme-teams -o app.zip"
    )]
    Package {
        #[command(flatten)]
        config: WithConfig,
        /// The connection: NAME of `[teams.NAME]` in the configuration
        connection: String,
        /// The file to write
        #[arg(short, long, value_name = "FILE", default_value = "countersign-teams.zip")]
        output: PathBuf,
    },
}

/// An act that people must approve first if the rules in force name it.
#[derive(Args, Debug)]
pub struct Approved {
    /// The approval that people gave for exactly this
    #[arg(long, value_name = "ID")]
    pub approval: Option<String>,
    /// If people must approve it, wait for them, then do it
    #[arg(long)]
    pub wait: bool,
}
