//! One request, from its head to the last byte of its answer: its id, its place among the requests served at
//! once, its metrics and its log line.

use crate::{
    app::App,
    limits::CONNECTIONS_APART,
    problem::{Code, Damage, Problem},
};
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Version, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use data_encoding::HEXLOWER;
use hyper::body::{Frame, SizeHint};
use ledger::{ident::Ident, keyring};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

/// The header that carries the id of a request, and of its answer.
const ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a client or proxy that is adopted.
const ID_BYTES_MAX: usize = 64;
/// Longest wait for a place.
const ROOM_WAIT: Duration = Duration::from_secs(10);
/// Paths that are answered even if all places are taken.
const OPERATION: [&str; 3] = ["/livez", "/healthz", "/metrics"];

tokio::task_local! {
    static CURRENT: Arc<Known>;
}

/// What is known of the request that this task serves.
#[derive(Debug)]
pub struct Known {
    /// Id of the request.
    pub id: String,
    /// The tenant in its path, whether it exists or not.
    pub tenant: Option<Ident>,
}

/// The request that this task serves.
pub fn current() -> Option<Arc<Known>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Places for requests that are served at once.
pub struct Room {
    serving: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Room {
    /// Places for `max` requests.
    pub fn new(max: usize) -> Self {
        // Half of the extra connections stay for health and metrics.
        let waiting = Semaphore::new(CONNECTIONS_APART / 2);
        Self { serving: Arc::new(Semaphore::new(max)), waiting }
    }

    async fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = || {
            let detail = "As many requests as the server takes at once are being answered. Nothing was written; try \
                          again.";
            Problem::new(Code::Busy, detail)
        };
        if let Ok(place) = Arc::clone(&self.serving).try_acquire_owned() {
            return Ok(place);
        }
        let _waits = self.waiting.try_acquire().map_err(|_| busy())?;
        let place = Arc::clone(&self.serving).acquire_owned();
        tokio::time::timeout(ROOM_WAIT, place).await.ok().and_then(Result::ok).ok_or_else(busy)
    }
}

/// A body with a value that is held until the body is sent.
pub struct Sent<T> {
    body: Body,
    _held: T,
}

impl<T> Sent<T> {
    /// `held` is dropped with the body.
    pub fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> HttpBody for Sent<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Wraps every request: gives it an id, waits for a place, measures it, and logs failures.
pub async fn serve(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = given(request.headers()).unwrap_or_else(new_id);
    let path = request.uri().path();
    let tenant = path.strip_prefix("/v1/tenants/").and_then(|rest| rest.split('/').next());
    let tenant = tenant.and_then(|name| Ident::new(name).ok());
    let route =
        request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let name = tenant.as_ref().map(tracing::field::display);
    let span =
        tracing::error_span!("request", id, method = %request.method(), route, tenant = name);
    let apart = OPERATION.contains(&path) || path.ends_with("/readyz");
    let known = Arc::new(Known { id: id.clone(), tenant: tenant.clone() });
    let answer = async {
        if let Err(problem) = check_host(&request) {
            return closing(problem);
        }
        if apart {
            return next.run(request).await;
        }
        match app.requests.enter().await {
            Ok(place) => next.run(request).await.map(|body| Body::new(Sent::new(body, place))),
            Err(problem) => closing(problem),
        }
    };
    let mut response = CURRENT.scope(known, answer).instrument(span.clone()).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(ID, id);
    }
    if let (Some(Damage(what)), Some(name)) = (response.extensions_mut().remove(), &tenant)
        && let Some(tenant) = app.ledger.tenant(name.as_str())
    {
        tenant.note_damage(&what);
    }
    let status = response.status();
    app.metrics.answered(&route, status, begun.elapsed());
    if status.is_server_error() && !apart {
        span.in_scope(|| tracing::warn!(status = status.as_u16(), "a request was not served"));
    }
    response
}

/// RFC 9112, 3.2: exactly one Host. Otherwise a server in front may have understood another request.
fn check_host(request: &Request) -> Result<(), Problem> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts == 1 || (hosts == 0 && request.version() < Version::HTTP_11) {
        return Ok(());
    }
    Err(Problem::new(Code::BadRequest, format!("Send one Host header; this request has {hosts}.")))
}

fn closing(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The id that a client or proxy gave, if it may be in a log.
fn given(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(ID)?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    ((1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}

fn new_id() -> String {
    HEXLOWER.encode(&keyring::random32()[..8])
}
