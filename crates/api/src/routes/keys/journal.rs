//! Rotates the journal key where several replicas sign messages with it: first the new key counts beside the old one, then alone.

use super::{Missing, Rotated};
use crate::{
    act::{self, Why},
    app::App,
    problem::{Code, Problem},
    routes::replicas::key_of_all,
};
use approvals::worker::Worker;
use ledger::{
    Error,
    log::{merkle::leaf_hash, replicas::Place},
    replica,
    system::{By, KeyChange, KeyText, KeyUse},
    tenant::Tenant,
};
use std::{sync::Arc, time::Duration};

/// A message that a replica signed with the old key before it showed the new one is stored by then. If not, it is rejected, and its
/// sender is told and sends it again.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// Rotates the journal key, or ends a rotation whose old key still counts.
pub(super) async fn rotate(
    app: &App,
    tenant: &Arc<Tenant>,
    (by, why): (By, Option<Why>),
) -> Result<Rotated, Problem> {
    let _alone = app.slow.lock().await;
    if !tenant.shows() && tenant.halted().is_none() {
        return Err(Error::Behind.into());
    }
    let no_broker = || Problem::new(Code::Conflict, "This server has no broker.");
    let broker = app.broker.as_ref().ok_or_else(no_broker)?;
    let in_force = tenant.published().keys.journal();
    let is_unfinished = in_force.len() > 1;
    let vkey = match in_force.last() {
        Some(newest) if is_unfinished => newest.clone(),
        _ => key_of_all(app, tenant, KeyUse::Journal).await?,
    };
    let reason = act::keep_reason(&app.ledger, tenant, "key", why.as_ref()).await?;
    let (usage, text) = (KeyUse::Journal, vkey.to_string());
    let change = KeyChange { usage, vkey: KeyText(vkey), overlap: 0, beside: true, by, reason };
    let mut index = None;
    if !is_unfinished {
        // Decisions on their way here are signed with the key in force: wait until they are posted.
        let worker: Option<Arc<Worker>> = app.worker(&tenant.name);
        let _none_on_its_way = match &worker {
            Some(worker) => Some(worker.readiness().change_rules().await),
            None => None,
        };
        index = Some(act::record(&app.ledger, tenant, "key", &change).await?);
    }
    let last = tenant.published().size.saturating_sub(1);
    let entry = app.ledger.entry(tenant, last)?.unwrap_or_default();
    let place = Place { index: last, leaf_hash: leaf_hash(&entry) };
    let lacks = replica::not_shown(broker, (&app.ledger, tenant), place).await;
    if lacks.is_empty() {
        tokio::time::sleep(ON_ITS_WAY).await;
        let alone = KeyChange { beside: false, ..change };
        let ended = act::record(&app.ledger, tenant, "key", &alone).await?;
        index.get_or_insert(ended);
    }
    let missing = lacks.into_iter().map(Missing::from).collect();
    Ok(Rotated { vkey: text, index: index.unwrap_or(last), missing })
}
