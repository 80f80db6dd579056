//! The configuration file, as written. `example.toml` lists every key.

use crate::{oidc, replicas, sinks::Setup, witness};
use approvals::deciding::{REPORT_WITHIN_SECONDS, VALID_FOR_SECONDS};
use ledger::writer::COMMIT_MESSAGES_MAX;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// The content of the configuration file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "fields are called what the file calls them")]
pub struct File {
    /// The database. Made by `init`.
    #[serde(default)]
    pub data_dir: PathBuf,
    /// A folder of key files for each tenant, mode 0600. Back it up apart from the database.
    #[serde(default)]
    pub keys_dir: PathBuf,
    /// The fork guard: a small file outside `data_dir`, best on another device. Never restore it from a backup.
    #[serde(default)]
    pub guard_path: PathBuf,
    /// Folder to which `countersign backup` writes. Without it backups are refused.
    #[serde(default)]
    pub backup_dir: Option<PathBuf>,
    /// Folder of the spool: verdicts that policies allow to be told before they are recorded. Without it none is.
    #[serde(default)]
    pub spool_dir: Option<PathBuf>,
    /// Address and port on which the server listens.
    #[serde(default = "default_listen", deserialize_with = "address")]
    pub listen: SocketAddr,
    /// File with the key that only reads `/metrics`, 32 characters or more. Without it only the operator key
    /// reads them.
    #[serde(default)]
    pub metrics_key_file: Option<PathBuf>,
    /// Address as clients see it, for example `https://log.example.com`. Its host begins every log's origin,
    /// so it can't change after `init`.
    #[serde(default)]
    pub public_url: String,
    /// True if a proxy in front terminates TLS. Without this and without `[tls]`, only loopback is served.
    #[serde(default)]
    pub plaintext_behind_proxy: bool,
    /// Days that posted journal messages are kept.
    #[serde(default = "default_retention")]
    pub journal_retention_days: u32,
    /// Days within which the scrub reads everything that is stored.
    #[serde(default = "default_scrub")]
    pub scrub_days: u32,
    /// `full` (LZ4, then Zstandard) or `none`.
    #[serde(default)]
    pub compression: CompressionName,
    /// Tenants whose checkpoints and hash tiles anybody may read. Entries are never public.
    #[serde(default)]
    pub public_tiles: Vec<String>,
    /// Certificate and key. If given, the server uses TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The journal of every tenant.
    #[serde(default)]
    pub journal: Journal,
    /// Approvals. Without them nobody is asked, and calls that need approval stay paused.
    #[serde(default)]
    pub approvals: Option<Approvals>,
    /// Slack workspaces, by the name of the connection.
    #[serde(default)]
    pub slack: BTreeMap<String, Slack>,
    /// Microsoft Teams bots, by the name of the connection.
    #[serde(default)]
    pub teams: BTreeMap<String, Teams>,
    /// Workflows webhooks (links only), by the name of the connection.
    #[serde(default)]
    pub webhook: BTreeMap<String, Webhook>,
    /// Providers of `OpenID` Connect at which people sign in, by name.
    #[serde(default)]
    pub oidc: BTreeMap<String, oidc::Setup>,
    /// Evidence of every month, by tenant.
    #[serde(default)]
    pub evidence: BTreeMap<String, Monthly>,
    /// Bundles for gateways' own OPAs. Without it there are none.
    #[serde(default)]
    pub opa: Option<Opa>,
    /// Where entries are sent, by the name of the sink.
    #[serde(default)]
    pub sink: BTreeMap<String, Setup>,
    /// Outside witnesses that cosign checkpoints, by name.
    #[serde(default)]
    pub witness: BTreeMap<String, witness::Setup>,
    /// This server as one of several that sign together. Without it, it signs alone.
    #[serde(default)]
    pub replica: Option<replicas::Setup>,
    /// Limits that may be changed.
    #[serde(default)]
    pub limits: Limits,
    /// Settings of the server's log.
    #[serde(default)]
    pub log: Log,
}

impl Default for File {
    /// An empty configuration: required values are empty.
    fn default() -> Self {
        toml::from_str("").expect("every member has a default")
    }
}

/// Reads an address with its port. The error says what that is.
fn address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = format!("{text:?} is not an IP address with a port, as in \"127.0.0.1:8470\"");
    text.parse().map_err(|_| serde::de::Error::custom(wrong))
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8470))
}

fn default_retention() -> u32 {
    30
}

fn default_scrub() -> u32 {
    7
}

/// How values are compressed on disk.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionName {
    /// LZ4 for young files, Zstandard for old ones.
    #[default]
    Full,
    /// No compression.
    None,
}

/// TLS files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM certificate chain.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// The journal of every tenant.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Journal {
    /// The journal is in our own store.
    #[default]
    Embedded,
    /// The journal is on NATS JetStream.
    Jetstream {
        /// `nats://host:port`, several separated by commas.
        url: String,
        /// NATS credentials file.
        #[serde(default)]
        credentials_file: Option<PathBuf>,
        /// User name.
        #[serde(default)]
        user: Option<String>,
        /// File with the password.
        #[serde(default)]
        password_file: Option<PathBuf>,
        /// File with the token.
        #[serde(default)]
        token_file: Option<PathBuf>,
        /// Certificate authority of the server.
        #[serde(default)]
        tls_ca_file: Option<PathBuf>,
        /// Number of copies of each stream that `init` makes: 1, 3 or 5.
        #[serde(default = "default_replicas")]
        replicas: usize,
    },
}

