//! Which tokens of agents count, as far as posting needs it (P14): a decision that rests on a token stands only where that
//! token was issued, is not over, and is not revoked.

use crate::{
    entry::{Kind, View},
    ident::Ident,
    json::Value,
    log::merkle::Hash,
    system::{
        LeafAt,
        agent::{
            AGENT_TOKEN_SECONDS_MAX, AgentBody, Issue, REVOKED_MAX, REVOKED_OF_GATEWAY_MAX, Revoke,
        },
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
    /// Every token that was issued before this leaf index is revoked: people revoked those of too many agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<u64>,
    /// Of single tokens, by the leaf index of the entry that issued each.
    pub tokens: BTreeMap<u64, Kept>,
    /// Of every token of an agent so far: leaf index of the revocation.
    pub agents: BTreeMap<String, (u64, Kept)>,
}

/// How a revocation is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Until when it must be remembered.
    pub until: Nanos,
    /// The gateway in whose share it counts. `None`: an admin or a responder revoked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<Ident>,
}

impl Identities {
    /// True if a token proves nothing here: it, another one on which it rests, or every token of an agent in its chain was
    /// revoked. `index`: where it was issued.
    pub fn is_revoked(&self, index: u64, issue: &Issue) -> bool {
        issue.rests_on(index).any(|(agent, token)| {
            let all = self.agents.get(agent).is_some_and(|(before, _)| token < *before);
            let with_all = self.all.is_some_and(|before| token < before);
            all || with_all || self.tokens.contains_key(&token)
        })
    }

    /// True if this revocation has room at this time.
    pub fn has_room(&self, now: Nanos, revoke: &Revoke) -> bool {
        self.clone().take((u64::MAX, now), revoke)
    }

    /// The revocation of the same token, or of the same agent's.
    fn same(&self, revoke: &Revoke) -> Option<&Kept> {
        match revoke.token {
            Some(token) => self.tokens.get(&token),
            None => self.agents.get(&revoke.agent).map(|(_, kept)| kept),
        }
    }

    /// True if it finds no place beside those that are kept. Gateways have one share each, and people have room that no
    /// gateway uses up.
    fn is_full(&self, revoke: &Revoke) -> bool {
        let tokens = || self.tokens.values();
        let agents = || self.agents.values().map(|(_, kept)| kept);
        let of_people = |kept: &&Kept| kept.producer.is_none();
        match (&revoke.producer, self.same(revoke)) {
            (Some(_), Some(_)) | (None, Some(Kept { producer: None, .. })) => false,
            (Some(_), None) => {
                let of_gateways = || tokens().chain(agents()).filter(|kept| !of_people(kept));
                let its_own = of_gateways().filter(|kept| kept.producer == revoke.producer);
                its_own.count() >= REVOKED_OF_GATEWAY_MAX || of_gateways().count() >= REVOKED_MAX
            }
            (None, _) if revoke.token.is_some() => {
                tokens().filter(of_people).count() >= REVOKED_MAX
            }
            (None, _) => agents().filter(of_people).count() >= REVOKED_MAX,
        }
    }

