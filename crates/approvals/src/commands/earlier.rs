//! Reads earlier calls like one that waits, for facts about it. Only calls with the same tool that the reader may know, and that
//! are open or among the last 1,000 that ended.

use super::{
    CardMaker, Error,
    brief::{Brief, Parties as _},
};
use crate::{
    cards::Card,
    facts::{Asked, Before, Earlier, Facts, OTHERS_MAX, READ_MAX},
    history::Approval,
};
use decider::approval::Phase;
use ledger::foreign;
use std::{collections::BTreeMap, sync::Arc};

/// Most facts on a card.
const ON_CARD_MAX: usize = 6;
/// Most later calls, of any agent, that wait too.
const LATER_MAX: usize = 20;

/// Which calls a reader may know: by what is kept in memory, then by all of it.
#[derive(Clone, Copy)]
pub struct MayKnow<'a> {
    /// By the people who are asked.
    pub brief: &'a (dyn Fn(&Brief) -> bool + Send + Sync),
    /// By the whole approval.
    pub whole: &'a (dyn Fn(&Approval) -> bool + Send + Sync),
}

/// Earlier calls of agents, each read once.
pub struct EarlierCalls<'a> {
    cards: &'a CardMaker,
    may: MayKnow<'a>,
    /// By agent and tool, the latest first.
    read: BTreeMap<(String, String), Vec<Earlier>>,
    /// Those of all other agents, by the same key.
    others: BTreeMap<(String, String), Vec<Earlier>>,
}

impl<'a> EarlierCalls<'a> {
    /// Nothing is read yet.
    pub fn new(cards: &'a CardMaker, may: MayKnow<'a>) -> Self {
        Self { cards, may, read: BTreeMap::new(), others: BTreeMap::new() }
    }

    /// Facts about calls that a reader sees together: each is judged by the calls before it, the others among them.
    pub async fn facts(&mut self, all: &[(&Approval, &Card)]) -> Result<Vec<Facts>, Error> {
        // The latest first: what is read for it holds for the earlier ones too.
        let place =
            |approval: &Approval| approval.state.requested.as_deref().map(|r| r.opening.index);
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_unstable_by_key(|at| std::cmp::Reverse(place(all[*at].0)));
        let mut facts = Vec::with_capacity(all.len());
        for at in order {
            facts.push((at, self.of(all[at], all.len()).await?));
        }
        facts.sort_unstable_by_key(|(at, _)| *at);
        Ok(facts.into_iter().map(|(_, facts)| facts).collect())
    }

    /// Facts about one call of `page` calls that are seen together.
    async fn of(
        &mut self,
        (approval, card): (&Approval, &Card),
        page: usize,
    ) -> Result<Facts, Error> {
        let Some(requested) = approval.state.requested.as_deref() else {
            return Ok(Facts::default());
        };
        let place = requested.opening.index;
        let key = (requested.call.agent.clone(), requested.call.tool.clone());
        if !self.read.contains_key(&key) {
            let own = self.read(self.like((&key, true), place, READ_MAX + page)).await?;
            self.read.insert(key.clone(), own);
            let others = self.read(self.like((&key, false), place, OTHERS_MAX + page)).await?;
            self.others.insert(key.clone(), others);
        }
        let elsewhere = self.elsewhere(&key, place);
        let asked =
            Asked { told: &card.told, action: &requested.call.action, at: requested.requested_at };
        let (own, others) = (
            before(&self.read, &key, (place, READ_MAX)),
            before(&self.others, &key, (place, OTHERS_MAX)),
        );
        let known = Before { own: &own, others: &others, elsewhere: Some(&elsewhere) };
        let mut facts = Facts::of(asked, known);
        // Who sees several calls at once has them all.
        if page == 1 && facts.may_come_twice() && card.phase == Phase::Pending {
            let later = self.read(self.waiting_later(&key.1, place)).await?;
            facts.note_later(&later);
        }
        Ok(facts)
    }

