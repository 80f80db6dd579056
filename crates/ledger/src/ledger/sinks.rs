//! What sinks keep: the place of each, and the letters that its receiver refused. Both are in the database, so a backup
//! that is restored takes them back together. What a sink said last is in the log.

use super::Ledger;
use crate::{
    entry::{Kind, View},
    ident::Ident,
    store::{self, Family},
    system::delivery::{Delivery, Standing},
    tenant::Tenant,
};

/// `what` of a sink's place, and the name of its row in `meta`.
const SINK: &str = "sink";
/// Name of the rows of letters in `meta`.
const LETTER: &str = "letter";

/// Key of a sink's place in `meta`.
fn place(tenant: &Tenant, sink: &Ident) -> Vec<u8> {
    [tenant.number.meta(SINK), sink.as_str().into()].concat()
}

/// Key of a sink's letters in `meta`, up to the index. A name has no zero byte.
fn letter(tenant: &Tenant, sink: &Ident, index: &[u8]) -> Vec<u8> {
    [&tenant.number.meta(LETTER), sink.as_str().as_bytes(), &[0], index].concat()
}

/// What the seal of a sink's rows covers beside their value.
fn sealed_as(tenant: &Tenant, sink: &Ident) -> String {
    format!("{}/{sink}", tenant.name)
}

impl Ledger {
    /// The place that a sink stored, with our seal.
    pub fn sink_place(
        &self,
        tenant: &Tenant,
        sink: &Ident,
    ) -> Result<Option<Vec<u8>>, store::Error> {
        self.sealed(SINK, &sealed_as(tenant, sink), &place(tenant, sink))
    }

    /// Stores a sink's place. Not synced: it is on disk with the next commit, and a machine that fails before it takes the place
    /// back. Then something comes twice. Ten sinks that sync for themselves would hold up what events wait for.
    pub fn keep_sink_place(
        &self,
        tenant: &Tenant,
        sink: &Ident,
        place: &[u8],
    ) -> Result<(), store::Error> {
        let record = self.seal_key.seal(SINK, &sealed_as(tenant, sink), place);
        self.store.write_soon((Family::Meta, &self::place(tenant, sink)), &record)
    }

    /// What a sink said of its place, the newest first, with the leaf indexes: as far back as it says more than `above`, and
    /// the one before. Found by walking `prior.system` back from the last leaf, so it is proven.
    pub fn deliveries(
        &self,
        tenant: &Tenant,
        sink: &Ident,
        above: u64,
    ) -> Result<Vec<(u64, Delivery)>, store::Error> {
        let corrupt = || store::Error::Corrupt { family: "entries", what: "a system entry" };
        let (mut found, mut next) = (Vec::new(), tenant.position().prior.system);
        while let Some(index) = next {
            let entry = self.entry(tenant, index)?;
            let view = entry.as_deref().and_then(View::parse).ok_or_else(corrupt)?;
            if view.kind == Kind::Delivery && view.text(&["event", "sink"]) == Some(sink.as_str()) {
                let body: Delivery = view.event_as().ok_or_else(corrupt)?;
                let (of_place, more) = (body.state != Standing::Again, body.to > above);
                if of_place {
                    found.push((index, body));
                }
                if of_place && !more {
                    break;
                }
            }
            next = view.prior.system.filter(|prior| *prior < index);
        }
        Ok(found)
    }

    /// Up to `max` letters of a sink from leaf index `from` on, in order.
    pub fn letters(
        &self,
        tenant: &Tenant,
        sink: &Ident,
        (from, max): (u64, usize),
    ) -> Result<Vec<(u64, Vec<u8>)>, store::Error> {
        let prefix = letter(tenant, sink, &[]);
        let mut found = Vec::new();
        self.store.scan(
            Family::Meta,
            &letter(tenant, sink, &from.to_be_bytes()),
            |row, value| {
                let index = row.strip_prefix(prefix.as_slice());
                let index = index.and_then(|index| index.try_into().ok()).map(u64::from_be_bytes);
                let Some(index) = index.filter(|_| found.len() < max) else { return false };
                found.push((index, value.to_vec()));
                true
            },
        )?;
        Ok(found)
    }

    /// Keeps letters of a sink (`Some`), or removes them (`None`), synced to disk.
    pub fn change_letters(
        &self,
        tenant: &Tenant,
        sink: &Ident,
        letters: impl IntoIterator<Item = (u64, Option<Vec<u8>>)>,
    ) -> Result<(), store::Error> {
        let row = |index: u64| letter(tenant, sink, &index.to_be_bytes());
        let rows = letters.into_iter().map(|(index, value)| ((Family::Meta, row(index)), value));
        self.store.commit(rows)
    }
}
