//! Judges the newest recorded calls by a bundle that is proposed, so that reviewers see what it would have changed.

use crate::problem::{Code, Problem};
use approvals::{
    deciding::{Simulation, lists_at},
    log::Log,
    past::InLog,
    worker::Worker,
};
use decider::policy::{Bundle, Simulated, named};
use ledger::{entry::View, post};
use std::collections::BTreeMap;

/// Most calls that are judged again.
const CALLS_MAX: u64 = 1_000;
/// Most entries that are read for them.
const ENTRIES_MAX: u64 = 20_000;
/// Entries that are read at once.
const PAGE: u64 = 256;
/// Most groups that are told in words, and most entries that each names.
const GROUPS_MAX: usize = 50;
const NAMED_MAX: usize = 8;

/// What the newest calls of the log would have been. Blocks while it reads.
pub(super) fn simulated(worker: &Worker, bundle: &Bundle) -> Result<Simulation, Problem> {
    let mut judging = Judging { bundle, of: None };
    let log = worker.commands.reader_log();
    let published = worker.tenant.published();
    let (size, root) = (published.size, published.root.to_string());
    let mut found = Simulated::default();
    let (mut from, mut calls) = (size, 0);
    while from > 0 && calls < CALLS_MAX && size - from < ENTRIES_MAX {
        let to = from;
        from = to.saturating_sub(PAGE);
        let mut page = Vec::new();
        log.entries(from..to, &mut |index, entry| page.push((index, entry.to_vec())))
            .map_err(ledger::Error::from)?;
        for (index, entry) in page.into_iter().rev() {
            let taken = take(log, (index, &entry), &mut judging, &mut found)?;
            calls += u64::from(taken);
            if calls == CALLS_MAX {
                from = index;
                break;
            }
        }
    }
    let mut changed: Vec<String> = found
        .changed
        .iter()
        .take(GROUPS_MAX)
        .map(|(what, indexes)| format!("{} {what}: {}", indexes.len(), named(indexes, NAMED_MAX)))
        .collect();
    if found.changed.len() > GROUPS_MAX {
        changed.push(format!("and {} more kinds", found.changed.len() - GROUPS_MAX));
    }
    let otherwise = found.otherwise() as u64;
    let mut lists = found.lists_used(bundle, "the proposed file");
    if lists.len() > GROUPS_MAX {
        let more = lists.len() - GROUPS_MAX;
        lists.truncate(GROUPS_MAX);
        lists.push(format!("and {more} more lists"));
    }
    let (same, not_simulated) = (found.same, found.unknown);
    let to = size.saturating_sub(1);
    Ok(Simulation { calls, same, otherwise, not_simulated, changed, lists, from, to, root })
}

/// A bundle, with the lists of the call that was judged last.
struct Judging<'b> {
    bundle: &'b Bundle,
    of: Option<(BTreeMap<String, u64>, Bundle)>,
}

impl Judging<'_> {
    /// The bundle with the versions of lists that a recorded verdict names. Of every other list, the one in force counts.
    fn with(&mut self, log: &dyn Log, versions: BTreeMap<String, u64>) -> Result<&Bundle, Problem> {
        let known = self.of.take().filter(|(known, _)| *known == versions);
        let known = if let Some(known) = known {
            known
        } else {
            let unread =
                |why: String| Problem::new(Code::PolicyUnreadable, format!("Lists: {why}."));
            let lists = lists_at(log, &versions).map_err(unread)?;
            let bundle = self.bundle.clone().with_lists(&lists);
            (versions, bundle.map_err(|first| unread(first.to_string()))?)
        };
        Ok(&self.of.insert(known).1)
    }
}

/// Judges one entry, if it is a call.
fn take(
    log: &dyn Log,
    (index, entry): (u64, &[u8]),
    judging: &mut Judging<'_>,
    found: &mut Simulated,
) -> Result<bool, Problem> {
    let Some(view) = View::parse(entry).filter(Simulated::is_call) else { return Ok(false) };
    let payload = log.payload(index, entry).map_err(ledger::Error::from)?.values();
    let named = view.at(&["event", "data"]).filter(|_| view.is_ours());
    let named = named.into_iter().flat_map(post::lists_of);
    let versions = named.map(|(name, version)| (name.to_owned(), version)).collect();
    // What came before it counts as it was recorded.
    let mut past = InLog { log, as_of: index };
    let taken = found.take_after(index, &view, &payload, (judging.with(log, versions)?, &mut past));
    Ok(taken.map_err(ledger::Error::from)?.is_some())
}
