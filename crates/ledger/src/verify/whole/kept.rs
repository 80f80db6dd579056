//! What retention entries say of a whole log.

use super::Told;
use crate::{
    entry::View,
    system::retention::{Expire, RetentionBody},
};

impl Told {
    /// Retention never falls below its floor, nothing expires under a hold, and only what is old enough expires (P20).
    pub(super) fn retention(&mut self, index: u64, view: &View<'_>) -> Result<(), &'static str> {
        let body: RetentionBody = view.event_as().ok_or("not a retention entry")?;
        if let RetentionBody::Expire(Expire { from, below, .. }) = body {
            let place = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
            let expires = place(from)..place(below).min(self.times.len().saturating_sub(1));
            let times = self.times.get(expires).unwrap_or(&[]);
            let first = times.first().copied().ok_or("it lets nothing expire")?;
            let now = view.origin.time;
            if !times.iter().all(|time| self.retention.is_due((first, *time), now)) {
                return Err("payload expired that was not old enough, or more than one step may");
            }
            self.erased.expire(view);
        }
        if matches!(body, RetentionBody::Delete(_)) {
            self.erased.expire(view);
        }
        self.retention.take((index, view.origin.time), &body)
    }
}
