//! What is frozen, as far as posting needs it (P14): a decision that permits what is frozen at its place is void, and a
//! redemption of it is refused.

use crate::{
    entry::View,
    ident::Ident,
    json::Value,
    system::{
        By, Duty, LeafAt,
        freeze::{
            Acting, FREEZES_MAX, Freeze, FreezeBody, FreezeScope, Lift, OF_CLAUSES_MAX, Target,
        },
    },
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The freezes in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freezes {
    /// Leaf index of the last `freeze` entry, whatever it did: the version of what is frozen.
    pub last: Option<u64>,
    /// By the leaf index of the entry with which each began.
    pub in_force: BTreeMap<u64, FreezeInForce>,
}

/// A freeze in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeInForce {
    /// What it stops.
    pub target: Target,
    /// True if a clause of the policies did it.
    pub by_clause: bool,
}

impl Freezes {
    /// True if nothing is frozen.
    pub fn is_empty(&self) -> bool {
        self.in_force.is_empty()
    }

    /// The first freeze that stops this call: the leaf index at which it began, and what it stops. The server's own
    /// questions to people are never frozen.
    pub fn stopping(&self, call: &Acting) -> Option<(u64, &Target)> {
        if self.is_empty() || call.is_ours() {
            return None;
        }
        let mut all = self.in_force.iter().map(|(index, freeze)| (*index, &freeze.target));
        all.find(|(_, target)| target.stops(call))
    }

    /// True if the freeze that began at `index` stops this call.
    pub fn stops(&self, index: u64, call: &Acting) -> bool {
        self.in_force.get(&index).is_some_and(|freeze| freeze.target.stops(call))
    }

    /// The freeze of exactly this that is in force.
    pub fn of(&self, target: &Target) -> Option<u64> {
        self.in_force.iter().find(|(_, freeze)| freeze.target == *target).map(|(index, _)| *index)
    }

    /// Number of freezes by people.
    pub fn of_people(&self) -> usize {
        self.in_force.values().filter(|freeze| !freeze.by_clause).count()
    }

    /// What a clause of a decision about this call freezes at this place. `None` if that is frozen already. If clauses froze too much
    /// of one producer, the producer itself: nothing that a clause stops goes on because a limit is reached.
    pub fn by_clause(&self, scope: FreezeScope, call: &Acting) -> Option<Target> {
        let target = call.target(scope);
        let same = |freeze: &&FreezeInForce| {
            let alike = freeze.target.scope != FreezeScope::Producer
                && freeze.target.producer == target.producer;
            freeze.by_clause && alike
        };
        let count = self.in_force.values().filter(same).count();
        let target = if count >= OF_CLAUSES_MAX {
            let (scope, id) = (FreezeScope::Producer, call.producer().to_owned());
            Target { scope, id, producer: None }
        } else {
            target
        };
        self.of(&target).is_none().then_some(target)
    }

    /// Takes the `event` of the entry at `index`. Says what is wrong with one that does not fit; then nothing changes.
    pub fn take(
        &mut self,
        index: u64,
        body: &FreezeBody,
        tenant: &Ident,
    ) -> Result<(), &'static str> {
        match body {
            FreezeBody::Freeze(freeze) => {
                let (target, by_clause) = (freeze.target(), freeze.decision.is_some());
                let by_server = matches!(freeze.by, By::Server { .. });
                if let Some(fault) = target.fault(tenant) {
                    return Err(fault);
                }
                if by_clause != by_server || by_clause && freeze.reason.is_some() {
                    return Err("a clause's freeze names its decision, and no other one does");
                }
                if !by_clause && self.of_people() >= FREEZES_MAX {
                    return Err("512 freezes are in force, the most that are possible");
                }
                self.in_force.insert(index, FreezeInForce { target, by_clause });
            }
            FreezeBody::Lift(Lift { freeze, .. }) => {
                if self.in_force.remove(freeze).is_none() {
                    return Err("no freeze began at the entry that it names, or it was lifted");
                }
            }
        }
        self.last = Some(index);
        Ok(())
    }

    /// Notes a `freeze` entry that was read. `false` if it does not fit here.
    pub fn note(&mut self, index: u64, view: &View<'_>) -> bool {
        let tenant = view.text(&["tenant"]).and_then(|tenant| Ident::new(tenant).ok());
        let body = view.event_as::<FreezeBody>();
        body.zip(tenant).is_some_and(|(body, tenant)| self.take(index, &body, &tenant).is_ok())
    }
}

/// The freeze that a decision of ours names as the reason of its denial. `data`: its member `data`.
pub fn frozen_by(data: &Value<'_>) -> Option<u64> {
    data.get("frozen_by").and_then(Value::as_u64)
}

/// What a clause of a decision of ours freezes. `data`: its member `data`.
pub fn freezes(data: &Value<'_>) -> Option<FreezeScope> {
    data.get("freeze").and_then(Value::as_str).and_then(FreezeScope::parse)
}

