//! Applies what time makes happen: expiry, lapse, reminder, escalation, missed reports, and changed rules.

use crate::{
    commands::{COMPARE_AGAIN, ClockCheck, Commands, Error, NOT_READY_AGAIN, Registry, WHILE_IDLE},
    outbox,
};
use decider::approval::{Command, next_tick};
use ledger::ident::Ident;
use std::time::Duration;

/// Longest sleep. A clock that is set is noticed within this time.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Most approvals that are checked at once.
const AT_ONCE_MAX: usize = 64;
/// Pause before an approval is checked again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// Applies deadlines.
pub(super) struct Timers {
    pub commands: Commands,
}

impl Timers {
    fn registry(&self) -> &Registry {
        &self.commands.reader.registry
    }

    fn clocks(&self) -> &ClockCheck {
        &self.commands.readiness.clocks
    }

    /// Checks every approval when it is due.
    pub(super) async fn run(&self) {
        let mut stands = true;
        loop {
            // While the clock is off no command runs, so nothing else would compare it again: do it here.
            if !stands || self.is_anything_due() || !self.clocks().are_compared(WHILE_IDLE) {
                stands = self.check_clock(stands).await;
            }
            if !stands {
                tokio::time::sleep(COMPARE_AGAIN).await;
                continue;
            }
            let due = self.registry().open().take_due(self.clocks().now(), AT_ONCE_MAX);
            if due.is_empty() {
                self.sleep_until_due().await;
                continue;
            }
            let checks = due.iter().map(|id| self.check(id));
            futures_util::future::join_all(checks).await;
        }
    }

    /// True if an approval is due by this clock.
    fn is_anything_due(&self) -> bool {
        let next = self.registry().open().next_due();
        next.is_some_and(|at| at <= self.clocks().now())
    }

    /// True if deadlines can be judged. Logs each change once.
    async fn check_clock(&self, stood: bool) -> bool {
        let tenant = self.commands.reader.log.tenant();
        match self.clocks().stand().await {
            Ok(()) => {
                if !stood {
                    tracing::info!(%tenant, "the clocks agree again: deadlines are applied");
                    self.commands.readiness.rules.check_all();
                }
                true
            }
            Err(error) => {
                if stood {
                    tracing::warn!(%tenant, %error, "the clocks do not agree: no deadline is applied, nothing is decided");
                }
                false
            }
        }
    }

    async fn sleep_until_due(&self) {
        let (next, now) = (self.registry().open().next_due(), self.clocks().now());
        let wait = next.map_or(SLEEP_MAX, |at| Duration::from_nanos(at.0.saturating_sub(now.0)));
        tokio::select! {
            () = tokio::time::sleep(wait.min(SLEEP_MAX)) => {}
            () = self.registry().timers.notified() => {}
        }
    }

    /// True if the approval deadline has passed and no chat took a card, though the rule names channels.
    fn nobody_could_be_asked(&self, id: &Ident) -> bool {
        let (known, now) = (self.registry().open().get(id).cloned(), self.clocks().now());
        if !known.is_some_and(|known| known.is_pending() && known.deadline <= now) {
            return false;
        }
        let approval = self.commands.reader.posted(id).ok().flatten();
        let log = &*self.commands.reader.log;
        approval.is_some_and(|approval| outbox::is_undeliverable(log, &approval).unwrap_or(false))
    }

    /// Applies deadlines to one approval, and sets its next check.
    pub(super) async fn check(&self, id: &Ident) {
        let undeliverable = self.nobody_could_be_asked(id);
        let again = match self
            .commands
            .execute(id, |world| Command::Tick { world, undeliverable })
            .await
        {
            Ok(done) => next_tick(&done.approval.state),
            Err(Error::NotFound) => None,
            // `NotReady` is logged where rules and clocks are checked; applying rules makes everything due.
            Err(Error::NotReady(_)) => Some(self.clocks().later(NOT_READY_AGAIN)),
            Err(error) => {
                let tenant = self.commands.reader.log.tenant();
                tracing::warn!(%tenant, approval = %id, %error, "the deadlines of an approval could not be applied");
                Some(self.clocks().later(AGAIN))
            }
        };
        self.registry().open().set_due(id, again);
    }
}
