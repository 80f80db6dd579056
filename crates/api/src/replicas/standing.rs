//! How the replicas of each log stand: for health, metrics and `countersign replica status`.

use crate::trouble::Trouble;
use ledger::{
    Ledger,
    tenant::{Peer, Replica, Tenant},
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// Silence of a replica after which a person must see it.
const AWAY_AFTER: Duration = Duration::from_secs(30);

/// How the replicas of one log stand, as one of them sees it.
#[derive(Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of the answer")]
pub struct Replicated {
    tenant: String,
    /// Name of the replica that says this.
    replica: String,
    /// Version of the set of replicas in force: 0 is the one of the configuration, and each change in the log adds one.
    version: u64,
    /// True if the replica that says this is in that set.
    is_member: bool,
    /// True if the configuration of this replica has another first set than the log names.
    first_differs: bool,
    /// How many must cosign.
    majority: usize,
    /// True if it proposes first, and does what one of them must do.
    leads: bool,
    /// True if a cosigned checkpoint was shown since it started.
    shows: bool,
    /// Why nothing new is shown.
    stopped: Option<String>,
    /// Values of the register that were ignored since the start.
    ignored: u64,
    /// Every replica of the set in force, then this one if it is not in it.
    pub members: Vec<OneReplica>,
}

/// How one replica stands.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct OneReplica {
    /// Its name.
    pub name: String,
    /// Its public key.
    pub vkey: String,
    /// Tree size that it has posted.
    pub posted: u64,
    /// Tree size that it last cosigned.
    pub cosigned: u64,
    /// Tree size that it shows.
    pub shown: u64,
    /// Seconds since it answered. `None` if it has not.
    pub heard_seconds: Option<u64>,
    /// Why it did not answer or cosign the last time.
    pub says: Option<String>,
}

/// The logs that replicas cosign here.
pub fn logs(ledger: &Ledger) -> Vec<Replicated> {
    ledger.tenants().iter().filter_map(|tenant| of(ledger, tenant)).collect()
}

fn of(ledger: &Ledger, tenant: &Arc<Tenant>) -> Option<Replicated> {
    let replica = tenant.replica()?;
    let set = replica.set();
    Some(Replicated {
        tenant: tenant.name.to_string(),
        replica: replica.members.own().to_string(),
        version: set.version,
        is_member: replica.is_member(),
        first_differs: replica.first_differs(),
        majority: set.majority(),
        leads: replica.leads(),
        shows: replica.has_shown(),
        stopped: tenant.halted().or_else(|| replica.alone()),
        ignored: replica.alarms().ignored.0,
        members: members(ledger, tenant, replica),
    })
}

fn members(ledger: &Ledger, tenant: &Tenant, replica: &Replica) -> Vec<OneReplica> {
    let known = replica.peers();
    let own = replica.members.this();
    let set = replica.set();
    let outside = Some(own).filter(|own| !set.has(own));
    let all = set.members.iter().chain(outside).map(|member| {
        let vkey = member.key.to_string();
        if member == own {
            let posted = replica.ready().borrow().size;
            return OneReplica {
                name: own.name.to_string(),
                vkey,
                posted,
                cosigned: ledger.cosigned_size(tenant),
                shown: tenant.published().size,
                heard_seconds: Some(0),
                says: tenant.halted().or_else(|| replica.not_a_member()),
            };
        }
        let Peer { posted, cosigned, shown, heard, says, .. } =
            known.get(&member.name).cloned().unwrap_or_default();
        let heard_seconds = heard.map(|at| at.elapsed().as_secs());
        let name = member.name.to_string();
        OneReplica { name, vkey, posted, cosigned, shown, heard_seconds, says }
    });
    all.collect()
}

/// How many replicas there are, how many answer, how many posted entries are not shown here, and by how many entries the slowest
/// is behind. Zeros if this server signs alone.
pub fn figures(ledger: &Ledger, tenant: &Tenant) -> [u64; 4] {
    let Some(replica) = tenant.replica() else { return [0; 4] };
    let all = members(ledger, tenant, replica);
    let answers =
        |one: &&OneReplica| one.heard_seconds.is_some_and(|seconds| seconds < AWAY_AFTER.as_secs());
    let own = replica.ready().borrow().size;
    let posted = all.iter().map(|one| one.posted);
    let behind = posted.clone().max().unwrap_or_default() - posted.min().unwrap_or_default();
    let heard = all.iter().filter(answers).count();
    [all.len() as u64, heard as u64, own.saturating_sub(tenant.published().size), behind]
}