/// Checks what a decision of ours says of freezes, as far as the decision alone tells. `data`: its member `data`.
pub fn check_freeze(data: &Value<'_>) -> Result<(), &'static str> {
    let says = |value: Option<&Value<'_>>, word| value.and_then(Value::as_str) == Some(word);
    let code = data.get("reason").and_then(|reason| reason.get("code"));
    let denies = says(data.get("verdict"), "deny");
    let named = data.get("frozen_by").is_some();
    if named != says(code, "frozen")
        || named && (!denies || data.get("bundle").is_some() || data.get("freeze").is_some())
    {
        return Err("a denial because of a freeze names the freeze, and no bundle");
    }
    let of_clause = says(code, "denied") || says(code, "condition_error");
    let by_clause = denies && of_clause && says(data.get("mode"), "enforce");
    if data.get("freeze").is_some() && !by_clause {
        return Err("only a clause that denies, and is in force, freezes");
    }
    Ok(())
}

/// The `event` of the entry by which a decision of ours freezes something.
pub fn of_clause(target: Target, decision: LeafAt) -> FreezeBody {
    let Target { scope, id, producer } = target;
    let by = By::Server { server: Duty::Policy };
    FreezeBody::Freeze(Freeze { scope, id, producer, decision: Some(decision), by, reason: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, log::merkle::Hash, system::KeyId};

    fn name(text: &str) -> Ident {
        Ident::new(text).unwrap()
    }

    fn target(scope: FreezeScope, id: &str, producer: Option<&str>) -> Target {
        Target { scope, id: id.into(), producer: producer.map(name) }
    }

    fn by_person(target: Target) -> FreezeBody {
        let key = KeyId::new("0123456789abcdef").unwrap();
        let Target { scope, id, producer } = target;
        let by = By::Key { key, person: None, approval: None };
        FreezeBody::Freeze(Freeze { scope, id, producer, decision: None, by, reason: None })
    }

    fn decision() -> LeafAt {
        LeafAt { index: 1, leaf_hash: Hash([0; 32]) }
    }

    fn call(producer: &str, data: &str) -> Acting {
        Acting::of(producer, &json::parse(data.as_bytes()).unwrap())
    }

    const CALL: &str = r#"{"agent":{"id":"bot","chain":["root","bot"],"run":"r","session":"s"},"tool":{"name":"pay","action":"x"}}"#;

    #[test]
    fn p14_a_freeze_stops_exactly_what_it_names() {
        use FreezeScope::{Agent, Producer, Run, Session, Tenant, Tool};
        let check = |scope, id: &str, producer, stops| {
            let target = target(scope, id, producer);
            assert_eq!(target.stops(&call("gw", CALL)), stops, "{target:?}");
        };
        for (scope, id) in
            [(Agent, "bot"), (Agent, "root"), (Session, "s"), (Run, "r"), (Tool, "pay")]
        {
            check(scope, id, None, true);
            check(scope, id, Some("gw"), true);
            check(scope, id, Some("gw-2"), false);
            check(scope, "other", None, false);
        }
        check(Producer, "gw", None, true);
        check(Producer, "gw-2", None, false);
        check(Tenant, "acme", None, true);
        check(Session, "r", None, false);
        check(Agent, "Bot", None, false);
    }

    #[test]
    fn p14_the_servers_own_questions_are_never_frozen() {
        let mut freezes = Freezes::default();
        let all = by_person(target(FreezeScope::Tenant, "acme", None));
        freezes.take(3, &all, &name("acme")).unwrap();
        let own = r#"{"agent":{"id":"countersign"},"tool":{"name":"countersign","action":"freeze.lift"}}"#;
        assert_eq!(freezes.stopping(&call("countersign", own)), None);
        assert_eq!(freezes.stopping(&call("gw", CALL)).map(|(index, _)| index), Some(3));
    }

    #[test]
    fn p14_what_does_not_fit_changes_nothing() {
        let (tenant, mut freezes) = (name("acme"), Freezes::default());
        let lift = |freeze| {
            let by = By::Server { server: Duty::Policy };
            FreezeBody::Lift(Lift { freeze, by, reason: None })
        };
        let agent = || target(FreezeScope::Agent, "bot", None);
        freezes.take(5, &by_person(agent()), &tenant).unwrap();
        let before = freezes.clone();
        for body in [
            lift(4),
            by_person(target(FreezeScope::Tenant, "globex", None)),
            by_person(target(FreezeScope::Producer, "gw", Some("gw"))),
            by_person(target(FreezeScope::Tool, "Countersign-x", None)),
            by_person(target(FreezeScope::Agent, "a\u{7}", None)),
            by_person(target(FreezeScope::Agent, "", None)),
            by_person(target(FreezeScope::Agent, &"x".repeat(257), None)),
        ] {
            assert!(freezes.take(9, &body, &tenant).is_err(), "{body:?}");
            assert_eq!(freezes, before);
        }
        freezes.take(6, &by_person(agent()), &tenant).unwrap();
        freezes.take(7, &lift(5), &tenant).unwrap();
        assert!(freezes.stopping(&call("gw", CALL)).is_some(), "the other one stops it still");
        assert_eq!(freezes.last, Some(7));
        assert!(freezes.take(8, &lift(5), &tenant).is_err());
    }

    #[test]
    fn p13_people_and_clauses_have_limits_of_their_own() {
        let (tenant, mut freezes) = (name("acme"), Freezes::default());
        for n in 0..FREEZES_MAX as u64 {
            let body = by_person(target(FreezeScope::Run, &format!("run-{n}"), None));
            freezes.take(n, &body, &tenant).unwrap();
        }
        let more = by_person(target(FreezeScope::Run, "more", None));
        assert!(freezes.take(9999, &more, &tenant).is_err());
        for n in 0..OF_CLAUSES_MAX as u64 {
            let data = CALL.replace("\"s\"", &format!("\"s-{n}\""));
            let target = freezes.by_clause(FreezeScope::Session, &call("gw", &data)).unwrap();
            assert_eq!(target.scope, FreezeScope::Session);
            freezes.take(1000 + n, &of_clause(target, decision()), &tenant).unwrap();
        }
        let next = freezes.by_clause(FreezeScope::Session, &call("gw", CALL)).unwrap();
        assert_eq!(next, target(FreezeScope::Producer, "gw", None), "nothing goes on by a limit");
        let other = freezes.by_clause(FreezeScope::Session, &call("gw-2", CALL)).unwrap();
        assert_eq!(other, target(FreezeScope::Session, "s", Some("gw-2")));
    }

    #[test]
    fn p14_a_clause_freezes_a_proven_agent_everywhere() {
        let (tenant, mut freezes) = (name("acme"), Freezes::default());
        let proven = |agent: &str| {
            let data = CALL.replace("\"bot\"", &format!("\"{agent}\""));
            data.replace("{\"agent\"", "{\"verified_by\":{},\"agent\"")
        };
        let check = |freezes: &Freezes, scope, data: &str, expected: Target| {
            assert_eq!(freezes.by_clause(scope, &call("gw", data)), Some(expected), "{data}");
        };
        let agent = |producer| target(FreezeScope::Agent, "bot", producer);
        check(&freezes, FreezeScope::Agent, CALL, agent(Some("gw")));
        check(&freezes, FreezeScope::Agent, &proven("bot"), agent(None));
        let session = target(FreezeScope::Session, "s", Some("gw"));
        check(&freezes, FreezeScope::Session, &proven("bot"), session);
        for n in 0..OF_CLAUSES_MAX as u64 {
            let data = proven(&format!("bot-{n}"));
            let target = freezes.by_clause(FreezeScope::Agent, &call("gw", &data)).unwrap();
            freezes.take(n, &of_clause(target, decision()), &tenant).unwrap();
        }
        // Nothing goes on because a limit is reached.
        let gateway = target(FreezeScope::Producer, "gw", None);
        check(&freezes, FreezeScope::Agent, &proven("bot"), gateway);
        check(&freezes, FreezeScope::Agent, CALL, agent(Some("gw")));
    }

    #[test]
    fn p14_a_decision_says_of_freezes_only_what_may_be() {
        let check = |data: &str, fits: bool| {
            let value = json::parse(data.as_bytes()).unwrap();
            assert_eq!(check_freeze(&value).is_ok(), fits, "{data}");
        };
        check(
            r#"{"frozen_by":3,"mode":"enforce","reason":{"code":"frozen"},"verdict":"deny"}"#,
            true,
        );
        check(r#"{"mode":"enforce","reason":{"code":"frozen"},"verdict":"deny"}"#, false);
        check(
            r#"{"frozen_by":3,"mode":"enforce","reason":{"code":"denied"},"verdict":"deny"}"#,
            false,
        );
        check(
            r#"{"frozen_by":3,"mode":"enforce","reason":{"code":"frozen"},"verdict":"allow"}"#,
            false,
        );
        check(
            r#"{"bundle":"b","frozen_by":3,"mode":"enforce","reason":{"code":"frozen"},"verdict":"deny"}"#,
            false,
        );
        check(
            r#"{"freeze":"agent","mode":"enforce","reason":{"code":"denied"},"verdict":"deny"}"#,
            true,
        );
        check(
            r#"{"freeze":"agent","mode":"shadow","reason":{"code":"denied"},"verdict":"deny"}"#,
            false,
        );
        check(
            r#"{"freeze":"agent","mode":"enforce","reason":{"code":"no_clause"},"verdict":"deny"}"#,
            false,
        );
        check(
            r#"{"freeze":"agent","mode":"enforce","reason":{"code":"allowed"},"verdict":"allow"}"#,
            false,
        );
        check(r#"{"mode":"enforce","reason":{"code":"allowed"},"verdict":"allow"}"#, true);
    }
}
