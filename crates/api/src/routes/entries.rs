//! The feed: entries in index order from a cursor (`proto/formats/feed.md`), single entries, their disclosures.

use super::{
    query::{one_of, time},
    request::Sent,
    text,
};
use crate::{app::App, auth::READERS, pages, problem::Problem};
use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use data_encoding::BASE64URL_NOPAD;
use ledger::{
    entry::{Kind, View},
    event::VERDICTS,
    ident::Ident,
    journal::embedded,
    ledger::Ledger,
    log::tile::ENTRY_BYTES_MAX,
    reader::Published,
    store,
    system::Role,
    tenant::Tenant,
    time::Nanos,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{fmt::Write as _, sync::Arc, time::Duration};

/// Entries on a page, unless the query says how many.
const LIMIT_DEFAULT: usize = 100;
/// Most entries on a page.
const LIMIT_MAX: usize = 1000;
/// Most entries that are read for one page.
const SCANNED_MAX: u64 = 20_000;
/// Size at which a page ends, in bytes. The entry that reaches it is the last.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// How far the journal's clock may be behind ours. Beyond it, a bounded feed on a quiet log would end too
/// early.
const CLOCK_MARGIN: Duration = Duration::from_secs(5);
/// First byte of a cursor: the version of its form.
const CURSOR_FORM: u8 = 2;
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

    /// A word that no entry has would give a feed that stays empty for ever, and looks like proof that there
    /// is nothing.
    fn check(&self) -> Result<(), Problem> {
        one_of("kind", self.kind.as_deref(), &Kind::ALL.map(|(_, name)| name))?;
        one_of("verdict", self.verdict.as_deref(), VERDICTS)?;
        if self.producer.as_deref().is_some_and(|name| Ident::new(name).is_err()) {
            let detail = "producer: a name of a-z, 0-9 and -, at most 63 characters.";
            return Err(Problem::new("bad_request", detail));
        }
        Ok(())
    }

    /// Value in a cursor that ties it to its filters and its log.
    fn mark(&self, origin: &str) -> [u8; 8] {
        let Self { since, until, kind, agent, verdict, producer, tool, .. } = self;
        let text = format!("{:?}", (origin, since, until, kind, agent, verdict, producer, tool));
        Sha256::digest(text)[..8].try_into().expect("8 bytes")
    }

    fn cursor(&self, origin: &str, index: u64) -> String {
        let parts = [&[CURSOR_FORM], &index.to_be_bytes()[..], &self.mark(origin)];
        BASE64URL_NOPAD.encode(&parts.concat())
    }

    fn position(&self, origin: &str, cursor: &str) -> Result<u64, Problem> {
        let wrong = || {
            let detail = "after: not a cursor of this tenant's feed with the same filters. Give `next` of the page before \
                          as it is, with the same since, until, kind, agent, verdict, producer and tool.";
            Problem::new("bad_request", detail)
        };
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).map_err(|_| wrong())?;
        let (Some((&[CURSOR_FORM], rest)), 17) = (bytes.split_first_chunk::<1>(), bytes.len())
        else {
            return Err(wrong());
        };
        let (index, mark) = rest.split_at(8);
        if mark == self.mark(origin) {
            Ok(u64::from_be_bytes(index.try_into().map_err(|_| wrong())?))
        } else {
            Err(wrong())
        }
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
    let (tenant, _) = app.caller(&headers, &tenant, READERS)?;
    let query: FeedQuery = super::query::strict(raw.as_deref())?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    let wait = query.wait.unwrap_or(0);
    if !(1..=LIMIT_MAX).contains(&limit) || wait > WAIT_SECONDS_MAX {
        let detail = format!("limit: 1 to {LIMIT_MAX}; wait: 0 to {WAIT_SECONDS_MAX} seconds.");
        return Err(Problem::new("bad_request", detail));
    }
    query.check()?;
    let (since, until) =
        (time("since", query.since.as_deref())?, time("until", query.until.as_deref())?);
    let from = query.after.as_deref().map(|cursor| query.position(&tenant.origin, cursor));
    let from = from.transpose()?;
    if let Some(scanned) = from.and_then(|from| from.checked_sub(1)) {
        super::published_with(&app, &tenant, scanned).await?;
    }
    let published = wait_for(&tenant, from.unwrap_or(0), Duration::from_secs(wait)).await;
    let mut room = app.body_room.page(&tenant.name, PAGE_BYTES_MAX + ENTRY_BYTES_MAX).await?;
    // Up to 20,000 entries are read, so not on a thread that serves others.
    let page = tokio::task::block_in_place(|| {
        page(&app.ledger, &tenant, &published, &query, &Bounds { from, since, until, limit })
    })?;
    room.shrink(page.lines.len());
    let response = page.response(&query, &tenant, pages::base(&app));
    Ok(response.map(|body| Body::new(Sent::new(body, room))))
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
    /// True if the feed is bounded and was read to its end: there is no next page.
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
    // Apply `since` to each page, not only to the first: messages posted between two pages may be older.
    let since = bounds.since.map(|since| reader.first_at(since)).transpose()?;
    let from = bounds.from.or(since).unwrap_or(0);
    let first = from.max(since.unwrap_or(0));
    let end = bounds.until.map(|until| reader.first_at(until)).transpose()?;
    let last = end.unwrap_or(published.size).min(published.size);
    let (mut lines, mut index, mut count) = (String::new(), first, 0);
    while index < last && count < bounds.limit && index - first < SCANNED_MAX {
        let entry = reader.entry(index)?.ok_or_else(Problem::not_found)?;
        let damaged = store::Error::Corrupt { family: "entries", what: "an entry" };
        let entry = String::from_utf8(entry).map_err(|_| damaged)?;
        let wanted = !query.is_filtered()
            || View::parse(entry.as_bytes()).is_some_and(|view| query.matches(&view));
        if wanted {
            // The leaf's bytes are JSON already, so they are copied.
            let _ = writeln!(lines, "{{\"index\":{index},\"entry\":{entry}}}");
            count += 1;
        }
        index += 1;
        if lines.len() > PAGE_BYTES_MAX {
            break;
        }
    }
    // The feed ends once nothing can come before `until`: the log has passed it, or the clock has.
    let settled = Nanos(embedded::now().0.saturating_sub(CLOCK_MARGIN.as_nanos() as u64));
    let passed = last < published.size || bounds.until.is_some_and(|until| until <= settled);
    let ended = end.is_some() && index >= last && passed;
    Ok(Page { lines, scanned: (from, index.max(from)), size: published.size, ended })
}

impl Page {
    /// `base`: the path of `public_url`, before our own.
    fn response(self, query: &FeedQuery, tenant: &Tenant, base: &str) -> Response {
        let next = (!self.ended).then(|| query.cursor(&tenant.origin, self.scanned.1));
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
    /// Query of the next page.
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

/// What else the reader will read.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadingQuery {
    /// The last index that this key will read in the next ten minutes: one entry says so for all of them.
    through: Option<u64>,
}

/// What is left of an entry's payload: one disclosure per line. An entry says first who reads it
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
    let (tenant, caller) = app.caller(&headers, &tenant, &[Role::Discloser])?;
    let ReadingQuery { through } = super::query::strict(raw.as_deref())?;
    let index = index_of(&index)?;
    super::published_with(&app, &tenant, index).await?;
    let left = || {
        let published = tenant.published();
        let payload = app.ledger.reader(&tenant, &published).payload(index)?;
        payload.map(|payload| payload.disclosures).ok_or_else(Problem::not_found)
    };
    let mut disclosures = left()?;
    if !disclosures.is_empty() {
        app.note_reading(&tenant, &caller, index, through).await?;
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
