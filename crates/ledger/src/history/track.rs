//! Keeps the rows of earlier decisions, and says whether one of them changed.

use super::{
    KEPT_SECONDS,
    named::{CallOf, Named, Same},
    rows::{Decided, Head, KEPT, Kept, Link, Row, approval_key, decided_key, get},
    said::{Outcome, Reported},
};
use crate::{
    ident::Ident,
    store::{self, Changes, Family, LogNumber},
    time::Nanos,
};
use serde::Serialize;

/// Most decisions that are forgotten with one decision, once they are too old.
const FORGOTTEN_AT_ONCE: usize = 4;

/// The rows of one log.
pub struct Track<'c, 's> {
    changes: &'c mut Changes<'s>,
    number: LogNumber,
}

impl<'c, 's> Track<'c, 's> {
    /// The rows in these changes.
    pub fn new(changes: &'c mut Changes<'s>, number: LogNumber) -> Self {
        Self { changes, number }
    }

    fn get<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, store::Error> {
        get(self.changes, self.number, key)
    }

    fn put<T: Serialize>(&mut self, key: &[u8], value: &T) {
        self.changes.put(Family::History, self.number.key(key), store::to_json(value));
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes.delete(Family::History, self.number.key(key));
    }

    /// True if a decision or a report that counts for one of these was posted since the log had `as_of` entries. `call`:
    /// that of the decision that names them.
    pub fn changed(
        &self,
        named: &[Named],
        call: &CallOf,
        as_of: u64,
    ) -> Result<bool, store::Error> {
        for named in named {
            // A call without a session or run has no history of one.
            let Some(id) = call.id(named.same) else { continue };
            for action in &named.actions {
                let (tool, action) = (named.tool.clone(), action.clone());
                let row = Row { same: named.same, id: id.to_owned(), tool, action };
                let Some(head) = self.get::<Head>(&row.key())? else { continue };
                let last = if named.outcomes.is_empty() { &head.decided } else { &head.reported };
                let since = |verdict: &String| last.get(verdict).is_some_and(|at| *at >= as_of);
                if named.verdicts.iter().any(since) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Keeps the decision of ours at `index`, which is about no tool of ours. `approval`: the one that it may open.
    pub fn decided(
        &mut self,
        (index, at): (u64, Nanos),
        (producer, call): (&str, &CallOf),
        (verdict, approval): (&str, Option<Ident>),
    ) -> Result<(), store::Error> {
        let CallOf { tool, action, .. } = call;
        let mut rows = Vec::new();
        for same in Same::ALL {
            let Some(id) = call.id(same) else { continue };
            let (id, tool, action) = (id.to_owned(), tool.clone(), action.clone());
            let row = Row { same, id, tool, action };
            let key = row.key();
            let head = self.get::<Head>(&key)?;
            let before = head.as_ref().map(|head| head.last);
            let mut head = Head { last: index, ..head.unwrap_or_default() };
            head.decided.insert(verdict.to_owned(), index);
            self.put(&key, &head);
            rows.push(Link { row, before });
        }
        if let Some(id) = &approval {
            self.put(&approval_key(id), &index);
        }
        let (verdict, producer) = (verdict.to_owned(), producer.to_owned());
        let decided = Decided { at, verdict, outcome: None, producer, rows, approval, next: None };
        self.put(&decided_key(index), &decided);
        let kept = match self.get::<Kept>(KEPT)? {
            None => Kept { first: index, last: index },
            Some(Kept { first, last }) => {
                let key = decided_key(last);
                if let Some(mut before) = self.get::<Decided>(&key)? {
                    before.next = Some(index);
                    self.put(&key, &before);
                }
                Kept { first, last: index }
            }
        };
        self.put(KEPT, &kept);
        self.forget(at)
    }

    /// Forgets decisions that no condition looks back to. The last one stays, so that the next one follows it.
    fn forget(&mut self, time: Nanos) -> Result<(), store::Error> {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(Kept { first, last }) = self.get::<Kept>(KEPT)? else { break };
            let key = decided_key(first);
            let Some(decided) = self.get::<Decided>(&key)? else { break };
            let Some(next) = decided.next else { break };
            if time <= decided.at.plus_seconds(KEPT_SECONDS) {
                break;
            }
            for link in &decided.rows {
                let key = link.row.key();
                let head = self.get::<Head>(&key)?;
                if head.is_some_and(|head| head.last == first) {
                    self.delete(&key);
                }
            }
            if let Some(id) = &decided.approval {
                self.delete(&approval_key(id));
            }
            self.delete(&key);
            self.put(KEPT, &Kept { first: next, last });
        }
        Ok(())
    }

    /// Takes what the gateway `producer` reports in the entry at `index`. The first report counts.
    pub fn reported(
        &mut self,
        report: Reported,
        producer: &str,
        index: u64,
    ) -> Result<(), store::Error> {
        let Some(decided) = self.get::<Decided>(&decided_key(report.decision))? else {
            return Ok(());
        };
        // The outcome of a call that people approved is reported to its approval.
        if decided.producer != producer || decided.approval.is_some() {
            return Ok(());
        }
        self.note(report.decision, decided, (report.outcome, index))
    }

    /// Takes the outcome that was reported to an approval in the entry at `index`.
    pub fn approved(
        &mut self,
        id: &Ident,
        outcome: Outcome,
        index: u64,
    ) -> Result<(), store::Error> {
        let Some(decision) = self.get::<u64>(&approval_key(id))? else { return Ok(()) };
        match self.get::<Decided>(&decided_key(decision))? {
            Some(decided) => self.note(decision, decided, (outcome, index)),
            None => Ok(()),
        }
    }

    fn note(
        &mut self,
        decision: u64,
        mut decided: Decided,
        outcome: (Outcome, u64),
    ) -> Result<(), store::Error> {
        if decided.outcome.is_some() {
            return Ok(());
        }
        decided.outcome = Some(outcome);
        for link in &decided.rows {
            let key = link.row.key();
            if let Some(mut head) = self.get::<Head>(&key)? {
                head.reported.insert(decided.verdict.clone(), outcome.1);
                self.put(&key, &head);
            }
        }
        self.put(&decided_key(decision), &decided);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
