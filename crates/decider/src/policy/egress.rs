//! Where a call may send: URLs, read so strictly that no two readers can disagree about host and path.
//!
//! Refused as an error: credentials, fragments, backslashes, blanks, IP addresses in any spelling, encoded
//! slashes, a second level of encoding, dot segments, empty segments, `;`. What a host's name resolves to is the
//! gateway's duty: this compares names.

use super::{
    bounds::Truth,
    fields::{MapReader, integer_of, text_of, texts_of},
    form::{is_host, is_host_pattern},
    list::NamedLists,
    param::{Texts, one_or_more, text},
    pointer::Pointer,
};
use ledger::json::Value;
use std::cell::RefCell;

/// Most URLs of one call that are kept.
const URLS_KEPT_MAX: usize = 8;
/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 4096;

/// Hosts, paths, ports and methods that the URLs at some pointers must be within.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Egress {
    pub(super) at: Vec<Pointer>,
    pub(super) hosts: Texts,
    pub(super) paths: Vec<String>,
    pub(super) ports: Vec<u16>,
    pub(super) schemes: Vec<String>,
    pub(super) method: Option<(Pointer, Vec<String>)>,
}

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UrlParts {
    scheme: &'static str,
    host: String,
    port: u16,
    path: String,
}

/// URLs of one call that were taken apart: several clauses look at the same one.
#[derive(Debug, Default)]
pub(super) struct Urls(RefCell<Vec<(String, Result<UrlParts, &'static str>)>>);

impl Urls {
    /// Calls `look` with the parts of a URL, or with what is wrong with it.
    fn with<T>(&self, url: &str, look: impl FnOnce(Result<&UrlParts, &'static str>) -> T) -> T {
        let mut kept = self.0.borrow_mut();
        let known = kept.iter().position(|(text, _)| text == url);
        let at = known.unwrap_or_else(|| {
            if kept.len() == URLS_KEPT_MAX {
                kept.clear();
            }
            kept.push((url.to_owned(), UrlParts::read(url)));
            kept.len() - 1
        });
        look(kept[at].1.as_ref().map_err(|why| *why))
    }
}

impl Egress {
    pub(super) fn read(mut fields: MapReader<'_>) -> Option<Self> {
        let mistakes = fields.mistakes;
        let at = fields
            .must("at", "the pointers of the URLs: [/url]")
            .map(|node| one_or_more(node, "at", mistakes));
        let at = at.unwrap_or_default().into_iter().filter_map(|(text, place)| {
            Pointer::new(&text).map_err(|why| mistakes.note(place, why)).ok()
        });
        let at: Vec<Pointer> = at.collect();
        let hosts = fields
            .must("hosts", "the hosts: [api.example.eu, \"*.bank.example\"], or {in_list: name}");
        let place = hosts.as_ref().map_or(fields.at, |node| node.at);
        let hosts = hosts.map(|node| Texts::read(node, "hosts", mistakes))?;
        if let Texts::OneOf(names) = &hosts {
            for name in names.iter().filter(|name| !is_host_pattern(name)) {
                mistakes.note(place, format!("{name:?} is no host: write a lower-case name such as api.example.eu or *.bank.example (international names as xn--…)"));
            }
        }
        let paths = paths(&mut fields);
        let ports = ports(&mut fields);
        let schemes = schemes(&mut fields);
        let method = fields.fields("methods").and_then(|mut methods| {
            let at = methods.must("at", "the pointer of the method: /method");
            let at = at.and_then(|node| text_of(node, "at", mistakes));
            let at = at.and_then(|(text, place)| {
                Pointer::new(&text).map_err(|why| mistakes.note(place, why)).ok()
            });
            let names = methods.must("one_of", "the methods: [GET]");
            let names = names.map(|node| texts_of(node, "one_of", mistakes)).unwrap_or_default();
            let names = names.into_iter().map(|(name, _)| name).collect();
            methods.finish();
            at.map(|at| (at, names))
        });
        fields.finish();
        Some(Self { at, hosts, paths, ports, schemes, method })
    }

    pub(super) fn holds(&self, params: &Value<'_>, lists: &NamedLists, urls: &Urls) -> Truth {
        let method = self.method.iter().map(|(at, names)| {
            let method = at.must(params, "no method there").and_then(text);
            method.map_or_else(Truth::Error, |method| names.iter().any(|n| n == method).into())
        });
        let url = |value: Option<&Value<'_>>| match value.ok_or("no URL there").and_then(text) {
            Err(why) => Truth::Error(why),
            Ok(url) => urls.with(url, |address| {
                address.map_or_else(Truth::Error, |address| self.allows(address, lists))
            }),
        };
        let all = self.at.iter().map(|at| match at.reach(params) {
            Err(why) => Truth::Error(why),
            Ok(values) => Truth::all(values.into_iter().map(url)),
        });
        Truth::all(method.chain(all))
    }

    fn allows(&self, address: &UrlParts, lists: &NamedLists) -> Truth {
        let default: &[&str] = &["https"];
        let scheme = if self.schemes.is_empty() {
            default.contains(&address.scheme)
        } else {
            self.schemes.iter().any(|scheme| scheme == address.scheme)
        };
        let port = if self.ports.is_empty() {
            address.port == if address.scheme == "https" { 443 } else { 80 }
        } else {
            self.ports.contains(&address.port)
        };
        let path = self.paths.is_empty()
            || self.paths.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(begin) => address.path.starts_with(begin),
                None => address.path == *pattern,
            });
        let host = match &self.hosts {
            Texts::OneOf(patterns) => {
                patterns.iter().any(|pattern| fits_host(pattern, &address.host)).into()
            }
            Texts::InList(name) => lists.has_host(name, &address.host),
        };
        Truth::all([(scheme && port && path).into(), host].into_iter())
    }

    /// The list that it names.
    pub(super) fn list(&self) -> Option<&str> {
        self.hosts.list()
    }
}

