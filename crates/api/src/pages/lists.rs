//! The three lists of approvals: what waits for me, what is open beside it, and what is over.

use super::{Stop, session::Session};
use crate::access;
use approvals::worker::{Brief, Parties as _};
use std::sync::Arc;

/// One of the lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// What waits for me.
    Mine,
    /// What is open and waits for others, or is being carried out.
    Others,
    /// What is over.
    Done,
}

impl List {
    pub fn named(show: &str) -> Result<Self, Stop> {
        match show {
            "" => Ok(Self::Mine),
            "others" => Ok(Self::Others),
            "decided" => Ok(Self::Done),
            _ => Err(Stop::Unreadable),
        }
    }

    /// First letter of the list's cursors, so that a cursor of one list is refused for another.
    pub fn mark(self) -> char {
        match self {
            Self::Mine => 'w',
            Self::Others => 'o',
            Self::Done => 'd',
        }
    }

    /// Its part of a query.
    pub fn show(self) -> &'static str {
        match self {
            Self::Mine => "",
            Self::Others => "show=others&",
            Self::Done => "show=decided&",
        }
    }

    /// The list in its order: by deadline, or by the end, the last one first.
    pub fn of(self, session: &Session) -> Vec<Arc<Brief>> {
        let (lists, person) = (&session.worker.lists, &session.person);
        let sees = |brief: &Arc<Brief>| access::page(&session.worker, person, &**brief);
        let mine = |brief: &Brief| {
            brief.is_pending()
                && brief.answered(person).is_none()
                && lists.may_review(person, brief)
        };
        let mut all = match self {
            Self::Mine => return lists.waiting_for(person),
            Self::Others => lists.open(),
            Self::Done => lists.recent(),
        };
        all.retain(|brief| sees(brief) && !mine(brief));
        all.sort_unstable_by(|a, b| self.key(a).cmp(&self.key(b)));
        all
    }

    pub fn key(self, brief: &Brief) -> (u64, &str) {
        let sort = match self {
            Self::Mine | Self::Others => brief.deadline.0,
            Self::Done => u64::MAX - brief.over_since.unwrap_or_default().0,
        };
        (sort, brief.id.as_str())
    }
}
