//! Calls by gRPC: one message there, one back, over HTTP/2. Written on hyper, which is here already: a code generator and its
//! tree for one call do not pay (decision S8).

use super::{
    net::{Reach, short},
    trust,
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, Response, Version,
    body::{Bytes, Incoming},
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use url::Url;

mod status;

pub use status::Status;

/// Longest wait for an answer, with the connection.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// The same, for the other side.
const TIMEOUT: &str = "60S";
/// Largest answer, in bytes: a few numbers and a text.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The client of one receiver.
pub struct Grpc {
    url: Url,
    reach: Reach,
    tls: Option<Arc<ClientConfig>>,
    kept: Mutex<Option<Kept>>,
}

/// A connection, and what runs it. It rests between calls.
struct Kept {
    sender: SendRequest<Full<Bytes>>,
    /// Always there, until it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Kept {
    /// A sink may end within a task, where a runtime must not wait for its own threads.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A connection, encrypted or not.
trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// Why a call has no answer.
enum Failed {
    /// The connection failed: nothing is known.
    Line(String),
    /// The other side said so.
    Said(Status),
}

impl Grpc {
    /// The client of the receiver at `url`. Sends nothing yet.
    pub fn new(url: Url, ca: Option<&Path>, private: bool) -> Result<Self, String> {
        let tls = match url.scheme() {
            "https" => Some(trust::tls(ca, &[b"h2"])?),
            _ => None,
        };
        Ok(Self { reach: Reach::of(&url, private), url, tls, kept: Mutex::default() })
    }

    /// Calls a method with a message, and returns the message that comes back. It blocks its thread.
    pub fn call(
        &self,
        method: &str,
        metadata: &[(&str, &str)],
        message: &[u8],
    ) -> Result<Vec<u8>, Status> {
        let mut kept = self.kept.lock().expect("no holder of the lock panics");
        let old = kept.take().filter(|kept| !kept.sender.is_closed());
        let was_old = old.is_some();
        let first = old.map_or_else(|| self.connect(), Ok);
        let mut failed = match first.and_then(|line| self.ask(line, method, metadata, message)) {
            Ok((line, answer)) => {
                *kept = Some(line);
                return answer;
            }
            Err(why) => why,
        };
        if was_old {
            // It may have been closed while it rested. What was sent may come twice, as after every failure.
            match self.connect().and_then(|line| self.ask(line, method, metadata, message)) {
                Ok((line, answer)) => {
                    *kept = Some(line);
                    return answer;
                }
                Err(why) => failed = why,
            }
        }
        Err(Status::unknown(short(&format!("no answer: {failed}"))))
    }

    fn connect(&self) -> Result<Kept, String> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.url.port_or_known_default().unwrap_or_default();
        let stream = self.reach.connect(&host, port)?;
        let (sender, connection) = runtime.block_on(async {
            let shaken = async {
                stream.set_nonblocking(true).map_err(|error| error.to_string())?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                let stream = TcpStream::from_std(stream).map_err(|error| error.to_string())?;
                let line: Box<dyn Line> = match &self.tls {
                    None => Box::new(stream),
                    Some(config) => Box::new(encrypted(config, host, stream).await?),
                };
                let shaken = handshake(TokioExecutor::new(), TokioIo::new(line)).await;
                shaken.map_err(|error| error.to_string())
            };
            within(shaken).await
        })?;
        // It moves only while a call waits: nothing is to be done for a receiver that nothing is sent to.
        runtime.spawn(async move { drop(connection.await) });
        Ok(Kept { sender, runtime: Some(runtime) })
    }

    /// One call on a connection. The connection comes back if it may serve another one.
    fn ask(
        &self,
        mut line: Kept,
        method: &str,
        metadata: &[(&str, &str)],
        message: &[u8],
    ) -> Result<(Kept, Result<Vec<u8>, Status>), String> {
        let request = self.request(method, metadata, message)?;
        let Kept { sender, runtime } = &mut line;
        let runtime = runtime.as_ref().ok_or("the connection is closed")?;
        let answered = runtime.block_on(within(async {
            sender.ready().await.map_err(|error| error.to_string())?;
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            match read(response).await {
                Ok(message) => Ok(Ok(message)),
                Err(Failed::Said(status)) => Ok(Err(status)),
                Err(Failed::Line(why)) => Err(why),
            }
        }))?;
        Ok((line, answered))
    }

    fn request(
        &self,
        method: &str,
        metadata: &[(&str, &str)],
        message: &[u8],
    ) -> Result<Request<Full<Bytes>>, String> {
        let length = u32::try_from(message.len()).map_err(|_| "a message over 4 GiB")?;
        let mut body = Vec::with_capacity(PREFIX_BYTES + message.len());
        body.push(0);
        body.extend(length.to_be_bytes());
        body.extend(message);
        let base = self.url.as_str().trim_end_matches('/');
        let mut request = Request::post(format!("{base}{method}"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", TIMEOUT)
            .header("user-agent", concat!("countersign/", env!("CARGO_PKG_VERSION")));
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body.into())).map_err(|error| error.to_string())
    }
}

/// TLS, and HTTP/2 within it.
async fn encrypted(
    config: &Arc<ClientConfig>,
    host: String,
    stream: TcpStream,
) -> Result<impl Line + use<>, String> {
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let line = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    let line = line.map_err(|error| format!("TLS: {error}"))?;
    if line.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("TLS: the receiver speaks no HTTP/2".into());
    }
    Ok(line)
}

async fn within<T>(what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let in_time = tokio::time::timeout(ANSWER_WAIT, what).await;
    in_time.unwrap_or_else(|_| Err(format!("nothing came for {} s", ANSWER_WAIT.as_secs())))
}

/// The message of an answer, if its status is OK.
async fn read(response: Response<Incoming>) -> Result<Vec<u8>, Failed> {
    let (head, body) = response.into_parts();
    if head.status != hyper::StatusCode::OK {
        return Err(Failed::Said(Status::of_http(head.status.as_u16())));
    }
    // An answer without a message has its status in the head.
    if let Some(status) = Status::read(&head.headers)
        && !status.is_ok()
    {
        return Err(Failed::Said(status));
    }
    let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let collected = collected.map_err(|error| Failed::Line(error.to_string()))?;
    let empty = HeaderMap::new();
    let status = Status::read(collected.trailers().unwrap_or(&empty));
    let status = status.or_else(|| Status::read(&head.headers));
    let status = status.ok_or_else(|| Failed::Line("no gRPC status came".into()))?;
    if !status.is_ok() {
        return Err(Failed::Said(status));
    }
    message(&collected.to_bytes())
        .ok_or_else(|| Failed::Line("its answer is no gRPC message".into()))
}

/// The one message of a body.
fn message(body: &[u8]) -> Option<Vec<u8>> {
    let (prefix, message) = body.split_at_checked(PREFIX_BYTES)?;
    let [0, length @ ..] = prefix else { return None };
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (message.len() == length as usize).then(|| message.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_whole_message_and_nothing_else() {
        assert_eq!(message(b"\0\0\0\0\x02ab"), Some(b"ab".to_vec()));
        assert_eq!(message(b"\0\0\0\0\0"), Some(Vec::new()));
        for body in
            [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\x02abc", b"\x01\0\0\0\x02ab"]
        {
            assert_eq!(message(body), None, "{body:?}");
        }
    }
}
