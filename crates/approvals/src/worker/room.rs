//! What the worker keeps in memory: approvals that are not over, their timers, and who was refused lately.

use super::brief::{Brief, Briefs};
use crate::history::Approval;
use decider::approval::{Phase, next_tick};
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
    open: BTreeMap<Ident, Open>,
    /// Ended lately, oldest first.
    ended: VecDeque<Ident>,
    /// The same by id.
    recent: HashMap<Ident, Arc<Brief>>,
    briefs: Briefs,
    /// Pending, or about to be, by agent: at most [`PENDING_PER_AGENT_MAX`] each.
    pending: HashMap<Box<str>, Vec<Ident>>,
    pending_count: usize,
    /// When a kind of call was refused by people.
    refused: HashMap<Kind, Nanos>,
    /// When each open approval must be looked at.
    ticks: BTreeSet<(Nanos, Ident)>,
    /// The log was read to its end once.
    pub caught_up: bool,
    /// Every entry before this index was looked at.
    pub followed: u64,
}

/// One that is not over.
struct Open {
    brief: Arc<Brief>,
    /// When it must be looked at.
    due: Option<Nanos>,
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
    pub fn put(&mut self, approval: &Approval) -> bool {
        if self.knows(&approval.id, approval.state.n) {
            return false;
        }
        let Some(requested) = approval.state.requested.as_deref() else { return false };
        let Some(brief) = self.briefs.of(approval).map(Arc::new) else { return false };
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
        if brief.over_since.is_some() {
            self.set_due(&id, None);
            self.open.remove(&id);
            // A late report changes what ended; it keeps its place.
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

    /// Whether it is known with this message or a newer one.
    pub fn knows(&self, id: &Ident, n: u64) -> bool {
        self.find(id).is_some_and(|approval| approval.n >= n)
    }

    /// One that is not over, or ended lately.
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

    /// Sets when an approval must be looked at, unless it is over.
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
        let others = |ids: &Vec<Ident>| ids.len() - usize::from(ids.contains(id));
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
    pub fn by_opening(&self, index: u64) -> Option<&Arc<Brief>> {
        self.briefs().find(|approval| approval.opening == index)
    }

    fn briefs(&self) -> impl Iterator<Item = &Arc<Brief>> {
        self.open.values().map(|open| &open.brief)
    }

    /// The one whose token that lives has this id.
    pub fn with_token(&self, jti: &str) -> Option<Ident> {
        let lives = |a: &Brief| a.phase == Phase::Minted && a.jti.as_deref() == Some(jti);
        self.briefs().find(|approval| lives(approval)).map(|approval| approval.id.clone())
    }

    /// One of those that are not over.
    pub fn get(&self, id: &Ident) -> Option<&Arc<Brief>> {
        self.open.get(id).map(|open| &open.brief)
    }

    /// Those that ended lately, the last one first, then by id.
    pub fn recent(&self) -> Vec<Arc<Brief>> {
        let mut recent: Vec<_> = self.recent.values().cloned().collect();
        recent
            .sort_unstable_by(|a, b| b.over_since.cmp(&a.over_since).then_with(|| a.id.cmp(&b.id)));
        recent
    }

    /// The wanted ones of those that are not over, by approval deadline, then id.
    pub fn by_deadline(&self, wanted: impl Fn(&Brief) -> bool) -> Vec<Arc<Brief>> {
        let mut open: Vec<_> = self.briefs().filter(|approval| wanted(approval)).cloned().collect();
        open.sort_unstable_by(|a, b| a.deadline.cmp(&b.deadline).then_with(|| a.id.cmp(&b.id)));
        open
    }

    /// The first journal sequence of those that are not over.
    pub fn first_seq(&self) -> Option<u64> {
        self.briefs().map(|approval| approval.first_seq).min()
    }

    /// What is kept across a restart.
    pub fn snapshot(&self, cursor: u64) -> Snapshot {
        Snapshot {
            cursor,
            open: self.briefs().map(|a| (a.id.clone(), a.last)).collect(),
            recent: self.recent().iter().rev().map(|a| (a.id.clone(), a.last)).collect(),
            refused: self.refused.iter().map(|(kind, at)| (kind.clone(), at.0)).collect(),
        }
    }

    /// Takes back the part of a snapshot that is not read from the ledger.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let refused = snapshot.refused.iter();
        self.refused = refused.map(|(kind, at)| (kind.clone(), Nanos(*at))).collect();
    }
}
