//! A small client of our own HTTP interface, for the commands that speak to a running server.

use crate::cli::Remote;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use ureq::{Agent, http::Response, tls};
use zeroize::Zeroizing;

/// Longest wait for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(90);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// How often a request is repeated when the server says 503.
const TRIES_MAX: u32 = 8;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key file can't be read.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No answer.
    #[error("the server can't be reached: {0}")]
    Unreachable(String),
    /// The server refused; the detail says what to do.
    #[error("{status} {code}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable code.
        code: String,
        /// What to do.
        detail: String,
    },
}

/// A server and a key.
pub struct Client {
    agent: Agent,
    server: String,
    key: Zeroizing<String>,
}

impl Client {
    /// Reads the key file and prepares connections.
    pub fn new(remote: &Remote) -> Result<Self, Error> {
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|source| Error::File { path: path.to_owned(), source })
        };
        let key = Zeroizing::new(read(&remote.api_key_file)?.trim().to_owned());
        let mut config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WAIT))
            .http_status_as_error(false)
            .max_redirects(0);
        if let Some(path) = &remote.ca {
            let pem = read(path)?;
            let certificate = tls::Certificate::from_pem(pem.as_bytes())
                .map_err(|e| Error::Unreachable(format!("{}: {e}", path.display())))?;
            let roots = tls::RootCerts::new_with_certs(&[certificate]);
            config = config.tls_config(tls::TlsConfig::builder().root_certs(roots).build());
        }
        let server = remote.server.trim_end_matches('/').to_owned();
        Ok(Self { agent: Agent::new_with_config(config.build()), server, key })
    }

    /// GET; the answer's bytes.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        let bearer = Zeroizing::new(format!("Bearer {}", self.key.as_str()));
        let url = format!("{}{path}", self.server);
        Self::try_again(|| self.agent.get(&url).header("Authorization", bearer.as_str()).call())
    }

    /// DELETE.
    pub fn delete(&self, path: &str) -> Result<Vec<u8>, Error> {
        let bearer = Zeroizing::new(format!("Bearer {}", self.key.as_str()));
        let url = format!("{}{path}", self.server);
        Self::try_again(|| self.agent.delete(&url).header("Authorization", bearer.as_str()).call())
    }

    /// POST of bytes with a content type.
    pub fn post(&self, path: &str, kind: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
        let bearer = Zeroizing::new(format!("Bearer {}", self.key.as_str()));
        let url = format!("{}{path}", self.server);
        Self::try_again(|| {
            let request = self.agent.post(&url).header("Authorization", bearer.as_str());
            request.header("Content-Type", kind).send(body)
        })
    }

    /// POST of JSON, answered by JSON.
    pub fn post_json(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let answer = self.post(path, "application/json", body.to_string().as_bytes())?;
        serde_json::from_slice(&answer).map_err(|e| Error::Unreachable(e.to_string()))
    }

    /// Repeats while the server says 503: safe, because events are posted once and the rest is refused whole.
    fn try_again(
        send: impl Fn() -> Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Vec<u8>, Error> {
        let mut pause = Duration::from_millis(200);
        for last in (0..TRIES_MAX).map(|n| n + 1 == TRIES_MAX) {
            let mut response = send().map_err(|e| Error::Unreachable(e.to_string()))?;
            let status = response.status().as_u16();
            let reader = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
            let bytes = reader.read_to_vec().map_err(|e| Error::Unreachable(e.to_string()))?;
            if (200..300).contains(&status) {
                return Ok(bytes);
            }
            if status != 503 || last {
                return Err(refused(status, &bytes));
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the last try returns")
    }
}

fn refused(status: u16, bytes: &[u8]) -> Error {
    let problem: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |name: &str| problem[name].as_str().unwrap_or("").to_owned();
    Error::Refused { status, code: text("code"), detail: text("detail") }
}
