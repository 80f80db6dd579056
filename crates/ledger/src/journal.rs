//! The journal: a tenant's ordered durable input. One port, two adapters.
//!
//! In scope: messages, subjects, the port's errors. Out of scope: what a message means (`post`). Subjects here
//! are *local*: `decisions.gw-1`, `system.genesis`. The JetStream adapter adds its prefix.

use crate::{ident::Ident, store, time::Nanos};

pub mod embedded;
#[cfg(feature = "jetstream")]
pub mod jetstream;
#[cfg(any(feature = "jetstream", feature = "rocksdb"))]
mod limits;
#[cfg(feature = "rocksdb")]
pub(crate) mod port;

#[cfg(test)]
#[cfg(any(feature = "jetstream", feature = "rocksdb"))]
mod conformance;

/// Largest message body that a journal accepts, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Most messages of one atomic batch (the limit of a JetStream atomic batch).
pub const BATCH_MESSAGES_MAX: usize = 1000;
/// Most messages on one subject that are read at once.
pub const SUBJECT_MESSAGES_MAX: usize = 10_000;
/// Most messages in one [`Followed::Messages`].
pub const FOLLOW_MESSAGES_MAX: usize = 1000;
/// A [`Followed::Messages`] is cut after the message that reaches this many bytes.
pub const FOLLOW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Header with 16 random bytes, base64url without padding: the seed of an event's salts.
pub const HEADER_SALT: &str = "Countersign-Salt";
/// Header with the journal key's signature. Every message outside `decisions.` has it.
pub const HEADER_SIGNATURE: &str = "Countersign-Signature";
/// Header with the subject to which the receipt is sent after posting.
pub const HEADER_RECEIPT_TO: &str = "Countersign-Receipt-To";

/// Header with a code of `proto/errors.md`: the sender says that the body is not an event, and why.
pub const HEADER_REFUSED: &str = "Countersign-Refused";

/// Subject of a message. The subject decides the kind of the entry, never the body.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// `decisions.<producer>`: a data plane's events.
    Decisions(Ident),
    /// `approvals.<approval_id>`: approval and token events, signed.
    Approvals(Ident),
    /// `evidence.<approval_id>`: comments, chat ids, raw clicks; erasable, signed.
    Evidence(Ident),
    /// `system.<topic>`: genesis, access, erasure, key, rules, policy, journal; signed.
    System(Ident),
    /// `verdicts.<replica>.<producer>`: our decisions about a producer's calls, signed.
    Verdicts {
        /// The server that decided.
        replica: Ident,
        /// The gateway that asked.
        producer: Ident,
    },
}

impl Subject {
    /// The name of this server among those that decide for a tenant. There is one server today.
    pub const REPLICA: &str = "r1";

    /// Where this server's decisions about a producer's calls are sent.
    pub fn verdicts(producer: Ident) -> Self {
        Self::Verdicts { replica: Ident::new(Self::REPLICA).expect("letters and digits"), producer }
    }

    /// Reads the local form, e.g. `decisions.gw-1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (family, name) = text.split_once('.')?;
        if family == "verdicts" {
            let (replica, producer) = name.split_once('.')?;
            let (replica, producer) = (Ident::new(replica).ok()?, Ident::new(producer).ok()?);
            return Some(Self::Verdicts { replica, producer });
        }
        let name = Ident::new(name).ok()?;
        match family {
            "decisions" => Some(Self::Decisions(name)),
            "approvals" => Some(Self::Approvals(name)),
            "evidence" => Some(Self::Evidence(name)),
            "system" => Some(Self::System(name)),
            _ => None,
        }
    }

    /// Whether messages on it must be signed by us.
    pub fn is_signed(&self) -> bool {
        !matches!(self, Self::Decisions(_))
    }

    /// Whether each message on it names the one that it follows. Our decisions do not: each has a key, and what it
    /// rests on is compared at its place.
    pub fn is_chained(&self) -> bool {
        self.is_signed() && !matches!(self, Self::Verdicts { .. })
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decisions(name) => write!(f, "decisions.{name}"),
            Self::Approvals(name) => write!(f, "approvals.{name}"),
            Self::Evidence(name) => write!(f, "evidence.{name}"),
            Self::System(name) => write!(f, "system.{name}"),
            Self::Verdicts { replica, producer } => write!(f, "verdicts.{replica}.{producer}"),
        }
    }
}

/// The headers that posting reads. Other headers are ignored and are not part of the journal's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// [`HEADER_SALT`], as sent.
    pub salt: Option<String>,
    /// [`HEADER_SIGNATURE`], as sent.
    pub signature: Option<String>,
    /// [`HEADER_RECEIPT_TO`], as sent.
    pub receipt_to: Option<String>,
    /// [`HEADER_REFUSED`], as sent. `binary_mode` if the headers say that the body is only the data of an
    /// event.
    pub refused: Option<String>,
}

/// One message as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Sequence in the tenant's journal, from 1. Never reused within an epoch.
    pub seq: u64,
    /// When the journal stored it, by the stream's clock.
    pub time: Nanos,
    /// Subject of the message. `None` if the stream delivered a subject outside the five families.
    pub subject: Option<Subject>,
    /// The named headers.
    pub headers: Headers,
    /// Body, as sent.
    pub body: Vec<u8>,
}

/// One message to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Subject of the message.
    pub subject: Subject,
    /// The named headers.
    pub headers: Headers,
    /// Body of at most [`BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// For compare-and-swap: the last sequence on this subject must be this one (0: none yet).
    pub expected: Option<u64>,
}

/// Identity and extent of the journal. Two journals with equal `identity` are the same journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// JetStream: stream name and creation time. Embedded: a random id from `init`.
    pub identity: String,
    /// First sequence that is still stored. `last + 1` if the journal is empty.
    pub first: u64,
    /// Last sequence that was assigned. 0 if nothing was ever appended.
    pub last: u64,
}

/// Items that following a journal delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Delivered once, first: the journal's state after the connection was made. Check it before handling the
    /// rest (P4).
    Connected(State),
    /// One or more messages, in journal order.
    Messages(Vec<Message>),
}

/// The journal of a tenant.
#[derive(Clone, Debug)]
pub enum Journal {
    /// The journal is in our own store.
    #[cfg(feature = "rocksdb")]
    Embedded(embedded::Embedded),
    /// The journal is a NATS JetStream stream.
    #[cfg(feature = "jetstream")]
    JetStream(jetstream::Jetstream),
    /// The journal is a stream that could not be opened at start. The log is halted.
    Absent,
}

/// Why a journal call failed, sorted by what the caller must do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Compare-and-swap was lost: read the subject again and decide again.
    #[error("another message was appended to this subject first; read it again and retry")]
    Conflict,
    /// Larger than the journal accepts. A repetition can't succeed.
    #[error("the journal takes at most {max} {what}, got {got}")]
    TooBig {
        /// "bytes per message" or "messages per batch".
        what: &'static str,
        /// The size or number that was given.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// Nothing was written (no space, not connected, no permission): try again later.
    #[error("the journal is not available: {0}")]
    Unavailable(String),
    /// The outcome is unknown. Repeat the call: that is safe because of `(producer, source, id)`.
    #[error(
        "the journal did not answer in time; it is unknown whether the message was stored: {0}"
    )]
    Unknown(String),
    /// The journal has wrong settings, or is another one: stop, and tell the operator.
    #[error("{0}")]
    Halt(String),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Halt(error.to_string())
    }
}
