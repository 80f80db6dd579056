//! The Bot Framework's public keys. They are fetched on demand, but a sender of tokens can't cause many
//! fetches.

use super::{
    http,
    jwt::{self, Key, Untrusted},
};
use crate::cards::SendError;
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};
use ureq::Agent;
use url::Url;

/// Time for which fetched keys are used. Afterwards they must be fetched again.
const KEYS_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Least time after a successful fetch. An unknown key id causes no fetch before that.
pub const REFETCH_AFTER: Duration = Duration::from_secs(300);
/// Least time after a failed fetch.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Why no key was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The set has no such key.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// No set could be fetched: try again.
    #[error("Microsoft's keys can't be fetched ({0})")]
    Unavailable(String),
}

/// The keys that a metadata document leads to.
pub struct Keys {
    metadata: Url,
    agent: Agent,
    known: RwLock<Known>,
    fetching: tokio::sync::Mutex<Option<Tried>>,
}

#[derive(Clone, Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    since: Option<Instant>,
}

struct Tried {
    at: Instant,
    failed: Option<String>,
}

impl Keys {
    /// Holds no keys yet.
    pub(super) fn new(metadata: Url, agent: Agent) -> Self {
        let (known, fetching) = (RwLock::default(), tokio::sync::Mutex::new(None));
        Self { metadata, agent, known, fetching }
    }

    /// The key with this id. A known key is found without waiting for another task's fetch.
    pub async fn find(&self, kid: &str) -> Result<Key, Error> {
        if let Some(key) = self.known(kid)? {
            return Ok(key);
        }
        let mut tried = self.fetching.lock().await;
        // Another task may have fetched it during the wait.
        if let Some(key) = self.known(kid)? {
            return Ok(key);
        }
        if tried.as_ref().is_none_or(Tried::is_old) {
            let (metadata, agent) = (self.metadata.clone(), self.agent.clone());
            let fetched = tokio::task::spawn_blocking(move || fetch(&metadata, &agent)).await;
            let fetched = fetched.unwrap_or_else(|_| Err("the fetch broke off".into()));
            let failed = fetched.as_ref().err().cloned();
            *tried = Some(Tried { at: Instant::now(), failed });
            if let Ok(keys) = fetched {
                let fresh = Known { keys: Arc::new(keys), since: Some(Instant::now()) };
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
        }
        match (self.known(kid)?, tried.as_ref().and_then(|tried| tried.failed.clone())) {
            (Some(key), _) => Ok(key),
            (None, None) => Err(Untrusted::UnknownKey.into()),
            (None, Some(failed)) => Err(Error::Unavailable(failed)),
        }
    }

    fn known(&self, kid: &str) -> Result<Option<Key>, Error> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let fresh = known.since.is_some_and(|since| since.elapsed() < KEYS_LIFE);
        let mut found = known.keys.iter().filter(|key| fresh && key.kid() == kid);
        match (found.next(), found.next()) {
            (key, None) => Ok(key.cloned()),
            // Two keys have the same id, so it is unknown which one signed.
            (_, Some(_)) => Err(Untrusted::UnknownKey.into()),
        }
    }
}

impl Tried {
    fn is_old(&self) -> bool {
        let pause = if self.failed.is_some() { RETRY_AFTER } else { REFETCH_AFTER };
        self.at.elapsed() >= pause
    }
}

/// Fetches the metadata, then the key set that it names. Both must be on the same host.
fn fetch(metadata: &Url, agent: &Agent) -> Result<Vec<Key>, String> {
    let body = get(metadata, agent)?;
    let json: serde_json::Value = serde_json::from_slice(&body).map_err(|_| "metadata: no JSON")?;
    let algorithms = &json["id_token_signing_alg_values_supported"];
    if algorithms.as_array().is_some_and(|list| !list.iter().any(|alg| alg == "RS256")) {
        return Err("metadata: no RS256".into());
    }
    let jwks = json["jwks_uri"].as_str().and_then(http::safe_url);
    let jwks = jwks.ok_or("metadata: jwks_uri is not https, or http on loopback")?;
    if http::host_of(&jwks) != http::host_of(metadata) || jwks.scheme() != metadata.scheme() {
        return Err("metadata: jwks_uri is on another host".into());
    }
    let keys = jwt::key_set(&get(&jwks, agent)?).ok_or("jwks_uri: no key set")?;
    if keys.is_empty() { Err("jwks_uri: no RSA key".into()) } else { Ok(keys) }
}

fn get(url: &Url, agent: &Agent) -> Result<Vec<u8>, String> {
    let answer = http::answer(agent.get(url.as_str()).call());
    let answer = answer.map_err(|error: SendError| error.to_string())?;
    if answer.is_success() { Ok(answer.body) } else { Err(answer.says()) }
}
