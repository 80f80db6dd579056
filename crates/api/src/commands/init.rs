//! `countersign init`: makes the data directory, a tenant with journal and genesis, and its first admin key.

use super::{Failed, load};
use crate::{
    act::{Act, Why},
    app::App,
    auth,
    cli::Init,
    replicas::Setup,
    tenants,
    terminal::{dim, say, strong},
};
use ledger::{
    atomic,
    ident::Ident,
    journal::Journal,
    log::{members::MemberSet, note::Vkey},
    system::Command,
};
use serde_json::json;
use std::sync::Arc;

/// Makes what is missing and prints the keys once.
pub fn run(arguments: &Init) -> Result<(), Failed> {
    let config = load(&arguments.config.config)?;
    let name =
        Ident::new(&arguments.tenant).map_err(|e| Failed::new(2, format!("--tenant: {e}")))?;
    let person = arguments.person.as_deref().map(Ident::new).transpose();
    let person = person.map_err(|e| Failed::new(2, format!("--person: {e}")))?;
    let why = super::why(arguments.reason.as_deref())?;
    for folder in [&config.file.data_dir, &config.file.keys_dir] {
        atomic::make_folder(folder)?;
    }
    if let Some(folder) = config.file.guard_path.parent() {
        atomic::make_folder(folder)?;
    }
    super::runtime()?.block_on(async {
        let app = App::open(config, true).await?;
        let result = if arguments.adopt {
            adopt(&app, &name).await
        } else {
            let admin = (person, arguments.new_admin_key);
            create(&app, &name, why, (admin, arguments.json)).await
        };
        app.stop_tasks().await;
        tokio::task::block_in_place(|| drop(app));
        result
    })
}

async fn create(
    app: &Arc<App>,
    name: &Ident,
    why: Option<Why>,
    ((person, again), as_json): ((Option<Ident>, bool), bool),
) -> Result<(), Failed> {
    let act = Act::of_command(Command::Init, why);
    let admin = match app.ledger.tenant(name.as_str()) {
        Some(tenant) if again => tenants::admin_again(app, &tenant, act, person).await?,
        Some(_) => {
            let text =
                format!("tenant {name} exists already; --new-admin-key issues an admin key for it");
            return Err(Failed::new(super::EXIT_FAILED, text));
        }
        None => tenants::create(app, name, act, person).await?,
    };
    let operator = auth::make_operator_key(&app.ledger)?;
    let tenant = app.ledger.tenant(name.as_str());
    let tenant = tenant.ok_or_else(|| Failed::new(super::EXIT_FAILED, "the tenant vanished"))?;
    let published = tenant.published();
    let vkey = published.keys.log.first().map(|key| key.vkey.0.to_string()).unwrap_or_default();
    if as_json {
        let answer = json!({
            "tenant": name, "origin": tenant.origin, "vkey": vkey, "policy": first_policy(app, &vkey), "admin_key": admin,
            "operator_key": operator,
        });
        say(&answer.to_string());
        return Ok(());
    }
    say(&format!("tenant {} is ready", strong(name.as_str())));
    say(&format!("  log          {}", tenant.origin));
    say(&format!("  public key   {vkey}"));
    say(&dim("               give it to auditors by a way that is not this server"));
    say(&dim(
        "               and with it the policy by which they verify: `countersign log policy`",
    ));
    say(&format!("  admin key    {admin}"));
    if let Some(operator) = operator {
        say(&format!("  operator key {operator}"));
    }
    say(&dim("  The keys that begin with cs_ are shown this once and stored nowhere: keep them."));
    Ok(())
}

/// The policy for whoever verifies, from the log's key, the configured replicas and witnesses.
fn first_policy(app: &App, vkey: &str) -> Option<String> {
    let key = Vkey::parse(vkey).ok()?;
    let replicas = app.config.file.replica.as_ref().map(Setup::members).transpose().ok()?;
    let replicas = replicas.map(MemberSet::first);
    crate::witness::first_policy(&key, replicas.as_ref(), &app.config.file.witness).ok()
}

/// Makes a replica: posts an existing journal again with the tenant's keys.
async fn adopt(app: &Arc<App>, name: &Ident) -> Result<(), Failed> {
    let Some(broker) = &app.broker else {
        return Err(Failed::new(
            2,
            "--adopt needs a JetStream journal; an embedded one lies in its database",
        ));
    };
    let stream = ledger::journal::jetstream::Jetstream::open(broker, name)
        .await
        .map_err(ledger::Error::from)?;
    let identity = stream.state().await.map_err(ledger::Error::from)?.identity;
    let tenant = app.ledger.adopt_tenant(name, Journal::JetStream(stream), &identity)?;
    say(&format!("{} will be posted again from its journal by `countersign serve`", tenant.origin));
    say(&dim(
        "  Two servers that sign for one log at the same time are a mistake: stop the other one first.",
    ));
    Ok(())
}
