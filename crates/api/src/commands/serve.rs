//! `countersign serve`.

use super::{Failed, load};
use crate::{app::App, cli::Serve, config::Config, serve};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Runs the server until SIGTERM or SIGINT.
pub fn run(arguments: &Serve) -> Result<(), Failed> {
    let mut config = load(&arguments.config.config)?;
    config.record.clone_from(&arguments.record);
    start_log(&config);
    super::runtime()?.block_on(async {
        let app = App::open(config, false).await?;
        serve_app(app, |address| tracing::info!(%address, "serving")).await
    })
}

/// Serves an open app; `ready` is told the address.
pub async fn serve_app(app: Arc<App>, ready: impl FnOnce(SocketAddr)) -> Result<(), Failed> {
    let listen = app.config.file.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|e| Failed::new(super::EXIT_UNAVAILABLE, format!("listen on {listen}: {e}")))?;
    for warning in &app.config.warnings {
        tracing::warn!("{warning}");
    }
    app.start_tasks();
    ready(listener.local_addr()?);
    let served = serve::serve(Arc::clone(&app), listener, stopped()).await;
    app.stop_tasks().await;
    // The last holder of the ledger joins the writer: what was accepted is committed.
    tokio::task::block_in_place(|| drop(app));
    tracing::info!("stopped");
    served.map_err(Failed::from)
}

/// Completes on SIGTERM or SIGINT.
async fn stopped() {
    let (Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Structured logs to standard error.
pub fn start_log(config: &Config) {
    use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt as _};
    let filter =
        EnvFilter::try_new(&config.file.log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = fmt::Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (the demo) keeps the first.
    let _ = if config.file.log.format == "json" {
        log.json().finish().try_init()
    } else {
        use std::io::IsTerminal as _;
        log.with_ansi(std::io::stderr().is_terminal()).finish().try_init()
    };
}
