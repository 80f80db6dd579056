//! Rows of the inbox: one for each call, in sections by deadline; like calls folded, with their sum and range.

use super::{
    Stop,
    alike::{self, Alike},
    outlook,
    session::Session,
    view::{self, Moment},
};
use crate::access;
use approvals::{cards::Card, display::Piece, history::Approval};
use decider::{approval::Phase, words};
use ledger::{ident::Ident, time::Nanos};

/// Longest name of an agent in the list, in characters.
const AGENT_CHARS_MAX: usize = 64;
/// From this number on, like calls are folded.
const LIKE_MIN: usize = 5;
/// A deadline within this time is of today, in seconds.
const DAY_SECONDS: u64 = 86_400;

/// One call in the list.
pub struct Item {
    pub id: String,
    pub amount: Option<String>,
    /// The sentence beside the amount.
    pub words: Vec<Piece>,
    pub agent: String,
    pub when: Moment,
    pub phase: (&'static str, &'static str),
    /// My review.
    pub mine: Option<(&'static str, &'static str)>,
    /// Whom it waits for.
    pub waits_for: String,
    /// What others answered: `Bob Ito approved`.
    pub others: Vec<String>,
    rule: String,
    call: String,
    kind: Option<Alike>,
    /// Why calls like it are answered one by one.
    alone: Option<&'static str>,
    deadline: Nanos,
    money: Option<(i64, String)>,
    account: Option<String>,
}

/// Calls whose deadline is about as near.
pub struct Section {
    pub title: &'static str,
    pub rows: Vec<Row>,
}

/// A call, or like calls.
pub enum Row {
    One(Box<Item>),
    Like(Like),
}

impl Row {
    fn one(item: Item) -> Self {
        Self::One(Box::new(item))
    }
}

/// Calls of one tool and action, by one rule.
pub struct Like {
    /// For example `8 like calls`.
    pub count: usize,
    pub call: String,
    pub rule: String,
    /// From the smallest to the largest amount.
    pub range: String,
    pub together: String,
    /// For example `to 1 account`.
    pub accounts: String,
    /// Ids of all of them, with dots between.
    pub ids: String,
    /// Why they can't be answered together.
    pub alone: Option<&'static str>,
    pub items: Vec<Item>,
}

impl Item {
    pub fn new(session: &Session, approval: &Approval, now: Nanos) -> Result<Self, Stop> {
        let (card, _) = session.worker.cards().card(approval)?;
        let mine = approval.state.review_by(&session.person);
        let others = approval.state.reviews.iter().filter(|review| review.by != session.person);
        let said = |review: &decider::approval::Review| {
            let word = view::answer(review.decision).0.to_lowercase();
            format!("{} {word}", session.setup.name_of(&review.by))
        };
        let over = !card.phase.is_open();
        let at =
            if over { approval.state.ended_at.unwrap_or(card.deadline) } else { card.deadline };
        let Card { told, .. } = &card;
        let requested = approval.state.requested.as_deref();
        Ok(Self {
            id: approval.id.to_string(),
            words: if told.amount.is_some() { told.rest() } else { told.sentence.pieces.clone() },
            amount: told.amount.clone(),
            agent: view::short(&card.agent, AGENT_CHARS_MAX),
            when: Moment::new(at, now),
            phase: view::phase(&card),
            mine: mine.map(|review| view::answer(review.decision)),
            waits_for: outlook::waits_for(session, approval),
            others: others.map(said).collect(),
            rule: card.rule.clone(),
            call: format!(
                "{} \u{b7} {}",
                view::short(&card.tool, 64),
                view::short(&card.action, 64)
            ),
            kind: requested.map(|requested| Alike::of(requested, &card)),
            alone: requested.and_then(alike::one_by_one).or_else(|| alike::signs(session)),
            deadline: card.deadline,
            money: told.money.clone(),
            account: told.account.as_ref().map(|(_, account)| account.clone()),
        })
    }
}

/// Most rows that are marked at once.
const FATES_MAX: usize = 50;

