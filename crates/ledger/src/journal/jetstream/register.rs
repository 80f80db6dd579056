//! The register of cosigned checkpoints: a stream of its own, `COUNTERSIGN_REGISTER`, with one message a subject.
//!
//! In scope: making it, compare-and-swap, following it. Out of scope: what a value means (`replica`).
//!
//! A value is never read to learn whether a swap was stored: a leader that lost its quorum answers reads for some seconds.
//! What is followed is only ever as old as it is, and whoever needs to know that it is not older appends a message first
//! and follows until that one comes.

use super::{
    Connection, code,
    connection::unread,
    follow::{HEARTBEAT, SILENCE_MAX},
    wire::{Delivery, Found, decode, split},
};
use crate::{ident::Ident, journal::Error};
use async_nats::HeaderMap;
use data_encoding::BASE64;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout},
};

const STREAM: &str = "COUNTERSIGN_REGISTER";
const PREFIX: &str = "countersign-register.";
/// Largest value, in bytes: a checkpoint with cosignatures.
const VALUE_BYTES_MAX: u64 = 64 * 1024;
/// Name of the replica that proposed a value. A hint: nobody rests on it.
const HEADER_BY: &str = "Countersign-By";
const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";
/// How long the server keeps a consumer whose reader is gone.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(60);

/// Fewest copies of each stream that replicas need: with fewer, the loss of one NATS server stops all of them, or loses what
/// was stored.
pub const COPIES_MIN: u64 = 3;

/// Settings that have one right value: with another one, a value could vanish or be hidden.
fn fixed() -> [(&'static str, Value); 9] {
    [
        ("name", json!(STREAM)),
        ("subjects", json!([format!("{PREFIX}>")])),
        ("retention", json!("limits")),
        ("storage", json!("file")),
        ("discard", json!("old")),
        ("max_age", json!(0)),
        ("max_msgs_per_subject", json!(1)),
        ("deny_delete", json!(true)),
        ("deny_purge", json!(true)),
    ]
}

/// The register of one log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Register {
    connection: Connection,
    tenant: Ident,
    /// When the stream was made.
    made: String,
}

/// A message of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its sequence.
    pub seq: u64,
    /// What it is.
    pub what: What,
    /// Its bytes.
    pub body: Vec<u8>,
    /// True if nothing newer was there when it was sent.
    pub is_last: bool,
}

/// What a message of the register is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The newest checkpoint. `by`: who says that it proposed it.
    Value {
        /// Name of the replica.
        by: Option<String>,
    },
    /// A replica has started.
    Start(String),
    /// A change of the replicas, by its version, with its proof.
    Change(u64),
}

#[derive(Deserialize)]
struct Ack {
    stream: String,
    seq: u64,
}

#[derive(Deserialize)]
struct Info {
    created: String,
    config: Map<String, Value>,
}

impl Register {
    /// Opens the register of a log. Makes the stream if there is none, with `copies` of it.
    ///
    /// [`Error::Halt`] names every setting that is not as it must be.
    pub async fn open(
        connection: &Connection,
        tenant: &Ident,
        copies: usize,
    ) -> Result<Self, Error> {
        if !connection.connected() {
            return Err(Error::Unavailable("not connected to NATS".into()));
        }
        connection.check_server()?;
        let info = match info(connection).await? {
            Some(info) => info,
            None => make(connection, copies).await?,
        };
        let mut wrong: Vec<String> = fixed()
            .into_iter()
            .filter(|(name, wanted)| info.config.get(*name) != Some(wanted))
            .map(|(name, wanted)| format!("{name} must be {wanted}"))
            .collect();
        let found = info.config.get("num_replicas").and_then(Value::as_u64).unwrap_or_default();
        if found < COPIES_MIN {
            wrong.push(format!("num_replicas must be {COPIES_MIN} or more"));
        }
        if !wrong.is_empty() {
            return Err(Error::Halt(format!(
                "the stream {STREAM} is not set up as the register: {}. Change these back with `nats stream edit \
                 {STREAM}`, and find out who changed them",
                wrong.join("; ")
            )));
        }
        let (connection, tenant) = (connection.clone(), tenant.clone());
        Ok(Self { connection, tenant, made: info.created })
    }

    /// What the register of a log holds, for a reader that makes and follows nothing: its value, empty if there is none, and the
    /// steps in the order of their versions, at most `steps_max`. It may be some seconds old, and anybody with rights on the stream
    /// can have written it.
    pub async fn look(
        connection: &Connection,
        tenant: &Ident,
        steps_max: u64,
    ) -> Result<(Vec<u8>, Vec<Vec<u8>>), Error> {
        let (connection, tenant) = (connection.clone(), tenant.clone());
        let register = Self { connection, tenant, made: String::new() };
        let (_, value) = register.value().await?;
        let mut steps = Vec::new();
        for version in 1..=steps_max {
            match register.last_on(&format!("change.{version}")).await? {
                (0, _) => break,
                (_, step) => steps.push(step),
            }
        }
        Ok((value, steps))
    }

