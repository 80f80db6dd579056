//! Appends to the stream: one message, an atomic batch, or (on a 2.11 server) several single messages.

use std::time::Duration;

use async_nats::HeaderMap;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    Jetstream, code,
    wire::{Found, decode, split},
};
use crate::journal::{
    Append, Error, HEADER_RECEIPT_TO, HEADER_REFUSED, HEADER_SALT, HEADER_SIGNATURE, Headers,
    limits::{check_header, check_limits},
};

const EXPECTED_STREAM: &str = "Nats-Expected-Stream";
const EXPECTED_LAST_ON_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence";
const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// First pause before asking again whether a message in flight has won. It doubles each time.
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(2);
/// Longest such pause.
const IN_FLIGHT_PAUSE_MAX: Duration = Duration::from_millis(250);

/// The server's acknowledgement of a message or a batch.
#[derive(Debug, Deserialize)]
pub(super) struct Ack {
    stream: String,
    /// Sequence of the last message.
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    /// Number of messages in the batch. Absent for a single message.
    count: Option<u64>,
}

impl Jetstream {
    /// Appends a batch. Returns the sequence of each message. An empty batch is `Ok` and does nothing.
    ///
    /// One message is stored or not. Several are all or nothing, with consecutive sequences, if
    /// [`Jetstream::atomic`] holds. If it does not hold, they are sent one after the other without waiting:
    /// some may be stored when the call fails ([`Error::Unknown`]), and messages of others may be between
    /// them. A batch with any `expected` is then refused with [`Error::Halt`], because half a decision is
    /// none.
    ///
    /// Limits: [`crate::journal::BATCH_MESSAGES_MAX`] messages, [`crate::journal::BODY_BYTES_MAX`] each,
    /// [`super::Options::request_timeout`] for an answer. In an atomic batch only the first message on a
    /// subject may carry `expected`; others are [`Error::Halt`]. A `Nats-Msg-Id` is never sent; an
    /// acknowledgement that says "duplicate" is [`Error::Halt`].
    ///
    /// [`Error::Conflict`] says that another message *is stored*. If the replicas have not agreed on one yet,
    /// they are asked again until [`super::Options::request_timeout`] is over; then it is
    /// [`Error::Unavailable`].
    pub async fn append(&self, batch: Vec<Append>) -> Result<Vec<u64>, Error> {
        check_limits(&batch)?;
        if batch.iter().all(|append| append.expected.is_none()) {
            return self.attempt(batch).await?.ok_or_else(in_flight);
        }
        let deadline = Instant::now() + self.connection.request_timeout();
        let mut pause = IN_FLIGHT_PAUSE;
        loop {
            if let Some(seqs) = self.attempt(batch.clone()).await? {
                return Ok(seqs);
            }
            if Instant::now() >= deadline {
                return Err(in_flight());
            }
            sleep(pause).await;
            pause = IN_FLIGHT_PAUSE_MAX.min(pause * 2);
        }
    }

    /// One attempt. `None` if nothing was stored because the replicas are still busy with an earlier message
    /// on the subject, so that it is unknown whether that one wins. Measured on 2.15.1: a single writer gets
    /// this answer too, if it appends again before the server has finished its last append.
    pub(super) async fn attempt(&self, batch: Vec<Append>) -> Result<Option<Vec<u64>>, Error> {
        match batch.len() {
            0 => Ok(Some(Vec::new())),
            1 => {
                let mut seqs = Vec::with_capacity(1);
                for append in batch {
                    let Some(seq) = self.append_one(append).await? else { return Ok(None) };
                    seqs.push(seq);
                }
                Ok(Some(seqs))
            }
            _ if self.atomic() => self.append_atomic(batch).await,
            _ => self.append_each(batch).await,
        }
    }

    async fn append_one(&self, append: Append) -> Result<Option<u64>, Error> {
        let headers = self.headers(&append)?;
        let subject = self.address.subject(&append.subject);
        let answer = self.connection.request(subject, headers, append.body).await?;
        Ok(self.acknowledged(answer)?.map(|ack| ack.seq))
    }

