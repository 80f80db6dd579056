//! Follows the stream: every message from a sequence on, in order, while the connection lasts.
//!
//! Each follow uses one TCP connection and one consumer in the server's memory. It never survives what could
//! change the stream: a lost connection, a restarted server or a deleted stream ends it with an error, and the
//! caller checks the journal again before it goes on (P4).

use std::time::Duration;

use async_nats::Subscriber;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout},
};

use super::{
    Connection, Jetstream, get,
    wire::{Delivery, Found, HeaderReader},
};
use crate::journal::{Error, FOLLOW_BYTES_MAX, FOLLOW_MESSAGES_MAX, Followed, Message, State};

/// Messages in one pull.
const PULL_MESSAGES: u64 = 2000;
/// Bytes in one pull. It is larger than any message; otherwise a large message would never be delivered.
const PULL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The next pull is sent when fewer requested messages than this have not arrived.
const PULL_LOW_WATER: u64 = PULL_MESSAGES / 2;
/// How long the server keeps an unanswered pull.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server sends a heartbeat while it has no messages.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the journal counts as lost: three heartbeats. A consumer is in the memory of one node, which may be any of
/// a cluster: if that one is lost, silence alone says so.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long the server keeps a consumer without pulls (while the sink takes nothing).
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(300);
/// Number of messages that a follow reads one by one, with raw headers, before it uses the fast way.
const CAREFUL_MESSAGES: usize = 32;

/// The loop ended without an error: the receiver was dropped.
struct SinkClosed;

impl Jetstream {
    /// Sends every message from sequence `from` on into `sink`, in stream order, as messages are stored.
    ///
    /// First it sends one [`Followed::Connected`], then [`Followed::Messages`] of 1 to [`FOLLOW_MESSAGES_MAX`]
    /// messages. On `Connected` the caller checks the journal (identity, last sequence, last posted message)
    /// **before it handles what follows**: the later messages are read on a connection that existed before
    /// that check. Missing sequences are messages that were erased, trimmed or lost; nothing hides them.
    ///
    /// A full sink stops the reading. Returns `Ok` when the sink's receiver is dropped, and otherwise only
    /// errors: [`Error::Unavailable`] if the connection, the server or the consumer was lost (call again with
    /// the next sequence; at once if messages came, after a pause if none did), [`Error::Halt`] if the stream
    /// is not the one that was opened.
    ///
    /// A header block that the client library cannot read ends the connection. The next call passes it,
    /// because each call begins with some messages that are read one by one. So such a message costs its
    /// sender's tenant one reconnect.
    pub async fn follow(&self, from: u64, sink: mpsc::Sender<Followed>) -> Result<(), Error> {
        let reader = self.connection.dedicated().await?;
        let mut next = from.max(1);
        let mut greeted = false;
        loop {
            let careful = self.read_carefully(&reader, next).await?;
            next = careful.next;
            let consumer =
                if careful.plain { Some(self.consumer(&reader, next).await?) } else { None };
            // Checked after the reads and the consumer: if they were made on another stream, it shows here.
            let state = self.same_stream(&reader).await?;
            let mut items = Vec::new();
            if !greeted {
                items.push(Followed::Connected(state));
                greeted = true;
            }
            if !careful.messages.is_empty() {
                items.push(Followed::Messages(careful.messages));
            }
            for item in items {
                if sink.send(item).await.is_err() {
                    return Ok(());
                }
            }
            if let Some(consumer) = consumer {
                return consumer.run(&sink).await;
            }
        }
    }

    /// Reads the next few messages with their raw headers.
    async fn read_carefully(&self, reader: &Connection, from: u64) -> Result<Careful, Error> {
        let mut careful = Careful { messages: Vec::new(), next: from, plain: true };
        while careful.messages.len() < CAREFUL_MESSAGES {
            let query = json!({ "seq": careful.next, "next_by_subj": ">" });
            let Some(raw) = get(reader, &self.address, &query).await? else { break };
            careful.next = raw.message.seq + 1;
            careful.plain &= raw.plain;
            careful.messages.push(raw.message);
        }
        Ok(careful)
    }

    /// The stream's state, after checking that it is the stream that was opened and has the right settings.
    async fn same_stream(&self, reader: &Connection) -> Result<State, Error> {
        let state = self.look(reader).await?;
        if state.identity == self.identity {
            return Ok(state);
        }
        Err(Error::Halt(format!(
            "the stream {stream} was made anew: opened as {ours}, now {found}; the old journal is lost \
             (see `countersign recover`)",
            stream = self.address.stream,
            ours = self.identity,
            found = state.identity
        )))
    }

    /// Makes a consumer that begins at `from`: in memory, on one server, without acknowledgements.
    async fn consumer<'a>(
        &'a self,
        reader: &'a Connection,
        from: u64,
    ) -> Result<Consumer<'a>, Error> {
        let name = self.random();
        let stream = &self.address.stream;
        let request = json!({
            "stream_name": stream,
            "action": "create",
            "config": {
                "name": name,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from,
                "ack_policy": "none",
                "replay_policy": "instant",
                "inactive_threshold": nanos(CONSUMER_IDLE_MAX),
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        match reader.api_again(&format!("CONSUMER.CREATE.{stream}.{name}"), &request).await? {
            Found::Answer(_) => {}
            Found::Refused { err_code, description } => {
                return Err(Error::Unavailable(format!("{description} ({err_code})")));
            }
        }
        let inbox = reader.client().new_inbox();
        let incoming = reader
            .client()
            .subscribe(inbox.clone())
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Consumer {
            journal: self,
            reader,
            inbox,
            pull_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
            incoming,
            on_their_way: 0,
            delivered: 0,
        })
    }
}

