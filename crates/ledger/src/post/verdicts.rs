//! Posts decisions of ours. A decider proposes, posting confirms: a decision stands only if what it rests on is in force
//! at its place in the journal, whichever server made it (P14).
//!
//! Only plain members are compared. The policy language is not known here, so that its faults can't become faults of
//! the log.

use super::{
    Error, Log, Outcome, Prepared,
    in_force::{Policies, lists_of},
    prepare::{Accepted, Rests, is_contended},
};
use crate::{
    canonical,
    entry::{Draft, Kind, Origin},
    event::{self, Field, Refused},
    journal::Subject,
    json::Value,
    store::{Changes, Family, Read as _},
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
}

impl Voided {
    /// Its name in entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::List => "list",
            Self::Late => "late",
        }
    }
}

impl Rests {
    /// Why it does not stand where `policies` are in force.
    fn voided(&self, policies: &Policies, journal: Nanos) -> Option<Voided> {
        if is_late(self.at, journal) {
            return Some(Voided::Late);
        }
        if self.of_no_bundle {
            return None;
        }
        let bundle = self.bundle.as_deref();
        elsewhere(bundle, self.lists.iter().map(|(name, version)| (&**name, *version)), policies)
    }
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
        let Some(rests) = &accepted.rests else {
            return Ok(self.reject(changes, origin, message, Refused::SystemBody));
        };
        let key = self.number.key(&accepted.key);
        if changes.get(Family::Keys, &key)?.is_some() {
            return self.post_event(changes, origin, message, accepted);
        }
        match rests.voided(&self.position.policies, origin.time) {
            Some(why) => Ok(self.post_void(changes, origin, message, (&accepted, why))),
            None => self.post_first(changes, origin, message, accepted, key),
        }
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

/// Whether a decision of ours names the bundle and the versions of lists that are in force at its place, or rests on
/// none. `data`: its member `data`.
pub fn stands(data: &Value<'_>, policies: &Policies) -> Result<(), &'static str> {
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
