//! Clicks from Slack. Order: size, signature, the card that we posted, the person, the answer; all within
//! Slack's three seconds. Afterwards the outbox updates the card.

use crate::{
    app::App,
    problem::{Code, Problem},
};
use approvals::{
    cards::Posted,
    outbox::review_on_card,
    setup::Setup,
    slack::{self, Act, Click, Clicker, Comment, Connection, Dialog, Interaction, Question, Shown},
    worker::{Ask, Done, Review, Worker},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use decider::{
    approval::{Auth, Choice, DenyReason, Method, Refusal, Via},
    words,
};
use ledger::{ident::Ident, time::Nanos};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Largest interaction, in bytes: a journal message, less the other members of its evidence.
const INTERACTION_BYTES_MAX: usize = 248 << 10;
/// Longest wait until an answer is recorded: Slack allows 3 s for everything.
const REVIEW_WAIT: Duration = Duration::from_millis(1500);

/// A button of a card was clicked, or its dialog was sent
///
/// For Slack, which signs it. No such connection: 404. Not signed by Slack: 401.
#[utoipa::path(post, path = "/slack/{connection}/interactions", tag = "chat",
    params(("connection" = String, Path)),
    request_body(content_type = "application/x-www-form-urlencoded", content = String,
        description = "Slack's `payload`, signed in `X-Slack-Signature`. At most 248 KiB."),
    responses((status = 200, description = "Taken; the person reads the rest in Slack"),
        (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(()))]
pub async fn interactions(
    State(app): State<Arc<App>>,
    Path(connection): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let slack = &*app.chats.slack(&connection).ok_or_else(Problem::not_found)?;
    let bytes = app.bodies.read_of_stranger(&headers, body, INTERACTION_BYTES_MAX).await?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = slack::Headers {
        timestamp: header("x-slack-request-timestamp"),
        signature: header("x-slack-signature"),
    };
    let now = app.ledger.now();
    let interaction = slack::read(slack, signed, &bytes, now).map_err(|why| refused(slack, why))?;
    let worker = app.worker(&slack.tenant).ok_or_else(Problem::not_found)?;
    let raw = String::from_utf8_lossy(&bytes).into_owned();
    let desk = Desk { slack, worker: &worker, now, raw };
    match interaction {
        Interaction::Ignored => Ok(StatusCode::OK.into_response()),
        Interaction::Click(click) => desk.click(&click).await,
        Interaction::Comment(comment) => desk.comment(&comment).await,
        Interaction::Question(question) => desk.question(&question).await,
    }
}

/// A sender that is not Slack gets only the status. The reason is logged for the operator.
fn refused(slack: &Connection, why: slack::Refused) -> Problem {
    tracing::warn!(connection = %slack.name, %why, "a request from Slack was refused");
    match why {
        slack::Refused::Body => Problem::new(Code::BadRequest, "This is not an interaction."),
        slack::Refused::Signature | slack::Refused::App => {
            Problem::new(Code::Unauthenticated, "This needs Slack's signature.")
        }
    }
}

/// One request with Slack's signature.
struct Desk<'a> {
    slack: &'a Connection,
    worker: &'a Worker,
    now: Nanos,
    /// The raw body.
    raw: String,
}

/// A review, from a button or the dialog.
struct Answer<'a> {
    clicker: &'a Clicker,
    shown: &'a Shown,
    at: &'a Posted,
    decision: Choice,
    typed: Typed<'a>,
}

/// What the dialog had. An empty text counts as none.
#[derive(Clone, Copy, Default)]
struct Typed<'a> {
    comment: &'a str,
    reason: Option<DenyReason>,
    for_agent: &'a str,
}

fn of_click(click: &Click, decision: Choice) -> Answer<'_> {
    let Click { clicker, shown, at, .. } = click;
    Answer { clicker, shown, at, decision, typed: Typed::default() }
}

