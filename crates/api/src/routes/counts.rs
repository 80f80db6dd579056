//! The counts of a tenant's entries, by UTC day.

use crate::{
    app::App,
    auth,
    problem::{Code, Problem},
    query,
};
use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::HeaderMap,
};
use chrono::{Datelike as _, NaiveDate};
use ledger::{
    post::{OfDay, VALUES_MAX},
    system::Role,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Most days of one answer.
const DAYS_MAX: u32 = 400;
/// 1970-01-01 among the days of the calendar.
const FIRST_DAY: i32 = 719_163;

/// Query of counts.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CountsQuery {
    /// The first UTC day, `YYYY-MM-DD`.
    from: String,
    /// The day after the last one, `YYYY-MM-DD`; at most 400 days after `from`.
    to: String,
}

/// Counts by UTC day of `journal.time`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DayCounts {
    /// The first day.
    from: String,
    /// The day after the last one.
    to: String,
    /// Most values of one name that have a count of their own on one day. `other` counts what came later that day.
    values_max: u64,
    /// Each day that has entries: by name `values`, how often each came, and `other`.
    #[schema(value_type = Object)]
    days: BTreeMap<String, OfDay>,
}

/// Count what entries say, by UTC day
#[utoipa::path(get, path = "/v1/tenants/{tenant}/counts", tag = "log",
    params(("tenant" = String, Path), CountsQuery),
    responses((status = 200, body = DayCounts), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Result<Json<DayCounts>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Auditor, Role::Admin])?;
    let CountsQuery { from, to } = query::strict(raw.as_deref())?;
    let (begin, end) = (day("from", &from)?, day("to", &to)?);
    if end <= begin || end - begin > DAYS_MAX {
        let detail =
            format!("to: 1 to {DAYS_MAX} days after from; it is the day after the last one.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let read = || app.ledger.counts(&tenant, (begin, end));
    let found = tokio::task::block_in_place(read)?;
    let days = found.into_iter().map(|(day, counts)| (date(day), counts)).collect();
    Ok(Json(DayCounts { from, to, values_max: VALUES_MAX, days }))
}

/// A date as days since 1970-01-01.
fn day(name: &str, text: &str) -> Result<u32, Problem> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    let day = date.and_then(|date| u32::try_from(date.num_days_from_ce() - FIRST_DAY).ok());
    day.ok_or_else(|| {
        let detail = format!("{name}: a day as YYYY-MM-DD, from 1970-01-01 on.");
        Problem::new(Code::BadRequest, detail)
    })
}

fn date(day: u32) -> String {
    let date = i32::try_from(day).ok().and_then(|day| day.checked_add(FIRST_DAY));
    let date = date.and_then(NaiveDate::from_num_days_from_ce_opt);
    date.map(|date| date.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let check = |text: &str, number: Option<u32>| {
            assert_eq!(day("from", text).ok(), number, "{text}");
            if let Some(number) = number {
                assert_eq!(date(number), text);
            }
        };
        check("1970-01-01", Some(0));
        check("2026-11-20", Some(20_777));
        check("2024-02-29", Some(19_782));
        check("1969-12-31", None);
        check("2026-02-29", None);
        check("2026-11-20T00:00:00Z", None);
        check("2026-1-2", None);
        check("today", None);
    }
}
