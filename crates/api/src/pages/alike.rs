//! Like calls: which calls may be answered together, and in which ways they differ.

use super::{
    Stop,
    approval::Ways,
    session::Session,
    view::{self, Moment},
};
use crate::auth::NOTHING_AFTER;
use approvals::{
    cards::Card,
    display::{Field, Piece, amount},
    facts::{Fact, Facts},
    history::Approval,
};
use decider::approval::{Choice, Requested};
use ledger::{event::is_reserved_tool, ident::Ident, time::Nanos};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

/// Most values of a call that are listed although no field shows them.
const OTHERS_SHOWN: usize = 6;
/// Most characters of such a value.
const OTHER_CHARS_MAX: usize = 120;

/// Most calls that are answered together.
pub const TOGETHER_MAX: usize = decider::approval::TOGETHER_MAX as usize;

/// A call that this person may see.
pub struct Found {
    pub approval: Approval,
    pub card: Card,
}

/// The calls that this person may see, and the number of the others. What does not exist and what is not for them take
/// as long.
pub async fn found(session: &Session, ids: &[Ident]) -> Result<(Vec<Found>, usize), Stop> {
    let (asked, mut found) = (Instant::now(), Vec::new());
    for id in ids {
        let approval =
            session.worker.reader().find(id, |approval| session.may_see(approval)).await?;
        let Some(approval) = approval else { continue };
        let (card, _) = session.worker.cards().card(&approval)?;
        found.push(Found { approval, card });
    }
    let missing = ids.len() - found.len();
    if missing > 0 {
        tokio::time::sleep_until((asked + NOTHING_AFTER).into()).await;
    }
    Ok((found, missing))
}

/// What like calls have in common. Compared as it is in the log, not as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alike {
    tool: String,
    action: String,
    /// The rule, whole: a rule that was changed has another one.
    rule_digest: String,
    /// Currency of the amount.
    currency: Option<String>,
}

impl Alike {
    pub fn of(requested: &Requested, card: &Card) -> Self {
        Self {
            tool: requested.call.tool.clone(),
            action: requested.call.action.clone(),
            rule_digest: requested.rule_digest.clone(),
            currency: card.told.money.as_ref().map(|(_, code)| code.clone()),
        }
    }
}

/// Why calls of this kind are answered one by one, whoever answers.
pub fn one_by_one(requested: &Requested) -> Option<&'static str> {
    if is_reserved_tool(&requested.call.tool) {
        return Some("Changes of policies, rules and keys are answered one by one.");
    }
    if requested.rule.step_up.is_some() {
        return Some("The rule wants a recent sign-in (step_up), so each is answered by itself.");
    }
    let alone = requested.rule.one_by_one;
    alone.then_some("The rule says that each is answered by itself (one_by_one).")
}

/// Why the answers of this session are given one by one.
pub fn signs(session: &Session) -> Option<&'static str> {
    let why = "You signed in with a passkey. It signs each answer by itself, so each is answered on its own page.";
    session.passkey.then_some(why)
}

/// Why this person can't answer a call together with others, now and in this way. `None` if they can.
pub fn alone(
    session: &Session,
    approval: &Approval,
    card: &Card,
    decision: Choice,
) -> Option<String> {
    let Some(requested) = approval.state.requested.as_deref() else {
        return Some("It has no request.".into());
    };
    if let Some(why) = one_by_one(requested) {
        return Some(why.into());
    }
    let ways = Ways::of(session, approval, card);
    // A person who approved and now denies reads the call again on its own page.
    if !(ways.approve && ways.deny) {
        let answered = approval.state.review_by(&session.person);
        let mine =
            answered.map(|review| format!("{} by you already.", view::answer(review.decision).0));
        return Some(mine.unwrap_or_else(|| ways.why.into()));
    }
    if decision == Choice::Approve && card.frozen {
        return Some("It is frozen.".into());
    }
    card.policy_now.clone().filter(|_| decision == Choice::Approve)
}

