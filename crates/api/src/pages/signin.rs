//! Signing in with a reviewer key, and signing out.

use super::{
    Stop, Top, address, form, go, kept, page,
    session::{self, Session},
    sessions,
    typed::Typed,
    visitor,
};
use crate::{app::App, auth, query, request::Peer};
use askama::Template;
use axum::{
    Extension,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use ledger::{ident::Ident, system::AccessKey, tenant::Tenant};
use serde::Deserialize;
use std::{sync::Arc, time::Instant};

/// The form. Without `to` it posts to its own address, so it is the same at every address.
#[derive(Template)]
#[template(path = "signin.html")]
struct Form {
    top: Top,
    /// If set, the form posts to `/signin` and leads there.
    to: Option<String>,
    /// True if it is shown again after a failure.
    wrong: bool,
    /// Providers of `OpenID` Connect, and where their buttons lead.
    providers: Providers,
    /// Name that is already filled in.
    username: String,
    /// An answer that was sent without a session: where it is sent again, and what it said.
    carried: Option<(String, Carried)>,
    /// True if what was typed is too long to be kept on the way through a provider.
    too_long: bool,
}

/// The buttons of providers.
struct Providers {
    /// Address before a provider's name.
    way: String,
    /// Name and label of each.
    all: Vec<(String, String)>,
}

impl Providers {
    /// Buttons that lead to `to`; without it, to the page on which they are. `again`: the person signs in at the provider again.
    fn new(app: &App, to: Option<&str>, again: bool) -> Self {
        let way = to.map_or_else(
            || "?oidc=".to_owned(),
            |to| {
                let again = if again { "&again=1" } else { "" };
                format!("{}/signin?next={}{again}&oidc=", app.config.base(), own(to))
            },
        );
        Self { way, all: app.oidc.shown() }
    }
}

/// An answer that was sent without a session, and later the name and key beside it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Carried {
    #[serde(flatten)]
    pub typed: Typed,
    pub username: String,
    password: String,
}

