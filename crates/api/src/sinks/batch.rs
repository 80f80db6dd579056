//! Reads batches from the feed: what the filter names from an index on, as far as the limits go.

use super::{
    format::{Format, Site},
    head::Head,
    port::{Batch, Record, digest},
    shelf::{Leaf, Shelf},
    span::{self, Names},
    spanned::spanned,
};
use ledger::{
    Ledger,
    feed::{self, Question, Turn},
    ident::Ident,
    log::merkle::Hash,
    store,
    tenant::Tenant,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// What a sink sends, and how.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Name of the sink.
    pub name: Ident,
    /// Its tenant.
    pub tenant: Ident,
    /// Its kind, as in the configuration.
    pub kind: Ident,
    /// The form of records.
    pub format: Format,
    /// Which entries.
    pub question: Question,
    /// The same as it was configured.
    pub filter: BTreeMap<String, String>,
    /// Payload fields that may leave.
    pub payload: Vec<String>,
    /// Most records of a batch.
    pub entries: usize,
    /// About how many bytes a batch has.
    pub bytes: usize,
    /// Decisions and approvals are spans too, with these names.
    pub traces: Option<Names>,
    /// `public_url`, without a slash at its end.
    pub url: String,
    /// When the last of the authorities that it trusts by its file ends, in seconds since 1970. 0 without a file.
    pub authorities_end: u64,
}

impl Spec {
    /// What is the same in every record.
    pub fn site(&self, tenant: &Tenant) -> Site {
        Site {
            origin: tenant.origin.clone(),
            tenant: tenant.name.to_string(),
            sink: self.name.to_string(),
            url: self.url.clone(),
        }
    }
}

/// Which part of the log.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where the batch begins.
    pub from: u64,
    /// Where to read on: nothing between `from` and here fits.
    pub next: u64,
    /// Where it ends at the latest.
    pub until: Option<u64>,
}

/// What was read.
pub struct Read {
    /// The batch. `None` if nothing fits.
    pub batch: Option<Batch>,
    /// Where to read on.
    pub next: u64,
    /// The published size.
    pub size: u64,
}

/// Reads the next batch.
pub fn read(
    ledger: &Ledger,
    tenant: &Tenant,
    (spec, shelf): (&Spec, &Shelf),
    span: Span,
) -> Result<Read, store::Error> {
    let published = tenant.published();
    let reader = ledger.reader(tenant, &published);
    let until = span.until.unwrap_or(u64::MAX).min(published.size);
    let turn = Turn { from: Some(span.next), entries: spec.entries, now: ledger.now() };
    let (mut leaves, mut bytes, mut end) = (Vec::<Arc<Leaf>>::new(), 0, None);
    let mut ahead = VecDeque::<Arc<Leaf>>::new();
    let entry = |index| {
        while ahead.front().is_some_and(|leaf| leaf.index < index) {
            ahead.pop_front();
        }
        if ahead.is_empty() {
            ahead = shelf.from(ledger, tenant, (index, published.size))?;
        }
        ahead.pop_front().ok_or(store::Error::Corrupt { family: "entries", what: "an entry" })
    };
    let page = feed::page_of(&reader, &spec.question, turn, (entry, Leaf::text), |index, leaf| {
        if index >= until || (bytes > spec.bytes && !leaves.is_empty()) {
            end.get_or_insert(index);
            return;
        }
        bytes += leaf.entry.len();
        leaves.push(leaf);
    })?;
    let next = end.unwrap_or(page.scanned.1).min(until).max(span.next);
    let mut records = Vec::with_capacity(leaves.len());
    let site = spec.site(tenant);
    for leaf in leaves {
        records.push(record(ledger, tenant, (spec, &site), leaf)?);
    }
    let covers = (span.from, next);
    let at = (published.size, published.root);
    let batch = (!records.is_empty()).then(|| make(spec, &site, covers, records, at));
    Ok(Read { batch, next, size: published.size })
}

fn record(
    ledger: &Ledger,
    tenant: &Tenant,
    (spec, site): (&Spec, &Site),
    leaf: Arc<Leaf>,
) -> Result<Record, store::Error> {
    let line = if spec.payload.is_empty() {
        leaf.line(spec.format, site)
    } else {
        let payload = ledger.payload_of(tenant, leaf.index, leaf.entry.as_bytes())?;
        let mut payload = payload.values();
        payload.retain(|name, _| spec.payload.contains(name));
        leaf.record(spec.format, site, &payload).into()
    };
    let span = match spec.traces {
        Some(names) => spanned(ledger, tenant, (site, names), &leaf)?,
        None => None,
    };
    Ok(Record { leaf, line, span })
}

/// Makes a batch of records that cover a range.
fn make(
    spec: &Spec,
    place: &Site,
    (from, to): (u64, u64),
    records: Vec<Record>,
    (size, root): (u64, Hash),
) -> Batch {
    let head = Head {
        origin: place.origin.clone(),
        sink: place.sink.clone(),
        from,
        to,
        count: records.len(),
        digest: digest(records.iter().map(|record| &record.leaf.hash)),
        size,
        root,
    };
    let mark = data_encoding::HEXLOWER.encode(&head.digest.0[..8]);
    let time = records.last().map_or(0, |record| record.leaf.time());
    let head_line = spec.format.head(place, &head, time);
    let id = format!("batch/{}/{from}-{to}-{mark}", place.sink);
    Batch { id, head, head_line, records, tried: None }
}

/// Two batches in place of one: each says of itself what is in it.
pub fn halves(spec: &Spec, site: &Site, batch: &Batch) -> [Batch; 2] {
    let (first, second) = batch.records.split_at(batch.records.len() / 2);
    let middle = second.first().map_or(batch.head.to, |record| record.leaf.index);
    let at = (batch.head.size, batch.head.root);
    [
        make(spec, site, (batch.head.from, middle), first.to_vec(), at),
        make(spec, site, (middle, batch.head.to), second.to_vec(), at),
    ]
}

/// A batch without records, which says that it is a test.
pub fn test(spec: &Spec, site: &Site, time: u64) -> Batch {
    let empty = make(spec, site, (0, 0), Vec::new(), (0, Hash([0; 32])));
    let head_line = spec.format.test(site, time);
    let tried = spec.traces.map(|_| span::test(site, time));
    Batch { id: format!("test/{}/{time}", site.sink), head_line, tried, ..empty }
}
