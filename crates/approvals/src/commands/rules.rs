//! The rules in force: those in the files, if they are the ones that were applied last.

use super::{Error, registry::Registry};
use crate::{
    log::{Clocks, Log},
    setup::Setup,
};
use ledger::system::Rules;
use std::sync::{Arc, RwLock};
use tokio::sync::Notify;

/// The files of rules and people, and whether they are the given applied ones; or their mistakes.
pub(crate) type Files =
    Box<dyn Fn(Option<&Rules>) -> Result<(Setup, bool), Vec<String>> + Send + Sync>;

/// The rules, people and channels in force.
#[derive(Clone)]
struct InForce {
    /// Leaf index of the `rules` entry that the files were compared with. `None` if the log has none.
    entry: Option<u64>,
    /// The rules in force, or why nothing is decided.
    setup: Result<Arc<Setup>, String>,
}

/// Rules, people and channels, as far as the log says that they are in force.
pub struct RulesInForce {
    log: Arc<dyn Log>,
    files: Files,
    in_force: RwLock<InForce>,
    wakes: Wakes,
}

/// Who is woken when decisions may be possible that were not before.
pub(crate) struct Wakes {
    pub registry: Arc<Registry>,
    pub clocks: Arc<dyn Clocks>,
    pub again: Arc<Notify>,
}

impl RulesInForce {
    /// No rules are in force before the files are read.
    pub(crate) fn new(log: Arc<dyn Log>, files: Files, wakes: Wakes) -> Self {
        let setup = Err("The rules were not read yet; try again in a moment.".to_owned());
        let in_force = RwLock::new(InForce { entry: None, setup });
        Self { log, files, in_force, wakes }
    }

    /// Rules, people and channels in force, or why none are. They may be older than the last posted `rules` entry.
    pub fn known(&self) -> Result<Arc<Setup>, Error> {
        self.in_force().setup.map_err(Error::NotReady)
    }

    fn in_force(&self) -> InForce {
        self.in_force.read().expect("no holder of the lock panics").clone()
    }

    /// As [`RulesInForce::known`], after checking that they are those of the last posted `rules` entry.
    pub(crate) fn current(&self) -> Result<Arc<Setup>, Error> {
        let entry = self.in_force.read().expect("no holder of the lock panics").entry;
        if self.log.rules_index() != entry {
            self.read();
        }
        self.known()
    }

    /// True if the applied rules, if there are any, are in force here.
    pub(crate) fn are_current(&self) -> bool {
        let InForce { entry, setup } = self.in_force();
        self.log.rules_index() == entry && (entry.is_none() || setup.is_ok())
    }

    /// As [`RulesInForce::read`], if the rules that were applied last are not in force. The applied files
    /// may be back in place, which needs no new apply. Logs no fault that was logged before.
    pub fn read_if_absent(&self) {
        let InForce { entry, setup } = self.in_force();
        if entry.is_some() && setup.is_err() {
            self.read_and_say(false);
        }
    }

    /// Reads the files again and puts them in force if they are the ones that were applied last. Otherwise
    /// logs what is wrong.
    pub fn read(&self) {
        self.read_and_say(true);
    }

    fn read_and_say(&self, say: bool) {
        let tenant = self.log.tenant();
        // Read the entry before the files: if rules are applied in between, their entry causes another
        // reading.
        let last = match self.log.rules() {
            Ok(last) => last,
            Err(error) => return tracing::error!(%tenant, %error, "the rules can't be read"),
        };
        let (entry, applied) = last.unzip();
        let setup = match ((self.files)(applied.as_ref()), &applied) {
            (Ok((setup, true)), _) => Ok(Arc::new(setup)),
            (Ok((_, false)), Some(_)) => Err(format!(
                "The files of rules and people of {tenant} are not those that were applied. Show them with \
                 `countersign rules show --tenant {tenant}`, then run `countersign rules apply --tenant {tenant}`, or put \
                 the applied ones back and apply those."
            )),
            (Ok((_, false)), None) => Err(format!(
                "No rules were applied for {tenant} yet. Run `countersign rules apply --tenant {tenant}`."
            )),
            (Err(mistakes), _) => {
                // Mistakes name people and groups, so publishers and reviewers must not see them.
                let mistakes = mistakes.join("; ");
                if say {
                    tracing::warn!(%tenant, mistakes, "the files of rules and people can't be used");
                }
                Err(format!(
                    "The files of rules and people of {tenant} have mistakes: an admin sees them with `countersign rules \
                     show --tenant {tenant}`."
                ))
            }
        };
        if let Err(why) = &setup
            && say
        {
            tracing::warn!(%tenant, why, "nothing is decided");
        }
        if !say && setup.is_err() {
            return;
        }
        *self.in_force.write().expect("no holder of the lock panics") = InForce { entry, setup };
        self.check_all();
    }

    /// Decisions may be possible that were not before: everything is checked again.
    pub(crate) fn check_all(&self) {
        let Wakes { registry, clocks, again } = &self.wakes;
        registry.check_all(clocks.now());
        again.notify_waiters();
    }
}
