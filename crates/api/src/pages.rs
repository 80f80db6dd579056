//! The web pages: an inbox, an approval, one confirmation. Rendered here, and complete without JavaScript.
//!
//! In scope: sign-in and sessions, what a reviewer sees and sends. Out of scope: who may decide what (`decider`), doing
//! it (`approvals`).

mod alike;
mod answer;
mod approval;
mod asking;
mod assets;
mod facts;
mod freezable;
mod freeze;
mod inbox;
mod kept;
mod listing;
mod lists;
mod oidc;
mod outlook;
mod passkey;
mod passkeys;
mod questions;
mod recorded;
mod search;
mod session;
mod signin;
mod together;
mod typed;
mod view;

use crate::{app::App, problem::Problem, query, request::Peer, sessions::Sessions};
use approvals::worker;
use askama::Template;
use assets::{ASSETS, Assets};
use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use ledger::store;
use session::Session;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Largest form, in bytes: a comment of 2,000 characters, each up to 12 bytes when encoded, and the rest.
const FORM_BYTES_MAX: usize = 32 << 10;

/// The routes of all pages.
pub fn router(app: Arc<App>) -> Router {
    let approval = Router::new()
        .route("/", get(approval::show).post(signin::at_approval))
        .route("/changed", get(approval::changed))
        .route("/confirm", get(answer::ask).post(answer::confirm))
        .route("/review", get(approval::back).post(answer::review))
        .route("/revoke", get(approval::back).post(answer::revoke))
        .route("/keep", get(approval::back).post(answer::keep))
        .route("/ask", get(asking::ask).post(asking::put))
        .route("/questions", get(asking::show).post(asking::answer))
        .route("/freeze", get(approval::back).post(freeze::freeze))
        .route("/receipts/{n}", get(approval::receipt));
    let pages = Router::new()
        .route("/", get(inbox::show).post(signin::at_inbox))
        .route("/new", get(inbox::news))
        .route("/together", get(together::ask).post(together::answer))
        .route("/together/confirm", get(recorded::back).post(together::again))
        .route("/together/done", get(recorded::show))
        .route("/signin", get(signin::show).post(signin::submit))
        .route("/signin/passkey", get(passkey::begin).post(passkey::submit))
        .route("/signin/oidc/{provider}/callback", get(oidc::back))
        .route("/passkeys", get(passkeys::show).post(passkeys::request))
        .route("/passkeys/finish", post(passkeys::finish))
        .route("/passkeys/remove", post(passkeys::remove))
        .route("/signout", get(signin::after_out).post(signin::out))
        .nest("/approvals/{id}", approval)
        .method_not_allowed_fallback(|| async { Stop::NotFound })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), oidc::links))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard));
    Router::new().route("/assets/{name}", get(assets::serve)).merge(pages).with_state(app)
}

/// For every page: accepts only our own forms; nothing is cached, framed, sniffed or loaded from elsewhere.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let from = if changes { origin_of_form(&app, request.headers()) } else { FormOf::Ours };
    let mut response = match from {
        FormOf::Ours => next.run(request).await,
        FormOf::OtherAddress => Stop::Elsewhere(app.config.file.public_url.clone()).into_response(),
        FormOf::Stranger => Stop::Forged.into_response(),
    };
    let ready =
        response.headers().contains_key(HARDENED) || response.extensions().get::<Said>().is_some();
    if response.status().is_client_error() && !ready {
        // axum itself answered, because the address can't be decoded.
        response = Stop::NotFound.into_response();
    }
    if let Some(said) = response.extensions_mut().remove::<Said>() {
        response = said.into_page(&app, response);
    }
    response.headers_mut().remove(HARDENED);
    for (name, value) in HEADERS {
        response.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
    }
    response
}

/// The origin of a form.
#[derive(Debug, PartialEq, Eq)]
enum FormOf {
    /// One of our pages.
    Ours,
    /// One of our pages that was opened at another address than `public_url`.
    OtherAddress,
    /// Unknown, or somebody else's page.
    Stranger,
}

