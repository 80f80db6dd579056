//! Posts freezes and lifts, and refuses to redeem what is frozen (P14).

use super::{Error, Log, Prepared, body, freezes::of_clause};
use crate::{
    canonical,
    entry::{Kind, Origin, View},
    ident::Ident,
    journal::Subject,
    log::merkle::leaf_hash,
    store::Changes,
    system::{
        LeafAt,
        freeze::{Acting, FreezeBody, FreezeScope},
    },
};

impl Log {
    /// Posts that somebody freezes something, or lifts a freeze.
    pub(super) fn post_freeze(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let body: FreezeBody = body::read(&message.body)?;
        let by_clause = matches!(&body, FreezeBody::Freeze(freeze) if freeze.decision.is_some());
        let mut after = self.position.freezes.clone();
        let fits = !by_clause
            && self.is_earlier(body.reason())
            && after.take(self.position.size, &body, &self.tenant).is_ok();
        if !fits {
            return None;
        }
        let index = self.append_plain(changes, (Kind::Freeze, origin), message, subject)?;
        self.position.freezes = after;
        Some(index)
    }

    /// Freezes what the clause of the decision at `decision` says, as an entry of its own.
    pub(super) fn freeze_by_clause(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        (decision, scope, call): (LeafAt, FreezeScope, &Acting),
    ) {
        let Some(target) = self.position.freezes.by_clause(scope, call) else { return };
        let index = self.position.size;
        let body = of_clause(target, decision);
        let mut after = self.position.freezes.clone();
        if after.take(index, &body, &self.tenant).is_err() {
            // The form of a decision makes sure that its agent and its producer can be frozen.
            return;
        }
        let event = canonical::of(&body);
        self.append_beside(changes, (Kind::Freeze, "freeze"), origin, message, &event);
        self.position.freezes = after;
    }

    /// True if a redemption stands here: nothing that is frozen is redeemed. `decision`: that of the approval `id`, as the
    /// message names it.
    pub(super) fn may_be_redeemed(
        &self,
        changes: &Changes<'_>,
        id: &Ident,
        decision: Option<&LeafAt>,
    ) -> Result<bool, Error> {
        if self.position.freezes.is_empty() {
            return Ok(true);
        }
        let Some(LeafAt { index, leaf_hash: hash }) = decision else { return Ok(false) };
        if !(self.kept_from()..self.position.size).contains(index) {
            return Ok(false);
        }
        let entry = self.proven(changes, *index)?;
        let Some(view) = View::parse(&entry) else { return Ok(false) };
        let opens = view.kind == Kind::Decision
            && view.scope().approval_id(&self.tenant) == *id
            && leaf_hash(&entry) == *hash;
        let data = view.at(&["event", "data"]).filter(|_| opens);
        let producer = view.text(&["producer"]).unwrap_or_default();
        Ok(data.is_some_and(|data| {
            self.position.freezes.stopping(&Acting::of(producer, data)).is_none()
        }))
    }
}
