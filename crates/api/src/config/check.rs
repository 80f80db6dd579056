//! Finds every mistake in a configuration. Each is a line that says what to do.

use super::{Approvals, Config, File, Journal, Limits};
use crate::limits::{CONNECTIONS_MAX, Shares};
use approvals::deciding::VALID_FOR_SECONDS_MAX;
use ledger::{budget::REPORT_WITHIN_SECONDS_MAX, ident::Ident};
use std::path::{Path, PathBuf};

/// Most servers that decide together.
const DECIDERS_MAX: u64 = 64;

impl Config {
    pub(super) fn check(file: File) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let mut warnings = Vec::new();
        let url = file.public_url.trim_end_matches('/');
        let https = url.strip_prefix("https://");
        let host = https.or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '+' | '?' | '#' | '@');
        if host.is_empty() || !host.chars().all(plain) {
            let is = format!("{:?} is not one", file.public_url);
            let is = if file.public_url.is_empty() { "it is missing" } else { &is };
            wrong.push(format!(
                "public_url: an http:// or https:// URL without user, query and fragment; {is}"
            ));
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
        if !(1..=365).contains(&file.scrub_days) {
            wrong.push("scrub_days: 1 to 365".into());
        }
        if !["text", "json"].contains(&file.log.format.as_str()) {
            wrong.push("log.format: text or json".into());
        }
        if file.log.level.parse::<tracing_subscriber::EnvFilter>().is_err() {
            wrong.push(
                "log.level: a level (error, warn, info, debug, trace) or a tracing filter".into(),
            );
        }
        check_limits(&file.limits, &mut wrong);
        let valid_for = file.approvals.as_ref().map(|approvals| approvals.valid_for_seconds);
        if valid_for.is_some_and(|seconds| !(1..=VALID_FOR_SECONDS_MAX).contains(&seconds)) {
            wrong.push("approvals.valid_for_seconds: 1 to 900".into());
        }
        budgets_wrong(file.approvals.as_ref(), &mut wrong);
        connections_wrong(&file, &mut wrong);
        sent_wrong(&file, &mut wrong, &mut warnings);
        if let Journal::Jetstream { replicas, .. } = &file.journal
            && ![1, 3, 5].contains(replicas)
        {
            wrong.push("journal.replicas: 1, 3 or 5".into());
        }
        let public_host = host.to_owned();
        if wrong.is_empty() {
            let (record, path, shares) = (None, PathBuf::new(), Shares::default());
            Ok(Self { file, public_host, warnings, record, path, shares })
        } else {
            Err(wrong)
        }
    }
}

fn check_limits(limits: &Limits, wrong: &mut Vec<String>) {
    let Limits { connections, request_seconds, commit_messages } = *limits;
    if connections.is_some_and(|connections| !(1..=CONNECTIONS_MAX).contains(&connections)) {
        wrong.push("limits.connections: 1 to 65536".into());
    }
    if !(1..=600).contains(&request_seconds) {
        wrong.push("limits.request_seconds: 1 to 600".into());
    }
    if !(1..=100_000).contains(&commit_messages) {
        wrong.push("limits.commit_messages: 1 to 100000".into());
    }
}

/// Checks sinks, witnesses, and where evidence goes.
fn sent_wrong(file: &File, wrong: &mut Vec<String>, warnings: &mut Vec<String>) {
    wrong.extend(crate::sinks::mistakes(&file.sink));
    wrong.extend(crate::witness::mistakes(&file.witness));
    wrong.extend(crate::oidc::mistakes(&file.oidc, file.approvals.is_some()));
    wrong.extend(replicas_wrong(file));
    for (tenant, monthly) in &file.evidence {
        if Ident::new(tenant).is_err() {
            wrong.push(format!("evidence.{tenant}: {tenant:?} is not a tenant name"));
        }
        if !monthly.to.is_dir() {
            warnings.push(format!(
                "evidence.{tenant}.to: {} is no folder: make it first, for this server's user",
                monthly.to.display()
            ));
        }
        if !monthly.api_key_file.is_file() {
            warnings.push(format!(
                "evidence.{tenant}.api_key_file: {} is no file: issue a key of the role auditor",
                monthly.api_key_file.display()
            ));
        }
        if monthly.samples > crate::evidence::SAMPLES_MAX {
            wrong.push(format!("evidence.{tenant}.samples: 0 to 10000"));
        }
    }
}

/// Checks this server as one of several.
fn replicas_wrong(file: &File) -> Vec<String> {
    let copies = match &file.journal {
        Journal::Embedded => None,
        Journal::Jetstream { replicas, .. } => Some(*replicas),
    };
    crate::replicas::mistakes(file.replica.as_ref(), copies)
}

/// Checks what is configured about budgets and rates.
fn budgets_wrong(approvals: Option<&Approvals>, wrong: &mut Vec<String>) {
    let Some(approvals) = approvals else { return };
    if !(1..=REPORT_WITHIN_SECONDS_MAX).contains(&approvals.report_within_seconds) {
        wrong.push("approvals.report_within_seconds: 1 to 86400".into());
    }
    if !(1..=DECIDERS_MAX).contains(&approvals.deciders) {
        wrong.push("approvals.deciders: 1 to 64".into());
    }
}

/// Checks names, tenants and addresses of connections. The content of secrets is checked when connections are
/// opened.
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

/// Secrets may be sent only over https, or within this machine.
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
        if path.as_os_str().is_empty() {
            wrong.push(format!("{name}: it is missing; an absolute path"));
        } else if !path.is_absolute() {
            wrong.push(format!("{name}: an absolute path, {} is not", path.display()));
        }
    }
    if let Some(path) = file.spool_dir.as_ref().filter(|path| !path.is_absolute()) {
        wrong.push(format!("spool_dir: an absolute path, {} is not", path.display()));
    }
    let outside = [("keys_dir", Some(&file.keys_dir)), ("guard_path", Some(&file.guard_path))];
    let outside = outside.into_iter().chain([("spool_dir", file.spool_dir.as_ref())]);
    for (name, path) in outside.filter_map(|(name, path)| Some((name, path?))) {
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

/// True if both are on one device, as far as their nearest existing folders show.
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

    const EXAMPLE: &str = include_str!("../../../../example.toml");

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
