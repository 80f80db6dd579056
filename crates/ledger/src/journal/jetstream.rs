//! The journal on NATS JetStream: one stream for each tenant. Only this module names `async-nats`.
//!
//! In scope: the connection, the stream and its settings, append, read, follow, erase, trim. Out of scope:
//! what a message means, and whether the log may go on after a reconnect (`post`).
//!
//! Only core NATS of the client library is used. The JetStream protocol is spoken here, in JSON, because
//! settings must be compared one by one, including those that a library does not know yet.

mod again;
mod append;
mod connection;
mod follow;
mod options;
pub mod peers;
pub mod register;
mod settings;
mod wire;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod testserver;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

pub use connection::Connection;
pub use options::Options;

use super::{Error, Message, SUBJECT_MESSAGES_MAX, State, Subject};
use crate::{ident::Ident, time::Nanos};
use connection::unread;
use wire::{Address, Found};

/// Oldest accepted server version. With older ones, several clients were measured to win one compare-and-swap.
pub const SERVER_FLOOR: (u32, u32) = (2, 11);
/// First server with atomic batches.
const SERVER_ATOMIC: (u32, u32) = (2, 12);
/// Longest wait for the answer to a request, unless [`Options`] say otherwise. A batch of 1,000 messages with
/// its fsync takes a small part of it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Space for headers beside a body, in bytes: the server must accept `BODY_BYTES_MAX` plus this in one
/// message.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// Error codes of the JetStream API (`err_code`) that are handled here.
mod code {
    pub(super) const MESSAGE_NOT_FOUND: u64 = 10037;
    pub(super) const STREAM_NOT_FOUND: u64 = 10059;
    pub(super) const STREAM_EXISTS: u64 = 10058;
    pub(super) const MESSAGE_DELETE_FAILED: u64 = 10057;
    pub(super) const MESSAGE_TOO_LARGE: u64 = 10054;
    pub(super) const HEADERS_TOO_LARGE: u64 = 10097;
    pub(super) const WRONG_LAST_SEQUENCE: u64 = 10071;
    pub(super) const WRONG_LAST_SEQUENCE_IN_FLIGHT: u64 = 10164;
}

/// One tenant's journal stream, `COUNTERSIGN_<tenant>`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Jetstream {
    connection: Connection,
    address: Address,
    /// Identity of the stream that was opened. Another creation time means another journal.
    identity: String,
    /// True if the stream accepted atomic batches (server 2.12 and `allow_atomic`) when it was last checked.
    atomic: Arc<AtomicBool>,
}

impl Jetstream {
    /// Creates the tenant's stream with exactly the required settings and `replicas` copies (1, 3 or 5).
    ///
    /// [`Error::Halt`] if a stream of that name exists: an `init` never adopts a journal that it did not make.
    pub async fn create(
        connection: &Connection,
        tenant: &Ident,
        replicas: usize,
    ) -> Result<Self, Error> {
        let address = Address::new(tenant);
        let stream = &address.stream;
        let exists = |created: &str| {
            Error::Halt(format!(
                "the stream {stream} exists already{created}; `init` makes a new journal and adopts none: \
                 choose another tenant name, or delete that stream yourself if nobody needs it"
            ))
        };
        // STREAM.CREATE also succeeds if a stream with equal settings exists, so ask first.
        if let Some(info) = stream_info(connection, &address).await? {
            return Err(exists(&format!(" since {}", info.created)));
        }
        let atomic = connection.server_version()? >= SERVER_ATOMIC;
        let config = settings::wanted(&address, replicas, atomic);
        match connection.api(&format!("STREAM.CREATE.{stream}"), &config).await? {
            Found::Answer(_) => Self::open(connection, tenant).await,
            Found::Refused { err_code: code::STREAM_EXISTS, .. } => Err(exists("")),
            Found::Refused { err_code, description } => Err(Error::Unavailable(format!(
                "the server refused to create the stream {stream}: {description} ({err_code})"
            ))),
        }
    }

    /// Opens the tenant's stream, after comparing every setting with the required one.
    ///
    /// [`Error::Halt`] names all differences at once (setting, found, wanted), or says that there is no
    /// stream.
    pub async fn open(connection: &Connection, tenant: &Ident) -> Result<Self, Error> {
        let mut stream = Self::expected(connection, tenant, String::new());
        stream.identity = stream.look(connection).await?.identity;
        Ok(stream)
    }

    /// The same; `None` if there is no such stream.
    pub async fn find(connection: &Connection, tenant: &Ident) -> Result<Option<Self>, Error> {
        match stream_info(connection, &Address::new(tenant)).await? {
            Some(_) => Self::open(connection, tenant).await.map(Some),
            None => Ok(None),
        }
    }

    /// The tenant's stream as it was known, without a check now. [`Jetstream::follow`] checks settings and
    /// identity before it delivers anything.
    pub fn expected(connection: &Connection, tenant: &Ident, identity: String) -> Self {
        let (connection, address) = (connection.clone(), Address::new(tenant));
        Self { connection, address, identity, atomic: Arc::default() }
    }

