//! Checks a log against its seal and its guard before it may sign.

use super::Error;
use crate::{
    guard::{Guard, Mark},
    log::{
        checkpoint::{self, Checkpoint},
        merkle,
    },
    post::{Log, digest_of_access, digest_of_keys},
    reader::{Published, Reader},
    seal::{self, SealKey},
    store::{self, Family, Read as _, rocks::Rocks},
    writer,
};

/// Checks that everything from which posting starts is what this server wrote last: the commit record is sealed, it
/// covers the signing keys and API keys beside it, and the newest checkpoint is ours and of exactly this tree.
///
/// Returns what is wrong. The checkpoint may be older where the log is `behind` its guard, or where the server ended
/// before its claim: both posted what they did not sign.
pub fn check_seal(
    store: &Rocks,
    log: &Log,
    key: &SealKey,
    behind: bool,
) -> Result<Option<String>, store::Error> {
    let exit = "the data directory was edited, or `seal.key` in the keys directory is another installation's. Run \
                `countersign fsck`, then restore a backup; nothing in this database may be signed";
    let record = store.get(Family::Meta, &log.number.meta("position"))?.unwrap_or_default();
    if key.open(seal::POSITION, log.tenant.as_str(), &record).is_none() {
        return Ok(Some(format!("the commit record is not one that this server wrote: {exit}")));
    }
    if log.position.keys != digest_of_keys(&log.keys) {
        return Ok(Some(format!("the signing keys are not those of the commit record: {exit}")));
    }
    if log.position.access != digest_of_access(&log.access) {
        return Ok(Some(format!("the API keys are not those of the commit record: {exit}")));
    }
    if behind || !log.position.signed || log.position.size == 0 {
        return Ok(None);
    }
    let text = store.get(Family::Meta, &log.number.meta("checkpoint"))?;
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let keys: Vec<_> = log.keys.signing(log.position.size).cloned().collect();
    let ours = checkpoint::open(&text, &keys).is_ok_and(|opened| {
        let Checkpoint { origin, size, root } = &opened.checkpoint;
        (origin, *size, *root) == (&log.origin, log.position.size, log.position.root)
    });
    Ok((!ours)
        .then(|| format!("the newest checkpoint is not one of ours over the whole log: {exit}")))
}

/// Refuses a log that must not sign: damaged, older than its guard, or of another history.
pub(crate) fn check_sound(store: &Rocks, guard: &Guard, log: &Log) -> Result<(), Error> {
    let published = writer::published(log, String::new());
    match check_sealed_log(store, guard, log, &published)? {
        Check::Sound => Ok(()),
        Check::Broken(reason) => Err(Error::Halted(reason)),
        Check::Behind(mark) => Err(Error::Halted(format!(
            "the database ends at size {}, but size {} was signed before: restore a newer backup first",
            log.position.size, mark.size
        ))),
    }
}

pub(super) enum Check {
    Sound,
    /// The database is older than what was signed. The journal may lead there again.
    Behind(Mark),
    Broken(String),
}

/// [`check_log`], then the seal: only a log that this server wrote may sign.
pub(super) fn check_sealed_log(
    store: &Rocks,
    guard: &Guard,
    log: &Log,
    published: &Published,
) -> Result<Check, Error> {
    let verdict = check_log(store, guard, log, published)?;
    if matches!(verdict, Check::Broken(_)) {
        return Ok(verdict);
    }
    let behind = matches!(verdict, Check::Behind(_));
    let key = log.seal_key.as_deref().ok_or(Error::NoKey("seal"))?;
    let fault = check_seal(store, log, key, behind)?;
    Ok(fault.map_or(verdict, Check::Broken))
}

/// What is wrong with a log that has ended: nothing leads it to a larger size any more.
pub(super) fn check_ended(
    store: &Rocks,
    guard: &Guard,
    log: &Log,
    at: &Published,
) -> Result<Option<String>, Error> {
    Ok(match check_sealed_log(store, guard, log, at)? {
        Check::Sound => None,
        Check::Broken(reason) => Some(reason),
        Check::Behind(mark) => {
            Some(format!("the guard knows size {}: restore a newer backup", mark.size))
        }
    })
}

fn check_log(
    store: &Rocks,
    guard: &Guard,
    log: &Log,
    published: &Published,
) -> Result<Check, Error> {
    let position = &log.position;
    if log.edge.root() != position.root {
        return Ok(Check::Broken(
            "the stored tiles do not give the stored root: the data directory was damaged or edited. Run \
             `countersign fsck`, then restore a backup"
                .into(),
        ));
    }
    let Some(mark) = guard.mark(&log.origin) else {
        if position.size == 0 {
            return Ok(Check::Sound);
        }
        return Ok(Check::Broken(format!(
            "the guard knows nothing of {}: it was lost or replaced, or `public_url` was changed. Put the guard file \
             back; if it is lost, compare the newest checkpoint anybody holds with `countersign fsck`, then run \
             `countersign recover --new-guard`",
            log.origin
        )));
    };
    if mark.size > position.size {
        if position.journal.starts_with("embedded:") {
            return Ok(Check::Broken(format!(
                "the database ends at size {}, but size {} was signed before: it was restored from an older backup or \
                 lost its newest commits. Restore a backup of at least that size; this one must not sign",
                position.size, mark.size
            )));
        }
        return Ok(Check::Behind(mark.clone()));
    }
    let reader = Reader { store, number: log.number, at: published };
    if merkle::root_at(&reader, mark.size)? == mark.root {
        return Ok(Check::Sound);
    }
    Ok(Check::Broken(format!(
        "the database and the guard disagree about the tree of size {}: another history was signed before. Restore \
         the data directory that belongs to this guard",
        mark.size
    )))
}