/// Why this tenant's requests are not served: nothing new can be cosigned.
pub fn stops(tenant: &Tenant) -> Vec<Trouble> {
    let Some(replica) = tenant.replica().filter(|_| tenant.halted().is_none()) else {
        return Vec::new();
    };
    let mut troubles = Vec::new();
    if let Some(why) = replica.not_a_member() {
        let detail = format!(
            "{why}. It shows what the others cosign, and cosigns nothing. If it was removed, stop it and take it out of the load \
             balancer. If it shall be one of them, run `countersign replica add` or `replace` at another one \
             (docs/operate/several-machines.md)."
        );
        troubles.push(Trouble { code: "not_a_member", detail });
    }
    if let Some(why) = replica.hole() {
        let detail = format!(
            "{why}. This replica posts nothing past them. Once a majority has signed that it has not posted them, an entry says \
             that they are lost, and it goes on by itself: start the replicas that do not answer, and look at the disks of NATS \
             (docs/operate/runbook.md)."
        );
        troubles.push(Trouble { code: "journal_hole", detail });
    }
    if let Some(why) = replica.alone() {
        let detail = format!(
            "{why}. Nothing new is shown; what was shown before still is. Bring a majority of the replicas back."
        );
        troubles.push(Trouble { code: "no_quorum", detail });
    } else if !replica.has_shown() && tenant.position().size > 0 {
        let (posted, certified) = (replica.ready().borrow().size, replica.certified());
        let detail = format!(
            "This replica has shown nothing new since it started: it has posted {posted} entries, and a majority has cosigned \
             {certified}. It cosigns nothing smaller; wait. If it stays at {posted}, its journal lacks what the others have: see \
             docs/operate/several-machines.md."
        );
        troubles.push(Trouble { code: "catching_up", detail });
    }
    troubles
}

/// What a person must see.
pub fn alarms(ledger: &Ledger, tenant: &Tenant) -> Vec<Trouble> {
    let Some(replica) = tenant.replica() else { return Vec::new() };
    let mut troubles = Vec::new();
    let mut add = |code, detail| troubles.push(Trouble { code, detail });
    let found = replica.alarms();
    if let Some(why) = found.differs {
        add(
            "replicas_differ",
            format!(
                "{why}. One of the replicas is damaged or false: compare them before anybody signs on \
                 (docs/operate/several-machines.md)."
            ),
        );
    }
    if found.ignored.0 > 0 {
        let (count, why) = found.ignored;
        add(
            "register_ignored",
            format!(
                "{count} values of the register were ignored; the last one: {why}. A replica or somebody else writes false \
                 values: find out who (docs/operate/several-machines.md)."
            ),
        );
    }
    if replica.first_differs() {
        add(
            "members_differ",
            "The members in this replica's configuration are not the first set that the log names, so its log is halted. Correct \
             [replica] members, which is the same on all replicas, or find out who made a false change."
                .into(),
        );
    }
    if !tenant.is_deleted()
        && let Some(other) = ledger::replica::uneven(ledger, tenant)
    {
        let detail = format!(
            "The replicas of this log are not those of {other}: repeat the last `countersign replica add`, `remove` or `replace`, so \
             that every log has the same ones (docs/operate/several-machines.md)."
        );
        add("members_uneven", detail);
    }
    let is_away = |peer: &&OneReplica| {
        peer.heard_seconds.is_none_or(|seconds| seconds >= AWAY_AFTER.as_secs())
            && replica.age() >= AWAY_AFTER
    };
    let away: Vec<String> = members(ledger, tenant, replica)
        .iter()
        .filter(is_away)
        .map(|peer| format!("{}: {}", peer.name, peer.says.as_deref().unwrap_or("no answer")))
        .collect();
    if !away.is_empty() {
        let detail = format!(
            "{}. The others go on while a majority is there, and trim the journal no further than each has posted.",
            away.join("; ")
        );
        add("replica_away", detail);
    }
    troubles
}
