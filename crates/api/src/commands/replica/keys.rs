//! Makes the file of a key that all replicas must have before one of them switches to it.

use crate::{
    cli::MakeKey,
    commands::{EXIT_FAILED, EXIT_USAGE, Failed},
    config::{Config, EXIT_CONFIG},
    terminal::{dim, say, warn},
};
use ledger::{ident::Ident, keyring::Keyring, origin, system::KeyUse};

/// Makes the file of the next key of a use. Needs no server.
pub fn make(arguments: &MakeKey) -> Result<(), Failed> {
    let usage = match arguments.usage.as_str() {
        "log" => KeyUse::Log,
        "journal" => KeyUse::Journal,
        "token" => KeyUse::Token,
        "agent" => KeyUse::Agent,
        _ => return Err(Failed::new(EXIT_USAGE, "--use: log, journal, token or agent")),
    };
    let tenant = Ident::new(&arguments.tenant)
        .map_err(|error| Failed::new(EXIT_USAGE, format!("--tenant: {error}")))?;
    let config = Config::load(&arguments.config.config);
    let config = config.map_err(|wrong| Failed::new(EXIT_CONFIG, wrong.join("\n")))?;
    let failed = |error: ledger::keyring::Error| Failed::new(EXIT_FAILED, error.to_string());
    let mut ring = Keyring::open(&config.file.keys_dir, &tenant).map_err(failed)?;
    let vkey = ring.generate(usage, &origin(&config.public_host, &tenant)).map_err(failed)?;
    say(&vkey.to_string());
    let folder = config.file.keys_dir.join(tenant.as_str());
    let (number, usage) = (ring.vkeys(usage).len(), &arguments.usage);
    say(&folder.join(format!("{usage}-{number}.key")).display().to_string());
    warn(&dim(&format!(
        "Copy that file to keys_dir of every other replica. Then: countersign key rotate --use {usage}"
    )));
    Ok(())
}
