//! How the replicas of each log stand, and who they are.

use crate::{
    act::{self, Why},
    app::App,
    auth,
    problem::{Code, Problem},
    replicas,
};
use axum::{Json, body::Body, extract::State, http::HeaderMap};
use ledger::{
    ident::Ident,
    log::{
        cosignature::Cosigner,
        members::{self, Member, MemberSet},
        note::Vkey,
    },
    replica::{self, Lacks},
    system::{
        By, KeyUse,
        members::{Before, MembersChange},
    },
    tenant::Tenant,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};

/// How the replicas stand.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Replicas {
    /// One for each log. None if this server signs alone.
    logs: Vec<replicas::Replicated>,
}

/// How the replicas stand that sign together, as this one sees it (operator key)
#[utoipa::path(get, path = "/v1/replicas", tag = "operation",
    responses((status = 200, body = Replicas), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Replicas>, Problem> {
    auth::operator(&app.ledger, &headers)?;
    Ok(Json(Replicas { logs: replicas::logs(&app.ledger) }))
}

/// The key that takes over next, once every replica has said that it has its file.
pub async fn key_of_all(app: &App, tenant: &Tenant, usage: KeyUse) -> Result<Vkey, Problem> {
    let name = json!(usage);
    let name = name.as_str().unwrap_or_default();
    let refused = |detail: String| Problem::new(Code::Conflict, detail);
    tenant.refresh_keys().map_err(|error| refused(format!("{error}.")))?;
    let keys = tenant.published().keys.clone();
    let current = match usage {
        KeyUse::Log => keys.log.last().map(|key| key.vkey.0.clone()),
        KeyUse::Journal => keys.journal().pop(),
        KeyUse::Token => keys.token().pop(),
        KeyUse::Agent => keys.agent().pop(),
    };
    let how = format!(
        "Make it with `countersign key make --tenant {} --use {name}` on one replica, copy that file to keys_dir of every other \
         one, and repeat this",
        tenant.name
    );
    let next = tenant.with_keys(|ring| ring.after(usage, current.as_ref()));
    let next = next.ok_or_else(|| {
        refused(format!("There is no file of a next {name} key on this replica. {how}."))
    })?;
    let broker = app.broker.as_ref();
    let broker = broker.ok_or_else(|| refused("This server has no broker.".into()))?;
    let lacking = replica::lacking(broker, tenant, &next).await;
    if lacking.is_empty() {
        return Ok(next);
    }
    Err(refused(format!(
        "Not every replica has the file of the {name} key {}: {}. Copy it to keys_dir of each (mode 600), start those that are away, and \
         repeat this. Nothing was switched.",
        next.label(),
        Lacks::in_words(&lacking)
    )))
}

/// A change of the replicas.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplicasChange {
    /// Names of those that shall leave.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    remove: Vec<Ident>,
    /// Those that shall join.
    #[serde(default)]
    add: Vec<NewReplica>,
    /// Why, for people: 1 to 2000 characters, stored as erasable evidence.
    #[schema(value_type = Option<String>)]
    reason: Option<Why>,
}

/// A replica that shall join.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReplica {
    /// Its name.
    #[schema(value_type = String)]
    name: Ident,
    /// Its public key, as `countersign replica key` prints it.
    vkey: String,
}

/// What became of a change, one for each log.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReplicasChanged {
    logs: Vec<ChangedLog>,
}

/// What became of a change in one log.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ChangedLog {
    /// The tenant.
    tenant: String,
    /// `applied`; or `unchanged`: these are its replicas already.
    status: &'static str,
    /// Version of the set in force.
    version: u64,
    /// Leaf index of its entry; `null` for the set of the configuration.
    index: Option<u64>,
    /// Names of its members.
    members: Vec<String>,
}

