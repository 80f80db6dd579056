//! What the worker keeps in memory: approvals that are not over, their timers, and who was refused lately.

use crate::history::Approval;
use decider::{
    Decider as _,
    approval::{Approval as Lifecycle, Phase, next_tick},
};
use ledger::{ident::Ident, time::Nanos};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Most approvals that ended lately.
const RECENT_MAX: usize = 1_000;
/// Most pending approvals of one agent (design of the issue: it can't flood people).
pub const PENDING_PER_AGENT_MAX: usize = 20;
/// Most pending approvals of one tenant.
pub const PENDING_MAX: usize = 100_000;
/// How long after a refusal the same agent is not asked about the same tool and action again.
pub const COOL_DOWN: Duration = Duration::from_secs(600);

/// Agent, tool and action.
type Kind = (String, String, String);

/// Approvals in memory.
#[derive(Default)]
pub struct Room {
    /// Not over.
    open: BTreeMap<Ident, Arc<Approval>>,
    /// Ended lately, oldest first.
    ended: VecDeque<Ident>,
    /// The same by id.
    recent: HashMap<Ident, Arc<Approval>>,
    /// Pending, or about to be, by agent.
    pending: HashMap<String, BTreeSet<Ident>>,
    pending_count: usize,
    /// When a kind of call was refused by people.
    refused: HashMap<Kind, Nanos>,
    /// When each open approval must be looked at.
    ticks: BTreeSet<(Nanos, Ident)>,
    due: BTreeMap<Ident, Nanos>,
    /// The log was read to its end once.
    pub caught_up: bool,
    /// Every entry before this index was looked at.
    pub followed: u64,
}

/// Whether nobody must wait for it: also when no report came, though a late one is still taken.
pub fn is_over(approval: &Approval) -> bool {
    let state = &approval.state;
    Lifecycle::is_terminal(state) || state.phase == Phase::Unknown || state.corrupt
}

/// What of it is kept across a restart; all of it follows from the log.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    /// Entries before this index were looked at.
    pub cursor: u64,
    /// Not over, each with the leaf index of its last entry.
    pub open: Vec<(Ident, u64)>,
    /// Ended lately, likewise.
    pub recent: Vec<(Ident, u64)>,
    refused: Vec<(Kind, u64)>,
}

impl Room {
    /// Takes what an approval has become, unless something newer is known. Returns whether that is news.
    pub fn put(&mut self, approval: Approval) -> bool {
        if self.knows(&approval.id, approval.state.n) {
            return false;
        }
        let Some(requested) = approval.state.requested.clone() else { return false };
        let id = approval.id.clone();
        let pending = approval.state.phase == Phase::Pending;
        self.set_pending(&requested.call.agent, &id, pending);
        if approval.state.phase == Phase::Denied {
            let call = &requested.call;
            let kind = (call.agent.clone(), call.tool.clone(), call.action.clone());
            let at = approval.state.ended_at.unwrap_or_default();
            let last = self.refused.entry(kind).or_default();
            *last = at.max(*last);
        }
        let approval = Arc::new(approval);
        if is_over(&approval) {
            self.open.remove(&id);
            self.set_due(&id, None);
            // A late report changes what ended; it keeps its place.
            if self.recent.insert(id.clone(), approval).is_none() {
                self.ended.push_back(id);
            }
            if self.ended.len() > RECENT_MAX
                && let Some(oldest) = self.ended.pop_front()
            {
                self.recent.remove(&oldest);
            }
        } else {
            self.set_due(&id, next_tick(&approval.state));
            self.open.insert(id, approval);
        }
        true
    }

    /// Whether it is known with this message or a newer one.
    pub fn knows(&self, id: &Ident, n: u64) -> bool {
        self.find(id).is_some_and(|approval| approval.state.n >= n)
    }

    /// One that is not over, or ended lately.
    pub fn find(&self, id: &Ident) -> Option<&Arc<Approval>> {
        self.open.get(id).or_else(|| self.recent.get(id))
    }

    fn set_pending(&mut self, agent: &str, id: &Ident, pending: bool) {
        let ids = self.pending.entry(agent.to_owned()).or_default();
        let changed = if pending { ids.insert(id.clone()) } else { ids.remove(id) };
        if ids.is_empty() {
            self.pending.remove(agent);
        }
        match (changed, pending) {
            (true, true) => self.pending_count += 1,
            (true, false) => self.pending_count -= 1,
            (false, _) => {}
        }
    }

    /// Sets when an open approval must be looked at.
    pub fn set_due(&mut self, id: &Ident, at: Option<Nanos>) {
        if let Some(before) = self.due.remove(id) {
            self.ticks.remove(&(before, id.clone()));
        }
        if let Some(at) = at {
            self.ticks.insert((at, id.clone()));
            self.due.insert(id.clone(), at);
        }
    }

