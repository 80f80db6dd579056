//! Passkeys of persons: requests for them, putting them in force, their counters, the entries that enrolled them.
//!
//! A request is a text that the server signs and does not store. Its person, or an admin, brings it back with the approval.

use crate::{
    act::{self, Act},
    app::App,
    problem::{Code, Problem},
};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac as _};
use ledger::{
    entry::{Kind, View},
    ident::Ident,
    log::merkle::leaf_hash,
    store,
    system::{Access, AccessKey, KeyId, LeafAt, Passkey, Role},
    tenant::Tenant,
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Time for which a request can be approved, in seconds: seven days, as an approval.
const REQUEST_SECONDS: u64 = 7 * 24 * 3600;
/// Longest text of a request, in bytes.
const REQUEST_BYTES_MAX: usize = 8192;
/// Most passkeys of one person.
pub const PASSKEYS_MAX: usize = 10;
/// Prefix of the signed text.
const DOMAIN: &[u8] = b"countersign-passkey-request-v1\0";
/// Name of the rows of counters in `meta`, and what their seal covers.
const COUNTER: &str = "passkey";

/// A person's request for a passkey.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Tenant of the person.
    pub tenant: Ident,
    /// The person.
    pub person: Ident,
    /// Label for people.
    pub name: String,
    /// The passkey.
    pub passkey: Passkey,
    /// When it was made.
    pub at: Nanos,
    /// The approval that people are asked for, where the rules in force say so.
    pub approval: Option<Ident>,
}

impl Request {
    /// The text, with our signature.
    pub fn seal(&self, app: &App) -> Option<String> {
        let content = BASE64URL_NOPAD.encode(&serde_json::to_vec(self).ok()?);
        let mac = mac(app, &content)?.finalize().into_bytes();
        Some(format!("{content}.{}", BASE64URL_NOPAD.encode(&mac)))
    }

    /// Reads a text that this server signed for this tenant, and that is not too old.
    pub fn open(app: &App, tenant: &Ident, text: &str) -> Option<Self> {
        let text = Some(text.trim()).filter(|text| text.len() <= REQUEST_BYTES_MAX)?;
        let (content, signature) = text.split_once('.')?;
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
        mac(app, content)?.verify_slice(&signature).ok()?;
        let content = BASE64URL_NOPAD.decode(content.as_bytes()).ok()?;
        let request: Self = serde_json::from_slice(&content).ok()?;
        let now = app.ledger.now();
        let fresh = request.at <= now && now < request.at.plus_seconds(REQUEST_SECONDS);
        (fresh && request.tenant == *tenant).then_some(request)
    }

    /// What people are asked about: the same the second time.
    pub fn params(&self) -> Value {
        json!({
            "roles": [Role::Reviewer], "producer": null, "person": self.person, "name": self.name,
            "passkey": self.passkey,
        })
    }
}

fn mac(app: &App, content: &str) -> Option<Hmac<Sha256>> {
    let key = &app.sessions.as_ref()?.key;
    let mac = Hmac::<Sha256>::new_from_slice(key.as_ref());
    Some(mac.ok()?.chain_update(DOMAIN).chain_update(content))
}

/// Puts a passkey in force. Returns the id of its key.
pub async fn enrol(
    app: &App,
    tenant: &Arc<Tenant>,
    request: &Request,
    act: Act,
) -> Result<KeyId, Problem> {
    let decoded = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default();
    let passkey = &request.passkey;
    let key_id = Passkey::key_id(&tenant.name, &decoded(&passkey.credential));
    if app.ledger.access_key(key_id.as_str())?.is_some() {
        return Err(Problem::new(Code::Conflict, "This passkey is in force already."));
    }
    if of_person(app, tenant, &request.person)?.len() >= PASSKEYS_MAX {
        let detail = format!("A person has at most {PASSKEYS_MAX} passkeys; remove one.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let reason = act::keep_reason(&app.ledger, tenant, "access", act.why.as_ref()).await?;
    let key = AccessKey {
        key_id: key_id.clone(),
        sha256: BASE64URL_NOPAD.encode(&Sha256::digest(decoded(&passkey.public_key))),
        roles: vec![Role::Reviewer],
        producer: None,
        person: Some(request.person.clone()),
        name: request.name.clone(),
        by: act.by,
        reason,
        passkey: Some(passkey.clone()),
        oidc: None,
    };
    act::record(&app.ledger, tenant, "access", &Access::Add(key)).await?;
    Ok(key_id)
}

/// The passkeys in force of a person.
pub fn of_person(
    app: &App,
    tenant: &Tenant,
    person: &Ident,
) -> Result<Vec<AccessKey>, store::Error> {
    let mut keys = app.ledger.access_keys(tenant)?;
    keys.retain(|key| key.passkey.is_some() && key.person.as_ref() == Some(person));
    Ok(keys)
}

/// The passkey in force with a credential's id.
pub fn of_credential(
    app: &App,
    tenant: &Tenant,
    credential: &str,
) -> Result<Option<(AccessKey, Passkey)>, store::Error> {
    let Ok(id) = BASE64URL_NOPAD.decode(credential.as_bytes()) else { return Ok(None) };
    let key_id = Passkey::key_id(&tenant.name, &id);
    let found = app.ledger.access_key(key_id.as_str())?;
    let key = found.filter(|(number, _)| *number == tenant.number).map(|(_, key)| key);
    Ok(key.and_then(|key| {
        let passkey = key.passkey.clone().filter(|passkey| passkey.credential == credential)?;
        Some((key, passkey))
    }))
}

/// Notes the counter of a device's signature. False if it did not grow: then the device was copied.
pub fn counts_up(
    app: &App,
    tenant: &Tenant,
    key: &KeyId,
    counter: u32,
) -> Result<bool, store::Error> {
    let row = [tenant.number.meta(COUNTER), key.as_str().into()].concat();
    let place = format!("{}/{key}", tenant.name);
    let before = app.ledger.sealed(COUNTER, &place, &row)?;
    let before = before.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    if (before, counter) == (0, 0) {
        return Ok(true);
    }
    if counter <= before {
        return Ok(false);
    }
    app.ledger.put_sealed(COUNTER, &place, row, &counter.to_be_bytes())?;
    Ok(true)
}

/// The entry that put a key in force. Found by walking `prior.system` back from the last leaf, so it is proven.
pub fn enrolled(
    app: &App,
    tenant: &Arc<Tenant>,
    key: &AccessKey,
) -> Result<Option<LeafAt>, store::Error> {
    let corrupt = || store::Error::Corrupt { family: "entries", what: "an entry" };
    let mut next = tenant.published().size.checked_sub(1);
    while let Some(index) = next {
        let entry = app.ledger.entry(tenant, index)?.ok_or_else(corrupt)?;
        let view = View::parse(&entry).ok_or_else(corrupt)?;
        if view.kind == Kind::Access
            && view.text(&["event", "key_id"]) == Some(key.key_id.as_str())
            && let Some(Access::Add(found)) = view.event_as()
        {
            let leaf_hash = leaf_hash(&entry);
            return Ok((found == *key).then_some(LeafAt { index, leaf_hash }));
        }
        next = view.prior.system;
    }
    Ok(None)
}
