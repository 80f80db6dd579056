//! Sessions: a signed cookie, checked against keys and people at every request.

use super::{Stop, sessions};
use crate::{
    access, act, app::App, auth::Caller, problem::Problem, sessions::recent::COVERED_SECONDS,
};
use approvals::{history::Approval, setup::Setup, worker::Worker};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use data_encoding::BASE64URL_NOPAD;
use decider::approval::{Auth, Method};
use hmac::{Hmac, Mac as _};
use ledger::{
    ident::Ident,
    keyring::random32,
    system::{Access, AccessKey, KeyId, Role},
    tenant::Tenant,
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::{sync::Arc, time::Instant};
use subtle::ConstantTimeEq as _;

/// Length of a session, in seconds.
pub const LIFE_SECONDS: u64 = 8 * 3600;
/// Longest cookie value that is read, in bytes.
const COOKIE_BYTES_MAX: usize = 1024;
/// Longest cookie of what was typed, in bytes: browsers keep 4,096 of name, value and attributes.
pub const TYPED_BYTES_MAX: usize = 3600;
/// Prefixes of signed texts, so that a session can never pass as a form's token.
const SESSION: &[u8] = b"countersign-session-v1\0";
const FORM: &[u8] = b"countersign-form-v1\0";

/// Content of the cookie, beside its signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    tenant: Ident,
    key_id: String,
    person: Ident,
    signed_in_at: Nanos,
    /// When the person signed in at a provider, if that is another time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authenticated_at: Option<Nanos>,
    /// Random value that makes the forms' token different at each sign-in.
    seed: String,
}

/// A person who is signed in. Both key and person are in force now.
pub struct Session {
    /// Tenant of the approvals.
    pub tenant: Arc<Tenant>,
    /// The person.
    pub person: Ident,
    /// The key with which the person signed in.
    pub key_id: KeyId,
    /// True if that key is a passkey: then each answer is signed.
    pub passkey: bool,
    /// Name of the provider at which the person signed in, in the configuration.
    pub provider: Option<String>,
    /// How answers of this session are authenticated, unless a passkey signs them. For a sign-in at a provider, `at` is when the
    /// person signed in there.
    pub auth: Auth,
    /// Token that every form carries.
    pub form_token: String,
    /// The tenant's worker.
    pub worker: Arc<Worker>,
    /// The tenant's rules and people in force.
    pub setup: Arc<Setup>,
}

impl Session {
    /// The person's name.
    pub fn name(&self) -> String {
        self.setup.name_of(&self.person)
    }

    /// True if this person may see an approval: people who are asked, and people who answered.
    pub fn may_see(&self, approval: &Approval) -> bool {
        access::page(&self.worker, &self.person, approval)
    }

    /// Refuses a form that was not made for this session.
    pub fn check_form(&self, token: &str) -> Result<(), Stop> {
        let same = self.form_token.as_bytes().ct_eq(token.as_bytes());
        if same.into() { Ok(()) } else { Err(Stop::Forged) }
    }
}

/// Begins a session: its cookie, as a `Set-Cookie` header. First an entry says who signed in, and how.
pub async fn begin(
    app: &App,
    tenant: &Arc<Tenant>,
    key: &AccessKey,
) -> Result<Option<HeaderValue>, Stop> {
    begin_at(app, tenant, key, (app.ledger.now(), None)).await
}

/// The same, for a person who signed in at a provider at the second time.
pub async fn begin_at(
    app: &App,
    tenant: &Arc<Tenant>,
    key: &AccessKey,
    times: (Nanos, Option<Nanos>),
) -> Result<Option<HeaderValue>, Stop> {
    let recent = &sessions(app).recent;
    if recent.begin(&key.key_id, Instant::now()) {
        let (how, issuer) = key.how();
        let (issuer, seconds) = (issuer.map(str::to_owned), COVERED_SECONDS);
        let by = Caller { key: key.clone() }.by();
        let entry = Access::SignedIn { how, issuer, seconds, by };
        if let Err(error) = act::record(&app.ledger, tenant, "access", &entry).await {
            recent.forget(&key.key_id);
            return Err(Problem::from(error).into());
        }
    }
    Ok(cookie(app, &tenant.name, key, times))
}

fn cookie(
    app: &App,
    tenant: &Ident,
    key: &AccessKey,
    (now, authenticated_at): (Nanos, Option<Nanos>),
) -> Option<HeaderValue> {
    let content = Content {
        tenant: tenant.clone(),
        key_id: key.key_id.to_string(),
        person: key.person.clone()?,
        signed_in_at: now,
        authenticated_at,
        seed: BASE64URL_NOPAD.encode(&random32()[..16]),
    };
    let content = BASE64URL_NOPAD.encode(&serde_json::to_vec(&content).ok()?);
    let mac =
        BASE64URL_NOPAD.encode(&mac(app, SESSION, content.as_bytes()).finalize().into_bytes());
    set_cookie(app, "", &format!("{content}.{mac}"), LIFE_SECONDS)
}

/// Ends the session in the browser, as a `Set-Cookie` header.
pub fn end(app: &App) -> Option<HeaderValue> {
    set_cookie(app, "", "", 0)
}

