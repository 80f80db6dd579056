//! Asks people whether a bundle may take effect, with its changes in words.

use super::{simulation::simulated, standing::standing};
use crate::{
    act::Why,
    auth::Caller,
    problem::{Code, Problem},
    reviewed,
};
use approvals::{deciding::Proposal, setup::Setup, worker::Worker};
use axum::{Json, http::StatusCode};
use decider::policy::{self, Bundle, Consequence};
use ledger::{ident::Ident, system::policy::BundleEntry};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Most changes that reviewers are told in words; the two versions themselves say everything.
const CHANGES_MAX: usize = 200;
/// As many bytes of them.
const CHANGES_BYTES_MAX: usize = 48 << 10;

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
    /// Which of the newest recorded calls it would have judged otherwise: `{calls, same, otherwise, not_simulated, changed,
    /// from, to, root}`
    #[schema(value_type = Object)]
    simulation: Value,
    /// `{id, url, state}`
    #[schema(value_type = Object)]
    approval: Value,
}

/// A bundle that people are to be asked about.
pub(super) struct Asking<'b> {
    pub(super) bundle: &'b Bundle,
    pub(super) index: u64,
    pub(super) entry: BundleEntry,
    pub(super) tests: String,
}

/// Asks people whether a bundle may take effect.
pub(super) async fn ask(
    worker: &Worker,
    asking: Asking<'_>,
    owners: &[Ident],
    comment: &Why,
) -> Result<(StatusCode, Json<Proposed>), Problem> {
    let Asking { bundle, index, entry, tests } = asking;
    let before = worker.desk.in_force().ok().flatten();
    let (with_lists, staying) = standing(worker, bundle)?;
    let in_force = worker.commands.reader_log().policies().in_force;
    let simulation = tokio::task::block_in_place(|| simulated(worker, bundle))?;
    let (widens, mut changes) =
        changes(before.as_deref().map(|loaded| &loaded.bundle), &with_lists);
    changes.extend(staying);
    let proposal = Proposal {
        bundle: index,
        version: entry.version,
        digest: entry.digest.clone(),
        replaces: in_force.map(|bundle| bundle.digest),
        widens,
        changes: changes.clone(),
        tests,
        simulation: Some(simulation.clone()),
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
    if let Some(why) = reviewed::not_asked(&approval) {
        let detail =
            format!("Version {} is recorded, and nobody is asked about it: {why}.", entry.version);
        return Err(Problem::new(Code::NotOpened, detail));
    }
    let approval = reviewed::told(worker, &approval);
    let BundleEntry { version, digest, .. } = entry;
    let simulation = json!(simulation);
    let proposed = Proposed { version, digest, index, changes, simulation, approval };
    Ok((StatusCode::CREATED, Json(proposed)))
}

/// Each change in words, and whether any of them may allow more.
fn changes(before: Option<&Bundle>, after: &Bundle) -> (bool, Vec<String>) {
    let Some(before) = before else {
        return (true, bounded(policy::all_new(after)));
    };
    let all = policy::diff(before, after);
    let may_widen = |change: &policy::Change| {
        matches!(change.consequence(), Some(Consequence::More | Consequence::Unclear))
    };
    let widens = all.iter().any(may_widen);
    let told =
        |change: policy::Change| format!("{}: {}: {}", change.what, change.text, change.says());
    (widens, bounded(all.into_iter().map(told).collect()))
}

/// As many changes as people read, and one card's message holds.
fn bounded(all: Vec<String>) -> Vec<String> {
    let count = all.len();
    let mut told = Vec::new();
    let mut bytes = 0;
    for change in all {
        bytes += change.len();
        if told.len() == CHANGES_MAX || bytes > CHANGES_BYTES_MAX {
            told.push(format!("and {} more: compare the versions", count - told.len()));
            break;
        }
        told.push(change);
    }
    told
}

/// Refuses an author who is not among the people in force: then it is unknown whom the review must leave out. Returns
/// the rules in force.
pub async fn known(
    worker: &Worker,
    caller: &Caller,
    contributors: &[Ident],
) -> Result<Arc<Setup>, Problem> {
    let setup = worker.readiness().decides().await?;
    if let Some(stranger) = contributors.iter().find(|id| !setup.people.contains_key(*id)) {
        let detail = format!(
            "contributors: {stranger} is not among the people in force; write the id as in people.toml."
        );
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let person = caller.key.person.as_ref();
    if person.is_some_and(|person| setup.people.contains_key(person)) {
        return Ok(setup);
    }
    let detail = "The person of this key is not among the people in force, so nobody knows who must not review this: add \
                  the person to people.toml, then run `countersign rules apply`.";
    Err(Problem::new(Code::OwnerUnknown, detail))
}
