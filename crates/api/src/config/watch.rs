//! The settings of a tenant's watch: `watch.toml` beside its rules.

use super::Config;
use decider::watch::Settings;
use ledger::{atomic, ident::Ident};
use std::io::ErrorKind;

/// Largest file, in bytes.
const BYTES_MAX: u64 = 64 * 1024;

impl Config {
    /// Reads `<approvals.dir>/<tenant>/watch.toml`. Without the file, or without approvals: the defaults.
    pub fn watch(&self, tenant: &Ident) -> Result<Settings, String> {
        let Some(approvals) = &self.file.approvals else { return Ok(Settings::default()) };
        let path = approvals::setup::folder(&approvals.dir, tenant).join("watch.toml");
        let told = |why: String| format!("{}: {why}", path.display());
        let bytes = match atomic::read(&path, BYTES_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Settings::default()),
            // The tenant's folder is not there either.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Settings::default()),
            Err(error) => return Err(told(error.to_string())),
        };
        let text = String::from_utf8(bytes).map_err(|_| told("this is no text".into()))?;
        let settings: Settings = toml::from_str(&text).map_err(|error| told(error.to_string()))?;
        settings.mistake().map_or(Ok(settings), |mistake| Err(told(mistake)))
    }
}
