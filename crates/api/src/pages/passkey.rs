//! Signing in with a passkey, and answers that a passkey signs.

use super::{
    Stop, address, form, go, origin_of,
    session::{self, Session},
    sessions,
    signin::{own, with_cookie},
};
use crate::{app::App, passkeys, request::Peer};
use approvals::{cards::Card, history::Approval};
use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use data_encoding::BASE64URL_NOPAD;
use decider::{
    approval::{Auth, Choice, Method},
    passkey::{Answer, Assertion, Broken, Signed, challenge_of_sign_in, relying_party},
};
use ledger::{ident::Ident, system::AccessKey, tenant::Tenant};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Instant};

/// Purpose of the nonce of a sign-in.
const SIGN_IN: &str = "sign-in";

/// The origin of our pages, and so of their passkeys. `None` if browsers make none there: without https, or at an
/// address that is a number.
pub(super) fn origin(app: &App) -> Option<String> {
    let origin = origin_of(&app.config.file.public_url);
    let host = relying_party(&origin);
    let named = host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('[');
    (named && (origin.starts_with("https://") || host == "localhost")).then_some(origin)
}

/// What a page asks a device to sign.
#[derive(Serialize)]
pub(super) struct Ask {
    pub nonce: String,
    pub challenge: String,
    pub relying_party: String,
}

/// `GET /signin/passkey`: a challenge. It belongs to nobody yet.
pub async fn begin(State(app): State<Arc<App>>) -> Result<Response, Stop> {
    let origin = origin(&app).ok_or(Stop::NotFound)?;
    let nonce = sessions(&app).nonces.make(SIGN_IN, app.ledger.now());
    let challenge = BASE64URL_NOPAD.encode(&challenge_of_sign_in(&nonce));
    let relying_party = relying_party(&origin).to_owned();
    Ok(Json(Ask { nonce, challenge, relying_party }).into_response())
}

/// Fields of a sign-in.
#[derive(Deserialize)]
struct Fields {
    /// [`Given`] as JSON.
    signed: String,
    #[serde(default)]
    next: String,
}

/// What the page's script sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    nonce: String,
    credential: String,
    assertion: Assertion,
}

/// `POST /signin/passkey`
pub async fn submit(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let fields: Fields = form(&app, &headers, body).await?;
    let given: Given = serde_json::from_str(&fields.signed).map_err(|_| Stop::Unreadable)?;
    let address = address(&app, peer.as_deref(), &headers);
    if let Some(wait) = sessions(&app).throttle.wait(address, None, Instant::now()) {
        return Err(Stop::Wait(wait));
    }
    let Some((tenant, key)) = right(&app, &given)? else {
        sessions(&app).throttle.failed(address, None, Instant::now());
        tracing::info!(%address, "a sign-in with a passkey failed");
        let text = "This passkey is not in force here, or the page was too old. Sign in again, or with your reviewer key.";
        return Err(Stop::Failed(StatusCode::UNAUTHORIZED, text.into()));
    };
    tracing::info!(tenant = %tenant.name, person = ?key.person, key = %key.key_id, "signed in with a passkey");
    let cookie = session::begin(&app, &tenant, &key).await?;
    Ok(with_cookie(go(&app, &own(&fields.next)), cookie))
}

/// The tenant and key of a signature, if both are in force and it is new.
fn right(app: &App, given: &Given) -> Result<Option<(Arc<Tenant>, AccessKey)>, Stop> {
    let Some(origin) = origin(app) else { return Ok(None) };
    for tenant in app.ledger.tenants() {
        let found = passkeys::of_credential(app, &tenant, &given.credential)?;
        let Some((key, passkey)) = found else { continue };
        let Some(person) = key.person.clone().filter(|person| session::is_of(&key, person)) else {
            return Ok(None);
        };
        let challenge = challenge_of_sign_in(&given.nonce);
        let counter = given.assertion.verify(&passkey, &challenge).ok();
        let Some(counter) = counter.filter(|_| passkey.origin == origin) else { return Ok(None) };
        let fresh = sessions(app).nonces.spend(&given.nonce, SIGN_IN, app.ledger.now());
        if !fresh || !passkeys::counts_up(app, &tenant, &key.key_id, counter)? {
            tracing::warn!(tenant = %tenant.name, %person, key = %key.key_id, fresh, "a signature of a passkey came again, or its counter went back");
            return Ok(None);
        }
        let known = session::with_person(app, &tenant, &person)?.is_some();
        return Ok(known.then_some((tenant, key)));
    }
    Ok(None)
}

/// What the confirming page asks a person's device to sign.
pub(super) struct Sign {
    pub challenge: Ask,
    /// Ids of the person's passkeys, as JSON.
    pub credentials: String,
}

