//! The feed: entries in index order from a cursor (`proto/formats/feed.md`), single entries, their disclosures.

use super::text;
use crate::{app::App, auth::READERS, pages, problem::Problem};
use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use data_encoding::BASE64URL_NOPAD;
use ledger::{
    entry::View, journal::embedded, ledger::Ledger, reader::Published, system::Role,
    tenant::Tenant, time::Nanos,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{fmt::Write as _, sync::Arc, time::Duration};

/// Entries on a page where the query says nothing.
const LIMIT_DEFAULT: usize = 100;
/// Most entries on a page.
const LIMIT_MAX: usize = 1000;
/// Most entries that are looked at for one page.
const SCANNED_MAX: u64 = 20_000;
/// Largest page, in bytes; the entry that reaches it is the last.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// How far the journal's clock may be behind ours before a bounded feed on a quiet log ends too early.
const CLOCK_MARGIN: Duration = Duration::from_secs(5);
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
    /// Only entries of this kind.
    kind: Option<String>,
    /// Only decisions of this agent.
    agent: Option<String>,
    /// Only decisions with this verdict.
    verdict: Option<String>,
    /// Only entries of this producer.
    producer: Option<String>,
    /// Only decisions about this tool.
    tool: Option<String>,
}

impl FeedQuery {
    fn matches(&self, view: &View<'_>) -> bool {
        let fits = |wanted: &Option<String>, path: &[&str]| {
            wanted.as_deref().is_none_or(|wanted| view.text(path) == Some(wanted))
        };
        fits(&self.kind, &["kind"])
            && fits(&self.producer, &["producer"])
            && fits(&self.agent, &["event", "data", "agent", "id"])
            && fits(&self.verdict, &["event", "data", "verdict"])
            && fits(&self.tool, &["event", "data", "tool", "name"])
    }

    fn is_filtered(&self) -> bool {
        let filters = [&self.kind, &self.agent, &self.verdict, &self.producer, &self.tool];
        filters.iter().any(|filter| filter.is_some())
    }

    /// Marks cursors, so that one is not used with another question.
    fn mark(&self) -> [u8; 8] {
        let Self { since, until, kind, agent, verdict, producer, tool, .. } = self;
        let text = format!("{:?}", (since, until, kind, agent, verdict, producer, tool));
        Sha256::digest(text)[..8].try_into().expect("8 bytes")
    }

    fn cursor(&self, index: u64) -> String {
        BASE64URL_NOPAD.encode(&[&[1], &index.to_be_bytes()[..], &self.mark()].concat())
    }

    fn position(&self, cursor: &str) -> Result<u64, Problem> {
        let wrong =
            || Problem::new("bad_request", "after: not a cursor of a feed with the same filters.");
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| wrong())?;
        let (Some((&[1], rest)), true) = (bytes.split_first_chunk::<1>(), bytes.len() == 17) else {
            return Err(wrong());
        };
        let (index, mark) = rest.split_at(8);
        if mark == self.mark() {
            Ok(u64::from_be_bytes(index.try_into().map_err(|_| wrong())?))
        } else {
            Err(wrong())
        }
    }
}

fn time(name: &str, text: Option<&String>) -> Result<Option<Nanos>, Problem> {
    let wrong = || Problem::new("bad_request", format!("{name}: an RFC 3339 time."));
    text.map(|text| Nanos::parse(text).ok_or_else(wrong)).transpose()
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
    let (tenant, _) = app.caller(&headers, &tenant, READERS)?;
    let query: FeedQuery = super::query(raw.as_deref())?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    let wait = query.wait.unwrap_or(0);
    if !(1..=LIMIT_MAX).contains(&limit) || wait > WAIT_SECONDS_MAX {
        let detail = format!("limit: 1 to {LIMIT_MAX}; wait: 0 to {WAIT_SECONDS_MAX} seconds.");
        return Err(Problem::new("bad_request", detail));
    }
    let (since, until) =
        (time("since", query.since.as_ref())?, time("until", query.until.as_ref())?);
    let from = query.after.as_deref().map(|cursor| query.position(cursor)).transpose()?;
    if let Some(scanned) = from.and_then(|from| from.checked_sub(1)) {
        super::published_with(&app, &tenant, scanned).await?;
    }
    let published = wait_for(&tenant, from.unwrap_or(0), Duration::from_secs(wait)).await;
    // Up to 20,000 entries are read: not on a thread that serves others.
    let page = tokio::task::block_in_place(|| {
        page(&app.ledger, &tenant, &published, &query, &Bounds { from, since, until, limit })
    })?;
    Ok(page.response(&query, &tenant, pages::base(&app)))
}

/// The published state, once it holds `index` or the time is over.
async fn wait_for(tenant: &Tenant, index: u64, wait: Duration) -> Arc<Published> {
    let mut states = tenant.watch();
    let grown = states.wait_for(|published| published.size > index);
    match tokio::time::timeout(wait, grown).await {
        Ok(Ok(published)) => Arc::clone(&published),
        Ok(Err(_)) | Err(_) => tenant.published(),
    }
}

