//! Decides where an API key may be sent: to an address that somebody named, by a connection that nobody else
//! can read.
//!
//! `--server` names the address. Otherwise the configuration does (`--config`, or `countersign.toml` in the
//! current directory if it belongs to this user): its listening address, or `public_url`. There is no other
//! default.

use super::Error;
use crate::{
    certificates,
    cli::Remote,
    config::{self, Config},
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use ureq::{http::Uri, tls};

/// Named addresses, best first, with the certificate authorities for them (`None`: the public ones).
pub struct Whom {
    /// Base URLs, without a slash at their end.
    pub addresses: Vec<String>,
    /// Trusted certificates.
    pub roots: Option<Vec<tls::Certificate<'static>>>,
}

impl Whom {
    /// Determines the addresses from the arguments.
    pub fn of(remote: &Remote) -> Result<Self, Error> {
        let given = remote.ca.as_deref().map(certificates).transpose()?;
        let mut whom = match &remote.server {
            Some(server) => Self { addresses: vec![server.clone()], roots: None },
            None => Self::of_config(&config_path(remote)?)?,
        };
        whom.roots = given.or(whom.roots);
        whom.addresses = whom
            .addresses
            .iter()
            .map(|address| checked(address, remote.allow_http))
            .collect::<Result<_, _>>()?;
        Ok(whom)
    }

    fn of_config(path: &Path) -> Result<Self, Error> {
        let file = Config::file(path).map_err(|wrong| {
            let lines: Vec<String> = wrong.iter().map(|line| format!("\n  {line}")).collect();
            Error::Config(format!("{}:{}", path.display(), lines.concat()))
        })?;
        Self::of_file(&file, path)
    }

    /// Address of a server with this configuration. With TLS, the certificate shows which of the two addresses
    /// it has.
    fn of_file(file: &config::File, path: &Path) -> Result<Self, Error> {
        let public = file.public_url.trim_end_matches('/').to_owned();
        let local = on_this_machine(file.listen);
        if file.listen.port() == 0 {
            let text = format!("{}: `listen` names no port: say --server URL", path.display());
            return Err(Error::Usage(text));
        }
        Ok(match &file.tls {
            Some(tls) => Self {
                addresses: [format!("https://{local}"), public]
                    .into_iter()
                    .filter(|address| address.starts_with("https://"))
                    .collect(),
                // The server's own certificate is trusted for it. If it can't be read, the public authorities
                // are.
                roots: certificates(&tls.certificate).ok(),
            },
            None if local.ip().is_loopback() => {
                Self { addresses: vec![format!("http://{local}")], roots: None }
            }
            None => Self { addresses: vec![public], roots: None },
        })
    }
}

/// `--config`, or the file in the current directory.
fn config_path(remote: &Remote) -> Result<PathBuf, Error> {
    if let Some(path) = &remote.config {
        return Ok(path.clone());
    }
    let here = Path::new(config::DEFAULT_PATH);
    let say = "say which server: --server URL, or --config FILE with its configuration";
    // Check both a link and its target.
    let (Ok(name), Ok(file)) = (fs::symlink_metadata(here), fs::metadata(here)) else {
        return Err(Error::Usage(say.into()));
    };
    let us = rustix::process::geteuid().as_raw();
    let is_ours = |meta: &fs::Metadata| [us, 0].contains(&meta.uid());
    if !is_ours(&name) || !is_ours(&file) || file.mode() & 0o002 != 0 {
        let why =
            format!("./{} can be changed by others, so it names no server here", here.display());
        return Err(Error::Usage(format!("{why}; {say}")));
    }
    Ok(here.to_owned())
}

/// A listening address as this machine reaches it.
fn on_this_machine(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Checks that a key may be sent to a base URL.
fn checked(address: &str, allow_http: bool) -> Result<String, Error> {
    let wrong = |why: &str| Error::Usage(format!("the server {address:?}: {why}"));
    let uri: Uri = address.parse().map_err(|_| wrong("not a URL; e.g. https://log.example.com"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong("a URL begins with https:// (or http:// on this machine)"));
    };
    if authority.as_str().contains('@') || uri.query().is_some() || address.contains('#') {
        return Err(wrong("a URL without user, query and fragment"));
    }
    match scheme {
        "https" => {}
        "http" if allow_http || is_this_machine(address) => {}
        "http" => {
            return Err(wrong(
                "http:// is not encrypted, and this is not the machine you are on: whoever is on the way could take \
                 the API key. Use https://, or say --allow-http if the way is yours alone (a tunnel, a private network)",
            ));
        }
        _ => return Err(wrong("a URL begins with https:// (or http:// on this machine)")),
    }
    Ok(address.trim_end_matches('/').to_owned())
}

/// True if a URL leads to this machine, independent of any name server.
pub fn is_this_machine(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Every certificate of a PEM file.
pub fn certificates(path: &Path) -> Result<Vec<tls::Certificate<'static>>, Error> {
    let found = certificates::of(path);
    let found = found.map_err(|why| Error::File { path: path.to_owned(), why })?;
    Ok(found.iter().map(|one| tls::Certificate::from_der(one).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../example.toml");

    fn check(address: &str, allow_http: bool, may: bool) {
        assert_eq!(checked(address, allow_http).is_ok(), may, "{address}");
    }

    #[test]
    fn keys_travel_encrypted_or_not_at_all() {
        for here in [
            "http://127.0.0.1:8470",
            "http://localhost",
            "http://[::1]:1",
            "http://127.9.9.9",
            "http://[::ffff:127.0.0.1]",
        ] {
            check(here, false, true);
            assert!(is_this_machine(here), "{here}");
        }
        for away in [
            "http://203.0.113.1:9",
            "http://log.example.com",
            "http://localhost.example.com",
            "http://2130706433",
        ] {
            check(away, false, false);
            check(away, true, true);
            check(&away.replace("http", "https"), false, true);
            assert!(!is_this_machine(away), "{away}");
        }
        for none in [
            "",
            "log.example.com",
            "127.0.0.1:8470",
            "ftp://x",
            "https://a@b",
            "https://x/?q",
            "https://x/#f",
            "unix:/x",
        ] {
            check(none, true, false);
        }
        assert_eq!(checked("https://x/path/", false).unwrap(), "https://x/path");
    }

    fn named(change: &[(&str, &str)]) -> Vec<String> {
        let mut text = EXAMPLE.to_owned();
        for (from, to) in change {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let file = toml::from_str(&text).unwrap();
        Whom::of_file(&file, Path::new("c.toml")).map(|whom| whom.addresses).unwrap_or_default()
    }

    #[test]
    fn a_configuration_names_its_server() {
        let listen = "127.0.0.1:8470";
        assert_eq!(named(&[]), ["http://127.0.0.1:8470"]);
        assert_eq!(named(&[(listen, "[::1]:99")]), ["http://[::1]:99"]);
        assert_eq!(named(&[(listen, "0.0.0.0:99")]), ["http://127.0.0.1:99"]);
        assert_eq!(named(&[(listen, "10.1.2.3:99")]), ["https://log.example.com"]);
        assert_eq!(named(&[(listen, "127.0.0.1:0")]), [""; 0]);
    }
}
