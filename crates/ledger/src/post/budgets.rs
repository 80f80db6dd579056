//! What entries say of budgets, and the account derived from them alone: what `verify` and `fsck` compare (P18).

use crate::{
    budget::{Account, Asking, Misfit, Notice, Report, Row, Turn},
    canonical,
    entry::{Kind, View},
    event::{EXECUTION, Verdict},
    ident::Ident,
    store::{self, Changes, Family, LogNumber, Memory, Read as _, Write},
};
use std::collections::VecDeque;

/// The rows of budgets as the entries give them, and what must follow in the log.
#[derive(Default)]
pub struct Budgets {
    rows: Memory,
    number: LogNumber,
    /// The entries that must follow beside a decision.
    awaited: VecDeque<(Kind, Vec<u8>)>,
}

impl Budgets {
    /// The rows of a log with this number.
    pub fn new(number: LogNumber) -> Self {
        Self { number, ..Self::default() }
    }

    /// Takes an entry.
    ///
    /// Errors: why it can't be at its place.
    pub fn take(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        if let Kind::BudgetWarned | Kind::BudgetExceeded = view.kind {
            let event = view.at(&["event"]).map(canonical::to_vec).unwrap_or_default();
            let awaited = self.awaited.pop_front();
            return match awaited {
                Some(awaited) if awaited == (view.kind, event) => Ok(()),
                _ => Err("it is not what the decision before it makes of its budgets"),
            };
        }
        if !self.awaited.is_empty() && view.kind != Kind::GapClosed {
            return Err("the decision before it reached a bound of a budget, and no entry says so");
        }
        if !Account::concerns(view) {
            return Ok(());
        }
        let (fits, notice, writes) = {
            let mut changes = Changes::new(&self.rows);
            let mut account = Account::new(&mut changes, self.number);
            let unreadable = |_: store::Error| "the account of its budgets can't be read";
            let fits = account.judge_view(view).map_err(unreadable)?;
            let notice = account.take_view(index, view).map_err(unreadable)?;
            (fits, notice, changes.into_writes().collect::<Vec<_>>())
        };
        self.rows.apply(writes.into_iter());
        self.awaited.extend(notice.entries(index, view));
        match fits {
            None => Ok(()),
            Some(Misfit::Window) => Err("it books in another window than that of its time"),
            Some(Misfit::Sum) => {
                Err("a budget is overspent by it, or it was refused though it fits")
            }
        }
    }

    /// Takes what posting wrote.
    pub fn apply(&mut self, writes: &[Write]) {
        let booked = writes.iter().filter(|((family, _), _)| *family == Family::Budgets);
        self.rows.apply(booked.cloned());
    }

    /// The rows.
    pub fn rows(&self) -> &Memory {
        &self.rows
    }

    /// What one budget counts now.
    pub fn row(&self, key: &[u8]) -> Option<Row> {
        let row = self.rows.get(Family::Budgets, &self.number.key(key)).ok()??;
        store::read_json(&row, "budgets").ok()
    }
}

impl Notice {
    /// The entries that follow: kind, and the bytes of `event`. `view`: the decision, the entry at `index`.
    pub fn entries(self, index: u64, view: &View<'_>) -> Vec<(Kind, Vec<u8>)> {
        let scope = view.scope();
        self.told(index, (scope.source, scope.id))
    }

    /// The same by the source and id of the decision.
    pub fn told(self, index: u64, (source, id): (&str, &str)) -> Vec<(Kind, Vec<u8>)> {
        let Self { warned, exceeded } = self;
        let all = [(Kind::BudgetWarned, warned), (Kind::BudgetExceeded, exceeded)];
        let told = all.into_iter().filter(|(_, budgets)| !budgets.is_empty());
        told.map(|(kind, budgets)| {
            let event = serde_json::json!({
                "budgets": budgets, "decision": index, "source": source, "id": id,
            });
            (kind, canonical::of(&event))
        })
        .collect()
    }
}

impl Account<'_, '_> {
    /// True if the entry may change the account.
    pub fn concerns(view: &View<'_>) -> bool {
        match view.kind {
            Kind::Decision => view.is_ours() && view.at(&["event", "data", "budgets"]).is_some(),
            Kind::Event => view.text(&["event", "type"]) == Some(EXECUTION),
            Kind::Approval | Kind::NotOpened => true,
            _ => false,
        }
    }

    fn judge_view(&self, view: &View<'_>) -> Result<Option<Misfit>, store::Error> {
        match asking(view) {
            Some(asking) => self.judge(&asking, view.origin.time),
            None => Ok(None),
        }
    }

    /// Takes what an entry says.
    pub fn take_view(&mut self, index: u64, view: &View<'_>) -> Result<Notice, store::Error> {
        let time = view.origin.time;
        let producer = view.scope().producer;
        let id = |path: &[&str]| view.text(path).and_then(|id| Ident::new(id).ok());
        match view.kind {
            Kind::Decision => {
                let Some(asking) = asking(view) else { return Ok(Notice::default()) };
                let asks = view.text(&["event", "data", "verdict"])
                    == Some(Verdict::ApprovalNeeded.as_str());
                let tenant = id(&["tenant"]).filter(|_| asks);
                let approval = tenant.map(|tenant| view.scope().approval_id(&tenant));
                return self.book(&asking, (index, time), (producer, approval.as_ref()));
            }
            Kind::Event => {
                let event = view.at(&["event"]);
                if let Some(report) = event.and_then(Report::read) {
                    self.report(&report, producer, time)?;
                }
            }
            Kind::Approval => {
                let turn = view.at(&["event"]).and_then(Turn::read);
                if let Some((turn, id)) = turn.zip(id(&["event", "approval_id"])) {
                    self.turn(&id, turn, time)?;
                }
            }
            Kind::NotOpened => {
                if let Some(id) = id(&["event", "approval_id"]) {
                    self.turn(&id, Turn::Ends, time)?;
                }
            }
            _ => {}
        }
        Ok(Notice::default())
    }
}

fn asking(view: &View<'_>) -> Option<Asking> {
    let data = view.at(&["event", "data"]).filter(|_| view.is_ours())?;
    Asking::read(data.get("budgets")?)
}