impl Sign {
    /// For a session that began with a passkey. `None` for another one: its answers are not signed.
    pub fn of(
        app: &App,
        session: &Session,
        card: &Card,
        (decision, approval): (Choice, &Ident),
    ) -> Result<Option<Self>, Stop> {
        let Some(origin) = origin(app).filter(|_| session.passkey) else { return Ok(None) };
        let nonce = sessions(app).nonces.make(&purpose(session, approval), app.ledger.now());
        let answer = Answer {
            approval_id: approval,
            decision: word(decision),
            digest: &card.digest,
            nonce: &nonce,
            person: &session.person,
            tenant: &session.tenant.name,
            version: card.version,
        };
        let challenge = BASE64URL_NOPAD.encode(&answer.challenge());
        let keys = passkeys::of_person(app, &session.tenant, &session.person)?;
        let ids: Vec<String> =
            keys.into_iter().filter_map(|key| Some(key.passkey?.credential)).collect();
        let credentials = serde_json::to_string(&ids).unwrap_or_default();
        let relying_party = relying_party(&origin).to_owned();
        Ok(Some(Self { challenge: Ask { nonce, challenge, relying_party }, credentials }))
    }
}

/// What an answer says, beside its signature.
pub(super) struct Said<'a> {
    pub decision: Choice,
    pub digest: &'a str,
    pub version: u64,
    /// [`Given`] as JSON, or nothing.
    pub signed: &'a str,
}

/// What authenticates an answer, and the signature if there is one.
pub(super) type Proof = (Auth, Option<Box<Signed>>);

/// How an answer is authenticated: by its signature if the session began with a passkey, else by the session. The text
/// says why it does not count.
pub(super) fn authenticate(
    app: &App,
    session: &Session,
    approval: &Approval,
    said: &Said<'_>,
) -> Result<Result<Proof, String>, Stop> {
    if !session.passkey {
        return Ok(Ok((session.auth, None)));
    }
    let no = |why: &str| Ok(Err(format!("{why} Nothing was recorded.")));
    if said.signed.is_empty() {
        return no("You signed in with a passkey, so it must sign your answer.");
    }
    let given: Given = serde_json::from_str(said.signed).map_err(|_| Stop::Unreadable)?;
    let (tenant, now) = (&session.tenant, app.ledger.now());
    let found = passkeys::of_credential(app, tenant, &given.credential)?;
    let mine = found.filter(|(key, passkey)| {
        session::is_of(key, &session.person) && Some(&passkey.origin) == origin(app).as_ref()
    });
    let Some((key, passkey)) = mine else {
        return no("This passkey is not one of yours that are in force.");
    };
    // An auditor computes the challenge from the whole digest: a part of it must not pass here.
    let requested = approval.state.requested.as_deref().ok_or(Stop::NotFound)?;
    if said.digest != requested.call.digest {
        return no("This is about another call.");
    }
    let answer = Answer {
        approval_id: &approval.id,
        decision: word(said.decision),
        digest: said.digest,
        nonce: &given.nonce,
        person: &session.person,
        tenant: &tenant.name,
        version: said.version,
    };
    let counter = match given.assertion.verify(&passkey, &answer.challenge()) {
        Ok(counter) => counter,
        Err(Broken::NotVerified) => return no("Your device did not verify that it is you."),
        Err(broken) => {
            tracing::warn!(tenant = %tenant.name, person = %session.person, %broken, "a signature of an answer does not count");
            return no("Your passkey signed something else than this answer.");
        }
    };
    if !sessions(app).nonces.spend(&given.nonce, &purpose(session, &approval.id), now) {
        return no("The page was too old, or was sent before.");
    }
    if !passkeys::counts_up(app, tenant, &key.key_id, counter)? {
        tracing::warn!(tenant = %tenant.name, person = %session.person, key = %key.key_id, "the counter of a passkey went back: it may be copied");
        return no("The counter of your passkey went back: it may be copied. Tell your admin.");
    }
    let Some(enrolled) = passkeys::enrolled(app, tenant, &key)? else {
        return no(
            "The entry that put your passkey in force can't be read here any more: enrol it again.",
        );
    };
    let Given { nonce, assertion, .. } = given;
    let signed = Signed { enrolled, version: said.version, nonce, assertion };
    Ok(Ok((Auth { method: Method::Passkey, at: now }, Some(Box::new(signed)))))
}

/// Purpose of the nonce of an answer.
fn purpose(session: &Session, approval: &Ident) -> String {
    format!("answer/{}/{}/{approval}", session.tenant.name, session.person)
}

pub(super) fn word(decision: Choice) -> &'static str {
    match decision {
        Choice::Approve => "approve",
        Choice::Deny => "deny",
    }
}