/// One of like calls, as it is listed.
pub struct Line {
    pub id: String,
    /// Id, digest and version as the form sends them.
    pub sent: String,
    pub amount: Option<String>,
    pub words: Vec<Piece>,
    /// Fields that are not the same in all calls.
    pub fields: Vec<Field>,
    /// Further values that are not the same in all calls: pointer and value.
    pub others: Vec<(String, String)>,
    /// Number of such values that are not listed.
    pub more: usize,
    /// Agent and its owner, unless they are the same in all calls.
    pub agent: Option<(String, Option<String>)>,
    pub when: Moment,
    /// What others answered, and for whom it waits, unless that is the same in all calls.
    pub waits_for: Option<String>,
    /// What the log says of earlier calls, and warns of.
    pub warnings: Vec<Fact>,
    /// What it says of this call without a warning.
    pub known: Vec<Fact>,
    /// True if another call in the list has the same amount, account and sentence.
    pub twice: bool,
    /// Number of all values of the call.
    pub values: String,
}

/// What is read of one call before the list is made.
pub struct Read {
    pub card: Card,
    pub whose: Option<String>,
    pub waits_for: String,
    pub facts: Facts,
}

/// Like calls, and what they have in common.
pub struct Together {
    pub lines: Vec<Line>,
    /// Fields that are the same in all calls.
    pub same: Vec<Field>,
    /// The agent and its owner, if all calls are of one.
    pub agent: Option<(String, Option<String>)>,
    /// Number of agents.
    pub agents: usize,
    /// For whom each waits, if that is the same.
    pub waits_for: Option<String>,
    pub call: (String, String),
    pub rule: String,
    /// Sum and range of the amounts, if all have one.
    pub sums: Option<(String, String)>,
    /// For example `to 3 accounts`.
    pub accounts: String,
}

impl Together {
    /// Lists calls that are alike. There is at least one.
    pub fn of(all: &[Read], now: Nanos) -> Option<Self> {
        let first = &all.first()?.card;
        let agent = |one: &Read| (one.card.agent.clone(), one.whose.clone());
        let agents: BTreeSet<_> = all.iter().map(|one| one.card.agent.clone()).collect();
        let one_agent = all.iter().all(|one| agent(one) == agent(&all[0]));
        let one_wait = all.iter().all(|one| one.waits_for == all[0].waits_for);
        let same: Vec<Field> =
            first.told.fields.iter().filter(|field| in_all(all, field)).cloned().collect();
        let differing = differing(all);
        let key = |one: &Read| {
            let told = &one.card.told;
            (told.sentence.clone(), told.amount.clone(), told.account.clone())
        };
        let lines = all.iter().map(|one| {
            let Card { told, .. } = &one.card;
            let untold = others(&one.card, &differing);
            let (warnings, own) = (one.facts.warnings(), one.facts.own());
            Line {
                id: one.card.approval.to_string(),
                sent: format!("{}~{}~{}", one.card.approval, one.card.digest, one.card.version),
                words: if told.amount.is_some() {
                    told.rest()
                } else {
                    told.sentence.pieces.clone()
                },
                amount: told.amount.clone(),
                fields: told.fields.iter().filter(|field| !same.contains(field)).cloned().collect(),
                more: untold.len().saturating_sub(OTHERS_SHOWN),
                others: untold.into_iter().take(OTHERS_SHOWN).collect(),
                agent: (!one_agent).then(|| agent(one)),
                when: Moment::new(one.card.deadline, now),
                waits_for: (!one_wait).then(|| one.waits_for.clone()),
                warnings: one.facts.lines[..warnings].to_vec(),
                known: one.facts.lines[warnings..own].to_vec(),
                twice: all.iter().filter(|other| key(other) == key(one)).count() > 1,
                values: told.all_words(),
            }
        });
        let lines = lines.collect();
        let money: Option<Vec<_>> = all.iter().map(|one| one.card.told.money.as_ref()).collect();
        Some(Self {
            lines,
            same,
            agent: one_agent.then(|| agent(&all[0])),
            agents: agents.len(),
            waits_for: one_wait.then(|| all[0].waits_for.clone()),
            call: (first.tool.clone(), first.action.clone()),
            rule: first.rule.clone(),
            sums: money.and_then(|money| sums(&money)),
            accounts: accounts(
                all.iter().map(|one| one.card.told.account.as_ref().map(|(_, text)| text)),
            ),
        })
    }
}

