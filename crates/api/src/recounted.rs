//! Counts again what verdicts counted of earlier decisions, from the entries before them (P15).

use decider::{
    decision::Fields,
    policy::{self, Counted, Facts, Past, Request},
};
use ledger::{
    entry::View,
    history::{Decided, Row},
    post::Histories,
    store,
};
use std::rc::Rc;

/// What came of counting again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recount {
    /// The verdict counted nothing.
    None,
    /// Every count is the same.
    Same,
    /// A count is another one.
    Other,
    /// The values of an earlier call are not here: the count is believed.
    Believed,
}

/// The decisions of a log while its entries pass by in order.
#[derive(Default)]
pub struct Recounted {
    rows: Histories,
    read: u64,
}

impl Recounted {
    /// Takes the next entry. What is wrong with its place, `verify` says.
    pub fn take(&mut self, index: u64, view: &View<'_>) {
        self.rows.take(index, view).unwrap_or_default();
        self.read = index + 1;
    }

    /// Counts again for the decision that is the next entry. `read`: the payload of an earlier one, empty if it is not
    /// disclosed.
    pub fn again<E>(
        &self,
        (index, view): (u64, &View<'_>),
        payload: &Fields,
        read: impl Fn(u64) -> Result<Rc<Fields>, E>,
    ) -> Result<Recount, E> {
        let as_of = view.at(&["event", "data", "as_of"]).and_then(ledger::json::Value::as_u64);
        let Some(as_of) = as_of.filter(|_| self.read == index) else { return Ok(Recount::None) };
        let mut before = Before { rows: &self.rows, as_of, read: &read, failed: None };
        let counted =
            policy::judged_by(view, payload, |request, facts| recount(request, facts, &mut before));
        match before.failed {
            Some(error) => Err(error),
            None => Ok(counted.unwrap_or(Recount::None)),
        }
    }
}

fn recount<P: Past>(request: &Request<'_>, facts: &Facts, past: &mut P) -> Recount {
    let mut found = Recount::None;
    for counted in &facts.history {
        let compares = !counted.query.equal.is_empty();
        let again = policy::count(counted, request, facts.now, past).ok().flatten();
        let one = match again {
            Some(again) if again == *counted => Recount::Same,
            // Values that are gone now were there then.
            Some(Counted { unknown: Some(_), .. }) if compares => Recount::Believed,
            // It is counted by the call as it came, and what came was not kept.
            _ if compares && facts.redacted.is_some() => Recount::Believed,
            // What was erased then may be disclosed here.
            _ if compares && counted.unknown == Some(policy::Unknown::Erased) => Recount::Believed,
            _ => Recount::Other,
        };
        found = match (found, one) {
            (Recount::Other, _) | (_, Recount::Other) => Recount::Other,
            (Recount::Believed, _) | (_, Recount::Believed) => Recount::Believed,
            _ => Recount::Same,
        };
    }
    found
}

struct Before<'r, R, E> {
    rows: &'r Histories,
    as_of: u64,
    read: &'r R,
    failed: Option<E>,
}

impl<E, R: Fn(u64) -> Result<Rc<Fields>, E>> Past for Before<'_, R, E> {
    type Error = store::Error;

    fn as_of(&self) -> u64 {
        self.as_of
    }

    fn earlier(
        &mut self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), store::Error> {
        self.rows.walk(row, visit)
    }

    fn fields(&mut self, index: u64) -> Result<Fields, store::Error> {
        match (self.read)(index) {
            Ok(fields) => Ok((*fields).clone()),
            Err(error) => {
                self.failed = Some(error);
                Ok(Fields::new())
            }
        }
    }
}
