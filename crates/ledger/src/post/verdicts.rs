//! Posts decisions of ours. A decider proposes, posting confirms: a decision stands only if what it rests on is in force
//! at its place in the journal, whichever server made it (P14).
//!
//! Only plain members are compared. The policy language is not known here, so that its faults can't become faults of
//! the log.

use super::{
    Error, Freezes, Log, Outcome, Prepared,
    freezes::frozen_by,
    in_force::{Policies, lists_of},
    prepare::{Accepted, Rests, is_contended},
};
use crate::{
    budget::{Account, Misfit},
    canonical,
    entry::{Draft, Kind, Origin},
    event::{self, Field, Refused},
    journal::Subject,
    json::Value,
    log::merkle::leaf_hash,
    store::{Changes, Family, Read as _},
    system::{LeafAt, freeze::Acting},
    time::Nanos,
};
use serde_json::json;

/// Largest difference between the time at which a decision was made and the time at which the journal took it, in
/// seconds. Facts are as old as the decision.
pub const LATE_SECONDS_MAX: u64 = 60;

/// Why a decision of ours does not stand at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voided {
    /// Another bundle is in force there.
    Bundle,
    /// Another version of a list that it rests on is in force there.
    List,
    /// It was made more than [`LATE_SECONDS_MAX`] before or after.
    Late,
    /// It permits what is frozen there, or the freeze for which it denies is not in force there.
    Freeze,
    /// What it asks of a budget does not fit there, or would fit where it says that it does not.
    Budget,
    /// The journal's time is in another window of a budget.
    Window,
}

impl Voided {
    /// Its name in entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::List => "list",
            Self::Late => "late",
            Self::Freeze => "freeze",
            Self::Budget => "budget",
            Self::Window => "window",
        }
    }
}

impl Rests {
    /// Why it does not stand where these are in force.
    fn voided(&self, (policies, freezes): (&Policies, &Freezes), journal: Nanos) -> Option<Voided> {
        if is_late(self.at, journal) {
            return Some(Voided::Late);
        }
        if !self.of_no_bundle {
            let bundle = self.bundle.as_deref();
            let lists = self.lists.iter().map(|(name, version)| (&**name, *version));
            let elsewhere = elsewhere(bundle, lists, policies);
            if elsewhere.is_some() {
                return elsewhere;
            }
        }
        let unfit = unfit(freezes, &self.acting, (self.permits, self.frozen_by));
        unfit.then_some(Voided::Freeze)
    }
}

/// True if a decision does not stand by what is frozen: it permits a call that is, or denies one for a freeze that does
/// not stop it.
fn unfit(freezes: &Freezes, call: &Acting, (permits, by): (bool, Option<u64>)) -> bool {
    let stopped = permits && freezes.stopping(call).is_some();
    stopped || by.is_some_and(|index| !freezes.stops(index, call))
}

/// Why a decision by this bundle and these versions of lists does not stand where `policies` are in force.
fn elsewhere<'a>(
    bundle: Option<&str>,
    mut lists: impl Iterator<Item = (&'a str, u64)>,
    policies: &Policies,
) -> Option<Voided> {
    if bundle != policies.in_force.as_ref().map(|bundle| bundle.digest.as_str()) {
        return Some(Voided::Bundle);
    }
    lists.any(|(name, version)| policies.version_of(name) != version).then_some(Voided::List)
}

impl Log {
    pub(super) fn post_verdict(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        (subject, accepted): (&Subject, Accepted),
    ) -> Result<Outcome, Error> {
        if !self.is_signed_here(&self.keys, subject, 0, message) {
            return Ok(self.reject(changes, origin, message, Refused::Signature));
        }
        // A verdict about a result rests on the bundle that judged the call, whatever is in force now.
        if accepted.returned.is_some() {
            return self.post_event(changes, origin, message, accepted);
        }
        let Some(rests) = &accepted.rests else {
            return Ok(self.reject(changes, origin, message, Refused::SystemBody));
        };
        let key = self.number.key(&accepted.key);
        if changes.get(Family::Keys, &key)?.is_some() {
            return self.post_event(changes, origin, message, accepted);
        }
        let here = (&self.position.policies, &self.position.freezes);
        let voided = match (rests.voided(here, origin.time), &rests.asking) {
            (None, Some(asking)) => {
                let misfit = Account::new(changes, self.number).judge(asking, origin.time)?;
                misfit.map(|misfit| match misfit {
                    Misfit::Sum => Voided::Budget,
                    Misfit::Window => Voided::Window,
                })
            }
            (voided, _) => voided,
        };
        if let Some(why) = voided {
            return Ok(self.post_void(changes, origin, message, (&accepted, why)));
        }
        let freezes = rests.freezes.map(|scope| (scope, rests.acting.clone()));
        let outcome = self.post_first(changes, origin, message, accepted, key)?;
        if let (Some((scope, call)), Outcome::Posted { index }) = (freezes, &outcome) {
            let entry = self.proven(changes, *index)?;
            let decision = LeafAt { index: *index, leaf_hash: leaf_hash(&entry) };
            self.freeze_by_clause(changes, origin, message, (decision, scope, &call));
        }
        Ok(outcome)
    }

    /// Records a decision that does not stand. It takes neither its key nor its number: the same request is decided
    /// anew.
    fn post_void(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        (accepted, why): (&Accepted, Voided),
    ) -> Outcome {
        let scope = accepted.scope();
        let mut event = json!({"reason": why.as_str(), "source": scope.source, "id": scope.id});
        if let Some(place) = accepted.rests.as_ref().and_then(|rests| rests.spool.as_ref()) {
            // It was told before it came here.
            event["told"] = true.into();
            event["spool"] = json!({"id": place.0, "number": place.1});
        }
        let whole = &accepted.event.whole;
        let field = Field { name: "event".into(), value: whole.clone() };
        let draft = Draft::new(
            Kind::Void,
            accepted.draft.producer.clone(),
            canonical::of(&event),
            whole,
            &[field],
            (&message.seed, scope),
        );
        let index = self.append(changes, draft, origin, None);
        Outcome::Void { index, why }
    }
}

/// True if a decision of `at` comes too late, or too early, where the journal took it.
pub fn is_late(at: Nanos, journal: Nanos) -> bool {
    at.0.abs_diff(journal.0) > Nanos::default().plus_seconds(LATE_SECONDS_MAX).0
}

/// Whether a decision of ours by `producer` names the bundle and the versions of lists that are in force at its place, or
/// rests on none, and permits nothing that is frozen there. `data`: its member `data`.
pub fn stands(
    producer: &str,
    data: &Value<'_>,
    (policies, freezes): (&Policies, &Freezes),
) -> Result<(), &'static str> {
    let permits = data.get("verdict").and_then(Value::as_str) != Some("deny");
    let by = frozen_by(data);
    if unfit(freezes, &Acting::of(producer, data), (permits, by)) {
        return Err(if permits {
            "it permits a call that is frozen at its place"
        } else {
            "it denies a call for a freeze that does not stop it at its place"
        });
    }
    if by.is_some() {
        return Ok(());
    }
    let bundle = data.get("bundle").and_then(Value::as_str);
    let tool = data.get("tool").and_then(|tool| tool.get("name")).and_then(Value::as_str);
    if tool.is_some_and(event::is_reserved_tool) || is_contended(data) {
        return Ok(());
    }
    match elsewhere(bundle, lists_of(data), policies) {
        None => Ok(()),
        Some(Voided::List) => {
            Err("it was decided by another version of a list than the one in force at its place")
        }
        Some(_) => Err("it was decided by another bundle than the one in force at its place"),
    }
}
