//! Accounts of persons at providers of `OpenID` Connect: putting one in force, and finding whose it is.
//!
//! An account is a key without a text. No entry has its subject: the digest of its key commits to it, and follows from a secret of
//! the installation, so nobody finds an address of mail by trying (P11).

use crate::{
    act::{self, Act},
    app::App,
    problem::{Code, Problem},
};
use data_encoding::BASE64URL_NOPAD;
use ledger::{
    ident::Ident,
    store,
    system::{Access, AccessKey, KeyId, OidcAccount, Role},
    tenant::Tenant,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Most accounts of one person.
pub const ACCOUNTS_MAX: usize = 10;

/// An account to link to a person.
pub struct Wanted {
    /// The person.
    pub person: Ident,
    /// The provider's issuer identifier.
    pub issuer: String,
    /// The subject there.
    pub subject: String,
    /// Label for people.
    pub name: String,
}

impl Wanted {
    /// What people are asked about: the same the second time.
    pub fn params(&self) -> Value {
        let Self { person, issuer, subject, name } = self;
        json!({
            "roles": [Role::Reviewer], "producer": null, "person": person, "name": name,
            "oidc": {"issuer": issuer, "subject": subject},
        })
    }
}

/// The digest of an account. The parts end with NUL, which is in none of them.
fn digest(app: &App, tenant: &Tenant, issuer: &str, subject: &str) -> [u8; 32] {
    let parts = [issuer.as_bytes(), b"\0", subject.as_bytes(), b"\0"];
    app.ledger.keyed_digest("oidc account", tenant.name.as_str(), &parts)
}

/// Puts an account in force. Returns the id of its key.
pub async fn link(
    app: &App,
    tenant: &Arc<Tenant>,
    wanted: &Wanted,
    act: Act,
) -> Result<KeyId, Problem> {
    let Wanted { person, issuer, subject, name } = wanted;
    let digest = digest(app, tenant, issuer, subject);
    let key_id = OidcAccount::key_id(&digest);
    let keys = app.ledger.access_keys(tenant)?;
    if let Some(other) = keys.iter().find(|key| key.key_id == key_id) {
        let whose = other.person.as_ref().map_or("nobody", Ident::as_str);
        let detail = format!(
            "This account is linked to {whose} already: remove key {key_id} first, if it is another person's now."
        );
        return Err(Problem::new(Code::Conflict, detail));
    }
    let of_person =
        keys.iter().filter(|key| key.oidc.is_some() && key.person.as_ref() == Some(person));
    if of_person.count() >= ACCOUNTS_MAX {
        let detail = format!("A person has at most {ACCOUNTS_MAX} accounts; remove one.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let reason = act::keep_reason(&app.ledger, tenant, "access", act.why.as_ref()).await?;
    let key = AccessKey {
        key_id: key_id.clone(),
        sha256: BASE64URL_NOPAD.encode(&digest),
        roles: vec![Role::Reviewer],
        producer: None,
        person: Some(person.clone()),
        name: name.clone(),
        by: act.by,
        reason,
        passkey: None,
        oidc: Some(OidcAccount { issuer: issuer.clone() }),
    };
    act::record_everywhere(&app.ledger, tenant, "access", &Access::Add(key)).await?;
    Ok(key_id)
}

/// The key in force of an account. `None` if it is linked to nobody.
pub fn find(
    app: &App,
    tenant: &Tenant,
    (issuer, subject): (&str, &str),
) -> Result<Option<AccessKey>, store::Error> {
    let digest = digest(app, tenant, issuer, subject);
    let found = app.ledger.access_key(OidcAccount::key_id(&digest).as_str())?;
    let whole = BASE64URL_NOPAD.encode(&digest);
    let is_it = |key: &AccessKey| {
        key.sha256 == whole && key.oidc.as_ref().is_some_and(|account| account.issuer == issuer)
    };
    Ok(found.filter(|(number, key)| *number == tenant.number && is_it(key)).map(|(_, key)| key))
}