fn default_replicas() -> usize {
    1
}

/// Settings of approvals.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// A folder for each tenant with `rules.toml` and `people.toml`.
    pub dir: PathBuf,
    /// Seconds for which an allow of ours counts.
    #[serde(default = "default_valid_for")]
    pub valid_for_seconds: u64,
    /// Seconds after a verdict within which a report may change what the call reserved of a budget.
    #[serde(default = "default_report_within")]
    pub report_within_seconds: u64,
    /// How many servers decide: each lets through its part of a rate.
    #[serde(default = "default_deciders")]
    pub deciders: u64,
    /// True: once a minute an entry shows that this server decides, for each tenant.
    #[serde(default)]
    pub probe: bool,
}

fn default_report_within() -> u64 {
    REPORT_WITHIN_SECONDS
}

fn default_deciders() -> u64 {
    1
}

fn default_valid_for() -> u64 {
    VALID_FOR_SECONDS
}

/// Bundles for OPA.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Opa {
    /// File of the key that signs them: P-256, PEM (PKCS #8).
    pub signing_key_file: PathBuf,
    /// Name of the key in OPA's configuration. Without it a digest of the public key.
    #[serde(default)]
    pub key_id: Option<String>,
}

/// Evidence that the server makes by itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Monthly {
    /// How long each period is.
    #[serde(default)]
    pub every: Every,
    /// Folder that gets a folder for the tenant, with one for each month.
    pub to: PathBuf,
    /// File with an API key of the role auditor or exporter.
    pub api_key_file: PathBuf,
    /// File with the key that signs a statement over all files. Without it nobody signs.
    #[serde(default)]
    pub signing_key_file: Option<PathBuf>,
    /// Samples of each control.
    #[serde(default = "default_samples")]
    pub samples: usize,
    /// Under a checkpoint that outside witnesses have cosigned.
    #[serde(default)]
    pub witnessed: bool,
}

/// How long the periods are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Every {
    /// Calendar months in UTC.
    #[default]
    Month,
}

fn default_samples() -> usize {
    25
}

/// One Slack app in one workspace or organisation, for one tenant.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// Tenant whose approvals it shows.
    pub tenant: String,
    /// The app's id, `A…`.
    pub app_id: String,
    /// Workspaces (`T…`) or organisations (`E…`) whose members may click.
    pub workspaces: Vec<String>,
    /// File with the bot token, `xoxb-…`.
    pub bot_token_file: PathBuf,
    /// Files with the signing secret. There are two while it is being changed.
    pub signing_secret_files: Vec<PathBuf>,
    /// Address of Slack's Web API.
    #[serde(default = "default_slack_api")]
    pub api_url: String,
}

fn default_slack_api() -> String {
    "https://slack.com/api".into()
}

/// One Teams bot, for one tenant.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Teams {
    /// Tenant whose approvals it shows.
    pub tenant: String,
    /// The bot's app id.
    pub app_id: String,
    /// The directory (tenant) whose members may click.
    pub directory: String,
    /// Files with the app's password (client secret), in the order of use. There are two while it is being
    /// changed.
    pub password_files: Vec<PathBuf>,
    /// URL that issues our tokens. `{directory}` stands for the directory.
    #[serde(default = "default_authority")]
    pub token_url: String,
    /// `OpenID` metadata of the tokens that come with clicks.
    #[serde(default = "default_metadata")]
    pub metadata_url: String,
    /// Hosts to which a token may be sent. A service URL with another host is refused.
    #[serde(default = "default_service_hosts")]
    pub service_hosts: Vec<String>,
    /// Service URL for the first card in a conversation.
    #[serde(default = "default_service_url")]
    pub service_url: String,
}

fn default_authority() -> String {
    "https://login.microsoftonline.com/{directory}/oauth2/v2.0/token".into()
}

fn default_metadata() -> String {
    "https://login.botframework.com/v1/.well-known/openidconfiguration".into()
}

fn default_service_hosts() -> Vec<String> {
    vec!["smba.trafficmanager.net".into()]
}

fn default_service_url() -> String {
    "https://smba.trafficmanager.net/teams/".into()
}

/// A Workflows webhook of Teams: one card with a link.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Tenant whose approvals it shows.
    pub tenant: String,
    /// File with the URL, which is a secret.
    pub url_file: PathBuf,
}

/// Limits that an operator may change.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most connections at once. Without it, 1024, or what the system's limit of open files allows. Some more
    /// are kept for health and metrics.
    pub connections: Option<usize>,
    /// Seconds a client may take to send a request.
    pub request_seconds: u64,
    /// About how many messages one commit takes.
    pub commit_messages: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: None, request_seconds: 30, commit_messages: COMMIT_MESSAGES_MAX }
    }
}

/// Settings of the server's log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: String,
    /// A `tracing` filter, e.g. `info` or `info,ledger=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: "text".into(), level: "info".into() }
    }
}
