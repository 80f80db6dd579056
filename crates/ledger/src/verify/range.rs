//! A contiguous range of a log on its own: every entry of it, proven under one checkpoint, and every system entry of the log.

use super::{
    Erased, Error, KeysDocument, NamedSets, Summary, Trusted, checkpoint,
    keys::Named,
    part::Part,
    period::{Chain, Follow, Range},
    trust,
};
use crate::{
    canonical,
    entry::{Kind, View},
    json,
    log::checkpoint::Checkpoint,
    system::Genesis,
};

/// What the system entries of a log say about it.
#[derive(Clone, Debug, Default)]
pub struct OfItself {
    /// The keys that sign it, as it names them, and those that a newer document adds.
    pub keys: Vec<Trusted>,
    /// What was erased.
    pub erased: Erased,
    /// Its tenant.
    pub tenant: String,
    /// Its replicas.
    pub members: NamedSets,
}

/// A range that verifies.
#[derive(Clone, Debug)]
pub struct Ranged {
    /// Its checkpoint.
    pub checkpoint: Checkpoint,
    /// The keys that sign the log, as it names them itself.
    pub keys: Vec<Trusted>,
    /// Totals of its entries.
    pub summary: Summary,
    /// What was erased, by all erasure entries up to the checkpoint.
    pub erased: Erased,
    /// Number of system entries of the log.
    pub system: u64,
    /// Its replicas, as the log names them itself.
    pub members: NamedSets,
}

impl OfItself {
    /// Reads it from a proven part. `note`: the checkpoint of the part, which one of these keys must have signed.
    pub fn read<R: Fn(&str) -> Option<Vec<u8>>>(
        part: &Part<R>,
        chain: &Chain,
        (trusted, note): (&[Trusted], &str),
    ) -> Result<Self, Error> {
        let mut of = Self::default();
        let mut named = Named::default();
        let origin = &part.signed().origin;
        for index in &chain.entries {
            part.with(*index, |view| match view.kind {
                Kind::Genesis => {
                    let genesis: Genesis = view.event_as().ok_or("not a genesis of version 1")?;
                    named.genesis(&genesis);
                    of.tenant = genesis.tenant.to_string();
                    if genesis.origin == *origin {
                        Ok(())
                    } else {
                        Err("the genesis is that of another log than the checkpoint")
                    }
                }
                Kind::Key => named.key(view),
                Kind::Members => of.members.take((*index, view), origin, &named),
                Kind::Erasure => of.erased.take(*index, view).map(drop),
                Kind::Retention | Kind::Prune => {
                    of.erased.expire(view);
                    Ok(())
                }
                _ => Ok(()),
            })?;
        }
        let size = part.signed().size;
        of.keys = if size == 0 { trusted.to_vec() } else { named.reconcile(trusted, size)? };
        checkpoint(note, &of.keys)?;
        Ok(of)
    }
}

/// Whoever makes a copy of a log takes the first key from its own document. Whoever verifies has it from elsewhere.
pub fn trust_of_itself(document: &KeysDocument) -> Result<Vec<Trusted>, Error> {
    let wrong = Error::Keys { position: 0, what: "the document has no key" };
    let first = document.keys.first().ok_or(wrong)?;
    Ok(trust(&first.vkey.0, Some(document))?.keys)
}

/// Verifies the entries of a range. `each` receives them with their indexes, in order, and may refuse them.
pub fn range<R: Fn(&str) -> Option<Vec<u8>>>(
    part: &Part<R>,
    chain: &Chain,
    (trusted, note): (&[Trusted], &str),
    range: Range,
    mut each: impl FnMut(u64, &[u8], &View<'_>) -> Result<(), Error>,
) -> Result<Ranged, Error> {
    if range.begin > range.end || range.end > part.signed().size {
        let place = format!("entries {} to {}", range.begin, range.end);
        return Err(Error::export(place, "no range of this log"));
    }
    let OfItself { keys, erased, tenant, members } = OfItself::read(part, chain, (trusted, note))?;
    let mut follow = Follow::new(chain, range);
    if let Some(before) = range.begin.checked_sub(1) {
        part.with(before, |view| follow.before(before, view))?;
    }
    let mut summary = Summary::default();
    for number in range.begin / 256..range.end.div_ceil(256) {
        let bundle = part.bundle(number)?;
        for (index, entry) in (number * 256..).zip(bundle.entries()) {
            if !(range.begin..range.end).contains(&index) {
                continue;
            }
            let wrong = |what| Error::export(format!("entry {index}"), what);
            let value = json::parse_kept(entry).map_err(|_| wrong("not strict JSON"))?;
            if canonical::to_vec(&value) != entry {
                return Err(wrong("not in RFC 8785 form"));
            }
            let view = View::of(value).ok_or_else(|| wrong("not an entry of version 1"))?;
            if view.text(&["tenant"]) != Some(&tenant) {
                return Err(wrong("it is of another tenant than the genesis"));
            }
            if (index == 0) != (view.kind == Kind::Genesis) {
                return Err(wrong("genesis is leaf 0 and nothing else"));
            }
            follow.take(index, &view).map_err(wrong)?;
            summary.count(&view);
            each(index, entry, &view)?;
        }
    }
    let system = chain.entries.len() as u64;
    Ok(Ranged { checkpoint: part.signed().clone(), keys, summary, erased, system, members })
}
