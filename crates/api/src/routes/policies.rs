//! Policies of a tenant: what is in force, every version, proposals. A proposal takes effect once people approved it (P17).

mod ask;
pub(super) mod opa;
mod simulation;
mod standing;

use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
};
use approvals::{
    deciding::{Loaded, bundle_entry, load},
    worker::Worker,
};
pub(super) use ask::known;
use ask::{Asking, Proposed, ask};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use decider::policy::{self, Bundle, LANGUAGE, Mistake, Source, cases};
use ledger::{
    foreign::harmless,
    ident::Ident,
    journal::BODY_BYTES_MAX,
    system::{
        self, By, Role,
        policy::{BundleEntry, BundleForm, PartAt, PolicyBody},
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
pub(super) use standing::lists_told;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Most versions in one answer.
const VERSIONS_MAX: usize = 100;
/// Space in the message of a part for everything but its content, in bytes.
const FRAME_BYTES: usize = 1024;
/// Most bytes of the list of files, of which each takes [`PART_BYTES`] and its path.
const MANIFEST_BYTES_MAX: usize = system::BODY_BYTES_MAX - 8 * 1024;
const PART_BYTES: usize = 120;
/// Most clauses, and most changes that no test notices, that reviewers are told.
const GAPS_NAMED_MAX: usize = 10;
/// Most people who are named as contributors.
const CONTRIBUTORS_MAX: usize = 32;
/// Who may read policies.
pub(super) const READERS: &[Role] =
    &[Role::Author, Role::Reviewer, Role::Auditor, Role::Discloser, Role::Admin];

/// A file of a bundle.
#[derive(Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Path below the tenant's folder: `policies/payments.yaml`.
    path: String,
    /// Content.
    content: String,
}

/// A bundle that somebody proposes.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBundle {
    /// Every file, tests included.
    files: Vec<PolicyFile>,
    /// People who wrote it beside the one whose key this is: they never review it.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    contributors: Vec<Ident>,
    /// Why, for reviewers: 1 to 2000 characters.
    #[schema(value_type = String)]
    comment: Why,
}

/// An older bundle that somebody proposes again.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Why, for reviewers: 1 to 2000 characters.
    #[schema(value_type = String)]
    comment: Why,
}

/// The policies of a tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PolicyStatus {
    /// `{version, digest, index, bundle}`; `null`: none is in force, and every call is denied.
    #[schema(value_type = Option<Object>)]
    in_force: Option<Value>,
    /// Why they can't be used here. Then nothing is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    /// The lists of the bundle in force: `{name, version, items, index, named_by}` each.
    #[schema(value_type = Vec<Object>)]
    lists: Vec<Value>,
    /// The newest 100 versions, the newest first.
    #[schema(value_type = Vec<Object>)]
    versions: Vec<Value>,
}

/// One version with its files.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PolicyVersion {
    /// The version.
    version: u64,
    /// Its digest.
    digest: String,
    /// Leaf index of its entry.
    index: u64,
    /// Its files, without tests.
    files: Vec<PolicyFile>,
}

/// Show the policies in force and every version
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies", tag = "decisions",
    params(("tenant" = String, Path)),
    responses((status = 200, body = PolicyStatus), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn status(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<PolicyStatus>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, READERS)?;
    let worker = worker_of(&app, &tenant)?;
    let policies = tenant.published().policies.clone();
    let in_force = policies.in_force.map(|bundle| {
        json!({"version": bundle.version, "digest": bundle.digest, "index": bundle.index, "bundle": bundle.bundle})
    });
    let loaded = tokio::task::block_in_place(|| worker.desk.in_force());
    let lists = loaded.as_ref().ok().and_then(|loaded| Some(lists_told(loaded.as_ref()?)));
    let (lists, unusable) = (lists.unwrap_or_default(), loaded.err());
    let mut versions = Vec::new();
    walk(&app, &tenant, |index, entry| {
        let BundleEntry { version, digest, by, contributors, .. } = entry;
        versions.push(json!({"version": version, "digest": digest, "index": index, "by": by, "contributors": contributors}));
        versions.len() == VERSIONS_MAX
    })?;
    let unusable = unusable.map(|error| error.to_string());
    Ok(Json(PolicyStatus { in_force, unusable, lists, versions }))
}

