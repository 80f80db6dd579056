//! How far the replicas have told anybody anything. Whatever is told is covered by a checkpoint that a majority has cosigned, and two
//! majorities share a replica: so whoever asks a majority knows it, whatever NATS says. A NATS server that was just parted from the
//! others still answers for a few seconds, with what it had.

use crate::{
    ident::Ident,
    journal::jetstream::{Connection, peers::Peers},
    log::members::MemberSet,
};
use serde::Deserialize;
use std::time::Duration;

/// Longest wait for a majority to answer.
const WAIT: Duration = Duration::from_secs(2);

/// What counts here of a replica's answer.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    knows: Option<u64>,
}

/// A tree size that covers whatever any replica of this set had told anybody before the call. In words if no majority says how far it
/// has cosigned.
pub async fn told(connection: &Connection, tenant: &Ident, set: &MemberSet) -> Result<u64, String> {
    let (mut known, least, of) = (Vec::new(), set.majority(), set.members.len());
    let names = set.members.iter().map(|member| member.name.clone());
    let mut take = |answer: Vec<u8>| {
        let answer = serde_json::from_slice::<Answer>(&answer).ok();
        known.extend(answer.and_then(|answer| answer.knows));
        known.len() >= least
    };
    let is_known = Peers::new(connection, tenant).ask_until(names, WAIT, &mut take).await;
    let got = known.len();
    let all = known.into_iter().max().filter(|_| is_known);
    all.ok_or_else(|| format!("{got} of {of} say how far they have cosigned"))
}
