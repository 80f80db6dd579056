//! Sinks of a tenant: how they stand, a test, letters, and sending again.

use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    query,
    sinks::{self, Held, Letter, NotSent, Sink},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, RawQuery, State},
    http::HeaderMap,
};
use ledger::{system::Role, tenant::Tenant};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most letters of an answer.
const LETTERS_SHOWN_MAX: usize = 1000;

/// The sinks of a tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SinksStanding {
    /// Each of them, by name.
    sinks: Vec<SinkStanding>,
}

/// How a sink stands. Counters are since the start of the server.
#[derive(Serialize, utoipa::ToSchema)]
struct SinkStanding {
    /// Its name.
    sink: String,
    /// Its kind.
    kind: String,
    /// The form of records.
    format: &'static str,
    /// `delivers`; `retries`: the last attempt failed; `stands_still`: nothing succeeded for `alarm_after_seconds`.
    state: &'static str,
    /// What the receiver's answers show: `acknowledged`, `accepted` or `written`.
    level: &'static str,
    /// Every entry below this leaf index that the filter names was delivered, or is a letter.
    from: u64,
    /// The published size.
    size: u64,
    /// How far it is behind.
    lag: Lag,
    /// Records that were taken.
    sent: u64,
    /// Records that were refused.
    refused: u64,
    /// Letters that wait.
    letters: usize,
    /// The last failure, in words.
    says: Option<String>,
    /// When something was taken last.
    taken_at: Option<String>,
}

/// How far a sink is behind.
#[derive(Serialize, utoipa::ToSchema)]
struct Lag {
    /// Entries that it has not read yet.
    entries: u64,
    /// Seconds since the first of them came.
    seconds: u64,
}

/// Show how the sinks of a tenant stand
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sinks", tag = "operation",
    params(("tenant" = String, Path)),
    responses((status = 200, body = SinksStanding), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn all(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<SinksStanding>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin, Role::Auditor])?;
    let sinks =
        app.sinks.of(&tenant.name).iter().map(|sink| standing(&app, &tenant, sink)).collect();
    Ok(Json(SinksStanding { sinks }))
}

fn standing(app: &App, tenant: &Tenant, sink: &Sink) -> SinkStanding {
    let now = app.ledger.now();
    let (entries, seconds) = sinks::lag(&app.ledger, tenant, sink, now);
    let still = sink.stands_still(now).is_some();
    let figures = sink.figures().clone();
    SinkStanding {
        sink: sink.spec.name.to_string(),
        kind: sink.spec.kind.to_string(),
        format: sink.spec.format.as_str(),
        state: match figures.failing_since {
            _ if still => "stands_still",
            Some(_) => "retries",
            None => "delivers",
        },
        level: sink.level().as_str(),
        from: figures.from,
        size: tenant.published().size,
        lag: Lag { entries, seconds },
        sent: figures.sent,
        refused: figures.refused,
        letters: figures.letters,
        says: figures.says,
        taken_at: figures.taken_at.map(|time| time.to_string()),
    }
}

/// The sink of this name; one of another tenant does not exist.
fn one(app: &App, tenant: &Tenant, name: &str) -> Result<Arc<Sink>, Problem> {
    app.sinks.one(&tenant.name, name).ok_or_else(Problem::not_found)
}

fn held(held: &Held) -> Problem {
    let detail =
        format!("The receiver does not take it: {}. Nothing is lost; try again.", held.why);
    Problem::new(Code::NotTaken, detail)
}

/// Result of a test.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Tested {
    /// What the answer shows: `acknowledged`, `accepted` or `written`.
    level: &'static str,
    /// Milliseconds until it came.
    millis: u64,
}

/// Send a record that says that it is a test, and show what came back
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sinks/{sink}/test", tag = "operation",
    params(("tenant" = String, Path), ("sink" = String, Path)),
    responses((status = 200, body = Tested), (status = "4XX", body = Problem), (status = "5XX", body = Problem)),
    security(("key" = [])))]
