//! The rules in force: those in the files, if they are the ones that were applied last.

use super::{Error, InForce, Options, Worker, now};
use crate::setup::Setup;
use ledger::system::Rules;
use std::{sync::Arc, time::Instant};

impl Worker {
    /// Rules, people and channels in force, or why none are.
    pub fn setup(&self) -> Result<Arc<Setup>, Error> {
        self.in_force().setup.map_err(Error::NotReady)
    }

    fn in_force(&self) -> InForce {
        self.in_force.read().expect("no holder of the lock panics").clone()
    }

    /// As [`Worker::setup`], after checking that they are those of the last posted `rules` entry.
    pub(super) fn setup_now(&self) -> Result<Arc<Setup>, Error> {
        let entry = self.in_force.read().expect("no holder of the lock panics").entry;
        if self.ledger.rules_index(&self.tenant) != entry {
            self.look_at_rules();
        }
        self.setup()
    }

    /// True if the log was read to its end and the applied rules, if there are any, are in force here.
    /// Otherwise this process is not ready.
    pub fn follows_rules(&self) -> bool {
        let InForce { entry, setup } = self.in_force();
        let current = self.ledger.rules_index(&self.tenant) == entry;
        self.is_caught_up() && current && (entry.is_none() || setup.is_ok())
    }

    /// As [`Worker::look_at_rules`], if the rules that were applied last are not in force. The applied files
    /// may be back in place, which needs no new apply.
    pub fn look_again(&self) {
        let InForce { entry, setup } = self.in_force();
        if entry.is_some() && setup.is_err() {
            self.read_rules(true);
        }
    }

    /// True if everything that was open at start has been read.
    pub fn has_looked(&self) -> bool {
        self.is_caught_up()
    }

    /// Reads the files again and puts them in force if they are the ones that were applied last. Otherwise
    /// logs what is wrong.
    pub fn look_at_rules(&self) {
        self.read_rules(false);
    }

    /// `quiet`: do not log a fault that was logged before.
    fn read_rules(&self, quiet: bool) {
        let tenant = &self.tenant.name;
        // Read the entry before the files: if rules are applied in between, their entry causes another
        // reading.
        let last = match self.ledger.rules(&self.tenant) {
            Ok(last) => last,
            Err(error) => return tracing::error!(%tenant, %error, "the rules can't be read"),
        };
        let Options { dir, connections, .. } = &self.options;
        let (entry, applied) = last.unzip();
        let is_applied = |setup: &Setup, body: &Rules| {
            self.tenant.with_keys(|ring| setup.is_applied(body, ring.salt_key()))
        };
        let setup = match (Setup::load(dir, tenant, connections), applied) {
            (Ok(setup), Some(body)) if is_applied(&setup, &body) => Ok(Arc::new(setup)),
            (Ok(_), Some(_)) => Err(format!(
                "The files of rules and people of {tenant} are not those that were applied. Show them with \
                 `countersign rules show --tenant {tenant}`, then run `countersign rules apply --tenant {tenant}`, or put \
                 the applied ones back and apply those."
            )),
            (Ok(_), None) => Err(format!(
                "No rules were applied for {tenant} yet. Run `countersign rules apply --tenant {tenant}`."
            )),
            (Err(mistakes), _) => {
                // Mistakes name people and groups, so publishers and reviewers must not see them.
                let mistakes = mistakes.join("; ");
                if !quiet {
                    tracing::warn!(%tenant, mistakes, "the files of rules and people can't be used");
                }
                Err(format!(
                    "The files of rules and people of {tenant} have mistakes: an admin sees them with `countersign rules \
                     show --tenant {tenant}`."
                ))
            }
        };
        if let Err(why) = &setup
            && !quiet
        {
            tracing::warn!(%tenant, why, "nothing is decided");
        }
        if quiet && setup.is_err() {
            return;
        }
        *self.in_force.write().expect("no holder of the lock panics") = InForce { entry, setup };
        self.look_at_all();
    }

    /// Decisions may be possible that were not before: check every open approval again.
    pub(super) fn look_at_all(&self) {
        let known = self.room.lock().expect("no holder of the lock panics").all_due(now());
        for id in known {
            self.outbox.look_at(&id, Instant::now());
        }
        self.cards.notify_one();
        self.ticks.notify_one();
        self.ready_again.notify_waiters();
    }
}
