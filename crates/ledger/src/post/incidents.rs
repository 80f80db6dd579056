//! Posts incidents: what people collect, and what they note.

use super::{Log, Prepared, body::read};
use crate::{
    entry::{Kind, Origin, View},
    journal::Subject,
    store::Changes,
    system::incident::{IncidentBody, Incidents},
};

impl Log {
    /// Records that an incident is opened, noted or closed.
    pub(super) fn post_incident(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let body: IncidentBody = read(&message.body)?;
        let mut incidents = self.position.incidents.clone();
        incidents.take(self.position.size, &body).ok()?;
        let index = self.append_plain(changes, (Kind::Incident, origin), message, subject)?;
        self.position.incidents = incidents;
        Some(index)
    }
}

/// Notes an `incident` entry that was read. `false` if it does not fit here.
pub fn note_incident(incidents: &mut Incidents, index: u64, view: &View<'_>) -> bool {
    let body = view.event_as::<IncidentBody>();
    body.is_some_and(|body| incidents.take(index, &body).is_ok())
}
