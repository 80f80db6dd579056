//! Posts for how long payload is kept, legal holds, what expires, and the end of a tenant (P20).

use super::{Error, Log, Prepared, body::read, digest_of_access};
use crate::{
    entry::{Kind, Origin, View},
    erased,
    journal::Subject,
    store::{self, Changes, Family, LogNumber},
    system::retention::{Expire, RetentionBody},
    time::Nanos,
};
use std::sync::Arc;

impl Log {
    /// Sets retention, begins or ends a hold, or lets old payload expire.
    pub(super) fn post_retention(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Result<Option<u64>, Error> {
        let Some(body) = read::<RetentionBody>(&message.body) else { return Ok(None) };
        let mut retention = self.position.retention.clone();
        let fits = retention.take((self.position.size, origin.time), &body).is_ok()
            && self.is_earlier(body.reason());
        if !fits {
            return Ok(None);
        }
        if let RetentionBody::Expire(Expire { from, below, .. }) = body {
            let times = (self.time_of(changes, from)?, self.time_of(changes, below - 1)?);
            if !self.position.retention.is_due(times, origin.time) {
                return Ok(None);
            }
            erased::hide_below(changes, self.number, (from, below))?;
        }
        if let RetentionBody::Delete(deletion) = &body {
            if deletion.tenant != self.tenant {
                return Ok(None);
            }
            erased::hide_all(changes, self.number, self.position.size + 1);
            self.revoke_all(changes);
        }
        let index = self.append_plain(changes, (Kind::Retention, origin), message, subject);
        if index.is_some() {
            self.position.retention = retention;
        }
        Ok(index)
    }

    /// Removes every API key but those that only read what stays.
    fn revoke_all(&mut self, changes: &mut Changes<'_>) {
        let access = Arc::make_mut(&mut self.access);
        for id in access.values().filter(|key| !key.outlives()).map(|key| key.key_id.as_str()) {
            changes.delete(Family::Access, self.number.key(id.as_bytes()));
            changes.delete(Family::Access, LogNumber::ALL.key(id.as_bytes()));
        }
        access.retain(|_, key| key.outlives());
        self.position.access = digest_of_access(&self.access);
    }

    fn time_of(&self, changes: &Changes<'_>, index: u64) -> Result<Nanos, store::Error> {
        let entry = self.proven(changes, index)?;
        let corrupt = store::Error::Corrupt { family: "entries", what: "an entry" };
        View::parse(&entry).map(|view| view.origin.time).ok_or(corrupt)
    }
}
