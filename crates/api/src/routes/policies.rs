//! Policies of a tenant: what is in force, every version, proposals. A proposal takes effect once people approved it (P17).

use crate::{
    act::{self, Why},
    app::App,
    auth::{self, Caller},
    problem::{Code, Problem},
};
use approvals::{
    deciding::{BundleEntry, Loaded, Proposal, bundle_entry, load},
    history::Approval,
    worker::Worker,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use decider::policy::{self, Bundle, Consequence, LANGUAGE, Mistake, Source, cases};
use ledger::{
    ident::Ident,
    journal::BODY_BYTES_MAX,
    system::{
        By, Role,
        policy::{BundleForm, PartAt, PolicyBody},
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};

/// Most versions in one answer.
const VERSIONS_MAX: usize = 100;
/// Space in the message of a part for everything but its content, in bytes.
const FRAME_BYTES: usize = 1024;
/// Most people who are named as contributors.
const CONTRIBUTORS_MAX: usize = 32;
/// Most changes that reviewers are told in words; the two versions themselves say everything.
const CHANGES_MAX: usize = 200;
/// Who may read policies.
const READERS: &[Role] =
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

/// A proposal that people are asked about.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Proposed {
    /// Version of the bundle.
    version: u64,
    /// Its digest.
    digest: String,
    /// Leaf index of its entry.
    index: u64,
    /// Each change in words, what allows more first.
    changes: Vec<String>,
    /// `{id, url, state}`
    #[schema(value_type = Object)]
    approval: Value,
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
    let unusable = tokio::task::block_in_place(|| worker.desk.in_force()).err();
    let mut versions = Vec::new();
    walk(&app, &tenant, |index, entry| {
        let BundleEntry { version, digest, by, contributors, .. } = entry;
        versions.push(json!({"version": version, "digest": digest, "index": index, "by": by, "contributors": contributors}));
        versions.len() == VERSIONS_MAX
    })?;
    Ok(Json(PolicyStatus { in_force, unusable: unusable.map(|e| e.to_string()), versions }))
}

/// Show the files of one version
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{version}", tag = "decisions",
    params(("tenant" = String, Path), ("version" = u64, Path)),
    responses((status = 200, body = PolicyVersion), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn version(
    State(app): State<Arc<App>>,
    Path((tenant, version)): Path<(String, u64)>,
    headers: HeaderMap,
) -> Result<Json<PolicyVersion>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, READERS)?;
    let worker = worker_of(&app, &tenant)?;
    let Loaded { bundle, version, index, files } = loaded(&app, &tenant, &worker, version)?;
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
    known(&worker, &caller, &new.contributors).await?;
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
    Path((tenant, version)): Path<(String, u64)>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Proposed>), Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Author])?;
    let worker = worker_of(&app, &tenant)?;
    let Rollback { comment } = app.bodies.json(&headers, body).await?;
    known(&worker, &caller, &[]).await?;
    let Loaded { bundle, index, .. } = loaded(&app, &tenant, &worker, version)?;
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

/// A bundle that people are to be asked about.
struct Asking<'b> {
    bundle: &'b Bundle,
    index: u64,
    entry: BundleEntry,
    tests: String,
}

