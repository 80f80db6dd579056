//! Clicks in Microsoft Teams: `POST /teams/{connection}/messages`, called by the Bot Framework.
//!
//! Order: size, the token and its claims, the card (one that we posted), the person, evidence, the review. A
//! step that fails changes nothing.

mod click;

use crate::{
    app::App,
    problem::{Code, Problem},
};
use approvals::teams::{Refused, inbound};
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use ledger::foreign::harmless;
use std::sync::Arc;

/// Longest conversation id in the log, in characters.
const LOGGED_CHARS_MAX: usize = 256;

/// An activity of the Bot Framework: a click in Teams, or something that asks for nothing
#[utoipa::path(post, path = "/teams/{connection}/messages", tag = "chat",
    params(("connection" = String, Path)),
    request_body(content_type = "application/json", content = Object,
        description = "An activity, with a token of the Bot Framework. At most 256 KiB."),
    responses((status = 200, description = "An answer to a card's button (`statusCode`, `type`, `value`), or nothing"),
        (status = "4XX", body = Problem), (status = 503, description = "Nothing was written, or it is not known")),
    security(()))]
pub async fn messages(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bot = &*app.chats.teams(&name).ok_or_else(Problem::not_found)?;
    let body = app.bodies.read_of_stranger(&headers, body, inbound::BODY_BYTES_MAX).await?;
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let received = bot.receive(authorization, &body).await;
    let activity = received.map_err(|refused| problem(&name, &refused))?;
    let wanted = activity.wanted(bot.directory());
    if wanted == inbound::Wanted::Nothing {
        // An admin finds here the conversation to put into the channels table.
        let conversation: String =
            activity.conversation_id().unwrap_or_default().chars().take(LOGGED_CHARS_MAX).collect();
        let conversation = harmless(&conversation);
        tracing::info!(connection = name, conversation, "Teams: an activity that asks for nothing");
        return Ok(StatusCode::OK.into_response());
    }
    Ok(click::Incoming { app: &app, bot, raw: &body }.answer(wanted).await)
}

fn problem(connection: &str, refused: &Refused) -> Problem {
    tracing::warn!(connection, %refused, "Teams: an activity was refused");
    match refused {
        Refused::Untrusted(why) if why.is_token() => Problem::new(
            Code::Unauthenticated,
            "This address takes activities with a valid token of the Bot Framework.",
        ),
        Refused::Untrusted(_) => Problem::new(
            Code::NotTrusted,
            "This token may not bring this activity to this connection.",
        ),
        Refused::NotActivity => Problem::new(Code::BadRequest, "The body is not an activity."),
        Refused::Unavailable(_) => Problem::new(
            Code::Busy,
            "The keys of the Bot Framework can't be fetched. Nothing was written; try again.",
        ),
    }
}
