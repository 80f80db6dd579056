//! What the entries so far say of alerts: each fits at its place, that of a clause is about a decision whose clause raises
//! it, and none of those before what the last one shows is missing (P19).

use crate::{
    entry::{Kind, View},
    event::Alerting,
    post,
    system::alert::{AlertBody, AlertRule, Alerts},
};
use std::collections::VecDeque;

/// The alerts so far, and those that must follow.
#[derive(Default)]
pub(super) struct OfAlerts {
    alerts: Alerts,
    /// What clauses of decisions and reports raise, by leaf index, and no alert has told yet.
    due: VecDeque<(u64, Alerting)>,
}

impl OfAlerts {
    /// Takes the next entry.
    pub(super) fn take(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        if view.is_ours() || view.is_result() {
            let alerting = view.at(&["event", "data"]).map(Alerting::of).unwrap_or_default();
            self.due.extend(alerting.into_iter().map(|one| (index, one)));
        }
        if view.kind != Kind::Alert {
            return Ok(());
        }
        if let Some(AlertBody::Raise(raise)) = view.event_as() {
            if raise.rule == AlertRule::Clause {
                let due = self.due.pop_front();
                let named = Alerting { clause: raise.clause.unwrap_or_default(), name: raise.name };
                if due != Some((raise.at.index, named)) {
                    return Err("no clause raises this alert, or one before it is missing");
                }
            } else if self.due.front().is_some_and(|(of, _)| *of <= raise.at.index) {
                return Err("an alert of a clause before it is missing");
            }
        }
        let fits = post::note_alert(&mut self.alerts, index, view);
        if fits { Ok(()) } else { Err("not an alert that can be here, or it closes none") }
    }
}
