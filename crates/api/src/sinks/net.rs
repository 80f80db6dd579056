//! Calls to receivers: one client each, TLS always except on loopback, no redirects, no proxy but a named one, and no addresses that
//! lead into a private network unless the configuration says so.

mod bounded;

use super::port::Answer;
use crate::certificates;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};
use ureq::{
    Agent, Body, Proxy,
    config::Config,
    http::{Response, Uri},
    tls,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};
use url::Url;

/// Longest wait for an answer, from the name's resolution to the last byte.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes: Elastic answers each record.
const ANSWER_BYTES_MAX: u64 = 8 << 20;
/// Longest `Retry-After` that is kept.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Most bytes of an answer that are repeated to people.
const WORDS_MAX: usize = 200;

/// Reads the address of a receiver: `scheme`, or its plain form `plain` on loopback.
pub fn address(text: &str, scheme: &str, plain: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let loopback = loopback(&url);
    let safe = url.scheme() == scheme || (url.scheme() == plain && loopback);
    let bare = url.username().is_empty() && url.password().is_none();
    if safe && bare && url.fragment().is_none() && url.query().is_none() && url.host().is_some() {
        return Ok(url);
    }
    Err(format!(
        "{scheme}://, or {plain}:// on a loopback address such as 127.0.0.1; without user, query and fragment"
    ))
}

/// True if an address is of this machine or of a network that the internet does not reach.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || a >= 240
        }
        IpAddr::V6(ip) => match embedded(ip) {
            Some(v4) => is_private(v4),
            None => {
                ip.is_loopback()
                    || ip.is_unspecified()
                    || ip.is_multicast()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local()
                    || (ip.segments()[0] & 0xffc0) == 0xfec0
            }
        },
    }
}

/// The IPv4 address that an IPv6 one leads to: mapped, or by NAT64 or 6to4.
fn embedded(ip: Ipv6Addr) -> Option<IpAddr> {
    let parts = ip.segments();
    let v4 =
        |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into());
    match parts {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => None,
    }
}

/// Which addresses a receiver may have.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// True: every address.
    pub private: bool,
}

impl Reach {
    /// Of the receiver at `url`. An address that is written there is as it is meant.
    pub fn of(url: &Url, private: bool) -> Self {
        Self { private: private || loopback(url) }
    }

    fn allows(self, ip: IpAddr) -> bool {
        self.private || !is_private(ip)
    }

    /// Opens a connection to a host: only to an address that is allowed.
    pub fn connect(self, host: &str, port: u16) -> Result<TcpStream, String> {
        let found: Vec<SocketAddr> =
            (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?.collect();
        let mut last = format!(
            "{host} leads to addresses of a private network only: set private_network = true if it is meant"
        );
        for address in found.into_iter().filter(|address| self.allows(address.ip())) {
            match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        Err(last)
    }
}

/// True if the host is written as an address of this machine. The url crate reads numbers only in the schemes of the web.
fn loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Resolves names, and leaves out the addresses that are not allowed. The connection goes to what was checked.
#[derive(Debug)]
struct Resolving(Reach);

impl Resolver for Resolving {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| self.0.allows(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let why = "it leads to addresses of a private network only: set private_network = true if it is meant";
            return Err(ureq::Error::Other(why.into()));
        }
        Ok(allowed)
    }
}

/// The way to a receiver.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Certificate authorities. Without them, the public ones.
    pub ca: Option<&'a Path>,
    /// True: its name may lead into a private network.
    pub private: bool,
    /// The proxy that opens the connection. It alone then knows where the receiver's name leads.
    pub proxy: Option<&'a str>,
}

impl Way<'_> {
    /// What is wrong with it, as the names of members and why. `url`: where it leads, if that is right.
    pub fn mistakes(self, url: Option<&Url>) -> Vec<String> {
        let Some(text) = self.proxy else { return Vec::new() };
        let plain = url.is_some_and(|url| url.scheme() != "https");
        let plain = plain.then(|| ".proxy: only to an https:// url".to_owned());
        proxy(text).err().map(|why| format!(".proxy: {why}")).into_iter().chain(plain).collect()
    }
}

/// Reads the address of a proxy.
fn proxy(text: &str) -> Result<Proxy, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let bare = url.username().is_empty() && url.password().is_none();
    let whole = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if url.scheme() != "http" || !bare || !whole || url.host().is_none() {
        return Err("http:// and a host, with a port; nothing else".into());
    }
    Proxy::new(url.as_str()).map_err(|error| error.to_string())
}

/// The client of one receiver.
pub struct Client {
    agent: Agent,
    base: Url,
}

