//! HTTP: one noun per file, handlers that read, call the ledger and answer.

mod accounts;
mod agents;
pub mod alerts;
mod approvals;
mod budgets;
mod clock;
mod copies;
mod counts;
mod decisions;
mod entries;
pub mod erasures;
mod events;
pub mod freezes;
mod health;
mod incidents;
mod jwks;
mod keys;
mod lists;
mod log;
mod opa;
mod openapi;
mod operate;
mod passkeys;
mod policies;
mod receipts;
mod replicas;
mod results;
mod retention;
mod rules;
mod sinks;
mod slack;
mod sources;
mod teams;
mod tokens;

pub use openapi::document;

use crate::{
    app::App,
    problem::{Code, Problem},
    reviewed::Waiting,
};
use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use ledger::{reader::Published, tenant::Tenant};
use std::sync::Arc;

/// Decisions, and what they rest on.
fn deciding() -> Router<Arc<App>> {
    Router::new()
        .route("/decisions", post(decisions::decide))
        .route("/decisions/{index}/result", post(results::result))
        .route("/alerts", get(alerts::show))
        .route("/alerts/{alert}/close", post(alerts::close))
        .route("/incidents", get(incidents::show).post(incidents::open))
        .route("/incidents/{incident}", get(incidents::export::export))
        .route("/incidents/{incident}/notes", post(incidents::note))
        .route("/incidents/{incident}/close", post(incidents::close))
        .route("/freezes", get(freezes::show).post(freezes::freeze))
        .route("/freezes/{freeze}/lift", post(freezes::lift))
        .route("/agents/{agent}/tokens", get(agents::list).post(agents::issue))
        .route("/agents/{agent}/tokens/revoke", post(agents::revoke::all))
        .route("/agents/{agent}/tokens/{jti}/revoke", post(agents::revoke::one))
        .route("/policies", get(policies::status).post(policies::propose))
        .route("/policies/bundle.tar.gz", get(policies::opa::bundle))
        .route("/policies/{version}", get(policies::version))
        .route("/policies/{version}/rollback", post(policies::rollback))
        .route("/lists", get(lists::all))
        .route("/lists/{name}", get(lists::one).post(lists::change))
        .route("/lists/{name}/{version}", get(lists::version))
        .route("/opa/logs", post(opa::logs))
        .route("/opa/logs/{partition}", post(opa::logs_partition))
}

