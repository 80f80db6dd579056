//! A write-once store with the S3 API: objects under a lock that nobody ends before its time (Object Lock, mode
//! COMPLIANCE).
//!
//! In scope: one request each, with its limits; whether an answer shows what was asked for. Out of scope: which objects
//! there are (`commands::export::kept`). Only this module names the protocol's crate.

use data_encoding::{BASE64, HEXLOWER};
use ledger::time::Nanos;
use rusty_s3::{
    Bucket, Credentials, S3Action, UrlStyle,
    actions::{GetObject, HeadObject, PutObject},
};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use ureq::{Agent, Body, http::Response, tls};
use zeroize::Zeroizing;

/// Longest wait for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(120);
/// How long a signature counts.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// Largest object, in bytes: a bundle of entries, or the list of all objects.
const OBJECT_BYTES_MAX: u64 = 256 << 20;
/// Largest answer that says why something was refused.
const REFUSAL_BYTES_MAX: u64 = 64 << 10;
/// Pauses before a request is sent again.
const PAUSES: [u64; 4] = [1, 2, 5, 10];
/// The only mode in which nobody, not even the owner of the bucket, deletes an object before its time.
const COMPLIANCE: &str = "COMPLIANCE";

/// Where the store is, and who asks.
pub struct Place {
    /// Base URL: https, or http on a loopback address.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// Bucket.
    pub bucket: String,
    /// True if the bucket is part of the path, not of the host.
    pub path_style: bool,
    /// The access key's id.
    pub access_key: Zeroizing<String>,
    /// The secret access key.
    pub secret_key: Zeroizing<String>,
    /// Certificate authorities of the store. `None`: the public ones.
    pub roots: Option<Vec<tls::Certificate<'static>>>,
}

/// Why the store refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place can't be used.
    #[error("{0}")]
    Place(String),
    /// There is no answer.
    #[error("the store can't be reached: {0}")]
    Unreachable(String),
    /// The store refuses.
    #[error("the store refuses {what}: {says}")]
    Refused {
        /// The request.
        what: String,
        /// Status, and the store's code.
        says: String,
    },
}

/// What a store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// SHA-256 of the content, as the store computed it. `None` if it does not say.
    pub sha256: Option<[u8; 32]>,
    /// Until when nobody can delete it. `None` if it is not locked in mode COMPLIANCE.
    pub until: Option<Nanos>,
}

/// An open store.
pub struct Store {
    agent: Agent,
    bucket: Bucket,
    credentials: Credentials,
}

/// An answer to a request.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Store {
    /// Prepares connections. Sends nothing yet.
    pub fn new(place: Place) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Place(format!("endpoint: {why}"));
        let url = url::Url::parse(&place.endpoint).map_err(|error| wrong(&error.to_string()))?;
        let loopback = match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            _ => false,
        };
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !plain || !(url.scheme() == "https" || url.scheme() == "http" && loopback) {
            return Err(wrong(
                "an https URL, or http on a loopback address; without user and query",
            ));
        }
        let mut config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WAIT))
            .http_status_as_error(false)
            // Only the store that was named gets what is signed.
            .max_redirects(0)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        if loopback {
            config = config.proxy(None);
        }
        if let Some(roots) = &place.roots {
            let roots = tls::RootCerts::new_with_certs(roots);
            config = config.tls_config(tls::TlsConfig::builder().root_certs(roots).build());
        }
        let style = if place.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(url, style, place.bucket, place.region);
        let bucket = bucket.map_err(|error| Error::Place(error.to_string()))?;
        let credentials = Credentials::new(place.access_key.as_str(), place.secret_key.as_str());
        Ok(Self { agent: Agent::new_with_config(config.build()), bucket, credentials })
    }

    /// What the store holds under `key`. `None` if nothing.
    pub fn head(&self, key: &str) -> Result<Option<Held>, Error> {
        let answer = patiently(&format!("to show {key}"), || {
            let mut action = HeadObject::new(&self.bucket, Some(&self.credentials), key);
            action.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
            let url = action.sign(SIGNED_FOR);
            self.agent.head(url.as_str()).header("x-amz-checksum-mode", "ENABLED").call()
        })?;
        match answer.status {
            404 => Ok(None),
            200 => Ok(Some(answer.held())),
            _ => Err(answer.refused(format!("to show {key}"))),
        }
    }

    /// Writes an object that is not there, locked until then. `false` if something is there: it stays as it is.
    pub fn put(&self, key: &str, bytes: &[u8], until: Nanos) -> Result<bool, Error> {
        let sum = BASE64.encode(&Sha256::digest(bytes));
        let until = lock_time(until);
        let headers = [
            ("if-none-match", "*"),
            ("x-amz-checksum-sha256", sum.as_str()),
            ("x-amz-object-lock-mode", COMPLIANCE),
            ("x-amz-object-lock-retain-until-date", until.as_str()),
            ("x-amz-sdk-checksum-algorithm", "SHA256"),
        ];
        let answer = patiently(&format!("to write {key}"), || {
            let action = PutObject::new(&self.bucket, Some(&self.credentials), key);
            self.send(action, &headers, bytes)
        })?;
        match answer.status {
            200..300 => Ok(true),
            // Somebody wrote it, or an answer to this very request was lost.
            409 | 412 => Ok(false),
            _ => Err(answer.refused(format!("to write {key}"))),
        }
    }

    /// Makes a lock longer. It can't be made shorter.
    pub fn lock_longer(&self, key: &str, until: Nanos) -> Result<(), Error> {
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{COMPLIANCE}</Mode>\
             <RetainUntilDate>{}</RetainUntilDate></Retention>",
            lock_time(until)
        );
        let sum = BASE64.encode(&Sha256::digest(&body));
        let headers =
            [("x-amz-checksum-sha256", sum.as_str()), ("x-amz-sdk-checksum-algorithm", "SHA256")];
        let answer = patiently(&format!("to lock {key}"), || {
            let mut action = PutObject::new(&self.bucket, Some(&self.credentials), key);
            action.query_mut().insert("retention", "");
            self.send(action, &headers, body.as_bytes())
        })?;
        match answer.status {
            200..300 => Ok(()),
            _ => Err(answer.refused(format!("to lock {key}"))),
        }
    }

    /// The content of an object.
    pub fn get(&self, key: &str) -> Result<Vec<u8>, Error> {
        let answer = patiently(&format!("to give {key}"), || {
            let url = GetObject::new(&self.bucket, Some(&self.credentials), key).sign(SIGNED_FOR);
            self.agent.get(url.as_str()).call()
        })?;
        match answer.status {
            200 => Ok(answer.body),
            _ => Err(answer.refused(format!("to give {key}"))),
        }
    }

    fn send<'a>(
        &'a self,
        mut action: PutObject<'a>,
        headers: &[(&'static str, &'a str)],
        bytes: &[u8],
    ) -> Result<Response<Body>, ureq::Error> {
        for (name, value) in headers {
            action.headers_mut().insert(*name, *value);
        }
        let mut request = self.agent.put(action.sign(SIGNED_FOR).as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send(bytes)
    }
}

