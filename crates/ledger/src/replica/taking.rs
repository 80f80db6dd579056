//! Takes what the register holds and gets: which checkpoint counts, and what is put back (P21).

use super::{
    Quorum,
    seen::{Seen, Took, Unread},
    taken,
};
use crate::{
    journal::{
        Error,
        jetstream::register::{Register, Told, What},
    },
    log::replicas::{self, Certified, Start, Uncertified},
    tenant::Tenant,
};
use tokio::sync::mpsc;

impl Quorum {
    /// Takes what the register holds and gets.
    pub(super) async fn take_all(
        &self,
        register: &Register,
        mut told: mpsc::Receiver<Told>,
    ) -> Result<(), Error> {
        let own = self.replica().members.own().as_str();
        while let Some(Told { seq, what, body, is_last }) = told.recv().await {
            match what {
                What::Start(replica) if replica == own => self.take_start(seq, &body)?,
                What::Start(_) => {}
                What::Change(version) => self.take_step(version, seq, body),
                What::Value { by } => {
                    let posted = self.replica().ready().borrow().size;
                    if self.take_value(seq, Unread { body, by, posted }) == Took::Wrong {
                        self.mend(register).await;
                    }
                }
            }
            if is_last {
                self.reached_end()?;
            }
        }
        std::future::pending().await
    }

    fn take_value(&self, seq: u64, value: Unread) -> Took {
        let read = self.read(&value.body);
        let is_unread = read.is_err();
        let took = self.took(seq, value.by.clone(), read);
        if is_unread {
            self.seen.send_modify(|seen| seen.keep_unread(value));
        }
        took
    }

    /// Reads the value that could not be read once more when its size is posted: the entries may name keys and replicas that were unknown.
    pub(super) fn read_again(&self, posted: u64) -> Result<(), Error> {
        let mut again = None;
        self.seen.send_if_modified(|seen| {
            again = seen.again(posted);
            false
        });
        let Some((seq, value)) = again else { return Ok(()) };
        self.take_value(seq, Unread { posted, ..value });
        self.reached_end()
    }

    /// The register was followed to its end.
    fn reached_end(&self) -> Result<(), Error> {
        let was_whole = self.seen.borrow().is_whole;
        self.seen.send_modify(Seen::reached_end);
        let is_whole = self.seen.borrow().is_whole;
        self.replica().set_knows_register(is_whole);
        if !was_whole && is_whole { self.check_register() } else { Ok(()) }
    }

    /// A start message under the name of this replica. One that is not made with its key, or is told again, counts for nothing:
    /// nobody else can stop this process.
    fn take_start(&self, seq: u64, body: &[u8]) -> Result<(), Error> {
        let members = &self.replica().members;
        let start = serde_json::from_slice::<Start>(body).ok();
        let Some(start) = start.filter(|start| members.is_own_start(&self.tenant.origin, start))
        else {
            return Ok(());
        };
        let own = self.seen.borrow().own_start;
        if start.process == self.process {
            self.seen.send_modify(|seen| seen.started(seq));
        } else if own.is_some_and(|own| start.after >= own) {
            return Err(taken(members.own().as_str()));
        }
        Ok(())
    }

    /// Reads a value. Keys that are not posted yet are those whose files are here.
    fn read(&self, body: &[u8]) -> Result<Certified, Uncertified> {
        let note = String::from_utf8_lossy(body);
        self.verify_steps();
        let needed = self.needed(replicas::size_of(&note));
        self.certified(&note, &needed)
    }

    /// Takes a value of the register, and has it shown.
    pub(super) fn took(
        &self,
        seq: u64,
        by: Option<String>,
        read: Result<Certified, Uncertified>,
    ) -> Took {
        let mut took = Took::Known;
        self.seen.send_if_modified(|seen| {
            took = seen.take(seq, by, read);
            took != Took::Known
        });
        let seen = self.seen.borrow().clone();
        match took {
            Took::Known => {}
            Took::Newer => {
                let own = self.replica().members.own().as_str();
                self.replica().set_leads(seen.by.as_deref() == Some(own));
                self.replica().set_certified(seen.size());
                // Before it is shown: whoever is shown a checkpoint of the new set can have the proof of the change.
                let kept = tokio::task::block_in_place(|| self.keep_steps(seen.size()));
                if let Err(error) = kept {
                    tracing::warn!(tenant = %self.tenant.name, %error, "a change of the replicas could not be stored");
                }
                seen.newest
                    .into_iter()
                    .for_each(|newest| self.ledger.certified(&self.tenant, newest));
            }
            Took::Wrong => self.ignored(seen.wrong.unwrap_or_default()),
        }
        took
    }

    /// A checkpoint was taken before its entries were posted here, and by these it counts for nothing.
    pub(super) fn revoke(&self, newest: &Certified, why: &str) {
        let why = format!("size {}: {why}", newest.checkpoint.size);
        self.seen.send_modify(|seen| seen.revoke(kept(&self.tenant), why.clone()));
        self.ignored(why);
    }

    /// Tells a person that a value of the register counts for nothing.
    fn ignored(&self, why: String) {
        tracing::error!(tenant = %self.tenant.name, why, "a value of the register is ignored");
        self.replica().alarm(|alarms| alarms.ignored = (alarms.ignored.0 + 1, why));
    }

    /// Puts the newest cosigned checkpoint back into the place of a value that counts for nothing. One that can't be read is left to those
    /// that knew the register before: what this replica knows may be older. One that is no member has no say.
    async fn mend(&self, register: &Register) {
        let seen = self.seen.borrow().clone();
        let Some(newest) = seen.newest else { return };
        if (seen.unread.is_some() && !seen.is_whole) || self.replica().not_a_member().is_some() {
            return;
        }
        let by = self.replica().members.own();
        // If another replica was first, its value comes.
        if let Ok(seq) = register.swap(seen.seq, by, newest.note.clone().into_bytes()).await {
            self.took(seq, Some(by.to_string()), Ok((*newest).clone()));
        }
    }

    /// An empty register, though a majority has cosigned: it was lost, and nobody knows what was in it.
    fn check_register(&self) -> Result<(), Error> {
        let seen = self.seen.borrow();
        if seen.seq > 0 || seen.size() == 0 {
            return Ok(());
        }
        Err(Error::Halt(format!(
            "the register is empty, and this replica has shown size {}, which a majority had cosigned: the register was lost. \
             Find out what happened to NATS. Then stop all replicas, run `countersign replica put-back` on the one that has \
             shown most, and start them again (docs/operate/several-machines.md)",
            seen.size()
        )))
    }
}

/// What this replica had shown, cosigned by a majority, when this process began.
pub(super) fn kept(tenant: &Tenant) -> Option<Certified> {
    let published = tenant.published();
    let own = &tenant.replica()?.members;
    published.keys.certified(&tenant.origin, own, &published.checkpoint).ok()
}
