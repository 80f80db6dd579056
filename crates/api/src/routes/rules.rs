//! Rules and people of a tenant: shows what is in force, and puts the server's files in force.

use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    reviewed::{self, Permit, Waiting},
};
use approvals::setup::{Setup, people_salt};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use decider::rule::RULES_APPLY;
use ledger::{
    ident::Ident,
    random_salt,
    system::{By, Role, Rules},
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// Digests of the files that the admin sees.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedRules {
    /// base64url SHA-256 of the RFC 8785 form of the rules.
    rules_digest: String,
    /// base64url SHA-256 of the RFC 8785 form of people and channels; compared, never recorded.
    people_sha256: String,
    /// Why, for people: 1 to 2000 characters, kept as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
    /// The approval of exactly these files, if the rules in force ask people first.
    #[schema(value_type = Option<String>)]
    approval: Option<Ident>,
}

/// Result of applying.
#[derive(Serialize, utoipa::ToSchema)]
pub struct AppliedRules {
    /// Leaf index of the `rules` entry.
    index: u64,
    /// `applied`, or `unchanged`: they were in force already, and nothing was written.
    status: &'static str,
    /// Digest of the rules.
    rules_digest: String,
    /// Salted digest of people and channels.
    people_digest: String,
}

/// The rules in force, and the state of the server's files.
#[derive(Serialize, utoipa::ToSchema)]
pub struct StandingRules {
    /// The last `rules` entry; `null`: none yet, and nobody is asked.
    #[schema(value_type = Option<Object>)]
    applied: Option<LastRules>,
    /// The server's files now.
    files: FilesNow,
}

/// A `rules` entry.
#[derive(Serialize)]
struct LastRules {
    /// Its leaf index.
    index: u64,
    /// Its body.
    #[serde(flatten)]
    body: Rules,
}

/// The server's files.
#[derive(Serialize, utoipa::ToSchema)]
struct FilesNow {
    /// `applied`, `different` from what is applied, or `wrong`.
    status: &'static str,
    /// Every mistake in them.
    mistakes: Vec<String>,
}

/// Show the rules in force, and whether the server's files are the same
#[utoipa::path(get, path = "/v1/tenants/{tenant}/rules", tag = "approvals",
    params(("tenant" = String, Path)),
    responses((status = 200, body = StandingRules), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<StandingRules>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin, Role::Auditor])?;
    let last = app.ledger.rules(&tenant)?;
    let files = match load(&app, &tenant) {
        Ok(setup) => {
            let same = last.as_ref().is_some_and(|(_, body)| is_applied(&tenant, &setup, body));
            // Make the answer true: the applied files may have been put back just now.
            if let Some(worker) = app.worker(&tenant.name).filter(|_| same) {
                tokio::task::block_in_place(|| worker.readiness().rules.read_if_absent());
            }
            let status = if same { "applied" } else { "different" };
            FilesNow { status, mistakes: Vec::new() }
        }
        Err(mistakes) => FilesNow { status: "wrong", mistakes },
    };
    let applied = last.map(|(index, body)| LastRules { index, body });
    Ok(Json(StandingRules { applied, files }))
}

/// Put the server's files in force, if they are the ones that the caller sees
#[utoipa::path(post, path = "/v1/tenants/{tenant}/rules", tag = "approvals",
    params(("tenant" = String, Path)), request_body = WantedRules,
    responses((status = 200, body = AppliedRules), (status = 202, body = Waiting), (status = "4XX", body = Problem)),
    security(("key" = [])))]
