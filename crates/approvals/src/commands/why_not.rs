//! The entry that says why a decision opened no approval: read, and written once for any number of servers.

use super::{Error, NotOpened, execute::Commands};
use decider::decision::{Decision, Fields};
use ledger::{
    canonical,
    entry::View,
    journal::Subject,
    log::merkle::Hash,
    post::{NOT_OPENED, NotOpenedBody},
    store,
    system::LeafAt,
};

impl Commands {
    /// Why the decision opened nothing, if an entry says so. What was wrong with its call is told again in full.
    pub(super) fn said_why(
        &self,
        decision: &Decision,
        payload: &Fields,
    ) -> Result<Option<NotOpened>, Error> {
        let corrupt = || store::Error::Corrupt { family: "approvals", what: "a not_opened entry" };
        let rows = self.reader.log.of_approval(&decision.id)?;
        let Some((index, _)) = rows.into_iter().find(|(_, kind)| *kind == NOT_OPENED) else {
            return Ok(None);
        };
        let entry = self.reader.log.entry(index)?.ok_or_else(corrupt)?;
        let body: Option<NotOpenedBody> = View::parse(&entry).and_then(|view| view.event_as());
        let body = body.filter(|body| body.decision.index == decision.index).ok_or_else(corrupt)?;
        let of_the_call = decision.call.asked(payload).err().map(NotOpened::from);
        Ok(Some(match body.not_opened.as_str() {
            "too_old" => NotOpened::TooOld,
            "no_rule" => NotOpened::NoRule,
            _ => of_the_call.unwrap_or(NotOpened::NoCall),
        }))
    }

    /// Appends the entry that says why the decision opened nothing. `false` if another worker's message came first.
    pub(super) async fn say_why(
        &self,
        decision: &Decision,
        why: &NotOpened,
        expected: u64,
    ) -> Result<bool, Error> {
        if why.is_said() {
            let body = NotOpenedBody {
                approval_id: decision.id.clone(),
                decision: LeafAt {
                    index: decision.index,
                    leaf_hash: Hash::parse(&decision.leaf).ok_or(Error::Unknown)?,
                },
                not_opened: why.code().to_owned(),
            };
            let subject = Subject::Approvals(decision.id.clone());
            let body = canonical::of(&body);
            match self.reader.log.append(&subject, &body, Some(expected)).await {
                Ok(_) => {}
                Err(error) if error.is_conflict() => {
                    // What came first may not be posted here yet.
                    self.reader.catch_up_with(&decision.id, expected).await?;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.not_opened.add(why.code());
        let (tenant, index, reason) = (self.reader.log.tenant(), decision.index, why.code());
        tracing::warn!(%tenant, index, reason, "a decision with the verdict approval_needed opened no approval");
        Ok(true)
    }

    /// Number of decisions since start that needed approval and opened none here, by reason.
    pub fn not_opened(&self) -> Vec<(&'static str, u64)> {
        self.not_opened.all()
    }
}