    /// The stream's present state, after comparing every setting with the required one.
    async fn look(&self, connection: &Connection) -> Result<State, Error> {
        let info = known_stream(connection, &self.address).await?;
        settings::check(&self.address, &info.config)?;
        let atomic = info.config.get("allow_atomic").and_then(Value::as_bool).unwrap_or(false)
            && connection.server_version()? >= SERVER_ATOMIC;
        self.atomic.store(atomic, Ordering::Relaxed);
        info.state(&self.address)
    }

    /// True if a batch of several messages is all or nothing: server 2.12 or newer, and `allow_atomic` set on
    /// the stream. See [`Jetstream::append`].
    pub fn atomic(&self) -> bool {
        self.atomic.load(Ordering::Relaxed)
    }

    /// The connection that it uses.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// True if the server is connected now.
    pub fn connected(&self) -> bool {
        self.connection.connected()
    }

    /// Identity and extent of the journal. Compare `identity` with the one in genesis.
    ///
    /// Settings are checked again: a change by somebody else is [`Error::Halt`], as at [`Jetstream::open`].
    pub async fn state(&self) -> Result<State, Error> {
        self.look(&self.connection).await
    }

    /// How many copies the stream has.
    pub async fn copies(&self) -> Result<u64, Error> {
        let info = known_stream(&self.connection, &self.address).await?;
        Ok(info.config.get("num_replicas").and_then(Value::as_u64).unwrap_or_default())
    }

    /// The clock of the stream's leader, which gives messages their time. Writes nothing.
    pub async fn time(&self) -> Result<Nanos, Error> {
        let info = known_stream(&self.connection, &self.address).await?;
        info.ts
            .as_deref()
            .and_then(Nanos::parse)
            .ok_or_else(|| Error::Unavailable("the server does not say what its clock says".into()))
    }

    /// Number of times the connection was made.
    pub(crate) fn connects(&self) -> u64 {
        self.connection.connects()
    }

    /// The message at `seq`, read from the stream's leader. `None` if it was erased, trimmed or never stored.
    pub async fn get(&self, seq: u64) -> Result<Option<Message>, Error> {
        if seq == 0 {
            return Ok(None); // the server reads 0 as "not given"
        }
        let found = get(&self.connection, &self.address, &json!({ "seq": seq })).await?;
        Ok(found.map(|raw| raw.message))
    }

    /// The newest message on `subject`, read from the stream's leader.
    pub async fn last_on(&self, subject: &Subject) -> Result<Option<Message>, Error> {
        let query = json!({ "last_by_subj": self.address.subject(subject) });
        let found = get(&self.connection, &self.address, &query).await?;
        Ok(found.map(|raw| raw.message))
    }

    /// All messages on `subject`, in order. More than [`SUBJECT_MESSAGES_MAX`] is [`Error::TooBig`].
    pub async fn read_subject(&self, subject: &Subject) -> Result<Vec<Message>, Error> {
        let mut messages = Vec::new();
        let mut next = 1;
        while let Some(message) = self.next_on(subject, next).await? {
            if messages.len() == SUBJECT_MESSAGES_MAX {
                return Err(Error::TooBig {
                    what: "messages per subject read at once",
                    got: SUBJECT_MESSAGES_MAX + 1,
                    max: SUBJECT_MESSAGES_MAX,
                });
            }
            next = message.seq + 1;
            messages.push(message);
        }
        Ok(messages)
    }

    /// The first message at `from` or later.
    pub async fn next_from(&self, from: u64) -> Result<Option<Message>, Error> {
        let query = json!({ "seq": from.max(1), "next_by_subj": self.address.everything() });
        let found = get(&self.connection, &self.address, &query).await?;
        Ok(found.map(|raw| raw.message))
    }

    /// The first message on `subject` at `from` or later.
    pub async fn next_on(&self, subject: &Subject, from: u64) -> Result<Option<Message>, Error> {
        let subject = self.address.subject(subject);
        let query = json!({ "seq": from.max(1), "next_by_subj": subject });
        let found = get(&self.connection, &self.address, &query).await?;
        Ok(found.map(|raw| raw.message))
    }

    /// Erases one message and overwrites its bytes in the stream's file. Its sequence remains a hole.
    ///
    /// `false` if it was already gone. After [`Error::Unknown`] the call may be repeated.
    pub async fn erase(&self, seq: u64) -> Result<bool, Error> {
        if self.get(seq).await?.is_none() {
            return Ok(false);
        }
        let request = json!({ "seq": seq, "no_erase": false });
        let subject = format!("STREAM.MSG.DELETE.{}", self.address.stream);
        match self.connection.api(&subject, &request).await? {
            Found::Answer(_) => Ok(true),
            Found::Refused {
                err_code: code::MESSAGE_NOT_FOUND | code::MESSAGE_DELETE_FAILED,
                description,
            } => match self.get(seq).await? {
                None => Ok(false), // somebody else was first
                Some(_) => Err(Error::Unavailable(description)),
            },
            Found::Refused { err_code, description } => {
                Err(Error::Unavailable(format!("{description} ({err_code})")))
            }
        }
    }

