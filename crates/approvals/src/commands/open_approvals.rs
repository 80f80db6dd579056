//! Approvals in memory: those that are open with their timers, those that ended recently, and recent denials.

use super::brief::{Brief, Briefs};
use crate::history::Approval;
use decider::approval::{Phase, Requested, next_tick};
use ledger::{event::is_reserved_tool, ident::Ident, time::Nanos};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Most approvals kept after their end.
pub const RECENT_MAX: usize = 1_000;
/// Most pending approvals of one agent, so that an agent can't flood people. Of changes of the server: of the same
/// authors.
pub const PENDING_PER_AGENT_MAX: usize = 20;
/// Most pending approvals of one tenant.
pub const PENDING_MAX: usize = 100_000;
/// Why nobody is asked during the [`COOL_DOWN`].
pub(super) const COOLING_DOWN: &str = "cooling_down";
/// After a denial, the time in which the same agent is not asked about the same tool and action again.
pub const COOL_DOWN: Duration = Duration::from_secs(600);

/// Agent, tool and action.
type Kind = (String, String, String);

/// Approvals in memory.
#[derive(Default)]
pub struct OpenApprovals {
    /// Approvals that are not over.
    open: BTreeMap<Ident, Open>,
    /// Approvals that ended recently, oldest first.
    ended: VecDeque<Ident>,
    /// The ended approvals by id.
    recent: HashMap<Ident, Arc<Brief>>,
    briefs: Briefs,
    /// Approvals that are pending or are being opened, by [`holder`]: at most [`PENDING_PER_AGENT_MAX`] each.
    pending: HashMap<Box<str>, Vec<Ident>>,
    pending_count: usize,
    /// Time of the last denial of each kind of call.
    refused: HashMap<Kind, Nanos>,
    /// Time at which each open approval must be checked.
    ticks: BTreeSet<(Nanos, Ident)>,
    /// True once the log was read to its end.
    pub caught_up: bool,
    /// Entries before this leaf index have been read.
    pub followed: u64,
}

/// Whose pending approvals are counted together: those of one agent. Changes of policies, rules and keys are all calls
/// of the server's own agent: there, those that the same people wrote, so that nobody stops the changes of others.
fn holder(requested: &Requested) -> String {
    let Requested { call, owners, .. } = requested;
    if !is_reserved_tool(&call.tool) {
        return call.agent.clone();
    }
    // No id of an agent has a line break.
    owners.iter().fold(call.agent.clone(), |holder, owner| format!("{holder}\n{owner}"))
}

/// An approval that is not over.
struct Open {
    brief: Arc<Brief>,
    /// Time at which it must be checked.
    due: Option<Nanos>,
}

/// What is stored for a restart. All of it follows from the log.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    /// Entries before this leaf index have been read.
    pub cursor: u64,
    /// Open approvals, each with the leaf index of its last entry.
    pub open: Vec<(Ident, u64)>,
    /// Approvals that ended recently, each with the leaf index of its last entry.
    pub recent: Vec<(Ident, u64)>,
    refused: Vec<(Kind, u64)>,
}

impl OpenApprovals {
    /// Stores an approval unless a newer version is known. Returns true if it was new.
    pub fn put(&mut self, approval: &Approval) -> bool {
        if self.knows(&approval.id, approval.state.n) {
            return false;
        }
        let Some(requested) = approval.state.requested.as_deref() else { return false };
        let Some(brief) = self.briefs.of(approval).map(Arc::new) else { return false };
        let id = approval.id.clone();
        let pending = approval.state.phase == Phase::Pending;
        self.set_pending(&holder(requested), &id, pending);
        if approval.state.phase == Phase::Denied {
            let call = &requested.call;
            let kind = (call.agent.clone(), call.tool.clone(), call.action.clone());
            let at = approval.state.ended_at.unwrap_or_default();
            let last = self.refused.entry(kind).or_default();
            *last = at.max(*last);
        }
        if brief.over_since.is_some() {
            self.set_due(&id, None);
            self.open.remove(&id);
            // A late report changes an approval after its end; it keeps its place in the list.
            if self.recent.insert(id.clone(), brief).is_none() {
                self.ended.push_back(id);
            }
            if self.ended.len() > RECENT_MAX
                && let Some(oldest) = self.ended.pop_front()
            {
                self.recent.remove(&oldest);
            }
        } else {
            self.set_due(&id, None);
            self.open.insert(id.clone(), Open { brief, due: None });
            self.set_due(&id, next_tick(&approval.state));
        }
        true
    }

    /// True if this message of the approval, or a newer one, is known.
    pub fn knows(&self, id: &Ident, n: u64) -> bool {
        self.find(id).is_some_and(|approval| approval.n >= n)
    }

    /// An approval that is open or ended recently.
    pub fn find(&self, id: &Ident) -> Option<&Arc<Brief>> {
        self.get(id).or_else(|| self.recent.get(id))
    }

    fn set_pending(&mut self, agent: &str, id: &Ident, pending: bool) {
        let ids = self.pending.entry(agent.into()).or_default();
        let place = ids.iter().position(|known| known == id);
        let changed = place.is_some() != pending;
        match place {
            Some(place) if !pending => drop(ids.swap_remove(place)),
            None if pending => ids.push(id.clone()),
            Some(_) | None => {}
        }
        if ids.is_empty() {
            self.pending.remove(agent);
        }
        match (changed, pending) {
            (true, true) => self.pending_count += 1,
            (true, false) => self.pending_count -= 1,
            (false, _) => {}
        }
    }

