//! Posts that a decision opened no approval, and why. The message is on the subject of the approval that it would have
//! opened, so compare-and-swap decides between the two, for any number of servers.

use super::{Error, Log, NotOpenedBody};
use crate::{
    entry::{Kind, View},
    event::Verdict,
    ident::Ident,
    json::Value,
    log::merkle::leaf_hash,
    store::Changes,
    system::LeafAt,
};

impl Log {
    /// True if the decision that a body names asks for this approval.
    pub(super) fn asks_for(
        &self,
        changes: &Changes<'_>,
        body: &NotOpenedBody,
        id: &Ident,
    ) -> Result<bool, Error> {
        let LeafAt { index, leaf_hash: hash } = &body.decision;
        if !(self.kept_from()..self.position.size).contains(index) {
            return Ok(false);
        }
        let entry = self.proven(changes, *index)?;
        let asks = View::parse(&entry).is_some_and(|view| {
            let verdict = view.at(&["event", "data", "verdict"]).and_then(Value::as_str);
            view.kind == Kind::Decision
                && verdict == Some(Verdict::ApprovalNeeded.as_str())
                && view.scope().approval_id(&self.tenant) == *id
        });
        Ok(asks && leaf_hash(&entry) == *hash)
    }
}
