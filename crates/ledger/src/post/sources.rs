//! Posts the declaration of the sources that must report.

use super::{Log, Prepared, body::read};
use crate::{
    entry::{Kind, Origin},
    event,
    journal::Subject,
    store::Changes,
    system::sources::{self, Sources},
};

/// What is declared can be the source of an event.
const _: () = assert!(sources::SOURCE_BYTES_MAX == event::SOURCE_BYTES_MAX);

impl Log {
    /// Declares the sources that must report, in place of those before.
    pub(super) fn post_sources(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let body: Sources = read(&message.body)?;
        let fits = body.v == 1
            && sources::mistake(&body.sources).is_none()
            && self.is_earlier(body.reason.as_ref());
        if !fits {
            return None;
        }
        let index = self.append_plain(changes, (Kind::Sources, origin), message, subject)?;
        self.position.sources = Some(index);
        Some(index)
    }
}
