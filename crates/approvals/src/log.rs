//! What the approvals worker needs of a tenant's log and of the clocks. [`OfTenant`] is the log that this server
//! posts; the tests have a second one in memory, so that they can lose and delay what they like.

mod clocks;

pub use clocks::Clocks;

use crate::error::Error;
use futures_util::future::BoxFuture;
use ledger::{
    Error as Failure, Ledger,
    budget::Asked,
    disclosure::{RedactionKey, Scope},
    entry::Payload,
    history::{Decided, Row},
    ident::Ident,
    journal::{self, Subject},
    log::note::Vkey,
    post::{Freezes, Identities, Outcome, Policies},
    store,
    system::Rules,
    tenant::Tenant,
};
use std::{ops::Range, sync::Arc};

/// `meta` key of the worker's place in the log; also the name under which it is sealed.
const PLACE: &str = "approvals";

/// How far a log is published here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Number of entries.
    pub size: u64,
    /// Last journal sequence that is posted.
    pub posted: u64,
}

/// The log of one tenant, as one server has it.
pub trait Log: Send + Sync {
    /// The tenant.
    fn tenant(&self) -> &Ident;

    /// The key of the tenant's redactions.
    fn redaction_key(&self) -> RedactionKey;

    /// What is published here.
    fn extent(&self) -> Extent;

