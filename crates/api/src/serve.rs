//! The listener: TLS or plaintext, a limit of connections, time limits, and a drain at the end.

mod around;
mod drain;
mod seats;

use crate::{app::App, body::Sent, limits::CONNECTIONS_APART, pages, request::Peer, routes};
use axum::{Router, body::Body, middleware};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use seats::{Seat, Seats};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Longest wait for a request's headers, and so for the next request on a connection.
const HEADER_WAIT: Duration = Duration::from_secs(20);
/// Longest time that sent bytes may stay unread by the client.
const STALL_WAIT: Duration = Duration::from_secs(20);
/// Longest TLS handshake.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Longest wait for open requests when the server stops.
const DRAIN_WAIT: Duration = Duration::from_secs(10);
/// Largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Pause after the system refused a connection (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` completes, then waits for open requests.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    app.config.file.tls.as_ref().map_or(Ok(()), |files| app.greeting.read(files))?;
    let router = router(Arc::clone(&app));
    let seats = Seats::new(app.config.shares.connections + CONNECTIONS_APART);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
            // Remove connections that ended.
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ticket = tokio::select! {
            () = &mut stop => break,
            ticket = seats.take(peer.0) => ticket,
        };
        let (app, router, watcher) = (Arc::clone(&app), router.clone(), graceful.watcher());
        connections.spawn(async move {
            let _counted = Counted::new(&app);
            let seat = Arc::clone(ticket.seat());
            tokio::select! {
                () = meet(&app, stream, Visit { peer, seat: Arc::clone(&seat), router, watcher }) => {}
                () = seat.wanted() => tracing::debug!("a silent connection made room for another"),
            }
            drop(ticket);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_WAIT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open after {DRAIN_WAIT:?}; they are cut off");
    }
    connections.shutdown().await;
    Ok(())
}

/// All routes, and what each of their requests passes.
fn router(app: Arc<App>) -> Router {
    let mut router = routes::router(Arc::clone(&app));
    if app.sessions.is_some() {
        router = router.merge(pages::router(Arc::clone(&app)));
    }
    let around = middleware::from_fn_with_state(app, around::serve);
    router.layer(middleware::from_fn(drain::drain_rest)).layer(around)
}

/// Counts an open connection in the metrics, even if its handler panics.
struct Counted<'a>(&'a App);

impl<'a> Counted<'a> {
    fn new(app: &'a App) -> Self {
        app.metrics.connection(1);
        Self(app)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.connection(-1);
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    // For a client that reads nothing: the kernel ends the connection if sent bytes stay unread for this long.
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALL_WAIT))?;
    Ok((stream, Peer(address.ip())))
}

/// What serving a connection needs.
struct Visit {
    peer: Peer,
    seat: Arc<Seat>,
    router: Router,
    watcher: Watcher,
}

async fn meet(app: &App, stream: TcpStream, visit: Visit) {
    let Some(tls) = app.greeting.now() else { return converse(stream, visit).await };
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_WAIT, tls.accept(stream)).await else {
        tracing::debug!("a TLS handshake failed");
        return;
    };
    converse(stream, visit).await;
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, visit: Visit) {
    let Visit { peer, seat, router, watcher } = visit;
    // HTTP/1.1 only: its head has a time limit from the first byte on, so a silent client loses its
    // connection.
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let asking = seat.ask();
        let answer = router.call(request);
        async move {
            answer.await.map(|response| response.map(|body| Body::new(Sent::new(body, asking))))
        }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
