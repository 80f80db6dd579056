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

/// Lines for the page. The first one is marked if it warns.
#[derive(Default)]
pub struct Facts {
    /// True if the account is new.
    pub new_account: bool,
    /// In words.
    pub lines: Vec<String>,
}

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
        if earlier.is_empty() {
            let first = "Its first call with this tool.";
            return Self { new_account: false, lines: vec![first.into()] };
        }
        let count = earlier.len();
        let mut lines = Vec::new();
        let account = card.told.account.as_ref().map(|(_, account)| account);
        let before = earlier.iter().filter(|one| one.account.as_ref() == account).count();
        let new_account = account.is_some() && before == 0;
        if new_account {
            lines.push("New account for this agent.".into());
            lines.push(format!("None of its last {} went to this account.", calls(count)));
        } else if account.is_some() {
            lines.push(format!("{before} of its last {} went to this account.", calls(count)));
        }
        let largest = card.told.money.as_ref().and_then(|(_, code)| largest(earlier, code));
        let most = largest.map(|most| format!(", at most {most}")).unwrap_or_default();
        lines.push(format!("Its last {} with this tool{most}: {}.", calls(count), ends(earlier)));
        Self { new_account, lines }
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

fn calls(count: usize) -> String {
    if count == 1 { "call".into() } else { format!("{count} calls") }
}

fn largest(earlier: &[Earlier], code: &str) -> Option<String> {
    let money = earlier.iter().filter_map(|one| one.money.as_ref());
    let most = money.filter(|(_, other)| other == code).map(|(minor, _)| *minor).max()?;
    display::amount(most, code)
}

/// How they ended: `3 approved, 1 denied`.
fn ends(earlier: &[Earlier]) -> String {
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    for one in earlier {
        let word = match one.phase {
            Phase::Granted | Phase::Minted | Phase::Redeemed | Phase::Completed => (0, "approved"),
            Phase::Failed | Phase::Unknown => (1, "approved, but failed or unknown"),
            Phase::Denied => (2, "denied"),
            Phase::Revoked => (3, "taken back"),
            Phase::Expired | Phase::Lapsed => (4, "expired"),
            Phase::Cancelled | Phase::Superseded => (5, "cancelled"),
            Phase::None | Phase::Pending => (6, "waiting"),
        };
        *counts.entry(word).or_default() += 1;
    }
    let words = counts.into_iter().map(|((_, word), count)| format!("{count} {word}"));
    words.collect::<Vec<_>>().join(", ")
}
