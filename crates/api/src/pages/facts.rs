//! What the log says of earlier calls like this one: facts, counted, and never a score.
//!
//! Only calls with the same tool that this person may read: those that are open, and the last 1,000 that ended. Of the same
//! agent; and of other agents for a payment that comes twice, by two ways.

use super::{Stop, session::Session};
use crate::access;
use approvals::{
    cards::Card,
    display,
    history::Approval,
    worker::{Brief, Parties as _},
};
use decider::approval::Phase;
use std::{collections::BTreeMap, sync::Arc};

/// Most earlier calls of the agent that are read for one call.
const READ_MAX: usize = 30;
/// Most earlier calls of other agents.
const OTHERS_MAX: usize = 20;
/// Most later calls, of any agent, that wait too.
const LATER_MAX: usize = 20;

/// Lines for the page, warnings first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The number of lines that warn.
    pub warnings: usize,
    /// The number of lines that are of this call alone; the others are about the agent.
    pub own: usize,
    /// In words.
    pub lines: Vec<String>,
    /// The account and the amount, if the call has both: it may be a payment that is asked for twice.
    pays: Option<(String, (i64, String))>,
}

/// What names with letters of another script, or hidden ones, mean.
const ESCAPED: &str = "\\u{…} stands for a letter that looks like another one, or is not seen.";

/// What an amount below zero is marked with: its sign is easily overlooked.
const NEGATIVE: &str = "The amount is negative: the money goes the other way.";

/// One earlier call.
#[derive(Clone, Debug)]
struct Earlier {
    /// Leaf index of its decision.
    opening: u64,
    phase: Phase,
    money: Option<(i64, String)>,
    account: Option<String>,
    /// Who got it, by the sentence.
    whom: Option<String>,
}

/// Earlier calls of agents, each read once.
#[derive(Default)]
pub struct Past {
    /// By agent and tool, the latest first.
    read: BTreeMap<(String, String), Vec<Earlier>>,
    /// Those of all other agents, by the same key.
    others: BTreeMap<(String, String), Vec<Earlier>>,
}

impl Past {
    /// Facts about calls of one page: each is judged by the calls before it, the others on the page among them. Reads at
    /// most [`READ_MAX`] calls of each agent, and those of the page.
    pub async fn of(session: &Session, all: &[(&Approval, &Card)]) -> Result<Vec<Facts>, Stop> {
        let (mut past, mut facts) = (Self::default(), Vec::with_capacity(all.len()));
        // The latest first: what is read for it holds for the earlier ones too.
        let place =
            |approval: &Approval| approval.state.requested.as_deref().map(|r| r.opening.index);
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_unstable_by_key(|at| std::cmp::Reverse(place(all[*at].0)));
        for at in order {
            let (approval, card) = all[at];
            facts.push((at, past.facts(session, approval, card, all.len()).await?));
        }
        facts.sort_unstable_by_key(|(at, _)| *at);
        Ok(facts.into_iter().map(|(_, facts)| facts).collect())
    }

    async fn facts(
        &mut self,
        session: &Session,
        approval: &Approval,
        card: &Card,
        page: usize,
    ) -> Result<Facts, Stop> {
        let Some(requested) = approval.state.requested.as_deref() else {
            return Ok(Facts::default());
        };
        let place = requested.opening.index;
        let key = (requested.call.agent.clone(), requested.call.tool.clone());
        if !self.read.contains_key(&key) {
            let own = like(session, (&key, true), place, READ_MAX + page);
            self.read.insert(key.clone(), read(session, own).await?);
            let others = like(session, (&key, false), place, OTHERS_MAX + page);
            self.others.insert(key.clone(), read(session, others).await?);
        }
        let before =
            |all: &BTreeMap<(String, String), Vec<Earlier>>, most: usize| -> Vec<Earlier> {
                let all = all.get(&key).map(Vec::as_slice).unwrap_or_default();
                all.iter().filter(|one| one.opening < place).take(most).cloned().collect()
            };
        let (own, others) = (before(&self.read, READ_MAX), before(&self.others, OTHERS_MAX));
        let mut facts =
            Facts::from(card, &own.iter().collect::<Vec<_>>(), &others.iter().collect::<Vec<_>>());
        // A list of calls has them all before its reader.
        if page == 1 && facts.pays.is_some() && card.phase == Phase::Pending {
            let later = read(session, waiting_later(session, &key.1, place)).await?;
            facts.note_later(&later);
        }
        Ok(facts)
    }
}

/// Reads calls.
async fn read(session: &Session, briefs: Vec<Arc<Brief>>) -> Result<Vec<Earlier>, Stop> {
    let mut earlier = Vec::new();
    for brief in briefs {
        let Some(found) = session.worker.reader().get(&brief.id).await? else { continue };
        let (other, _) = session.worker.cards().card(&found)?;
        let account = other.told.account.map(|(_, account)| account);
        let (money, whom) = (other.told.money, other.told.whom);
        let (opening, phase) = (brief.opening, other.phase);
        earlier.push(Earlier { opening, phase, money, account, whom });
    }
    Ok(earlier)
}

