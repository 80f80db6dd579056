//! How far a sink is: stored with our seal once a second, and found in the log where that is lost.

use super::{batch::Spec, letters};
use ledger::{
    Ledger, store,
    system::delivery::{Delivery, Standing},
    tenant::Tenant,
    time::Nanos,
};
use serde::{Deserialize, Serialize};

/// How far a sink is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Origin of the log. A place belongs to one log.
    pub origin: String,
    /// Everything below was delivered, or is a letter: where the next batch begins.
    pub from: u64,
    /// Where to read on: nothing between `from` and here fits.
    pub next: u64,
    /// What the log says: everything below was delivered.
    pub told_to: u64,
    /// Records that were taken since.
    pub count: u64,
    /// Records that were refused since, by leaf index.
    pub refused: Vec<u64>,
    /// When the log was told last, in nanoseconds since 1970.
    pub told_at: u64,
    /// The log was told that the sink stands still.
    pub still: bool,
    /// What was delivered and can still be lost with both sides: it is sent again after a start.
    #[serde(default)]
    pub unsure: Vec<(u64, u64)>,
}

/// Most ranges that are named as unsure. There are several only where somebody had ranges sent again.
const UNSURE_MAX: usize = 64;

/// Ranges as few as possible, in order: those that touch are one. The last ones of too many.
pub fn joined(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.retain(|(from, to)| from < to);
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    joined.split_off(joined.len().saturating_sub(UNSURE_MAX))
}

/// A place, and whether the log is to be told that the sink starts.
pub struct Found {
    /// The place.
    pub place: Place,
    /// True if the log does not know the sink as it is configured.
    pub is_new: bool,
}

/// Finds the place of a sink: its own, or what it said in the log if that is further. So a restored database and a new
/// replica go on from what the log knows.
pub fn find(ledger: &Ledger, tenant: &Tenant, spec: &Spec) -> Result<Found, store::Error> {
    let kept = ledger.sink_place(tenant, &spec.name).unwrap_or_else(|error| {
        tracing::warn!(sink = %spec.name, %error, "a sink's place is not ours: it goes on from the log");
        None
    });
    let kept: Option<Place> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let kept = kept.filter(|place| place.origin == tenant.origin);
    let above = kept.as_ref().map_or(0, |place| place.told_to);
    let said = ledger.deliveries(tenant, &spec.name, above)?;
    let last = said.first().map(|(_, body)| body);
    let to = last.map_or(0, |body| body.to);
    let mut place = kept.unwrap_or_else(|| Place {
        origin: tenant.origin.clone(),
        from: 0,
        next: 0,
        told_to: 0,
        count: 0,
        refused: Vec::new(),
        told_at: ledger.now().0,
        still: last.is_some_and(|body| body.state == Standing::StandsStill),
        unsure: Vec::new(),
    });
    // What the log names as refused was a letter in a database that is gone.
    for (index, body) in said.iter().filter(|(_, body)| body.to > above) {
        letters::keep_named(ledger, tenant, (&spec.name, *index), &body.refused)?;
    }
    if to > place.told_to {
        place.told_to = to;
    }
    if to > place.from {
        (place.from, place.next) = (to, to.max(place.next));
        (place.count, place.refused) = (0, Vec::new());
    }
    // A journal that was lost can leave the log smaller than it was.
    let size = tenant.published().size;
    (place.from, place.next) = (place.from.min(size), place.next.min(size));
    let is_new = last.is_none_or(|body| !is_of(body, spec));
    Ok(Found { place, is_new })
}

/// True if the log knows the sink as it is configured.
fn is_of(body: &Delivery, spec: &Spec) -> bool {
    (&body.kind, body.format.as_str(), &body.filter, &body.payload)
        == (&spec.kind, spec.format.as_str(), &spec.filter, &spec.payload)
}

impl Place {
    /// Stores it.
    pub fn keep(&self, ledger: &Ledger, tenant: &Tenant, spec: &Spec) -> Result<(), store::Error> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        ledger.keep_sink_place(tenant, &spec.name, &bytes)
    }

    /// Seconds since the log was told.
    pub fn told_ago(&self, now: Nanos) -> u64 {
        now.0.saturating_sub(self.told_at) / 1_000_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p19_ranges_that_touch_are_one() {
        assert_eq!(joined(vec![]), []);
        assert_eq!(joined(vec![(5, 7), (0, 0), (7, 9), (20, 22), (21, 30)]), [(5, 9), (20, 30)]);
        let many = (0..100).map(|number| (number * 10, number * 10 + 1)).collect();
        let left = joined(many);
        assert_eq!((left.len(), left[0], left[63]), (UNSURE_MAX, (360, 361), (990, 991)));
    }
}