/// Determines the origin of a form.
///
/// Browsers send it in `Sec-Fetch-Site`; older ones in `Origin`, which our `no-referrer` turns into `null` if the
/// browser knows the former. One of them must say that the page is ours, and neither may say otherwise.
fn origin_of_form(app: &App, headers: &HeaderMap) -> FormOf {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("?"));
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let (origin, host) = (text(header::ORIGIN), text(header::HOST).unwrap_or_default());
    judge(site, origin, host, &app.config.file.public_url)
}

fn judge(site: Option<&str>, origin: Option<&str>, host: &str, public_url: &str) -> FormOf {
    let ours = origin_of(public_url);
    let origin = origin.filter(|origin| *origin != "null");
    let may = site.is_none_or(|site| site == "same-origin");
    match origin {
        Some(origin) if may && origin == ours => FormOf::Ours,
        // The form was sent to the address at which the page was opened.
        Some(origin)
            if may && ["http", "https"].iter().any(|s| origin == format!("{s}://{host}")) =>
        {
            FormOf::OtherAddress
        }
        None if may && site.is_some() => FormOf::Ours,
        Some(_) | None => FormOf::Stranger,
    }
}

/// Scheme, host and port of a URL, in the form that browsers use for an origin.
fn origin_of(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let usual = if scheme == "https" { ":443" } else { ":80" };
    format!("{scheme}://{}", host.strip_suffix(usual).unwrap_or(&host))
}

/// Marks answers that are pages. Removed before the answer is sent.
const HARDENED: HeaderName = HeaderName::from_static("x-page");

/// Headers of every page.
const HEADERS: [(HeaderName, &str); 9] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action \
         'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// State of the sessions. The routes of the pages exist only with it.
fn sessions(app: &App) -> &Sessions {
    app.sessions.as_ref().expect("the routes of the pages exist only with it")
}

/// The session of the request. If nobody is signed in, the sign-in form, whatever was requested.
fn visitor(app: &App, headers: &HeaderMap) -> Result<Session, Stop> {
    session::current(app, headers)?.ok_or_else(|| Stop::sign_in(app))
}