/// The form for somebody who was signed out while answering. What was typed is sent again with the key.
pub(super) fn carrying(app: &App, id: &str, mut carried: Carried, wrong: bool) -> Response {
    let status = if wrong { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    let id = Ident::new(id).map(|id| id.to_string()).unwrap_or_default();
    carried.typed = carried.typed.cut();
    let (kept, too_long) = match kept::cookie(app, &id, &carried.typed) {
        Ok(cookie) => (cookie, false),
        Err(kept::TooLong) => (None, true),
    };
    let username = carried.username.chars().take(64).collect();
    let top = Top::new(app, "Sign in", None);
    let providers = Providers::new(app, Some(&format!("/approvals/{id}")), false);
    let carried = Some((format!("/approvals/{id}/review"), carried));
    let form = Form { top, to: None, wrong, providers, username, carried, too_long };
    with_cookie(page(status, &form), kept)
}

/// The sign-in page. `to` as in [`own`]; `failed`: the name of a failed attempt.
pub fn form_page(app: &App, to: Option<String>, failed: Option<String>) -> Response {
    let status = if failed.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    let (wrong, username) = (failed.is_some(), failed.unwrap_or_default());
    let top = Top::new(app, "Sign in", None);
    let providers = Providers::new(app, to.as_deref(), false);
    page(status, &Form { top, to, wrong, providers, username, carried: None, too_long: false })
}

/// Where a sign-in may lead: to the inbox, to the page of an approval or of its questions, or to that of passkeys. Anything else becomes the
/// inbox.
pub(super) fn own(path: &str) -> String {
    if let Some(rest) = path.strip_prefix("/passkeys") {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let request = rest.strip_prefix("?request=").is_some_and(|text| text.chars().all(plain));
        return if rest.is_empty() || request { path.to_owned() } else { "/".to_owned() };
    }
    let rest = path.strip_prefix("/approvals/").unwrap_or_default();
    let (id, part) = match rest.strip_suffix("/questions") {
        Some(id) => (id, "/questions"),
        None => (rest, ""),
    };
    Ident::new(id).map_or_else(|_| "/".to_owned(), |id| format!("/approvals/{id}{part}"))
}

#[derive(Default, Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

/// `GET /signin?next=…`: signs in again, for a rule that needs a recent sign-in.
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Response {
    let next: Next = query::lenient(raw.as_deref()).unwrap_or_default();
    let who = visitor(&app, &headers).ok().map(|session| session.person.to_string());
    let top = Top::new(&app, "Sign in", None);
    let to = own(&next.next);
    // Who is signed in and comes here needs a newer sign-in.
    let providers = Providers::new(&app, Some(&to), who.is_some());
    let (to, username) = (Some(to), who.unwrap_or_default());
    let form = Form { top, to, wrong: false, providers, username, carried: None, too_long: false };
    page(StatusCode::OK, &form)
}

/// Fields of the form.
#[derive(Deserialize)]
struct Fields {
    username: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `POST /signin`
pub async fn submit(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    sign_in(&app, peer, &headers, body, None).await
}

/// `POST /`, from the form at the inbox's address.
pub async fn at_inbox(
    State(app): State<Arc<App>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    sign_in(&app, peer, &headers, body, Some("/".into())).await
}

/// `POST /approvals/{id}`, from the form at an approval's address.
pub async fn at_approval(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    sign_in(&app, peer, &headers, body, Some(format!("/approvals/{id}"))).await
}

/// Checks name and key. `here`: address of the form, if it was not `/signin`.
async fn sign_in(
    app: &App,
    peer: Option<Extension<Peer>>,
    headers: &HeaderMap,
    body: Body,
    here: Option<String>,
) -> Result<Response, Stop> {
    let fields: Fields = form(app, headers, body).await?;
    let to = here.clone().unwrap_or(fields.next);
    let Some((tenant, key)) = tried(app, peer, headers, (&fields.username, &fields.password))?
    else {
        let to = here.is_none().then(|| own(&to));
        let username = fields.username.trim().chars().take(64).collect();
        return Ok(form_page(app, to, Some(username)));
    };
    let cookie = session::begin(app, &tenant, &key).await?;
    Ok(with_cookie(go(app, &own(&to)), cookie))
}

/// A session and its cookie for an answer that was sent with name and key. `None` if they are wrong.
pub(super) async fn check(
    app: &App,
    peer: Option<Extension<Peer>>,
    headers: &HeaderMap,
    carried: &Carried,
) -> Result<Option<(Session, Option<HeaderValue>)>, Stop> {
    let given = (carried.username.as_str(), carried.password.as_str());
    let Some((tenant, key)) = tried(app, peer, headers, given)? else { return Ok(None) };
    let cookie = session::begin(app, &tenant, &key).await?;
    let mut sent = HeaderMap::new();
    let named = cookie.as_ref().and_then(|cookie| cookie.to_str().ok()?.split(';').next());
    if let Some(Ok(named)) = named.map(HeaderValue::from_str) {
        sent.insert(header::COOKIE, named);
    }
    Ok(session::current(app, &sent)?.map(|session| (session, cookie)))
}

/// The tenant and key for a name and a key, within the limits of guessing. `None` if they are wrong.
fn tried(
    app: &App,
    peer: Option<Extension<Peer>>,
    headers: &HeaderMap,
    (username, password): (&str, &str),
) -> Result<Option<(Arc<Tenant>, AccessKey)>, Stop> {
    let (username, password) = (username.trim(), password.trim());
    let address = address(app, peer.as_deref(), headers);
    // A text that can't be an id belongs to nobody, so the attempt counts for the address only.
    let person = Ident::new(username).ok().map(|_| username);
    let throttle = &sessions(app).throttle;
    if let Some(wait) = throttle.wait(address, person, Instant::now()) {
        return Err(Stop::Wait(wait));
    }
    let Some((tenant, key)) = right(app, username, password)? else {
        throttle.failed(address, person, Instant::now());
        tracing::info!(%address, "a sign-in failed");
        return Ok(None);
    };
    tracing::info!(tenant = %tenant.name, person, key = %key.key_id, "signed in");
    Ok(Some((tenant, key)))
}

/// The tenant and key, if it is this person's reviewer key and both are in force.
fn right(
    app: &App,
    username: &str,
    password: &str,
) -> Result<Option<(Arc<Tenant>, AccessKey)>, Stop> {
    let Some((number, key)) = auth::key_by_text(&app.ledger, password)? else { return Ok(None) };
    let Some(person) = Ident::new(username).ok().filter(|person| session::is_of(&key, person))
    else {
        return Ok(None);
    };
    let tenant = app.ledger.tenants().into_iter().find(|tenant| tenant.number == number);
    let Some(tenant) = tenant else { return Ok(None) };
    let known = session::with_person(app, &tenant, &person)?.is_some();
    Ok(known.then_some((tenant, key)))
}

#[derive(Deserialize)]
struct Out {
    token: String,
}

/// `POST /signout`
pub async fn out(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let Ok(session) = visitor(&app, &headers) else { return Ok(go(&app, "/")) };
    let fields: Out = form(&app, &headers, body).await?;
    session.check_form(&fields.token)?;
    let to = session.provider.map_or("/".to_owned(), |name| format!("/signout?from={name}"));
    Ok(with_cookie(go(&app, &to), session::end(&app)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct From {
    from: String,
}

/// Says that the person is signed out here, and what of the provider.
#[derive(Template)]
#[template(path = "signed_out_here.html")]
struct SignedOutHere {
    top: Top,
    label: String,
    /// Where the person signs out there, too. `None`: the provider has no such address, or does not answer.
    there: Option<String>,
}

/// `GET /signout?from=…`: what follows a sign-out of somebody who came from a provider. Otherwise, the sign-in.
pub async fn after_out(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Response {
    let from: From = query::lenient(raw.as_deref()).unwrap_or_default();
    let provider = app.oidc.named(&from.from).filter(|_| visitor(&app, &headers).is_err());
    let Some(provider) = provider else { return go(&app, "/") };
    let there = provider.sign_out().await.unwrap_or_else(|why| {
        tracing::warn!(provider = provider.label(), %why, "the address for signing out is unknown");
        None
    });
    let out = SignedOutHere {
        top: Top::new(&app, "Signed out", None),
        label: ledger::foreign::harmless(provider.label()),
        there: there.map(String::from),
    };
    page(StatusCode::OK, &out)
}

pub(super) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(next: &str, to: &str) {
        assert_eq!(own(next), to, "{next}");
    }

    #[test]
    fn sign_ins_lead_only_to_our_own_pages() {
        check("/", "/");
        check("/approvals/apr-1", "/approvals/apr-1");
        check("/passkeys", "/passkeys");
        check("/passkeys?request=aZ0-_.x", "/passkeys?request=aZ0-_.x");
        for next in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/approvals/",
            "/passkeys/..",
            "/passkeys?request=a&next=//evil.example",
            "/passkeys?request=%2f",
            "/approvals/a/b",
            "/approvals/../x",
            "/approvals//evil.example",
            "/approvals/%2f",
            "/approvals/a?b",
            "/approvals/a\r\nb",
        ] {
            check(next, "/");
        }
    }
}
