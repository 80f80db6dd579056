//! Revokes tokens of agents.

use super::own_agent;
use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    routes::published_with,
};
use approvals::agent_token;
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use ledger::{
    entry::View,
    post::issue_of,
    system::{
        Role,
        agent::{AgentBody, REVOKED_MAX, REVOKED_OF_GATEWAY_MAX, Revoke},
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A revocation.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentTokenRevocation {
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
}

/// Result of a revocation.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AgentTokenRevoked {
    /// Leaf index of the `agent` entry.
    index: u64,
}

/// Revoke every token of an agent so far, and what was issued on them
#[utoipa::path(post, path = "/v1/tenants/{tenant}/agents/{agent}/tokens/revoke", tag = "decisions",
    params(("tenant" = String, Path), ("agent" = String, Path)), request_body = Option<AgentTokenRevocation>,
    responses((status = 200, body = AgentTokenRevoked), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn all(
    State(app): State<Arc<App>>,
    Path((tenant, agent)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AgentTokenRevoked>, Problem> {
    revoked(&app, (&tenant, &agent, None), &headers, body).await
}

/// Revoke one token of an agent, and what was issued on it
#[utoipa::path(post, path = "/v1/tenants/{tenant}/agents/{agent}/tokens/{jti}/revoke", tag = "decisions",
    params(("tenant" = String, Path), ("agent" = String, Path), ("jti" = String, Path)),
    request_body = Option<AgentTokenRevocation>,
    responses((status = 200, body = AgentTokenRevoked), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn one(
    State(app): State<Arc<App>>,
    Path((tenant, agent, jti)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<AgentTokenRevoked>, Problem> {
    revoked(&app, (&tenant, &agent, Some(&jti)), &headers, body).await
}

async fn revoked(
    app: &App,
    (tenant, agent, jti): (&str, &str, Option<&str>),
    headers: &HeaderMap,
    body: Body,
) -> Result<Json<AgentTokenRevoked>, Problem> {
    let roles = [Role::Admin, Role::Responder, Role::Enforcer];
    let (tenant, caller) = auth::caller(&app.ledger, headers, tenant, &roles)?;
    let AgentTokenRevocation { reason } = app.bodies.json_if_any(headers, body).await?;
    let people = [Role::Admin, Role::Responder];
    own_agent(app, &tenant, (&caller, &people), agent)?;
    let token = match jti {
        None => None,
        Some(jti) => Some(issued(app, &tenant, (jti, agent)).await?),
    };
    let producer = caller.key.producer.clone().filter(|_| !caller.has(&people));
    let (agent, by) = (agent.to_owned(), caller.by());
    let mut revoke = Revoke { token, agent, producer, by, reason: None };
    if let Some(fault) = revoke.fault() {
        return Err(Problem::new(Code::BadRequest, format!("{fault}.")));
    }
    if !tenant.published().identities.has_room(app.ledger.now(), &revoke) {
        return Err(Problem::new(Code::Conflict, no_room(&revoke)));
    }
    revoke.reason = act::keep_reason(&app.ledger, &tenant, "agent", reason.as_ref()).await?;
    let index = act::record(&app.ledger, &tenant, "agent", &AgentBody::Revoke(revoke)).await?;
    Ok(Json(AgentTokenRevoked { index }))
}

/// Why there is no room for a revocation, and what to do instead.
fn no_room(revoke: &Revoke) -> String {
    if revoke.producer.is_some() {
        return format!(
            "This gateway has {REVOKED_OF_GATEWAY_MAX} revocations in force, or all gateways have {REVOKED_MAX} together, \
             the most that are possible: an admin or a responder can still revoke this token, or all of the agent's. \
             Revocations leave after 65 minutes."
        );
    }
    format!(
        "{REVOKED_MAX} revocations of single tokens are in force, the most that are possible: revoke all tokens of the \
         agent (`countersign agent token revoke` without a token's id), which always works."
    )
}

/// Leaf index of the entry that issued this token of this agent.
async fn issued(
    app: &App,
    tenant: &Arc<Tenant>,
    (jti, agent): (&str, &str),
) -> Result<u64, Problem> {
    let index = agent_token::index_of(jti, &tenant.origin).ok_or_else(Problem::not_found)?;
    let published = published_with(app, tenant, index).await?;
    if index >= published.size {
        return Err(Problem::not_found());
    }
    let entry = app.ledger.entry(tenant, index)?.ok_or_else(Problem::not_found)?;
    let issue = View::parse(&entry).as_ref().and_then(issue_of);
    let is_its = issue.is_some_and(|issue| issue.agent() == agent);
    is_its.then_some(index).ok_or_else(Problem::not_found)
}