/// A cookie of these pages, as a `Set-Cookie` header. `what`: the end of its name, empty for the session.
pub fn set_cookie(app: &App, what: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
    let secure = if is_https(app) { "; Secure" } else { "" };
    let name = cookie_name(app, what);
    HeaderValue::from_str(&format!(
        "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    ))
    .ok()
}

fn is_https(app: &App) -> bool {
    app.config.file.public_url.starts_with("https://")
}

/// Name of a cookie, by its end. With https, the browser enforces Secure, Path=/ and no Domain for this name.
pub fn cookie_name(app: &App, what: &str) -> String {
    format!("{}countersign{what}", if is_https(app) { "__Host-" } else { "" })
}

fn mac(app: &App, domain: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(sessions(app).key.as_ref());
    mac.expect("HMAC takes keys of every length").chain_update(domain).chain_update(text)
}

/// The session of a request. `None` if nobody is signed in, or not any more.
pub fn current(app: &App, headers: &HeaderMap) -> Result<Option<Session>, Stop> {
    // Another page of the same host may have set a cookie of this name. Ours has our signature.
    let Some(content) = cookies(headers, &cookie_name(app, "")).find_map(|value| read(app, value))
    else {
        return Ok(None);
    };
    let age = app.ledger.now().0.checked_sub(content.signed_in_at.0);
    if age.is_none_or(|age| age >= LIFE_SECONDS * 1_000_000_000) {
        return Ok(None);
    }
    let Some((number, key)) = app.ledger.access_key(&content.key_id)? else { return Ok(None) };
    let tenant = app.ledger.tenant(content.tenant.as_str()).filter(|t| t.number == number);
    let Some(tenant) = tenant.filter(|_| is_of(&key, &content.person)) else { return Ok(None) };
    let Some((worker, setup)) = with_person(app, &tenant, &content.person)? else {
        return Ok(None);
    };
    let account = key.oidc.as_ref();
    let provider = account.and_then(|at| app.oidc.of_issuer(&tenant.name, &at.issuer));
    // A provider that was removed from the configuration signs nobody in any more.
    if account.is_some() && provider.is_none() {
        return Ok(None);
    }
    let form_token = mac(app, FORM, content.seed.as_bytes()).finalize().into_bytes();
    Ok(Some(Session {
        tenant,
        person: content.person,
        passkey: key.passkey.is_some(),
        provider: provider.map(|(name, _)| name.to_owned()),
        auth: Auth {
            method: match (&key.passkey, &key.oidc) {
                (Some(_), _) => Method::Passkey,
                (None, Some(_)) => Method::Oidc,
                (None, None) => Method::Key,
            },
            at: content.authenticated_at.unwrap_or(content.signed_in_at),
        },
        key_id: key.key_id,
        form_token: BASE64URL_NOPAD.encode(&form_token),
        worker,
        setup,
    }))
}

/// Values of the cookies with this name. Cookies of other applications beside ours may contain any bytes (RFC
/// 9110, 5.5).
pub fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    all(headers, name).filter(|value| value.len() <= COOKIE_BYTES_MAX)
}

/// The same, for what was typed.
pub fn typed<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    all(headers, name).filter(|value| value.len() <= TYPED_BYTES_MAX)
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(move |pair| {
        let (found, value) = std::str::from_utf8(pair).ok()?.trim_ascii().split_once('=')?;
        (found == name).then_some(value)
    })
}

/// True if the key is a reviewer key of this person.
pub fn is_of(key: &AccessKey, person: &Ident) -> bool {
    key.roles == [Role::Reviewer] && key.person.as_ref() == Some(person)
}

/// A tenant's worker, and the rules and people in force.
type InForce = (Arc<Worker>, Arc<Setup>);

/// The worker and setup of a tenant, if the person is in force there.
pub fn with_person(app: &App, tenant: &Tenant, person: &Ident) -> Result<Option<InForce>, Stop> {
    let text = "Approvals are not set up for this tenant.";
    let off = || Stop::Failed(StatusCode::SERVICE_UNAVAILABLE, text.into());
    let worker = app.worker(&tenant.name).ok_or_else(off)?;
    let setup = worker.readiness().rules.known()?;
    let active = setup.active().contains_key(person);
    Ok(active.then_some((worker, setup)))
}

/// Content of a cookie that has our signature.
fn read(app: &App, value: &str) -> Option<Content> {
    let (content, signature) = value.split_once('.')?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    mac(app, SESSION, content.as_bytes()).verify_slice(&signature).ok()?;
    serde_json::from_slice(&BASE64URL_NOPAD.decode(content.as_bytes()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&[u8]], found: &[&str]) {
        let lines = lines.iter().map(|line| HeaderValue::from_bytes(line).unwrap());
        let headers: HeaderMap = lines.map(|line| (header::COOKIE, line)).collect();
        assert_eq!(cookies(&headers, "countersign").collect::<Vec<_>>(), found, "{headers:?}");
    }

    #[test]
    fn neighbours_of_any_bytes_do_not_sign_out() {
        check(&[b"countersign=a.b"], &["a.b"]);
        check(&["city=Z\u{fc}rich; countersign=a.b".as_bytes()], &["a.b"]);
        check(&[b"x=\xff\xfe;countersign=a.b ;\x80; y"], &["a.b"]);
        check(&[b"\xe9=1", b"countersign=1; countersign=2"], &["1", "2"]);
        check(&[b"countersign=\xff; countersign=2"], &["2"]);
        check(&[b"Countersign=1; countersign; xcountersign=3"], &[]);
    }
}
