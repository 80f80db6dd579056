//! What an approval still needs, and what comes after a yes and after a no, in words for one person.

use super::{
    session::Session,
    view::{self, span},
};
use approvals::{
    history::Approval,
    setup::{Person, Setup},
};
use decider::{
    approval::{Phase, Requested, State},
    quorum::People,
};
use ledger::{foreign::harmless, ident::Ident};

/// Most names of a group that are shown.
const NAMES_MAX: usize = 2;

/// What this person reads of the way ahead.
#[derive(Default)]
pub struct Outlook {
    /// For example `you and 1 of security`. Empty unless people are asked.
    pub waits_for: String,
    /// Groups that are asked and that the person is in.
    pub mine: String,
    /// The groups that are asked.
    pub groups: Vec<Group>,
    /// What a yes of this person leads to.
    pub after_yes: String,
    /// What a no of this person leads to.
    pub after_no: String,
}

/// A group that is asked.
pub struct Group {
    /// Its name.
    pub name: String,
    /// Some of its people; this person first, then those who answered.
    pub people: Vec<Member>,
    /// Number of those that are not listed.
    pub more: usize,
}

/// Somebody who is asked.
pub struct Member {
    /// Name.
    pub name: String,
    /// True for this person.
    pub you: bool,
    /// What they answered, in words, and its colour.
    pub answer: Option<(&'static str, &'static str)>,
}

impl Member {
    /// A sign beside the name of somebody who answered.
    pub fn mark(&self) -> &'static str {
        match self.answer {
            Some((_, "good")) => "✓",
            Some(_) => "✗",
            None => "",
        }
    }
}

impl Outlook {
    /// The way ahead of an approval.
    pub fn of(session: &Session, approval: &Approval) -> Self {
        let state = &approval.state;
        let Some(requested) = state.requested.as_deref() else { return Self::default() };
        let (setup, person) = (&*session.setup, &session.person);
        let quorum = &requested.rule.quorum;
        let groups = quorum.groups().into_iter().map(|group| {
            let asked = setup.people.values().filter(|one| is_asked(one, requested, group));
            Group::of(group, asked.collect(), (state, person))
        });
        let groups = groups.collect();
        let own = setup.people.get(person).map(|one| &one.groups);
        let mine = quorum.groups().into_iter().filter(|g| own.is_some_and(|own| own.contains(*g)));
        let mine = mine.map(harmless).collect::<Vec<_>>().join(" and ");
        if state.phase != Phase::Pending {
            return Self { mine, groups, ..Self::default() };
        }
        let then = with(setup, person, state, requested);
        Self {
            waits_for: waits_for(session, approval),
            mine,
            groups,
            after_yes: after_yes(&then, requested),
            after_no: after_no(state, requested),
        }
    }
}

impl Group {
    fn of(name: &str, mut asked: Vec<&Person>, (state, person): (&State, &Ident)) -> Self {
        let answer = |id: &Ident| state.review_by(id).map(|review| review.decision);
        asked.sort_by_key(|one| (one.id != *person, answer(&one.id).is_none(), one.id.clone()));
        let member = |one: &&Person| Member {
            name: harmless(&one.name),
            you: one.id == *person,
            answer: answer(&one.id).map(view::answer),
        };
        let people: Vec<Member> = asked.iter().take(NAMES_MAX).map(member).collect();
        let more = asked.len() - people.len();
        Self { name: harmless(name), people, more }
    }
}

fn is_asked(one: &Person, requested: &Requested, group: &str) -> bool {
    !one.disabled
        && one.groups.contains(group)
        && !requested.owners.contains(&one.id)
        && !one.owns.contains(&requested.call.agent)
}

/// Who is needed beside those who approved and this person.
fn with(setup: &Setup, person: &Ident, state: &State, requested: &Requested) -> Vec<String> {
    let mut approvers: People = state.approvers();
    if let Some(known) = setup.people.get(person) {
        approvers.insert(person.clone(), known.groups.clone());
    }
    rest(&requested.rule.quorum.needed(&approvers))
}

fn rest(needed: &[(u32, String)]) -> Vec<String> {
    needed.iter().map(|(count, group)| format!("{count} of {}", harmless(group))).collect()
}

/// Whom an approval waits for, as this person reads it: `for you and 1 of security`. Empty unless people are asked.
pub fn waits_for(session: &Session, approval: &Approval) -> String {
    let (state, person) = (&approval.state, &session.person);
    let pending = state.requested.as_deref().filter(|_| state.phase == Phase::Pending);
    let Some(requested) = pending else { return String::new() };
    let now = rest(&state.needed());
    let may =
        session.worker.lists.may_review(person, approval) && state.review_by(person).is_none();
    if !may {
        return format!("for {}", now.join(" and "));
    }
    let then = with(&session.setup, person, state, requested);
    match (then.is_empty(), state.reviews.is_empty()) {
        (true, true) => "for your answer".into(),
        (true, false) => "for you: your yes decides".into(),
        _ if then == now => format!("for {}", now.join(" and ")),
        _ => format!("for you and {}", then.join(" and ")),
    }
}

fn after_yes(then: &[String], requested: &Requested) -> String {
    let time = span(requested.rule.execute_within);
    let granted = format!("the agent has {time} to do exactly this, once");
    if then.is_empty() {
        return format!("{granted}.");
    }
    format!("{} must approve too. Then {granted}.", then.join(" and "))
}

fn after_no(state: &State, requested: &Requested) -> String {
    let before = u32::try_from(state.deniers().len()).unwrap_or(u32::MAX);
    match requested.rule.deny.saturating_sub(before.saturating_add(1)) {
        0 => "nothing is done.".into(),
        1 => "one more no ends it. Others can still approve.".into(),
        more => format!("{more} more would end it. Others can still approve."),
    }
}