struct Bounds {
    from: Option<u64>,
    since: Option<Nanos>,
    until: Option<Nanos>,
    limit: usize,
}

struct Page {
    lines: String,
    scanned: (u64, u64),
    size: u64,
    /// Bounded, and everything was scanned: there is no next page.
    ended: bool,
}

fn page(
    ledger: &Ledger,
    tenant: &Tenant,
    published: &Published,
    query: &FeedQuery,
    bounds: &Bounds,
) -> Result<Page, Problem> {
    let reader = ledger.reader(tenant, published);
    let first = match (bounds.from, bounds.since) {
        (Some(from), _) => from,
        (None, Some(since)) => reader.first_at(since)?,
        (None, None) => 0,
    };
    let end = bounds.until.map(|until| reader.first_at(until)).transpose()?;
    let last = end.unwrap_or(published.size).min(published.size);
    let (mut lines, mut index, mut count) = (String::new(), first, 0);
    while index < last && count < bounds.limit && index - first < SCANNED_MAX {
        let entry = reader.entry(index)?.ok_or_else(Problem::not_found)?;
        let entry = String::from_utf8(entry)
            .map_err(|_| Problem::new("internal", "An entry is not readable; run fsck."))?;
        let wanted = !query.is_filtered()
            || View::parse(entry.as_bytes()).is_some_and(|view| query.matches(&view));
        if wanted {
            // The leaf's bytes are JSON already; they stand here verbatim.
            let _ = writeln!(lines, "{{\"index\":{index},\"entry\":{entry}}}");
            count += 1;
        }
        index += 1;
        if lines.len() > PAGE_BYTES_MAX {
            break;
        }
    }
    // The end is where nothing can come before `until` any more: the log has passed it, or the clock has.
    let settled = Nanos(embedded::now().0.saturating_sub(CLOCK_MARGIN.as_nanos() as u64));
    let passed = last < published.size || bounds.until.is_some_and(|until| until <= settled);
    let ended = end.is_some() && index >= last && passed;
    Ok(Page { lines, scanned: (first, index), size: published.size, ended })
}

impl Page {
    /// `base`: the path of `public_url`, before our own.
    fn response(self, query: &FeedQuery, tenant: &Tenant, base: &str) -> Response {
        let next = (!self.ended).then(|| query.cursor(self.scanned.1));
        let closing = serde_json::json!({
            "next": next, "scanned": [self.scanned.0, self.scanned.1], "size": self.size,
        });
        let mut response = text("application/x-ndjson", format!("{}{closing}\n", self.lines));
        if let Some(next) = next {
            let link = format!(
                "<{base}/v1/tenants/{}/entries?{}>; rel=\"next\"",
                tenant.name,
                query.next(&next)
            );
            if let Ok(link) = HeaderValue::from_str(&link) {
                response.headers_mut().insert(header::LINK, link);
            }
        }
        response
    }
}

impl FeedQuery {
    /// The query of the next page.
    fn next(&self, cursor: &str) -> String {
        let mut parts = vec![format!("after={cursor}")];
        let texts = [
            ("since", &self.since),
            ("until", &self.until),
            ("kind", &self.kind),
            ("agent", &self.agent),
            ("verdict", &self.verdict),
            ("producer", &self.producer),
            ("tool", &self.tool),
        ];
        for (name, value) in texts {
            parts.extend(value.as_ref().map(|value| format!("{name}={}", percent(value))));
        }
        parts.extend(self.limit.map(|limit| format!("limit={limit}")));
        parts.extend(self.wait.map(|wait| format!("wait={wait}")));
        parts.join("&")
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
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
    let (tenant, _) = app.caller(&headers, &tenant, READERS)?;
    let index = index_of(&index)?;
    let published = super::published_with(&app, &tenant, index).await?;
    let entry = app.ledger.reader(&tenant, &published).entry(index)?;
    Ok(text("application/json", entry.ok_or_else(Problem::not_found)?))
}

/// What is left of an entry's payload: one disclosure per line
#[utoipa::path(get, path = "/v1/tenants/{tenant}/entries/{index}/disclosures", tag = "feed",
    params(("tenant" = String, Path), ("index" = u64, Path)),
    responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn disclosures(
    State(app): State<Arc<App>>,
    Path((tenant, index)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, _) = app.caller(&headers, &tenant, &[Role::Discloser])?;
    let index = index_of(&index)?;
    let published = super::published_with(&app, &tenant, index).await?;
    let payload = app.ledger.reader(&tenant, &published).payload(index)?;
    let payload = payload.ok_or_else(Problem::not_found)?;
    let mut body = Vec::new();
    for disclosure in payload.disclosures {
        body.extend_from_slice(&disclosure);
        body.push(b'\n');
    }
    Ok(text("text/plain; charset=utf-8", body))
}
