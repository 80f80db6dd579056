//! The loop of one log's witnesses: rounds of one checkpoint each, so that several witnesses cosign the same one.

use super::{Asked, OfLog, ask, kept::Kept};
use ledger::{Ledger, reader::Published, tenant::Tenant};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Least time from one round to the next.
const ROUND_MIN: Duration = Duration::from_secs(1);
/// Longest wait of a round for its witnesses. Who answers later is taken all the same.
const ROUND_WAIT: Duration = Duration::from_secs(2);
/// How often witnesses that failed are looked at, without a new checkpoint.
const IDLE: Duration = Duration::from_secs(2);
/// Least time between two writes of what was cosigned.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What is stored, and when.
struct Stored {
    at: Instant,
    is_due: bool,
}

/// Asks the witnesses of a log until its tenant is deleted.
pub(super) async fn run(ledger: Arc<Ledger>, tenant: Arc<Tenant>, of: Arc<OfLog>) {
    let mut states = tenant.watch();
    tokio::task::block_in_place(|| load(&ledger, &tenant, &of));
    let mut asking = JoinSet::new();
    let mut stored = Stored { at: Instant::now(), is_due: false };
    while !tenant.is_deleted() {
        let published = Arc::clone(&states.borrow_and_update());
        let shown = !published.checkpoint.is_empty();
        if shown && tenant.signs() && tenant.halted().is_none() {
            let round = (&ledger, &tenant, &published);
            begin(round, &of, &mut asking);
        }
        let end = tokio::time::sleep(ROUND_WAIT);
        tokio::pin!(end);
        while !asking.is_empty() {
            tokio::select! {
                () = &mut end => break,
                took = asking.join_next() => stored.is_due |= matches!(took, Some(Ok(true))),
            }
        }
        if stored.is_due && stored.at.elapsed() >= KEEP_EVERY {
            keep(&ledger, &tenant, &of);
            stored = Stored { at: Instant::now(), is_due: false };
        }
        tokio::time::sleep(ROUND_MIN).await;
        let wait = tokio::time::timeout(IDLE, states.changed());
        if matches!(wait.await, Ok(Err(_))) {
            return;
        }
    }
}

/// Begins a round: asks each witness that is free and has not cosigned this size.
fn begin(
    (ledger, tenant, published): (&Arc<Ledger>, &Arc<Tenant>, &Arc<Published>),
    of: &Arc<OfLog>,
    asking: &mut JoinSet<bool>,
) {
    of.kept().begin(published);
    for asked in &of.asked {
        {
            let mut standing = asked.standing();
            if !standing.may_ask(published.size) {
                continue;
            }
            standing.busy = true;
        }
        let (ledger, tenant) = (Arc::clone(ledger), Arc::clone(tenant));
        let (published, of, asked) = (Arc::clone(published), Arc::clone(of), Arc::clone(asked));
        asking.spawn(async move { one((&ledger, &tenant), &published, &of, &asked).await });
    }
}

/// Asks one witness. True if it cosigned.
async fn one(
    (ledger, tenant): (&Ledger, &Tenant),
    published: &Published,
    of: &OfLog,
    asked: &Asked,
) -> bool {
    let (known, last) = {
        let standing = asked.standing();
        (standing.known, standing.cosigned.1)
    };
    let name = &asked.witness.name;
    let said = ask::ask((ledger, tenant), published, &asked.witness, known).await;
    let said = said.and_then(|done| {
        let time = done.cosigned.time;
        // A larger tree at an earlier time: one of both statements is false.
        if time < last {
            let why = format!("its time went back, from {last} to {time}");
            return Err(ask::Failed::Later { after: None, why });
        }
        Ok(done)
    });
    let mut standing = asked.standing();
    standing.busy = false;
    match said {
        Ok(done) => {
            standing.took(&done);
            of.kept().add(done.size, name.as_str(), done.cosigned.line)
        }
        Err(failed) => {
            let is_conflict = matches!(failed, ask::Failed::Conflict(_));
            let why = failed.why().to_owned();
            if standing.failed(ledger.now(), failed) {
                if is_conflict {
                    tracing::error!(tenant = %tenant.name, witness = %name, why, "a witness has another history of this log");
                } else {
                    tracing::warn!(tenant = %tenant.name, witness = %name, why, "a witness did not cosign");
                }
            }
            false
        }
    }
}

/// Reads what was stored.
fn load(ledger: &Ledger, tenant: &Tenant, of: &OfLog) {
    let witnesses: Vec<&super::Witness> = of.asked.iter().map(|one| &*one.witness).collect();
    let kept = Kept::load((ledger, tenant), &tenant.published(), &witnesses);
    for asked in &of.asked {
        asked.standing().cosigned.0 = kept.newest_of(asked.witness.name.as_str());
    }
    *of.kept() = kept;
}

fn keep(ledger: &Ledger, tenant: &Tenant, of: &OfLog) {
    let bytes = of.kept().bytes();
    if let Err(error) = tokio::task::block_in_place(|| ledger.keep_witnessed(tenant, &bytes)) {
        tracing::warn!(tenant = %tenant.name, %error, "cosignatures could not be stored; they are asked for again");
    }
}
