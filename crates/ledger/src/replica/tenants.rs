//! Tenants that are made and deleted while replicas run: what each replica says about them, and how it takes up a new one.
//!
//! Nobody is told to make a tenant. One of them puts its genesis into a new journal; each that has its keys finds it there (P6).

use super::statements::{Lacks, SAID_WAIT, not_said, shown};
use crate::{
    envelope, erased,
    ident::Ident,
    journal::{
        self, Journal, Subject,
        jetstream::{Connection, Jetstream, peers::Peers},
    },
    keyring::Keyring,
    ledger::{Error, Ledger, origin},
    log::{
        members::Member,
        merkle,
        note::Vkey,
        replicas::{Claim, EntryOf, Files, Members, Place, Statement},
    },
    system::{Genesis, KeyUse},
    tenant::Tenant,
};
use std::{sync::Arc, time::Duration};

/// How long one subscription is used: one that NATS took away, because a right was missing for a while, never comes back by itself.
const SUBSCRIBED: Duration = Duration::from_secs(60);
/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Answers the other replicas what is asked about tenants, until the task ends. Does nothing if this server signs alone.
pub async fn answer_about_tenants(ledger: Arc<Ledger>, connection: Connection) {
    let Some(members) = ledger.options().replicas.clone() else { return };
    let peers = Peers::of_installation(&connection);
    loop {
        match peers.requests(members.own()).await {
            Ok(mut requests) => {
                while let Ok(Ok(mut asked)) =
                    tokio::time::timeout(SUBSCRIBED, requests.next()).await
                {
                    let body = std::mem::take(&mut asked.body);
                    let said = tokio::task::block_in_place(|| answer(&ledger, &members, &body));
                    requests.answer(asked, said).await;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "other replicas can't ask about tenants");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn answer(ledger: &Ledger, members: &Members, body: &[u8]) -> Vec<u8> {
    let asked = serde_json::from_slice::<Statement>(body);
    let said = match &asked {
        Ok(asked) => can_say(ledger, &asked.claim)
            .map(|tenant| members.state(&origin(&ledger.options().public_host, tenant), asked)),
        Err(_) => Err("it does not know the question".into()),
    };
    let answer = match said {
        Ok(signature) => serde_json::json!({ "statement": signature }),
        Err(why) => serde_json::json!({ "refused": why }),
    };
    answer.to_string().into_bytes()
}

/// Whether this replica can make that statement now. The tenant that it is about.
fn can_say<'a>(ledger: &Ledger, claim: &'a Claim) -> Result<&'a Ident, String> {
    match claim {
        Claim::Keys(files) => has_files(ledger, files).map(|()| &files.tenant),
        Claim::Made(entry) => has_made(ledger, entry).map(|()| &entry.tenant),
        Claim::Deleted(entry) => has_deleted(ledger, entry).map(|()| &entry.tenant),
        Claim::Holds(_) | Claim::Erased(_) | Claim::Shows(_) => {
            Err("that is asked of a log".into())
        }
    }
}

fn has_files(ledger: &Ledger, Files { tenant, digest }: &Files) -> Result<(), String> {
    ledger.may_create(tenant).map_err(|error| error.to_string())?;
    let keys_dir = &ledger.options().keys_dir;
    if !Keyring::has_files(keys_dir, tenant) {
        return Err(format!("it has no key files of the tenant {tenant}"));
    }
    let ring = Keyring::open(keys_dir, tenant).map_err(|error| error.to_string())?;
    if ring.digest().map_err(|error| error.to_string())? == *digest {
        return Ok(());
    }
    Err(format!("its key files of the tenant {tenant} hold other keys"))
}

fn has_made(ledger: &Ledger, entry: &EntryOf) -> Result<(), String> {
    let Some(tenant) = ledger.tenant(entry.tenant.as_str()) else {
        ledger.seek_tenants();
        return Err(format!("it does not have the tenant {} yet", entry.tenant));
    };
    let place = Place { index: entry.index, leaf_hash: entry.leaf_hash };
    shown(ledger, &tenant, place).map(drop)
}

fn has_deleted(ledger: &Ledger, entry: &EntryOf) -> Result<(), String> {
    let Some(tenant) = ledger.tenant(entry.tenant.as_str()) else {
        // One that came later never had it.
        let has_keys = Keyring::has_files(&ledger.options().keys_dir, &entry.tenant);
        let why = || format!("it has no log of the tenant {}, and has its keys", entry.tenant);
        return if has_keys { Err(why()) } else { Ok(()) };
    };
    if !tenant.is_deleted() {
        return Err("it has not posted yet that the tenant is deleted".into());
    }
    let place = Place { index: entry.index, leaf_hash: entry.leaf_hash };
    shown(ledger, &tenant, place)?;
    match erased::is_emptied(ledger.store(), tenant.number) {
        Ok(true) => Ok(()),
        Ok(false) => {
            ledger.hasten_erasures();
            Err("it still removes payload and keys".into())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The replicas in force, which must be the same in every log: those of a tenant that is made now. The configured ones where
/// there is no log yet. An error names the logs that differ.
pub fn members_in_force(ledger: &Ledger) -> Result<Vec<Member>, String> {
    let mut sets: Vec<(Ident, Vec<Member>)> = Vec::new();
    for tenant in ledger.tenants().iter().filter(|tenant| !tenant.is_deleted()) {
        let Some(replica) = tenant.replica() else { continue };
        sets.push((tenant.name.clone(), replica.set().members));
    }
    let Some((first, members)) = sets.first() else {
        let configured = ledger.options().replicas.as_ref();
        return Ok(configured.map(|own| own.first().members.clone()).unwrap_or_default());
    };
    let others = sets.iter().filter(|(_, of)| of != members);
    let others: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
    if others.is_empty() {
        return Ok(members.clone());
    }
    Err(format!(
        "the replicas of {} are not those of {first}: repeat the last `countersign replica add | remove | replace`",
        others.join(", ")
    ))
}

/// The first log with other replicas than this one has; `None` if there is none. Logs are compared with the first of them.
pub fn uneven(ledger: &Ledger, tenant: &Tenant) -> Option<Ident> {
    let own = tenant.replica()?.set().members;
    let first = ledger.tenants().into_iter().find(|other| !other.is_deleted())?;
    let differs = first.replica()?.set().members != own;
    differs.then(|| first.name.clone())
}

/// Those of these members that have not said that they have the key files of a new tenant, and why. `ring`: this replica's.
pub async fn without_files(
    (ledger, connection): (&Ledger, &Connection),
    members: &[Member],
    (name, ring): (&Ident, &Keyring),
) -> Result<Vec<Lacks>, Error> {
    let files = Files { tenant: name.clone(), digest: ring.digest()? };
    Ok(of_all((ledger, connection), members, (name, Claim::Keys(files)), Duration::ZERO).await)
}

/// Has these members look for a new tenant now. Whoever does not hear it finds the tenant within a minute.
pub async fn announce(
    (ledger, connection): (&Ledger, &Connection),
    members: &[Member],
    name: &Ident,
) {
    // Its genesis may not be posted yet: no replica can say that it shows this one, and each looks.
    let any = EntryOf { tenant: name.clone(), index: 0, leaf_hash: merkle::empty_root() };
    let claim = (name, Claim::Made(any));
    let _looking = of_all((ledger, connection), members, claim, Duration::ZERO).await;
}

/// Those of these members that have not said that they have the log of a new tenant. Waits for those that answer, up to 20 s.
pub async fn not_made(
    (ledger, connection): (&Ledger, &Connection),
    members: &[Member],
    genesis: &EntryOf,
) -> Vec<Lacks> {
    let claim = (&genesis.tenant, Claim::Made(genesis.clone()));
    of_all((ledger, connection), members, claim, SAID_WAIT).await
}

/// Those of the replicas in force that have not said that they have neither payload nor keys of a deleted tenant.
pub async fn not_deleted(
    (ledger, connection): (&Ledger, &Connection),
    tenant: &Tenant,
    last: &EntryOf,
    wait: Duration,
) -> Vec<Lacks> {
    let Some(own) = &ledger.options().replicas else { return Vec::new() };
    let of_log = own.sets(&tenant.published().keys.members).last().map(|set| set.members.clone());
    let has_others = ledger.tenants().iter().any(|other| !other.is_deleted());
    // Its own members can't change any more; one that was removed meanwhile would be missed for ever.
    let members = match (has_others, members_in_force(ledger)) {
        (true, Ok(members)) => members,
        _ => of_log.unwrap_or_default(),
    };
    let claim = (&last.tenant, Claim::Deleted(last.clone()));
    of_all((ledger, connection), &members, claim, wait).await
}

async fn of_all(
    (ledger, connection): (&Ledger, &Connection),
    members: &[Member],
    (name, claim): (&Ident, Claim),
    wait: Duration,
) -> Vec<Lacks> {
    let Some(own) = &ledger.options().replicas else { return Vec::new() };
    let peers = Peers::of_installation(connection);
    let origin = origin(&ledger.options().public_host, name);
    let can = || can_say(ledger, &claim).map(drop);
    not_said((&peers, &origin), (members, own.this()), (&claim, wait), can).await
}

/// Takes up every tenant whose keys are here and whose journal begins with its genesis, and that has no log here. Returns them;
/// what keeps one from it is told in the log.
pub async fn take_up(ledger: &Ledger, connection: &Connection) -> Vec<Arc<Tenant>> {
    let names = Keyring::folders(&ledger.options().keys_dir).unwrap_or_default();
    let mut taken = Vec::new();
    for name in names.iter().filter(|name| ledger.tenant(name.as_str()).is_none()) {
        match take_up_one(ledger, connection, name).await {
            Ok(Some(tenant)) => taken.push(tenant),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(tenant = %name, %error, "a tenant whose keys are here can't be taken up");
            }
        }
    }
    taken
}

async fn take_up_one(
    ledger: &Ledger,
    connection: &Connection,
    name: &Ident,
) -> Result<Option<Arc<Tenant>>, Error> {
    let Some(stream) = Jetstream::find(connection, name).await? else { return Ok(None) };
    let state = stream.state().await?;
    if state.last == 0 {
        return Ok(None);
    }
    ledger.may_create(name)?;
    let message = stream.get(1).await?.ok_or_else(|| {
        Error::Setup(
            "the beginning of its journal was trimmed: begin this replica from a backup of another one".into(),
        )
    })?;
    let ring = Keyring::open(&ledger.options().keys_dir, name)?;
    let wanted = (name, origin(&ledger.options().public_host, name), state.identity.as_str());
    let genesis = our_genesis(&message, wanted, &ring).ok_or_else(|| {
        Error::Setup("its journal does not begin with a genesis of the keys that are here".into())
    })?;
    let tenant = ledger.adopt_tenant(name, Journal::JetStream(stream), &state.identity)?;
    if let (Some(replica), Some(members)) = (tenant.replica(), genesis.members) {
        replica.set_first(members);
    }
    Ok(Some(tenant))
}

/// The genesis in a message, if our own keys have signed it and it names them: nobody else can make us take up a log.
fn our_genesis(
    message: &journal::Message,
    (name, origin, identity): (&Ident, String, &str),
    ring: &Keyring,
) -> Option<Genesis> {
    let subject = Subject::parse("system.genesis")?;
    let genesis: Genesis = serde_json::from_slice(&message.body).ok()?;
    let keys: Vec<Vkey> = genesis.journal_keys.iter().map(|key| key.0.clone()).collect();
    let place = envelope::Place { tenant: name, epoch: 1, subject: &subject, expected: 0 };
    let header = message.headers.signature.as_deref()?;
    let fits = message.subject.as_ref() == Some(&subject)
        && (&genesis.tenant, &genesis.origin) == (name, &origin)
        && genesis.journal == identity
        && genesis.log_keys.iter().all(|key| ring.signer(&key.0).is_ok())
        && keys.iter().all(|key| ring.vkeys(KeyUse::Journal).contains(key))
        && envelope::verify(&keys, place, &message.body, header);
    fits.then_some(genesis)
}
