//! What the log says of earlier calls like one that waits: facts, counted, and never a score. The same for the page and the
//! cards.
//!
//! Pure. `commands::earlier` reads the calls, and which of them a reader may know.

mod again;
mod ahead;
mod similar;
#[cfg(test)]
mod tests;
mod words;

use crate::display::{Displayed, Release, Telling};
use again::Payment;
use decider::{approval::Phase, words::counted};
use ledger::{ident::Ident, time::Nanos};
use std::collections::{BTreeMap, BTreeSet};

/// Most earlier calls of the agent that are read for one call.
pub(crate) const READ_MAX: usize = 30;
/// Most earlier calls of other agents.
pub(crate) const OTHERS_MAX: usize = 20;
/// An agent that did not use a tool for so long does something unusual, in seconds.
const UNUSUAL_AFTER: u64 = 30 * 86_400;
/// From so many calls on, there is something that an agent usually does.
const USUAL_FROM: usize = 3;

/// How much a fact weighs. Facts are shown in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It warns.
    Warns,
    /// It tells something that is not so for most calls.
    Tells,
    /// It is about this call.
    Own,
    /// It is about the agent.
    Agent,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// How much it weighs.
    pub weight: Weight,
    /// Its words.
    pub parts: Vec<Part>,
}

/// A part of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Our words.
    Ours(String),
    /// A value of a call, cleaned and cut; in quotes unless it can't be read as words of ours.
    Foreign(String),
    /// A time.
    Time(Nanos),
    /// Another call: the id of its approval, and what it is known by, as [`Part::Foreign`].
    Call(Ident, String),
}

/// The facts about one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// By weight.
    pub lines: Vec<Fact>,
    /// If it may be a payment that is asked for twice.
    pays: Option<Payment>,
}

/// One earlier call.
#[derive(Clone, Debug)]
pub(crate) struct Earlier {
    pub id: Ident,
    /// Leaf index of its decision.
    pub opening: u64,
    /// When it was asked for.
    pub at: Nanos,
    pub phase: Phase,
    pub action: String,
    pub money: Option<(i64, String)>,
    pub account: Option<String>,
    /// Who got it, by the sentence.
    pub whom: Option<String>,
    /// What is compared letter by letter: JSON Pointer and text.
    pub names: Vec<(String, String)>,
    pub reference: Option<String>,
    /// What tells it from calls alike.
    pub telling: Vec<Telling>,
    pub release: Option<Release>,
}

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub told: &'a Displayed,
    pub action: &'a str,
    /// When it was asked for.
    pub at: Nanos,
}

/// Calls before one, the latest first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before<'a> {
    /// Of the same agent, with the same tool.
    pub own: &'a [&'a Earlier],
    /// Of other agents, with the same tool.
    pub others: &'a [&'a Earlier],
    /// Number of calls of the agent with other tools, by their names as people read them.
    pub elsewhere: Option<&'a BTreeMap<String, usize>>,
}

impl Fact {
    fn new(weight: Weight, parts: Vec<Part>) -> Self {
        Self { weight, parts }
    }

    pub(crate) fn ours(weight: Weight, text: impl Into<String>) -> Self {
        Self::new(weight, vec![Part::Ours(text.into())])
    }

    /// True if it warns.
    pub fn warns(&self) -> bool {
        self.weight == Weight::Warns
    }

    /// As text alone, its times in UTC. Foreign text from right to left is isolated, so that it moves nothing.
    pub fn plain(&self) -> String {
        self.with(str::to_owned)
    }

    /// As [`Self::plain`], with each part cleaned once more.
    pub fn with(&self, clean: impl Fn(&str) -> String) -> String {
        self.parts.iter().map(|part| part.with(&clean)).collect()
    }
}

impl Facts {
    /// The facts about a call.
    pub(crate) fn of(call: Asked<'_>, before: Before<'_>) -> Self {
        let told = call.told;
        let pays = Payment::of(told);
        let mut lines: Vec<Fact> =
            told.warnings.iter().map(|text| Fact::ours(Weight::Warns, text)).collect();
        lines.extend(again::lines(told, before));
        lines.extend(ahead::lines(call, before));
        lines.extend(similar::lines(told, before));
        lines.extend(payee(told, before));
        lines.extend(currency(told, before));
        lines.extend(unusual(call, before));
        lines.extend(of_agent(told, before.own));
        // Equal ones stay in order.
        lines.sort_by_key(|fact| fact.weight);
        Self { lines, pays }
    }

    /// The number of facts that warn: the first ones.
    pub fn warnings(&self) -> usize {
        self.count(Weight::Warns)
    }

    /// The number of facts that are of this call alone: the first ones.
    pub fn own(&self) -> usize {
        self.lines.iter().filter(|fact| fact.weight < Weight::Agent).count()
    }

    /// The number of facts for a card: all that warn, and one that tells.
    pub(crate) fn telling(&self) -> usize {
        self.warnings() + self.count(Weight::Tells).min(1)
    }

    /// The number of facts that a page shows at once: the same. What is usual stands further down, or people soon read none.
    pub fn at_once(&self) -> usize {
        self.telling()
    }

    /// True if a later call may be the same payment.
    pub(crate) fn may_come_twice(&self) -> bool {
        self.pays.is_some()
    }

    /// Warns of calls that wait too and were made after this one, the next one first: whoever sees the first of two must
    /// know of the second.
    pub(crate) fn note_later(&mut self, later: &[Earlier]) {
        let Some(fact) = self.pays.as_ref().and_then(|pays| pays.later(later)) else { return };
        self.lines.insert(fact.place(&self.lines), fact);
    }

