//! Lists of a tenant's policies: what is in force, and changes of items. A change takes effect once people approved exactly
//! it (P17).

mod kept;

use super::policies::{READERS, known, lists_told, worker_of};
use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    reviewed,
};
use approvals::{
    deciding::{Loaded, bundle_entry},
    worker::Worker,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use data_encoding::BASE64URL_NOPAD;
use decider::policy::{CHANGED_MAX, ITEMS_MAX, ListProposal, fault_of, file_of};
use kept::{file_at, in_force, items_in, unknown, walk};
use ledger::{
    foreign::word,
    journal::BODY_BYTES_MAX,
    keyring,
    post::ListInForce,
    system::{
        By, Role,
        policy::{
            ListForm, PART_BYTES_MAX, PartAt, PolicyBody, file_digest, list_digest, list_path,
        },
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

/// Most versions in one answer.
const VERSIONS_MAX: usize = 100;
/// Most mistakes that are told at once.
const MISTAKES_MAX: usize = 20;
/// Most clauses that reviewers are told; the bundle itself says all.
const NAMED_BY_MAX: usize = 50;
/// Space in the message of a part for everything but its content, in bytes.
const FRAME_BYTES: usize = 1024;
/// Random bytes in the salt of a file.
const SALT_BYTES: usize = 16;

/// Items that somebody adds to a list and removes from it.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItems {
    /// Items to add.
    #[serde(default)]
    add: Vec<String>,
    /// Items to remove.
    #[serde(default)]
    remove: Vec<String>,
    /// Why, for reviewers: 1 to 2000 characters.
    #[schema(value_type = String)]
    comment: Why,
}

/// A change that people are asked about.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ListWaiting {
    /// `approval_needed`
    status: &'static str,
    /// What people are asked about: the params of the call.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    change: ListProposal,
    /// `{id, url, state}`: once it is granted, the server puts it in force.
    #[schema(value_type = Object)]
    approval: Value,
}

/// The lists of a tenant.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Lists {
    /// Each with `name`, `version` (0: its items are those of the bundle), `items` (their number), `index` of the entry that
    /// put the version in force, and `named_by`: the clauses of the policies in force that name it.
    #[schema(value_type = Vec<Object>)]
    lists: Vec<Value>,
}

/// One list with its items.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ListShown {
    /// Its name.
    name: String,
    /// The version in force. 0: its items are those of the bundle.
    version: u64,
    /// Leaf index of the entry that put the version in force; `null` with version 0.
    index: Option<u64>,
    /// The items, in byte order.
    items: Vec<String>,
    /// The clauses of the policies in force that name it, each with what it says.
    named_by: Vec<String>,
    /// The newest 100 versions that were in force, the newest first: `{version, entry, by}`.
    #[schema(value_type = Vec<Object>)]
    versions: Vec<Value>,
}

/// The file of one version of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ListVersion {
    /// Name of the list.
    name: String,
    /// The version.
    version: u64,
    /// Leaf index of the entry that proposed it.
    entry: u64,
    /// `{path, content}`
    #[schema(value_type = Object)]
    file: Value,
}

/// Show the lists of the policies in force
#[utoipa::path(get, path = "/v1/tenants/{tenant}/lists", tag = "decisions",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Lists), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn all(
    State(app): State<Arc<App>>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Lists>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, READERS)?;
    let worker = worker_of(&app, &tenant)?;
    Ok(Json(Lists { lists: in_force(&worker)?.as_deref().map(lists_told).unwrap_or_default() }))
}

/// Show one list with its items
#[utoipa::path(get, path = "/v1/tenants/{tenant}/lists/{name}", tag = "decisions",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ListShown), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn one(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<ListShown>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, READERS)?;
    let worker = worker_of(&app, &tenant)?;
    let loaded = kept::naming(&app, &tenant, &worker, &name).await?;
    let (bundle, own) = (&loaded.bundle, loaded.lists.get(&name));
    let items: BTreeSet<String> = match (bundle.items(&name), own) {
        (Some(items), _) => items.iter().cloned().collect(),
        // It has entries of its own, and the bundle in force does not name it.
        (None, Some(list)) => items_in(&worker, &name, list.part)?,
        (None, None) => return Err(unknown(&name)),
    };
    let items = items.into_iter().collect();
    let mut versions = Vec::new();
    walk(&app, &tenant, own, |entry, form| {
        versions.push(json!({"version": form.version, "entry": entry, "by": form.by}));
        versions.len() == VERSIONS_MAX
    })?;
    let (version, index) = (own.map_or(0, |list| list.version), own.map(|list| list.index));
    let named_by = bundle.naming(&name);
    Ok(Json(ListShown { name, version, index, items, named_by, versions }))
}