fn paths(fields: &mut MapReader<'_>) -> Vec<String> {
    let paths = fields.texts("paths").unwrap_or_default();
    for (path, place) in &paths {
        let star = path.strip_suffix('*').unwrap_or(path);
        let is_pattern = star.len() == path.len() || star.ends_with('/');
        if !path.starts_with('/') || !is_pattern || star.contains(['*', '?', '#', '%', ';', '\\']) {
            let what = "is no path: begin with `/`; `*` may only be its end, after a `/`";
            fields.wrong(*place, format!("{path:?} {what}"));
        }
    }
    paths.into_iter().map(|(path, _)| path).collect()
}

fn ports(fields: &mut MapReader<'_>) -> Vec<u16> {
    let mut ports = Vec::new();
    for node in fields.list("ports").unwrap_or_default() {
        let Some(port) = integer_of(&node, "a port", fields.mistakes) else { continue };
        match u16::try_from(port) {
            Ok(port) if port > 0 => ports.push(port),
            _ => fields.wrong(node.at, "a port is 1 to 65535"),
        }
    }
    ports
}

fn schemes(fields: &mut MapReader<'_>) -> Vec<String> {
    let schemes = fields.texts("schemes").unwrap_or_default();
    for (_, place) in schemes.iter().filter(|(scheme, _)| !matches!(&**scheme, "https" | "http")) {
        fields.wrong(*place, "a scheme is https or http");
    }
    schemes.into_iter().map(|(scheme, _)| scheme).collect()
}

/// `api.example.eu`, or `*.bank.example`, whose star is one or more labels.
fn fits_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host
            .strip_suffix(domain)
            .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.')),
        None => host == pattern,
    }
}

impl UrlParts {
    /// Takes a URL apart. Errors say what makes it ambiguous or no URL.
    pub(super) fn read(url: &str) -> Result<Self, &'static str> {
        if url.len() > URL_BYTES_MAX {
            return Err("a URL of more than 4096 bytes");
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "a URL with blanks or letters outside ASCII: write international hosts as xn--…",
            );
        }
        if url.contains('\\') {
            return Err("a URL with a backslash");
        }
        if url.contains('#') {
            return Err("a URL with a fragment");
        }
        let (scheme, rest) = url.split_once("://").ok_or("no URL with a scheme")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => "https",
            "http" => "http",
            _ => return Err("a URL that is neither https nor http"),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err("a URL with credentials");
        }
        if authority.contains(['[', ']', '%']) {
            return Err("a URL with an IP address or an encoded host");
        }
        let (host, port) = match authority.split_once(':') {
            None => (authority, if scheme == "https" { 443 } else { 80 }),
            Some((host, port)) => {
                let plain = !port.is_empty()
                    && !port.starts_with('0')
                    && port.bytes().all(|byte| byte.is_ascii_digit());
                let port = if plain { port.parse().ok() } else { None };
                (host, port.ok_or("a URL with a port that is none")?)
            }
        };
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        if !is_host(&host) {
            return Err("a URL whose host is no name, for example an IP address");
        }
        let path = rest.split('?').next().unwrap_or_default();
        Ok(Self { scheme, host, port, path: path_of(path)? })
    }
}

