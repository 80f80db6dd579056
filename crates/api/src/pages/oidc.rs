//! Signing in at a provider of `OpenID` Connect: the way there, and the way back.

use super::{
    Stop, Top, address, go, page,
    session::{self, cookies},
    sessions,
    signin::own,
};
use crate::{
    accounts,
    app::App,
    oidc::{Begun, Failed, Provider, Signed},
    query,
    request::Peer,
    sessions::PROVIDER_SECONDS,
};
use askama::Template;
use axum::{
    Extension,
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ledger::foreign::harmless;
use serde::Deserialize;
use std::{sync::Arc, time::Instant};

/// Query of a link to a provider. It may stand at every page's address.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Link {
    /// Name of the provider.
    oidc: String,
    /// Where the sign-in leads. Without it, to the page of the link.
    next: String,
    /// `1`: the person signs in at the provider again.
    again: String,
}

/// Around every page: a link to a provider leads there.
pub async fn links(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let link: Link = query::lenient(request.uri().query()).unwrap_or_default();
    if request.method() != Method::GET || link.oidc.is_empty() {
        return next.run(request).await;
    }
    let here = request.uri().path().to_owned();
    let peer = request.extensions().get::<Peer>().copied();
    let to = own(if link.next.is_empty() { &here } else { &link.next });
    let begun = begin(&app, (&link.oidc, to, link.again == "1"), (peer, request.headers())).await;
    begun.unwrap_or_else(IntoResponse::into_response)
}

/// Sends the browser to a provider.
async fn begin(
    app: &App,
    (name, to, fresh): (&str, String, bool),
    (peer, headers): (Option<Peer>, &HeaderMap),
) -> Result<Response, Stop> {
    let provider = app.oidc.named(name).ok_or(Stop::NotFound)?;
    let address = address(app, peer.as_ref(), headers);
    if let Some(wait) = sessions(app).throttle.wait(address, None, Instant::now()) {
        return Err(Stop::Wait(wait));
    }
    let states = &sessions(app).states;
    let begun = Begun::begin(states, name, (to, fresh), app.ledger.now());
    let (cookie, guards) = begun.ok_or(Stop::Unreadable)?;
    let to = provider.address(guards, fresh).await.map_err(|why| failed(&provider, &why))?;
    let location = HeaderValue::from_str(to.as_str()).map_err(|_| Stop::NotFound)?;
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    if let Some(cookie) = session::set_cookie(app, &cookie_of(name), &cookie, PROVIDER_SECONDS) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The cookie of a sign-in at a provider: one for each, so that two of them don't meet.
fn cookie_of(provider: &str) -> String {
    format!("-oidc-{provider}")
}

/// What a provider's answer says.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    state: String,
    code: String,
    iss: Option<String>,
    error: String,
}

/// `GET /signin/oidc/{provider}/callback`: the browser comes back.
pub async fn back(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let provider = app.oidc.named(&name).ok_or(Stop::NotFound)?;
    let answer: Answer = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let address = address(&app, peer.as_deref(), &headers);
    let throttle = &sessions(&app).throttle;
    if let Some(wait) = throttle.wait(address, None, Instant::now()) {
        return Err(Stop::Wait(wait));
    }
    let done = signed(&app, (&name, &provider), answer, &headers).await;
    if done.as_ref().is_ok_and(|response| response.status().is_redirection()) {
        return done;
    }
    // A provider that is down is not this person's failure.
    if !matches!(&done, Err(Stop::Failed(status, _)) if status.is_server_error()) {
        throttle.failed(address, None, Instant::now());
        tracing::info!(%address, provider = name, "a sign-in at a provider failed");
    }
    done
}

