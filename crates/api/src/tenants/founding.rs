//! Makes a tenant while replicas run. Its keys are on every one of them before its log begins, and its first replicas are those in
//! force.

use crate::{
    act::Act,
    app::App,
    problem::{Code, Problem},
    tenants,
};
use ledger::{
    ident::Ident,
    journal::{Journal, jetstream},
    keyring::Keyring,
    log::{members::Member, merkle::leaf_hash, replicas::EntryOf},
    replica::{self, Lacks},
    system::By,
    tenant::Tenant,
};
use std::{sync::Arc, time::Duration};

/// Longest wait until a majority has cosigned the genesis, and how often that is looked at.
const SHOWN_WAIT: Duration = Duration::from_secs(30);
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// A tenant that was made.
pub struct Founded {
    /// Its first admin key. Shown once.
    pub key: String,
    /// Its first replicas.
    pub members: Vec<Member>,
    /// Those of them that do not have it yet.
    pub missing: Vec<Lacks>,
}

/// Makes a tenant, or completes one whose making was interrupted before its first API key.
pub async fn found(app: &Arc<App>, name: &Ident, act: Act) -> Result<Founded, Problem> {
    let no_broker = || Problem::new(Code::Conflict, "This server has no broker.");
    let broker = app.broker.clone().ok_or_else(no_broker)?;
    if app.ledger.tenant(name.as_str()).is_none() {
        // Another replica may have begun it.
        app.take_up().await;
    }
    let tenant = match app.ledger.tenant(name.as_str()) {
        Some(tenant) if tenant.has_had_keys() || tenant.is_deleted() => {
            return Err(Problem::new(Code::Conflict, format!("tenant {name} exists already")));
        }
        Some(tenant) => tenant,
        None => begin(app, &broker, name, act.by.clone()).await?,
    };
    let members = tenant.replica().map(|replica| replica.set().members).unwrap_or_default();
    wait_shown((app, &broker), &tenant, &members).await?;
    let key = tenants::first_admin(app, &tenant, act, None).await?;
    let genesis = app.ledger.entry(&tenant, 0)?.unwrap_or_default();
    let genesis = EntryOf { tenant: name.clone(), index: 0, leaf_hash: leaf_hash(&genesis) };
    let missing = replica::not_made((&app.ledger, &broker), &members, &genesis).await;
    Ok(Founded { key, members, missing })
}

/// Puts the genesis into a new journal, once every replica has said that it has the keys, and takes it up here.
async fn begin(
    app: &Arc<App>,
    broker: &jetstream::Connection,
    name: &Ident,
    by: By,
) -> Result<Arc<Tenant>, Problem> {
    let refused = |detail: String| Problem::new(Code::Conflict, detail);
    let members = replica::members_in_force(&app.ledger);
    let members = members.map_err(|why| refused(format!("{why}. No tenant was made.")))?;
    let how = format!(
        "Make them with `countersign tenant make-keys {name}` on one replica, copy the folder {name} in its keys_dir to keys_dir of \
         every other one, and repeat this"
    );
    let keys_dir = &app.config.file.keys_dir;
    if !Keyring::has_files(keys_dir, name) {
        let why = format!("There are no key files of the tenant {name} on this replica. {how}.");
        return Err(refused(why));
    }
    let ring =
        Keyring::open(keys_dir, name).map_err(|error| refused(format!("{error}. {how}.")))?;
    let lacking = replica::without_files((&app.ledger, broker), &members, (name, &ring)).await?;
    if !lacking.is_empty() {
        return Err(refused(format!(
            "Not every replica has the key files of the tenant {name}: {}. {how}. No tenant was made.",
            Lacks::in_words(&lacking)
        )));
    }
    let (journal, identity) = tenants::make_journal(app, name).await?;
    let message = app.ledger.founding_message(name, (&identity, members), by)?;
    let Some(Journal::JetStream(stream)) = journal else {
        return Err(refused("This server has no broker.".into()));
    };
    stream.append(vec![message]).await?;
    app.take_up().await;
    app.ledger.tenant(name.as_str()).ok_or_else(|| {
        let text = "The tenant was begun, and this replica could not take it up: its log says why. Repeat this.";
        Problem::new(Code::OutcomeUnknown, text)
    })
}

/// Has the other replicas take up the tenant, and waits until a majority has cosigned the genesis: before that, nothing can be told.
async fn wait_shown(
    (app, broker): (&App, &jetstream::Connection),
    tenant: &Tenant,
    members: &[Member],
) -> Result<(), Problem> {
    let is_shown = || tenant.published().size > 0 && tenant.no_quorum().is_none();
    let shown = async {
        while !is_shown() {
            replica::announce((&app.ledger, broker), members, &tenant.name).await;
            tokio::time::sleep(SHOWN_EVERY).await;
        }
    };
    let shown = tokio::time::timeout(SHOWN_WAIT, shown).await;
    shown.map_err(|_| {
        Problem::new(
            Code::NoQuorum,
            "The tenant was begun, and no majority of the replicas has cosigned its first entry yet. Repeat the same request.",
        )
    })
}
