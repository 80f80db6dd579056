//! A small client of our own HTTP interface, for commands that call a running server.

mod again;
mod failure;
mod key;
mod whom;

pub use failure::Error;
pub use whom::certificates;

use crate::cli::Remote;
use again::{Again, Pauses};
use key::ApiKey;
use serde_json::Value;
use std::{cell::Cell, path::Path, time::Duration};
use ureq::{Agent, http::Response, tls};
use whom::Whom;

/// Longest wait for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(90);
/// Longest wait for the first answer of an address that is being tried.
const PROBE_WAIT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A client for one server with one key.
pub struct Client {
    agent: Agent,
    server: String,
    key: ApiKey,
    /// True once the server has answered. From then on a broken connection is an interruption, not a wrong
    /// address.
    has_answered: Cell<bool>,
}

impl Client {
    /// Reads the key file, determines where the key may be sent, and prepares connections. Does not send the
    /// key yet.
    pub fn new(remote: &Remote) -> Result<Self, Error> {
        let key = ApiKey::read(remote.api_key_file.as_deref())?;
        let whom = Whom::of(remote)?;
        let mut agents =
            whom.addresses.iter().map(|address| (address, agent(address, whom.roots.as_deref())));
        let (server, agent) = match whom.addresses.len() {
            1 => agents.next(),
            // Any answer is enough: only the holder of the certificate can give one.
            _ => agents.find(|(address, agent)| {
                let probe = agent.get(format!("{address}/readyz")).config();
                probe.timeout_global(Some(PROBE_WAIT)).build().call().is_ok()
            }),
        }
        .ok_or_else(|| Error::nobody(&whom.addresses))?;
        Ok(Self { server: server.clone(), agent, key, has_answered: Cell::new(false) })
    }

    /// A client for a server on this machine that this process started.
    pub fn of_ours(url: &str, key: &Path) -> Result<Self, Error> {
        Self::new(&Remote {
            server: Some(url.into()),
            config: None,
            api_key_file: Some(key.to_owned()),
            ca: None,
            allow_http: false,
        })
    }

    /// Base URL of the server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What a server stores of the key.
    pub fn stored_key(&self) -> String {
        self.key.stored_form()
    }

    /// Sends a GET. Returns the answer's bytes.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        let bearer = self.key.bearer();
        let send = |url: &str| self.agent.get(url).header("Authorization", &*bearer).call();
        self.try_again(path, Again::Harmless, send)
    }

    /// Sends a DELETE with a JSON body.
    pub fn delete(&self, path: &str, body: &Value) -> Result<Vec<u8>, Error> {
        let bearer = self.key.bearer();
        let body = body.to_string();
        let send = |url: &str| {
            let request = self.agent.delete(url).header("Authorization", &*bearer);
            let request = request.header("Content-Type", "application/json").force_send_body();
            request.send(body.as_bytes())
        };
        self.try_again(path, Again::Refused, send)
    }

    /// Posts events. Repeats after any failure on the way, because repeated events are posted once.
    pub fn post_events(&self, path: &str, kind: &str, body: &[u8]) -> Result<Vec<u8>, Error> {
        self.post(path, kind, body, Again::Whatever)
    }

    /// Sends a POST of JSON. The answer is JSON.
    pub fn post_json(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let body = body.to_string();
        let answer = self.post(path, "application/json", body.as_bytes(), Again::Refused)?;
        serde_json::from_slice(&answer).map_err(|_| Error::not_ours(&self.server, 200, &answer))
    }

    /// Sends a GET. The answer is JSON.
    pub fn get_json(&self, path: &str) -> Result<Value, Error> {
        let answer = self.get(path)?;
        serde_json::from_slice(&answer).map_err(|_| Error::not_ours(&self.server, 200, &answer))
    }

    /// The error for an answer that no server of ours gives.
    pub fn strange(&self, answer: &[u8]) -> Error {
        Error::not_ours(&self.server, 200, answer)
    }

    fn post(&self, path: &str, kind: &str, body: &[u8], again: Again) -> Result<Vec<u8>, Error> {
        let bearer = self.key.bearer();
        let send = |url: &str| {
            let request = self.agent.post(url).header("Authorization", &*bearer);
            request.header("Content-Type", kind).send(body)
        };
        self.try_again(path, again, send)
    }

    /// Sends until there is a final answer, with growing pauses up to a limit.
    fn try_again(
        &self,
        path: &str,
        again: Again,
        send: impl Fn(&str) -> Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Vec<u8>, Error> {
        let url = format!("{}{path}", self.server);
        let mut pauses = Pauses::new();
        loop {
            let (failed, wished) = match answer(send(&url)) {
                Ok((200..300, _, bytes)) => {
                    self.has_answered.set(true);
                    return Ok(bytes);
                }
                Ok((status, wished, bytes)) => {
                    self.has_answered.set(true);
                    (Error::refused(&self.server, &self.key, status, &bytes), wished)
                }
                Err(error) => (Error::unreachable(&self.server, &error), None),
            };
            if !again.after(&failed, self.has_answered.get()) {
                return Err(failed);
            }
            let Some(pause) = pauses.next(wished) else { return Err(failed) };
            if again == Again::Whatever {
                let text = crate::terminal::harmless(&failed.to_string());
                let seconds = pause.as_secs_f32();
                crate::terminal::warn(&format!("{text}; again in {seconds:.1} s"));
            }
            std::thread::sleep(pause);
        }
    }
}

fn agent(address: &str, roots: Option<&[tls::Certificate<'static>]>) -> Agent {
    let mut config = Agent::config_builder()
        .timeout_global(Some(ANSWER_WAIT))
        .http_status_as_error(false)
        // Only the server that was named may get the key.
        .max_redirects(0);
    if whom::is_this_machine(address) {
        config = config.proxy(None);
    }
    if let Some(roots) = roots {
        let roots = tls::RootCerts::new_with_certs(roots);
        config = config.tls_config(tls::TlsConfig::builder().root_certs(roots).build());
    }
    Agent::new_with_config(config.build())
}

/// Status, requested pause, and bytes of an answer.
fn answer(
    sent: Result<Response<ureq::Body>, ureq::Error>,
) -> Result<(u16, Option<Duration>, Vec<u8>), ureq::Error> {
    let mut response = sent?;
    let status = response.status().as_u16();
    let wished = response.headers().get("Retry-After");
    let wished = wished.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let reader = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    Ok((status, wished.map(Duration::from_secs), reader.read_to_vec()?))
}