/// Ends a sign-in: the session, or a page that says why there is none.
async fn signed(
    app: &App,
    (name, provider): (&str, &Arc<Provider>),
    answer: Answer,
    headers: &HeaderMap,
) -> Result<Response, Stop> {
    let now = app.ledger.now();
    let states = &sessions(app).states;
    let cookie = session::cookie_name(app, &cookie_of(name));
    let end = |value| Begun::end(states, name, (value, &answer.state), now);
    let Some((begun, guards)) = cookies(headers, &cookie).find_map(end) else {
        let text = "This sign-in was begun in another browser, was used before, or is older than 15 minutes. Nobody is signed \
                    in. Begin again.";
        return Err(Stop::Failed(StatusCode::BAD_REQUEST, text.into()));
    };
    let to = own(&begun.next);
    if !answer.error.is_empty() {
        let checked = provider.refuse_others(answer.iss).await;
        checked.map_err(|why| failed(provider, &why))?;
        return Err(refused(provider, &answer.error));
    }
    let signed = provider.exchange((begun, guards), (answer.code, answer.iss), now).await;
    let Signed { subject, signed_in_at } = signed.map_err(|why| failed(provider, &why))?;
    let tenant = app.ledger.tenant(provider.tenant().as_str()).ok_or(Stop::NotFound)?;
    let key = accounts::find(app, &tenant, (provider.issuer(), &subject))?;
    let person = key.as_ref().and_then(|key| key.person.clone());
    let in_force = match &person {
        Some(person) => session::with_person(app, &tenant, person)?.is_some(),
        None => false,
    };
    let Some(key) = key.filter(|_| in_force) else {
        tracing::info!(provider = name, linked = ?person, "an account at a provider opens nothing");
        return Ok(unknown(app, provider, (subject, person.map(|person| person.to_string()))));
    };
    tracing::info!(tenant = %tenant.name, ?person, key = %key.key_id, provider = name, "signed in at a provider");
    let mut response = go(app, &to);
    let session = session::begin_at(app, &tenant, &key, (now, Some(signed_in_at))).await?;
    let over = session::set_cookie(app, &cookie_of(name), "", 0);
    for cookie in [session, over].into_iter().flatten() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Why a provider signs nobody in now.
fn failed(provider: &Provider, why: &Failed) -> Stop {
    tracing::warn!(provider = provider.label(), %why, "a sign-in at a provider failed");
    let status = match why {
        Failed::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Failed::Unreachable(_) => StatusCode::BAD_GATEWAY,
        Failed::Refused(_) | Failed::Untrusted(_) => StatusCode::UNAUTHORIZED,
    };
    let next = match why {
        Failed::Busy => "Try again in a minute, or sign in with your reviewer key.",
        Failed::Unreachable(_) => {
            "Sign in with your reviewer key or passkey, or try again later. Your admin finds more in the server's log."
        }
        Failed::Refused(_) | Failed::Untrusted(_) => {
            "Nobody is signed in. Begin again, or ask your admin."
        }
    };
    Stop::Failed(status, format!("{}: {why}. {next}", harmless(provider.label())))
}

/// The provider itself says that nobody signed in. Its description could be anybody's text, so only its code is shown.
fn refused(provider: &Provider, error: &str) -> Stop {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let code: String = error.chars().filter(|c| plain(*c)).take(64).collect();
    let label = harmless(provider.label());
    let text = format!("{label} signed nobody in ({code}). Begin again, or ask your admin.");
    Stop::Failed(StatusCode::UNAUTHORIZED, text)
}

/// An account that opens nothing: what its owner gives the admin.
#[derive(Template)]
#[template(path = "unknown_account.html")]
struct Unknown {
    top: Top,
    label: String,
    tenant: String,
    issuer: String,
    subject: String,
    /// The person to whom it is linked, who is not in force.
    person: Option<String>,
}

fn unknown(
    app: &App,
    provider: &Provider,
    (subject, person): (String, Option<String>),
) -> Response {
    let unknown = Unknown {
        top: Top::new(app, "Account not linked", None),
        label: harmless(provider.label()),
        tenant: provider.tenant().to_string(),
        issuer: provider.issuer().to_owned(),
        subject: harmless(&subject),
        person,
    };
    page(StatusCode::FORBIDDEN, &unknown)
}
