//! The settings of a tenant's watch: `watch.toml` beside its rules.

use super::Config;
use decider::watch::Settings;
use ledger::ident::Ident;
use std::{fs, io::ErrorKind};

impl Config {
    /// Reads `<approvals.dir>/<tenant>/watch.toml`. Without the file, or without approvals: the defaults.
    pub fn watch(&self, tenant: &Ident) -> Result<Settings, String> {
        let Some(approvals) = &self.file.approvals else { return Ok(Settings::default()) };
        let path = approvals::setup::folder(&approvals.dir, tenant).join("watch.toml");
        let told = |why: String| format!("{}: {why}", path.display());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Settings::default()),
            Err(error) => return Err(told(error.to_string())),
        };
        let settings: Settings = toml::from_str(&text).map_err(|error| told(error.to_string()))?;
        settings.mistake().map_or(Ok(settings), |mistake| Err(told(mistake)))
    }
}
