//! `countersign serve`.

use super::{Failed, load};
use crate::{app::App, background, cli::Serve, config::EXIT_CONFIG, log, reload::Signals, serve};
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;

/// Runs the server until SIGTERM or SIGINT.
pub fn run(arguments: &Serve) -> Result<(), Failed> {
    let mut config = load(&arguments.config.config)?;
    config.record.clone_from(&arguments.record);
    let log = log::start(&config.file.log);
    config.claim_limits().map_err(|wrong| {
        let lines: Vec<String> = wrong.iter().map(|line| format!("\n  {line}")).collect();
        Failed::new(EXIT_CONFIG, format!("the system's limits are too low:{}", lines.concat()))
    })?;
    super::runtime()?.block_on(async {
        let signals = Signals::listen()?;
        let app = App::open(config, false).await?;
        serve_app(app, (signals, log), |address| tracing::info!(%address, "serving")).await
    })
}

/// Serves an open app. `ready` receives the address.
async fn serve_app(
    app: Arc<App>,
    (signals, log): (Signals, log::Handle),
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Failed> {
    let listen = app.config.file.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|e| Failed::new(super::EXIT_UNAVAILABLE, format!("listen on {listen}: {e}")))?;
    for warning in &app.config.warnings {
        tracing::warn!("{warning}");
    }
    let shares = app.config.shares;
    tracing::info!(shares.connections, shares.store_files, "open files are shared out");
    background::start(&app);
    ready(listener.local_addr()?);
    super::evidence::start(&app.config);
    let stopped = signals.until_stopped(Arc::clone(&app), log);
    let served = serve::serve(Arc::clone(&app), listener, stopped).await;
    app.stop_tasks().await;
    // Dropping the last holder of the ledger joins the writer, so everything accepted is committed.
    tokio::task::block_in_place(|| drop(app));
    log::tell(true);
    tracing::info!("stopped");
    served.map_err(Failed::from)
}
