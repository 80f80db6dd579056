//! Tokens by which agents prove who they are: issued, listed, revoked. Each act is an entry.

pub mod revoke;

use super::keys;
use crate::{
    act::{self, Why},
    app::App,
    auth::{self, Caller},
    problem::{Code, Problem},
};
use approvals::{
    agent_token::{self, Claims, Expected},
    deciding::Loaded,
    worker::Worker,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use decider::policy::{AGENT_TOKEN_BYTES_MAX, NoToken};
use ledger::{
    entry::View,
    post::{Identities, issue_of},
    store,
    system::{
        KeyUse, Role,
        agent::{AGENT_TOKEN_SECONDS_MAX, AgentBody, Confirmation, Issue},
    },
    tenant::Tenant,
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Seconds for which a token is valid, unless the request says otherwise.
const LIFE_SECONDS: u64 = 600;
/// Most entries that are read to list tokens.
const READ_MAX: usize = 20_000;
/// Most tokens that are listed.
const LISTED_MAX: usize = 1_000;

/// A token that shall be issued.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgentToken {
    /// The tools that it is for: 1 to 64 of tools.yaml.
    scope: Vec<String>,
    /// Seconds for which it is valid, 1 to 3600; 600 if left out, or as long as the token in `for`.
    seconds: Option<u64>,
    /// The region that its calls must name; that of the token in `for` if left out.
    region: Option<String>,
    /// The organisation; that of the token in `for` if left out.
    org: Option<String>,
    /// `{jkt}` or `{x5t#S256}`: the key that the agent must hold. Countersign does not check it: gateways do.
    #[schema(value_type = Option<Object>)]
    cnf: Option<Confirmation>,
    /// The token of the agent for which it acts.
    #[serde(rename = "for")]
    of: Option<String>,
    /// Why: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
}

/// A token that was just issued.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IssuedAgentToken {
    /// The token: shown once, stored nowhere.
    token: String,
    /// What it is.
    #[serde(flatten)]
    shown: ShownAgentToken,
}

/// A token, without its text.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownAgentToken {
    /// Its id.
    jti: String,
    /// Leaf index of the entry that issued it.
    index: u64,
    /// Who called whom: the root first, its agent last.
    chain: Vec<String>,
    /// The tools that it is for.
    scope: Vec<String>,
    /// The region that its calls must name.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// When it expires.
    #[schema(value_type = String)]
    expires: Nanos,
    /// True if it, or a token on which it rests, was revoked.
    revoked: bool,
}

impl ShownAgentToken {
    fn of(issue: Issue, index: u64, (origin, identities): (&str, &Identities)) -> Self {
        Self {
            jti: agent_token::jti(origin, index),
            index,
            revoked: identities.is_revoked(index, &issue),
            expires: Nanos::default().plus_seconds(issue.exp),
            chain: issue.chain,
            scope: issue.scope,
            region: issue.region,
        }
    }
}

/// The tokens of an agent that have not expired.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ShownAgentTokens {
    /// The newest first, at most 1000.
    tokens: Vec<ShownAgentToken>,
    /// True if there may be more.
    more: bool,
}

