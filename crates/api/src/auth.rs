//! Authentication by API keys `cs_<keyid>_<256 random bits>`. They are stored as SHA-256 and compared in
//! constant time.

use crate::problem::{Code, Problem};
use axum::http::{HeaderMap, header};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ledger::{
    Ledger,
    ident::Ident,
    keyring, seal,
    store::{self, LogNumber},
    system::{AccessKey, By, KeyId, Role},
    tenant::Tenant,
};
use sha2::{Digest, Sha256};
use std::{
    path::Path,
    sync::{Arc, RwLock},
    time::Duration,
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Longest key text, in bytes.
const KEY_BYTES_MAX: usize = 128;
/// Shortest metrics key, in bytes.
const METRICS_KEY_BYTES_MIN: usize = 32;
/// `meta` key of the operator key's SHA-256.
pub(crate) const OPERATOR: &[u8] = b"operator";

/// A new key: its id (16 hex digits) and its text.
pub fn new_key() -> (KeyId, Zeroizing<String>) {
    let id = HEXLOWER.encode(&keyring::random32()[..8]);
    let id = KeyId::new(&id).expect("16 hex digits");
    let secret = Zeroizing::new(BASE64URL_NOPAD.encode(keyring::random32().as_ref()));
    let text = Zeroizing::new(format!("cs_{id}_{}", secret.as_str()));
    (id, text)
}

/// The stored form of a key.
pub fn stored_form(text: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(text))
}

/// The key that only reads metrics, from a file that the configuration names.
#[derive(Default)]
pub struct MetricsKey(RwLock<Option<String>>);

impl MetricsKey {
    /// Reads the file. If it is wrong, the previous key stays.
    pub fn read(&self, path: &Path) -> Result<(), String> {
        let text = approvals::secret::read(path).map_err(|error| error.to_string())?;
        if !(METRICS_KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&text.len()) {
            return Err(format!(
                "metrics_key_file: {} must hold {METRICS_KEY_BYTES_MIN} to {KEY_BYTES_MAX} characters, such as those of \
                 `openssl rand -hex 32`",
                path.display()
            ));
        }
        *self.0.write().expect("no holder of the lock panics") = Some(stored_form(&text));
        Ok(())
    }

    /// True if the request brings this key.
    pub fn opens(&self, headers: &HeaderMap) -> bool {
        let kept = self.0.read().expect("no holder of the lock panics");
        let (Some(text), Some(kept)) = (bearer(headers), kept.as_ref()) else { return false };
        stored_form(text).as_bytes().ct_eq(kept.as_bytes()).into()
    }
}

/// A caller with a valid key.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The key, without its secret.
    pub key: AccessKey,
}

/// Time after which a caller gets "not found", counted from the request. So an approval that exists but is not
/// for this caller takes as long as one that does not exist.
pub const NOTHING_AFTER: Duration = Duration::from_millis(5);

/// The roles that may read entries.
pub const READERS: &[Role] = &[Role::Auditor, Role::Exporter, Role::Discloser, Role::Admin];
/// Any role at all.
pub const ANY: &[Role] = &[
    Role::Publisher,
    Role::Enforcer,
    Role::Reviewer,
    Role::Exporter,
    Role::Auditor,
    Role::Discloser,
    Role::Author,
    Role::Responder,
    Role::Admin,
];

impl Caller {
    /// True if the key has one of these roles.
    pub fn has(&self, roles: &[Role]) -> bool {
        self.key.roles.iter().any(|role| roles.contains(role))
    }

    /// The caller, as entries name it.
    pub fn by(&self) -> By {
        By::Key { key: self.key.key_id.clone(), person: self.key.person.clone(), approval: None }
    }

    /// The producer of a publisher or enforcer key.
    pub fn producer(&self) -> Result<&Ident, Problem> {
        let missing = || Problem::new(Code::RoleMissing, "This key names no producer.");
        self.key.producer.as_ref().ok_or_else(missing)
    }
}

/// The bearer key of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && key.len() <= KEY_BYTES_MAX).then_some(key.trim())
}

fn key_id(text: &str) -> Option<&str> {
    let (id, _) = text.strip_prefix("cs_")?.split_once('_')?;
    (id.len() == 16).then_some(id)
}

fn unauthenticated() -> Problem {
    Problem::new(
        Code::Unauthenticated,
        "Send `Authorization: Bearer cs_…` with a key that is in force.",
    )
}

/// The caller of a tenant's route, with at least one of `roles`.
///
/// Without a valid key the answer is 401, whatever the tenant. A valid key of another tenant gets the same
/// 404 as a tenant that does not exist.
pub fn caller(
    ledger: &Ledger,
    headers: &HeaderMap,
    tenant: &str,
    roles: &[Role],
) -> Result<(Arc<Tenant>, Caller), Problem> {
    let (number, caller) = key_holder(ledger, headers)?;
    let tenant = ledger.tenant(tenant).filter(|tenant| tenant.number == number);
    let tenant = tenant.ok_or_else(Problem::not_found)?;
    if caller.has(roles) {
        return Ok((tenant, caller));
    }
    let names: Vec<String> = roles.iter().map(|r| format!("{r:?}").to_lowercase()).collect();
    Err(Problem::new(
        Code::RoleMissing,
        format!("This needs a key with one of: {}.", names.join(", ")),
    ))
}

fn key_holder(ledger: &Ledger, headers: &HeaderMap) -> Result<(LogNumber, Caller), Problem> {
    let text = bearer(headers).ok_or_else(unauthenticated)?;
    let (number, key) = key_by_text(ledger, text)?.ok_or_else(unauthenticated)?;
    Ok((number, Caller { key }))
}

/// The key in force with this text, and its log. `None` if there is none.
pub fn key_by_text(
    ledger: &Ledger,
    text: &str,
) -> Result<Option<(LogNumber, AccessKey)>, store::Error> {
    let id = key_id(text).filter(|_| text.len() <= KEY_BYTES_MAX);
    let found = id.map(|id| ledger.access_key(id)).transpose()?.flatten();
    // Passkeys and accounts at providers have no text.
    let found = found.filter(|(_, key)| key.has_text());
    let right = |key: &AccessKey| stored_form(text).as_bytes().ct_eq(key.sha256.as_bytes());
    Ok(found.filter(|(_, key)| right(key).into()))
}

/// True if the request brings the operator key.
pub fn is_operator(ledger: &Ledger, headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(text) = bearer(headers) else { return Ok(false) };
    let kept = ledger.sealed(seal::OPERATOR, "", OPERATOR)?.unwrap_or_default();
    Ok(stored_form(text).as_bytes().ct_eq(&kept).into())
}

/// Refuses everybody but the operator. Returns the operator as entries name it.
pub fn operator(ledger: &Ledger, headers: &HeaderMap) -> Result<By, Problem> {
    let operator = bearer(headers).and_then(key_id).and_then(KeyId::new);
    match (is_operator(ledger, headers)?, operator) {
        (true, Some(operator)) => Ok(By::Operator { operator }),
        _ => Err(unauthenticated()),
    }
}

/// Makes the operator key, unless there is one. Returns its text once.
pub fn make_operator_key(ledger: &Ledger) -> Result<Option<String>, store::Error> {
    if ledger.sealed(seal::OPERATOR, "", OPERATOR)?.is_some() {
        return Ok(None);
    }
    let (_, text) = new_key();
    let kept = stored_form(&text).into_bytes();
    ledger.put_sealed(seal::OPERATOR, "", OPERATOR.to_vec(), &kept)?;
    Ok(Some(text.to_string()))
}
