//! Which rules are in force: those of the files, if they are the ones that were applied last.

use super::{Error, Options, Worker};
use crate::setup::{Applied, Setup};
use std::sync::Arc;

impl Worker {
    /// Reads the files again, and puts them in force if they were applied. Says what is wrong otherwise.
    pub fn reload(&self) -> Result<Arc<Setup>, Error> {
        let applied = self.room.lock().expect("no holder of the lock panics").applied.clone();
        let Options { dir, connections, .. } = &self.options;
        let files = Applied::load(dir, &self.tenant, connections).map_err(|wrong| wrong.join("\n"));
        let setup = files.and_then(|(setup, files)| match applied {
            Some(applied) if applied == files => Ok(Arc::new(setup)),
            Some(_) => Err(format!(
                "The files of rules and people of {0} are not those that were applied. Look at them with `countersign \
                 rules show --tenant {0}`, then run `countersign rules apply --tenant {0}`, or put the applied ones back.",
                self.tenant.name
            )),
            None => Err(format!(
                "No rules were applied for {0} yet. Run `countersign rules apply --tenant {0}`.",
                self.tenant.name
            )),
        });
        self.put_in_force(setup.clone());
        setup.map_err(Error::NotReady)
    }

    /// Whether the log was read to its end, and the rules that were applied, if any were, are in force here; otherwise
    /// this process is not ready.
    pub fn follows_rules(&self) -> bool {
        let (read, applied) = {
            let room = self.room.lock().expect("no holder of the lock panics");
            (room.caught_up, room.applied.is_some())
        };
        read && (!applied || self.setup().is_ok())
    }

    /// Rules were applied, here or by another process.
    pub(super) fn rules_applied(&self, applied: Applied) {
        self.room.lock().expect("no holder of the lock panics").applied = Some(applied);
        self.look_at_rules();
    }

    /// As [`Worker::reload`], for whoever can't be told.
    pub(super) fn look_at_rules(&self) {
        if let Err(error) = self.reload() {
            tracing::warn!(tenant = %self.tenant.name, %error, "nothing is decided");
        }
    }
}
