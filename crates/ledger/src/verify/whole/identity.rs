//! What the entries so far say of tokens of agents: each was issued as it may be, and a decision that rests on one stands
//! where it counts (P14).

use crate::{
    entry::{Kind, View},
    post::{Identities, RestsOnToken, issue_of, misissued},
    system::{LeafAt, agent::Issue},
    time::Nanos,
};
use std::collections::HashMap;

/// An entry that names another one: its leaf index, that of the other, and its leaf hash.
type Names = (u64, u64, String);

/// The tokens so far.
#[derive(Default)]
pub(super) struct Identity {
    identities: Identities,
    issued: HashMap<u64, Issue>,
}

impl Identity {
    /// Takes the next entry. Returns the entries that it names: the token, and the decision from which its call follows.
    pub(super) fn take(&mut self, index: u64, view: &View<'_>) -> Result<Vec<Names>, &'static str> {
        match view.kind {
            Kind::Agent => {
                self.agent(index, view)?;
                Ok(Vec::new())
            }
            Kind::Decision if view.is_ours() => self.decision(index, view),
            _ => Ok(Vec::new()),
        }
    }

    fn agent(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        if let Some(issue) = issue_of(view) {
            let parent = issue.parents.last();
            let parent = parent.and_then(|index| Some((*index, self.issued.get(index)?)));
            if let Some(wrong) = misissued((&issue, view.origin.time), parent, &self.identities) {
                return Err(wrong);
            }
            self.issued.insert(index, issue);
        }
        if self.identities.note(index, view) { Ok(()) } else { Err("not an agent entry") }
    }

    fn decision(&self, index: u64, view: &View<'_>) -> Result<Vec<Names>, &'static str> {
        let Some(data) = view.at(&["event", "data"]) else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        let at = view.text(&["event", "time"]).and_then(Nanos::parse).unwrap_or_default();
        if let Some(rests) = RestsOnToken::of(data, at) {
            let token = &rests.token;
            let issue = self.issued.get(&token.index);
            let issue = issue.ok_or("it rests on a token that was never issued")?;
            if let Some(wrong) = self.identities.misfit(&rests, token.leaf_hash, issue) {
                return Err(wrong);
            }
            names.push((index, token.index, token.leaf_hash.to_string()));
        }
        if let Some(parent) = data.get("parent").and_then(LeafAt::of) {
            names.push((index, parent.index, parent.leaf_hash.to_string()));
        }
        Ok(names)
    }
}