    /// Deletes a tenant's stream with all of its messages. It may be repeated.
    pub async fn delete(connection: &Connection, tenant: &Ident) -> Result<(), Error> {
        let address = Address::new(tenant);
        let subject = format!("STREAM.DELETE.{}", address.stream);
        match connection.api(&subject, &json!({})).await? {
            Found::Answer(_) | Found::Refused { err_code: code::STREAM_NOT_FOUND, .. } => Ok(()),
            Found::Refused { err_code, description } => {
                Err(Error::Unavailable(format!("{description} ({err_code})")))
            }
        }
    }

    /// Removes every message with a sequence below `below`. It may be repeated.
    pub async fn trim(&self, below: u64) -> Result<(), Error> {
        // STREAM.PURGE has two traps: `seq` 0 means "all", and a `seq` beyond the end moves the end.
        let below = below.min(self.state().await?.last.saturating_add(1));
        if below <= 1 {
            return Ok(());
        }
        let subject = format!("STREAM.PURGE.{}", self.address.stream);
        match self.connection.api(&subject, &json!({ "seq": below })).await? {
            Found::Answer(_) => Ok(()),
            Found::Refused { err_code, description } => {
                Err(Error::Unavailable(format!("{description} ({err_code})")))
            }
        }
    }
}

/// The members of `STREAM.INFO` that are used here.
#[derive(Debug, Deserialize)]
struct Info {
    config: serde_json::Map<String, Value>,
    created: String,
    state: InfoState,
    /// The leader's clock when it answered.
    ts: Option<String>,
    cluster: Option<InfoCluster>,
}

#[derive(Debug, Deserialize)]
struct InfoCluster {
    leader: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InfoState {
    messages: u64,
    first_seq: u64,
    last_seq: u64,
}

impl Info {
    /// The answer, if the stream's leader gave it. Without a leader some other replica may answer for ever, green and
    /// old: nats-server 2.15.1 does it after a start without quorum.
    fn of_leader(self) -> Result<Self, Error> {
        let leaderless =
            |cluster: &InfoCluster| cluster.leader.as_ref().is_none_or(String::is_empty);
        if self.cluster.as_ref().is_some_and(leaderless) {
            return Err(Error::Unavailable("the stream has no leader".into()));
        }
        Ok(self)
    }

    fn state(&self, address: &Address) -> Result<State, Error> {
        let created = Nanos::parse(&self.created).ok_or_else(|| {
            Error::Halt(format!(
                "the stream {} says it was created at {:?}, which is no time",
                address.stream, self.created
            ))
        })?;
        let last = self.state.last_seq;
        // An empty stream says `first_seq` 0 when new and `last + 1` after a purge.
        let first = if self.state.messages == 0 { last + 1 } else { self.state.first_seq };
        let identity = format!("jetstream:{}:{created}", address.stream);
        Ok(State { identity, first, last })
    }
}

/// The stream's settings and state. `None` if there is no such stream.
async fn stream_info(connection: &Connection, address: &Address) -> Result<Option<Info>, Error> {
    let subject = format!("STREAM.INFO.{}", address.stream);
    match connection.api_read(&subject, &json!({})).await? {
        Found::Answer(answer) => {
            wire::decode::<Info>(&answer).map_err(unread)?.of_leader().map(Some)
        }
        Found::Refused { err_code: code::STREAM_NOT_FOUND, .. } => Ok(None),
        Found::Refused { err_code, description } => {
            Err(Error::Unavailable(format!("{description} ({err_code})")))
        }
    }
}

/// As [`stream_info`], but a missing stream is [`Error::Halt`].
async fn known_stream(connection: &Connection, address: &Address) -> Result<Info, Error> {
    stream_info(connection, address).await?.ok_or_else(|| {
        Error::Halt(format!(
            "there is no stream {}: for a new tenant `countersign init` makes it. If it existed before, it was \
             deleted: if its messages are gone for good, stop the server and run `countersign recover \
             --accept-journal-loss`",
            address.stream
        ))
    })
}

/// Reads one message by a `STREAM.MSG.GET` query. Unlike a direct get, only the stream's leader answers it.
async fn get(
    connection: &Connection,
    address: &Address,
    query: &Value,
) -> Result<Option<wire::Raw>, Error> {
    let subject = format!("STREAM.MSG.GET.{}", address.stream);
    match connection.api_read(&subject, query).await? {
        Found::Answer(answer) => address.read_raw(&answer).map(Some).map_err(unread),
        Found::Refused { err_code: code::MESSAGE_NOT_FOUND, .. } => Ok(None),
        Found::Refused { err_code: code::STREAM_NOT_FOUND, .. } => Err(Error::Halt(format!(
            "the stream {} is gone: if it was deleted for good, stop the server and run `countersign recover \
                 --accept-journal-loss`",
            address.stream
        ))),
        Found::Refused { err_code, description } => {
            Err(Error::Unavailable(format!("{description} ({err_code})")))
        }
    }
}
