//! Whether the replicas of a log may be changed now: they must agree on who they are, and a majority of the new ones must answer.

use ledger::{
    ident::Ident,
    journal::jetstream,
    log::members::{Member, MemberSet},
    replica::{self, Lacks},
    tenant::{Replica, Tenant},
};
use std::time::Duration;

/// Silence of a replica after which it does not count as one that answers.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The set in force that is posted here.
pub fn sets_agree(tenant: &Tenant) -> Result<MemberSet, String> {
    let replica = tenant.replica().ok_or("this server signs alone")?;
    if let Some(why) = tenant.halted() {
        return Err(format!("its log is halted: {why}"));
    }
    if let Some(why) = replica.not_a_member() {
        return Err(format!("{why}. Ask one of them"));
    }
    if let Some(why) = tenant.no_quorum() {
        return Err(format!("nothing can be changed while no majority cosigns: {why}"));
    }
    let set = replica.set();
    if set.version == 0 {
        for (name, peer) in replica.peers() {
            let differs = peer.set.is_some_and(|said| said != set.digest());
            if differs && is_heard(replica, &name.to_string()) {
                return Err(format!(
                    "{name} has other members in its configuration than this replica: make [replica] members the same on all, and start \
                     them again"
                ));
            }
        }
    }
    Ok(set)
}

/// Refuses a set with a new replica that does not say, with its own key, that it has the log's keys; and one of which no majority
/// answers. Nothing could be cosigned any more.
pub async fn can_cosign(
    broker: Option<&jetstream::Connection>,
    tenant: &Tenant,
    (set, members): (&MemberSet, &[Member]),
) -> Result<(), String> {
    let broker = broker.ok_or("this server has no broker")?;
    let new: Vec<Member> = members.iter().filter(|one| !set.has(one)).cloned().collect();
    let lacks = replica::not_ready(broker, tenant, &new).await;
    if !lacks.is_empty() {
        return Err(format!(
            "a new replica must say with its own key that it has the keys of this log ({}). Compare the key that is to be added with \
             the one in its configuration, copy the newest files of keys_dir to it, and start it first",
            Lacks::in_words(&lacks)
        ));
    }
    let silent = replica::silent(broker, tenant, members).await;
    let least = members.len() / 2 + 1;
    if members.len() - silent.len() >= least {
        return Ok(());
    }
    let silent: Vec<&str> = silent.iter().map(Ident::as_str).collect();
    Err(format!(
        "of the {} replicas after the change, {} do not answer, and {least} must: then nothing could be cosigned any more. Start them \
         first, or change one replica after the other",
        members.len(),
        silent.join(", ")
    ))
}

fn is_heard(replica: &Replica, name: &str) -> bool {
    let peers = replica.peers();
    let peer = peers.iter().find(|(of, _)| of.as_str() == name).map(|(_, peer)| peer);
    peer.and_then(|peer| peer.heard).is_some_and(|at| at.elapsed() < ANSWERS_WITHIN)
}
