//! Commands on approvals, and everything they are decided from: the approval as the log has it, rules and people in
//! force, clocks. What is open is kept in memory for lists and timers only; every command asks the log what is newest.

mod brief;
mod cards;
mod case;
mod clocks;
mod due_cards;
mod earlier;
mod execute;
mod kept;
mod lists;
mod not_opened;
mod open;
mod open_approvals;
mod policy;
mod questions;
mod reader;
mod readiness;
mod registry;
mod rules;
mod shown;
mod tokens;
mod waits;
mod why_not;

pub use crate::error::Error;
pub use brief::{Brief, Parties, over_since};
pub use cards::CardMaker;
pub use clocks::ClockCheck;
pub use earlier::{EarlierCalls, MayKnow};
pub use execute::{Commands, Done, FOR_AGENT, Review};
pub use lists::Lists;
pub use not_opened::NotOpened;
pub use policy::{JudgedNow, PoliciesNow};
pub use questions::{Ask, Words};
pub use reader::ApprovalReader;
pub use readiness::Readiness;
pub use registry::Hint;
pub use rules::RulesInForce;
pub use shown::Showings;
#[cfg(test)]
pub(crate) use shown::append as note_shown;
pub use tokens::{CallInHand, Minted, RedeemRequest, Redeemed, Tokens};
pub use waits::Waits;

pub(crate) use clocks::{AGAIN as COMPARE_AGAIN, WHILE_IDLE};
pub(crate) use due_cards::DueCards;
pub(crate) use open_approvals::{COOL_DOWN, RECENT_MAX, Snapshot};
pub(crate) use reader::rows_missing;
pub(crate) use readiness::NOT_READY_AGAIN;
pub(crate) use registry::Registry;
pub(crate) use rules::Files;

use crate::{
    bundles::Bundles,
    log::{Clocks, Log},
};
use rules::Wakes;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, RwLock};

/// Longest wait until an entry is published.
const PUBLISHED_WAIT: Duration = Duration::from_secs(20);

impl Commands {
    /// Commands on the approvals of a log that was not read yet.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        clocks: Arc<dyn Clocks>,
        files: Files,
        public_url: Arc<str>,
    ) -> Self {
        let (registry, again) = (Arc::<Registry>::default(), Arc::new(Notify::new()));
        let wakes = Wakes {
            registry: Arc::clone(&registry),
            clocks: Arc::clone(&clocks),
            again: Arc::clone(&again),
        };
        let readiness = Arc::new(Readiness {
            log: Arc::clone(&log),
            clocks: ClockCheck::new(clocks, log.tenant().clone(), Arc::clone(&again)),
            rules: RulesInForce::new(Arc::clone(&log), files, wakes),
            registry: Arc::clone(&registry),
            again,
            rules_change: RwLock::default(),
        });
        let bundles = Arc::new(Bundles::new(Arc::clone(&log)));
        let policies = PoliciesNow { log: Arc::clone(&log), bundles };
        let reader = ApprovalReader { log, registry, kept: Arc::default() };
        let cards = CardMaker {
            reader: reader.clone(),
            readiness: Arc::clone(&readiness),
            policies: policies.clone(),
            public_url,
        };
        let not_opened = not_opened::NotOpenedCounts::default();
        Self { reader, readiness, cards, not_opened, showings: Showings::default(), policies }
    }
}
