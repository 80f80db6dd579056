//! Opens a sink of a configuration that was checked: its receiver, with its secret.

use super::{
    batch::Spec,
    datadog::Datadog,
    elastic::Elastic,
    file::Files,
    format::Format,
    grpc::Grpc,
    http::Http,
    kind::Kind,
    net::Client,
    otlp::{Options, Otlp, Protocol, Road},
    port::Receiver,
    sender::Sink,
    sentinel::{Login, Sentinel},
    setup::{self, Setup},
    splunk::Splunk,
    syslog::Syslog,
};
use crate::certificates;
use ledger::ident::Ident;
use std::sync::Arc;
use url::Url;
use zeroize::Zeroizing;

/// Opens a sink. Sends nothing yet.
pub fn sink(name: &str, setup: &Setup, public_url: &str) -> Result<Sink, String> {
    let ident = |text: &str| Ident::new(text).map_err(|error| format!("{text:?}: {error}"));
    let kind = Kind::parse(&setup.kind).ok_or("no such kind")?;
    let options = setup.otlp().map_err(|(name, why)| format!("{name}: {why}"))?;
    let spec = Spec {
        name: ident(name)?,
        tenant: ident(&setup.tenant)?,
        kind: ident(kind.as_str())?,
        format: setup.format()?,
        question: setup.question()?,
        filter: setup.filter.clone(),
        payload: setup.payload.clone(),
        entries: setup.batch_entries.min(kind.entries_max()),
        bytes: setup.batch_bytes.min(kind.bytes_max()),
        traces: options.traces.then_some(options.names),
        url: public_url.to_owned(),
        // One that ended beside its successor does no harm.
        authorities_end: certificates::ends(&authorities(setup)?)
            .into_iter()
            .max()
            .unwrap_or_default(),
    };
    let receiver = receiver(kind, (&spec, options), setup)?;
    Ok(Sink::new(spec, receiver, setup.alarm_after_seconds, setup.report_seconds))
}

fn receiver(
    kind: Kind,
    (spec, options): (&Spec, Options),
    setup: &Setup,
) -> Result<Arc<dyn Receiver>, String> {
    let host = public_host(&spec.url);
    let url = || setup::address(kind, setup.url.as_deref().unwrap_or_default());
    let client = || Client::new(url()?, setup.way());
    let secret = || secret(setup)?.ok_or_else(|| "a secret file is missing".to_owned());
    let stream = || setup.stream.clone().unwrap_or_default();
    Ok(match kind {
        Kind::File => {
            let dir = setup.dir.clone().ok_or("a folder is missing")?;
            Arc::new(Files::new(dir, file_names(spec), setup.file_bytes))
        }
        Kind::Syslog => {
            let ca = setup.tls_ca_file.as_deref();
            Arc::new(Syslog::new(&url()?, host, ca, setup.private_network)?)
        }
        Kind::Http => Arc::new(Http::new(client()?, &secret()?, media(spec.format))?),
        Kind::Splunk => Arc::new(Splunk::new(client()?, &secret()?, host, setup.acknowledge)),
        Kind::Elastic => Arc::new(Elastic::new(client()?, &secret()?, stream())),
        Kind::Datadog => Arc::new(Datadog::new(client()?, secret()?, host, spec)),
        Kind::Otlp => {
            let key = self::secret(setup)?;
            let secret = (setup.header.as_deref(), key);
            let road = match options.protocol {
                Protocol::Http => Road::Http(client()?),
                Protocol::Grpc => {
                    let ca = setup.tls_ca_file.as_deref();
                    Road::Grpc(Grpc::new(url()?, ca, setup.private_network)?)
                }
            };
            Arc::new(Otlp::new(road, secret, &host, (spec, options)))
        }
        Kind::Sentinel => {
            let login = Url::parse(setup.login_url()).map_err(|error| error.to_string())?;
            let login = Login::new(
                Client::new(login, setup.way())?,
                setup.directory.as_deref().unwrap_or_default(),
                setup.client_id.clone().unwrap_or_default(),
                secret()?,
            );
            let rule = setup.rule.as_deref().unwrap_or_default();
            Arc::new(Sentinel::new(client()?, login, (rule, &stream()), spec))
        }
    })
}

fn secret(setup: &Setup) -> Result<Option<Zeroizing<String>>, String> {
    let read = |path| approvals::secret::read(path).map_err(|error| error.to_string());
    setup.secret_file.as_deref().map(read).transpose()
}

/// What the files of a sink hold now: its secret, and the authorities that it trusts.
pub fn files(setup: &Setup) -> Result<Vec<Zeroizing<Vec<u8>>>, String> {
    let secret = secret(setup)?.map(|secret| Zeroizing::new(secret.as_bytes().to_vec()));
    Ok(vec![secret.unwrap_or_default(), Zeroizing::new(authorities(setup)?)])
}

/// The file of authorities; empty without one.
fn authorities(setup: &Setup) -> Result<Vec<u8>, String> {
    let path = setup.tls_ca_file.as_deref();
    let content = |path| certificates::content(path).map_err(|why| format!("tls_ca_file: {why}"));
    Ok(path.map(content).transpose()?.unwrap_or_default())
}

/// What a collector is told that it gets.
fn media(format: Format) -> &'static str {
    if format.is_json() { "application/x-ndjson" } else { "text/plain; charset=utf-8" }
}

/// What names of files begin with, and what they end with.
fn file_names(spec: &Spec) -> (String, &'static str) {
    let ending = if spec.format.is_json() { "ndjson" } else { "cef" };
    (format!("{}-{}", spec.tenant, spec.name), ending)
}

/// The host of `public_url`: what receivers name as the host of events.
fn public_host(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_the_public_url() {
        for (url, host) in [
            ("https://log.example.com", "log.example.com"),
            ("https://log.example.com:8470/below", "log.example.com"),
            ("https://[2001:db8::1]:8470", "[2001:db8::1]"),
            ("http://127.0.0.1:8470", "127.0.0.1"),
        ] {
            assert_eq!(public_host(url), host);
        }
    }
}
