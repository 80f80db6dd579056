//! Opens the log of a tenant that was deleted: what stays is shown, and nothing is posted or signed any more.

use super::{Error, Options};
use crate::{
    guard::Guard,
    journal::Journal,
    keyring::Keyring,
    post::Log,
    reader::Published,
    store::{self, Family, Read as _, rocks::Rocks},
    tenant::Tenant,
    writer::{self, Active, Cosigning},
};
use std::sync::Arc;

type Wrong = Result<Option<String>, Error>;

/// True if nothing more comes to a log: its tenant was deleted, and what says so is shown. Replicas show it once a majority has
/// cosigned it; before that, they need its keys and its journal.
pub fn is_over(store: &Rocks, options: &Options, log: &Log) -> Result<bool, store::Error> {
    if log.position.retention.deleted.is_none() {
        return Ok(false);
    }
    let Some(members) = &options.replicas else { return Ok(true) };
    let checkpoint = store.get(Family::Meta, &log.number.meta("checkpoint"))?;
    let note = checkpoint.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let shown = log.keys.certified(&log.origin, members, &note);
    // Without keys it is over too: it was deleted before there were replicas.
    Ok(shown.is_ok_and(|shown| shown.checkpoint.size == log.position.size)
        || !Keyring::has_files(&options.keys_dir, &log.tenant))
}

/// Checks what stays as at every start (`check`). The keys may be destroyed already, and the journal gone.
pub fn open(
    store: &Rocks,
    guard: &mut Guard,
    options: &Options,
    log: Log,
    check: impl Fn(&Rocks, &Guard, &Log, &Published) -> Wrong,
) -> Result<Active, Error> {
    let checkpoint = store.get(Family::Meta, &log.number.meta("checkpoint"))?;
    let checkpoint = checkpoint.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let published = writer::published(&log, checkpoint);
    let wrong = check(store, guard, &log, &published)?;
    let keyring = Keyring::open(&options.keys_dir, &log.tenant)
        .unwrap_or_else(|_| Keyring::none(&options.keys_dir, &log.tenant));
    let tenant = Tenant::new(&log, keyring, Journal::Absent, published, options.clock);
    let tenant = Arc::new(tenant);
    match wrong {
        None => guard.advance(&[writer::mark(&log)])?,
        Some(reason) => tenant.halt(reason),
    }
    Ok(Active { log, tenant, must_reach: None, cosigning: Cosigning::default() })
}