/// Change the replicas of every log (operator key). It is refused where it would leave no majority that answers
#[utoipa::path(post, path = "/v1/replicas/members", tag = "operation", request_body = ReplicasChange,
    responses((status = 200, body = ReplicasChanged), (status = "4XX", body = Problem)), security(("key" = [])))]
pub async fn change(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReplicasChanged>, Problem> {
    let by = auth::operator(&app.ledger, &headers)?;
    let change: ReplicasChange = app.bodies.json(&headers, body).await?;
    if app.config.file.replica.is_none() {
        let detail = "This server signs alone: it has no [replica] in its configuration.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let add: Result<Vec<Member>, Problem> = change.add.iter().map(new_member).collect();
    let add = add?;
    let _alone = app.slow.lock().await;
    let tenants = app.ledger.tenants();
    is_known(&tenants, &change.remove)?;
    is_nobody_else(&app, &tenants, &add)?;
    // Every log is checked before the first one is changed.
    let mut wanted = Vec::with_capacity(tenants.len());
    for tenant in tenants.iter().filter(|tenant| !tenant.is_deleted()) {
        let set = replicas::sets_agree(tenant)
            .map_err(|why| Problem::new(Code::Conflict, format!("{}: {why}.", tenant.name)))?;
        let members = changed(tenant, &set, (&change.remove, &add))?;
        if members != set.members {
            replicas::can_cosign(app.broker.as_ref(), tenant, (&set, &members))
                .await
                .map_err(|why| Problem::new(Code::Conflict, format!("{}: {why}.", tenant.name)))?;
        }
        wanted.push((tenant, set, members));
    }
    let (mut logs, mut failed) = (Vec::with_capacity(wanted.len()), Vec::new());
    for (tenant, set, members) in wanted {
        let done = put_in_force(&app, tenant, (set, members), (&by, change.reason.as_ref())).await;
        match done {
            Ok(log) => logs.push(log),
            // The other logs are changed all the same: a repetition does the rest.
            Err(problem) => failed.push((tenant.name.clone(), problem)),
        }
    }
    told(logs, failed)
}

/// All logs have the change, or an error that says which of them lack it.
fn told(
    logs: Vec<ChangedLog>,
    mut failed: Vec<(Ident, Problem)>,
) -> Result<Json<ReplicasChanged>, Problem> {
    if failed.is_empty() {
        return Ok(Json(ReplicasChanged { logs }));
    }
    if logs.is_empty() && failed.len() == 1 {
        return Err(failed.remove(0).1);
    }
    let have: Vec<&str> = logs.iter().map(|log| log.tenant.as_str()).collect();
    let lack: Vec<String> =
        failed.iter().map(|(name, problem)| format!("{name}: {}", problem.detail())).collect();
    Err(Problem::new(
        Code::Conflict,
        format!(
            "Not every log has the change. These have it: {}. These lack it: {} Repeat the same request: logs that have it stay as \
             they are.",
            if have.is_empty() { "none".into() } else { have.join(", ") },
            lack.join(" ")
        ),
    ))
}

/// Refuses names that are, and were, those of no replica: somebody mistyped. One that left already may be named again, because a
/// change that was interrupted is repeated.
fn is_known(tenants: &[Arc<Tenant>], remove: &[Ident]) -> Result<(), Problem> {
    let (mut ever, mut now) = (BTreeSet::new(), BTreeSet::new());
    for replica in tenants.iter().filter_map(|tenant| tenant.replica()) {
        let names = |set: &MemberSet| {
            set.members.iter().map(|one| one.name.clone()).collect::<Vec<Ident>>()
        };
        ever.extend(replica.sets().iter().flat_map(names));
        now.extend(names(&replica.set()));
    }
    let unknown = remove.iter().find(|name| !ever.contains(*name));
    let Some(unknown) = unknown.filter(|_| !now.is_empty()) else { return Ok(()) };
    let names: Vec<String> = now.iter().map(ToString::to_string).collect();
    let detail = format!("remove: {unknown} is no replica. There are: {}.", names.join(", "));
    Err(Problem::new(Code::BadRequest, detail))
}

/// Refuses keys that count as somebody else already: of a log, or of a witness that this server asks.
fn is_nobody_else(app: &App, tenants: &[Arc<Tenant>], add: &[Member]) -> Result<(), Problem> {
    for member in add {
        let is_it = |public: &[u8; 32]| public == member.key.public_bytes();
        let of_log = |tenant: &&Arc<Tenant>| {
            tenant.published().keys.log.iter().any(|key| is_it(key.vkey.0.public_bytes()))
        };
        let witness = app.config.file.witness.iter().find(|(_, witness)| {
            Cosigner::parse(&witness.vkey).is_ok_and(|key| is_it(key.public_bytes()))
        });
        let of = match (tenants.iter().find(of_log), witness) {
            (Some(tenant), _) => format!("the log of {}", tenant.name),
            (None, Some((name, _))) => format!("the witness {name}"),
            (None, None) => continue,
        };
        return Err(Problem::new(
            Code::BadRequest,
            format!(
                "add: {} has the public key of {of}: one key would count twice. `countersign replica key` makes one of its own.",
                member.name
            ),
        ));
    }
    Ok(())
}

fn new_member(new: &NewReplica) -> Result<Member, Problem> {
    let key = Cosigner::parse(&new.vkey).map_err(|error| {
        let detail = format!("add: {}: {error}. `countersign replica key` prints a key.", new.name);
        Problem::new(Code::BadRequest, detail)
    })?;
    Ok(Member { name: new.name.clone(), key })
}

/// The members of a set after a change. One that is asked for and is so already is no change, so a repetition changes nothing.
fn changed(
    tenant: &Tenant,
    set: &MemberSet,
    (remove, add): (&[Ident], &[Member]),
) -> Result<Vec<Member>, Problem> {
    let wrong = |what: String| Problem::new(Code::BadRequest, what);
    for member in add {
        let expected = members::key_name(&tenant.origin, member.name.as_str());
        if member.key.name() != expected {
            return Err(wrong(format!(
                "add: the key of {} must be named {expected}: make it with `countersign replica key --name {}`.",
                member.name, member.name
            )));
        }
    }
    if remove.is_empty() && add.is_empty() {
        return Err(wrong("Nothing to change: `remove` and `add` are empty.".into()));
    }
    let leaves = |one: &Member| remove.contains(&one.name) && !add.contains(one);
    let mut members: Vec<Member> = set.members.iter().filter(|one| !leaves(one)).cloned().collect();
    let new: Vec<Member> = add.iter().filter(|one| !set.has(one)).cloned().collect();
    members.extend(new);
    members.sort_by(|one, other| one.name.cmp(&other.name));
    match members::mistake(&members) {
        Some(what) => Err(wrong(format!("{}: {what}.", tenant.name))),
        None => Ok(members),
    }
}

async fn put_in_force(
    app: &App,
    tenant: &Arc<Tenant>,
    (set, members): (MemberSet, Vec<Member>),
    (by, why): (&By, Option<&Why>),
) -> Result<ChangedLog, Problem> {
    let names = members.iter().map(|one| one.name.to_string()).collect();
    let tenant_name = tenant.name.to_string();
    if members == set.members {
        let (version, index) = (set.version, (set.version > 0).then_some(set.index));
        let status = "unchanged";
        return Ok(ChangedLog { tenant: tenant_name, status, version, index, members: names });
    }
    let reason = act::keep_reason(&app.ledger, tenant, "members", why).await?;
    let version = set.version + 1;
    let before = Before { version: set.version, members: set.members };
    let change = MembersChange { v: 1, version, members, before, by: by.clone(), reason };
    let index = act::record(&app.ledger, tenant, "members", &change).await?;
    let (status, index) = ("applied", Some(index));
    Ok(ChangedLog { tenant: tenant_name, status, version, index, members: names })
}