impl Desk<'_> {
    /// A person who clicks always gets a text. If no text can be sent, or nothing was done, Slack gets an
    /// error, which it shows beside the card.
    async fn click(&self, click: &Click) -> Result<Response, Problem> {
        let text = match click.act {
            Act::DenyWithComment => self.open(Dialog::Deny, click).await,
            Act::Ask => self.open(Dialog::Ask, click).await,
            Act::Approve => self.answer(&of_click(click, Choice::Approve)).await,
            Act::Deny => self.answer(&of_click(click, Choice::Deny)).await,
        };
        match text {
            Ok(None) => {}
            Ok(Some(text)) => self.tell(click, &text).await?,
            Err(problem) => {
                let _ = self.tell(click, problem.detail()).await;
                return Err(problem);
            }
        }
        Ok(StatusCode::OK.into_response())
    }

    /// Opens a dialog at once, because the trigger is valid for 3 s. Returns a text for the clicker if that
    /// fails.
    async fn open(&self, dialog: Dialog, click: &Click) -> Result<Option<String>, Problem> {
        if !self.is_our_card(&click.shown.approval, &click.at).await? {
            return Ok(Some(NOT_OUR_CARD.into()));
        }
        let setup = self.worker.readiness().rules.known()?;
        if person(&setup, &click.clicker).is_none() {
            return Ok(Some(not_linked(&click.clicker)));
        }
        match self.slack.open_dialog(dialog, click).await {
            Ok(()) => Ok(None),
            Err(error) => {
                tracing::warn!(connection = %self.slack.name, %error, "a dialog could not be opened");
                let or = match dialog {
                    Dialog::Deny => "use Deny",
                    Dialog::Ask => "ask in the browser",
                };
                Ok(Some(format!(
                    "The dialog did not open. Nothing was recorded. Click again, or {or}."
                )))
            }
        }
    }

    /// The dialog was submitted. An empty answer closes it; a refusal is shown in it.
    async fn comment(&self, comment: &Comment) -> Result<Response, Problem> {
        let answer = Answer {
            clicker: &comment.clicker,
            shown: &comment.shown,
            at: &comment.at,
            decision: Choice::Deny,
            typed: Typed {
                comment: &comment.text,
                reason: comment.reason,
                for_agent: &comment.for_agent,
            },
        };
        Ok(in_dialog(slack::COMMENT_BLOCK, self.answer(&answer).await?))
    }

    /// The dialog of a question was submitted. A refusal is shown in it.
    async fn question(&self, question: &Question) -> Result<Response, Problem> {
        let asked = tokio::time::timeout(REVIEW_WAIT, self.ask(question)).await;
        Ok(in_dialog(slack::QUESTION_BLOCK, asked.unwrap_or_else(|_| Err(too_long()))?))
    }

    /// Gives a question to the worker. Returns the text for the person if it was not recorded; if it was, a reply
    /// under the card says so.
    async fn ask(&self, question: &Question) -> Result<Option<String>, Problem> {
        let Question { clicker, shown, at, text } = question;
        if !self.is_our_card(&shown.approval, at).await? {
            return Ok(Some(NOT_OUR_CARD.into()));
        }
        let setup = self.worker.readiness().rules.known()?;
        let Some(by) = person(&setup, clicker) else { return Ok(Some(not_linked(clicker))) };
        if text.is_empty() {
            return Ok(Some("Write a question. Nothing was recorded.".into()));
        }
        let ask = Ask {
            by,
            via: Via::Slack,
            auth: Auth { method: Method::Slack, at: self.now },
            displayed_dig: shown.digest.clone(),
            text: text.clone(),
            raw: Some(self.raw.clone()),
        };
        let done = self.worker.commands.ask(&shown.approval, ask).await?;
        let page = self.worker.cards().page_of(&shown.approval);
        let refused = done.refused.map(words::question_refused);
        Ok(refused.map(|why| format!("{why} {page}")))
    }

    /// Gives a review to the worker. Returns the text for the clicker, if there is one.
    async fn answer(&self, answer: &Answer<'_>) -> Result<Option<String>, Problem> {
        let Answer { clicker, shown, at, decision, typed } = *answer;
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let review = |setup: &Setup| Review {
            by: person(setup, clicker),
            decision,
            via: Via::Slack,
            auth: Auth { method: Method::Slack, at: self.now },
            displayed_dig: shown.digest.clone(),
            version: shown.version,
            shown_at: shown.shown_at,
            comment: given(typed.comment),
            reason: typed.reason,
            for_agent: given(typed.for_agent),
            raw: Some(self.raw.clone()),
            signed: None,
            together: None,
        };
        let (commands, connection) = (&self.worker.commands, &self.slack.name);
        let is_here = |card: &Posted| card == at;
        let done = review_on_card(commands, &shown.approval, connection, is_here, review);
        match tokio::time::timeout(REVIEW_WAIT, done).await {
            Ok(Ok(Some(done))) => Ok(self.told(clicker, &done)),
            Ok(Ok(None)) => {
                let approval = &shown.approval;
                tracing::warn!(%connection, %approval, "a click on a message that is not one of our cards");
                Ok(Some(NOT_OUR_CARD.into()))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(too_long()),
        }
    }

    /// A button counts only in the message that we posted for this approval.
    async fn is_our_card(&self, approval: &Ident, at: &Posted) -> Result<bool, Problem> {
        let looked = approvals::outbox::is_posted(
            self.worker.reader(),
            approval,
            &self.slack.name,
            |card| card == at,
        );
        match tokio::time::timeout(REVIEW_WAIT, looked).await {
            Ok(found) => Ok(found?),
            Err(_) => Err(Problem::new(Code::Behind, "It took too long. Click again.")),
        }
    }

    async fn tell(&self, click: &Click, text: &str) -> Result<(), Problem> {
        self.slack.tell(click, text).await.map_err(|error| {
            tracing::warn!(connection = %self.slack.name, %error, "the person who clicked could not be answered");
            Problem::new(Code::Busy, "The person who clicked could not be answered.")
        })
    }

    /// The text for the clicker. `None` for a recorded review, because the card itself shows it.
    fn told(&self, clicker: &Clicker, done: &Done) -> Option<String> {
        let id = &done.approval.id;
        let page = self.worker.cards().page_of(id);
        match done.refused {
            None if done.written => None,
            None => Some("Your answer was already recorded.".into()),
            Some(Refusal::NotLinked) => Some(not_linked(clicker)),
            Some(why) => Some(format!("{} {page}", words::review_refused(why))),
        }
    }
}

