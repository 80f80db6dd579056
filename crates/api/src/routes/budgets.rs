//! `GET T/budgets`: what is booked on budgets, as the log gives it (P18).

use crate::{app::App, auth, problem::Problem};
use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
};
use ledger::{
    AllBooked,
    budget::{Open, Row, Unit, Window, grown},
    system::Role,
    time::Nanos,
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// Most budgets that an answer has, and most reservations that are read for it.
const SHOWN_MAX: usize = 10_000;

/// A budget in the window of its last decision.
#[derive(Serialize, utoipa::ToSchema)]
struct BookedBudget {
    /// `<policy>/<budget>`
    id: String,
    /// Whose sum it is: the agent, session or run. `null`: that of all.
    key: Option<String>,
    /// `calls`; `cost`: millionths of the currency; `minor`: minor units of it.
    #[schema(value_type = String)]
    unit: Unit,
    /// The currency; `null` for calls.
    currency: Option<String>,
    /// Begin of the window.
    #[schema(value_type = String)]
    from: Nanos,
    /// End of the window: a new one begins with nothing booked.
    #[schema(value_type = String)]
    to: Nanos,
    /// True if it is the window of now.
    current: bool,
    /// The cap.
    max: u64,
    /// Booked within the cap: spent or reserved.
    within: u64,
    /// The part of `within` and `over` whose outcome may still make it smaller: no report came yet, or people are asked.
    reserved: u64,
    /// Booked over the cap, by people or while they are asked.
    over: u64,
    /// What reports named above what was reserved. It counts against the cap.
    excess: u64,
    /// What other windows count here that overlap this one, because the policy had other windows before.
    carried: u64,
    /// What is left within the cap.
    left: u64,
    /// True once the window has its `budget_warned` entry.
    warned: bool,
    /// True once the window has its `budget_exceeded` entry.
    exceeded: bool,
}

/// The budgets of a tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Budgets {
    /// By id, key, unit and currency.
    budgets: Vec<BookedBudget>,
    /// False if there are more than are shown, or more reservations than were read.
    complete: bool,
}

/// Show what is booked on budgets
#[utoipa::path(get, path = "/v1/tenants/{tenant}/budgets", tag = "decisions",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Budgets), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn all(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Budgets>, Problem> {
    let roles = [Role::Admin, Role::Auditor, Role::Author, Role::Enforcer];
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &roles)?;
    let now = app.ledger.now();
    let booked = tokio::task::block_in_place(|| app.ledger.all_booked(&tenant, SHOWN_MAX, now))?;
    let AllBooked { rows, open, complete } = booked;
    let mut reserved: BTreeMap<(Vec<u8>, (Nanos, Nanos)), u64> = BTreeMap::new();
    for Open { row, window, sum, .. } in open {
        let sum_of = reserved.entry((row, window)).or_default();
        *sum_of = grown(*sum_of, sum);
    }
    let shown = |(key, row): (Vec<u8>, Row)| {
        let window = row.windows.first()?.clone();
        let span = (window.from, window.to);
        let reserved = reserved.get(&(key, span)).copied().unwrap_or(0);
        let (carried, counted) = (row.carried(span), row.counted(span));
        let Row { id, key, unit, currency, .. } = row;
        let left = window.max.saturating_sub(counted);
        let Window { from, to, max, within, over, excess, warned, exceeded, .. } = window;
        let [over, excess, carried] = [over, excess, carried].map(|sum| grown(sum, 0));
        let current = (from..to).contains(&now);
        Some(BookedBudget {
            id,
            key,
            unit,
            currency,
            from,
            to,
            current,
            max,
            within,
            reserved,
            over,
            excess,
            carried,
            left,
            warned,
            exceeded,
        })
    };
    let mut budgets: Vec<BookedBudget> = rows.into_iter().filter_map(shown).collect();
    budgets.sort_by(|a, b| {
        (&a.id, &a.key, a.unit, &a.currency).cmp(&(&b.id, &b.key, b.unit, &b.currency))
    });
    Ok(Json(Budgets { budgets, complete }))
}
