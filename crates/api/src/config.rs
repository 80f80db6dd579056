//! The configuration: one TOML file, no hidden layers; every mistake is told at once. `example.toml` lists every key.

use approvals::setup::{Chat, Connections};
use ledger::{
    ident::Ident,
    journal::jetstream,
    ledger::Options,
    store::rocks::{Compression, Opening},
    writer::COMMIT_MESSAGES_MAX,
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Exit status for a bad configuration: `EX_CONFIG` would be 78; 64 is what operators' scripts know as "wrong usage".
pub const EXIT_CONFIG: u8 = 64;

/// The file, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The database. Made by `init`.
    pub data_dir: PathBuf,
    /// A folder of key files for each tenant, mode 0600. Back it up apart from the database.
    pub keys_dir: PathBuf,
    /// The fork guard: a small file outside `data_dir`, best on another device. Never restore it from a backup.
    pub guard_path: PathBuf,
    /// Where `countersign backup` writes; none: backups are refused.
    #[serde(default)]
    pub backup_dir: Option<PathBuf>,
    /// Address and port.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// What clients see, e.g. `https://log.example.com`. Its host begins every log's origin: fixed for ever at `init`.
    pub public_url: String,
    /// A proxy in front terminates TLS; without this and without `[tls]` only loopback is served.
    #[serde(default)]
    pub plaintext_behind_proxy: bool,
    /// Days that posted journal messages are kept.
    #[serde(default = "default_retention")]
    pub journal_retention_days: u32,
    /// `full` (LZ4, then Zstandard) or `none`.
    #[serde(default)]
    pub compression: CompressionName,
    /// Tenants whose checkpoints and hash tiles anybody may read. Entries are never public.
    #[serde(default)]
    pub public_tiles: Vec<String>,
    /// Certificate and key; TLS is on when they are given.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Which journal.
    #[serde(default)]
    pub journal: Journal,
    /// Approvals; without it nothing is asked, and calls that need approval stay paused.
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
    /// Limits that may be changed.
    #[serde(default)]
    pub limits: Limits,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8470))
}

fn default_retention() -> u32 {
    30
}

/// How values are compressed on disk.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionName {
    /// LZ4 for young files, Zstandard for old ones.
    #[default]
    Full,
    /// None.
    None,
}

/// TLS files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM certificate chain.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// Which journal every tenant has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Journal {
    /// On our own store.
    #[default]
    Embedded,
    /// NATS JetStream.
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
        /// Copies of each stream that `init` makes: 1, 3 or 5.
        #[serde(default = "default_replicas")]
        replicas: usize,
    },
}

fn default_replicas() -> usize {
    1
}

/// Where rules and people are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// A folder for each tenant with `rules.toml` and `people.toml`.
    pub dir: PathBuf,
}

/// One Slack app in one workspace or organisation, for one tenant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// Whose approvals.
    pub tenant: String,
    /// The app's id, `A…`.
    pub app_id: String,
    /// Workspaces (`T…`) or organisations (`E…`) whose members may click.
    pub workspaces: Vec<String>,
    /// File with the bot token, `xoxb-…`.
    pub bot_token_file: PathBuf,
    /// Files with the signing secret: one, or two while it is changed.
    pub signing_secret_files: Vec<PathBuf>,
    /// Slack's Web API.
    #[serde(default = "default_slack_api")]
    pub api_url: String,
}

fn default_slack_api() -> String {
    "https://slack.com/api".into()
}

/// One Teams bot, for one tenant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teams {
    /// Whose approvals.
    pub tenant: String,
    /// The bot's app id.
    pub app_id: String,
    /// The directory (tenant) whose members may click.
    pub directory: String,
    /// Files with the app's password (client secret): one, or two while it is changed; the first is used first.
    pub password_files: Vec<PathBuf>,
    /// Where tokens for us are issued; `{directory}` stands for the directory.
    #[serde(default = "default_authority")]
    pub token_url: String,
    /// `OpenID` metadata of the tokens that come with clicks.
    #[serde(default = "default_metadata")]
    pub metadata_url: String,
    /// Hosts that may be sent a token; a service URL with another host is refused.
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

/// A Workflows webhook of Teams: one card with a link, nothing more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Whose approvals.
    pub tenant: String,
    /// File with the URL: it is a secret.
    pub url_file: PathBuf,
}

/// Limits an operator may change.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; more wait in the kernel.
    pub connections: usize,
    /// Seconds a client may take to send a request.
    pub request_seconds: u64,
    /// About how many messages one commit takes.
    pub commit_messages: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1024, request_seconds: 30, commit_messages: COMMIT_MESSAGES_MAX }
    }
}