/// What became of a call while its row was shown.
pub struct Fate {
    pub id: String,
    /// For example `Denied by Bob Ito`.
    pub words: String,
    pub tone: &'static str,
}

/// Calls that no longer wait for this person, and did when the list was made (in whole seconds).
pub async fn fates(session: &Session, made: u64) -> Result<Vec<Fate>, Stop> {
    let lists = &session.worker.lists;
    let since = |at: Nanos| at.seconds() >= made;
    let mut briefs = lists.recent();
    briefs.retain(|brief| brief.over_since.is_some_and(since));
    briefs.truncate(FATES_MAX);
    briefs.extend(lists.open().into_iter().filter(|brief| !brief.is_pending()).take(FATES_MAX));
    briefs.retain(|brief| access::page(&session.worker, &session.person, &**brief));
    let mut fates = Vec::new();
    for brief in briefs {
        let Some(approval) = session.worker.reader().get(&brief.id).await? else { continue };
        let state = &approval.state;
        let changed = state.granted_at.or(state.ended_at).is_some_and(since);
        if !changed {
            continue;
        }
        let names = |ids: &[Ident]| {
            ids.iter().map(|id| session.setup.name_of(id)).collect::<Vec<_>>().join(", ")
        };
        let (words, tone) = match state.phase {
            Phase::Denied => (format!("Denied by {}", names(&state.deniers())), "bad"),
            _ if state.granted_at.is_some_and(since) => {
                (format!("Approved by {}", names(&state.granted_by)), "good")
            }
            phase => (words::phase(phase, state.end_reason.as_deref()).to_owned(), "over"),
        };
        fates.push(Fate { id: approval.id.to_string(), words, tone });
    }
    Ok(fates)
}

/// The calls in sections, in the order of their deadlines. What ends soon is never folded.
pub fn sections(items: Vec<Item>, now: Nanos) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut parts: [(&str, Vec<Item>); 3] =
        [("Ends soon", vec![]), ("Within a day", vec![]), ("Later", vec![])];
    for item in items {
        let far = item.deadline.seconds().saturating_sub(now.seconds());
        let part = if item.when.soon {
            0
        } else if far < DAY_SECONDS {
            1
        } else {
            2
        };
        parts[part].1.push(item);
    }
    for (number, (title, items)) in parts.into_iter().enumerate() {
        let rows =
            if number == 0 { items.into_iter().map(Row::one).collect() } else { folded(items) };
        if !rows.is_empty() {
            sections.push(Section { title, rows });
        }
    }
    sections
}

/// One section without folds: what is over has no deadline.
pub fn flat(items: Vec<Item>) -> Vec<Section> {
    let rows: Vec<Row> = items.into_iter().map(Row::one).collect();
    if rows.is_empty() { Vec::new() } else { vec![Section { title: "", rows }] }
}

fn folded(items: Vec<Item>) -> Vec<Row> {
    let mut groups: Vec<Vec<Item>> = Vec::new();
    for item in items {
        let same = |group: &&mut Vec<Item>| group[0].kind == item.kind;
        match groups.iter_mut().find(same) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    let mut rows = Vec::new();
    for group in groups {
        if group.len() >= LIKE_MIN {
            rows.push(Row::Like(Like::of(group)));
        } else {
            rows.extend(group.into_iter().map(Row::one));
        }
    }
    rows
}

impl Like {
    fn of(items: Vec<Item>) -> Self {
        let money: Option<Vec<_>> = items.iter().map(|item| item.money.as_ref()).collect();
        let (sum, range) = money.and_then(|money| alike::sums(&money)).unwrap_or_default();
        let together = if sum.is_empty() { sum } else { format!("{sum} together") };
        let accounts = alike::accounts(items.iter().map(|item| item.account.as_ref()));
        let (call, rule) = (items[0].call.clone(), items[0].rule.clone());
        let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
        let (ids, alone) = (ids.join("."), items[0].alone);
        Self { count: items.len(), call, rule, range, together, accounts, ids, alone, items }
    }

    /// The first deadline.
    pub fn when(&self) -> &Moment {
        &self.items[0].when
    }
}