pub async fn test(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Tested>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let sink = one(&app, &tenant, &name)?;
    let begun = std::time::Instant::now();
    sinks::test(&app.ledger, &tenant, &sink).await.map_err(|why| held(&why))?;
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(Tested { level: sink.level().as_str(), millis }))
}

/// Which letters.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LettersQuery {
    /// The first leaf index; 0 without it.
    from: Option<u64>,
}

/// Letters of a sink.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Letters {
    /// At most 1000, in index order.
    #[schema(value_type = Vec<Object>)]
    letters: Vec<Refused>,
    /// Where the next ones begin. `null`: these are all.
    next: Option<u64>,
}

/// A record that the receiver refused.
#[derive(Serialize)]
struct Refused {
    /// Leaf index of its entry.
    index: u64,
    #[serde(flatten)]
    letter: Letter,
}

/// Show the records that the receiver of a sink refused, with its words
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sinks/{sink}/letters", tag = "operation",
    params(("tenant" = String, Path), ("sink" = String, Path), LettersQuery),
    responses((status = 200, body = Letters), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn letters(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Letters>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let LettersQuery { from } = query::strict(raw.as_deref())?;
    let sink = one(&app, &tenant, &name)?;
    let page = (from.unwrap_or(0), LETTERS_SHOWN_MAX + 1);
    let mut found = sinks::letters_of(&app.ledger, &tenant, &sink, page)?;
    let next = found.get(LETTERS_SHOWN_MAX).map(|(index, _)| *index);
    found.truncate(LETTERS_SHOWN_MAX);
    let letters = found.into_iter().map(|(index, letter)| Refused { index, letter }).collect();
    Ok(Json(Letters { letters, next }))
}

/// What is to be sent again.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedAgain {
    /// The first leaf index.
    from: u64,
    /// The leaf index after the last one.
    to: u64,
    /// Why: 1 to 2000 characters, stored as erasable evidence. Not with `entry`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
    /// The entry of the answer before, to go on with the same range: nothing is recorded again.
    #[serde(default)]
    entry: Option<u64>,
}

/// What was sent again.
#[derive(Serialize, utoipa::ToSchema)]
pub struct SentAgain {
    /// Records that were taken. They are no letters any more.
    sent: u64,
    /// Records that were refused again.
    refused: u64,
    /// Where the rest of the range begins. `null`: all of it was sent.
    next: Option<u64>,
    /// Leaf index of the entry that says who asked for it.
    entry: u64,
}

/// Send a range of entries again, as far as one request goes
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sinks/{sink}/resend", tag = "operation",
    params(("tenant" = String, Path), ("sink" = String, Path)), request_body = WantedAgain,
    responses((status = 200, body = SentAgain), (status = "4XX", body = Problem), (status = "5XX", body = Problem)),
    security(("key" = [])))]
pub async fn resend(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SentAgain>, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let sink = one(&app, &tenant, &name)?;
    let WantedAgain { from, to, reason, entry } = app.bodies.json(&headers, body).await?;
    let size = tenant.published().size;
    if from >= to || to > size {
        let detail = format!(
            "from and to: from is less than to, and to at most {size}, the size of the log."
        );
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let entry = match (entry, reason) {
        (Some(entry), None)
            if sinks::asked_for(&app.ledger, &tenant, &sink, (entry, from, to))? =>
        {
            entry
        }
        (None, Some(reason)) => {
            let reason = act::keep_reason(&app.ledger, &tenant, "delivery", Some(&reason)).await?;
            let body = sinks::wanted_again(&sink, (from, to), caller.by(), reason);
            act::record(&app.ledger, &tenant, "delivery", &body).await?
        }
        _ => {
            let detail =
                "reason: say why; or entry: the entry of an answer that covers this range.";
            return Err(Problem::new(Code::BadRequest, detail));
        }
    };
    let done = sinks::again(&app.ledger, &tenant, &sink, (from, to)).await;
    let done = done.map_err(|error| match error {
        NotSent::Held(why) => held(&why),
        NotSent::Failed(error) => error.into(),
    })?;
    let next = (done.next < to).then_some(done.next);
    Ok(Json(SentAgain { sent: done.sent, refused: done.refused, next, entry }))
}
