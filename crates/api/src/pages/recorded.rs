//! `/together/done`: what was recorded of each of like calls. All of it is read from the log; the address only says which
//! calls they were, and why some were refused.

use super::{
    Stop, Top,
    alike::{Found, TOGETHER_MAX, found, sums},
    answer::{decision, not_recorded},
    approval::to_page,
    outlook, page,
    session::Session,
    view::{self, Moment},
    visitor,
};
use crate::{app::App, query};
use approvals::display::Piece;
use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use decider::{
    approval::{Choice, Event, Refusal},
    words,
};
use ledger::{ident::Ident, time::Nanos};
use serde::Deserialize;
use std::{fmt::Write as _, sync::Arc};

/// What became of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the log.
    Recorded,
    /// The approval refused it.
    Refused(Refusal),
    /// Such a call is answered by itself.
    Alone,
    /// There is no such call, or it is not for this person.
    Gone,
    /// The server could not record it, or does not know whether it did.
    Failed,
}

/// Every refusal of a review.
const REFUSALS: [Refusal; 15] = [
    Refusal::NotFound,
    Refusal::Corrupt,
    Refusal::NotNow,
    Refusal::TooLate,
    Refusal::NotLinked,
    Refusal::NotEligible,
    Refusal::OwnCall,
    Refusal::OwnerUnknown,
    Refusal::AlreadyReviewed,
    Refusal::DigestMismatch,
    Refusal::NotShown,
    Refusal::Stale,
    Refusal::StepUp,
    Refusal::RuleChanged,
    Refusal::PolicyDenies,
];

impl Outcome {
    fn code(self) -> String {
        match self {
            Self::Recorded => String::new(),
            Self::Refused(why) => why.to_string(),
            Self::Alone => "alone".into(),
            Self::Gone => "gone".into(),
            Self::Failed => "failed".into(),
        }
    }

    fn of_code(code: &str) -> Self {
        match code {
            "" => Self::Recorded,
            "alone" => Self::Alone,
            "gone" => Self::Gone,
            code => {
                let refusal = REFUSALS.into_iter().find(|why| why.to_string() == code);
                refusal.map_or(Self::Failed, Self::Refused)
            }
        }
    }
}

/// The address of the page: each id, with a code after `_` unless the answer was recorded.
pub(super) fn address(decision: &str, outcomes: &[(Ident, Outcome)]) -> String {
    let mut text = format!("/together/done?decision={decision}&ids=");
    for (at, (id, outcome)) in outcomes.iter().enumerate() {
        let dot = if at == 0 { "" } else { "." };
        let code = outcome.code();
        let mark = if code.is_empty() { "" } else { "_" };
        let _ = write!(text, "{dot}{id}{mark}{code}");
    }
    text
}

#[derive(Deserialize)]
struct Query {
    decision: String,
    ids: String,
}

/// One call and what was recorded of it.
struct Row {
    id: String,
    amount: Option<String>,
    words: Vec<Piece>,
    agent: String,
    /// Number of the message with the person's answer, its leaf index, and its time.
    entry: Option<(u64, u64, Moment)>,
    /// In words: why not, or what it waits for now.
    text: String,
    tone: &'static str,
}

#[derive(Template)]
#[template(path = "recorded.html")]
struct Recorded {
    top: Top,
    approve: bool,
    /// Answers that are not in the log.
    not: Vec<Row>,
    done: Vec<Row>,
    /// Number of calls that do not exist or are not for this person.
    missing: usize,
    /// Sum of what was recorded.
    sum: Option<String>,
    /// Number of calls that still wait for this person.
    waiting: usize,
}

