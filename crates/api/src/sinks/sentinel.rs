//! `sentinel`: Azure's Logs Ingestion API, which writes into a table of Microsoft Sentinel by a data collection rule.

use super::{
    batch::Spec,
    net::{Client, Said},
    port::{Answer, Batch, Receiver},
};
use ledger::{system::delivery::Level, time::Nanos};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    sync::Mutex,
    time::{Duration, Instant},
};
use url::form_urlencoded;
use zeroize::Zeroizing;

/// What a token is asked for.
const SCOPE: &str = "https://monitor.azure.com/.default";
const API_VERSION: &str = "2023-01-01";
/// Most bytes of a call.
const CALL_BYTES_MAX: usize = 1_000_000;
/// Most bytes of a column: it would cut a longer one, and say nothing.
const COLUMN_BYTES_MAX: usize = 64_000;
/// A token is asked for so long before the old one ends.
const BEFORE_END: Duration = Duration::from_secs(120);

/// Where tokens come from: an application of Microsoft Entra.
pub struct Login {
    client: Client,
    path: String,
    client_id: String,
    secret: Zeroizing<String>,
    held: Mutex<Option<(Zeroizing<String>, Instant)>>,
}

impl Login {
    /// The application `client_id` of a directory.
    pub fn new(
        client: Client,
        directory: &str,
        client_id: String,
        secret: Zeroizing<String>,
    ) -> Self {
        let path = format!("{directory}/oauth2/v2.0/token");
        Self { client, path, client_id, secret, held: Mutex::default() }
    }

    /// A token that is still good: the one of before, or a new one.
    fn token(&self) -> Result<Zeroizing<String>, Answer> {
        let mut held = self.held.lock().expect("no holder of the lock panics");
        if let Some((token, _)) = held.as_ref().filter(|(_, until)| Instant::now() < *until) {
            return Ok(token.clone());
        }
        *held = None;
        let form = Zeroizing::new(
            form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", "client_credentials")
                .append_pair("client_id", &self.client_id)
                .append_pair("client_secret", &self.secret)
                .append_pair("scope", SCOPE)
                .finish(),
        );
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let said = self.client.post(&self.path, &headers, form.as_bytes())?;
        let told: Value = serde_json::from_slice(&said.body).unwrap_or_default();
        let found = told["access_token"].as_str().zip(told["expires_in"].as_u64());
        let Some((token, seconds)) = found.filter(|_| said.status == 200) else {
            return Err(Answer::Retry(said.after, format!("no token: {}", refusal(&said, &told))));
        };
        let token = Zeroizing::new(token.to_owned());
        let good = Duration::from_secs(seconds.min(86_400)).saturating_sub(BEFORE_END);
        *held = Some((token.clone(), Instant::now() + good));
        Ok(token)
    }

    /// The token is refused: the next call asks for another.
    fn forget(&self) {
        *self.held.lock().expect("no holder of the lock panics") = None;
    }
}

/// Why there is no token. An answer of another form is not repeated: a token could be in it.
fn refusal(said: &Said, told: &Value) -> String {
    let of = |name: &str| told[name].as_str().unwrap_or_default();
    super::net::short(&format!("{} {} {}", said.status, of("error"), of("error_description")))
}

/// A stream of a data collection rule.
pub struct Sentinel {
    client: Client,
    login: Login,
    path: String,
    format: String,
}

impl Sentinel {
    /// The stream `stream` of the rule with this immutable id.
    pub fn new(client: Client, login: Login, (rule, stream): (&str, &str), spec: &Spec) -> Self {
        let path = format!("dataCollectionRules/{rule}/streams/{stream}?api-version={API_VERSION}");
        Self { client, login, path, format: spec.format.version() }
    }

    fn body(&self, batch: &Batch) -> Result<String, Answer> {
        let (origin, format) = (Value::from(batch.head.origin.as_str()), &self.format);
        let time = batch.records.last().map_or(0, |record| record.leaf.time());
        let sort = if batch.records.is_empty() { "test" } else { "batch" };
        let mut body = format!(
            "[{{\"TimeGenerated\":\"{}\",\"Sort\":\"{sort}\",\"Origin\":{origin},\"Format\":\"{format}\",\"Record\":{}}}",
            Nanos(time),
            batch.head_line
        );
        for record in &batch.records {
            let why = "Azure cuts a column after 64 KB";
            Answer::refuse_above(COLUMN_BYTES_MAX, record.line.len(), why)?;
            let (time, hash) = (Nanos(record.leaf.time()), json!(record.leaf.hash));
            let _ = write!(
                body,
                ",{{\"TimeGenerated\":\"{time}\",\"EntryTime\":\"{time}\",\"Sort\":\"entry\",\"Origin\":{origin},\"EntryIndex\":{},\"LeafHash\":{hash},\"Format\":\"{format}\",\"Record\":{}}}",
                record.leaf.index, record.line
            );
        }
        body.push(']');
        Answer::refuse_above(CALL_BYTES_MAX, body.len(), "Azure takes 1 MB at once")?;
        Ok(body)
    }

    fn send(&self, body: &str) -> Result<Said, Answer> {
        let bearer = Zeroizing::new(format!("Bearer {}", self.login.token()?.as_str()));
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.client.post(&self.path, &headers, body.as_bytes())
    }
}

impl Receiver for Sentinel {
    fn deliver(&self, batch: &Batch) -> Answer {
        match self.body(batch).and_then(|body| self.send(&body)) {
            Ok(said) if said.status == 204 => Answer::Taken,
            Ok(said) => {
                if said.status == 401 {
                    self.login.forget();
                }
                said.failed()
            }
            Err(answer) => answer,
        }
    }

    fn level(&self) -> Level {
        Level::Accepted
    }
}
