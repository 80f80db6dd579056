//! Posts that a decision opened no approval, and why. The message is on the subject of the approval that it would have
//! opened, so compare-and-swap decides between the two, for any number of servers.

use super::{Error, Log, Prepared, signed};
use crate::{
    entry::{Kind, Origin, View},
    event::Verdict,
    ident::Ident,
    journal::Subject,
    json::{self, Value},
    log::merkle::leaf_hash,
    store::Changes,
    system::LeafAt,
};
use serde::{Deserialize, Serialize};

/// Value in the family `approvals` of a `not_opened` entry.
pub const NOT_OPENED: u8 = b'n';
/// Why a decision with the verdict `approval_needed` opens nothing (`proto/errors.md`).
pub const NOT_OPENED_REASONS: [&str; 5] =
    ["no_call", "no_digest", "digest_mismatch", "too_old", "no_rule"];

/// The body of a message on `approvals.<id>` that says that no approval was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotOpenedBody {
    /// The approval that was not opened.
    pub approval_id: Ident,
    /// The decision.
    pub decision: LeafAt,
    /// One of [`NOT_OPENED_REASONS`].
    pub not_opened: String,
}

/// True if a body on an approval's subject says that it was not opened.
pub(super) fn is_not_opened(body: &[u8]) -> bool {
    json::parse(body).is_ok_and(|body| body.get("not_opened").is_some())
}

impl Log {
    /// Posts that the decision it names opened nothing. `None` if it is not a decision that asks for this approval.
    pub(super) fn post_not_opened(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        (subject, id): (&Subject, &Ident),
    ) -> Result<Option<u64>, Error> {
        let Some(body) = signed::read::<NotOpenedBody>(&message.body) else { return Ok(None) };
        let LeafAt { index, leaf_hash: hash } = &body.decision;
        let known = NOT_OPENED_REASONS.contains(&body.not_opened.as_str());
        if body.approval_id != *id || !known || *index >= self.position.size {
            return Ok(None);
        }
        let entry = self.proven(changes, *index)?;
        let asks = View::parse(&entry).is_some_and(|view| {
            let verdict = view.at(&["event", "data", "verdict"]).and_then(Value::as_str);
            view.kind == Kind::Decision
                && verdict == Some(Verdict::ApprovalNeeded.as_str())
                && view.scope().approval_id(&self.tenant) == *id
        });
        if !asks || leaf_hash(&entry) != *hash {
            return Ok(None);
        }
        let draft = signed::plain_draft(Kind::NotOpened, message, subject);
        Ok(draft.map(|draft| self.append_to_approval(changes, draft, origin, (id, NOT_OPENED))))
    }
}
