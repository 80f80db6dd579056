//! Posts what happens to approvals.

use super::{
    APPROVAL, Error, Log, Prepared, not_opened::is_not_opened, policies, signed::plain_draft,
};
use crate::{
    entry::{Draft, Kind, Origin},
    ident::Ident,
    journal::Subject,
    json::{self, Value},
    store::{Changes, Family},
};

impl Log {
    /// Posts what happened to an approval, or that it was not opened. Redeeming one may also put a bundle or a version of a list in
    /// force.
    pub(super) fn post_approval(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        (subject, id): (&Subject, &Ident),
    ) -> Result<Option<u64>, Error> {
        if is_not_opened(&message.body) {
            return self.post_not_opened(changes, origin, message, (subject, id));
        }
        let Some(draft) = approval_draft(message, subject, id) else { return Ok(None) };
        let puts = match policies::activates(&message.body) {
            None => None,
            Some(Err(())) => return Ok(None),
            Some(Ok(activates)) => match self.puts(changes, (id, origin.time), activates)? {
                Some(puts) => Some(puts),
                // One message: neither is redeemed what can't be activated, nor the reverse.
                None => return Ok(None),
            },
        };
        if let Ok(body) = json::parse(&message.body) {
            self.counts.approval(&body, origin.time);
        }
        let index = self.append_to_approval(changes, draft, origin, (id, APPROVAL));
        if let Some(puts) = puts {
            self.put_in_force(changes, origin, message, &puts);
        }
        Ok(Some(index))
    }

    pub(super) fn append_to_approval(
        &mut self,
        changes: &mut Changes<'_>,
        draft: Draft,
        origin: Origin,
        (id, kind): (&Ident, u8),
    ) -> u64 {
        let index = self.append(changes, draft, origin, None);
        changes.put(Family::Approvals, self.number.approval(id, Some(index)), vec![kind]);
        index
    }
}

/// The body must name the approval of its subject, because the entry does not hold the subject.
fn approval_draft(message: &Prepared, subject: &Subject, id: &Ident) -> Option<Draft> {
    let body = json::parse(&message.body).ok()?;
    let named = body.get("approval_id").and_then(Value::as_str) == Some(id.as_str());
    named.then(|| plain_draft(Kind::Approval, message, subject)).flatten()
}
