//! One request, from its head to the last byte of its answer: its id, its place among the requests served at
//! once, its metrics and its log line.

use crate::{
    app::App,
    body::Sent,
    problem::{Code, Damage, Problem},
    request::{self, Known},
};
use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Version, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use data_encoding::HEXLOWER;
use ledger::{ident::Ident, keyring};
use std::{sync::Arc, time::Instant};
use tracing::Instrument as _;

/// The header that carries the id of a request, and of its answer.
const ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a client or proxy that is adopted.
const ID_BYTES_MAX: usize = 64;
/// Paths that are answered even if all places are taken.
const OPERATION: [&str; 3] = ["/livez", "/healthz", "/metrics"];

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
    let known = Known { id: id.clone(), tenant: tenant.clone() };
    let answer = async {
        if let Err(problem) = check_host(&request) {
            return closing(problem);
        }
        if apart {
            return next.run(request).await;
        }
        match app.places.enter().await {
            Ok(place) => next.run(request).await.map(|body| Body::new(Sent::new(body, place))),
            Err(problem) => closing(problem),
        }
    };
    let mut response = request::serving(known, answer).instrument(span.clone()).await;
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