    /// Takes a revocation, the entry at `index`. False if there are too many. What is over is forgotten only to make
    /// room, so that a clock that was wrong for a while lets no token return.
    ///
    /// People may always revoke the tokens of an agent: if they did so for too many, every token of every agent so far is
    /// revoked. Nothing that they stop goes on because a limit is reached.
    pub(super) fn take(&mut self, (index, time): (u64, Nanos), revoke: &Revoke) -> bool {
        if self.is_full(revoke) {
            self.tokens.retain(|_, kept| kept.until >= time);
            self.agents.retain(|_, (_, kept)| kept.until >= time);
        }
        if self.is_full(revoke) {
            if revoke.token.is_some() || revoke.producer.is_some() {
                return false;
            }
            // All that is kept was issued before this entry.
            *self = Self { last: Some(index), all: Some(index), ..Self::default() };
            return true;
        }
        let until = time.plus_seconds(AGENT_TOKEN_SECONDS_MAX + AFTER_SECONDS);
        // Whoever had it in their share before keeps it, unless people do it now.
        let before = self.same(revoke).map(|kept| kept.producer.clone());
        let producer = revoke.producer.clone().and_then(|one| before.unwrap_or(Some(one)));
        let kept = Kept { until, producer };
        match revoke.token {
            Some(token) => drop(self.tokens.insert(token, kept)),
            None => drop(self.agents.insert(revoke.agent.clone(), (index, kept))),
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
        Revoke { token, agent: agent.into(), producer: None, by: by(), reason: None }
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

    fn of_gateway(gateway: &str, token: Option<u64>, agent: &str) -> Revoke {
        Revoke { producer: Some(Ident::new(gateway).unwrap()), ..revoke(token, agent) }
    }

    fn at(seconds: u64) -> Nanos {
        Nanos::default().plus_seconds(seconds)
    }

    #[test]
    fn p13_revocations_are_bounded_and_never_forgotten_early() {
        let mut identities = Identities::default();
        for index in 0..REVOKED_MAX as u64 {
            assert!(identities.take((index, at(1000 + index)), &revoke(Some(index), "x")));
        }
        let more = revoke(Some(7777), "x");
        let full = (9000, at(1000 + AGENT_TOKEN_SECONDS_MAX + AFTER_SECONDS));
        assert!(!identities.has_room(full.1, &more) && !identities.take(full, &more));
        assert!(identities.tokens.contains_key(&0), "nothing is forgotten for what is refused");
        assert!(identities.take(full, &revoke(Some(5), "x")), "what is kept needs no room");
        let room = (9001, at(1001 + AGENT_TOKEN_SECONDS_MAX + AFTER_SECONDS));
        assert!(identities.has_room(room.1, &more) && identities.take(room, &more));
        assert!(!identities.tokens.contains_key(&0) && identities.tokens.contains_key(&1));
    }

    #[test]
    fn p13_no_gateway_uses_up_the_room_of_others() {
        let mut identities = Identities::default();
        let share = REVOKED_OF_GATEWAY_MAX as u64;
        let mut index = 0;
        for gateway in 0..REVOKED_MAX as u64 / share {
            let gateway = format!("gw-{gateway}");
            for _ in 0..share {
                index += 1;
                let one = of_gateway(&gateway, Some(index), "other-bot");
                assert!(identities.take((index, at(1000)), &one), "{index}");
            }
            for more in [Some(9999), None] {
                assert!(!identities.has_room(at(1000), &of_gateway(&gateway, more, "other-bot")));
            }
            // A token that is revoked already needs no room, and stays in the share of whoever revoked it.
            let again = of_gateway(&gateway, Some(1), "other-bot");
            assert!(identities.take((index, at(1000)), &again));
            assert_eq!(identities.tokens[&1].producer, Some(Ident::new("gw-0").unwrap()));
        }
        assert!(!identities.has_room(at(1000), &of_gateway("gw-99", None, "y")), "all gateways");
        // The token that was stolen from another gateway, and all of its agent.
        let stolen = issue(&["payments-bot"], &[]);
        assert!(identities.take((9000, at(1000)), &revoke(Some(8000), "payments-bot")));
        assert!(identities.is_revoked(8000, &stolen) && !identities.is_revoked(8001, &stolen));
        assert!(identities.take((9001, at(1000)), &revoke(None, "payments-bot")));
        assert!(identities.is_revoked(8001, &stolen) && !identities.is_revoked(9002, &stolen));
        // What people revoke too is out of the gateway's share, and no gateway takes it back.
        assert!(identities.take((9002, at(1000)), &revoke(Some(1), "other-bot")));
        assert!(identities.take((9003, at(1000)), &of_gateway("gw-0", Some(9998), "other-bot")));
        assert!(identities.take((9004, at(1000)), &of_gateway("gw-0", Some(1), "other-bot")));
        assert_eq!(identities.tokens[&1].producer, None);
    }

    #[test]
    fn p13_p14_people_may_always_revoke_the_tokens_of_an_agent() {
        let mut identities = Identities::default();
        let bot = |name: &str| issue(&[name], &[]);
        for index in 0..REVOKED_MAX as u64 {
            let one = (1000 + index, at(1000));
            assert!(identities.take(one, &revoke(None, &format!("bot-{index}"))));
            assert!(identities.take(one, &revoke(Some(index), "x")));
        }
        assert!(!identities.is_revoked(1800, &bot("innocent")));
        assert!(!identities.has_room(at(1000), &revoke(Some(7777), "x")));
        let (one_more, at_once) = (revoke(None, "stolen"), (2000, at(1000)));
        assert!(identities.has_room(at(1000), &one_more) && identities.take(at_once, &one_more));
        // Every token so far is revoked, also those whose own revocations are gone; what is issued now counts.
        for (index, name) in [(1999, "stolen"), (1800, "innocent"), (3, "x"), (500, "bot-7")] {
            assert!(identities.is_revoked(index, &bot(name)), "{name}");
            assert!(!identities.is_revoked(2001, &bot(name)), "{name}");
        }
        assert!(identities.tokens.is_empty() && identities.agents.is_empty());
        assert!(identities.take((2002, at(1000)), &revoke(Some(2001), "x")), "and there is room");
        let stored = serde_json::to_vec(&identities).unwrap();
        assert_eq!(serde_json::from_slice::<Identities>(&stored).unwrap(), identities);
    }
}
