//! Counts earlier decisions. Pure over what it is handed: the same rows and calls give the same fact.

use super::{Counted, History, Query, Unknown, call_of};
use crate::{decision::Fields, policy::request::Request};
use ledger::{
    canonical,
    history::{Decided, Row},
    json,
    time::Nanos,
};

/// Most earlier decisions that are read for one condition.
pub const READ_MAX: usize = 1_000;
/// Most earlier calls whose values are read for one condition.
pub const EQUAL_READ_MAX: usize = 200;

/// Where earlier decisions are read.
pub trait Past {
    /// Why it can't be read.
    type Error;

    /// Number of entries that count: what was posted after them is not seen.
    fn as_of(&self) -> u64;

    /// Visits the decisions of a row, latest first, until `visit` returns false.
    fn earlier(
        &mut self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), Self::Error>;

    /// The payload of an earlier decision, as far as it is there.
    fn fields(&mut self, index: u64) -> Result<Fields, Self::Error>;

    /// A count that is taken as it was recorded.
    fn recorded(&self) -> &[Counted] {
        &[]
    }
}

/// Counts for a call that is judged at `now`. `None` if the call has not what is compared: then the condition is an error
/// whatever was decided before.
pub(in crate::policy) fn counted<P: Past>(
    history: &History,
    request: &Request<'_>,
    (now, up_to): (Nanos, u64),
    past: &mut P,
) -> Result<Option<Counted>, P::Error> {
    if let Some(known) = past.recorded().iter().find(|known| history.is_counted_by(known)) {
        return Ok(Some(known.clone()));
    }
    let Ok(here) = history.here(request) else { return Ok(None) };
    let here: Vec<Vec<u8>> = here.into_iter().map(canonical::to_vec).collect();
    let query = &history.query;
    let (mut candidates, mut read, mut unknown) = (Vec::new(), 0, None);
    let call = call_of(request);
    let since = Nanos(now.0.saturating_sub(Nanos::default().plus_seconds(query.within).0));
    let as_of = past.as_of();
    let Some(id) = call.id(query.same) else { return Ok(None) };
    for action in &query.actions {
        let (tool, action) = (query.tool.clone(), action.clone());
        let row = Row { same: query.same, id: id.to_owned(), tool, action };
        past.earlier(&row, &mut |index, decided| {
            if index >= as_of {
                return true;
            }
            if decided.at <= since {
                return false;
            }
            if read == READ_MAX {
                unknown = Some(Unknown::TooMany);
                return false;
            }
            read += 1;
            if counts(query, decided, as_of) {
                candidates.push(index);
            }
            !here.is_empty() || (candidates.len() as u64) < up_to
        })?;
        if here.is_empty() && candidates.len() as u64 >= up_to {
            break;
        }
    }
    let mut of = Vec::new();
    if here.is_empty() {
        of = candidates;
        of.truncate(usize::try_from(up_to).unwrap_or(usize::MAX));
    } else {
        for (nth, index) in candidates.into_iter().enumerate() {
            if of.len() as u64 == up_to {
                break;
            }
            if nth == EQUAL_READ_MAX {
                unknown = Some(Unknown::TooMany);
                break;
            }
            match is_equal(history, &here, &past.fields(index)?) {
                Ok(true) => of.push(index),
                Ok(false) => {}
                Err(why) => unknown = Some(unknown.unwrap_or(why)),
            }
        }
    }
    // Enough counted: what could not be read makes no difference.
    let unknown = unknown.filter(|_| (of.len() as u64) < up_to);
    of.sort_unstable();
    Ok(Some(Counted { query: query.clone(), up_to, of, unknown }))
}

/// Counts again what a fact says of a call that was judged at `now`. `None` if the bundle's language has no such condition.
pub fn count<P: Past>(
    counted_then: &Counted,
    request: &Request<'_>,
    now: Nanos,
    past: &mut P,
) -> Result<Option<Counted>, P::Error> {
    let Some(history) = History::of(counted_then.query.clone()) else { return Ok(None) };
    counted(&history, request, (now, counted_then.up_to), past)
}

fn counts(query: &Query, decided: &Decided, as_of: u64) -> bool {
    let outcome = decided.outcome.filter(|(_, at)| *at < as_of).map(|(outcome, _)| outcome);
    query.verdicts.contains(&decided.verdict)
        && (query.outcomes.is_empty()
            || outcome.is_some_and(|outcome| query.outcomes.contains(&outcome)))
}

/// Whether an earlier call has these values.
fn is_equal(history: &History, here: &[Vec<u8>], fields: &Fields) -> Result<bool, Unknown> {
    let kept = fields.get("received");
    let params = kept.or_else(|| fields.get("params")).ok_or(Unknown::Erased)?;
    let params = json::parse_kept(params).map_err(|_| Unknown::Erased)?;
    let redacted = if kept.is_some() { Vec::new() } else { redacted(fields)? };
    let mut equal = true;
    for ((_, there), here) in history.equal.iter().zip(here) {
        let at = there.to_string();
        let touches = |place: &String| {
            let within = |outer: &str, inner: &str| {
                inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            within(place, &at) || within(&at, place)
        };
        if redacted.iter().any(touches) {
            return Err(Unknown::Redacted);
        }
        let value = there.find(&params).ok().flatten();
        equal &= value.is_some_and(|value| canonical::to_vec(value) == *here);
    }
    Ok(equal)
}

/// Where an earlier call was redacted.
fn redacted(fields: &Fields) -> Result<Vec<String>, Unknown> {
    let facts = fields.get("/data/facts").ok_or(Unknown::Erased)?;
    let facts: serde_json::Value = serde_json::from_slice(facts).map_err(|_| Unknown::Erased)?;
    let found = facts["redacted"]["found"].as_array();
    let places = found.into_iter().flatten().filter_map(|one| one["at"].as_str());
    Ok(places.map(str::to_owned).collect())
}