/// `GET /together/done?decision=…&ids=…`
pub async fn show(
    State(app): State<Arc<App>>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Stop> {
    let session = match visitor(&app, &headers) {
        Err(Stop::SignIn(_)) => return Ok(super::go(&app, "/")),
        session => session?,
    };
    let query: Query = query::lenient(raw.as_deref()).map_err(|_| Stop::Unreadable)?;
    let wanted = decision(&query.decision)?;
    let mut said: Vec<(Ident, Outcome)> = Vec::new();
    for part in query.ids.split('.').take(TOGETHER_MAX) {
        let (id, code) = part.split_once('_').unwrap_or((part, ""));
        said.push((Ident::new(id).map_err(|_| Stop::Unreadable)?, Outcome::of_code(code)));
    }
    if let [(id, Outcome::Recorded)] = &said[..] {
        return Ok(to_page(&app, id.as_str()));
    }
    let ids: Vec<Ident> = said.iter().map(|(id, _)| id.clone()).collect();
    let (found, missing) = found(&session, &ids).await?;
    let now = app.ledger.now();
    let (mut not, mut done, mut money) = (Vec::new(), Vec::new(), Vec::new());
    for known in &found {
        let outcome = said.iter().find(|(id, _)| *id == known.approval.id).map(|(_, said)| *said);
        let row = row(&session, known, (wanted, outcome.unwrap_or(Outcome::Failed)), now);
        if row.entry.is_some() {
            money.push(known.card.told.money.as_ref());
            done.push(row);
        } else {
            not.push(row);
        }
    }
    let money: Option<Vec<_>> = money.into_iter().collect();
    let shown = Recorded {
        top: Top::new(&app, "What was recorded", Some(&session)),
        approve: wanted == Choice::Approve,
        not,
        done,
        missing,
        sum: money.and_then(|money| sums(&money)).map(|(sum, _)| sum),
        waiting: session.worker.lists.waiting_for(&session.person).len(),
    };
    Ok(page(StatusCode::OK, &shown))
}

/// `GET` of an address that only takes forms: redirects to the inbox.
pub async fn back(State(app): State<Arc<App>>) -> Response {
    super::go(&app, "/")
}

/// What the log says about one call.
fn row(
    session: &Session,
    Found { approval, card }: &Found,
    (wanted, outcome): (Choice, Outcome),
    now: Nanos,
) -> Row {
    let mine = approval.steps.iter().find(|step| {
        step.events.iter().any(|event| match event {
            Event::Reviewed { by, decision, .. } => *by == session.person && *decision == wanted,
            _ => false,
        })
    });
    let text = if mine.is_some() {
        let waits = outlook::waits_for(session, approval);
        if waits.is_empty() { view::phase(card).0.into() } else { format!("Waits {waits}.") }
    } else {
        why_not(session, approval, outcome)
    };
    let told = &card.told;
    Row {
        id: approval.id.to_string(),
        words: if told.amount.is_some() { told.rest() } else { told.sentence.pieces.clone() },
        amount: told.amount.clone(),
        agent: view::short(&card.agent, 64),
        entry: mine.map(|step| (step.n, step.index, Moment::new(step.at, now))),
        text,
        tone: if mine.is_some() { view::answer(wanted).1 } else { "bad" },
    }
}

/// Why an answer is not in the log.
fn why_not(session: &Session, approval: &approvals::history::Approval, outcome: Outcome) -> String {
    if let Some(mine) = approval.state.review_by(&session.person) {
        let word = view::answer(mine.decision).0.to_lowercase();
        return format!("You {word} this before. This answer was not recorded.");
    }
    match outcome {
        Outcome::Refused(why) => not_recorded(why, approval, session),
        Outcome::Alone => "It is answered by itself. Your answer was not recorded.".into(),
        Outcome::Gone => words::review_refused(Refusal::NotFound),
        Outcome::Recorded | Outcome::Failed => {
            "No answer of yours is recorded here. Open the call, and answer there.".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back() {
        let all = [Outcome::Recorded, Outcome::Alone, Outcome::Gone, Outcome::Failed];
        for outcome in all.into_iter().chain(REFUSALS.map(Outcome::Refused)) {
            assert_eq!(Outcome::of_code(&outcome.code()), outcome);
        }
        let id = |text: &str| Ident::new(text).unwrap();
        let said =
            [(id("apr-a"), Outcome::Recorded), (id("apr-b"), Outcome::Refused(Refusal::Stale))];
        assert_eq!(address("deny", &said), "/together/done?decision=deny&ids=apr-a.apr-b_stale");
    }
}
