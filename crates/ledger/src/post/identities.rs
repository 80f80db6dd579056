//! Which tokens of agents count, as far as posting needs it (P14): a decision that rests on a token stands only where that
//! token was issued, is not over, and is not revoked.

use crate::{
    entry::{Kind, View},
    json::Value,
    log::merkle::Hash,
    system::{
        LeafAt,
        agent::{AGENT_TOKEN_SECONDS_MAX, AgentBody, Issue, REVOKED_MAX, Revoke},
    },
    time::Nanos,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds after the last token that a revocation stops has ended, until it may be forgotten.
const AFTER_SECONDS: u64 = 300;

/// The revocations in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identities {
    /// Leaf index of the last revocation.
    pub last: Option<u64>,
    /// Of single tokens, by the leaf index of the entry that issued each: until when it must be remembered.
    pub tokens: BTreeMap<u64, Nanos>,
    /// Of every token of an agent so far: leaf index of the revocation, and until when it must be remembered.
    pub agents: BTreeMap<String, (u64, Nanos)>,
}

impl Identities {
    /// True if a token proves nothing here: it, another one on which it rests, or every token of an agent in its chain was
    /// revoked. `index`: where it was issued.
    pub fn is_revoked(&self, index: u64, issue: &Issue) -> bool {
        issue.rests_on(index).any(|(agent, token)| {
            let all = self.agents.get(agent).is_some_and(|(before, _)| token < *before);
            all || self.tokens.contains_key(&token)
        })
    }

    /// True if one more revocation has room at this time.
    pub fn has_room(&self, now: Nanos) -> bool {
        let old = |until: &Nanos| *until < now;
        let over = self.tokens.values().filter(|until| old(until)).count()
            + self.agents.values().filter(|(_, until)| old(until)).count();
        self.tokens.len() + self.agents.len() - over < REVOKED_MAX
    }

    /// Takes a revocation, the entry at `index`. False if there are too many. What is over is forgotten only to make
    /// room, so that a clock that was wrong for a while lets no token return.
    pub(super) fn take(&mut self, (index, time): (u64, Nanos), revoke: &Revoke) -> bool {
        if self.tokens.len() + self.agents.len() >= REVOKED_MAX {
            self.tokens.retain(|_, until| *until >= time);
            self.agents.retain(|_, (_, until)| *until >= time);
            if self.tokens.len() + self.agents.len() >= REVOKED_MAX {
                return false;
            }
        }
        let until = time.plus_seconds(AGENT_TOKEN_SECONDS_MAX + AFTER_SECONDS);
        match revoke.token {
            Some(token) => drop(self.tokens.insert(token, until)),
            None => drop(self.agents.insert(revoke.agent.clone(), (index, until))),
        }
        self.last = Some(index);
        true
    }

    /// Notes an `agent` entry that was read. `false` if it is none.
    pub fn note(&mut self, index: u64, view: &View<'_>) -> bool {
        match view.event_as::<AgentBody>() {
            Some(AgentBody::Issue(issue)) => issue.fault().is_none(),
            Some(AgentBody::Revoke(revoke)) => self.take((index, view.origin.time), &revoke),
            None => false,
        }
    }

    /// Why a decision that rests on this token does not stand here. `leaf`: the hash of the entry that issued it.
    pub fn misfit(&self, rests: &RestsOnToken, leaf: Hash, issue: &Issue) -> Option<&'static str> {
        let RestsOnToken { token, agent, chain, at } = rests;
        if token.leaf_hash != leaf || issue.agent() != agent || issue.chain != *chain {
            return Some("it rests on a token of another agent, or for another chain");
        }
        if at.seconds() >= issue.exp {
            return Some("it rests on a token that had expired");
        }
        let revoked = self.is_revoked(token.index, issue);
        revoked.then_some("it rests on a token that was revoked before its place")
    }
}

/// The token of an agent on which a decision of ours rests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestsOnToken {
    /// The entry that issued it.
    pub token: LeafAt,
    /// The agent that asks.
    pub agent: String,
    /// Its chain.
    pub chain: Vec<String>,
    /// When it was decided.
    pub at: Nanos,
}

impl RestsOnToken {
    /// Reads it from a decision of ours that was made at `at`. `data`: its member `data`.
    pub fn of(data: &Value<'_>, at: Nanos) -> Option<Self> {
        let agent = data.get("agent")?;
        let token = LeafAt::of(data.get("verified_by")?)?;
        let chain = agent.get("chain").and_then(Value::as_array).unwrap_or_default();
        let chain = chain.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let agent = agent.get("id")?.as_str()?.to_owned();
        Some(Self { token, agent, chain, at })
    }
}

/// The token that an entry issued. `None` if it issued none.
pub fn issue_of(view: &View<'_>) -> Option<Issue> {
    match view.event_as::<AgentBody>().filter(|_| view.kind == Kind::Agent) {
        Some(AgentBody::Issue(issue)) => Some(issue),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{By, KeyId};

    fn by() -> By {
        By::Key { key: KeyId::new("0123456789abcdef").unwrap(), person: None, approval: None }
    }

    fn issue(chain: &[&str], parents: &[u64]) -> Issue {
        Issue {
            chain: chain.iter().map(|id| (*id).to_owned()).collect(),
            parents: parents.to_vec(),
            scope: vec!["mail".into()],
            region: None,
            org: None,
            cnf: None,
            iat: 1000,
            exp: 2000,
            producer: None,
            by: by(),
            reason: None,
        }
    }

    fn revoke(token: Option<u64>, agent: &str) -> Revoke {
        Revoke { token, agent: agent.into(), by: by(), reason: None }
    }

    #[test]
    fn p14_a_revocation_stops_what_rests_on_it() {
        let check = |revoked: &Revoke, (index, of): (u64, &Issue), expected: bool| {
            let mut identities = Identities::default();
            assert!(identities.take((20, Nanos::default().plus_seconds(1500)), revoked));
            assert_eq!(identities.is_revoked(index, of), expected, "{revoked:?} {of:?}");
        };
        let child = issue(&["root", "planner", "worker"], &[3, 7]);
        let alone = issue(&["worker"], &[]);
        for token in [3, 7, 9] {
            check(&revoke(Some(token), "x"), (9, &child), true);
        }
        check(&revoke(Some(8), "x"), (9, &child), false);
        check(&revoke(Some(9), "worker"), (11, &alone), false);
        for agent in ["root", "planner", "worker"] {
            check(&revoke(None, agent), (9, &child), true);
        }
        check(&revoke(None, "other"), (9, &child), false);
        // What is issued after it counts again.
        check(&revoke(None, "worker"), (21, &alone), false);
    }

    #[test]
    fn p13_revocations_are_bounded_and_never_forgotten_early() {
        let mut identities = Identities::default();
        let at = |seconds| Nanos::default().plus_seconds(seconds);
        for index in 0..REVOKED_MAX as u64 {
            assert!(identities.take((index, at(1000 + index)), &revoke(Some(index), "x")));
        }
        let full = (9000, at(1000 + AGENT_TOKEN_SECONDS_MAX + AFTER_SECONDS));
        assert!(!identities.has_room(full.1) && !identities.take(full, &revoke(None, "x")));
        assert!(identities.tokens.contains_key(&0), "nothing is forgotten for what is refused");
        let room = (9001, at(1001 + AGENT_TOKEN_SECONDS_MAX + AFTER_SECONDS));
        assert!(identities.has_room(room.1) && identities.take(room, &revoke(None, "x")));
        assert!(!identities.tokens.contains_key(&0) && identities.tokens.contains_key(&1));
    }
}