/// What is logged.
#[derive(Clone, Debug, Deserialize)]
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

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// As written.
    pub file: File,
    /// `public_url` without its scheme and trailing slash: the beginning of every origin.
    pub public_host: String,
    /// What is allowed but should be thought about.
    pub warnings: Vec<String>,
    /// For `bench`: every write is appended to this file.
    pub record: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file; all mistakes at once, each a line that says what to do.
    pub fn load(path: &Path) -> Result<Self, Vec<String>> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| vec![format!("{}: {e}; copy example.toml and edit it", path.display())])?;
        let file: File = toml::from_str(&text).map_err(|e| vec![e.to_string()])?;
        Self::check(file)
    }

    fn check(file: File) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let mut warnings = Vec::new();
        let url = file.public_url.trim_end_matches('/');
        let https = url.strip_prefix("https://");
        let host = https.or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '+' | '?' | '#' | '@');
        if host.is_empty() || !host.chars().all(plain) {
            wrong.push(
                "public_url: an http:// or https:// URL without user, query and fragment".into(),
            );
        }
        let room = ledger::guard::ORIGIN_BYTES_MAX - ledger::ident::IDENT_BYTES_MAX - 32;
        if host.len() > room {
            wrong.push(format!("public_url: its host and path have at most {room} bytes"));
        }
        check_paths(&file, &mut wrong, &mut warnings);
        let loopback = file.listen.ip().is_loopback();
        if !loopback && file.tls.is_none() && !file.plaintext_behind_proxy {
            wrong.push(format!(
                "listen: {} is not loopback: configure [tls], or set plaintext_behind_proxy = true if a proxy in front \
                 terminates TLS",
                file.listen
            ));
        }
        if file.plaintext_behind_proxy && file.tls.is_none() {
            warnings.push(
                "plaintext_behind_proxy: keys and events travel unencrypted to the proxy".into(),
            );
        }
        for name in &file.public_tiles {
            if Ident::new(name).is_err() {
                wrong.push(format!("public_tiles: {name:?} is not a tenant name"));
            }
        }
        if file.journal_retention_days == 0 {
            wrong.push("journal_retention_days: at least 1".into());
        }
        if !["text", "json"].contains(&file.log.format.as_str()) {
            wrong.push("log.format: text or json".into());
        }
        if file.log.level.parse::<tracing_subscriber::EnvFilter>().is_err() {
            wrong.push(
                "log.level: a level (error, warn, info, debug, trace) or a tracing filter".into(),
            );
        }
        let Limits { connections, request_seconds, commit_messages } = file.limits;
        if !(1..=65_536).contains(&connections) {
            wrong.push("limits.connections: 1 to 65536".into());
        }
        if !(1..=600).contains(&request_seconds) {
            wrong.push("limits.request_seconds: 1 to 600".into());
        }
        if !(1..=100_000).contains(&commit_messages) {
            wrong.push("limits.commit_messages: 1 to 100000".into());
        }
        connections_wrong(&file, &mut wrong);
        if let Journal::Jetstream { replicas, .. } = &file.journal
            && ![1, 3, 5].contains(replicas)
        {
            wrong.push("journal.replicas: 1, 3 or 5".into());
        }
        let public_host = host.to_owned();
        if wrong.is_empty() {
            Ok(Self { file, public_host, warnings, record: None })
        } else {
            Err(wrong)
        }
    }

    /// How the ledger is opened.
    pub fn ledger_options(&self, create: bool) -> Options {
        let compression = match self.file.compression {
            CompressionName::Full => Compression::Full,
            CompressionName::None => Compression::None,
        };
        Options {
            store: Opening {
                path: self.file.data_dir.clone(),
                create,
                compression,
                record: self.record.clone(),
            },
            keys_dir: self.file.keys_dir.clone(),
            guard_path: self.file.guard_path.clone(),
            public_host: self.public_host.clone(),
            commit_messages_max: self.file.limits.commit_messages,
        }
    }

    /// How the broker is reached; `None` with the embedded journal.
    pub fn jetstream(&self) -> Option<(jetstream::Options, usize)> {
        let Journal::Jetstream {
            url,
            credentials_file,
            user,
            password_file,
            token_file,
            tls_ca_file,
            replicas,
        } = self.file.journal.clone()
        else {
            return None;
        };
        let options = jetstream::Options {
            url,
            credentials_file,
            user,
            password_file,
            token_file,
            tls_ca_file,
        };
        Some((options, replicas))
    }

    /// The connections by name: whose each is, and which chat it leads to. Names were checked.
    pub fn connections(&self) -> Connections {
        let File { slack, teams, webhook, .. } = &self.file;
        let slack = slack.iter().map(|(name, c)| (name, &c.tenant, Chat::Slack));
        let teams = teams.iter().map(|(name, c)| (name, &c.tenant, Chat::Teams));
        let webhook = webhook.iter().map(|(name, c)| (name, &c.tenant, Chat::Webhook));
        let all = slack.chain(teams).chain(webhook);
        let known = |(name, tenant, chat): (&String, &String, Chat)| {
            Some((Ident::new(name).ok()?, (Ident::new(tenant).ok()?, chat)))
        };
        all.filter_map(known).collect()
    }

    /// How long posted journal messages are kept.
    pub fn journal_retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.file.journal_retention_days) * 24 * 3600)
    }
}

