//! Whether an execution names our decision by its index *and* its leaf. Posting settles by the index alone, so a report with
//! the leaf of another call would free what it is not about. Of told decisions nothing is settled: there an auditor judges.

use ledger::{
    Ledger,
    entry::View,
    event::EXECUTION,
    ident::Ident,
    json::{self, Value},
    log::merkle::{Hash, leaf_hash},
    tenant::Tenant,
};

/// An execution that names another leaf than the one at its index.
pub(super) struct Misfit {
    /// The event's `id`.
    pub(super) id: Option<String>,
    /// What must change.
    pub(super) detail: String,
}

/// What is wrong with an event of a producer. `None` for every other event, and for one whose decision is not in the log yet
/// or no more.
pub(super) fn misfit(
    ledger: &Ledger,
    (tenant, producer): (&Tenant, &Ident),
    body: &[u8],
) -> Option<Misfit> {
    // Most events are none. A name may be written with escapes.
    if !str::from_utf8(body).is_ok_and(|text| text.contains("leaf_hash") || text.contains("\\u")) {
        return None;
    }
    let event = json::parse(body).ok()?;
    let text = |value: &Value<'_>, name: &str| value.get(name)?.as_str().map(str::to_owned);
    let named = event.get("data")?.get("decision")?;
    let index = named.get("index")?.as_u64()?;
    let named = Hash::parse(&text(named, "leaf_hash")?)?;
    if text(&event, "type")? != EXECUTION {
        return None;
    }
    let published = tenant.published();
    let kept_from = published.pruned.as_ref().map_or(0, |pruned| pruned.size);
    if !(kept_from..published.size).contains(&index) {
        return None;
    }
    let mut is_wrong = false;
    let read = ledger.entries(tenant, (index, index + 1), |_, entry| {
        let settles = View::parse(entry).is_some_and(|view| {
            view.is_ours() && view.text(&["producer"]) == Some(producer.as_str())
        });
        is_wrong = settles && leaf_hash(entry) != named;
    });
    if read.is_err() || !is_wrong {
        return None;
    }
    let detail = format!(
        "`/data/decision/leaf_hash` must be that of the decision at `index`, and the leaf at {index} is another one. Nothing \
         is settled. Take both from one answer of `POST T/decisions`, or from its receipt, and send the report again."
    );
    Some(Misfit { id: text(&event, "id"), detail })
}
