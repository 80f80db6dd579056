//! Freezing from an approval's page: for people with a key of role responder, with a confirmation and a reason.

use super::{
    Stop, Top,
    answer::{Form, sent},
    approval::to_page,
    freezable::{choices, targets},
    page,
};
use crate::{act::Why, app::App, routes::freezes};
use approvals::cards::Card;
use askama::Template;
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use ledger::system::{By, freeze::Target};
use serde::Deserialize;
use std::sync::Arc;

/// Longest reason, in characters.
const REASON_MAX: usize = 2_000;

/// What to freeze. Without a reason it asks for one.
#[derive(Deserialize)]
pub struct Wanted {
    token: String,
    scope: String,
    #[serde(default)]
    reason: String,
}

impl Form for Wanted {
    fn token(&self) -> &str {
        &self.token
    }
}

#[derive(Template)]
#[template(path = "freeze.html")]
struct Confirm {
    top: Top,
    card: Card,
    scope: &'static str,
    words: &'static str,
    id: String,
    token: String,
    reason_max: usize,
}

/// `POST /approvals/{id}/freeze`: asks for a reason and a confirmation; with a reason, freezes.
pub async fn freeze(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Stop> {
    let (session, approval, wanted): (_, _, Wanted) = sent(&app, &headers, &id, body).await?;
    let (card, _) = session.worker.cards().card(&approval)?;
    let choices = choices(&app, &session, (&approval, &card))?;
    let chosen = choices.into_iter().find(|(scope, ..)| *scope == wanted.scope);
    let (scope, words, shown) = chosen.ok_or(Stop::NotFound)?;
    let reason = wanted.reason.replace("\r\n", "\n").trim().to_owned();
    if reason.is_empty() {
        let (top, token) = (Top::new(&app, "Freeze?", Some(&session)), session.form_token.clone());
        let confirm = Confirm { top, card, scope, words, id: shown, token, reason_max: REASON_MAX };
        return Ok(page(StatusCode::OK, &confirm));
    }
    let why = Why::try_from(reason).map_err(|_| Stop::Unreadable)?;
    let targets = targets(&session, &approval)?;
    let target = targets.into_iter().find(|(of, _)| of.as_str() == scope);
    let (scope, id_of) = target.ok_or(Stop::NotFound)?;
    let target = Target { scope, id: id_of, producer: None };
    let person = Some(session.person.clone());
    let by = By::Key { key: session.key_id.clone(), person, approval: None };
    freezes::record(&app, &session.tenant, target, (by, &why)).await?;
    Ok(to_page(&app, &id))
}