/// Every route but those of the pages.
pub fn router(app: Arc<App>) -> Router {
    let tenant = Router::new()
        .route("/events", post(events::publish))
        .route("/logs/{n}/checkpoint", get(log::checkpoint))
        .route("/logs/{n}/tile/{*path}", get(log::tile))
        .route("/logs/{n}/keys", get(log::keys))
        .route("/receipts", get(receipts::receipt))
        .route("/proofs/consistency", get(receipts::consistency))
        .route("/entries", get(entries::feed))
        .route("/entries/{index}", get(entries::entry))
        .route("/entries/{index}/disclosures", get(entries::disclosures))
        .route("/keys", get(keys::list).post(keys::add))
        .route("/keys/rotate", post(keys::rotate))
        .route("/passkeys", post(passkeys::add))
        .route("/accounts", post(accounts::add))
        .route("/keys/{key_id}", delete(keys::remove))
        .route("/jwks.json", get(jwks::jwks))
        .route("/rules", get(rules::show).post(rules::apply))
        .route("/budgets", get(budgets::all))
        .route("/counts", get(counts::show))
        .route("/sources", get(sources::show).post(sources::declare))
        .route("/sinks", get(sinks::all))
        .route("/sinks/{sink}/test", post(sinks::test))
        .route("/sinks/{sink}/letters", get(sinks::letters))
        .route("/sinks/{sink}/resend", post(sinks::resend))
        .route("/retention", get(retention::show).post(retention::set))
        .route("/prunings", post(retention::pruning::prune))
        .route("/deletion", post(retention::deletion::delete))
        .route("/holds", post(retention::hold))
        .route("/holds/{hold}/release", post(retention::release))
        .route("/readyz", get(health::tenant_readyz))
        .route("/erasures", post(erasures::erase))
        .route("/erasures/{entry}", get(erasures::one))
        .route("/clock", post(clock::reset))
        .route("/approvals", get(approvals::list).post(approvals::open))
        .route("/approvals/{id}", get(approvals::one))
        .route("/approvals/{id}/reviews", post(approvals::review))
        .route("/approvals/{id}/questions", post(approvals::questions::ask))
        .route("/approvals/{id}/questions/{question}/answer", post(approvals::questions::answer))
        .route("/approvals/{id}/token", post(approvals::token))
        .route("/approvals/{id}/cancel", post(approvals::withdraw::cancel))
        .route("/approvals/{id}/revoke", post(approvals::withdraw::revoke))
        .route("/approvals/{id}/execution", post(approvals::execution))
        .route("/tokens/redeem", post(tokens::redeem))
        .route("/tokens/{jti}/revoke", post(approvals::withdraw::revoke_token));
    Router::new()
        .nest("/v1/tenants/{tenant}", tenant.merge(deciding()))
        .route("/v1/tenants", post(operate::create_tenant))
        .route("/v1/backup", post(operate::backup))
        .route("/v1/replicas", get(replicas::show))
        .route("/v1/replicas/members", post(replicas::change))
        .route("/v1/replicas/copies", post(copies::make))
        .route("/v1/replicas/copies/{copy}", delete(copies::remove))
        .route("/v1/replicas/copies/{copy}/{file}", get(copies::piece))
        .route("/v1/replicas/logs/{tenant}/checkpoint", get(copies::checkpoint))
        .route("/v1/replicas/logs/{tenant}/keys", get(copies::keys))
        .route("/v1/replicas/logs/{tenant}/tile/{*path}", get(copies::tile))
        .route("/slack/{connection}/interactions", post(slack::interactions))
        .route("/teams/{connection}/messages", post(teams::messages))
        .route("/livez", get(health::livez))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::serve))
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "This address does not take this method.")
        })
        .layer(middleware::from_fn(harden))
        .with_state(app)
}

/// For every answer: other caches may not store it, browsers may not sniff it; and every error is a problem.
async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if response.status().is_client_error() && kind != Some(b"application/problem+json") {
        // axum itself answered, because the address can't be decoded.
        response = Problem::not_found().into_response();
    }
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The published state, once it holds the leaf at `index` or everything in the journal is posted here. Another
/// server may have shown the caller that leaf.
async fn published_with(app: &App, tenant: &Tenant, index: u64) -> Result<Arc<Published>, Problem> {
    if tenant.published().size <= index {
        app.ledger.catch_up(tenant).await?;
    }
    let published = tenant.published();
    // With replicas, what is ahead of all that was told is "not yet": a client may have it from a register or a witness.
    if tenant.replica().is_some() && published.size <= index {
        return Err(ledger::Error::Behind.into());
    }
    Ok(published)
}

/// The answer to an act that waits for people.
fn waits(waiting: Waiting) -> Response {
    (StatusCode::ACCEPTED, Json(waiting)).into_response()
}

/// No kept checkpoint that covers this has a cosignature of a witness.
fn not_witnessed(app: &App, tenant: &Tenant) -> Problem {
    if app.witnesses.newest(tenant).is_some() {
        let detail = "No witness has cosigned a checkpoint that covers this yet; ask again in a second, or without `witnessed`.";
        return Problem::new(Code::NotWitnessed, detail);
    }
    let detail = "This server asks no witness about this log: add [witness.NAME] to its configuration, or ask without `witnessed`.";
    Problem::new(Code::NotFound, detail)
}

/// Text with a media type.
fn text(kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body.into()).into_response()
}
