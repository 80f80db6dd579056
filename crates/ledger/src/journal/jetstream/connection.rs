//! The connection to the server: minimum version, requests with a deadline, outbound messages.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client, Event, HeaderMap, Request, RequestErrorKind, client::PublishErrorKind,
    connection::State as Link,
};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{error::Elapsed, timeout},
};

use super::{
    HEADERS_BYTES_MAX, Options, SERVER_FLOOR,
    wire::{Found, split},
};
use crate::journal::{BODY_BYTES_MAX, Error};

/// How often a silent connection is tested. Two missed answers end it, so after three seconds: a machine that has lost its power or its
/// network closes nothing, and whoever is connected to its node must notice that before NATS has elected another leader (P22).
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a connection, so that a node that is gone does not delay the next one. A shorter
/// [`Options::request_timeout`] counts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of reconnects after which a dropped [`Connection::dedicated`] connection gives up.
const DEDICATED_RECONNECTS_MAX: usize = 16;
/// Prefix of every outbound subject.
const OUTBOUND_PREFIX: &str = "countersign-out.";
/// Longest outbound subject, in bytes.
const OUTBOUND_SUBJECT_BYTES_MAX: usize = 255;

/// A connection to the server, shared by all tenants. Cheap to clone. Reconnects for ever in the background.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    options: Arc<Options>,
    /// Counts lost connections, to wake tasks that wait for an answer that will not come.
    lost: watch::Receiver<u64>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("connected", &self.connected()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects. Refuses a server below [`SERVER_FLOOR`] or with too small a `max_payload`.
    ///
    /// [`Error::Unavailable`] if the server cannot be reached now; [`Error::Halt`] if it or the options are
    /// unfit. An open connection reconnects by itself.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        Self::connect(Arc::new(options.clone()), None, false).await
    }

    /// As [`Connection::open`]. If the server can't be reached now, the connection is made later, in the
    /// background. The follower then checks the server; nothing may be appended before that.
    pub async fn open_later(options: &Options) -> Result<Self, Error> {
        match Self::open(options).await {
            Err(Error::Unavailable(why)) => {
                tracing::warn!(why, "NATS can't be reached yet; it is waited for");
                Self::connect(Arc::new(options.clone()), None, true).await
            }
            other => other,
        }
    }

    /// A second connection with the same options, for one reader. So a hostile message breaks only the
    /// connection of the tenant that sent it (P12).
    pub(super) async fn dedicated(&self) -> Result<Self, Error> {
        Self::connect(self.options.clone(), Some(DEDICATED_RECONNECTS_MAX), false).await
    }

    /// `later`: make the first connection in the background, without checks here.
    async fn connect(
        options: Arc<Options>,
        reconnects_max: Option<usize>,
        later: bool,
    ) -> Result<Self, Error> {
        let (losses, lost) = watch::channel(0_u64);
        let mut connect_options = options
            .read()
            .await?
            .name("countersign")
            .connection_timeout(options.request_timeout.min(CONNECT_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .max_reconnects(reconnects_max)
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    losses.send_modify(|count| *count = count.wrapping_add(1));
                }
                std::future::ready(())
            });
        if later {
            connect_options = connect_options.retry_on_initial_connect();
        }
        let servers = options.servers()?;
        let client = connect_options
            .connect(servers)
            .await
            .map_err(|error| Error::Unavailable(format!("cannot connect to NATS: {error}")))?;
        let connection = Self { client, options, lost };
        if !later {
            connection.check_server()?;
        }
        Ok(connection)
    }

    /// True if the server is connected now.
    pub fn connected(&self) -> bool {
        self.client.connection_state() == Link::Connected
    }

    /// Sends `body` to `subject`, which must begin with `countersign-out.`. No stream stores it.
    ///
    /// Fire and forget: `Ok` means queued here. If a hint is lost, its reader asks again.
    /// [`Error::Unavailable`] if not connected, or if the subject has another prefix.
    pub async fn publish_out(&self, subject: &str, body: Vec<u8>) -> Result<(), Error> {
        let fits = subject.starts_with(OUTBOUND_PREFIX)
            && subject.len() <= OUTBOUND_SUBJECT_BYTES_MAX
            && subject.bytes().all(|byte| byte.is_ascii_graphic() && !b"*>".contains(&byte))
            && subject.split('.').all(|token| !token.is_empty());
        if !fits {
            return Err(Error::Unavailable("this is no outbound subject".into()));
        }
        self.require_link()?;
        self.publish(subject.to_owned(), None, body).await
    }

    /// Waits until this process has sent everything.
    pub async fn flush(&self) -> Result<(), Error> {
        match timeout(self.options.request_timeout, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
            Err(Elapsed { .. }) => Err(Error::Unavailable("the connection does not flush".into())),
        }
    }

    /// Version of the connected server.
    pub(super) fn server_version(&self) -> Result<(u32, u32), Error> {
        let found = self.client.server_info().version;
        parse_version(&found).ok_or_else(|| {
            Error::Halt(format!("the NATS server says its version is {found:?}, which is none"))
        })
    }

    /// Checks the requirements for every server that this process uses.
    pub(super) fn check_server(&self) -> Result<(), Error> {
        let (major, minor) = SERVER_FLOOR;
        let info = self.client.server_info();
        if self.server_version()? < SERVER_FLOOR {
            return Err(Error::Halt(format!(
                "the NATS server is {found}; at least {major}.{minor} is needed, because older ones let \
                 several writers win one compare-and-swap: upgrade the server",
                found = info.version
            )));
        }
        let needed = BODY_BYTES_MAX + HEADERS_BYTES_MAX;
        if info.max_payload < needed {
            return Err(Error::Halt(format!(
                "the NATS server takes messages of {found} bytes; at least {needed} are needed: \
                 raise `max_payload` in its configuration",
                found = info.max_payload
            )));
        }
        Ok(())
    }

    /// Longest wait for an answer.
    pub(super) fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    /// The client of the library.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Number of times this connection was made. 1 until it is first lost.
    pub(super) fn connects(&self) -> u64 {
        self.client.statistics().connects.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns when the connection is lost after the call.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        lost.mark_unchanged();
        // An error means that the client is gone, which also counts as a loss.
        let _gone = lost.changed().await;
    }

    /// Returns once the connection has been lost since it was made.
    pub(super) async fn lost_ever(&self) {
        let mut lost = self.lost.clone();
        let _gone = lost.wait_for(|count| *count > 0).await;
    }

    fn require_link(&self) -> Result<(), Error> {
        if self.connected() {
            Ok(())
        } else {
            Err(Error::Unavailable("not connected to NATS".into()))
        }
    }

    /// Queues a message for sending.
    pub(super) async fn publish(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        body: Vec<u8>,
    ) -> Result<(), Error> {
        let got = body.len();
        let send = async {
            match headers {
                Some(headers) => {
                    self.client.publish_with_headers(subject, headers, body.into()).await
                }
                None => self.client.publish(subject, body.into()).await,
            }
        };
        match timeout(self.options.request_timeout, send).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => self.too_big(got),
                PublishErrorKind::InvalidSubject | PublishErrorKind::Send => {
                    Error::Unavailable(error.to_string())
                }
            }),
            Err(Elapsed { .. }) => Err(Error::Unavailable("the queue to NATS is full".into())),
        }
    }

    /// Sends a request and waits for its answer, at most [`Options::request_timeout`].
    ///
    /// [`Error::Unavailable`]: it was not sent, or there is no responder. [`Error::Unknown`]: it was sent and
    /// no answer came.
    pub(super) async fn request(
        &self,
        subject: String,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        self.require_link()?;
        let got = body.len();
        let mut request =
            Request::new().payload(body.into()).timeout(Some(self.options.request_timeout));
        if !headers.is_empty() {
            request = request.headers(headers);
        }
        let answer = tokio::select! {
            biased; // an answer that is there counts, even if the connection is lost meanwhile
            answer = timeout(self.options.request_timeout, self.client.send_request(subject, request)) => answer,
            () = self.lost() => return Err(Error::Unknown("the connection was lost".into())),
        };
        match answer {
            Ok(Ok(message)) => Ok(message.payload.into()),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => {
                    Error::Unavailable("no stream or no JetStream answers there".into())
                }
                RequestErrorKind::MaxPayloadExceeded => self.too_big(got),
                RequestErrorKind::InvalidSubject => Error::Unavailable(error.to_string()),
                RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                    Error::Unknown(error.to_string())
                }
            }),
            Err(Elapsed { .. }) => Err(Error::Unknown("no answer in time".into())),
        }
    }

    /// Sends all requests in order, then waits for all answers, at most [`Options::request_timeout`].
    ///
    /// [`Error::Unknown`] if an answer is missing. A request without a responder gets an empty answer.
    pub(super) async fn request_each(
        &self,
        requests: Vec<(String, HeaderMap, Vec<u8>)>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.require_link()?;
        let inbox = self.client.new_inbox();
        let mut incoming = self
            .client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| Error::Unavailable(error.to_string()))?;
        let mut answers: Vec<Option<Vec<u8>>> = vec![None; requests.len()];
        let exchange = async {
            for (nth, (subject, headers, body)) in requests.into_iter().enumerate() {
                self.client
                    .publish_with_reply_and_headers(
                        subject,
                        format!("{inbox}.{nth}"),
                        headers,
                        body.into(),
                    )
                    .await
                    .map_err(|error| Error::Unknown(error.to_string()))?;
            }
            let mut missing = answers.len();
            while missing > 0 {
                let closed = || Error::Unknown("the connection was closed".into());
                let answer = incoming.next().await.ok_or_else(closed)?;
                let nth = answer.subject.rsplit('.').next().and_then(|nth| nth.parse().ok());
                if let Some(slot) = nth.and_then(|nth: usize| answers.get_mut(nth)) {
                    missing -= usize::from(slot.replace(answer.payload.into()).is_none());
                }
            }
            Ok::<(), Error>(())
        };
        tokio::select! {
            biased;
            done = timeout(self.options.request_timeout, exchange) => match done {
                Ok(done) => done?,
                Err(Elapsed { .. }) => return Err(Error::Unknown("no answer in time".into())),
            },
            () = self.lost() => return Err(Error::Unknown("the connection was lost".into())),
        }
        Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Calls the JetStream API with a request that changes something.
    pub(super) async fn api(&self, name: &str, request: &Value) -> Result<Found, Error> {
        let body = request.to_string().into_bytes();
        split(self.request(format!("$JS.API.{name}"), HeaderMap::new(), body).await?)
    }

    fn too_big(&self, got: usize) -> Error {
        Error::TooBig { what: "bytes per message", got, max: self.client.max_payload() }
    }
}

/// The error of a call that changes nothing: its outcome is never unknown.
pub(super) fn unread(error: Error) -> Error {
    match error {
        Error::Unknown(why) => Error::Unavailable(why),
        other => other,
    }
}

/// `2.15.1`, `2.12.0-beta.1` → (2, 15), (2, 12).
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('v').split('.');
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("2.15.1"), Some((2, 15)));
        assert_eq!(parse_version("v2.11.0-RC.3"), Some((2, 11)));
        assert_eq!(parse_version("2.9.10"), Some((2, 9)));
        assert_eq!(parse_version("2"), None);
        assert_eq!(parse_version(""), None);
        assert!(parse_version("2.9.10") < Some(SERVER_FLOOR), "compared as numbers, not as text");
    }
}