/// The client's address: that of the connection, or the last one in `X-Forwarded-For`, which the proxy in front
/// appended. Earlier values there are the client's own claim.
fn address(app: &App, peer: Option<&Peer>, headers: &HeaderMap) -> IpAddr {
    let forwarded = || {
        let all = headers.get_all("x-forwarded-for").iter().next_back()?.as_bytes();
        // The bytes before the last comma may be anything.
        let last = std::str::from_utf8(all.rsplit(|byte| *byte == b',').next()?).ok()?.trim();
        // Some proxies append the port.
        last.parse().ok().or_else(|| Some(last.parse::<SocketAddr>().ok()?.ip()))
    };
    let behind_proxy = app.config.file.plaintext_behind_proxy;
    let forwarded = if behind_proxy { forwarded() } else { None };
    forwarded.or(peer.map(|peer| peer.0)).unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

/// Reads the fields of a form.
async fn form<T: serde::de::DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Stop> {
    let bytes = app.bodies.read_of_stranger(headers, body, FORM_BYTES_MAX).await?;
    let text = String::from_utf8(bytes).map_err(|_| Stop::Unreadable)?;
    query::lenient(Some(&text)).map_err(|_| Stop::Unreadable)
}

/// Values that every page needs.
struct Top {
    /// The style sheet, htmx and the icon.
    assets: &'static Assets,
    /// Title of the window.
    title: String,
    /// Path before all of our paths.
    base: String,
    /// The person who is signed in: name, and the token for forms.
    person: Option<(String, String)>,
    /// True if browsers make passkeys at this address.
    passkeys: bool,
}

impl Top {
    fn new(app: &App, title: impl Into<String>, session: Option<&Session>) -> Self {
        let person = session.map(|session| (session.name(), session.form_token.clone()));
        let (base, passkeys) = (app.config.base().to_owned(), passkey::origin(app).is_some());
        Self { assets: &ASSETS, title: title.into(), base, person, passkeys }
    }
}

/// Answers with a page.
fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            let headers = [(header::CONTENT_TYPE, kind), (HARDENED, HeaderValue::from_static(""))];
            (status, headers, text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Replaces a request for news when nobody is signed in any more. The page stays as it is.
#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOut;

/// Status by which htmx shows the content and stops polling.
const STOP_POLLING: u16 = 286;

fn signed_out() -> Response {
    page(StatusCode::from_u16(STOP_POLLING).unwrap_or(StatusCode::OK), &SignedOut)
}

/// Redirects to another page of ours, by GET.
fn go(app: &App, path: &str) -> Response {
    let to = HeaderValue::from_str(&format!("{}{path}", app.config.base()));
    let Ok(to) = to else { return Stop::NotFound.into_response() };
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// A page with only a message.
#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    top: Top,
    said: Said,
}

/// Content of a message. [`guard`] makes the page, because it knows the path before our paths.
#[derive(Clone)]
struct Said {
    heading: &'static str,
    text: String,
}

impl Said {
    /// Makes the page, with status and headers of the answer that carried this.
    fn into_page(self, app: &App, carrier: Response) -> Response {
        let top = Top::new(app, self.heading, None);
        let mut response = page(carrier.status(), &Message { top, said: self });
        response.headers_mut().extend(carrier.into_parts().0.headers);
        response
    }
}

/// Why the requested page is not shown.
enum Stop {
    /// Nobody is signed in: the finished form, the same for every address.
    SignIn(Box<Response>),
    /// Redirect to another page of ours.
    Go(Box<Response>),
    /// It does not exist, or is not for this person. Nobody learns which.
    NotFound,
    /// The form was not sent from a page of this session.
    Forged,
    /// The form was sent from a page at another address than this one, `public_url`.
    Elsewhere(String),
    /// The form can't be read.
    Unreadable,
    /// Too many sign-ins have failed.
    Wait(Duration),
    /// It was not done. The text says why.
    Failed(StatusCode, String),
}

impl Stop {
    fn sign_in(app: &App) -> Self {
        Self::SignIn(Box::new(signin::form_page(app, None, None)))
    }
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Problem::from(error).into()
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem.status(), problem.detail().to_owned())
    }
}

impl From<worker::Error> for Stop {
    fn from(error: worker::Error) -> Self {
        match error {
            worker::Error::NotFound => Self::NotFound,
            error => Problem::from(error).into(),
        }
    }
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        let (status, heading, text) = match self {
            Self::SignIn(ready) | Self::Go(ready) => return *ready,
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "Page not found",
                "There is no such page, or it is not for you.".to_owned(),
            ),
            Self::Forged => (
                StatusCode::FORBIDDEN,
                "Please repeat that",
                "This form was not made for your present sign-in. Nothing was recorded.".to_owned(),
            ),
            Self::Elsewhere(address) => (
                StatusCode::FORBIDDEN,
                "Please use another address",
                format!(
                    "These pages work at one address only: {}/ (public_url). Open it there, and do that again. Nothing was \
                     recorded.",
                    address.trim_end_matches('/')
                ),
            ),
            Self::Unreadable => (
                StatusCode::BAD_REQUEST,
                "Form not readable",
                "A field is missing or too long. Nothing was recorded.".to_owned(),
            ),
            Self::Wait(wait) => {
                let minutes = wait.as_secs().div_ceil(60);
                let text = format!("Too many sign-ins failed. Try again in {minutes} min.");
                let said = Extension(Said { heading: "Please wait", text });
                let seconds = [(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))];
                return (StatusCode::TOO_MANY_REQUESTS, seconds, said).into_response();
            }
            Self::Failed(status, text) => (status, "Not done", text),
        };
        (status, Extension(Said { heading, text })).into_response()
    }
}

#[cfg(test)]
mod tests;