/// The first messages of a follow.
struct Careful {
    messages: Vec<Message>,
    /// The sequence at which to continue.
    next: u64,
    /// True if the client library can read every header block.
    plain: bool,
}

/// A running consumer.
struct Consumer<'a> {
    journal: &'a Jetstream,
    reader: &'a Connection,
    inbox: String,
    pull_subject: String,
    incoming: Subscriber,
    /// Number of requested messages that have not arrived.
    on_their_way: u64,
    /// Number of the last delivery.
    delivered: u64,
}

impl Consumer<'_> {
    async fn run(mut self, sink: &mpsc::Sender<Followed>) -> Result<(), Error> {
        let lost = self.reader.lost_ever();
        tokio::pin!(lost);
        loop {
            if self.on_their_way < PULL_LOW_WATER {
                self.pull().await?;
            }
            let first = tokio::select! {
                biased; // what has arrived is delivered before the loss of the connection is reported
                first = timeout(SILENCE_MAX, self.incoming.next()) => match first {
                    Ok(Some(first)) => first,
                    Ok(None) => return Err(Error::Unavailable("the connection was closed".into())),
                    Err(Elapsed { .. }) => {
                        return Err(Error::Unavailable("the journal gives no sign of life".into()));
                    }
                },
                () = &mut lost => return Err(Error::Unavailable("the connection was lost".into())),
                () = sink.closed() => return Ok(()),
            };
            let (messages, fault) = self.collect(first);
            if self.reader.connects() != 1 {
                return Err(Error::Unavailable("the connection was lost".into()));
            }
            if !messages.is_empty() && self.deliver(sink, messages).await.is_err() {
                return Ok(());
            }
            if let Some(fault) = fault {
                return Err(fault);
            }
        }
    }

    async fn deliver(
        &self,
        sink: &mpsc::Sender<Followed>,
        messages: Vec<Message>,
    ) -> Result<(), SinkClosed> {
        sink.send(Followed::Messages(messages)).await.map_err(|_| SinkClosed)
    }

    /// Takes `first` and everything else that has arrived, without waiting. A fault ends the batch and the
    /// follow.
    fn collect(&mut self, first: async_nats::Message) -> (Vec<Message>, Option<Error>) {
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut incoming = Some(first);
        while let Some(one) = incoming {
            match self.take(one) {
                Ok(Some(message)) => {
                    bytes += message.body.len();
                    messages.push(message);
                }
                Ok(None) => {}
                Err(fault) => return (messages, Some(fault)),
            }
            if messages.len() == FOLLOW_MESSAGES_MAX || bytes >= FOLLOW_BYTES_MAX {
                break;
            }
            // Unconstrained, because the runtime's fairness budget would cut batches at 128 messages.
            incoming = tokio::task::unconstrained(self.incoming.next()).now_or_never().flatten();
        }
        (messages, None)
    }

    /// Reads a message of the stream, a status of the server (`None`), or the end.
    ///
    /// They are distinguished by the reply subject, never by the status: a producer can send a status line
    /// too.
    fn take(&mut self, incoming: async_nats::Message) -> Result<Option<Message>, Error> {
        let Some(delivery) = incoming.reply.as_deref().and_then(Delivery::parse) else {
            self.heed(&incoming)?;
            return Ok(None);
        };
        if delivery.nth != self.delivered + 1 {
            return Err(Error::Unavailable("deliveries were lost on the way".into()));
        }
        self.delivered = delivery.nth;
        self.on_their_way = self.on_their_way.saturating_sub(1);
        let mut headers = HeaderReader::default();
        for (name, values) in incoming.headers.iter().flat_map(|map| map.iter()) {
            for value in values {
                headers.keep(name.as_ref(), value.as_str());
            }
        }
        let headers = headers.finish();
        Ok(Some(Message {
            seq: delivery.seq,
            time: delivery.time,
            subject: self.journal.address.local(&incoming.subject),
            headers,
            body: incoming.payload.into(),
        }))
    }

    /// Reads a status of the server about our pulls.
    fn heed(&mut self, incoming: &async_nats::Message) -> Result<(), Error> {
        const HEARTBEAT: u16 = 100;
        const NO_MESSAGES: u16 = 404;
        const TIMEOUT: u16 = 408;
        const CONFLICT: u16 = 409;
        let status = incoming.status.map(|status| status.as_u16());
        let text = incoming.description.as_deref().unwrap_or_default();
        let pull_ended = match status {
            // The server always sends a status, so somebody else writes to our inbox. Ignore it.
            None | Some(HEARTBEAT) => return Ok(()),
            Some(NO_MESSAGES | TIMEOUT) => true,
            // These texts have no number in the protocol: the pull is full of bytes, or of messages.
            Some(CONFLICT) => {
                text.contains("MaxBytes") || text.eq_ignore_ascii_case("Batch Completed")
            }
            Some(_) => false,
        };
        if !pull_ended {
            return Err(Error::Unavailable(format!(
                "the server ended the reading: {status} {text}",
                status = status.unwrap_or_default()
            )));
        }
        let unserved = incoming
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Pending-Messages"))
            .and_then(|count| count.as_str().parse().ok())
            .unwrap_or(self.on_their_way);
        self.on_their_way = self.on_their_way.saturating_sub(unserved);
        Ok(())
    }

    /// Requests more messages.
    async fn pull(&mut self) -> Result<(), Error> {
        let request = json!({
            "batch": PULL_MESSAGES,
            "max_bytes": PULL_BYTES_MAX,
            "expires": nanos(PULL_EXPIRES),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        self.reader
            .client()
            .publish_with_reply(
                self.pull_subject.clone(),
                self.inbox.clone(),
                request.to_string().into(),
            )
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        self.on_their_way += PULL_MESSAGES;
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