/// Show the files of one version
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{version}", tag = "decisions",
    params(("tenant" = String, Path), ("version" = u64, Path)),
    responses((status = 200, body = PolicyVersion), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn version(
    State(app): State<Arc<App>>,
    Path((tenant, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<PolicyVersion>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, READERS)?;
    let worker = worker_of(&app, &tenant)?;
    let Loaded { bundle, version, index, files, .. } =
        loaded(&app, &tenant, &worker, &version).await?;
    let files = files.into_iter().map(|(path, content)| PolicyFile { path, content }).collect();
    Ok(Json(PolicyVersion { version, digest: bundle.digest().to_owned(), index, files }))
}

/// Propose policies: they take effect once people approved exactly these
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies", tag = "decisions",
    params(("tenant" = String, Path)), request_body = NewBundle,
    responses((status = 201, body = Proposed), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn propose(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Proposed>), Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Author])?;
    let worker = worker_of(&app, &tenant)?;
    let held = app.bodies.events(&headers, body, &tenant.name).await?;
    let new: NewBundle = serde_json::from_slice(&held.bytes).map_err(|error| {
        Problem::new(Code::BadRequest, format!("The body: {}.", crate::body::wrong(&error)))
    })?;
    if new.contributors.len() > CONTRIBUTORS_MAX {
        return Err(Problem::new(
            Code::BadRequest,
            format!("contributors: at most {CONTRIBUTORS_MAX}."),
        ));
    }
    let (bundle, tests) = tokio::task::block_in_place(|| check(&new.files))?;
    let setup = known(&worker, &caller, &new.contributors).await?;
    let mut left = bundle.caught_by_the_rest(&setup.rules);
    left.extend(standing::mistakes(&worker, &bundle)?);
    if !left.is_empty() {
        return Err(wrong(&left));
    }
    // Two proposals at once would each take the next version.
    let _alone = app.slow.lock().await;
    let parts = keep_parts(&app, &tenant, &bundle, (&new.files, &caller.by())).await?;
    let reason = act::keep_reason(&app.ledger, &tenant, "policy", Some(&new.comment)).await?;
    let form = BundleForm {
        digest: bundle.digest().to_owned(),
        language: LANGUAGE,
        parts,
        by: caller.by(),
        contributors: new.contributors.clone(),
        reason,
    };
    let index = act::record(&app.ledger, &tenant, "policy", &PolicyBody::Bundle(form)).await?;
    let entry = app.ledger.entry(&tenant, index)?;
    let entry = entry.as_deref().and_then(bundle_entry);
    let entry = entry.ok_or_else(|| Problem::internal("a bundle without its entry"))?;
    let mut owners = new.contributors;
    owners.extend(caller.key.person.clone());
    let asking = Asking { bundle: &bundle, index, entry, tests };
    ask(&worker, asking, &owners, &new.comment).await
}

/// Propose an older version again: it takes effect once people approved it
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{version}/rollback", tag = "decisions",
    params(("tenant" = String, Path), ("version" = u64, Path)), request_body = Rollback,
    responses((status = 201, body = Proposed), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn rollback(
    State(app): State<Arc<App>>,
    Path((tenant, version)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Proposed>), Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Author])?;
    let worker = worker_of(&app, &tenant)?;
    let Rollback { comment } = app.bodies.json(&headers, body).await?;
    known(&worker, &caller, &[]).await?;
    let Loaded { bundle, index, .. } = loaded(&app, &tenant, &worker, &version).await?;
    let entry = app.ledger.entry(&tenant, index)?;
    let entry = entry.as_deref().and_then(bundle_entry).ok_or_else(Problem::not_found)?;
    // Who wrote it then reviews it no more than who proposes it now.
    let mut owners = entry.contributors.clone();
    if let By::Key { person: Some(person), .. } = &entry.by {
        owners.push(person.clone());
    }
    owners.extend(caller.key.person.clone());
    owners.sort_unstable();
    owners.dedup();
    let tests = "tests are not kept with a version".to_owned();
    ask(&worker, Asking { bundle: &bundle, index, entry, tests }, &owners, &comment).await
}

pub(super) fn worker_of(app: &App, tenant: &Tenant) -> Result<Arc<Worker>, Problem> {
    if let Some(reason) = tenant.halted() {
        return Err(ledger::Error::Halted(reason).into());
    }
    app.worker(&tenant.name).ok_or_else(|| {
        Problem::new(Code::NotFound, "Policies need [approvals] in the server's configuration.")
    })
}

