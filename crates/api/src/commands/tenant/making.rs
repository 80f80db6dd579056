//! Makes a tenant on running servers, and the key files that replicas need for it.

use crate::{
    cli::{CreateTenant, WithConfig},
    client::Client,
    commands::{EXIT_FAILED, EXIT_USAGE, Failed, say_missing, why},
    config::{Config, EXIT_CONFIG},
    terminal::{dim, harmless, say, say_json, strong, warn},
};
use ledger::{atomic, ident::Ident, keyring::Keyring, origin};
use serde_json::json;

/// `countersign tenant create`.
pub fn create(arguments: &CreateTenant) -> Result<(), Failed> {
    let CreateTenant { remote, tenant, reason, policy, json: as_json } = arguments;
    let reason = why(reason.as_deref())?;
    let body = json!({"tenant": tenant, "reason": reason});
    let answer = Client::new(remote)?.post_json("/v1/tenants", &body)?;
    let text = |name: &str| harmless(answer[name].as_str().unwrap_or_default());
    // Told first: the admin key is shown once.
    if *as_json {
        say_json(&answer);
    } else {
        say(&format!("tenant {} is ready", strong(&text("tenant"))));
        say(&format!("  log          {}", text("origin")));
        say(&format!("  public key   {}", text("vkey")));
        say(&dim("               give it to auditors by a way that is not this server"));
        say(&format!("  admin key    {}", text("key")));
        say(&dim("  The key that begins with cs_ is shown this once and stored nowhere: keep it."));
        say_missing(&answer);
    }
    let Some(path) = policy else { return Ok(()) };
    let Some(first) = answer["policy"].as_str() else {
        let text =
            "--policy: this server has no replicas: `countersign log policy` prints the policy";
        return Err(Failed::new(EXIT_USAGE, text));
    };
    let written = atomic::create(path, first.as_bytes());
    written.map_err(|error| {
        Failed::new(
            EXIT_FAILED,
            format!("--policy: {}: {error}. It reads:\n{first}", path.display()),
        )
    })
}

/// `countersign tenant make-keys`.
pub fn make_keys(config: &WithConfig, tenant: &str) -> Result<(), Failed> {
    let tenant = Ident::new(tenant)
        .map_err(|error| Failed::new(EXIT_USAGE, format!("{tenant}: {error}")))?;
    let config = Config::load(&config.config);
    let config = config.map_err(|wrong| Failed::new(EXIT_CONFIG, wrong.join("\n")))?;
    let failed = |error: ledger::keyring::Error| Failed::new(EXIT_FAILED, error.to_string());
    let keys_dir = &config.file.keys_dir;
    if Keyring::has_files(keys_dir, &tenant) {
        let folder = keys_dir.join(tenant.as_str());
        let text = format!("{}: there are keys of a tenant {tenant} already", folder.display());
        return Err(Failed::new(EXIT_FAILED, text));
    }
    Keyring::create(keys_dir, &tenant, &origin(&config.public_host, &tenant)).map_err(failed)?;
    say(&keys_dir.join(tenant.as_str()).display().to_string());
    warn(&dim(&format!(
        "Copy that folder to keys_dir of every other replica. Then: countersign tenant create {tenant}"
    )));
    Ok(())
}
