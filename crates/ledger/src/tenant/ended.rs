//! A tenant that was deleted: its log has ended, and its keys are destroyed.

use super::Tenant;
use crate::keyring;

impl Tenant {
    /// True if the tenant was deleted.
    pub fn is_deleted(&self) -> bool {
        let position = self.position.lock().expect("no holder of the lock panics");
        position.retention.deleted.is_some()
    }

    /// True if an API key was ever issued for it: its making was not interrupted.
    pub fn has_had_keys(&self) -> bool {
        let position = self.position();
        position.epoch > 1 || position.last_on("access") > 0
    }

    /// Destroys all keys of the tenant, here and on the disk. May be repeated.
    pub(crate) fn destroy_keys(&self) -> Result<(), keyring::Error> {
        self.keyring.write().expect("no holder of the lock panics").destroy()
    }
}
