//! `/passkeys`: a person's passkeys. One is requested here, put in force once somebody else approved it, and removed.

use super::{
    Stop, Top, form, go, page, passkey,
    session::{self, Session},
    sessions,
    signin::own,
    visitor,
};
use crate::{
    act::{self, Act},
    app::App,
    auth::Caller,
    passkeys::{self, PASSKEYS_MAX, Request},
    problem::Problem,
    query,
    reviewed::{self, Acted, Permit},
};
use askama::Template;
use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use data_encoding::BASE64URL_NOPAD;
use decider::{
    approval::Phase,
    passkey::{Enrolment, challenge_of_enrolment, relying_party},
    rule::KEY_ISSUE,
};
use ledger::{foreign::harmless, system::Access, system::KeyId};
use serde::Deserialize;
use std::sync::Arc;

/// Longest label, in characters.
const NAME_MAX: usize = 40;

#[derive(Template)]
#[template(path = "passkeys.html")]
struct Page {
    top: Top,
    token: String,
    /// The label and id of each.
    passkeys: Vec<(String, String)>,
    /// What is asked of the device. `None` if there can be no passkeys, or no more.
    enrol: Option<Enrol>,
    pending: Option<Pending>,
    notice: Option<String>,
    name_max: usize,
}

struct Enrol {
    nonce: String,
    challenge: String,
    relying_party: String,
    /// The handle of the person at the device: random, because it may be read there.
    handle: String,
    person: String,
    /// Passkeys that the device must not make again, as JSON.
    known: String,
}

/// A passkey that is not in force yet.
struct Pending {
    request: String,
    name: String,
    /// Id of the approval. `None` if an admin puts it in force.
    approval: Option<String>,
    granted: bool,
    over: bool,
    tenant: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    request: String,
    done: String,
}

/// `GET /passkeys?request=…`
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let asked: Asked = query::lenient(raw.as_deref()).unwrap_or_default();
    let session = match visitor(&app, &headers) {
        Err(Stop::SignIn(_)) => {
            // This page's address takes other forms than the sign-in.
            let next = own(&format!("/passkeys?request={}", asked.request));
            return Ok(go(&app, &format!("/signin?next={next}")));
        }
        session => session?,
    };
    let notice = match asked.done.as_str() {
        "added" => Some("Your passkey is in force. Sign in with it from now on.".to_owned()),
        "removed" => Some("The passkey is removed.".to_owned()),
        _ => None,
    };
    let request = mine(&app, &session, &asked.request);
    shown(&app, &session, request.as_ref(), notice).await
}

/// The request, if it is this person's.
fn mine(app: &App, session: &Session, text: &str) -> Option<Request> {
    let request = Request::open(app, &session.tenant.name, text)?;
    (request.person == session.person).then_some(request)
}

async fn shown(
    app: &App,
    session: &Session,
    request: Option<&Request>,
    notice: Option<String>,
) -> Result<Response, Stop> {
    let keys = passkeys::of_person(app, &session.tenant, &session.person)?;
    let known =
        |request: &Request| keys.iter().any(|key| key.passkey.as_ref() == Some(&request.passkey));
    let pending = match request.filter(|request| !known(request)) {
        None => None,
        Some(request) => Some(pending(app, session, request).await?),
    };
    let ids: Vec<&String> =
        keys.iter().filter_map(|key| Some(&key.passkey.as_ref()?.credential)).collect();
    let origin = passkey::origin(app).filter(|_| keys.len() < PASSKEYS_MAX);
    let enrol = origin.map(|origin| {
        let nonce = sessions(app).nonces.make(&purpose(session), app.ledger.now());
        Enrol {
            challenge: BASE64URL_NOPAD.encode(&challenge_of_enrolment(&nonce)),
            relying_party: relying_party(&origin).to_owned(),
            handle: BASE64URL_NOPAD.encode(ledger::keyring::random32().as_ref()),
            person: session.person.to_string(),
            known: serde_json::to_string(&ids).unwrap_or_default(),
            nonce,
        }
    });
    let view = Page {
        top: Top::new(app, "Passkeys", Some(session)),
        token: session.form_token.clone(),
        passkeys: keys.iter().map(|key| (harmless(&key.name), key.key_id.to_string())).collect(),
        enrol,
        pending,
        notice,
        name_max: NAME_MAX,
    };
    Ok(page(StatusCode::OK, &view))
}

async fn pending(app: &App, session: &Session, request: &Request) -> Result<Pending, Stop> {
    let approval = match &request.approval {
        None => None,
        Some(id) => session.worker.reader().find(id, |_| true).await?,
    };
    let phase = approval.as_ref().map(|approval| approval.state.phase);
    Ok(Pending {
        request: request.seal(app).ok_or(Stop::NotFound)?,
        name: harmless(&request.name),
        granted: phase == Some(Phase::Granted),
        over: phase.is_some_and(|phase| !phase.is_open()),
        approval: approval.map(|approval| approval.id.to_string()),
        tenant: session.tenant.name.to_string(),
    })
}

