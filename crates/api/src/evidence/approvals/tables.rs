//! The tables of part 3.

use super::{
    Approvals,
    call::{self, Call},
    is_unreviewed, name,
};
use crate::evidence::{Error, Out, log::Log, table::Table};
use decider::{approval::Outcome, words::together};
use ledger::{ident::Ident, time::Nanos};
use std::collections::BTreeSet;

impl Approvals {
    /// Writes the tables.
    pub fn finish(
        &mut self,
        log: &Log<'_>,
        out: &mut dyn Out,
        drawn: &BTreeSet<u64>,
    ) -> Result<(), Error> {
        let refusals = std::mem::replace(&mut self.refusals, Self::default().refusals);
        refusals.finish(out)?;
        self.write_calls(out)?;
        self.write_approvals(log, out, drawn)?;
        self.write_people(out)
    }

    fn write_calls(&self, out: &mut dyn Out) -> Result<(), Error> {
        const COLUMNS: &[&str] = &[
            "decision",
            "journal_time",
            "agent",
            "tool",
            "action",
            "approval",
            "people_asked",
            "why_not",
            "state",
            "redeemed",
            "executed_by_report",
            "executed_without_approval",
        ];
        let mut table = Table::new("approvals/elevated.csv", COLUMNS);
        for (index, call) in &self.elevated {
            let state = self.state(&call.approval);
            let permitted = self.was_permitted(call);
            let cells = [
                index.to_string(),
                call.decided_at.clone(),
                call.agent.clone(),
                call.tool.clone(),
                call.action.clone(),
                call.approval.clone(),
                yes(state.is_some()),
                call.unopened.clone().unwrap_or_default(),
                state.map(|state| name(&state.phase)).unwrap_or_default(),
                yes(permitted),
                call.executed.map(|at| at.to_string()).unwrap_or_default(),
                yes(call.executed.is_some() && !permitted),
            ];
            table.row(out, &cells.each_ref().map(String::as_str))?;
        }
        table.finish(out)
    }

    /// Who granted an approval, as far as the period shows it. Empty for none.
    pub fn approved_by(&self, id: &str) -> String {
        match self.state(id) {
            _ if id.is_empty() => String::new(),
            None => "before this period".into(),
            Some(state) if is_unreviewed(state) => "nobody: a rule asks nobody".into(),
            Some(state) => people(&state.granted_by),
        }
    }

    /// `drawn`: leaf indexes of samples, whose payload may be here although that of others is not.
    fn write_approvals(
        &self,
        log: &Log<'_>,
        out: &mut dyn Out,
        drawn: &BTreeSet<u64>,
    ) -> Result<(), Error> {
        const COLUMNS: &[&str] = &[
            "approval",
            "decision",
            "requested_at",
            "agent",
            "tool",
            "action",
            "call_digest",
            "amount",
            "currency",
            "payee",
            "params",
            "rule",
            "owners",
            "reviews",
            "granted_by",
            "granted_at",
            "tokens",
            "redeemed_at",
            "outcome",
            "state",
            "ended_at",
            "end_reason",
        ];
        let mut table = Table::new("approvals/approvals.csv", COLUMNS);
        for (id, state) in self.of_period() {
            let Some(requested) = &state.requested else { continue };
            let time = |at: Option<Nanos>| at.map(|at| at.to_string()).unwrap_or_default();
            let Call { amount, currency, payee, params } = call::read(log, requested, drawn)?;
            let reviews: Vec<String> = state
                .reviews
                .iter()
                .map(|review| {
                    let with = review.together.map(|count| format!(" ({})", together(count)));
                    let with = with.unwrap_or_default();
                    format!("{}: {}{with}", review.by, name(&review.decision))
                })
                .collect();
            let cells = [
                id.to_string(),
                requested.opening.index.to_string(),
                requested.requested_at.to_string(),
                requested.call.agent.clone(),
                requested.call.tool.clone(),
                requested.call.action.clone(),
                requested.call.digest.clone(),
                amount,
                currency,
                payee,
                params,
                requested.rule.name.clone(),
                people(&requested.owners),
                reviews.join("; "),
                people(&state.granted_by),
                time(state.granted_at),
                state.mints.to_string(),
                time(state.redeemed.as_ref().map(|redemption| redemption.at)),
                state.report.as_ref().map(|outcome: &Outcome| name(outcome)).unwrap_or_default(),
                name(&state.phase),
                time(state.ended_at),
                state.end_reason.clone().unwrap_or_default(),
            ];
            table.row(out, &cells.each_ref().map(String::as_str))?;
        }
        table.finish(out)
    }

    fn write_people(&self, out: &mut dyn Out) -> Result<(), Error> {
        const COLUMNS: &[&str] = &[
            "person",
            "answers",
            "approved",
            "denied",
            "median_seconds",
            "under_10_seconds",
            "on_the_page",
            "pages_opened",
            "answered_unseen",
            "answered_together",
            "refused",
            "own_calls_refused",
        ];
        let mut table = Table::new("approvals/people.csv", COLUMNS);
        for (id, person) in &self.people {
            let counts = [
                person.answers(),
                person.approved,
                person.denied,
                person.median().unwrap_or_default(),
                person.fast() as u64,
                person.on_page,
                person.opened.len() as u64,
                person.unseen,
                person.together,
                person.refused,
                person.own_calls,
            ];
            let counts = counts.map(|count| count.to_string());
            let mut cells = vec![id.as_str()];
            cells.extend(counts.iter().map(String::as_str));
            table.row(out, &cells)?;
        }
        table.finish(out)
    }
}

fn people(ids: &[Ident]) -> String {
    ids.iter().map(Ident::as_str).collect::<Vec<_>>().join(" ")
}

pub(in crate::evidence) fn yes(is: bool) -> String {
    if is { "yes".into() } else { "no".into() }
}
