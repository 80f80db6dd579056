//! The same amount to the same account once more: the same call again, or one that differs in what people read of it.

use super::{
    Before, Displayed, Earlier, Fact, Weight,
    words::{self, Compared},
};
use crate::display::{Telling, runs};
use ledger::foreign;

/// A payment: what may come twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payment {
    account: String,
    money: (i64, String),
    /// What is shown beside them.
    telling: Vec<Telling>,
}

impl Payment {
    /// The payment of a call. `None` if it has no amount or no account.
    pub(super) fn of(told: &Displayed) -> Option<Self> {
        let (_, account) = told.account.clone()?;
        Some(Self { account, money: told.money.clone()?, telling: told.telling.clone() })
    }

    /// Earlier calls of an agent, or of all others, with this amount to this account.
    fn earlier(&self, all: &[&Earlier], others: bool) -> Option<Fact> {
        let (again, other) = self.parted(all.iter().copied());
        match (again.first(), other.first()) {
            (Some(last), _) => {
                let tail = words::compared(&self.compared(last), last.reference.as_deref());
                words::repeated(&again, others).map(|fact| fact.followed_by(tail))
            }
            (None, Some(last)) => words::another(&other, others, &self.compared(last)),
            (None, None) => None,
        }
    }

    /// Calls that wait too and were made after this one, the next one first.
    pub(super) fn later(&self, all: &[Earlier]) -> Option<Fact> {
        let (again, other) = self.parted(all.iter());
        match (again.first(), other.first()) {
            (Some(next), _) => {
                let tail = words::compared(&self.compared(next), next.reference.as_deref());
                Some(words::later(&again).followed_by(tail))
            }
            (None, Some(next)) => Some(words::another_later(&other, &self.compared(next))),
            (None, None) => None,
        }
    }

    /// Calls that may be this one again, and those that differ in what people read.
    fn parted<'e>(
        &self,
        all: impl Iterator<Item = &'e Earlier>,
    ) -> (Vec<&'e Earlier>, Vec<&'e Earlier>) {
        let same =
            |one: &&Earlier| one.goes_to(&self.account) && one.money.as_ref() == Some(&self.money);
        all.filter(same).partition(|one| self.compared(one).again)
    }

    fn compared(&self, other: &Earlier) -> Compared {
        let mut found = Compared::default();
        let (mut only_times, mut has_id) = (true, false);
        for one in &self.telling {
            let then = other.telling.iter().find(|then| then.label == one.label);
            let label = one.label.clone();
            match then {
                Some(then) if then.text == one.text => {
                    has_id |= runs(&one.text).iter().any(|run| run.is_id);
                    found.same.push(label);
                }
                Some(then) if foreign::shape(&then.text) == foreign::shape(&one.text) => {
                    found.alike.push(label);
                }
                _ => {
                    only_times &= one.is_time;
                    found.differing.push(label);
                }
            }
        }
        let known = |then: &&Telling| self.telling.iter().any(|one| one.label == then.label);
        for then in other.telling.iter().filter(|then| !known(then)) {
            only_times &= then.is_time;
            found.differing.push(then.label.clone());
        }
        // An invoice that is due on another day is the same invoice; a rent of another month has no id.
        found.again = found.differing.is_empty() || (only_times && has_id);
        found
    }
}

/// Perhaps the same call twice.
pub(super) fn lines(told: &Displayed, before: Before<'_>) -> Vec<Fact> {
    let Some(pays) = Payment::of(told) else { return Vec::new() };
    let own = pays.earlier(before.own, false);
    own.into_iter().chain(pays.earlier(before.others, true)).collect()
}

impl Fact {
    fn followed_by(mut self, tail: Vec<super::Part>) -> Self {
        self.parts.extend(tail);
        self
    }

    /// The place of a later call's fact among others: before those that weigh as much.
    pub(super) fn place(&self, lines: &[Self]) -> usize {
        match self.weight {
            Weight::Warns => lines.iter().filter(|one| one.warns()).count(),
            weight => lines.iter().filter(|one| one.weight < weight).count(),
        }
    }
}