pub async fn apply(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Admin])?;
    let wanted: WantedRules = app.bodies.json(&headers, body).await?;
    let _alone = app.slow.lock().await;
    let setup =
        load(&app, &tenant).map_err(|wrong| Problem::new(Code::RulesWrong, wrong.join("\n")))?;
    let seen = (wanted.rules_digest, wanted.people_sha256);
    if seen != (setup.rules_digest(), setup.people_sha256()) {
        return Err(Problem::new(
            Code::RulesDiffer,
            "The server's files are not the ones you see. Bring both to the same state, then apply again.",
        ));
    }
    let worker = app.worker(&tenant.name);
    let last = app.ledger.rules(&tenant)?;
    let is_new = last.as_ref().is_none_or(|(_, body)| !is_applied(&tenant, &setup, body));
    let applied = last.map(|(_, body)| body.rules).unwrap_or_default();
    let params = json!({
        "rules_digest": seen.0, "people_sha256": seen.1, "people": setup.people.len(),
        "changes": changes(&applied, &setup),
    });
    let comment = wanted.reason.as_ref().map(ToString::to_string);
    let act = (RULES_APPLY, &params, comment);
    let asked = worker.as_deref().filter(|_| is_new);
    let (by, spent) = match reviewed::permit(asked, &caller, act, wanted.approval.as_ref()).await? {
        Permit::Waits(waiting) => return Ok(super::waits(waiting)),
        Permit::Now(by, spent) => (by, spent),
    };
    let alone_with_rules = match &worker {
        Some(worker) => Some(worker.readiness().change_rules().await),
        None => None,
    };
    let last = app.ledger.rules(&tenant)?;
    let same = last.filter(|(_, body)| is_applied(&tenant, &setup, body));
    let (index, status, body) = if let Some((index, body)) = same {
        (index, "unchanged", body)
    } else {
        let body = put_in_force(&app, &tenant, &setup, by, wanted.reason).await?;
        (act::record(&app.ledger, &tenant, "rules", &body).await?, "applied", body)
    };
    // If wrong files were changed back to the applied ones, no entry is written that the worker could follow.
    if let Some(worker) = &worker {
        tokio::task::block_in_place(|| worker.readiness().rules.read());
    }
    drop(alone_with_rules);
    reviewed::done(worker.as_deref(), spent.as_ref()).await;
    let Rules { rules_digest, people_digest, .. } = body;
    Ok(Json(AppliedRules { index, status, rules_digest, people_digest }).into_response())
}

/// What changes in the rules, by their names, for people who must approve it.
fn changes(applied: &[serde_json::Value], setup: &Setup) -> Vec<String> {
    let new: Vec<serde_json::Value> = setup.rules.iter().map(|rule| json!(rule)).collect();
    let name = |rule: &serde_json::Value| rule["name"].as_str().unwrap_or_default().to_owned();
    let of = |rules: &[serde_json::Value], wanted: &str| {
        rules.iter().find(|rule| name(rule) == wanted).cloned()
    };
    let mut told = Vec::new();
    for rule in &new {
        match of(applied, &name(rule)) {
            None => told.push(format!("{}: new: {rule}", name(rule))),
            Some(before) if before != *rule => {
                told.push(format!("{}: from {before} to {rule}", name(rule)));
            }
            Some(_) => {}
        }
    }
    let gone = applied.iter().filter(|rule| of(&new, &name(rule)).is_none());
    told.extend(gone.map(|rule| format!("{}: removed", name(rule))));
    let order = |rules: &[serde_json::Value]| rules.iter().map(name).collect::<Vec<_>>();
    if told.is_empty() && order(applied) != order(&new) {
        told.push(format!("order: {}", order(&new).join(", ")));
    }
    told
}

fn is_applied(tenant: &Tenant, setup: &Setup, body: &Rules) -> bool {
    tenant.with_keys(|ring| setup.is_applied(body, ring.salt_key()))
}

/// The body that puts `setup` in force. Its evidence is written first: the salt, with which a holder of the
/// people file can check the digest, and the reason. Both can be erased.
async fn put_in_force(
    app: &App,
    tenant: &Arc<Tenant>,
    setup: &Setup,
    by: By,
    why: Option<Why>,
) -> Result<Rules, Problem> {
    let nonce = random_salt();
    let salt = tenant.with_keys(|ring| people_salt(ring.salt_key(), &nonce));
    let mut words = json!({"act": "rules", "people_salt": salt.0});
    if let Some(why) = why {
        words["reason"] = json!(why);
    }
    let reason = act::keep_words(&app.ledger, tenant, &words).await?;
    Ok(tenant.with_keys(|ring| setup.body(ring.salt_key(), nonce, by, Some(reason))))
}

/// The files as they are now, or every mistake in them.
fn load(app: &App, tenant: &Tenant) -> Result<Setup, Vec<String>> {
    let Some(approvals) = &app.config.file.approvals else {
        return Err(vec!["add [approvals] with `dir` to the server's configuration".into()]);
    };
    let connections = app.config.connections();
    tokio::task::block_in_place(|| Setup::load(&approvals.dir, &tenant.name, &connections))
}