    /// Sets the time at which an approval must be checked, unless it is over.
    pub fn set_due(&mut self, id: &Ident, at: Option<Nanos>) {
        let Some(open) = self.open.get_mut(id) else { return };
        if let Some(before) = open.due {
            self.ticks.remove(&(before, id.clone()));
        }
        open.due = at;
        if let Some(at) = at {
            self.ticks.insert((at, open.brief.id.clone()));
        }
    }

    /// Makes every open approval due now. Returns their ids, and those of approvals that ended recently.
    pub fn all_due(&mut self, now: Nanos) -> Vec<Ident> {
        let mut ids: Vec<Ident> = self.open.keys().cloned().collect();
        for id in &ids {
            self.set_due(id, Some(now));
        }
        ids.extend(self.ended.iter().cloned());
        ids
    }

    /// Takes the approvals that are due by `now`, at most `max`. They are no longer due.
    pub fn take_due(&mut self, now: Nanos, max: usize) -> Vec<Ident> {
        let due: Vec<Ident> = self
            .ticks
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(max)
            .map(|t| t.1.clone())
            .collect();
        for id in &due {
            self.set_due(id, None);
        }
        due
    }

    /// Time of the next check.
    pub fn next_due(&self) -> Option<Nanos> {
        self.ticks.first().map(|(at, _)| *at)
    }

    /// Reserves a place for an approval that is being opened. Refuses if a limit is reached.
    pub fn reserve(
        &mut self,
        id: &Ident,
        requested: &Requested,
        now: Nanos,
    ) -> Result<(), &'static str> {
        let call = &requested.call;
        let kind = (call.agent.clone(), call.tool.clone(), call.action.clone());
        let cool = u64::try_from(COOL_DOWN.as_nanos()).unwrap_or(u64::MAX);
        self.refused.retain(|_, at| now.0.saturating_sub(at.0) < cool);
        if self.refused.contains_key(&kind) {
            return Err(COOLING_DOWN);
        }
        // It may hold a place already: both the publisher's request and the follower see the same decision.
        let others = |ids: &Vec<Ident>| ids.len() - usize::from(ids.contains(id));
        let holder = holder(requested);
        let of_agent = self.pending.get(&*holder).map_or(0, others);
        if of_agent >= PENDING_PER_AGENT_MAX || self.pending_count >= PENDING_MAX {
            return Err("too_many");
        }
        self.set_pending(&holder, id, true);
        Ok(())
    }

    /// Returns a reserved place that was not used.
    pub fn release(&mut self, id: &Ident, requested: &Requested) {
        if !self.open.contains_key(id) {
            self.set_pending(&holder(requested), id, false);
        }
    }

    /// Number of pending approvals.
    pub fn pending(&self) -> usize {
        self.pending_count
    }

    /// The open approval of the decision at a leaf index.
    pub fn by_opening(&self, index: u64) -> Option<&Arc<Brief>> {
        self.briefs().find(|approval| approval.opening == index)
    }

    fn briefs(&self) -> impl Iterator<Item = &Arc<Brief>> {
        self.open.values().map(|open| &open.brief)
    }

    /// The approval whose valid token has this id.
    pub fn with_token(&self, jti: &str) -> Option<Ident> {
        let lives = |a: &Brief| a.phase == Phase::Minted && a.jti.as_deref() == Some(jti);
        self.briefs().find(|approval| lives(approval)).map(|approval| approval.id.clone())
    }

    /// An open approval.
    pub fn get(&self, id: &Ident) -> Option<&Arc<Brief>> {
        self.open.get(id).map(|open| &open.brief)
    }

    /// Approvals that ended recently, the last one first, then by id.
    pub fn recent(&self) -> Vec<Arc<Brief>> {
        let mut recent: Vec<_> = self.recent.values().cloned().collect();
        recent
            .sort_unstable_by(|a, b| b.over_since.cmp(&a.over_since).then_with(|| a.id.cmp(&b.id)));
        recent
    }

    /// The open approvals that `wanted` selects, by approval deadline, then id.
    pub fn by_deadline(&self, wanted: impl Fn(&Brief) -> bool) -> Vec<Arc<Brief>> {
        let mut open: Vec<_> = self.briefs().filter(|approval| wanted(approval)).cloned().collect();
        open.sort_unstable_by(|a, b| a.deadline.cmp(&b.deadline).then_with(|| a.id.cmp(&b.id)));
        open
    }

    /// The smallest journal sequence of an open approval.
    pub fn first_seq(&self) -> Option<u64> {
        self.briefs().map(|approval| approval.first_seq).min()
    }

    /// The smallest leaf index of the decision of an open approval.
    pub fn first_opening(&self) -> Option<u64> {
        self.briefs().map(|approval| approval.opening).min()
    }

    /// What to store for a restart.
    pub fn snapshot(&self, cursor: u64) -> Snapshot {
        Snapshot {
            cursor,
            open: self.briefs().map(|a| (a.id.clone(), a.last)).collect(),
            recent: self.recent().iter().rev().map(|a| (a.id.clone(), a.last)).collect(),
            refused: self.refused.iter().map(|(kind, at)| (kind.clone(), at.0)).collect(),
        }
    }

    /// Restores the part of a snapshot that is not read from the ledger.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let refused = snapshot.refused.iter();
        self.refused = refused.map(|(kind, at)| (kind.clone(), Nanos(*at))).collect();
    }
}