    /// Sets when an approval must be looked at again, unless it is over.
    pub fn set_due_if_open(&mut self, id: &Ident, at: Option<Nanos>) {
        if self.open.contains_key(id) {
            self.set_due(id, at);
        }
    }

    /// Everything that is not over must be looked at now; returns that, and what ended lately.
    pub fn all_due(&mut self, now: Nanos) -> Vec<Ident> {
        let mut ids: Vec<Ident> = self.open.keys().cloned().collect();
        for id in &ids {
            self.set_due(id, Some(now));
        }
        ids.extend(self.ended.iter().cloned());
        ids
    }

    /// What must be looked at by `now`, at most `max`; it is not due any more.
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

    /// When something is due next.
    pub fn next_due(&self) -> Option<Nanos> {
        self.ticks.first().map(|(at, _)| *at)
    }

    /// Takes a place for an approval that is about to be opened, or says why it can't be asked for.
    pub fn reserve(
        &mut self,
        id: &Ident,
        (agent, tool, action): (&str, &str, &str),
        now: Nanos,
    ) -> Result<(), &'static str> {
        let kind = (agent.to_owned(), tool.to_owned(), action.to_owned());
        let cool = u64::try_from(COOL_DOWN.as_nanos()).unwrap_or(u64::MAX);
        self.refused.retain(|_, at| now.0.saturating_sub(at.0) < cool);
        if self.refused.contains_key(&kind) {
            return Err("cooling_down");
        }
        // It may have a place already: the same decision is seen by whoever published it and in the log.
        let others = |ids: &BTreeSet<Ident>| ids.len() - usize::from(ids.contains(id));
        let of_agent = self.pending.get(agent).map_or(0, others);
        if of_agent >= PENDING_PER_AGENT_MAX || self.pending_count >= PENDING_MAX {
            return Err("too_many");
        }
        self.set_pending(agent, id, true);
        Ok(())
    }

    /// Gives back a place that was reserved and not used.
    pub fn release(&mut self, id: &Ident, agent: &str) {
        if !self.open.contains_key(id) {
            self.set_pending(agent, id, false);
        }
    }

    /// How many are pending.
    pub fn pending(&self) -> usize {
        self.pending_count
    }

    /// The one that was opened by the decision at a leaf index.
    pub fn by_opening(&self, index: u64) -> Option<&Arc<Approval>> {
        let opening = |a: &Approval| a.state.requested.as_ref().map(|r| r.opening.index);
        self.open.values().find(|approval| opening(approval) == Some(index))
    }

    /// The one whose token that lives has this id.
    pub fn with_token(&self, jti: &str) -> Option<Ident> {
        let lives = |approval: &Approval| {
            let token = approval.state.token.as_ref();
            approval.state.phase == Phase::Minted && token.is_some_and(|token| token.jti == jti)
        };
        let found = self.open.values().find(|approval| lives(approval));
        found.map(|approval| approval.id.clone())
    }

    /// One of those that are not over.
    pub fn get(&self, id: &Ident) -> Option<&Arc<Approval>> {
        self.open.get(id)
    }

    /// Those that ended lately, the last one first.
    pub fn recent(&self) -> Vec<Arc<Approval>> {
        self.ended.iter().rev().filter_map(|id| self.recent.get(id).cloned()).collect()
    }

    /// The wanted ones of those that are not over, by approval deadline, then id.
    pub fn by_deadline(&self, wanted: impl Fn(&Approval) -> bool) -> Vec<Arc<Approval>> {
        let deadline = |a: &Approval| a.state.approval_deadline();
        let open = self.open.values().filter(|approval| wanted(approval));
        let mut open: Vec<_> = open.map(|approval| (deadline(approval), approval)).collect();
        // Equal deadlines stay in the order of ids.
        open.sort_by_key(|(deadline, _)| *deadline);
        open.into_iter().map(|(_, approval)| Arc::clone(approval)).collect()
    }

    /// The first journal sequence of those that are not over.
    pub fn first_seq(&self) -> Option<u64> {
        self.open.values().map(|approval| approval.first_seq()).min()
    }

    /// What is kept across a restart.
    pub fn snapshot(&self, cursor: u64) -> Snapshot {
        Snapshot {
            cursor,
            open: self.open.values().map(|a| (a.id.clone(), a.last_index())).collect(),
            recent: self.recent().iter().rev().map(|a| (a.id.clone(), a.last_index())).collect(),
            refused: self.refused.iter().map(|(kind, at)| (kind.clone(), at.0)).collect(),
        }
    }

    /// Takes back the part of a snapshot that is not read from the ledger.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let refused = snapshot.refused.iter();
        self.refused = refused.map(|(kind, at)| (kind.clone(), Nanos(*at))).collect();
    }
}