/// Show the file of one version of a list
#[utoipa::path(get, path = "/v1/tenants/{tenant}/lists/{name}/{version}", tag = "decisions",
    params(("tenant" = String, Path), ("name" = String, Path), ("version" = u64, Path)),
    responses((status = 200, body = ListVersion), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn version(
    State(app): State<Arc<App>>,
    Path((tenant, name, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<ListVersion>, Problem> {
    let (tenant, _) = auth::caller(&app.ledger, &headers, &tenant, READERS)?;
    let worker = worker_of(&app, &tenant)?;
    let wanted: u64 = version.parse().map_err(|_| Problem::not_found())?;
    // Another server may have shown it to the caller.
    let known = |list: &ListInForce| list.version >= wanted;
    if !tenant.published().policies.lists.get(&name).is_some_and(known) {
        app.ledger.catch_up(&tenant).await?;
    }
    let mut found = None;
    let published = tenant.published();
    walk(&app, &tenant, published.policies.lists.get(&name), |entry, form| {
        found = (form.version == wanted).then(|| (entry, form.part.clone()));
        found.is_some()
    })?;
    let (entry, part) = found.ok_or_else(Problem::not_found)?;
    let content = file_at(&worker, &part.path, part.index)?;
    let file = json!({"path": part.path, "content": content});
    Ok(Json(ListVersion { name, version: wanted, entry, file }))
}

/// Change the items of a list: it takes effect once people approved exactly this
#[utoipa::path(post, path = "/v1/tenants/{tenant}/lists/{name}", tag = "decisions",
    params(("tenant" = String, Path), ("name" = String, Path)), request_body = NewItems,
    responses((status = 202, body = ListWaiting), (status = "4XX", body = Problem), (status = 503, body = Problem)),
    security(("key" = [])))]
pub async fn change(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<ListWaiting>), Problem> {
    let (tenant, caller) = auth::caller(&app.ledger, &headers, &tenant, &[Role::Author])?;
    let worker = worker_of(&app, &tenant)?;
    let new: NewItems = app.bodies.json(&headers, body).await?;
    known(&worker, &caller, &[]).await?;
    // Two changes at once would each write the same version.
    let _alone = app.slow.lock().await;
    let loaded = in_force(&worker)?.ok_or_else(|| unknown(&name))?;
    let (after, mut change) = checked(&loaded, &name, &new)?;
    let salt = BASE64URL_NOPAD.encode(&keyring::random32()[..SALT_BYTES]);
    let part = keep_file(&app, &tenant, (&name, file_of(&after, &salt), after.len()), &caller.by())
        .await?;
    let reason = act::keep_reason(&app.ledger, &tenant, "policy", Some(&new.comment)).await?;
    change.digest = list_digest(&name, change.version, &part);
    let form = ListForm {
        replaces: replaced(&app, &tenant, &loaded, &name)?,
        digest: change.digest.clone(),
        version: change.version,
        by: caller.by(),
        name,
        part,
        reason,
    };
    change.entry = act::record(&app.ledger, &tenant, "policy", &PolicyBody::List(form)).await?;
    let owners: Vec<_> = caller.key.person.into_iter().collect();
    ask(&worker, change, &owners, &new.comment).await
}

async fn ask(
    worker: &Worker,
    change: ListProposal,
    owners: &[ledger::ident::Ident],
    comment: &Why,
) -> Result<(StatusCode, Json<ListWaiting>), Problem> {
    let asked = worker.clerk.propose_list(&change, owners, Some(&comment.to_string())).await?;
    let told = |why: &str| {
        let ListProposal { list, version, .. } = &change;
        let detail = format!(
            "Version {version} of the list {list} is recorded, and nobody is asked about it: {why}"
        );
        Problem::new(Code::NotOpened, detail)
    };
    let needed = "The rules need a [[rule]] with [rule.match] tool = \"countersign\", action = \"list.change\".";
    let approval = asked.map_err(|why| told(&format!("{} {needed}", why.advice())))?;
    if let Some(why) = reviewed::not_asked(&approval) {
        return Err(told(&format!("{why}.")));
    }
    let approval = reviewed::told(worker, &approval);
    Ok((StatusCode::ACCEPTED, Json(ListWaiting { status: "approval_needed", change, approval })))
}

/// The items after a change, and what people are asked about, but for entry and digest. Tells every mistake.
fn checked(
    loaded: &Loaded,
    name: &str,
    new: &NewItems,
) -> Result<(BTreeSet<String>, ListProposal), Problem> {
    let bundle = &loaded.bundle;
    let before = bundle.items(name).ok_or_else(|| unknown(name))?;
    if new.add.is_empty() && new.remove.is_empty() {
        return Err(wrong(&["name at least one item to add or remove".into()]));
    }
    if new.add.len() + new.remove.len() > CHANGED_MAX {
        return Err(wrong(&[format!("one change names at most {CHANGED_MAX} items")]));
    }
    let (mut mistakes, mut named) = (Vec::new(), HashSet::new());
    let mut after: BTreeSet<String> = before.iter().cloned().collect();
    for (item, adds) in
        new.add.iter().map(|item| (item, true)).chain(new.remove.iter().map(|item| (item, false)))
    {
        let fault = if !named.insert(item) {
            Some("it is named twice")
        } else if !adds {
            (!after.remove(item)).then_some("it is not in the list")
        } else if let Some(fault) = fault_of(item).or_else(|| bundle.unfit(name, item)) {
            Some(fault)
        } else {
            (!after.insert(item.clone())).then_some("it is in the list already")
        };
        mistakes.extend(fault.map(|fault| format!("{}: {fault}", word(item))));
    }
    if bundle.items_of_all() - before.len() + after.len() > ITEMS_MAX {
        mistakes.push(format!("all lists together have at most {ITEMS_MAX} items"));
    }
    if !mistakes.is_empty() {
        return Err(wrong(&mistakes));
    }
    let sorted = |items: &[String]| items.iter().cloned().collect::<BTreeSet<_>>();
    let mut named_by = bundle.naming(name);
    let more = named_by.len().saturating_sub(NAMED_BY_MAX);
    if more > 0 {
        named_by.truncate(NAMED_BY_MAX);
        named_by.push(format!("and {more} more"));
    }
    let change = ListProposal {
        list: name.to_owned(),
        version: bundle.list_version(name) + 1,
        entry: 0,
        digest: String::new(),
        added: sorted(&new.add).into_iter().collect(),
        removed: sorted(&new.remove).into_iter().collect(),
        items: after.len(),
        named_by,
    };
    Ok((after, change))
}

/// Records the file of a version.
async fn keep_file(
    app: &App,
    tenant: &Arc<Tenant>,
    (name, content, items): (&str, String, usize),
    by: &By,
) -> Result<PartAt, Problem> {
    let length = serde_json::to_string(&content).map_or(usize::MAX, |text| text.len());
    let most = BODY_BYTES_MAX - FRAME_BYTES;
    if content.len() > PART_BYTES_MAX || length > most {
        let fit = (items * PART_BYTES_MAX / content.len()).min(items * most / length);
        let text = format!(
            "with {items} items the list would take {} bytes, and its file has at most {PART_BYTES_MAX}: about {fit} such items \
             fit. Make two lists, and let clauses name both",
            content.len()
        );
        return Err(wrong(&[text]));
    }
    let sha256 = file_digest(&content);
    let bytes = content.len() as u64;
    let body = PolicyBody::Part { sha256: sha256.clone(), content, by: by.clone() };
    let index = act::record(&app.ledger, tenant, "policy", &body).await?;
    Ok(PartAt { path: list_path(name), sha256, bytes, index })
}

/// Leaf index of what the next version of a list replaces.
fn replaced(app: &App, tenant: &Tenant, loaded: &Loaded, name: &str) -> Result<u64, Problem> {
    if let Some(list) = loaded.lists.get(name) {
        return Ok(list.list);
    }
    let entry = app.ledger.entry(tenant, loaded.index)?;
    let bundle = entry.as_deref().and_then(bundle_entry);
    let part = bundle.and_then(|bundle| Some(bundle.part(&list_path(name))?.index));
    part.ok_or_else(|| Problem::internal("a list without its file"))
}

/// Every mistake, a line each.
fn wrong(mistakes: &[String]) -> Problem {
    let mut lines = mistakes.iter().take(MISTAKES_MAX).cloned().collect::<Vec<_>>();
    let more = mistakes.len().saturating_sub(MISTAKES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more mistakes"));
    }
    Problem::new(Code::ListWrong, lines.join("\n"))
}