    /// Waits until `reached` is true of the extent. False if it never will be: the log is halted or closed.
    fn until<'a>(
        &'a self,
        reached: &'a (dyn Fn(Extent) -> bool + Send + Sync),
    ) -> BoxFuture<'a, bool>;

    /// Why the log is halted.
    fn halted(&self) -> Option<String>;

    /// Halts the log: the database does not hold what was posted.
    fn halt(&self, reason: String);

    /// A posted entry, proven if it is published.
    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, store::Error>;

    /// Visits published entries in order.
    fn entries(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), store::Error>;

    /// What is left of the payload of `entry`, the bytes at `index`. It fits the entry.
    fn payload(&self, index: u64, entry: &[u8]) -> Result<Payload, store::Error>;

    /// What is left of the payload of a published entry, as it is stored.
    fn stored_payload(&self, index: u64) -> Result<Option<Payload>, store::Error>;

    /// Posted entries of an approval, in order: leaf index, and [`ledger::post::APPROVAL`] or
    /// [`ledger::post::EVIDENCE`].
    fn of_approval(&self, id: &Ident) -> Result<Vec<(u64, u8)>, store::Error>;

    /// True if the index lacks a row of this approval, whose decision is at `opening`. Found by walking the log
    /// itself.
    fn lacks_rows(&self, id: &Ident, opening: u64) -> Result<bool, store::Error>;

    /// The first leaf index from which every entry is here: those before it may have been pruned.
    fn kept_from(&self) -> u64;

    /// Leaf index of the event with this key. `None` if none is posted here.
    fn find(&self, scope: Scope<'_>) -> Result<Option<u64>, store::Error>;

    /// Last posted journal sequence on a signed subject. 0 if none.
    fn last_on(&self, subject: &Subject) -> Result<u64, store::Error>;

    /// Leaf index of the last `clock` entry.
    fn last_clock(&self) -> Option<u64>;

    /// Leaf index of the last posted `rules` entry.
    fn rules_index(&self) -> Option<u64>;

    /// [`Log::rules_index`] and what that entry says.
    fn rules(&self) -> Result<Option<(u64, Rules)>, store::Error>;

    /// The policies in force at the last published entry, and the bundles that were proposed.
    fn policies(&self) -> Policies;

    /// What is frozen at the last published entry.
    fn freezes(&self) -> Arc<Freezes>;

    /// Which tokens of agents are revoked at the last published entry.
    fn identities(&self) -> Arc<Identities>;

    /// The keys that may have signed a token of an agent, newest last.
    fn agent_keys(&self) -> Vec<Vkey>;

    /// `<host>/v1/tenants/<tenant>/logs/<n>`.
    fn origin(&self) -> &str;

    /// What counts against the cap of a budget, in the window that is asked about.
    fn booked(&self, asked: &Asked) -> Result<u64, store::Error>;

    /// Visits the decisions of a row, latest first, until `visit` returns false.
    fn earlier(
        &self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error>;

    /// The place that [`Log::keep_place`] stored, with our seal.
    fn place(&self) -> Result<Option<Vec<u8>>, store::Error>;

    /// Stores the worker's place in the log.
    fn keep_place(&self, place: &[u8]) -> Result<(), store::Error>;

    /// The last message on a signed subject, if the journal holds one after `posted`.
    fn newer<'a>(
        &'a self,
        subject: &'a Subject,
        posted: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, Error>>;

    /// Waits until everything that the journal holds now is published here.
    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>>;
    /// Waits until everything is published here that another replica has told anybody. The journal's word is not enough for that: a
    /// NATS server that was parted from the others answers for a while with what it had.
    fn until_told(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Appends a message of ours, and waits until it is published. Returns its leaf index. `expected`: the last
    /// sequence on the subject; without it, whatever is last there. [`Error::is_conflict`] if another message came
    /// first; [`Error::Unknown`] if it may be stored or not.
    fn append<'a>(
        &'a self,
        subject: &'a Subject,
        body: &'a [u8],
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, Error>>;

    /// Appends decisions of ours at once, and waits until what they gave is published. What each gave, in order.
    fn propose<'a>(
        &'a self,
        subject: &'a Subject,
        bodies: Vec<Vec<u8>>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Error>>;
}

/// The log of a tenant that this server posts.
pub struct OfTenant {
    /// All logs.
    pub ledger: Arc<Ledger>,
    /// The tenant.
    pub tenant: Arc<Tenant>,
}

impl Log for OfTenant {
    fn tenant(&self) -> &Ident {
        &self.tenant.name
    }

    fn redaction_key(&self) -> RedactionKey {
        self.tenant.with_keys(|ring| RedactionKey::derive(ring.salt_key()))
    }

    fn extent(&self) -> Extent {
        let published = self.tenant.published();
        Extent { size: published.size, posted: published.posted }
    }

    fn until<'a>(
        &'a self,
        reached: &'a (dyn Fn(Extent) -> bool + Send + Sync),
    ) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut states = self.tenant.watch();
            let found = states.wait_for(|published| {
                let extent = Extent { size: published.size, posted: published.posted };
                reached(extent) || self.halted().is_some()
            });
            drop(found.await);
            reached(self.extent())
        })
    }

    fn halted(&self) -> Option<String> {
        self.tenant.halted()
    }

    fn halt(&self, reason: String) {
        self.ledger.halt(&self.tenant, reason);
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, store::Error> {
        self.ledger.entry(&self.tenant, index)
    }

    fn entries(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<(), store::Error> {
        tokio::task::block_in_place(|| {
            self.ledger.entries(&self.tenant, (range.start, range.end), visit)
        })
    }

    fn payload(&self, index: u64, entry: &[u8]) -> Result<Payload, store::Error> {
        self.ledger.payload_of(&self.tenant, index, entry)
    }

    fn stored_payload(&self, index: u64) -> Result<Option<Payload>, store::Error> {
        let published = self.tenant.published();
        self.ledger.reader(&self.tenant, &published).payload(index)
    }

    fn of_approval(&self, id: &Ident) -> Result<Vec<(u64, u8)>, store::Error> {
        self.ledger.of_approval(&self.tenant, id)
    }

    fn lacks_rows(&self, id: &Ident, opening: u64) -> Result<bool, store::Error> {
        if opening >= self.tenant.opened_size() {
            return Ok(false);
        }
        let walk = || self.ledger.approval_entries_after(&self.tenant, id, opening);
        let found = tokio::task::block_in_place(walk)?;
        // One that another worker has opened just now is in the index by now.
        let indexed = self.ledger.indexed_approval(&self.tenant, id)?;
        Ok(!found.iter().all(|index| indexed.contains(index)))
    }

    fn kept_from(&self) -> u64 {
        self.tenant.published().kept_from()
    }

    fn find(&self, scope: Scope<'_>) -> Result<Option<u64>, store::Error> {
        let published = self.tenant.published();
        self.ledger.reader(&self.tenant, &published).find(scope)
    }

    fn last_on(&self, subject: &Subject) -> Result<u64, store::Error> {
        self.ledger.last_on(&self.tenant, subject)
    }

    fn last_clock(&self) -> Option<u64> {
        self.tenant.position().clock
    }

    fn rules_index(&self) -> Option<u64> {
        self.ledger.rules_index(&self.tenant)
    }

    fn rules(&self) -> Result<Option<(u64, Rules)>, store::Error> {
        self.ledger.rules(&self.tenant)
    }

    fn policies(&self) -> Policies {
        self.tenant.published().policies.clone()
    }

    fn freezes(&self) -> Arc<Freezes> {
        Arc::clone(&self.tenant.published().freezes)
    }

    fn identities(&self) -> Arc<Identities> {
        Arc::clone(&self.tenant.published().identities)
    }

    fn agent_keys(&self) -> Vec<Vkey> {
        self.tenant.published().keys.agent()
    }

    fn origin(&self) -> &str {
        &self.tenant.origin
    }

    fn booked(&self, asked: &Asked) -> Result<u64, store::Error> {
        self.ledger.booked(&self.tenant, asked)
    }

    fn earlier(
        &self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error> {
        self.ledger.earlier(&self.tenant, row, visit)
    }

    fn place(&self) -> Result<Option<Vec<u8>>, store::Error> {
        self.ledger.sealed(PLACE, self.tenant.name.as_str(), &self.tenant.number.meta(PLACE))
    }

    fn keep_place(&self, place: &[u8]) -> Result<(), store::Error> {
        let (key, tenant) = (self.tenant.number.meta(PLACE), self.tenant.name.as_str());
        tokio::task::block_in_place(|| self.ledger.put_sealed(PLACE, tenant, key, place))
    }

    fn newer<'a>(
        &'a self,
        subject: &'a Subject,
        posted: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, Error>> {
        Box::pin(async move { Ok(self.ledger.newer(&self.tenant, subject, posted).await?) })
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { Ok(self.ledger.catch_up(&self.tenant).await?) })
    }

    fn until_told(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { Ok(self.ledger.until_told(&self.tenant).await?) })
    }

    fn append<'a>(
        &'a self,
        subject: &'a Subject,
        body: &'a [u8],
        expected: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async move {
            let (ledger, tenant) = (&self.ledger, &self.tenant);
            let done = match expected {
                Some(expected) => ledger.publish_after(tenant, subject, body, expected).await,
                None => ledger.publish_signed(tenant, subject, body).await,
            };
            match done {
                Ok(done) => match done.outcomes.first() {
                    Some(Outcome::Posted { index }) => Ok(*index),
                    rejected @ Some(Outcome::Rejected { .. }) => {
                        Ok(Failure::unless_posted(subject, rejected)?)
                    }
                    _ => Err(Error::Unknown),
                },
                Err(error) => Err(failed(error)),
            }
        })
    }

    fn propose<'a>(
        &'a self,
        subject: &'a Subject,
        bodies: Vec<Vec<u8>>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Error>> {
        Box::pin(async move {
            let (ledger, tenant) = (&self.ledger, &self.tenant);
            let sign = |body: &Vec<u8>| Ledger::unchained(tenant, subject, body);
            let batch = bodies.iter().map(sign).collect::<Result<Vec<_>, _>>()?;
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let posted = ledger.publish(tenant, batch).await.map_err(failed)?;
            Ok(posted.done.outcomes)
        })
    }
}

/// A failure in the words of the port.
fn failed(error: Failure) -> Error {
    match error {
        Failure::Unknown | Failure::Journal(journal::Error::Unknown(_)) => Error::Unknown,
        error => error.into(),
    }
}
