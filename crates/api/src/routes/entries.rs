//! The feed: entries in index order from a cursor (`proto/formats/feed.md`), single entries, their disclosures.

use super::text;
use crate::{
    app::App,
    auth::{self, READERS},
    body::Sent,
    grades::Grades,
    problem::{Code, Problem},
    query,
};
use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use ledger::{
    feed::{self, Question, Turn},
    reader::Published,
    system::Role,
    tenant::Tenant,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fmt::Write as _, sync::Arc, time::Duration};

/// Entries on a page, unless the query says how many.
const LIMIT_DEFAULT: usize = 100;
/// Longest wait for news, in seconds.
const WAIT_SECONDS_MAX: u64 = 30;

/// Which entries.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FeedQuery {
    /// Cursor of an earlier page (`next`).
    after: Option<String>,
    /// Entries on a page, 1 to 1000; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Seconds to wait for an entry when there is none yet, 0 to 30.
    #[param(maximum = 30)]
    wait: Option<u64>,
    /// First `journal.time`, RFC 3339, inclusive.
    since: Option<String>,
    /// Last `journal.time`, RFC 3339, exclusive. With it the feed is bounded: it ends once that time has passed.
    until: Option<String>,
    /// Only entries of this kind: genesis, decision, event, approval, … (`proto/formats/entry.md`).
    kind: Option<String>,
    /// Only decisions of this agent.
    agent: Option<String>,
    /// Only decisions with this verdict: allow, deny, sanitize, `approval_needed`, unspecified.
    verdict: Option<String>,
    /// Only entries of this producer.
    producer: Option<String>,
    /// Only decisions about this tool.
    tool: Option<String>,
}

impl FeedQuery {
    /// What is asked, by name, as it was given.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { since, until, kind, agent, verdict, producer, tool, .. } = self;
        let values = [since, until, kind, agent, verdict, producer, tool];
        feed::NAMES
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// Query of the next page.
    fn next(&self, cursor: &str) -> String {
        let mut pairs = vec![("after", cursor.to_owned())];
        pairs.extend(self.texts().map(|(name, value)| (name, value.to_owned())));
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs.extend(self.wait.map(|wait| ("wait", wait.to_string())));
        serde_urlencoded::to_string(pairs).unwrap_or_default()
    }
}

impl From<feed::Wrong> for Problem {
    fn from(wrong: feed::Wrong) -> Self {
        Self::new(Code::BadRequest, wrong.to_string())
    }
}

