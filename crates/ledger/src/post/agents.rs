//! Posts that tokens of agents are issued and revoked, and checks those on which decisions rest (P14).

use super::{
    Error, Log, Prepared, body,
    identities::{Identities, RestsOnToken, issue_of},
    verdicts::is_late,
};
use crate::{
    entry::{Kind, Origin, View},
    journal::Subject,
    log::merkle::{Hash, leaf_hash},
    store::{self, Changes},
    system::agent::{AgentBody, Issue},
    time::Nanos,
};

/// What is wrong with an issued token at its place, as far as the entry itself tells. `parent`: that on which it rests,
/// if it names one that is there.
pub fn misissued(
    (issue, time): (&Issue, Nanos),
    parent: Option<(u64, &Issue)>,
    identities: &Identities,
) -> Option<&'static str> {
    if issue.fault().is_some() {
        return issue.fault();
    }
    if is_late(Nanos(issue.iat.saturating_mul(1_000_000_000)), time) {
        return Some("it was issued more than 60 s before or after the journal took it");
    }
    match (issue.parents.last(), parent) {
        (None, _) => None,
        (Some(_), Some((index, parent))) => issue.widens(index, parent).or_else(|| {
            let revoked = identities.is_revoked(index, parent);
            revoked.then_some("the token that it rests on was revoked")
        }),
        (Some(_), None) => Some("the token that it rests on was never issued"),
    }
}

impl Log {
    /// Posts that a token is issued or revoked.
    pub(super) fn post_agent(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Result<Option<u64>, Error> {
        let Some(body) = body::read::<AgentBody>(&message.body) else { return Ok(None) };
        if !self.is_earlier(body.reason()) {
            return Ok(None);
        }
        let mut after = self.position.identities.clone();
        let fits = match &body {
            AgentBody::Issue(issue) => {
                let parent = match issue.parents.last() {
                    Some(index) => self.issued(changes, *index)?.map(|(_, issue)| (*index, issue)),
                    None => None,
                };
                let parent = parent.as_ref().map(|(index, issue)| (*index, issue));
                misissued((issue, origin.time), parent, &after).is_none()
            }
            AgentBody::Revoke(revoke) => {
                let here = (self.position.size, origin.time);
                revoke.fault().is_none() && after.take(here, revoke)
            }
        };
        if !fits {
            return Ok(None);
        }
        let index = self.append_plain(changes, (Kind::Agent, origin), message, subject);
        if index.is_some() {
            self.position.identities = after;
        }
        Ok(index)
    }

    /// The token that the entry at `index` issued, and the leaf hash of that entry.
    fn issued(
        &self,
        changes: &Changes<'_>,
        index: u64,
    ) -> Result<Option<(Hash, Issue)>, store::Error> {
        if index >= self.position.size {
            return Ok(None);
        }
        let entry = self.proven(changes, index)?;
        let issue = View::parse(&entry).as_ref().and_then(issue_of);
        Ok(issue.map(|issue| (leaf_hash(&entry), issue)))
    }

    /// True if a decision that rests on a token stands here.
    pub(super) fn has_token(
        &self,
        changes: &Changes<'_>,
        rests: &RestsOnToken,
    ) -> Result<bool, store::Error> {
        let issued = self.issued(changes, rests.token.index)?;
        let identities = &self.position.identities;
        Ok(issued.is_some_and(|(leaf, issue)| identities.misfit(rests, leaf, &issue).is_none()))
    }
}