/// Fields of the form for a new passkey.
#[derive(Deserialize)]
struct New {
    token: String,
    name: String,
    nonce: String,
    /// [`Enrolment`] as JSON.
    made: String,
}

/// `POST /passkeys`: asks somebody else to approve it.
pub async fn request(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let session = visitor(&app, &headers)?;
    let new: New = form(&app, &headers, body).await?;
    session.check_form(&new.token)?;
    let origin = passkey::origin(&app).ok_or(Stop::NotFound)?;
    let made: Enrolment = serde_json::from_str(&new.made).map_err(|_| Stop::Unreadable)?;
    let name = new.name.trim().to_owned();
    if name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(Stop::Unreadable);
    }
    let now = app.ledger.now();
    let passkey = match made.verify(&challenge_of_enrolment(&new.nonce), &origin) {
        Ok(passkey) if sessions(&app).nonces.spend(&new.nonce, &purpose(&session), now) => passkey,
        Ok(_) => return no(&app, &session, "The page was too old. Try again.").await,
        Err(broken) => {
            let text = format!("This passkey can't be used: {broken}. Nothing was recorded.");
            return no(&app, &session, &text).await;
        }
    };
    let (tenant, person) = (session.tenant.name.clone(), session.person.clone());
    let mut request = Request { tenant, person, name, passkey, at: now, approval: None };
    let params = request.params();
    if session.worker.clerk.demands_review(KEY_ISSUE, &params).map_err(Problem::from)? {
        let caller = caller(&app, &session)?;
        let act = (KEY_ISSUE, &params, Some("A passkey for the pages".to_owned()));
        match reviewed::permit(Some(&*session.worker), &caller, act, None).await? {
            Permit::Waits(waiting) => request.approval = waiting.id(),
            // Without an approval, only an admin puts it in force.
            Permit::Now(..) => {}
        }
    }
    let text = request.seal(&app).ok_or(Stop::NotFound)?;
    Ok(go(&app, &format!("/passkeys?request={text}")))
}

#[derive(Deserialize)]
struct Finish {
    token: String,
    request: String,
}

/// `POST /passkeys/finish`: puts in force what people approved.
pub async fn finish(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let session = visitor(&app, &headers)?;
    let fields: Finish = form(&app, &headers, body).await?;
    session.check_form(&fields.token)?;
    let Some(request) = mine(&app, &session, &fields.request) else {
        return no(&app, &session, "The request is older than seven days. Begin again.").await;
    };
    // Nobody puts their own passkey in force alone.
    let Some(approval) = &request.approval else { return Err(Stop::NotFound) };
    let (params, caller) = (request.params(), caller(&app, &session)?);
    let act = (KEY_ISSUE, &params, None);
    let (shared, tenant, request) = (&app, &session.tenant, &request);
    let issue =
        |by| async move { passkeys::enrol(shared, tenant, request, Act { by, why: None }).await };
    match reviewed::act(Some(&*session.worker), &caller, act, Some(approval), issue).await {
        Ok(Acted::Done(_)) => Ok(go(&app, "/passkeys?done=added")),
        Ok(Acted::Waits(_)) => Err(Stop::NotFound),
        Err(problem) => {
            let text = Some(problem.detail().to_owned());
            shown(&app, &session, Some(request), text).await
        }
    }
}

#[derive(Deserialize)]
struct Removed {
    token: String,
    key_id: String,
}

/// `POST /passkeys/remove`: a person removes one of theirs. It is not valid once this answers.
pub async fn remove(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let session = visitor(&app, &headers)?;
    let fields: Removed = form(&app, &headers, body).await?;
    session.check_form(&fields.token)?;
    let key_id = KeyId::new(&fields.key_id).ok_or(Stop::NotFound)?;
    let keys = passkeys::of_person(&app, &session.tenant, &session.person)?;
    if !keys.iter().any(|key| key.key_id == key_id) {
        return Err(Stop::NotFound);
    }
    let by = caller(&app, &session)?.by();
    let removal = Access::Remove { key_id, by, reason: None };
    let done = act::record_everywhere(&app.ledger, &session.tenant, "access", &removal).await;
    done.map_err(Problem::from)?;
    Ok(go(&app, "/passkeys?done=removed"))
}

/// The person as a caller: acts of the pages name the key of the session.
fn caller(app: &App, session: &Session) -> Result<Caller, Stop> {
    let found = app.ledger.access_key(session.key_id.as_str())?;
    let key = found.map(|(_, key)| key).filter(|key| session::is_of(key, &session.person));
    key.map(|key| Caller { key }).ok_or(Stop::NotFound)
}

async fn no(app: &App, session: &Session, text: &str) -> Result<Response, Stop> {
    shown(app, session, None, Some(text.to_owned())).await
}

/// Purpose of the nonce of an enrolment.
fn purpose(session: &Session) -> String {
    format!("enrolment/{}/{}", session.tenant.name, session.person)
}