/// Entries in index order, never beyond the published checkpoint
#[utoipa::path(get, path = "/v1/tenants/{tenant}/entries", tag = "feed",
    params(("tenant" = String, Path), FeedQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn feed(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, READERS)?;
    let query: FeedQuery = query::strict(raw.as_deref())?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    let wait = query.wait.unwrap_or(0);
    if !(1..=feed::ENTRIES_MAX).contains(&limit) || wait > WAIT_SECONDS_MAX {
        let detail =
            format!("limit: 1 to {}; wait: 0 to {WAIT_SECONDS_MAX} seconds.", feed::ENTRIES_MAX);
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let question = Question::read(query.texts())?;
    let from = query.after.as_deref().map(|cursor| question.position(&tenant.origin, cursor));
    let from = from.transpose()?;
    if let Some(scanned) = from.and_then(|from| from.checked_sub(1)) {
        super::published_with(&app, &tenant, scanned).await?;
    }
    let published = wait_for(&tenant, from.unwrap_or(0), Duration::from_secs(wait)).await;
    let mut memory = app.bodies.page(&tenant.name, feed::PAGE_BYTES_MAX).await?;
    let reader = app.ledger.reader(&tenant, &published);
    let turn = Turn { from, entries: limit, now: app.ledger.now() };
    let mut lines = String::new();
    // The leaf's bytes are JSON already; they stand here verbatim.
    let each = |index, entry: &str| {
        let _ = writeln!(lines, "{{\"index\":{index},\"entry\":{entry}}}");
    };
    // Up to 20,000 entries are read: not on a thread that serves others.
    let page = tokio::task::block_in_place(|| feed::page(&reader, &question, turn, each));
    let begins = |index| question.cursor(&tenant.origin, index);
    let page = page.map_err(|error| Problem::from(error).with_next(begins))?;
    memory.shrink(lines.len());
    let next = (!page.ended).then(|| question.cursor(&tenant.origin, page.scanned.1));
    let mut closing = json!({"next": next, "scanned": page.scanned, "size": page.size});
    let grades = serde_json::to_value(Grades::of(&app, &tenant, &published)).unwrap_or_default();
    if let (Some(closing), Value::Object(grades)) = (closing.as_object_mut(), grades) {
        closing.extend(grades);
    }
    let mut response = text("application/x-ndjson", format!("{lines}{closing}\n"));
    if let Some(next) = next {
        // `base`: the path of `public_url`, before our own.
        let (base, query) = (app.config.base(), query.next(&next));
        let link = format!("<{base}/v1/tenants/{}/entries?{query}>; rel=\"next\"", tenant.name);
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response.map(|body| Body::new(Sent::new(body, memory))))
}

/// The published state, once it holds `index` or the wait is over.
async fn wait_for(tenant: &Tenant, index: u64, wait: Duration) -> Arc<Published> {
    let mut states = tenant.watch();
    let grown = states.wait_for(|published| published.size > index);
    match tokio::time::timeout(wait, grown).await {
        Ok(Ok(published)) => Arc::clone(&published),
        Ok(Err(_)) | Err(_) => tenant.published(),
    }
}

fn index_of(text: &str) -> Result<u64, Problem> {
    text.parse().ok().filter(|n: &u64| n.to_string() == text).ok_or_else(Problem::not_found)
}

/// The bytes of one entry, exactly as hashed
#[utoipa::path(get, path = "/v1/tenants/{tenant}/entries/{index}", tag = "feed",
    params(("tenant" = String, Path), ("index" = u64, Path)),
    responses((status = 200, body = Object), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn entry(
    State(app): State<Arc<App>>,
    Path((tenant, index)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, READERS)?;
    let index = index_of(&index)?;
    let published = super::published_with(&app, &tenant, index).await?;
    let entry = app.ledger.reader(&tenant, &published).entry(index)?;
    Ok(text("application/json", entry.ok_or_else(Problem::not_found)?))
}

/// Range that the reader announces.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadingQuery {
    /// The last index that this key will read in the next ten minutes; one entry then covers all of them.
    through: Option<u64>,
}

/// The payload of an entry, as far as it is not erased: one disclosure per line. An entry first records who reads it
#[utoipa::path(get, path = "/v1/tenants/{tenant}/entries/{index}/disclosures", tag = "feed",
    params(("tenant" = String, Path), ("index" = u64, Path), ReadingQuery),
    responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn disclosures(
    State(app): State<Arc<App>>,
    Path((tenant, index)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Discloser])?;
    let ReadingQuery { through } = query::strict(raw.as_deref())?;
    let index = index_of(&index)?;
    super::published_with(&app, &tenant, index).await?;
    let left = || {
        let published = tenant.published();
        let payload = app.ledger.reader(&tenant, &published).payload(index)?;
        payload.map(|payload| payload.disclosures).ok_or_else(Problem::not_found)
    };
    let mut disclosures = left()?;
    if !disclosures.is_empty() {
        app.readings.note(&app.ledger, &tenant, &caller, index, through).await?;
        // Read again, so that payload that was erased meanwhile is not sent.
        disclosures = left()?;
    }
    let mut body = Vec::new();
    for disclosure in disclosures {
        body.extend_from_slice(&disclosure);
        body.push(b'\n');
    }
    Ok(text("text/plain; charset=utf-8", body))
}
