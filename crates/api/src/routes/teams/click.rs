//! A click or a refresh, after its token was verified.

use crate::app::App;
use approvals::{
    cards::Posted,
    history::Approval,
    outbox::review_on_card,
    setup::{Setup, TeamsMember},
    teams::{
        Connection,
        card::{self, Note, View},
        inbound::{self, Click, Clicker, Question, Shown, Wanted},
    },
    worker::{self, Ask, Review, Worker},
};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use decider::{
    approval::{Auth, Method, Refusal, Via},
    words,
};
use ledger::{ident::Ident, journal};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Longest time for a click. Soon after, Teams shows the person a failure.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// What a person reads whose question was recorded.
const ASKED: &str =
    "Your question is recorded. The answer comes to the page, and a reply here says so.";

/// Why a click is not answered with a card.
enum Trouble {
    /// The button is not ours, or is on a message that we did not post.
    NotOurs,
    /// Nothing was changed. It may work later.
    Later(String),
    /// The outcome is unknown.
    Unknown,
}

impl From<worker::Error> for Trouble {
    fn from(error: worker::Error) -> Self {
        use ledger::Error as LedgerError;
        match error {
            worker::Error::NotFound => Self::NotOurs,
            worker::Error::Unknown
            | worker::Error::Ledger(
                LedgerError::Unknown | LedgerError::Journal(journal::Error::Unknown(_)),
            ) => Self::Unknown,
            worker::Error::NotReady(why) => Self::Later(why),
            error => {
                tracing::warn!(%error, "Teams: a click could not be taken");
                Self::Later("The log accepts nothing at the moment.".into())
            }
        }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let (http, status, code, text) = match self {
            Self::NotOurs => {
                let text =
                    "This card is unknown here, or not known yet. Try again, or use the browser.";
                (StatusCode::OK, 400, "BadRequest", text.to_owned())
            }
            Self::Later(why) => {
                let text = format!("{why} Nothing was changed; try again, or use the browser.");
                (StatusCode::SERVICE_UNAVAILABLE, 500, "ServiceUnavailable", text)
            }
            Self::Unknown => {
                let text = "It is unknown whether your answer was recorded. Check the page.";
                (StatusCode::SERVICE_UNAVAILABLE, 500, "OutcomeUnknown", text.to_owned())
            }
        };
        let body = json!({
            "statusCode": status,
            "type": "application/vnd.microsoft.error",
            "value": {"code": code, "message": text},
        });
        (http, Json(body)).into_response()
    }
}

/// An activity from a verified sender.
pub(super) struct Incoming<'a> {
    pub(super) app: &'a App,
    pub(super) bot: &'a Connection,
    /// The raw body, for the evidence.
    pub(super) raw: &'a [u8],
}