impl Facts {
    /// The facts about one call.
    pub async fn of(session: &Session, approval: &Approval, card: &Card) -> Result<Self, Stop> {
        Ok(Past::of(session, &[(approval, card)]).await?.pop().unwrap_or_default())
    }

    fn from(card: &Card, earlier: &[&Earlier], others: &[&Earlier]) -> Self {
        let mut lines = Vec::new();
        if card.told.sentence.plain().contains("\\u{") {
            lines.push(ESCAPED.into());
        }
        let account = card.told.account.as_ref().map(|(_, account)| account);
        let money = card.told.money.as_ref();
        if money.is_some_and(|(minor, _)| *minor < 0) {
            lines.push(NEGATIVE.into());
        }
        let pays = account.cloned().zip(money.cloned());
        let to_it = |one: &&Earlier| account.is_some() && one.account.as_ref() == account;
        let before: Vec<&Earlier> = earlier.iter().copied().filter(to_it).collect();
        let same = |one: &&Earlier| money.is_some() && one.money.as_ref() == money;
        let again: Vec<&Earlier> = before.iter().copied().filter(same).collect();
        if !again.is_empty() {
            lines.push(repeated(&again, false));
        }
        let again: Vec<&Earlier> = others.iter().copied().filter(to_it).filter(same).collect();
        if !again.is_empty() {
            lines.push(repeated(&again, true));
        }
        let is_new = account.is_some() && before.is_empty() && !earlier.is_empty();
        let whom = card.told.whom.as_ref().filter(|_| is_new);
        let named = |one: &&&Earlier| one.account.is_some() && whom == one.whom.as_ref();
        let elsewhere = earlier.iter().filter(named).filter(|_| whom.is_some()).count();
        if elsewhere > 0 {
            lines.push(other_account(elsewhere));
        }
        let warnings = lines.len();
        if is_new {
            lines.push(first(earlier.len(), money.is_some()));
        }
        let own = lines.len();
        if earlier.is_empty() {
            lines.push("Its first call with this tool.".into());
            return Self { warnings, own, lines, pays };
        }
        let count = earlier.len();
        if !before.is_empty() {
            lines.push(went(before.len(), count));
        }
        let largest = money.and_then(|(_, code)| largest(earlier, code));
        let most = largest.map(|most| format!(", at most {most}")).unwrap_or_default();
        let ends = if count == 1 { ended(earlier[0].phase).1.into() } else { ends(earlier) };
        lines.push(format!("Its last {} with this tool{most}: {ends}.", calls(count)));
        Self { warnings, own, lines, pays }
    }

    /// Warns of calls that wait too and were made after this one: whoever sees the first of two must know of the second.
    fn note_later(&mut self, later: &[Earlier]) {
        let paid = |one: &Earlier| one.account.clone().zip(one.money.clone());
        let same = |one: &&Earlier| self.pays.is_some() && paid(one) == self.pays;
        let text = match later.iter().filter(same).count() {
            0 => return,
            1 => "A later call that waits too has the same amount and account.".into(),
            many => format!("{many} later calls that wait too have the same amount and account."),
        };
        self.lines.insert(self.warnings, text);
        self.warnings += 1;
        self.own += 1;
    }

    /// The number of lines that are shown at once: all that warn, or else the first.
    pub fn at_once(&self) -> usize {
        self.warnings.max(1)
    }
}

/// The last calls with a tool before a place, the latest first: of the agent, or of all others.
fn like(
    session: &Session,
    ((agent, tool), own): (&(String, String), bool),
    place: u64,
    most: usize,
) -> Vec<Arc<Brief>> {
    let lists = &session.worker.lists;
    let mut all = lists.open();
    all.extend(lists.recent());
    all.retain(|brief| {
        brief.opening < place
            && *brief.tool == **tool
            && brief.asks().is_some_and(|(by, _)| (by == agent) == own)
            && access::page(&session.worker, &session.person, &**brief)
    });
    all.sort_unstable_by_key(|brief| u64::MAX - brief.opening);
    all.truncate(most);
    all
}

/// The calls with a tool that wait, of any agent, and that were made after a place, the next one first.
fn waiting_later(session: &Session, tool: &str, place: u64) -> Vec<Arc<Brief>> {
    let mut all = session.worker.lists.open();
    all.retain(|brief| {
        brief.opening > place
            && *brief.tool == *tool
            && access::page(&session.worker, &session.person, &**brief)
    });
    all.sort_unstable_by_key(|brief| brief.opening);
    all.truncate(LATER_MAX);
    all
}

/// Nothing went to this account before: a fact, and no warning.
fn first(count: usize, pays: bool) -> String {
    let what = if pays { "First payment" } else { "First call" };
    match count {
        1 => format!("{what} to this account by this agent, after 1 other call."),
        READ_MAX.. => format!("{what} to this account in the last {count} calls of this agent."),
        _ => format!("{what} to this account by this agent, after {count} other calls."),
    }
}

