//! One attempt at several questions: what all of them are judged by, and which may be recorded at once.

use super::{
    Desk, Loaded, NotDecided, Open, TRIES_MAX,
    proven::Seen,
    stock::{Shelf, Taken},
};
use crate::past::InLog;
use decider::policy::{CONTENDED, Facts, Inquiry, NO_POLICY, Ruling, Tokens};
use ledger::{history::CallOf, ident::Ident, post::Freezes, time::Nanos};
use std::{collections::BTreeMap, sync::Arc};

/// What the questions of one attempt are judged by.
pub(super) struct Round<'r> {
    /// Number of entries that are read: what is posted after them, posting compares.
    pub(super) as_of: u64,
    /// The bundle in force.
    pub(super) loaded: Option<&'r Loaded>,
    /// The facts that it needs.
    pub(super) facts: Facts,
    /// The facts of a denial that no bundle gives.
    bare: Facts,
    freezes: Arc<Freezes>,
}

impl Desk {
    /// The present moment. `journal`: the journal's time, if it is known to differ.
    pub(super) fn round<'r>(
        &self,
        loaded: Option<&'r Loaded>,
        as_of: u64,
        journal: Option<Nanos>,
    ) -> Round<'r> {
        let now = self.readiness.clocks.now();
        let tokens = Tokens::Keyed(self.log.redaction_key());
        let bare = Facts { now, tokens, ..Facts::default() };
        let facts = match loaded {
            None => bare.clone(),
            Some(loaded) => {
                let facts = loaded.bundle.facts_in(now, journal.unwrap_or(now), false);
                Facts { tokens: bare.tokens.clone(), ..facts }
            }
        };
        Round { as_of, loaded, facts, bare, freezes: self.log.freezes() }
    }

    /// Judges the questions that are left. `seen`: what is proven of some; `tries`: how often each was void.
    pub(super) fn judge_each<'q, 'a>(
        &self,
        (producer, inquiries, seen): (&Ident, &'q [Inquiry<'a>], &'q BTreeMap<usize, Seen<'a>>),
        left: &[usize],
        round: &Round<'_>,
        (tries, taken): (&[usize], &mut Taken),
    ) -> Result<Vec<Open<'q, 'a>>, NotDecided> {
        let Round { as_of, loaded, facts, bare, freezes } = round;
        let past = InLog { log: &*self.log, as_of: *as_of };
        let there = (past, self.readiness.clocks.since_boot());
        let mut supply = Shelf::new(there, &self.buckets, taken);
        let judge = |at: &usize| {
            let seen = seen.get(at);
            let inquiry = seen.map_or(&inquiries[*at], |seen| &seen.question);
            let facts = seen.map_or(facts, |seen| &seen.facts);
            if tries[*at] == TRIES_MAX {
                let contended = Err(Ruling::denial(CONTENDED));
                return self.judge((*at, inquiry), (contended, bare), &mut supply);
            }
            let frozen = freezes.stopping(&inquiry.acting(producer)).map(|(index, _)| index);
            let by = match frozen {
                Some(index) => Err(Ruling::frozen(index)),
                None => loaded.ok_or_else(|| Ruling::denial(NO_POLICY)),
            };
            self.judge((*at, inquiry), (by, facts), &mut supply)
        };
        left.iter().map(judge).collect()
    }
}

/// How many of these may be recorded at once: up to the first whose conditions count one before it.
pub(super) fn together(open: &[Open<'_, '_>]) -> usize {
    let counts = |at: &usize| {
        let (mine, before) = (&open[*at], &open[..*at]);
        let call = mine.inquiry.call_of();
        let of = |one: &Open<'_, '_>| (one.inquiry.call_of(), one.ruling.verdict.as_str());
        let history = &mine.ruling.history;
        let counted = |other: &(CallOf, &str)| history.iter().any(|h| h.counts(&call, other));
        !history.is_empty() && before.iter().map(of).any(|other| counted(&other))
    };
    (1..open.len()).find(counts).unwrap_or(open.len())
}