/// Sends until there is a final answer, with growing pauses.
fn patiently(
    what: &str,
    send: impl Fn() -> Result<Response<Body>, ureq::Error>,
) -> Result<Answer, Error> {
    let mut pauses = PAUSES.iter();
    loop {
        let failed = match read(send()) {
            Ok(answer) if !matches!(answer.status, 429 | 500 | 502..=504) => return Ok(answer),
            Ok(answer) => answer.refused(what.to_owned()),
            // The text of an error may hold the signed address.
            Err(error) => Error::Unreachable(in_short(&error)),
        };
        let Some(pause) = pauses.next() else { return Err(failed) };
        std::thread::sleep(Duration::from_secs(*pause));
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn held(&self) -> Held {
        let sum = self.header("x-amz-checksum-sha256");
        let sum = sum.and_then(|sum| BASE64.decode(sum.as_bytes()).ok()?.try_into().ok());
        let locked = self.header("x-amz-object-lock-mode") == Some(COMPLIANCE);
        let until = self.header("x-amz-object-lock-retain-until-date").and_then(Nanos::parse);
        Held { sha256: sum, until: until.filter(|_| locked) }
    }

    /// Status and the store's code. No other foreign text gets out.
    fn refused(&self, what: String) -> Error {
        let body = String::from_utf8_lossy(&self.body);
        let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        let code: String = code
            .map(|(code, _)| code.chars().filter(char::is_ascii_alphanumeric).take(64).collect())
            .unwrap_or_default();
        Error::Refused { what, says: format!("{} {code}", self.status).trim_end().to_owned() }
    }
}

fn read(sent: Result<Response<Body>, ureq::Error>) -> Result<Answer, ureq::Error> {
    let mut response = sent?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let limit = if status == 200 { OBJECT_BYTES_MAX } else { REFUSAL_BYTES_MAX };
    let body = response.body_mut().with_config().limit(limit).read_to_vec()?;
    Ok(Answer { status, headers, body })
}

/// What kind of failure it was.
fn in_short(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".into(),
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "its certificate is not trusted".into(),
        ureq::Error::Io(error) => error.kind().to_string(),
        ureq::Error::BodyExceedsLimit(_) => "its answer is too long".into(),
        _ => "the connection failed".into(),
    }
}

/// A time as locks have it: whole seconds, in UTC.
fn lock_time(until: Nanos) -> String {
    let text = until.to_string();
    let seconds = text.split_once('.').map_or(text.as_str(), |(seconds, _)| seconds);
    format!("{}Z", seconds.trim_end_matches('Z'))
}

/// SHA-256 in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(endpoint: &str) -> Place {
        Place {
            endpoint: endpoint.into(),
            region: "eu-central-1".into(),
            bucket: "kept".into(),
            path_style: true,
            access_key: Zeroizing::new("id".into()),
            secret_key: Zeroizing::new("secret".into()),
            roots: None,
        }
    }

    #[test]
    fn p20_secrets_go_to_nobody_without_tls() {
        let check = |endpoint: &str, fits: bool| {
            assert_eq!(Store::new(place(endpoint)).is_ok(), fits, "{endpoint}");
        };
        check("https://s3.eu-central-1.amazonaws.com", true);
        check("http://127.0.0.1:9000", true);
        check("http://[::1]:9000", true);
        check("http://localhost:9000", false);
        check("http://minio.example:9000", false);
        check("https://user:secret@s3.example", false);
        check("https://s3.example/?x=1", false);
        check("ftp://s3.example", false);
        check("nonsense", false);
    }

    #[test]
    fn a_lock_has_whole_seconds() {
        let time = Nanos::parse("2027-01-02T03:04:05.678Z").unwrap();
        assert_eq!(lock_time(time), "2027-01-02T03:04:05Z");
    }

    #[test]
    fn what_a_store_says_is_cut_short() {
        let says = |body: &str| {
            let answer = Answer {
                status: 403,
                headers: ureq::http::HeaderMap::default(),
                body: body.into(),
            };
            answer.refused("to write x".into()).to_string()
        };
        assert!(says("<Error><Code>AccessDenied</Code>").ends_with(": 403 AccessDenied"));
        assert!(says("<Error><Code>\u{1b}[31mX</Code>").ends_with(": 403 31mX"));
        assert!(says("<html>").ends_with(": 403"));
    }
}
