//! What is proven of a question beside its params: the token of its agent, and the decision from which it follows.

use super::{Desk, Loaded, NotDecided};
use crate::{agent_token, commands::Error};
use decider::policy::{Facts, Inquiry, ParentFact, Proven, TokenFault};
use ledger::{
    entry::View,
    log::merkle::leaf_hash,
    post::issue_of,
    system::{LeafAt, agent::Issue},
    time::Nanos,
};
use std::collections::BTreeMap;

/// A question with what is proven of it.
pub(super) struct Seen<'a> {
    /// With the chain that its agent's token proves.
    pub(super) question: Inquiry<'a>,
    pub(super) facts: Facts,
}

impl Desk {
    /// Looks up what is proven of those questions that name a token or a parent, by their places. Without a bundle every
    /// call is denied anyway.
    pub(super) async fn look_up<'a>(
        &self,
        (inquiries, left): (&[Inquiry<'a>], &[usize]),
        (loaded, facts): (Option<&Loaded>, &Facts),
    ) -> Result<BTreeMap<usize, Seen<'a>>, NotDecided> {
        let mut seen = BTreeMap::new();
        let Some(loaded) = loaded else { return Ok(seen) };
        for at in left {
            let inquiry = &inquiries[*at];
            let (mut question, mut facts) = (None, facts.clone());
            if let Some(token) = &inquiry.token {
                let proven = self.proven(token, inquiry, facts.now).await?;
                question = proven.as_ref().ok().map(|p| inquiry.with_chain(&p.issue.chain));
                facts = facts.with_token(proven);
            }
            if let Some(at) = &inquiry.parent {
                let parent = self.parent(at, inquiry, loaded).await?;
                facts = facts.with_parent(at, parent);
            }
            if inquiry.token.is_some() || inquiry.parent.is_some() {
                let question = question.unwrap_or_else(|| inquiry.clone());
                seen.insert(*at, Seen { question, facts });
            }
        }
        Ok(seen)
    }

    /// What a token proves of a question at `now`.
    async fn proven(
        &self,
        token: &str,
        inquiry: &Inquiry<'_>,
        now: Nanos,
    ) -> Result<Result<Proven, TokenFault>, NotDecided> {
        let fits = |proven: Proven| {
            let Proven { issue, .. } = &proven;
            let chain = inquiry.request.chain.as_ref();
            if issue.agent() != inquiry.request.agent {
                Err(TokenFault::Agent)
            } else if chain.is_some_and(|chain| *chain != issue.chain) {
                Err(TokenFault::Chain)
            } else {
                Ok(proven)
            }
        };
        Ok(self.token(token, now).await?.and_then(fits))
    }

    /// What a token proves at `now`, whoever presents it.
    pub async fn token(
        &self,
        token: &str,
        now: Nanos,
    ) -> Result<Result<Proven, TokenFault>, NotDecided> {
        let claims = match agent_token::read(token, &self.log.agent_keys()) {
            // Another server may already sign with a key whose entry is not posted here yet.
            Err(TokenFault::UnknownKey) => {
                self.catch_up().await;
                agent_token::read(token, &self.log.agent_keys())
            }
            read => read,
        };
        let claims = match claims {
            Ok(claims) => claims,
            Err(fault) => return Ok(Err(fault)),
        };
        let origin = self.log.origin();
        let expected =
            agent_token::Expected { iss: &self.terms.issuer, tenant: self.log.tenant(), origin };
        let index = match claims.index(&expected).and_then(|index| {
            claims.check_time(now)?;
            Ok(index)
        }) {
            Ok(index) => index,
            Err(fault) => return Ok(Err(fault)),
        };
        let Some((token, issue)) = self.issued(index).await? else {
            return Ok(Err(TokenFault::NotIssued));
        };
        // A key that was stolen makes no token: the log must say the same.
        if agent_token::Claims::of(&issue, index, &expected) != claims {
            return Ok(Err(TokenFault::NotIssued));
        }
        if self.log.identities().is_revoked(index, &issue) {
            return Ok(Err(TokenFault::Revoked));
        }
        Ok(Ok(Proven { token, issue, jti: claims.jti }))
    }

    /// The token that the entry at `index` issued.
    async fn issued(&self, index: u64) -> Result<Option<(LeafAt, Issue)>, NotDecided> {
        let Some(entry) = self.entry_at(index).await? else { return Ok(None) };
        let issue = View::parse(&entry).as_ref().and_then(issue_of);
        Ok(issue.map(|issue| (LeafAt { index, leaf_hash: leaf_hash(&entry) }, issue)))
    }

    /// What is known of the decision from which a call follows.
    async fn parent(
        &self,
        at: &LeafAt,
        inquiry: &Inquiry<'_>,
        loaded: &Loaded,
    ) -> Result<ParentFact, NotDecided> {
        let entry = self.entry_at(at.index).await?;
        let entry = entry.filter(|entry| leaf_hash(entry) == at.leaf_hash);
        let view = entry.as_ref().and_then(|entry| Some((entry, View::parse(entry)?)));
        let Some((entry, view)) = view else { return Ok(ParentFact::missing()) };
        let payload = self.log.payload(at.index, entry).map_err(Error::from)?.values();
        Ok(loaded.bundle.parent(&view, &payload, &inquiry.request.params))
    }

    /// A published entry. One that another server has published is waited for.
    async fn entry_at(&self, index: u64) -> Result<Option<Vec<u8>>, NotDecided> {
        if index >= self.log.extent().size {
            self.catch_up().await;
        }
        if index >= self.log.extent().size {
            return Ok(None);
        }
        Ok(self.log.entry(index).map_err(Error::from)?)
    }

    /// Waits until what the journal holds is posted here. While the journal is away, what is here counts.
    async fn catch_up(&self) {
        if let Err(error) = self.log.catch_up().await {
            tracing::debug!(%error, "a token or a parent is looked up in what is posted here");
        }
    }
}