    fn subject(&self, rest: &str) -> String {
        format!("{PREFIX}{}.{rest}", self.tenant)
    }

    /// Puts `body` in the place of the value whose sequence is `expected` (0: of none). Returns the new sequence.
    ///
    /// [`Error::Conflict`]: the value has another sequence, or it is this one and its answer was lost: what is followed says
    /// which. [`Error::Unknown`]: whether it was stored is unknown; the same call again determines it.
    pub async fn swap(&self, expected: u64, by: &Ident, body: Vec<u8>) -> Result<u64, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_LAST, expected.to_string());
        headers.insert(HEADER_BY, by.as_str());
        self.append(self.subject("value"), headers, body, true).await
    }

    /// Appends that a replica starts, after its statement with the sequence `after` (0: after none). Once it is followed,
    /// every value stored before is known.
    pub async fn start(&self, replica: &Ident, after: u64, body: Vec<u8>) -> Result<u64, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_LAST, after.to_string());
        self.append(self.subject(&format!("start.{replica}")), headers, body, false).await
    }

    /// Puts a change of the replicas, with its proof, in the place of the message whose sequence is `expected` (0: of none).
    pub async fn change(&self, version: u64, expected: u64, body: Vec<u8>) -> Result<u64, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_LAST, expected.to_string());
        self.append(self.subject(&format!("change.{version}")), headers, body, false).await
    }

    /// Sequence of a replica's last statement that it starts, 0 if there is none. It may be old: then what is appended after
    /// it is refused.
    pub async fn last_start(&self, replica: &Ident) -> Result<u64, Error> {
        self.last_on(&format!("start.{replica}")).await.map(|(seq, _)| seq)
    }

    /// Sequence and bytes of the value, 0 if there is none. It may be old: then a swap that expects it is refused.
    pub async fn value(&self) -> Result<(u64, Vec<u8>), Error> {
        self.last_on("value").await
    }

    async fn last_on(&self, rest: &str) -> Result<(u64, Vec<u8>), Error> {
        #[derive(Deserialize)]
        struct Answer {
            message: Stored,
        }
        #[derive(Deserialize)]
        struct Stored {
            seq: u64,
            #[serde(default)]
            data: String,
        }
        let query = json!({ "last_by_subj": self.subject(rest) });
        match self.connection.api_read(&format!("STREAM.MSG.GET.{STREAM}"), &query).await? {
            Found::Answer(answer) => {
                let Stored { seq, data } = decode::<Answer>(&answer).map_err(unread)?.message;
                let body = BASE64.decode(data.as_bytes());
                let body =
                    body.map_err(|_| Error::Unavailable("the value is unreadable".into()))?;
                Ok((seq, body))
            }
            Found::Refused {
                err_code: code::MESSAGE_NOT_FOUND | code::STREAM_NOT_FOUND, ..
            } => Ok((0, Vec::new())),
            Found::Refused { err_code, description } => {
                Err(Error::Unavailable(format!("{description} ({err_code})")))
            }
        }
    }

    /// `again`: send it again while there is no answer. It is stored once, and what was stored may be told as a conflict.
    async fn append(
        &self,
        subject: String,
        mut headers: HeaderMap,
        body: Vec<u8>,
        again: bool,
    ) -> Result<u64, Error> {
        headers.insert("Nats-Expected-Stream", STREAM);
        let answer = if again {
            self.connection.request_again(subject, headers, body).await?
        } else {
            self.connection.request(subject, headers, body).await?
        };
        match split(answer)? {
            Found::Answer(answer) => {
                let ack: Ack = decode(&answer)?;
                if ack.stream != STREAM {
                    return Err(Error::Halt(format!(
                        "a value was stored in {}: two streams claim the same subjects",
                        ack.stream
                    )));
                }
                Ok(ack.seq)
            }
            Found::Refused { err_code: code::WRONG_LAST_SEQUENCE, .. } => Err(Error::Conflict),
            // The replicas have not agreed on the value before: it is unknown which one wins.
            Found::Refused { err_code: code::WRONG_LAST_SEQUENCE_IN_FLIGHT, .. } => {
                Err(Error::Unknown("the broker is busy with another value".into()))
            }
            Found::Refused { err_code, description } => {
                Err(Error::Unavailable(format!("{description} ({err_code})")))
            }
        }
    }

    /// Sends every message of this log's register into `sink`, those that are there first. Ends when the receiver is
    /// dropped, and otherwise only with an error.
    pub async fn follow(&self, sink: &mpsc::Sender<Told>) -> Result<(), Error> {
        let reader = self.connection.dedicated().await?;
        // That it is not there may be said by a node that does not know it yet: wait, and make none.
        let gone = || Error::Unavailable(format!("there is no stream {STREAM}"));
        if info(&reader).await?.ok_or_else(gone)?.created != self.made {
            return Err(Error::Halt(format!(
                "the stream {STREAM} was deleted or made anew since this server started: what a majority had cosigned \
                 is not in it. Find out who did it; then start the replicas again"
            )));
        }
        let inbox = reader.client().new_inbox();
        let incoming = reader.client().subscribe(inbox.clone()).await;
        let mut incoming = incoming.map_err(|error| Error::Unavailable(error.to_string()))?;
        let name = inbox.rsplit('.').next().unwrap_or_default().to_owned();
        let request = json!({
            "stream_name": STREAM,
            "action": "create",
            "config": {
                "name": name,
                "deliver_subject": inbox,
                "deliver_policy": "all",
                "filter_subjects": [self.subject(">")],
                "ack_policy": "none",
                "replay_policy": "instant",
                "idle_heartbeat": nanos(HEARTBEAT),
                "inactive_threshold": nanos(CONSUMER_IDLE_MAX),
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        if let Found::Refused { err_code, description } = reader
            .api_again(&format!("CONSUMER.CREATE.{STREAM}.{name}"), &request)
            .await
            .map_err(unread)?
        {
            return Err(Error::Unavailable(format!("{description} ({err_code})")));
        }
        let mut delivered = 0;
        loop {
            let message = tokio::select! {
                message = timeout(SILENCE_MAX, incoming.next()) => message,
                () = reader.lost_ever() => return Err(Error::Unavailable("the connection was lost".into())),
                () = sink.closed() => return Ok(()),
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return Err(Error::Unavailable("the connection was closed".into())),
                Err(Elapsed { .. }) => {
                    return Err(Error::Unavailable("the register gives no sign of life".into()));
                }
            };
            // What has no delivery's reply is a heartbeat.
            let Some(delivery) = message.reply.as_deref().and_then(Delivery::parse) else {
                continue;
            };
            if delivery.nth != delivered + 1 {
                return Err(Error::Unavailable("deliveries were lost on the way".into()));
            }
            delivered = delivery.nth;
            let by = message.headers.as_ref().and_then(|headers| headers.get(HEADER_BY));
            let by = by.map(|by| by.as_str().to_owned());
            let Some(what) = self.what(&message.subject, by) else { continue };
            let (seq, is_last) = (delivery.seq, delivery.pending == 0);
            let told = Told { seq, what, body: message.payload.into(), is_last };
            if sink.send(told).await.is_err() {
                return Ok(());
            }
        }
    }

    fn what(&self, subject: &str, by: Option<String>) -> Option<What> {
        let rest = subject.strip_prefix(self.subject("").as_str())?;
        if let Some(replica) = rest.strip_prefix("start.") {
            return Some(What::Start(replica.to_owned()));
        }
        if let Some(version) = rest.strip_prefix("change.") {
            return version.parse().ok().map(What::Change);
        }
        (rest == "value").then_some(What::Value { by })
    }
}

async fn info(connection: &Connection) -> Result<Option<Info>, Error> {
    match connection.api_read(&format!("STREAM.INFO.{STREAM}"), &json!({})).await? {
        Found::Answer(answer) => decode(&answer).map(Some).map_err(unread),
        Found::Refused { err_code: code::STREAM_NOT_FOUND, .. } => Ok(None),
        Found::Refused { err_code, description } => {
            Err(Error::Unavailable(format!("{description} ({err_code})")))
        }
    }
}

async fn make(connection: &Connection, copies: usize) -> Result<Info, Error> {
    let mut config: Map<String, Value> =
        fixed().map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    config.insert("num_replicas".into(), json!(copies));
    config.insert("max_msg_size".into(), json!(VALUE_BYTES_MAX));
    config.insert("max_msgs".into(), json!(-1));
    config.insert("max_bytes".into(), json!(-1));
    let subject = format!("STREAM.CREATE.{STREAM}");
    match connection.api(&subject, &Value::Object(config)).await? {
        Found::Answer(_) | Found::Refused { err_code: code::STREAM_EXISTS, .. } => {}
        Found::Refused { err_code, description } => {
            return Err(Error::Unavailable(format!(
                "the server refused to create the stream {STREAM}: {description} ({err_code})"
            )));
        }
    }
    info(connection).await?.ok_or_else(|| Error::Unavailable(format!("{STREAM} is not there yet")))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
