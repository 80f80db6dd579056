//! Proves a copied database: every log is what a majority cosigned, and everything beside its entries is what they give.

use super::{Here, There, failed, refused, shown};
use crate::{
    auth,
    commands::{EXIT_UNAVAILABLE, Failed, fsck::audit},
    terminal::harmless,
};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{
    check_seal, fsck,
    guard::Mark,
    ident::Ident,
    journal::{self, jetstream::Jetstream},
    keyring::Keyring,
    list_logs, load_log,
    log::merkle,
    origin,
    post::Log,
    reader::Reader,
    replica::join::{self, Followed},
    seal,
    store::{Family, LAYOUT, LogNumber, Read as _, rocks::Rocks},
    writer,
};
use std::path::Path;

/// Most findings that are shown of a damaged copy.
const SHOWN_MAX: usize = 5;

/// Proves every log of the database at `path`, and removes from it what is found again. Returns what the guard begins with.
pub fn prove(here: &Here, there: &There, path: &Path) -> Result<Vec<Mark>, Failed> {
    let mut opening = here.config.ledger_options(false).store;
    path.clone_into(&mut opening.path);
    let store = Rocks::open(&opening)?;
    layout(&store)?;
    operator(here, there, &store)?;
    let logs = list_logs(&store)?;
    same_tenants(here, &logs)?;
    let mut marks = Vec::new();
    let mut proven = Vec::new();
    for (name, number) in &logs {
        let proof = Proof { here, there, store: &store, name, number: *number };
        let (log, followed) = proof.log()?;
        marks.push(writer::mark(&log));
        proven.push((log, followed));
    }
    for (log, followed) in &proven {
        join::forget(&store, log, &followed.receipts)?;
    }
    Ok(marks)
}

fn layout(store: &Rocks) -> Result<(), Failed> {
    let found = store.get(Family::Meta, b"format")?.unwrap_or_default();
    if found == LAYOUT.to_string().as_bytes() {
        return Ok(());
    }
    let found = harmless(&String::from_utf8_lossy(&found));
    Err(failed(format!(
        "that replica's database has layout {found}, and this program reads {LAYOUT}: use the same release as it does"
    )))
}

/// The one key that no entry names: it must be the operator's own, which this command was given.
fn operator(here: &Here, there: &There, store: &Rocks) -> Result<(), Failed> {
    let kept = store.get(Family::Meta, auth::OPERATOR)?.unwrap_or_default();
    let kept = here.seal_key.open(seal::OPERATOR, "", &kept);
    if kept == Some(there.replicas[0].stored_key().as_bytes()) {
        return Ok(());
    }
    Err(failed(
        "the copy holds the digest of another operator key than the one in --api-key-file, or one without the seal of keys_dir: whoever \
         has that key would operate this server. Copy keys_dir anew; if it is refused again, join from another replica and find out why",
    ))
}

fn same_tenants(here: &Here, logs: &[(Ident, LogNumber)]) -> Result<(), Failed> {
    let lacking = here.tenants.iter().find(|name| logs.iter().all(|(log, _)| log != *name));
    if let Some(name) = lacking {
        return Err(failed(format!(
            "keys_dir has keys of the tenant {name}, and the copy has no log of it: that replica hides it, or the keys are of a tenant that is \
             gone. Then remove its folder in keys_dir; otherwise join from another replica"
        )));
    }
    let unknown = logs.iter().find(|(log, _)| !here.tenants.contains(log));
    unknown.map_or(Ok(()), |(name, _)| {
        Err(failed(format!(
            "the copy has a log of the tenant {}, and keys_dir has no keys of it: copy keys_dir from that replica anew",
            harmless(name.as_str())
        )))
    })
}

struct Proof<'a> {
    here: &'a Here,
    there: &'a There,
    store: &'a Rocks,
    name: &'a Ident,
    number: LogNumber,
}