async fn ask(
    worker: &Worker,
    asking: Asking<'_>,
    owners: &[Ident],
    comment: &Why,
) -> Result<(StatusCode, Json<Proposed>), Problem> {
    let Asking { bundle, index, entry, tests } = asking;
    let before = worker.desk.in_force().ok().flatten();
    let in_force = worker.commands.reader_log().policies().in_force;
    let (widens, changes) = changes(before.as_deref().map(|loaded| &loaded.bundle), bundle);
    let proposal = Proposal {
        bundle: index,
        version: entry.version,
        digest: entry.digest.clone(),
        replaces: in_force.map(|bundle| bundle.digest),
        widens,
        changes: changes.clone(),
        tests,
    };
    let approval = worker.clerk.propose(&proposal, owners, Some(&comment.to_string())).await?;
    let approval = approval.map_err(|why| {
        let detail = format!(
            "Version {} is recorded, and nobody can be asked about it: {} The rules need a [[rule]] with \
             [rule.match] tool = \"countersign\".",
            entry.version,
            why.advice()
        );
        Problem::new(Code::NotOpened, detail)
    })?;
    let Approval { id, state, .. } = approval;
    if let Some(why) = state.end_reason.as_deref().filter(|_| state.ended_at.is_some()) {
        let detail =
            format!("Version {} is recorded, and nobody is asked about it: {why}.", entry.version);
        return Err(Problem::new(Code::NotOpened, detail));
    }
    let url = format!("{}/approvals/{id}", worker.cards().public_url());
    let approval = json!({"id": id, "url": url, "state": state.phase});
    let BundleEntry { version, digest, .. } = entry;
    Ok((StatusCode::CREATED, Json(Proposed { version, digest, index, changes, approval })))
}

/// Each change in words, and whether any of them may allow more.
fn changes(before: Option<&Bundle>, after: &Bundle) -> (bool, Vec<String>) {
    let Some(before) = before else {
        return (true, policy::all_new(after));
    };
    let all = policy::diff(before, after);
    let widens = all.iter().any(|change| change.consequence != Consequence::Less);
    let told = all
        .into_iter()
        .take(CHANGES_MAX)
        .map(|change| format!("{}: {}: {}", change.what, change.text, change.consequence.as_str()));
    (widens, told.collect())
}

/// Refuses an author who is not among the people in force: then it is unknown whom the review must leave out.
async fn known(worker: &Worker, caller: &Caller, contributors: &[Ident]) -> Result<(), Problem> {
    let setup = worker.readiness().decides().await?;
    if let Some(stranger) = contributors.iter().find(|id| !setup.people.contains_key(*id)) {
        let detail = format!(
            "contributors: {stranger} is not among the people in force; write the id as in people.toml."
        );
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let person = caller.key.person.as_ref();
    if person.is_some_and(|person| setup.people.contains_key(person)) {
        return Ok(());
    }
    let detail = "The person of this key is not among the people in force, so nobody knows who must not review this: add \
                  the person to people.toml, then run `countersign rules apply`.";
    Err(Problem::new(Code::OwnerUnknown, detail))
}

fn worker_of(app: &App, tenant: &Tenant) -> Result<Arc<Worker>, Problem> {
    app.worker(&tenant.name).ok_or_else(|| {
        Problem::new(Code::NotReady, "Policies need [approvals] in the server's configuration.")
    })
}

/// Reads the files, and runs their tests.
fn check(files: &[PolicyFile]) -> Result<(Bundle, String), Problem> {
    let sources =
        files.iter().map(|file| Source { path: &file.path, bytes: file.content.as_bytes() });
    let sources: Vec<Source<'_>> = sources.collect();
    let wrong = |mistakes: &[Mistake]| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Problem::new(Code::PolicyWrong, lines.join("\n"))
    };
    let bundle = Bundle::read(&sources).map_err(|mistakes| wrong(&mistakes))?;
    let cases = cases::read(&sources).map_err(|mistakes| wrong(&mistakes))?;
    let failures = cases::run(&bundle, &cases);
    if !failures.is_empty() {
        let failed: Vec<Mistake> = failures.into_iter().map(|failure| failure.mistake).collect();
        return Err(wrong(&failed));
    }
    Ok((bundle, format!("{} tests pass", cases.len())))
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

fn loaded(app: &App, tenant: &Tenant, worker: &Worker, version: u64) -> Result<Loaded, Problem> {
    let mut found = None;
    walk(app, tenant, |index, entry| {
        found = (entry.version == version).then_some(index);
        found.is_some()
    })?;
    let index = found.ok_or_else(Problem::not_found)?;
    tokio::task::block_in_place(|| load(worker.commands.reader_log(), index))
        .map_err(|why| Problem::new(Code::PolicyUnreadable, format!("Version {version}: {why}.")))
}
