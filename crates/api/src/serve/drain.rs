//! Drains the rest of a refused request, if it is small, so that the next request finds the connection clean
//! and a reset does not lose the answer (RFC 9112, 9.6).

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

/// Most bytes that are drained.
const REST_BYTES_MAX: usize = 64 << 10;
/// Longest wait for them.
const REST_WAIT: Duration = Duration::from_millis(250);

/// A body that its handler and this module share.
#[derive(Clone)]
struct Held(Arc<Mutex<Body>>);

impl Held {
    fn lock(&self) -> MutexGuard<'_, Body> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().size_hint()
    }
}

/// After an error, reads and drops the rest of the body. If that is too much, the answer says that the
/// connection ends.
pub async fn drain_rest(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    // A client that asks first whether to send a body is not told to send it.
    let asks = parts.headers.contains_key(header::EXPECT);
    let held = Held(Arc::new(Mutex::new(body)));
    let mut response = next.run(Request::from_parts(parts, Body::new(held.clone()))).await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    if refused && !held.is_end_stream() {
        let rest = Limited::new(held, REST_BYTES_MAX).collect();
        if asks || !matches!(tokio::time::timeout(REST_WAIT, rest).await, Ok(Ok(_))) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}