impl Proof<'_> {
    fn refused(&self, why: impl std::fmt::Display) -> Failed {
        refused(&self.there.replicas[0], self.name, &why)
    }

    /// Proves one log. Returns it, and the members that were followed.
    fn log(&self) -> Result<(Log, Followed), Failed> {
        let origin = origin(&self.here.config.public_host, self.name);
        let log = fsck::load(self.store, self.name, self.number, origin.clone())?;
        if !log.position.provisional.is_empty() {
            return Err(self.refused(
                "it has just posted what a message ahead explains, and that message is not posted yet: repeat the command in a minute",
            ));
        }
        if let Some(fault) = check_seal(self.store, &log, &self.here.seal_key, true)? {
            return Err(self.refused(fault));
        }
        self.follows_from_entries(&log)?;
        let log = load_log(self.store, self.name, self.number, origin)?;
        self.ends_in_journal(&log)?;
        let followed = self.is_cosigned(&log)?;
        self.is_ours(&log)?;
        Ok((log, followed))
    }

    /// Tiles, indexes, payload, keys, approvals, sums: everything that follows from the entries is derived again.
    fn follows_from_entries(&self, log: &Log) -> Result<(), Failed> {
        let bar = ProgressBar::new(log.position.size);
        let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {per_sec} eta {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(self.name.to_string());
        let mut report = fsck::check(self.store, log, None, |done| bar.set_position(done))?;
        bar.finish_and_clear();
        audit(self.store, log, &mut report)?;
        if report.damage > 0 {
            let findings: Vec<String> = report.findings.into_iter().take(SHOWN_MAX).collect();
            return Err(self.refused(format!(
                "the copy does not agree with its own entries ({} faults): {}. It was changed, or the disk is damaged. Join from another \
                 replica; stop this one, keep its disk, and run `countersign fsck` there",
                report.damage,
                findings.join("; ")
            )));
        }
        let is_erased = |index: u64| report.erased.contains_key(&index);
        if let Some(index) = join::lacks(self.store, log, is_erased)? {
            return Err(self.refused(format!(
                "it says that it never had the payload of entry {index}, and no erasure is known of it: join from a replica that has it"
            )));
        }
        Ok(())
    }

    /// A majority has cosigned what each replica shows, and the copy is the beginning of it.
    fn is_cosigned(&self, log: &Log) -> Result<Followed, Failed> {
        let known = self.there.known.get(self.name);
        let mut steps = known.map(|known| known.steps.clone()).unwrap_or_default();
        let mut views = Vec::new();
        for replica in &self.there.replicas {
            let (shown, more) =
                shown::beyond(replica, (self.name, &log.origin), log.position.size)?;
            steps.extend(more);
            views.push((replica, shown));
        }
        let first = self.here.members.first();
        let followed = Followed::from(first, (&log.origin, &log.keys), &steps);
        for (replica, shown) in &views {
            join::is_cosigned(log, &followed, shown)
                .map_err(|why| refused(replica, self.name, &why))?;
        }
        let value = known.map(|known| known.value.as_str()).unwrap_or_default();
        join::is_not_older(self.store, log, &followed, value).map_err(|why| self.refused(why))?;
        Ok(followed)
    }

    /// What this machine cosigned earlier, if its guard is still there, is in the copy.
    fn is_ours(&self, log: &Log) -> Result<(), Failed> {
        let Some(mark) = self.here.mark(&log.origin) else { return Ok(()) };
        let published = writer::published(log, String::new());
        let reader = Reader { store: self.store, number: self.number, at: &published };
        // What is beyond the copy, the server posts and compares before it cosigns.
        if mark.size > log.position.size || merkle::root_at(&reader, mark.size)? == mark.root {
            return Ok(());
        }
        Err(self.refused(format!(
            "this machine's guard says that it has cosigned another tree of size {}: there are two histories. Delete nothing, and find out \
             which replica has the other one",
            mark.size
        )))
    }

    /// The journal is the one of this copy, and the copy ends where it says.
    fn ends_in_journal(&self, log: &Log) -> Result<(), Failed> {
        if log.position.retention.deleted.is_some() {
            return Ok(());
        }
        let keyring = Keyring::open(&self.here.config.file.keys_dir, self.name)
            .map_err(ledger::Error::from)?;
        let compared = self.there.runtime.block_on(async {
            let stream = Jetstream::open(&self.there.broker, self.name).await?;
            join::ends_there(&stream, (self.store, log), &keyring).await
        });
        match compared {
            Ok(()) => Ok(()),
            Err(journal::Error::Halt(why)) => Err(self.refused(why)),
            Err(error) => Err(Failed::new(EXIT_UNAVAILABLE, error.to_string())),
        }
    }
}
