//! The listener: TLS or plaintext, a bound on connections, time limits, and a drain at the end.

use crate::{app::App, config::Tls, routes};
use axum::Router;
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
use std::{io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// Longest wait for a request's headers, and so for the next request on a connection.
const HEADER_WAIT: Duration = Duration::from_secs(20);
/// Longest time that bytes may wait for a reader.
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

/// Who is at the other end of the connection; every request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Serves until `stop` completes, then lets open requests end.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let tls = app.config.file.tls.as_ref().map(acceptor).transpose()?;
    let router = routes::router(Arc::clone(&app));
    let room = Arc::new(Semaphore::new(app.config.file.limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &room) => accepted,
            // Forget connections that ended.
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (app, router, watcher) = (Arc::clone(&app), router.clone(), graceful.watcher());
        let tls = tls.clone();
        connections.spawn(async move {
            let _counted = Counted::new(&app);
            let _permit: OwnedSemaphorePermit = permit;
            match tls {
                None => converse(stream, peer, router, watcher).await,
                Some(tls) => {
                    if let Ok(Ok(stream)) =
                        tokio::time::timeout(HANDSHAKE_WAIT, tls.accept(stream)).await
                    {
                        converse(stream, peer, router, watcher).await;
                    } else {
                        tracing::debug!("a TLS handshake failed");
                    }
                }
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_WAIT, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open after {DRAIN_WAIT:?}; they are cut off");
    }
    connections.shutdown().await;
    Ok(())
}

/// An open connection in the metrics, also when its handler panics.
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

/// The next connection, once there is room for it; until then it waits in the kernel.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    // A reader that takes nothing: the kernel ends the connection when sent bytes stay unread for so long.
    socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(STALL_WAIT))?;
    Ok((stream, Peer(address.ip()), permit))
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    router: Router,
    watcher: Watcher,
) {
    // HTTP/1.1 alone: its head has a time limit from the first byte on, so silence frees the connection.
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn acceptor(files: &Tls) -> io::Result<TlsAcceptor> {
    let unreadable = |what: &str, error: &dyn std::fmt::Display| {
        io::Error::other(format!("tls {what}: {error}"))
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(|e| unreadable("certificate", &e))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| unreadable("certificate", &e))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unreadable("key", &e))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| unreadable("certificate and key", &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