/// What a receiver said.
pub struct Said {
    /// HTTP status.
    pub status: u16,
    /// Time after which to try again.
    pub after: Option<Duration>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Client {
    /// The client of the receiver at `base`. Sends nothing yet.
    pub fn new(base: Url, way: Way<'_>) -> Result<Self, String> {
        let proxy = way.proxy.map(proxy).transpose()?;
        // A proxy is called as it is named, wherever it is.
        let private = way.private || proxy.is_some();
        let mut config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WAIT))
            .timeout_connect(Some(CONNECT_WAIT))
            .http_status_as_error(false)
            // Only the receiver that was named gets the entries and the secret.
            .max_redirects(0)
            // Never the one that the environment names.
            .proxy(proxy)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = way.ca {
            let found = certificates::of(path);
            let found = found.map_err(|why| format!("{}: {why}", path.display()))?;
            let roots = found.iter().map(|one| tls::Certificate::from_der(one).to_owned());
            let roots = tls::RootCerts::from(roots);
            config = config.tls_config(tls::TlsConfig::builder().root_certs(roots).build());
        }
        let reach = Resolving(Reach::of(&base, private));
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), reach);
        Ok(Self { agent, base })
    }

    /// Posts to `path` below the base, or to the base itself if it is empty.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Said, Answer> {
        let base = self.base.as_str();
        let url = if path.is_empty() {
            base.to_owned()
        } else {
            format!("{}/{path}", base.trim_end_matches('/'))
        };
        let mut request = self.agent.post(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        said(request.send(body)).map_err(|error| Answer::Retry(None, failure(&error)))
    }
}

fn said(sent: Result<Response<Body>, ureq::Error>) -> Result<Said, ureq::Error> {
    let mut response = sent?;
    let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let date = response.headers().get("date").and_then(|value| value.to_str().ok());
    let after = after.and_then(|after| pause(after, date));
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    Ok(Said { status, after, body })
}

/// `Retry-After` in seconds, or as a date: compared with the receiver's own clock.
fn pause(after: &str, date: Option<&str>) -> Option<Duration> {
    let seconds = if let Ok(seconds) = after.trim().parse::<u64>() {
        seconds
    } else {
        let moment = |text: &str| chrono::DateTime::parse_from_rfc2822(text.trim()).ok();
        let (until, now) = (moment(after)?, moment(date?)?);
        (until - now).num_seconds().try_into().unwrap_or(0)
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// Why there is no answer. An error's text can hold the URL, which is no secret here.
fn failure(error: &ureq::Error) -> String {
    short(&format!("no answer: {error}"))
}

impl Said {
    /// Status and words.
    pub fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(4 * WORDS_MAX)]);
        short(format!("{} {}", self.status, text.trim()).trim_end())
    }

    /// What a status without success means: a record that can't be taken, or a time at which nothing can be.
    pub fn failed(&self) -> Answer {
        match self.status {
            // The content is refused: too big, or not as the receiver wants it.
            400 | 413 | 422 => Answer::Refused(self.words()),
            // Everything else is the receiver's state or our configuration: the same batch is right later.
            _ => Answer::Retry(self.after, self.words()),
        }
    }
}

/// Foreign text for people: harmless, on one line, and short.
pub fn short(text: &str) -> String {
    let text = ledger::foreign::harmless(text);
    match text.char_indices().nth(WORDS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ip: &str, private: bool) {
        assert_eq!(is_private(ip.parse().unwrap()), private, "{ip}");
    }

    #[test]
    fn p19_private_addresses_in_every_spelling() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "::7f00:1",
        ] {
            check(ip, true);
        }
        for ip in ["1.1.1.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"]
        {
            check(ip, false);
        }
    }

    #[test]
    fn addresses_are_tls_or_of_this_machine() {
        let fits = |text: &str| address(text, "https", "http").is_ok();
        for text in ["https://siem.example.com/x", "http://127.0.0.1:8088/x", "http://[::1]:1"] {
            assert!(fits(text), "{text}");
        }
        for text in [
            "http://siem.example.com/",
            "http://localhost/",
            "ftp://127.0.0.1",
            "https://u:p@siem.example.com/",
            "https://siem.example.com/?token=1",
            "https://siem.example.com/#x",
            "siem.example.com",
            "",
        ] {
            assert!(!fits(text), "{text}");
        }
    }

    #[test]
    fn addresses_of_syslog() {
        let fits = |text: &str| address(text, "tls", "tcp").is_ok();
        for text in ["tls://siem.example.com:6514", "tcp://127.0.0.1:514", "tcp://[::1]:514"] {
            assert!(fits(text), "{text}");
        }
        for text in
            ["tcp://siem.example.com", "tcp://localhost:514", "tls://", "https://siem.example.com"]
        {
            assert!(!fits(text), "{text}");
        }
    }

    #[test]
    fn retry_after_in_both_forms() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(pause("7", None), Some(Duration::from_secs(7)));
        assert_eq!(pause("99999999", None), Some(RETRY_AFTER_MAX));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:47 GMT", date), Some(Duration::from_secs(10)));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:07 GMT", date), Some(Duration::ZERO));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:47 GMT", None), None);
        assert_eq!(pause("soon", date), None);
    }
}