    /// All messages but the last are only sent. The answer to the last one is the answer for all.
    async fn append_atomic(&self, batch: Vec<Append>) -> Result<Option<Vec<u64>>, Error> {
        for (n, append) in batch.iter().enumerate().filter(|(_, append)| append.expected.is_some())
        {
            if batch[..n].iter().any(|before| before.subject == append.subject) {
                return Err(Error::Halt(format!(
                    "only the first message of a batch on {} may be a compare-and-swap",
                    append.subject
                )));
            }
        }
        let id = self.random();
        let messages = batch
            .into_iter()
            .zip(1_u64..)
            .map(|(append, nth)| {
                let mut headers = self.headers(&append)?;
                headers.insert(BATCH_ID, id.as_str());
                headers.insert(BATCH_SEQUENCE, nth.to_string());
                Ok((self.address.subject(&append.subject), headers, append.body))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let count = messages.len();
        let mut answer = Vec::new();
        for ((subject, mut headers, body), nth) in messages.into_iter().zip(1..) {
            if nth < count {
                self.connection.publish(subject, Some(headers), body).await?;
            } else {
                headers.insert(BATCH_COMMIT, "1");
                answer = self.connection.request(subject, headers, body).await?;
            }
        }
        let Some(ack) = self.acknowledged(answer)? else { return Ok(None) };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        match ack.seq.checked_sub(count) {
            Some(before) if ack.count == Some(count) => Ok(Some((before + 1..=ack.seq).collect())),
            _ => Err(Error::Halt(format!(
                "the server acknowledged a batch of {count} messages as {got:?} up to sequence {seq}",
                got = ack.count,
                seq = ack.seq
            ))),
        }
    }

    /// Without atomic batches: sends each message by itself, in order, without waiting in between.
    async fn append_each(&self, batch: Vec<Append>) -> Result<Option<Vec<u64>>, Error> {
        if batch.iter().any(|append| append.expected.is_some()) {
            return Err(Error::Halt(
                "a batch with a compare-and-swap needs atomic batches: NATS server 2.12 or newer, and \
                 `allow_atomic` set on the stream"
                    .into(),
            ));
        }
        let messages = batch
            .into_iter()
            .map(|append| {
                let headers = self.headers(&append)?;
                Ok((self.address.subject(&append.subject), headers, append.body))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let answers = self.connection.request_each(messages).await?;
        let outcomes = answers.into_iter().map(|answer| self.acknowledged(answer));
        let outcomes = outcomes.collect::<Vec<Result<Option<Ack>, Error>>>();
        let some_stored = outcomes.iter().any(|outcome| matches!(outcome, Ok(Some(_))));
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                Err(Error::Unavailable(why)) if some_stored => {
                    Err(Error::Unknown(format!("some messages of the batch were stored: {why}")))
                }
                outcome => outcome.map(|ack| ack.map(|ack| ack.seq)),
            })
            .collect()
    }

    /// The headers of one message: ours, and the conditions for storing it.
    fn headers(&self, append: &Append) -> Result<HeaderMap, Error> {
        let mut map = HeaderMap::new();
        let Headers { salt, signature, receipt_to, refused } = &append.headers;
        for (name, value) in [
            (HEADER_SALT, salt),
            (HEADER_SIGNATURE, signature),
            (HEADER_RECEIPT_TO, receipt_to),
            (HEADER_REFUSED, refused),
        ] {
            if let Some(value) = value {
                map.insert(name, check_header(name, value)?);
            }
        }
        map.insert(EXPECTED_STREAM, self.address.stream.as_str());
        if let Some(expected) = append.expected {
            map.insert(EXPECTED_LAST_ON_SUBJECT, expected.to_string());
        }
        Ok(map)
    }

    /// Reads the answer to a message or a batch. `None` as in [`Jetstream::attempt`].
    pub(super) fn acknowledged(&self, answer: Vec<u8>) -> Result<Option<Ack>, Error> {
        let ack: Ack = match split(answer)? {
            Found::Answer(answer) => decode(&answer)?,
            Found::Refused { err_code: code::WRONG_LAST_SEQUENCE_IN_FLIGHT, .. } => {
                return Ok(None);
            }
            Found::Refused { err_code, description } => {
                return Err(refused(err_code, &description));
            }
        };
        if ack.duplicate {
            return Err(Error::Halt(format!(
                "the server took a message for a duplicate of {seq} and dropped it, though none is sent \
                 with a message id: find out what rewrites messages on the way to {stream}",
                seq = ack.seq,
                stream = ack.stream
            )));
        }
        if ack.stream != self.address.stream {
            return Err(Error::Halt(format!(
                "a message for {ours} was stored in {theirs}: two streams claim the same subjects",
                ours = self.address.stream,
                theirs = ack.stream
            )));
        }
        Ok(Some(ack))
    }

    /// A random name that nobody can guess and nobody else uses.
    pub(super) fn random(&self) -> String {
        let inbox = self.connection.client().new_inbox();
        inbox.rsplit('.').next().unwrap_or_default().to_owned()
    }
}

/// The error if the replicas did not agree in time on the message before ours.
fn in_flight() -> Error {
    Error::Unavailable("the stream's replicas are still busy with another message there".into())
}

/// The error of a negative acknowledgement: nothing was stored.
fn refused(err_code: u64, description: &str) -> Error {
    match err_code {
        code::WRONG_LAST_SEQUENCE => Error::Conflict,
        code::MESSAGE_TOO_LARGE | code::HEADERS_TOO_LARGE => {
            Error::Halt(format!("the stream takes less than it must: {description} ({err_code})"))
        }
        _ => Error::Unavailable(format!("{description} ({err_code})")),
    }
}
