//! What a call wants that reaches far: an end a year away, a release to production, a version behind the one that ran.

use super::{Asked, Before, Earlier, Fact, USUAL_FROM, Weight, words};
use crate::display::Release;
use decider::approval::Phase;

/// From so many days on, an end is far: about a year.
const FAR_DAYS: u64 = 350;

/// All of it.
pub(super) fn lines(call: Asked<'_>, before: Before<'_>) -> Vec<Fact> {
    let behind = behind(call, before);
    far(call).into_iter().chain(behind).chain(production(call, before)).collect()
}

/// The first end that is about a year away, or more.
fn far(call: Asked<'_>) -> Option<Fact> {
    call.told.ends.iter().find_map(|(label, end)| {
        let days = end.days_after(call.at).filter(|days| *days >= FAR_DAYS)?;
        Some(words::far(label, *end, days))
    })
}

/// A lower version than the one that was released last, of the same service to the same place.
fn behind(call: Asked<'_>, Before { own, others, .. }: Before<'_>) -> Option<Fact> {
    let release = call.told.release.as_ref()?;
    let same = |one: &&&Earlier| {
        let released = matches!(one.phase, Phase::Redeemed | Phase::Completed);
        released && one.release.as_ref().is_some_and(|then| release.is_alike(then))
    };
    let last = own.iter().chain(others).filter(same).max_by_key(|one| one.opening)?;
    Some(words::behind(release.is_behind(last.release.as_ref()?)?, last))
}

/// A release to production is told, unless that is what the agent always asks for.
fn production(call: Asked<'_>, Before { own, .. }: Before<'_>) -> Option<Fact> {
    let in_production = |release: Option<&Release>| release.is_some_and(Release::is_in_production);
    if !in_production(call.told.release.as_ref()) {
        return None;
    }
    let usual =
        own.len() >= USUAL_FROM && own.iter().all(|one| in_production(one.release.as_ref()));
    let weight = if usual { Weight::Own } else { Weight::Tells };
    Some(Fact::ours(weight, words::IN_PRODUCTION))
}