/// Connections: names, tenants, addresses. What their secrets hold is looked at when they are opened.
fn connections_wrong(file: &File, wrong: &mut Vec<String>) {
    let slack = file.slack.iter().map(|(name, c)| ("slack", name, &c.tenant, vec![&c.api_url]));
    let teams = file.teams.iter().map(|(name, c)| {
        ("teams", name, &c.tenant, vec![&c.token_url, &c.metadata_url, &c.service_url])
    });
    let webhook = file.webhook.iter().map(|(name, c)| ("webhook", name, &c.tenant, vec![]));
    let mut names = std::collections::BTreeSet::new();
    for (kind, name, tenant, urls) in slack.chain(teams).chain(webhook) {
        if Ident::new(name).is_err() || !names.insert(name) {
            wrong.push(format!("{kind}.{name}: a name of a-z, 0-9 and -, used once"));
        }
        if Ident::new(tenant).is_err() {
            wrong.push(format!("{kind}.{name}.tenant: {tenant:?} is not a tenant name"));
        }
        for url in urls.into_iter().filter(|url| !is_safe_url(url)) {
            wrong.push(format!("{kind}.{name}: {url} must be https, or http on loopback"));
        }
        if file.approvals.is_none() {
            wrong.push(format!(
                "{kind}.{name}: add [approvals] with the folder of rules and people"
            ));
        }
    }
    for (name, connection) in &file.slack {
        if connection.workspaces.is_empty()
            || !(1..=2).contains(&connection.signing_secret_files.len())
        {
            wrong.push(format!(
                "slack.{name}: at least one workspace, and one or two signing secrets"
            ));
        }
    }
    for (name, connection) in &file.teams {
        if connection.service_hosts.is_empty()
            || !(1..=2).contains(&connection.password_files.len())
        {
            wrong
                .push(format!("teams.{name}: at least one service host, and one or two passwords"));
        }
    }
}

/// Secrets travel over https, or within this machine.
fn is_safe_url(url: &str) -> bool {
    let Ok(uri) = url.replace(['{', '}'], "x").parse::<axum::http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => loopback,
        _ => false,
    }
}

fn check_paths(file: &File, wrong: &mut Vec<String>, warnings: &mut Vec<String>) {
    for (name, path) in [
        ("data_dir", &file.data_dir),
        ("keys_dir", &file.keys_dir),
        ("guard_path", &file.guard_path),
    ] {
        if !path.is_absolute() {
            wrong.push(format!("{name}: an absolute path, {} is not", path.display()));
        }
    }
    for (name, path) in [("keys_dir", &file.keys_dir), ("guard_path", &file.guard_path)] {
        if path.starts_with(&file.data_dir) {
            wrong.push(format!(
                "{name}: outside data_dir, so that a restored database does not bring it back"
            ));
        }
    }
    if let Some(tls) = &file.tls {
        for path in [&tls.certificate, &tls.key] {
            if !path.exists() {
                wrong.push(format!("tls: {} does not exist", path.display()));
            }
        }
    }
    if same_device(&file.data_dir, &file.guard_path) {
        warnings
            .push("guard_path: on the same device as data_dir; one lost disk takes both".into());
    }
}

/// Whether both lie on one device, as far as their nearest existing folders tell.
fn same_device(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| {
        path.ancestors().find_map(|folder| std::fs::metadata(folder).ok()).map(|meta| meta.dev())
    };
    device(a) == device(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../example.toml");

    fn check(change: (&str, &str), mistake: Option<&str>) {
        assert!(EXAMPLE.contains(change.0), "{}", change.0);
        let file: File = toml::from_str(&EXAMPLE.replace(change.0, change.1)).unwrap();
        match (Config::check(file), mistake) {
            (Ok(_), None) => {}
            (Err(wrong), Some(mistake)) => {
                assert!(wrong.iter().any(|line| line.starts_with(mistake)), "{wrong:?}");
            }
            (result, _) => panic!("{mistake:?}: {result:?}"),
        }
    }

    #[test]
    fn the_example_is_right_and_mistakes_are_found() {
        check(("", ""), None);
        check(("https://log.example.com", "log.example.com"), Some("public_url"));
        check(("127.0.0.1:8470", "0.0.0.0:8470"), Some("listen"));
        check(("\"/var/lib/countersign/keys\"", "\"keys\""), Some("keys_dir"));
        check(
            ("/var/lib/countersign-guard/guard", "/var/lib/countersign/data/guard"),
            Some("guard_path"),
        );
        check(
            ("journal_retention_days = 30", "journal_retention_days = 0"),
            Some("journal_retention_days"),
        );
    }

    #[test]
    fn all_mistakes_at_once() {
        let text = EXAMPLE.replace("https://log", "log").replace("127.0.0.1", "0.0.0.0");
        assert_eq!(Config::check(toml::from_str(&text).unwrap()).unwrap_err().len(), 2);
        assert!(toml::from_str::<File>(&format!("typo = 1\n{EXAMPLE}")).is_err());
    }
}