/// Reads the files, runs their tests, and says what these leave open.
fn check(files: &[PolicyFile]) -> Result<(Bundle, String), Problem> {
    let sources =
        files.iter().map(|file| Source { path: &file.path, bytes: file.content.as_bytes() });
    let sources: Vec<Source<'_>> = sources.collect();
    let bundle = Bundle::read(&sources).map_err(|mistakes| wrong(&mistakes))?;
    let cases = cases::read(&sources).map_err(|mistakes| wrong(&mistakes))?;
    let failures = cases::run(&bundle, &cases);
    if !failures.is_empty() {
        let failed: Vec<Mistake> = failures.into_iter().map(|failure| failure.mistake).collect();
        return Err(wrong(&failed));
    }
    let left = cases::gaps(&bundle, &cases).in_words(GAPS_NAMED_MAX);
    let left = left.map(|left| format!("; {left}")).unwrap_or_default();
    Ok((bundle, format!("{} tests pass{left}", cases.len())))
}

/// Every mistake, a line each.
fn wrong(mistakes: &[Mistake]) -> Problem {
    let lines: Vec<String> =
        mistakes.iter().map(|mistake| harmless(&mistake.to_string())).collect();
    Problem::new(Code::PolicyWrong, lines.join("\n"))
}

/// Publishes the parts that are not in the log yet. Returns where each of them is.
async fn keep_parts(
    app: &App,
    tenant: &Arc<Tenant>,
    bundle: &Bundle,
    (files, by): (&[PolicyFile], &By),
) -> Result<Vec<PartAt>, Problem> {
    let mut known: HashMap<String, u64> = HashMap::new();
    walk(app, tenant, |_, entry| {
        known.extend(entry.parts.iter().map(|part| (part.sha256.clone(), part.index)));
        known.len() > policy::FILES_MAX
    })?;
    for file in files {
        // Characters that JSON escapes take more room in the journal than in the file.
        let length = serde_json::to_string(&file.content).map_or(usize::MAX, |text| text.len());
        if length > BODY_BYTES_MAX - FRAME_BYTES {
            let detail = format!(
                "{}: it takes more than {BODY_BYTES_MAX} bytes as JSON: split it.",
                file.path
            );
            return Err(Problem::new(Code::PolicyWrong, detail));
        }
    }
    let manifest: usize = bundle.parts().iter().map(|part| part.path.len() + PART_BYTES).sum();
    if manifest > MANIFEST_BYTES_MAX {
        let detail =
            "The list of the files does not fit into one entry: use fewer files, or shorter names.";
        return Err(Problem::new(Code::PolicyWrong, detail));
    }
    let mut parts = Vec::new();
    for part in bundle.parts() {
        let index = if let Some(index) = known.get(&part.sha256) {
            *index
        } else {
            let content = files.iter().find(|file| file.path == part.path);
            let content = content.map(|file| file.content.clone()).unwrap_or_default();
            let (sha256, by) = (part.sha256.clone(), by.clone());
            let body = PolicyBody::Part { sha256, content, by };
            act::record(&app.ledger, tenant, "policy", &body).await?
        };
        let (path, sha256, bytes) = (part.path.clone(), part.sha256.clone(), part.bytes);
        parts.push(PartAt { path, sha256, bytes, index });
    }
    Ok(parts)
}

/// Visits the bundles that were proposed, the newest first, until `visit` returns true.
fn walk(
    app: &App,
    tenant: &Tenant,
    mut visit: impl FnMut(u64, &BundleEntry) -> bool,
) -> Result<(), Problem> {
    let mut next = tenant.published().policies.last;
    while let Some(index) = next {
        let entry = app.ledger.entry(tenant, index)?;
        let Some(entry) = entry.as_deref().and_then(bundle_entry) else { break };
        if visit(index, &entry) {
            break;
        }
        next = entry.previous;
    }
    Ok(())
}

async fn loaded(
    app: &App,
    tenant: &Tenant,
    worker: &Worker,
    version: &str,
) -> Result<Loaded, Problem> {
    let version: u64 = version.parse().map_err(|_| Problem::not_found())?;
    // Another server may have shown it to the caller.
    if version > tenant.published().policies.versions {
        app.ledger.catch_up(tenant).await?;
    }
    let mut found = None;
    walk(app, tenant, |index, entry| {
        found = (entry.version == version).then_some(index);
        found.is_some()
    })?;
    let index = found.ok_or_else(Problem::not_found)?;
    tokio::task::block_in_place(|| load(worker.commands.reader_log(), index, &BTreeMap::new()))
        .map_err(|why| Problem::new(Code::PolicyUnreadable, format!("Version {version}: {why}.")))
}
