//! Posts who the replicas are.

use super::{Log, Prepared, body::read};
use crate::{
    entry::{Kind, Origin},
    journal::Subject,
    log::members::MemberSet,
    store::Changes,
    system::members::MembersChange,
};

impl Log {
    /// Puts a set of replicas in force, for every tree with this entry. Of two changes that were made from the same set, the
    /// first one counts.
    pub(super) fn post_members(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let change: MembersChange = read(&message.body)?;
        let last = self.keys.members.last();
        // Whoever has the log's key must not count as a replica too.
        let is_log = self.keys.log.iter().any(|key| change.has_key(key.vkey.0.public_bytes()));
        let fits = change.follows(last, &self.origin) && self.is_earlier(change.reason.as_ref());
        if !fits || is_log {
            return None;
        }
        let index = self.append_plain(changes, (Kind::Members, origin), message, subject)?;
        self.keys.changed_members(&change, index);
        self.save_keys(changes);
        Some(index)
    }
}

impl super::Keys {
    /// Notes a change of the replicas, whose entry is at `index`.
    pub(crate) fn changed_members(&mut self, change: &MembersChange, index: u64) {
        if self.members.is_empty() {
            self.members.push(MemberSet::first(change.before.members.clone()));
        }
        self.members.push(change.set(index));
    }
}
