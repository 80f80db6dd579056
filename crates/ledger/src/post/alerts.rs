//! Posts alerts: what clauses and the watch of the log found, and who closed it.

use super::{Log, Prepared, body::read};
use crate::{
    entry::{Kind, Origin, View},
    journal::Subject,
    store::Changes,
    system::alert::{AlertBody, Alerts},
};

impl Log {
    /// Records an alert, or that one is closed. What showed the last one shows no second one, so a repetition after a crash
    /// is refused.
    pub(super) fn post_alert(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let body: AlertBody = read(&message.body)?;
        let mut alerts = self.position.alerts.clone();
        alerts.take(self.position.size, &body).ok()?;
        let index = self.append_plain(changes, (Kind::Alert, origin), message, subject)?;
        self.position.alerts = alerts;
        Some(index)
    }
}

/// Notes an `alert` entry that was read. `false` if it does not fit here.
pub fn note_alert(alerts: &mut Alerts, index: u64, view: &View<'_>) -> bool {
    let body = view.event_as::<AlertBody>();
    body.is_some_and(|body| alerts.take(index, &body).is_ok())
}