/// Issue a token by which an agent proves who it is
#[utoipa::path(post, path = "/v1/tenants/{tenant}/agents/{agent}/tokens", tag = "decisions",
    params(("tenant" = String, Path), ("agent" = String, Path)), request_body = NewAgentToken,
    responses((status = 201, body = IssuedAgentToken), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn issue(
    State(app): State<Arc<App>>,
    Path((tenant, agent)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let roles = [Role::Admin, Role::Enforcer];
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &roles)?;
    let new: NewAgentToken = app.bodies.json(&headers, body).await?;
    let worker = worker_of(&app, &tenant)?;
    worker.readiness().clocks.stand().await?;
    let loaded = bundle_in_force(&worker)?;
    let mut scope = new.scope.clone();
    scope.sort_unstable();
    may_have_token(&loaded, &caller, (&agent, &scope))?;
    let now = app.ledger.now();
    let mut issue = drafted(&agent, scope, &new, (now, &caller));
    if let Some(text) = &new.of {
        rest_on(&worker, &mut issue, (text, new.seconds.is_some()), now).await?;
    }
    if let Some(fault) = issue.fault() {
        return Err(Problem::new(Code::BadRequest, format!("{fault}.")));
    }
    if tenant.published().keys.agent().is_empty() {
        let by = caller.by();
        keys::rotated(&app, &tenant, (KeyUse::Agent, 0), (by, None)).await?;
    }
    issue.reason = act::keep_reason(&app.ledger, &tenant, "agent", new.reason.as_ref()).await?;
    let body = AgentBody::Issue(issue.clone());
    let index = act::record(&app.ledger, &tenant, "agent", &body).await?;
    let iss = worker.tokens.issuer();
    let expected = Expected { iss: &iss, tenant: &tenant.name, origin: &tenant.origin };
    let token = minted(&tenant, &Claims::of(&issue, index, &expected))?;
    let published = tenant.published();
    let shown = ShownAgentToken::of(issue, index, (&tenant.origin, &published.identities));
    Ok((StatusCode::CREATED, Json(IssuedAgentToken { token, shown })).into_response())
}

/// What the request asks for, without a token on which it rests.
fn drafted(
    agent: &str,
    scope: Vec<String>,
    new: &NewAgentToken,
    (now, caller): (Nanos, &Caller),
) -> Issue {
    let iat = now.seconds();
    let is_admin = caller.has(&[Role::Admin]);
    Issue {
        chain: vec![agent.to_owned()],
        parents: Vec::new(),
        scope,
        region: new.region.clone(),
        org: new.org.clone(),
        cnf: new.cnf.clone(),
        iat,
        exp: iat.saturating_add(new.seconds.unwrap_or(LIFE_SECONDS)),
        producer: caller.key.producer.clone().filter(|_| !is_admin),
        by: caller.by(),
        reason: None,
    }
}

/// Makes it a token for an agent that acts for that of the token `text`. `fixed`: the request names the seconds.
async fn rest_on(
    worker: &Worker,
    issue: &mut Issue,
    (text, fixed): (&str, bool),
    now: Nanos,
) -> Result<(), Problem> {
    if text.is_empty() || text.len() > AGENT_TOKEN_BYTES_MAX {
        let detail = format!("for: a token of 1 to {AGENT_TOKEN_BYTES_MAX} bytes.");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let proven = worker.desk.token(text, now).await?;
    let parent = proven.map_err(|fault| {
        let detail =
            format!("for: this token does not count ({}): ask for a new one.", fault.code());
        Problem::new(Code::AgentToken, detail)
    })?;
    let (index, parent) = (parent.token.index, parent.issue);
    issue.chain = parent.chain.iter().cloned().chain(issue.chain.drain(..)).collect();
    issue.parents = parent.parents.iter().copied().chain([index]).collect();
    if !fixed {
        issue.exp = issue.exp.min(parent.exp);
    }
    issue.region = issue.region.take().or_else(|| parent.region.clone());
    issue.org = issue.org.take().or_else(|| parent.org.clone());
    match issue.fault().or_else(|| issue.widens(index, &parent)) {
        Some(fault) => Err(Problem::new(Code::AgentToken, format!("{fault}."))),
        None => Ok(()),
    }
}

/// The token's text, by the newest key in force that this server has.
fn minted(tenant: &Tenant, claims: &Claims) -> Result<String, Problem> {
    let published = tenant.published();
    let text = tenant.with_keys(|ring| {
        let keys = published.keys.agent();
        let signer = keys.iter().rev().find_map(|key| ring.signer(key).ok());
        signer.map(|signer| claims.mint(signer))
    });
    match text {
        Some(Some(text)) => Ok(text),
        Some(None) => {
            Err(Problem::new(Code::BadRequest, "The token would be longer than 16384 bytes."))
        }
        None => Err(Problem::internal("no key file for tokens of agents")),
    }
}

/// Show the tokens of an agent that have not expired
#[utoipa::path(get, path = "/v1/tenants/{tenant}/agents/{agent}/tokens", tag = "decisions",
    params(("tenant" = String, Path), ("agent" = String, Path)),
    responses((status = 200, body = ShownAgentTokens), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn list(
    State(app): State<Arc<App>>,
    Path((tenant, agent)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<ShownAgentTokens>, Problem> {
    let roles = [Role::Admin, Role::Responder, Role::Auditor, Role::Enforcer];
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &roles)?;
    let everywhere = [Role::Admin, Role::Responder, Role::Auditor];
    own_agent(&app, &tenant, (&caller, &everywhere), &agent)?;
    let shown = tokio::task::block_in_place(|| listed(&app, &tenant, &agent))?;
    Ok(Json(shown))
}

/// Walks back over the entries that administer the log, as long as tokens of then may be valid now.
fn listed(app: &App, tenant: &Arc<Tenant>, agent: &str) -> Result<ShownAgentTokens, store::Error> {
    let published = tenant.published();
    let corrupt = || store::Error::Corrupt { family: "entries", what: "an entry" };
    let (now, mut tokens) = (app.ledger.now(), Vec::new());
    let mut next = published.size.checked_sub(1);
    for _ in 0..READ_MAX {
        let Some(index) = next else { return Ok(ShownAgentTokens { tokens, more: false }) };
        let entry = app.ledger.entry(tenant, index)?.ok_or_else(corrupt)?;
        let view = View::parse(&entry).ok_or_else(corrupt)?;
        if view.origin.time.plus_seconds(AGENT_TOKEN_SECONDS_MAX + 120) < now
            || tokens.len() == LISTED_MAX
        {
            let more = tokens.len() == LISTED_MAX;
            return Ok(ShownAgentTokens { tokens, more });
        }
        let issue =
            issue_of(&view).filter(|issue| issue.agent() == agent && issue.exp > now.seconds());
        let place = (tenant.origin.as_str(), &*published.identities);
        tokens.extend(issue.map(|issue| ShownAgentToken::of(issue, index, place)));
        next = view.prior.system;
    }
    Ok(ShownAgentTokens { tokens, more: true })
}

fn worker_of(app: &App, tenant: &Tenant) -> Result<Arc<Worker>, Problem> {
    if let Some(reason) = tenant.halted() {
        return Err(ledger::Error::Halted(reason).into());
    }
    app.worker(&tenant.name).ok_or_else(|| {
        let detail = "Tokens of agents need [approvals] in the server's configuration.";
        Problem::new(Code::NotFound, detail)
    })
}

fn bundle_in_force(worker: &Worker) -> Result<Arc<Loaded>, Problem> {
    worker.desk.in_force()?.ok_or_else(|| {
        let detail = "No policies are in force, so no agent is registered: propose agents.yaml first \
                      (`countersign policy propose`).";
        Problem::new(Code::AgentToken, detail)
    })
}

/// A gateway sees and revokes tokens of its own agents alone.
fn own_agent(
    app: &App,
    tenant: &Tenant,
    (caller, everywhere): (&Caller, &[Role]),
    agent: &str,
) -> Result<(), Problem> {
    if caller.has(everywhere) {
        return Ok(());
    }
    let worker = worker_of(app, tenant)?;
    let loaded = bundle_in_force(&worker)?;
    may_have_token(&loaded, caller, (agent, &[]))
}

/// Whether the policies in force let this agent have such a token, and this caller issue it.
fn may_have_token(
    loaded: &Loaded,
    caller: &Caller,
    (agent, scope): (&str, &[String]),
) -> Result<(), Problem> {
    let is_admin = caller.has(&[Role::Admin]);
    let producer = if is_admin { None } else { Some(caller.producer()?.as_str()) };
    let refused = match loaded.bundle.may_have_token(agent, producer, scope) {
        Ok(()) => return Ok(()),
        Err(NoToken::UnknownAgent) => {
            Problem::new(Code::AgentToken, "agents.yaml in force does not admit this agent.")
        }
        Err(NoToken::OfOthers) => {
            let detail = "This agent is not one of this gateway's: agents.yaml in force must list the gateway in its `gateways`.";
            Problem::new(Code::RoleMissing, detail)
        }
        Err(NoToken::Tool(tool)) => {
            let detail = format!(
                "scope: {tool:?} is no tool of tools.yaml in force that this agent may see."
            );
            Problem::new(Code::AgentToken, detail)
        }
    };
    Err(refused)
}
