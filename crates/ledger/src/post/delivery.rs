//! Posts what sinks say of themselves.

use super::{Log, Prepared, body::read};
use crate::{
    entry::{Kind, Origin},
    journal::Subject,
    store::Changes,
    system::delivery::Delivery,
};

impl Log {
    /// Records how far a sink has delivered. It can't be further than the log.
    pub(super) fn post_delivery(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let body: Delivery = read(&message.body)?;
        if body.fault().is_some()
            || body.to > self.position.size
            || !self.is_earlier(body.reason.as_ref())
        {
            return None;
        }
        self.append_plain(changes, (Kind::Delivery, origin), message, subject)
    }
}
