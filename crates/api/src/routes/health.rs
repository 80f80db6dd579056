//! Three questions: does the process run (`/livez`), should requests come here (`/readyz`, and `T/readyz` for
//! one tenant), must a person act (`/healthz`). And metrics.

use super::text;
use crate::{
    app::App,
    auth::{self, ANY},
    health,
    metrics::Form,
    problem::Problem,
    trouble::{Trouble, UNREVIEWED},
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use ledger::{system::Role, tenant::Tenant};
use serde_json::{Value, json};
use std::sync::Arc;

/// Whether the process runs: restart it when this does not answer, and for no other reason
#[utoipa::path(get, path = "/livez", tag = "operation", responses((status = 200, body = Object)))]
pub async fn livez() -> Json<Value> {
    Json(json!({"live": true}))
}

/// Whether requests should be sent to this server, whichever tenant's they are
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, body = Object), (status = 503, body = Object)))]
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let troubles = health::not_ready(&app);
    let ready = troubles.is_empty();
    let codes: Vec<_> = troubles.iter().map(|trouble| trouble.code).collect();
    answer(ready, json!({"ready": ready, "reasons": codes}))
}

/// Whether a tenant's requests are served here: its log is signed, its journal accepts messages, its approvals are decided
#[utoipa::path(get, path = "/v1/tenants/{tenant}/readyz", tag = "operation",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Object), (status = 503, body = Object), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn tenant_readyz(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, details) = if auth::is_operator(&app.ledger, &headers)? {
        (app.ledger.tenant(&name).ok_or_else(Problem::not_found)?, true)
    } else {
        let (tenant, caller) = auth::caller(&app.ledger, &headers, &name, ANY)?;
        (tenant, caller.has(&[Role::Admin, Role::Auditor]))
    };
    let mut troubles = health::not_ready(&app);
    let own = health::troubles(&app, &tenant);
    troubles.retain(|trouble| own.iter().all(|other| other.code != trouble.code));
    troubles.extend(own);
    let ready = troubles.is_empty();
    let reasons: Vec<Value> = troubles
        .into_iter()
        .map(|trouble| if details { json!(trouble) } else { json!({"code": trouble.code}) })
        .collect();
    Ok(answer(ready, json!({"ready": ready, "reasons": reasons})))
}

/// Whether a person must act; names of tenants and reasons only for the operator
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, body = Object), (status = 503, body = Object)))]
pub async fn healthz(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    let operator = auth::is_operator(&app.ledger, &headers)?;
    let tenants = app.ledger.tenants();
    let standing: Vec<(String, Vec<Trouble>)> = tenants
        .iter()
        .map(|tenant| {
            let mut troubles = health::troubles(&app, tenant);
            troubles.extend(health::alarms(&app, tenant));
            (tenant.name.to_string(), troubles)
        })
        .collect();
    let with = |code: &str| {
        standing.iter().filter(|(_, all)| all.iter().any(|trouble| trouble.code == code)).count()
    };
    let alerts_open: usize = tenants.iter().map(|t| t.published().alerts.open.len()).sum();
    let guard = app.ledger.check_guard();
    let connected = health::journal_connected(&app);
    // A start is no alarm, because it ends by itself. A warning that stays for ever would hide the next alarm.
    let alarm = |trouble: &Trouble| trouble.code != "starting" && trouble.code != UNREVIEWED;
    let quiet = standing.iter().all(|(_, troubles)| !troubles.iter().any(alarm));
    let green = quiet && connected && guard.is_ok();
    let mut document = json!({
        "status": if green { "green" } else { "red" },
        "halted_logs": with("log_halted"),
        "logs_catching_up": with("catching_up"),
        "unsigned_messages": with("unsigned_messages") > 0,
        "journal_connected": connected,
        "journals_away": with("journal_unavailable"),
        "journals_refusing": with("journal_refuses"),
        "posting_stuck": with("posting_stuck"),
        "posting_behind": with("posting_behind"),
        "rules_not_in_force": with("rules_not_in_force"),
        "wrong_clocks": with("clock"),
        "damaged_logs": with("damaged"),
        "policies_unreadable": with("policy_unreadable"),
        "policies_unreviewed": with(UNREVIEWED),
        "silent_sources": with("source_silent"),
        "sinks_standing_still": with("sink_stands_still"),
        "channels_refusing": with("channel_refuses"),
        "witness_conflicts": with("witness_conflict"),
        "witnesses_away": with("witness_away"),
        "journal_holes": with("journal_hole"),
        "without_quorum": with("no_quorum"),
        "replicas_differing": with("replicas_differ"),
        "registers_ignored": with("register_ignored"),
        "replicas_away": with("replica_away"),
        "alerts_open": alerts_open,
        "guard_in_place": guard.is_ok(),
        "plaintext_behind_proxy": app.config.file.plaintext_behind_proxy,
        "warnings": app.config.warnings,
    });
    if operator {
        let halted =
            tenants.iter().filter_map(|t| Some(json!({"tenant": t.name, "reason": t.halted()?})));
        document["halted"] = halted.collect();
        let unsigned = tenants.iter().filter(|tenant| tenant.unsigned() > 0);
        document["unsigned"] =
            unsigned.map(|t| json!({"tenant": t.name, "messages": t.unsigned()})).collect();
        document["scrub"] = tenants.iter().map(|tenant| scrubbed(&app, tenant)).collect();
        document["tenants"] = standing
            .iter()
            .filter(|(_, troubles)| !troubles.is_empty())
            .map(|(tenant, troubles)| json!({"tenant": tenant, "troubles": troubles}))
            .collect();
        if let Err(error) = guard {
            document["guard"] = error.to_string().into();
        }
    }
    Ok(answer(green, document))
}

/// How far the reading of a tenant's stored entries is.
fn scrubbed(app: &App, tenant: &Tenant) -> Value {
    let scrub = app.scrub.status(&tenant.name);
    let age = app.scrub.age(&tenant.name).as_secs();
    json!({"tenant": tenant.name, "passes": scrub.passes, "age_seconds": age, "read": scrub.read,
        "findings": scrub.findings})
}

fn answer(well: bool, document: Value) -> Response {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(document)).into_response()
}

/// Metrics for Prometheus (metrics key or operator key)
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "OpenMetrics, with exemplars, if the request accepts it; otherwise the text of Prometheus",
        content((String = "text/plain"), (String = "application/openmetrics-text"))), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    if !app.metrics_key.opens(&headers) {
        auth::operator(&app.ledger, &headers)?;
    }
    let form = Form::wanted(&headers);
    // This reads files of the system.
    let metrics = tokio::task::block_in_place(|| app.metrics.render(&health::figures(&app), form));
    Ok(text(form.media_type(), metrics))
}