    fn count(&self, weight: Weight) -> usize {
        self.lines.iter().filter(|fact| fact.weight == weight).count()
    }
}

impl Earlier {
    /// True if it was approved, whatever came of it.
    fn is_approved(&self) -> bool {
        words::ended(self.phase).0 <= 1
    }

    fn goes_to(&self, account: &str) -> bool {
        self.account.as_deref() == Some(account)
    }
}

/// Whether account and name were paid before.
fn payee(told: &Displayed, Before { own, others, .. }: Before<'_>) -> Option<Fact> {
    let (_, account) = told.account.as_ref()?;
    if own.is_empty() || own.iter().any(|one| one.goes_to(account)) {
        return None;
    }
    let pays = told.money.is_some();
    let first = || words::first(own.len(), pays);
    let all = || own.iter().chain(others).copied();
    let there = others.iter().filter(|one| one.goes_to(account)).count();
    let Some(whom) = told.whom.as_ref() else { return Some(Fact::ours(Weight::Own, first())) };
    let moved = |one: &&Earlier| {
        one.whom.as_ref() == Some(whom) && one.account.is_some() && !one.goes_to(account)
    };
    let moved: Vec<&Earlier> = all().filter(moved).collect();
    if let Some(last) = moved.first() {
        return Some(words::other_account(moved.len(), last));
    }
    if there > 0 {
        let calls = counted(there, "call", "calls");
        let text = format!(
            "First payment to this account by this agent; {calls} of other agents went there."
        );
        return Some(Fact::ours(Weight::Own, text));
    }
    // It tells something where the agent's payments go to the same accounts again and again.
    let weight = if pays_known(own) { Weight::Tells } else { Weight::Own };
    let text = if pays { words::new_payee(own.len()) } else { first() };
    Some(Fact::ours(weight, text))
}

/// The number of an agent's calls that went to an account, and of these accounts.
fn paid(own: &[&Earlier]) -> (usize, usize) {
    let paid: Vec<&String> = own.iter().filter_map(|one| one.account.as_ref()).collect();
    let accounts: BTreeSet<&String> = paid.iter().copied().collect();
    (paid.len(), accounts.len())
}

/// True if no two calls of an agent went to one account.
fn pays_new_alone(own: &[&Earlier]) -> bool {
    let (paid, accounts) = paid(own);
    paid >= USUAL_FROM && accounts == paid
}

/// True if at least every third payment of an agent goes where one went before.
fn pays_known(own: &[&Earlier]) -> bool {
    let (paid, accounts) = paid(own);
    paid >= USUAL_FROM && accounts * 3 <= paid * 2
}

/// Another currency than this payee was paid in before.
fn currency(told: &Displayed, Before { own, others, .. }: Before<'_>) -> Option<Fact> {
    let (_, code) = told.money.as_ref()?;
    // Without an account the call pays several, or nobody: then no name in it is a payee's.
    let (_, account) = told.account.as_ref()?;
    let same = |one: &&&Earlier| {
        let named = told.whom.is_some() && one.whom == told.whom;
        named || one.goes_to(account)
    };
    let paid: Vec<&Earlier> = own.iter().chain(others).filter(same).copied().collect();
    let paid: Vec<&Earlier> = paid.into_iter().filter(|one| one.money.is_some()).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, other) in paid.iter().filter_map(|one| one.money.as_ref()) {
        *counts.entry(other).or_default() += 1;
    }
    if paid.is_empty() || counts.contains_key(code.as_str()) {
        return None;
    }
    let codes: Vec<&str> = counts.into_keys().collect();
    let text = format!("{}; this is {code}.", words::paid_in(&paid, &codes));
    Some(Fact::ours(Weight::Warns, text))
}

/// What the agent never did before, or not for long.
fn unusual(call: Asked<'_>, Before { own, elsewhere, .. }: Before<'_>) -> Option<Fact> {
    let Some(last) = own.first() else {
        return Some(words::first_with_tool(elsewhere));
    };
    let age = call.at.seconds().saturating_sub(last.at.seconds());
    if age >= UNUSUAL_AFTER {
        let days = age / 86_400;
        let text = format!("Its first call with this tool in {days} days.");
        return Some(Fact::ours(Weight::Tells, text));
    }
    let known = own.len() < USUAL_FROM || own.iter().any(|one| one.action == call.action);
    (!known).then(|| words::first_action(call.action, own))
}

/// What the agent did with this tool.
fn of_agent(told: &Displayed, own: &[&Earlier]) -> Vec<Fact> {
    let mut lines = Vec::new();
    if own.is_empty() {
        return lines;
    }
    let account = told.account.as_ref().map(|(_, account)| account.as_str());
    let went = own.iter().filter(|one| account.is_some_and(|account| one.goes_to(account)));
    let before = went.count();
    if before > 0 {
        lines.push(Fact::ours(Weight::Agent, words::went(before, own.len())));
    } else if account.is_some() && pays_new_alone(own) {
        let paid = own.iter().filter(|one| one.account.is_some()).count();
        let text = format!("Each of its last {paid} calls to an account went to another one.");
        lines.push(Fact::ours(Weight::Agent, text));
    }
    let code = told.money.as_ref().map(|(_, code)| code.as_str());
    lines.push(Fact::ours(Weight::Agent, words::last_calls(own, code)));
    lines
}