/// Closes a dialog, or shows a text beside one of its inputs.
fn in_dialog(block: &str, text: Option<String>) -> Response {
    let Some(text) = text else { return StatusCode::OK.into_response() };
    Json(json!({"response_action": "errors", "errors": {block: text}})).into_response()
}

fn too_long() -> Problem {
    Problem::new(
        Code::OutcomeUnknown,
        "It took too long. Click again; an answer is recorded only once.",
    )
}

/// The one person linked to the member who clicked. `None` if there is none, or more than one.
fn person(setup: &Setup, clicker: &Clicker) -> Option<Ident> {
    let mut linked = clicker.members().filter_map(|member| setup.by_slack(member));
    let first = linked.next();
    let same = linked.all(|other| Some(&other.id) == first.map(|person| &person.id));
    first.filter(|_| same).map(|person| person.id.clone())
}

/// Text for a click on another message.
const NOT_OUR_CARD: &str = "This message is not a card of an approval. Nothing was recorded.";

/// Text with the ids that an administrator needs to link somebody.
fn not_linked(clicker: &Clicker) -> String {
    let approvals::setup::SlackMember { workspace, user } = &clicker.member;
    if clicker.is_foreign {
        return format!(
            "Members of your workspace ({workspace}, you are {user}) can't decide here. Nothing was decided."
        );
    }
    format!(
        "You are not linked to a person here, so nothing was decided. Give this to an administrator, for people.toml: \
         slack = {{workspace = \"{workspace}\", user = \"{user}\"}}"
    )
}