/// The same name, another account: what a forged invoice looks like.
fn other_account(count: usize) -> String {
    match count {
        1 => "An earlier call to this name had another account.".into(),
        many => format!("{many} earlier calls to this name had another account."),
    }
}

/// Perhaps the same call twice: earlier ones with the same amount to the same account.
/// `others`: they are of other agents.
fn repeated(again: &[&Earlier], others: bool) -> String {
    let same = "The same amount to the same account as";
    match again {
        [one] => {
            let whose = if others { " of another agent" } else { "" };
            format!("{same} an earlier call{whose} ({}).", ended(one.phase).1)
        }
        many => {
            let whose = if others { " of other agents" } else { "" };
            format!("{same} {} earlier calls{whose} ({}).", many.len(), ends(many))
        }
    }
}

fn calls(count: usize) -> String {
    if count == 1 { "call".into() } else { format!("{count} calls") }
}

/// How many of the last calls went to the account, as a sentence.
fn went(before: usize, count: usize) -> String {
    match (before, count) {
        (_, 1) => "Its last call went to this account.".into(),
        (all, count) if all == count => {
            format!("All of its last {count} calls went to this account.")
        }
        (1, _) => format!("One of its last {count} calls went to this account."),
        (some, _) => format!("{some} of its last {count} calls went to this account."),
    }
}

fn largest(earlier: &[&Earlier], code: &str) -> Option<String> {
    let money = earlier.iter().filter_map(|one| one.money.as_ref());
    let most = money.filter(|(_, other)| other == code).map(|(minor, _)| *minor).max()?;
    display::amount(most, code)
}

/// How a call ended: its place in the order, and the word.
fn ended(phase: Phase) -> (u8, &'static str) {
    match phase {
        Phase::Granted | Phase::Minted | Phase::Redeemed | Phase::Completed => (0, "approved"),
        Phase::Failed | Phase::Unknown => (1, "approved, but failed or unknown"),
        Phase::Denied => (2, "denied"),
        Phase::Revoked => (3, "taken back"),
        Phase::Expired | Phase::Lapsed => (4, "expired"),
        Phase::Cancelled | Phase::Superseded => (5, "cancelled"),
        Phase::None | Phase::Pending => (6, "waiting"),
    }
}

/// How they ended: `3 approved, 1 denied`.
fn ends(earlier: &[&Earlier]) -> String {
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    for one in earlier {
        *counts.entry(ended(one.phase)).or_default() += 1;
    }
    let words = counts.into_iter().map(|((_, word), count)| format!("{count} {word}"));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_sentences_for_one_and_for_many() {
        for (before, count, said) in [
            (1, 1, "Its last call went to this account."),
            (1, 7, "One of its last 7 calls went to this account."),
            (3, 7, "3 of its last 7 calls went to this account."),
            (7, 7, "All of its last 7 calls went to this account."),
        ] {
            assert_eq!(went(before, count), said);
        }
    }

    #[test]
    fn a_first_payment_is_a_fact() {
        for (count, said) in [
            (1, "First payment to this account by this agent, after 1 other call."),
            (29, "First payment to this account by this agent, after 29 other calls."),
            (30, "First payment to this account in the last 30 calls of this agent."),
        ] {
            assert_eq!(first(count, true), said);
        }
        assert!(first(2, false).starts_with("First call to this account"));
        assert_eq!(other_account(1), "An earlier call to this name had another account.");
    }

    #[test]
    fn p7_the_first_of_two_equal_calls_warns_of_the_second() {
        let paid = ("ES12".to_owned(), (129_900, "EUR".to_owned()));
        let lines = vec!["First payment.".to_owned()];
        let mut facts = Facts { lines, own: 1, pays: Some(paid), ..Facts::default() };
        let other = |minor: i64, account: &str| Earlier {
            opening: 9,
            phase: Phase::Pending,
            money: Some((minor, "EUR".into())),
            account: Some(account.into()),
            whom: None,
        };
        facts.note_later(&[other(129_900, "ES13"), other(129_800, "ES12")]);
        assert_eq!((facts.warnings, facts.lines.len()), (0, 1));
        facts.note_later(&[other(129_900, "ES12")]);
        let said = "A later call that waits too has the same amount and account.";
        assert_eq!((facts.warnings, facts.own, facts.lines[0].as_str()), (1, 2, said));
    }

    #[test]
    fn p7_the_same_amount_to_the_same_account_is_told() {
        let one = |phase| Earlier { opening: 0, phase, money: None, account: None, whom: None };
        let (waits, denied) = (one(Phase::Pending), one(Phase::Denied));
        let said = "The same amount to the same account as an earlier call (waiting).";
        assert_eq!(repeated(&[&waits], false), said);
        let said = "The same amount to the same account as 2 earlier calls (1 denied, 1 waiting).";
        assert_eq!(repeated(&[&waits, &denied], false), said);
        let said =
            "The same amount to the same account as an earlier call of another agent (denied).";
        assert_eq!(repeated(&[&denied], true), said);
    }
}
