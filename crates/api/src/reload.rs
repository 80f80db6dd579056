//! Signals: those that end the server, that make it read files again, and that must not kill it.

use crate::{app::App, config::Config, log, sinks::Changed};
use std::{io, sync::Arc};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGXFSZ: a file would grow beyond the limit. It is caught, so that the write fails with an error.
const FILE_TOO_LARGE: i32 = 25;

/// The signals that the server handles.
pub struct Signals {
    term: Signal,
    int: Signal,
    hangup: Signal,
}

impl Signals {
    /// Handles the signals from now on. Before that, each of them ends the process.
    pub fn listen() -> io::Result<Self> {
        let harmless =
            [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm()];
        for kind in harmless.into_iter().chain([SignalKind::from_raw(FILE_TOO_LARGE)]) {
            // Handling it once is enough: the default, which kills, never comes back.
            drop(signal(kind)?);
        }
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. Until then, each SIGHUP makes the server read its files again.
    pub async fn until_stopped(mut self, app: Arc<App>, log: log::Handle) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hangup.recv() => tokio::task::block_in_place(|| reload(&app, &log)),
            }
        }
    }
}

/// Reads again what may change under a running server: TLS certificate and key, the metrics key, secrets and
/// options of chats, sinks, the log's level. Mistakes are logged, and the previous values stay. (NATS passwords are read
/// at each connect.)
fn reload(app: &App, log: &log::Handle) {
    let config = match Config::load(&app.config.path) {
        Ok(config) => config,
        Err(mistakes) => {
            let mistakes = mistakes.join("; ");
            tracing::error!(
                mistakes,
                "SIGHUP: the configuration is wrong; what was read before stays"
            );
            return;
        }
    };
    let file = &config.file;
    log.set(&file.log);
    let mut wrong = Vec::new();
    match (&app.config.file.tls, &file.tls) {
        (Some(_), Some(tls)) => wrong.extend(app.greeting.read(tls).err().map(|e| e.to_string())),
        (None, None) => {}
        _ => wrong.push("[tls] was added or removed: restart".into()),
    }
    if let Some(path) = &file.metrics_key_file {
        wrong.extend(app.metrics_key.read(path).err());
    }
    wrong.extend(app.chats.open_again(&app.config, &config).err().unwrap_or_default());
    let sinks = (&file.sink, app.config.file.public_url.as_str());
    match app.sinks.change(sinks, &app.ledger, |sink| app.spawn(sink)) {
        Ok(said) if said == Changed::default() => {}
        Ok(Changed { added, removed, altered }) => {
            tracing::info!(?added, ?removed, changed = ?altered, "SIGHUP: sinks");
        }
        Err(why) => wrong.extend(why),
    }
    if wrong.is_empty() {
        tracing::info!(
            "SIGHUP: the log's level, the metrics key, the files of TLS, the secrets of chats and the sinks were read again"
        );
    } else {
        let wrong = wrong.join("; ");
        tracing::error!(wrong, "SIGHUP: what was read before stays");
    }
}
