//! What every replica must say for itself before it is so for all: that it has the file of a key, which an operator copies,
//! and that it has no byte left of what was erased (P21). One asks, each answers with its own key.

use super::Quorum;
use crate::{
    chores,
    entry::{Kind, View},
    ident::Ident,
    journal::{
        Error, Journal,
        jetstream::{Connection, peers::Peers},
    },
    keyring,
    ledger::Ledger,
    log::{
        members::Member,
        merkle::leaf_hash,
        note::Vkey,
        replicas::{Claim, Members, Place, Statement},
    },
    store,
    tenant::{Replica, Tenant},
};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(3);
/// How long who asks waits for replicas that answer and are not done yet, and how often it asks them.
pub(super) const SAID_WAIT: Duration = Duration::from_secs(20);
const SAID_AGAIN: Duration = Duration::from_millis(250);
/// How long an answer waits for the others to show what it tells.
const SHOWN_WAIT: Duration = Duration::from_secs(2);

/// A member that has not said it.
#[derive(Clone, Debug)]
pub struct Lacks {
    /// Its name.
    pub name: Ident,
    /// Why.
    pub why: String,
    /// True if it answered, so it may say it soon.
    pub is_there: bool,
}

impl Lacks {
    /// Several of them, and why, for people.
    pub fn in_words(all: &[Self]) -> String {
        let each: Vec<String> =
            all.iter().map(|one| format!("{}: {}", one.name, one.why)).collect();
        each.join("; ")
    }
}

/// What a replica of a release that can say it answers.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    statement: Option<String>,
    #[serde(default)]
    refused: Option<String>,
}

impl Quorum {
    /// Answers a question about this machine, signed with this replica's key. `None` if it was not asked that.
    pub(super) fn statement(&self, body: &[u8]) -> Option<Result<String, String>> {
        let asked: Statement = serde_json::from_slice(body).ok()?;
        Some(tokio::task::block_in_place(|| {
            match &asked.claim {
                Claim::Holds(vkey) => holds(&self.tenant, vkey)?,
                Claim::Erased(place) => has_erased(&self.ledger, &self.tenant, *place)?,
                Claim::Shows(place) => drop(shown(&self.ledger, &self.tenant, *place)?),
                Claim::Keys(_) | Claim::Made(_) | Claim::Deleted(_) => {
                    return Err("that is asked of an installation, not of a log".into());
                }
            }
            Ok(self.replica().members.state(&self.tenant.origin, &asked))
        }))
    }
}

/// Whether the file of a key is here. Reads the files again, so that a key that was just copied can be used.
fn holds(tenant: &Tenant, vkey: &str) -> Result<(), String> {
    let vkey = Vkey::parse(vkey).map_err(|error| error.to_string())?;
    tenant.refresh_keys().map_err(|error| error.to_string())?;
    let held = tenant.with_keys(|ring| ring.signer(&vkey).map(drop));
    held.map_err(|_| format!("it has no file of the key {}", vkey.label()))
}

/// The bytes of an entry that this replica shows.
pub(super) fn shown(ledger: &Ledger, tenant: &Tenant, place: Place) -> Result<Vec<u8>, String> {
    if let Some(reason) = tenant.halted() {
        return Err(format!("its log is halted: {reason}"));
    }
    let (index, size) = (place.index, tenant.published().size);
    if index >= size {
        return Err(format!("it shows {size} entries, and entry {index} is asked for"));
    }
    let entry = ledger.entry(tenant, index).map_err(|error| error.to_string())?.unwrap_or_default();
    if leaf_hash(&entry) == place.leaf_hash {
        return Ok(entry);
    }
    Err(format!("it has another entry at {index}"))
}

