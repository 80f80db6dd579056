//! What the log says of earlier calls like this one: facts, counted, and never a score.
//!
//! Only calls of the same agent and tool that this person may read: those that are open, and the last 1,000 that ended.

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

/// Most earlier calls that are read.
const READ_MAX: usize = 30;

/// Lines for the page, what warns first.
#[derive(Default)]
pub struct Facts {
    /// True if the first line warns.
    pub warns: bool,
    /// In words.
    pub lines: Vec<String>,
}

/// What names with letters of another script, or hidden ones, mean.
const ESCAPED: &str = "\\u{…} stands for a letter that looks like another one, or is not seen.";

/// One earlier call.
struct Earlier {
    phase: Phase,
    money: Option<(i64, String)>,
    account: Option<String>,
}

impl Facts {
    /// The facts about a call.
    pub async fn of(session: &Session, approval: &Approval, card: &Card) -> Result<Self, Stop> {
        let mut earlier = Vec::new();
        for brief in like(session, approval) {
            let Some(found) = session.worker.reader().get(&brief.id).await? else { continue };
            let (other, _) = session.worker.cards().card(&found)?;
            let account = other.told.account.map(|(_, account)| account);
            earlier.push(Earlier { phase: other.phase, money: other.told.money, account });
        }
        Ok(Self::from(card, &earlier))
    }

    fn from(card: &Card, earlier: &[Earlier]) -> Self {
        let mut lines = Vec::new();
        if card.told.sentence.plain().contains("\\u{") {
            lines.push(ESCAPED.into());
        }
        let account = card.told.account.as_ref().map(|(_, account)| account);
        let money = card.told.money.as_ref();
        let to_it = |one: &&Earlier| account.is_some() && one.account.as_ref() == account;
        let before: Vec<&Earlier> = earlier.iter().filter(to_it).collect();
        let again = before.iter().filter(|one| money.is_some() && one.money.as_ref() == money);
        let again: Vec<&Earlier> = again.copied().collect();
        if !again.is_empty() {
            lines.push(repeated(&again));
        }
        if account.is_some() && before.is_empty() && !earlier.is_empty() {
            lines.push("New account for this agent.".into());
        }
        let warns = !lines.is_empty();
        if earlier.is_empty() {
            lines.push("Its first call with this tool.".into());
            return Self { warns, lines };
        }
        let count = earlier.len();
        if account.is_some() {
            lines.push(went(before.len(), count));
        }
        let largest = money.and_then(|(_, code)| largest(earlier, code));
        let most = largest.map(|most| format!(", at most {most}")).unwrap_or_default();
        let all: Vec<&Earlier> = earlier.iter().collect();
        let ends = if count == 1 { ended(all[0].phase).1.into() } else { ends(&all) };
        lines.push(format!("Its last {} with this tool{most}: {ends}.", calls(count)));
        Self { warns, lines }
    }
}

/// The last calls of the same agent and tool before this one, the latest first.
fn like(session: &Session, approval: &Approval) -> Vec<Arc<Brief>> {
    let lists = &session.worker.lists;
    let Some(requested) = approval.state.requested.as_deref() else { return Vec::new() };
    let (call, place) = (&requested.call, requested.opening.index);
    let mut all = lists.open();
    all.extend(lists.recent());
    all.retain(|brief| {
        brief.opening < place
            && *brief.tool == *call.tool
            && brief.asks().is_some_and(|(agent, _)| agent == call.agent)
            && access::page(&session.worker, &session.person, &**brief)
    });
    all.sort_unstable_by_key(|brief| u64::MAX - brief.opening);
    all.truncate(READ_MAX);
    all
}

/// Perhaps the same call twice: earlier ones with the same amount to the same account.
fn repeated(again: &[&Earlier]) -> String {
    match again {
        [one] => {
            let word = ended(one.phase).1;
            format!("The same amount to the same account as an earlier call ({word}).")
        }
        many => format!(
            "The same amount to the same account as {} earlier calls ({}).",
            many.len(),
            ends(many)
        ),
    }
}

fn calls(count: usize) -> String {
    if count == 1 { "call".into() } else { format!("{count} calls") }
}

/// How many of the last calls went to the account, as a sentence.
fn went(before: usize, count: usize) -> String {
    match (before, count) {
        (0, 1) => "Its last call did not go to this account.".into(),
        (_, 1) => "Its last call went to this account.".into(),
        (0, _) => format!("None of its last {count} calls went to this account."),
        (all, count) if all == count => {
            format!("All of its last {count} calls went to this account.")
        }
        (1, _) => format!("One of its last {count} calls went to this account."),
        (some, _) => format!("{some} of its last {count} calls went to this account."),
    }
}

fn largest(earlier: &[Earlier], code: &str) -> Option<String> {
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
            (0, 1, "Its last call did not go to this account."),
            (1, 1, "Its last call went to this account."),
            (0, 7, "None of its last 7 calls went to this account."),
            (1, 7, "One of its last 7 calls went to this account."),
            (3, 7, "3 of its last 7 calls went to this account."),
            (7, 7, "All of its last 7 calls went to this account."),
        ] {
            assert_eq!(went(before, count), said);
        }
    }

    #[test]
    fn p7_the_same_amount_to_the_same_account_is_told() {
        let one = |phase| Earlier { phase, money: None, account: None };
        let (waits, denied) = (one(Phase::Pending), one(Phase::Denied));
        let said = "The same amount to the same account as an earlier call (waiting).";
        assert_eq!(repeated(&[&waits]), said);
        let said = "The same amount to the same account as 2 earlier calls (1 denied, 1 waiting).";
        assert_eq!(repeated(&[&waits, &denied]), said);
    }
}
