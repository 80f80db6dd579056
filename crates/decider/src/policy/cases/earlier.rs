//! What a test says was decided before its call.

use crate::{
    decision::Fields,
    policy::{
        fields::{MapReader, text_of},
        history::{Past, seconds},
        mistakes::Mistakes,
        request::Request,
        yaml::Node,
    },
};
use ledger::{
    canonical,
    history::{Decided, Outcome, Row},
    time::Nanos,
};
use std::{collections::BTreeMap, convert::Infallible};

/// Most earlier decisions of one test.
const EARLIER_MAX: usize = 1_000;

/// The decisions before the call of a test, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Earlier(Vec<(Request<'static>, Decided)>);

/// An earlier decision, as the file says it: its call, by its name or changed, and what became of it.
pub(super) struct Said {
    pub(super) call: (String, crate::policy::mistakes::Place),
    pub(super) with: Option<MapChange>,
    ago: u64,
    verdict: String,
    outcome: Option<Outcome>,
}

/// The changes of a call: pointers and new values.
pub(super) type MapChange = Vec<(String, crate::policy::mistakes::Place, Node)>;

/// `history: [{call: pay, ago: 5m, verdict: allow}]`
pub(super) fn read(fields: &mut MapReader<'_>, mistakes: &Mistakes<'_>) -> Vec<Said> {
    let at = fields.at;
    let nodes = fields.list("history").unwrap_or_default();
    if nodes.len() > EARLIER_MAX {
        fields.wrong(at, format!("history: at most {EARLIER_MAX} earlier decisions"));
    }
    nodes.into_iter().filter_map(|node| one(node, mistakes)).collect()
}

fn one(node: Node, mistakes: &Mistakes<'_>) -> Option<Said> {
    let mut fields = MapReader::of(node, "an earlier decision", mistakes)?;
    let call = fields.must("call", "the name of one of `calls`");
    let call = call.and_then(|node| text_of(node, "call", mistakes));
    let with = fields.fields("with").map(|mut with| with.rest());
    let ago = fields.must("ago", "how long before the call, for example 5m");
    let ago = ago.and_then(|node| text_of(node, "ago", mistakes)).and_then(|(text, at)| {
        let found = seconds(&text);
        if found.is_none() {
            mistakes.note(at, format!("ago {text:?}: write a number with s, m, h or d"));
        }
        found
    });
    let verdict = super::verdict(&mut fields, "verdict").map(|verdict| verdict.as_str().to_owned());
    if verdict.is_none() {
        fields.wrong(fields.at, "add verdict: allow, sanitize, approval_needed or deny");
    }
    let outcome = fields.text("outcome").and_then(|(text, at)| {
        let found = Outcome::of(&text);
        if found.is_none() {
            mistakes.note(
                at,
                format!("{text:?}: outcome is succeeded, failed, not_started or unknown"),
            );
        }
        found
    });
    fields.finish();
    Some(Said { call: call?, with, ago: ago?, verdict: verdict?, outcome })
}

impl Earlier {
    /// Adds a decision. `now`: the time of the test's call.
    pub(super) fn add(&mut self, said: &Said, request: Request<'static>, now: Nanos) {
        let at = Nanos(now.0.saturating_sub(Nanos::default().plus_seconds(said.ago).0));
        self.0.push((request, Decided::alone(at, &said.verdict, said.outcome)));
    }

    /// Puts them in order.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|(_, decided)| decided.at);
    }
}

impl Past for Earlier {
    type Error = Infallible;

    fn as_of(&self) -> u64 {
        self.0.len() as u64
    }

    fn earlier(
        &mut self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), Infallible> {
        for (index, (request, decided)) in self.0.iter().enumerate().rev() {
            let call = crate::policy::history::call_of(request);
            let is_there = call.id(row.same) == Some(&row.id)
                && (&call.tool, &call.action) == (&row.tool, &row.action);
            if is_there && !visit(index as u64, decided) {
                break;
            }
        }
        Ok(())
    }

    fn fields(&mut self, index: u64) -> Result<Fields, Infallible> {
        let at = usize::try_from(index).ok().and_then(|index| self.0.get(index));
        let fields = at.map(|(request, _)| {
            let params = canonical::to_vec(&request.params);
            BTreeMap::from([
                ("params".to_owned(), params),
                ("/data/facts".to_owned(), b"{}".to_vec()),
            ])
        });
        Ok(fields.unwrap_or_default())
    }
}