    /// Reads calls.
    async fn read(&self, briefs: Vec<Arc<Brief>>) -> Result<Vec<Earlier>, Error> {
        let mut earlier = Vec::new();
        for brief in briefs {
            let found = self.cards.reader.get(&brief.id).await?;
            let Some(found) = found.filter(|found| (self.may.whole)(found)) else { continue };
            let (other, _) = self.cards.card(&found)?;
            let Some(requested) = found.state.requested else { continue };
            let told = other.told;
            earlier.push(Earlier {
                id: brief.id.clone(),
                opening: brief.opening,
                at: requested.requested_at,
                phase: other.phase,
                action: requested.call.action,
                money: told.money,
                account: told.account.map(|(_, account)| account),
                whom: told.whom,
                names: told.names,
                reference: told.reference,
                telling: told.telling,
                release: told.release,
            });
        }
        Ok(earlier)
    }

    /// All calls that the reader may know.
    fn listed(&self) -> Vec<Arc<Brief>> {
        let registry = &self.cards.reader.registry;
        let mut all = registry.open().by_deadline(|_| true);
        let (mut recent, kept_from) = (registry.open().recent(), self.cards.reader.log.kept_from());
        recent.retain(|brief| brief.last >= kept_from);
        all.extend(recent);
        all.retain(|brief| (self.may.brief)(brief));
        all
    }

    /// The last calls with a tool before a place, the latest first: of the agent, or of all others.
    fn like(
        &self,
        ((agent, tool), own): (&(String, String), bool),
        place: u64,
        most: usize,
    ) -> Vec<Arc<Brief>> {
        let mut all = self.listed();
        all.retain(|brief| {
            brief.opening < place
                && *brief.tool == **tool
                && brief.asks().is_some_and(|(by, _)| (by == agent) == own)
        });
        all.sort_unstable_by_key(|brief| u64::MAX - brief.opening);
        all.truncate(most);
        all
    }

    /// The number of calls of an agent with other tools before a place.
    fn elsewhere(&self, (agent, tool): &(String, String), place: u64) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for brief in self.listed() {
            let is_its = brief.asks().is_some_and(|(by, _)| by == agent);
            if brief.opening < place && is_its && *brief.tool != **tool {
                *counts.entry(foreign::name(&brief.tool)).or_default() += 1;
            }
        }
        counts
    }

    /// The calls with a tool that wait, of any agent, and that were made after a place, the next one first.
    fn waiting_later(&self, tool: &str, place: u64) -> Vec<Arc<Brief>> {
        let mut all = self.listed();
        all.retain(|brief| {
            brief.opening > place && *brief.tool == *tool && brief.over_since.is_none()
        });
        all.sort_unstable_by_key(|brief| brief.opening);
        all.truncate(LATER_MAX);
        all
    }
}

fn before<'e>(
    all: &'e BTreeMap<(String, String), Vec<Earlier>>,
    key: &(String, String),
    (place, most): (u64, usize),
) -> Vec<&'e Earlier> {
    let all = all.get(key).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|one| one.opening < place).take(most).collect()
}

impl CardMaker {
    /// The approval as the people of a channel see it: with the facts that calls tell which were asked of the same people
    /// through the same channels.
    pub async fn card_with_facts(&self, approval: &Approval) -> Result<Card, Error> {
        let (mut card, _) = self.card(approval)?;
        let Some(requested) = approval.state.requested.as_deref() else { return Ok(card) };
        if card.phase != Phase::Pending {
            return Ok(card);
        }
        let quorum = &requested.rule.quorum;
        let brief = |other: &Brief| other.asks().is_some_and(|(_, other)| other == quorum);
        let channels = &requested.rule.channels;
        let whole = |other: &Approval| {
            let other = other.state.requested.as_deref();
            other.is_some_and(|other| other.rule.channels == *channels)
        };
        let may = MayKnow { brief: &brief, whole: &whole };
        let facts = EarlierCalls::new(self, may).facts(&[(approval, &card)]).await?.pop();
        let facts = facts.unwrap_or_default();
        let shown = facts.telling();
        let lines = facts.lines.into_iter().take(shown);
        // The page marks what has passed at its field.
        card.facts = lines.chain(card.passed()).take(ON_CARD_MAX).collect();
        Ok(card)
    }
}
