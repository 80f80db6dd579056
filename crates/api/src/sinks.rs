//! Sinks: other systems that a tenant's entries are sent to (`proto/formats/sinks.md`).
//!
//! In scope: opening them, running them, what they say of themselves. Each stands on the feed. Out of scope: which entries
//! a feed has (`ledger::feed`), and who may ask (`routes::sinks`).

mod batch;
mod datadog;
mod elastic;
mod file;
mod format;
mod grpc;
mod head;
mod http;
mod kind;
mod letters;
pub mod net;
mod open;
mod otlp;
mod place;
mod port;
mod protobuf;
mod quiet;
mod run;
mod running;
mod sender;
mod sentinel;
mod setup;
mod shelf;
mod span;
mod spanned;
mod splunk;
mod syslog;
mod trust;

pub use letters::Letter;
pub use quiet::step_back;
pub use running::{Changed, Sinks};
pub use sender::{Held, Sink};
pub use setup::{Setup, mistakes, open_to_others};

use batch::Span;
use ledger::{
    Error, Ledger,
    entry::{Kind, View},
    store,
    system::{
        By, Reason,
        delivery::{Delivery, Standing},
    },
    tenant::Tenant,
    time::Nanos,
};

/// Most batches that one request sends again.
const AGAIN_BATCHES_MAX: usize = 16;

/// What of a range was sent again.
pub struct Again {
    /// Records that were taken.
    pub sent: u64,
    /// Records that were refused again.
    pub refused: u64,
    /// Where the rest of the range begins; its end if nothing is left.
    pub next: u64,
}

/// Why nothing was sent on request.
pub enum NotSent {
    /// The receiver does not take it now.
    Held(Held),
    /// The log can't be read or written.
    Failed(Error),
}

impl From<Error> for NotSent {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<store::Error> for NotSent {
    fn from(error: store::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Sends a record that says that it is a test, and waits for the answer.
pub async fn test(ledger: &Ledger, tenant: &Tenant, sink: &Sink) -> Result<(), Held> {
    let _turn = sink.turn.lock().await;
    let (site, now) = (sink.spec.site(tenant), ledger.now());
    let batch = batch::test(&sink.spec, &site, now.0);
    sink.offer(&site, batch, now).await.map(drop)
}

/// Sends a range again, as far as one request goes. The caller has recorded who asked for it ([`wanted_again`]).
pub async fn again(
    ledger: &Ledger,
    tenant: &Tenant,
    sink: &Sink,
    (from, to): (u64, u64),
) -> Result<Again, NotSent> {
    let _turn = sink.turn.lock().await;
    let site = sink.spec.site(tenant);
    let mut done = Again { sent: 0, refused: 0, next: from };
    for _ in 0..AGAIN_BATCHES_MAX {
        let span = Span { from: done.next, next: done.next, until: Some(to) };
        let read = || batch::read(ledger, tenant, (&sink.spec, &sink.shelf), span);
        let read = tokio::task::block_in_place(read)?;
        if let Some(batch) = read.batch {
            let count = batch.records.len();
            let refused = sink.offer(&site, batch, ledger.now()).await.map_err(NotSent::Held)?;
            letters::keep(ledger, tenant, &sink.spec.name, &refused, ledger.now())?;
            letters::taken(ledger, tenant, &sink.spec.name, (done.next, read.next), &refused)?;
            done.sent += (count - refused.len()) as u64;
            done.refused += refused.len() as u64;
        }
        done.next = read.next;
        if done.next >= to {
            break;
        }
    }
    sink.figures().letters = letters::count(ledger, tenant, &sink.spec.name)?;
    Ok(done)
}

/// The entry that says who has a range sent again, and why.
pub fn wanted_again(sink: &Sink, range: (u64, u64), by: By, reason: Option<Reason>) -> Delivery {
    Delivery { reason, ..sink.said(Standing::Again, range, by) }
}

/// Letters of a sink from an index on, in order.
pub fn letters_of(
    ledger: &Ledger,
    tenant: &Tenant,
    sink: &Sink,
    page: (u64, usize),
) -> Result<Vec<(u64, Letter)>, store::Error> {
    let found = ledger.letters(tenant, &sink.spec.name, page)?;
    let read = |(index, bytes): (u64, Vec<u8>)| Some((index, serde_json::from_slice(&bytes).ok()?));
    Ok(found.into_iter().filter_map(read).collect())
}

/// How far a sink is behind: entries, and seconds since the first of them came.
pub fn lag(ledger: &Ledger, tenant: &Tenant, sink: &Sink, now: Nanos) -> (u64, u64) {
    let (next, published) = (sink.figures().next, tenant.published());
    let first = ledger.reader(tenant, &published).entry(next).ok().flatten();
    let time = first.as_deref().and_then(View::parse).map(|view| view.origin.time);
    let seconds = time.map_or(0, |time| now.0.saturating_sub(time.0) / 1_000_000_000);
    (published.size.saturating_sub(next), seconds)
}

/// True if the entry says that somebody has a range of this sink sent again, and this part is in it.
pub fn asked_for(
    ledger: &Ledger,
    tenant: &Tenant,
    sink: &Sink,
    (entry, from, to): (u64, u64, u64),
) -> Result<bool, store::Error> {
    let entry = ledger.entry(tenant, entry)?;
    let view = entry.as_deref().and_then(View::parse).filter(|view| view.kind == Kind::Delivery);
    let asked: Option<Delivery> = view.and_then(|view| view.event_as());
    Ok(asked.is_some_and(|asked| {
        asked.state == Standing::Again
            && asked.sink == sink.spec.name
            && asked.from <= from
            && to <= asked.to
    }))
}
