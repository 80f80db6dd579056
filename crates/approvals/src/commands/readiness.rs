//! Whether this process may decide now: the clocks agree, the log was read, and rules are in force.

use super::{Error, clocks::ClockCheck, registry::Registry, rules::RulesInForce};
use crate::{log::Log, setup::Setup};
use ledger::Error as LedgerError;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Pause before it is asked again whether decisions are possible.
pub(crate) const NOT_READY_AGAIN: Duration = Duration::from_secs(10);

/// What every decision needs.
pub struct Readiness {
    pub(crate) log: Arc<dyn Log>,
    /// Our clock, compared with the journal's.
    pub clocks: ClockCheck,
    /// Rules, people and channels.
    pub rules: RulesInForce,
    pub(crate) registry: Arc<Registry>,
    /// Wakes tasks that wait until decisions are possible.
    pub(crate) again: Arc<Notify>,
    /// Held for reading from judging a command by the rules until its message is posted, and for writing while other
    /// rules come into force here.
    pub(crate) rules_change: RwLock<()>,
}

impl Readiness {
    /// What is in force, as [`Readiness::ready`] gives it, after a comparison of the clocks within the last
    /// seconds.
    pub async fn decides(&self) -> Result<Arc<Setup>, Error> {
        if self.log.halted().is_none() {
            self.clocks.stand().await?;
        }
        self.ready()
    }

    /// What is in force, if decisions are possible as far as is known: the clocks agree, everything posted at
    /// start has been read, and the files hold the rules of the last `rules` entry.
    pub fn ready(&self) -> Result<Arc<Setup>, Error> {
        if let Some(reason) = self.log.halted() {
            return Err(LedgerError::Halted(reason).into());
        }
        self.clocks.judge()?;
        if !self.registry.is_caught_up() {
            return Err(Error::NotReady("The log is being read; try again in a moment.".into()));
        }
        self.rules.current()
    }

    /// While it is held, no rules come into force here.
    pub async fn keep_rules(&self) -> RwLockReadGuard<'_, ()> {
        self.rules_change.read().await
    }

    /// Waits until every command that was judged by the rules in force is posted. While it is held, none is judged: who
    /// is no longer asked by the new rules can't have the last word (P10).
    pub async fn change_rules(&self) -> RwLockWriteGuard<'_, ()> {
        self.rules_change.write().await
    }

    /// Waits until [`Readiness::ready`] succeeds.
    pub(crate) async fn until_ready(&self) {
        loop {
            let again = self.again.notified();
            if self.ready().is_ok() {
                return;
            }
            let _ = tokio::time::timeout(NOT_READY_AGAIN, again).await;
        }
    }

    /// True if the log was read to its end and the applied rules, if there are any, are in force here.
    /// Otherwise this process is not ready.
    pub fn follows_rules(&self) -> bool {
        self.registry.is_caught_up() && self.rules.are_current()
    }

    /// True if everything that was open at start has been read.
    pub fn has_read_log(&self) -> bool {
        self.registry.is_caught_up()
    }
}
