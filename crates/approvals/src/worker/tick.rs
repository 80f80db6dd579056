//! Applies what time makes happen: expiry, lapse, reminder, escalation, missed reports, and changed rules.

use super::{
    Error, NOT_READY_AGAIN, Worker,
    clock::{AGAIN as COMPARE_AGAIN, WHILE_IDLE},
    now,
};
use decider::approval::{Command, next_tick};
use ledger::{ident::Ident, time::Nanos};
use std::time::Duration;

/// Longest sleep. A clock that is set is noticed within this time.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Most approvals that are checked at once.
const AT_ONCE_MAX: usize = 64;
/// Pause before an approval is checked again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

impl Worker {
    /// Checks every approval when it is due.
    pub(super) async fn pass_time(&self) {
        let mut stands = true;
        loop {
            // While the clock is off no command runs, so nothing else would compare it again: do it here.
            if !stands || self.is_anything_due() || !self.is_compared(WHILE_IDLE) {
                stands = self.look_at_clock(stands).await;
            }
            if !stands {
                tokio::time::sleep(COMPARE_AGAIN).await;
                continue;
            }
            let due = self
                .room
                .lock()
                .expect("no holder of the lock panics")
                .take_due(now(), AT_ONCE_MAX);
            if due.is_empty() {
                self.sleep_until_due().await;
                continue;
            }
            let looks = due.iter().map(|id| self.look_at(id));
            futures_util::future::join_all(looks).await;
        }
    }

    /// True if an approval is due by this clock.
    fn is_anything_due(&self) -> bool {
        let next = self.room.lock().expect("no holder of the lock panics").next_due();
        next.is_some_and(|at| at <= now())
    }

    /// True if deadlines can be judged. Logs each change once.
    async fn look_at_clock(&self, stood: bool) -> bool {
        let tenant = &self.tenant.name;
        match self.clock_stands().await {
            Ok(()) => {
                if !stood {
                    tracing::info!(%tenant, "the clocks agree again: deadlines are applied");
                    self.look_at_all();
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
        let next = self.room.lock().expect("no holder of the lock panics").next_due();
        let wait = next.map_or(SLEEP_MAX, |at| Duration::from_nanos(at.0.saturating_sub(now().0)));
        tokio::select! {
            () = tokio::time::sleep(wait.min(SLEEP_MAX)) => {}
            () = self.ticks.notified() => {}
        }
    }

    /// True if the approval deadline has passed and no chat took a card, though the rule names channels.
    fn nobody_could_be_asked(&self, id: &Ident) -> bool {
        let known = self.room.lock().expect("no holder of the lock panics").get(id).cloned();
        if !known.is_some_and(|known| known.is_pending() && known.deadline <= now()) {
            return false;
        }
        let approval = self.read(id).ok().flatten();
        approval.is_some_and(|approval| self.is_undeliverable(&approval).unwrap_or(false))
    }

    /// Applies deadlines to one approval, and sets its next check.
    async fn look_at(&self, id: &Ident) {
        let undeliverable = self.nobody_could_be_asked(id);
        let again = match self.execute(id, |world| Command::Tick { world, undeliverable }).await {
            Ok(done) => next_tick(&done.approval.state),
            Err(Error::NotFound) => None,
            // `NotReady` is logged where rules and clocks are checked; applying rules makes everything due.
            Err(Error::NotReady(_)) => Some(later(NOT_READY_AGAIN)),
            Err(error) => {
                let tenant = &self.tenant.name;
                tracing::warn!(%tenant, approval = %id, %error, "the deadlines of an approval could not be applied");
                Some(later(AGAIN))
            }
        };
        self.room.lock().expect("no holder of the lock panics").set_due(id, again);
    }
}

/// The time after a pause from now.
fn later(pause: Duration) -> Nanos {
    Nanos(now().0.saturating_add(pause.as_nanos() as u64))
}