fn in_all(all: &[Read], field: &Field) -> bool {
    all.iter().all(|one| one.card.told.fields.contains(field))
}

/// Pointers of values that neither sentence nor fields show, and that are not the same in all calls.
fn differing(all: &[Read]) -> BTreeSet<String> {
    let mut values: BTreeMap<&str, (Option<&str>, usize)> = BTreeMap::new();
    for one in all {
        for (pointer, value) in untold(&one.card) {
            let known = values.entry(pointer).or_insert((Some(value), 0));
            known.0 = known.0.filter(|other| *other == value);
            known.1 += 1;
        }
    }
    let differs = |(same, count): &(Option<&str>, usize)| same.is_none() || *count < all.len();
    values
        .iter()
        .filter(|(_, found)| differs(found))
        .map(|(pointer, _)| (*pointer).to_owned())
        .collect()
}

/// The values of a call that neither its sentence nor its fields show.
fn untold(card: &Card) -> impl Iterator<Item = (&str, &str)> {
    let rows = card.params.iter().map(|(pointer, value)| (pointer.as_str(), value.as_str()));
    rows.filter(|(pointer, _)| card.told.untold.contains(*pointer))
}

fn others(card: &Card, differing: &BTreeSet<String>) -> Vec<(String, String)> {
    let row =
        |(pointer, value): (&str, &str)| (pointer.to_owned(), view::short(value, OTHER_CHARS_MAX));
    untold(card).filter(|(pointer, _)| differing.contains(*pointer)).map(row).collect()
}

/// `to 3 accounts`. Empty unless all calls have one.
pub fn accounts<'a>(all: impl Iterator<Item = Option<&'a String>>) -> String {
    let accounts: Option<BTreeSet<&String>> = all.collect();
    match accounts.map(|all| all.len()) {
        None | Some(0) => String::new(),
        Some(1) => "to 1 account".into(),
        Some(more) => format!("to {more} accounts"),
    }
}

/// Sum and range of amounts. `None` unless they are of one currency.
pub fn sums(all: &[&(i64, String)]) -> Option<(String, String)> {
    let code = &all.first()?.1;
    if all.iter().any(|(_, other)| other != code) {
        return None;
    }
    let sum = all.iter().try_fold(0_i64, |sum, (minor, _)| sum.checked_add(*minor))?;
    let amount = |minor: i64| amount(minor, code);
    let (least, most) = (all.iter().map(|m| m.0).min()?, all.iter().map(|m| m.0).max()?);
    let range = if least == most {
        amount(least)?
    } else {
        format!("{} to {}", amount(least)?, amount(most)?)
    };
    Some((amount(sum)?, range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(all: &[(i64, &str)], found: Option<(&str, &str)>) {
        let all: Vec<(i64, String)> =
            all.iter().map(|(n, code)| (*n, (*code).to_owned())).collect();
        let made = sums(&all.iter().collect::<Vec<_>>());
        assert_eq!(made.as_ref().map(|(sum, range)| (sum.as_str(), range.as_str())), found);
    }

    #[test]
    fn sums_are_of_one_currency_and_never_wrap() {
        check(&[(1000, "EUR"), (250, "EUR")], Some(("EUR 12.50", "EUR 2.50 to EUR 10.00")));
        check(&[(1000, "JPY"), (1000, "JPY")], Some(("JPY 2,000", "JPY 1,000")));
        check(&[(1000, "EUR"), (1000, "JPY")], None);
        check(&[(i64::MAX, "EUR"), (1, "EUR")], None);
        check(&[], None);
    }
}
