//! The policies in force as a signed bundle for a gateway's own OPA.

use super::worker_of;
use crate::{
    app::App,
    auth,
    opa_bundle::packed,
    problem::{Code, Problem},
};
use approvals::{
    deciding::{Loaded, bundle_entry},
    worker::Worker,
};
use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use data_encoding::BASE64URL_NOPAD;
use decider::{approval::Event, policy::LANGUAGE};
use ledger::{
    entry::View,
    system::{Role, policy::Activation},
    tenant::Tenant,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{sync::Arc, time::Duration};

/// Who may load the bundle: those who may read policies, and gateways, which judge by them.
const LOADERS: [Role; 6] =
    [Role::Enforcer, Role::Author, Role::Reviewer, Role::Auditor, Role::Discloser, Role::Admin];
/// Longest wait for news, in seconds. OPA asks again.
const WAIT_SECONDS_MAX: u64 = 30;
/// What tells OPA that it may wait for news.
const LONG_POLL: &str = "application/vnd.openpolicyagent.bundles";

/// The policies in force as a signed bundle for OPA; may wait until others are in force
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/bundle.tar.gz", tag = "decisions",
    params(("tenant" = String, Path)),
    responses((status = 200, body = String, content_type = "application/vnd.openpolicyagent.bundles"),
        (status = 304, description = "The bundle of `If-None-Match` is still the one in force"), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn bundle(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, &LOADERS)?;
    let worker = worker_of(&app, &tenant)?;
    let mut states = tenant.watch();
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let before = tenant.published().policies.clone();
    let mut found = made(&app, &tenant, &worker).await?;
    let wait = waiting(&headers).min(WAIT_SECONDS_MAX);
    if known == Some(&found.0) && wait > 0 {
        let news = states.wait_for(|published| {
            let now = &published.policies;
            now.in_force != before.in_force || now.lists != before.lists
        });
        if tokio::time::timeout(Duration::from_secs(wait), news).await.is_ok() {
            found = made(&app, &tenant, &worker).await?;
        }
    }
    let (tag, bytes) = found;
    let members = [
        (header::CONTENT_TYPE, LONG_POLL.to_owned()),
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    if known == Some(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, members).into_response());
    }
    Ok((members, Body::from(bytes)).into_response())
}

/// The seconds for which OPA waits: `Prefer: modes=snapshot,delta;wait=60`.
fn waiting(headers: &HeaderMap) -> u64 {
    let all = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut parts = all.flat_map(|value| value.split([';', ',']));
    let wait = parts.find_map(|part| part.trim().strip_prefix("wait=")?.parse().ok());
    wait.unwrap_or(0)
}

/// The bundle and its tag, which follows from its bytes.
async fn made(app: &App, tenant: &Tenant, worker: &Worker) -> Result<(String, Vec<u8>), Problem> {
    let key = app.opa_key.as_ref().ok_or_else(|| {
        Problem::new(Code::NotFound, "Bundles for OPA need [opa] in the server's configuration.")
    })?;
    let unusable = |why: String| Problem::new(Code::PolicyUnreadable, format!("{why}."));
    let loaded = tokio::task::block_in_place(|| worker.desk.in_force());
    let loaded = loaded.map_err(|error| unusable(error.to_string()))?;
    let loaded = loaded.ok_or_else(|| Problem::new(Code::NotFound, "No policies are in force."))?;
    let metadata = metadata(app, tenant, worker, &loaded).await?;
    let bytes = tokio::task::block_in_place(|| {
        let exported = loaded.bundle.to_rego(loaded.version, &metadata);
        packed(&exported.files, key, Some(tenant.name.as_str()))
    });
    let bytes = bytes.map_err(|error| unusable(error.to_string()))?;
    let tag = format!("\"{}\"", BASE64URL_NOPAD.encode(&Sha256::digest(&bytes)));
    Ok((tag, bytes))
}

/// What the manifest says of the bundle: which it is, who approved it, and what they said.
async fn metadata(
    app: &App,
    tenant: &Tenant,
    worker: &Worker,
    loaded: &Loaded,
) -> Result<Value, Problem> {
    let Loaded { bundle, version, .. } = loaded;
    let lists = bundle.lists().map(|name| (name.to_owned(), bundle.list_version(name).into()));
    let lists: serde_json::Map<String, Value> = lists.collect();
    let mut metadata = json!({
        "digest": bundle.digest(), "version": version, "language": LANGUAGE, "tenant": tenant.name, "lists": lists,
    });
    let Some(in_force) = tenant.published().policies.in_force.clone() else { return Ok(metadata) };
    metadata["index"] = json!(in_force.index);
    let entry = app.ledger.entry(tenant, in_force.index)?;
    let activation = entry.as_deref().and_then(View::parse);
    let activation: Option<Activation> = activation.and_then(|view| view.event_as());
    let Some(activation) = activation else { return Ok(metadata) };
    metadata["approval"] = json!(activation.approval_id);
    let proposed = app.ledger.entry(tenant, loaded.index)?;
    let reason = proposed.as_deref().and_then(bundle_entry).and_then(|entry| entry.reason);
    let comment = reason.map(|reason| worker.reader().words(reason.index, "reason")).transpose()?;
    metadata["comment"] = json!(comment.flatten());
    let approval = worker.reader().get(&activation.approval_id).await?;
    let mut reviews = Vec::new();
    for event in approval.iter().flat_map(|approval| &approval.steps).flat_map(|step| &step.events)
    {
        let Event::Reviewed { by, decision, evidence, .. } = event else { continue };
        let comment = evidence.map(|index| worker.reader().comment(index)).transpose()?;
        reviews.push(json!({"by": by, "decision": decision, "comment": comment.flatten()}));
    }
    metadata["reviews"] = json!(reviews);
    Ok(metadata)
}
