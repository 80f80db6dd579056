//! Lists of approvals in pages. A page's cursor stays usable when its approval has ended.

use super::{Asking, View};
use crate::{
    access,
    app::App,
    problem::{Code, Problem},
    query,
};
use approvals::{
    history::Approval,
    worker::{Brief, over_since},
};
use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::HeaderMap,
};
use ledger::{ident::Ident, time::Nanos};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, sync::Arc};

/// Most approvals on a page.
const PAGE_MAX: usize = 200;
/// Approvals on a page, unless the query says how many.
const PAGE: usize = 50;

/// Approvals that a list has.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Which {
    Pending,
    Open,
    Recent,
}

/// Query of a list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// `pending` (people are asked), `open` (not over) or `recent` (ended lately, at most 1000 are known); `open`.
    state: Option<String>,
    /// 1 to 200; 50.
    limit: Option<usize>,
    /// The `next` of the page before, of a list with the same `state`.
    after: Option<String>,
}

/// One page of approvals.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Page {
    /// By approval deadline; recent ones: the last one first.
    approvals: Vec<View>,
    /// Value for `after`; null if there are no more.
    next: Option<String>,
}

/// A place in a list. The order is fixed, whatever approvals come and go.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Deadline(Nanos, Ident),
    Ended(Reverse<Nanos>, Ident),
}

/// List the approvals that the key may see
#[utoipa::path(get, path = "/v1/tenants/{tenant}/approvals", tag = "approvals",
    params(("tenant" = String, Path), ListQuery),
    responses((status = 200, body = Page), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn list(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Page>, Problem> {
    let asking = Asking::new(&app, &headers, &tenant)?;
    let query: ListQuery = query::strict(raw.as_deref())?;
    let which = which(query.state.as_deref())?;
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::new(Code::BadRequest, format!("limit: 1 to {PAGE_MAX}.")));
    }
    let after = match &query.after {
        None => None,
        Some(cursor) => Some(asking.place_of(which, cursor).await?),
    };
    let all = match which {
        Which::Recent => asking.worker.lists.recent(),
        Which::Open | Which::Pending => asking.worker.lists.open(),
    };
    let wanted = |brief: &&Arc<Brief>| {
        (which != Which::Pending || brief.is_pending())
            && after.as_ref().is_none_or(|after| place(which, brief) > *after)
            && access::state(&asking.access(), brief.as_ref())
    };
    let mut page: Vec<_> = all.iter().filter(wanted).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|brief| brief.id.to_string());
    let mut approvals = Vec::with_capacity(page.len());
    for brief in page {
        let approval = asking.worker.reader().get(&brief.id).await?;
        // It may have ended since it was listed.
        let listed = |a: &&_| which != Which::Pending || Approval::is_pending(a);
        if let Some(approval) = approval.as_ref().filter(listed) {
            approvals.push(asking.view(approval)?);
        }
    }
    Ok(Json(Page { approvals, next }))
}

fn which(state: Option<&str>) -> Result<Which, Problem> {
    match state {
        None | Some("open") => Ok(Which::Open),
        Some("pending") => Ok(Which::Pending),
        Some("recent") => Ok(Which::Recent),
        Some(_) => Err(Problem::new(Code::BadRequest, "state: pending, open or recent.")),
    }
}

fn place(which: Which, brief: &Brief) -> Place {
    match which {
        Which::Recent => {
            Place::Ended(Reverse(brief.over_since.unwrap_or_default()), brief.id.clone())
        }
        Which::Open | Which::Pending => Place::Deadline(brief.deadline, brief.id.clone()),
    }
}

impl Asking {
    /// The place that a cursor names: the id of the last approval of a page. Its place follows from the log,
    /// which forgets nothing; later events do not matter.
    async fn place_of(&self, which: Which, cursor: &str) -> Result<Place, Problem> {
        let wrong = || {
            Problem::new(Code::BadRequest, "after: not the `next` of a list with the same state.")
        };
        let found = self.find(cursor, access::state).await;
        let approval = found.map_err(|problem| match problem.status().as_u16() {
            404 => wrong(),
            _ => problem,
        })?;
        Ok(match which {
            Which::Recent => {
                Place::Ended(Reverse(over_since(&approval).ok_or_else(wrong)?), approval.id)
            }
            Which::Open | Which::Pending => {
                let deadline = approval.state.approval_deadline().ok_or_else(wrong)?;
                Place::Deadline(deadline, approval.id)
            }
        })
    }
}
