//! How far the replicas have told anybody anything. Whatever is told is covered by a checkpoint that a majority has cosigned, and two
//! majorities share a replica: so whoever asks a majority knows it, whatever NATS says. A NATS server that was just parted from the
//! others still answers for a few seconds, with what it had.

use super::cosigner::Said;
use crate::{
    ident::Ident,
    journal::jetstream::{Connection, peers::Peers},
    ledger::{Error, catch_up},
    log::members::MemberSet,
    tenant::{Replica, Tenant},
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use std::time::Duration;

/// Longest wait for a majority to answer.
const WAIT: Duration = Duration::from_secs(2);

/// Waits until everything is published here that any replica had told anybody before the call.
pub(crate) async fn reached(
    tenant: &Tenant,
    replica: &Replica,
    connection: &Connection,
) -> Result<(), Error> {
    loop {
        let set = replica.set();
        let told = told(connection, &tenant.name, &set).await?;
        catch_up::reached(tenant, |published| published.size >= told).await?;
        // What was posted since may say that other replicas are asked.
        if replica.set() == set {
            return Ok(());
        }
    }
}

/// A tree size that covers whatever any replica of this set had told anybody before the call. [`Error::NoQuorum`] if no majority
/// says how far it has cosigned.
async fn told(connection: &Connection, tenant: &Ident, set: &MemberSet) -> Result<u64, Error> {
    let peers = Peers::new(connection, tenant);
    let asked = set.members.iter().map(|member| peers.ask(&member.name, Vec::new(), WAIT));
    let mut answers: FuturesUnordered<_> = asked.collect();
    let mut known = Vec::new();
    while let Some(answer) = answers.next().await {
        let said = answer.ok().and_then(|answer| serde_json::from_slice::<Said>(&answer).ok());
        known.extend(said.and_then(|said| said.knows));
        if known.len() >= set.majority() {
            return Ok(known.into_iter().max().unwrap_or_default());
        }
    }
    let (got, of) = (known.len(), set.members.len());
    Err(Error::NoQuorum(format!("{got} of {of} say how far they have cosigned")))
}