impl Incoming<'_> {
    /// Answers a click or a refresh in time.
    pub(super) async fn answer(&self, wanted: Wanted) -> Response {
        let answered = tokio::time::timeout(ANSWER_WAIT, self.try_answer(wanted)).await;
        answered.unwrap_or(Err(Trouble::Unknown)).unwrap_or_else(Trouble::into_response)
    }

    async fn try_answer(&self, wanted: Wanted) -> Result<Response, Trouble> {
        match wanted {
            Wanted::Review(click) => self.review(click).await,
            Wanted::Ask(question) => self.ask(question).await,
            Wanted::Refresh(shown) => {
                let (worker, approval) = self.card_of(&shown).await?;
                Self::show(&worker, &approval, &shown.by, None)
            }
            Wanted::Nothing | Wanted::Unknown => Err(Trouble::NotOurs),
        }
    }

    /// The approval of a card that we posted in this connection at the place of the click.
    async fn card_of(&self, shown: &Shown) -> Result<(Arc<Worker>, Approval), Trouble> {
        let worker = self.app.worker(&self.bot.tenant).ok_or(Trouble::NotOurs)?;
        let ours = |card: &Posted| inbound::is_card(card, &shown.conversation, &shown.message);
        if !approvals::outbox::is_posted(worker.reader(), &shown.approval, &self.bot.name, ours)
            .await?
        {
            return Err(Trouble::NotOurs);
        }
        let approval = worker.reader().get(&shown.approval).await?.ok_or(Trouble::NotOurs)?;
        Ok((worker, approval))
    }

    async fn review(&self, click: Click) -> Result<Response, Trouble> {
        let worker = self.app.worker(&self.bot.tenant).ok_or(Trouble::NotOurs)?;
        let shown = &click.shown;
        let is_here = |card: &Posted| inbound::is_card(card, &shown.conversation, &shown.message);
        let review = |setup: &Setup| Review {
            by: person(setup, &shown.by),
            decision: click.decision,
            via: Via::Teams,
            auth: Auth { method: Method::Teams, at: worker.readiness().clocks.now() },
            displayed_dig: click.digest,
            version: click.version,
            shown_at: click.shown_at,
            comment: click.comment,
            reason: click.reason,
            for_agent: click.for_agent,
            raw: self.kept(),
            signed: None,
            together: None,
        };
        let connection = &self.bot.name;
        let done =
            review_on_card(&worker.commands, &shown.approval, connection, is_here, review).await?;
        let done = done.ok_or(Trouble::NotOurs)?;
        let note = done.refused.map(|why| note(words::review_refused(why), why, &click.shown.by));
        let note = note.as_deref().map(Note::Refused);
        let shown = Self::show(&worker, &done.approval, &click.shown.by, note);
        // The review was recorded or refused, whatever happened to the card.
        shown.map_err(|_| Trouble::Unknown)
    }

    /// Records a question, on a card that we posted. The answer to the press says what became of it.
    async fn ask(&self, question: Question) -> Result<Response, Trouble> {
        let Question { shown, digest, text } = question;
        let (worker, approval) = self.card_of(&shown).await?;
        let refused =
            |why: &str| Self::show(&worker, &approval, &shown.by, Some(Note::Refused(why)));
        let setup = worker.readiness().rules.known()?;
        let Some(by) = person(&setup, &shown.by) else {
            let why = Refusal::NotLinked;
            return refused(&note(words::question_refused(why), why, &shown.by));
        };
        let Some(text) = text else { return refused("Write a question. Nothing was recorded.") };
        let auth = Auth { method: Method::Teams, at: worker.readiness().clocks.now() };
        let (via, raw) = (Via::Teams, self.kept());
        let ask = Ask { by, via, auth, displayed_dig: digest, text, raw };
        let done = worker.commands.ask(&shown.approval, ask).await?;
        let why = done.refused.map(words::question_refused);
        let note = why.as_deref().map_or(Note::Done(ASKED), Note::Refused);
        let shown = Self::show(&worker, &done.approval, &shown.by, Some(note));
        shown.map_err(|_| Trouble::Unknown)
    }

    /// The raw body, as it is kept as evidence. A body that was read as JSON is UTF-8.
    fn kept(&self) -> Option<String> {
        String::from_utf8(self.raw.to_vec()).ok()
    }

    /// The card as this person may see it: all of it only for people who are asked.
    fn show(
        worker: &Worker,
        approval: &Approval,
        by: &Clicker,
        note: Option<Note<'_>>,
    ) -> Result<Response, Trouble> {
        let (card, _) = worker.cards().card(approval)?;
        let setup = worker.readiness().rules.known()?;
        let asked = person(&setup, by).is_some_and(|who| worker.lists.may_review(&who, approval));
        let members: Vec<String> = by.member.clone().into_iter().collect();
        let drawn = if asked {
            card::full(&card, &View { members: &members, buttons: true, note })
        } else {
            card::told(&card, note)
        };
        Ok(Json(answer(&drawn)).into_response())
    }
}

fn answer(card: &Value) -> Value {
    json!({"statusCode": 200, "type": card::CONTENT_TYPE, "value": card})
}

fn person(setup: &Setup, by: &Clicker) -> Option<Ident> {
    let member = TeamsMember { directory: by.directory.clone(), object: by.object.clone() };
    setup.by_teams(&member).map(|person| person.id.clone())
}

/// What a refusal means for this person, and what to do.
fn note(refused: String, why: Refusal, by: &Clicker) -> String {
    if why != Refusal::NotLinked {
        return refused;
    }
    let Clicker { directory, object, .. } = by;
    format!("{refused} Directory {directory}, object {object}.")
}