/// The path with its escapes decoded once.
fn path_of(path: &str) -> Result<String, &'static str> {
    if path.is_empty() {
        return Ok("/".into());
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("a path with a broken escape");
        };
        match (high * 16 + low) as u8 {
            b'/' | b'\\' => return Err("a path with an encoded slash"),
            b'%' => return Err("a path with a second level of encoding"),
            byte if byte < 0x20 || byte == 0x7f => {
                return Err("a path with an encoded control character");
            }
            byte => decoded.push(byte),
        }
    }
    let decoded = String::from_utf8(decoded).map_err(|_| "a path that is not UTF-8")?;
    if decoded.contains(';') {
        return Err("a path with `;`");
    }
    let mut segments = decoded[1..].split('/');
    let last = segments.next_back().unwrap_or_default();
    if segments.any(str::is_empty) {
        return Err("a path with an empty segment (`//`)");
    }
    if decoded.split('/').any(|segment| segment == "." || segment == "..") || last == ".." {
        return Err("a path with a dot segment");
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Result<(&str, u16, &str), ()>) {
        let read = UrlParts::read(url);
        let found =
            read.as_ref().map(|a| (a.host.as_str(), a.port, a.path.as_str())).map_err(|_| ());
        assert_eq!(found, expected, "{url}: {read:?}");
    }

    #[test]
    fn a_url_has_one_reading_or_none() {
        check("https://api.example.eu/v1/x?y=//..", Ok(("api.example.eu", 443, "/v1/x")));
        check("HTTPS://API.Example.EU.:8443", Ok(("api.example.eu", 8443, "/")));
        check("https://xn--mnchen-3ya.example/a%20b", Ok(("xn--mnchen-3ya.example", 443, "/a b")));
        check("http://a.example?x", Ok(("a.example", 80, "/")));
        for url in [
            "",
            "api.example.eu",
            "//api.example.eu",
            "ftp://a.example/",
            "https://",
            "https:///x",
            "https://user@a.example/",
            "https://a.example:x@b.example/",
            "https://good.example#@evil.example",
            "https://good.example\\@evil.example/",
            "https://good.example\\.evil.example/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://m\u{fc}nchen.example/",
            "https://a.example\u{200b}/",
            "https://a%2eexample/",
            "https://a.example:0/",
            "https://a.example:/",
            "https://a.example:080/",
            "https://a.example:65536/",
            "https://localhost/",
            "https://a..example/",
            "https://-a.example/",
            "https://a.example /",
            "https://a.example/v1/../admin",
            "https://a.example/v1/%2e%2e/admin",
            "https://a.example/v1/%252e%252e/admin",
            "https://a.example/v1/.%2e/x",
            "https://a.example/v1%2fadmin",
            "https://a.example/v1%5cadmin",
            "https://a.example/v1;x=/admin",
            "https://a.example/v1//admin",
            "https://a.example/v1/..",
            "https://a.example/%",
            "https://a.example/%zz",
            "https://a.example/%00",
            "https://a.example/%ff",
        ] {
            check(url, Err(()));
        }
    }

    #[test]
    fn a_star_is_one_or_more_labels() {
        assert!(
            fits_host("*.bank.example", "a.bank.example")
                && fits_host("*.bank.example", "a.b.bank.example")
        );
        assert!(
            !fits_host("*.bank.example", "bank.example")
                && !fits_host("*.bank.example", "xbank.example")
        );
        assert!(fits_host("a.example", "a.example") && !fits_host("a.example", "b.a.example"));
        for text in ["*", "*.*.a", "a", "A.example", "1.2.3.4", "a.example.", "http://a.example"] {
            assert!(!is_host_pattern(text), "{text}");
        }
    }
}