/// Whether nothing is left here of what the erasures up to that entry took away. If something is, it goes now.
fn has_erased(ledger: &Ledger, tenant: &Tenant, place: Place) -> Result<(), String> {
    let entry = shown(ledger, tenant, place)?;
    if View::parse(&entry).is_none_or(|view| view.kind != Kind::Erasure) {
        return Err(format!("entry {} is no erasure", place.index));
    }
    match chores::unfinished(ledger, tenant) {
        Ok(0) => Ok(()),
        Ok(_) if tenant.position().retention.is_held() => {
            Err("a legal hold keeps the bytes".into())
        }
        Ok(left) => {
            ledger.hasten_erasures();
            Err(format!("it still removes what {left} journal messages gave"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Those of these members that do not answer now, this replica left out.
pub async fn silent(connection: &Connection, tenant: &Tenant, members: &[Member]) -> Vec<Ident> {
    let Some(replica) = tenant.replica() else { return Vec::new() };
    let peers = Peers::new(connection, &tenant.name);
    let others = members.iter().filter(|member| *member != replica.members.this());
    let names: Vec<Ident> = others.map(|member| member.name.clone()).collect();
    let asked = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    let answers = peers.ask_each(asked, WAIT).await;
    let silent = names.into_iter().zip(answers).filter(|(_, answer)| answer.is_err());
    silent.map(|(name, _)| name).collect()
}

/// The members of the set in force that have not said that they have the file of a key, and why. Empty if all have.
pub async fn lacking(connection: &Connection, tenant: &Tenant, vkey: &Vkey) -> Vec<Lacks> {
    let Some(replica) = tenant.replica() else { return Vec::new() };
    not_holding(connection, (tenant, replica), &replica.set().members, vkey).await
}

/// Those of these members that have not said, each with its key here, that they have the file of a key.
async fn not_holding(
    connection: &Connection,
    (tenant, replica): (&Tenant, &Replica),
    members: &[Member],
    vkey: &Vkey,
) -> Vec<Lacks> {
    let (vkey, peers) = (vkey.to_string(), Peers::new(connection, &tenant.name));
    let own = || holds(tenant, &vkey);
    let (all, claim) = ((members, replica.members.this()), Claim::Holds(vkey.clone()));
    not_said((&peers, &tenant.origin), all, (&claim, Duration::ZERO), own).await
}

/// Those of `new`, which shall become members, that have not said, each with the key that is to be added, that they have the file of every
/// key with which a replica signs now. So nobody adds a key that no replica has, or a replica that could sign nothing.
pub async fn not_ready(connection: &Connection, tenant: &Tenant, new: &[Member]) -> Vec<Lacks> {
    let Some(replica) = tenant.replica() else { return Vec::new() };
    for vkey in tenant.keys_in_force() {
        let lacks = not_holding(connection, (tenant, replica), new, &vkey).await;
        if !lacks.is_empty() {
            return lacks;
        }
    }
    Vec::new()
}

/// The members of the set in force that have not said that they show an entry, and why. Waits for those that answer, up to 20 s.
pub async fn not_shown(
    connection: &Connection,
    log: (&Ledger, &Tenant),
    place: Place,
) -> Vec<Lacks> {
    not_shown_within(connection, log, place, SAID_WAIT).await
}

/// Waits until every replica that answers shows the entry at `index`, at most 2 s, so that whoever hears of it may go to any of them.
/// Returns at once if this server signs alone.
pub async fn until_shown(ledger: &Ledger, tenant: &Tenant, index: u64) -> Result<(), store::Error> {
    let (Some(_), Journal::JetStream(stream)) = (tenant.replica(), tenant.journal()) else {
        return Ok(());
    };
    let entry = ledger.entry(tenant, index)?.unwrap_or_default();
    let place = Place { index, leaf_hash: leaf_hash(&entry) };
    let log = (ledger, tenant);
    for Lacks { name, why, .. } in
        not_shown_within(stream.connection(), log, place, SHOWN_WAIT).await
    {
        tracing::warn!(tenant = %tenant.name, index, replica = %name, why, "a replica does not show an entry yet");
    }
    Ok(())
}

async fn not_shown_within(
    connection: &Connection,
    (ledger, tenant): (&Ledger, &Tenant),
    place: Place,
    wait: Duration,
) -> Vec<Lacks> {
    let Some(replica) = tenant.replica() else { return Vec::new() };
    let (set, peers) = (replica.set(), Peers::new(connection, &tenant.name));
    let (all, claim) = ((&set.members[..], replica.members.this()), Claim::Shows(place));
    let own = || shown(ledger, tenant, place).map(drop);
    not_said((&peers, &tenant.origin), all, (&claim, wait), own).await
}

/// The members of the set in force that have not said that they have none of the bytes which the erasures up to the entry
/// `index` took away, and why. Empty if all have, or if this server signs alone.
///
/// Waits for those that are at it, up to 20 s; for none that does not answer.
pub async fn not_erased(
    connection: Option<&Connection>,
    (ledger, tenant): (&Ledger, &Tenant),
    place: Place,
) -> Vec<Lacks> {
    let (Some(replica), Some(connection)) = (tenant.replica(), connection) else {
        return Vec::new();
    };
    let peers = Peers::new(connection, &tenant.name);
    let (this, mut asked) = (replica.members.this(), replica.set().members);
    // The one that is asked needs not be a member, and must have none either.
    if !asked.contains(this) {
        asked.push(this.clone());
    }
    let own = || has_erased(ledger, tenant, place);
    let claim = Claim::Erased(place);
    not_said((&peers, &tenant.origin), (&asked, this), (&claim, SAID_WAIT), own).await
}

/// Those of `all` that have not made a statement about the log `origin`. `own`: whether `this`, this replica, can. Asks again while
/// somebody who answers has not said it, for at most `wait`.
pub(super) async fn not_said(
    (peers, origin): (&Peers, &str),
    (all, this): (&[Member], &Member),
    (claim, wait): (&Claim, Duration),
    own: impl Fn() -> Result<(), String>,
) -> Vec<Lacks> {
    let begun = Instant::now();
    loop {
        let lacks = not_said_now((peers, origin), (all, this), claim, &own).await;
        if begun.elapsed() >= wait || !lacks.iter().any(|one| one.is_there) {
            return lacks;
        }
        // Who is to wait for a moment only is asked more often.
        tokio::time::sleep(SAID_AGAIN.min(wait / 40)).await;
    }
}

async fn not_said_now(
    (peers, origin): (&Peers, &str),
    (all, this): (&[Member], &Member),
    claim: &Claim,
    own: &impl Fn() -> Result<(), String>,
) -> Vec<Lacks> {
    let mut lacks = Vec::new();
    let mut add =
        |of: &Member, (why, is_there)| lacks.push(Lacks { name: of.name.clone(), why, is_there });
    if let Some(this) = all.iter().find(|member| *member == this)
        && let Err(why) = tokio::task::block_in_place(own)
    {
        add(this, (why, true));
    }
    let others: Vec<&Member> = all.iter().filter(|member| *member != this).collect();
    let asked: Vec<Statement> = others.iter().map(|_| statement(claim)).collect();
    let body = |asked: &Statement| serde_json::to_vec(asked).unwrap_or_default();
    let questions = others.iter().zip(&asked).map(|(of, asked)| (of.name.clone(), body(asked)));
    let answers = peers.ask_each(questions.collect(), WAIT).await;
    for ((member, asked), answer) in others.iter().zip(&asked).zip(answers) {
        if let Err(lack) = believed(member, origin, asked, answer) {
            add(member, lack);
        }
    }
    lacks
}

/// A claim with a nonce of its own.
fn statement(claim: &Claim) -> Statement {
    let nonce = keyring::random_name();
    Statement { claim: claim.clone(), nonce }
}

/// Whether a member has made a statement. If not, why, and whether it answered.
fn believed(
    member: &Member,
    origin: &str,
    asked: &Statement,
    answer: Result<Vec<u8>, Error>,
) -> Result<(), (String, bool)> {
    let answer = answer.map_err(|error| match error {
        Error::Unavailable(why) | Error::Unknown(why) => (why, false),
        other => (other.to_string(), false),
    })?;
    match serde_json::from_slice::<Answer>(&answer) {
        Err(_) => Err(("its answer is unreadable".into(), false)),
        Ok(Answer { statement: Some(signature), .. }) => {
            let said = Members::has_stated(member, origin, asked, &signature);
            if said { Ok(()) } else { Err(("its answer has a wrong signature".into(), false)) }
        }
        Ok(Answer { refused, .. }) => {
            Err((refused.unwrap_or_else(|| "it does not say".into()), true))
        }
    }
}
