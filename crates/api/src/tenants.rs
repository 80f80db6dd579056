//! Makes tenants, and issues their API keys.

mod founding;

pub use founding::{Founded, found};

use crate::{
    act::{self, Act},
    app::App,
    auth,
};
use ledger::{
    Error,
    ident::Ident,
    journal::{Journal, jetstream},
    keyring,
    system::{Access, AccessKey, Role},
    tenant::Tenant,
};
use std::sync::Arc;

/// A new API key, as requested.
pub struct KeyWanted {
    /// Roles of the key.
    pub roles: Vec<Role>,
    /// Producer as which it publishes or redeems.
    pub producer: Option<Ident>,
    /// Person of the key.
    pub person: Option<Ident>,
    /// Label for people.
    pub name: String,
}

/// Makes a tenant: keys, journal, genesis, and its first admin key. The key is returned once.
pub async fn create(
    app: &App,
    name: &Ident,
    act: Act,
    person: Option<Ident>,
) -> Result<String, Error> {
    app.ledger.may_create(name)?;
    let (journal, identity) = make_journal(app, name).await?;
    let by = act.by.clone();
    let (tenant, genesis) = app.ledger.create_tenant(name, journal, &identity, by)?;
    app.start_follower(&tenant);
    let message = app.ledger.genesis_message(&tenant, &genesis)?;
    app.ledger.publish(&tenant, vec![message]).await?;
    app.start_worker(&tenant);
    app.start_watch(&tenant);
    first_admin(app, &tenant, act, person).await
}

/// Completes an interrupted creation of a tenant, or issues another admin key, for somebody with access to
/// the disk.
pub async fn admin_again(
    app: &App,
    tenant: &Arc<Tenant>,
    act: Act,
    person: Option<Ident>,
) -> Result<String, Error> {
    app.start_follower(tenant);
    if tenant.published().size == 0 {
        let genesis = app.ledger.genesis_again(tenant, act.by.clone());
        let message = app.ledger.genesis_message(tenant, &genesis)?;
        app.ledger.publish(tenant, vec![message]).await?;
    }
    first_admin(app, tenant, act, person).await
}

/// Issues an admin key of a tenant without another admin.
pub async fn first_admin(
    app: &App,
    tenant: &Arc<Tenant>,
    act: Act,
    person: Option<Ident>,
) -> Result<String, Error> {
    let roles = vec![Role::Admin, Role::Auditor];
    let wanted = KeyWanted { roles, producer: None, person, name: "first admin".into() };
    issue_key(app, tenant, wanted, act).await
}

/// Makes the journal of a tenant, or opens one that an interrupted creation left empty. Returns its identity; no journal if it is
/// embedded, because it comes with the log.
pub async fn make_journal(app: &App, name: &Ident) -> Result<(Option<Journal>, String), Error> {
    let Some(broker) = &app.broker else {
        let random = keyring::random_name();
        return Ok((None, format!("embedded:{random}")));
    };
    let replicas = app.config.jetstream().map_or(1, |(_, replicas)| replicas);
    let stream = match jetstream::Jetstream::create(broker, name, replicas).await {
        Ok(made) => made,
        // An interrupted creation left this stream, still empty.
        Err(error) => match jetstream::Jetstream::open(broker, name).await {
            Ok(stream) if stream.state().await?.last == 0 => stream,
            _ => return Err(error.into()),
        },
    };
    let identity = stream.state().await?.identity;
    Ok((Some(Journal::JetStream(stream)), identity))
}

/// Makes an API key, records it, and returns its text. The text is never shown again.
pub async fn issue_key(
    app: &App,
    tenant: &Arc<Tenant>,
    wanted: KeyWanted,
    act: Act,
) -> Result<String, Error> {
    let KeyWanted { roles, producer, person, name } = wanted;
    let (key_id, text) = auth::new_key();
    let sha256 = auth::stored_form(&text);
    let reason = act::keep_reason(&app.ledger, tenant, "access", act.why.as_ref()).await?;
    let by = act.by;
    let (passkey, oidc) = (None, None);
    let key =
        AccessKey { key_id, sha256, roles, producer, person, name, by, reason, passkey, oidc };
    act::record_everywhere(&app.ledger, tenant, "access", &Access::Add(key)).await?;
    Ok(text.to_string())
}
