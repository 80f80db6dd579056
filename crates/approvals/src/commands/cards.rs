//! Makes cards: the approval as people see it now.

use super::{
    Error, JudgedNow, PoliciesNow, case::Case, reader::ApprovalReader, readiness::Readiness,
};
use crate::{
    cards::{Card, FrozenCall, Making, page_url},
    history::Approval,
    setup::Setup,
};
use decider::{approval::Phase, decision::Frozen};
use ledger::ident::Ident;
use std::sync::Arc;

/// Makes the cards of one tenant.
#[derive(Clone)]
pub struct CardMaker {
    pub(crate) reader: ApprovalReader,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) policies: PoliciesNow,
    /// Our address as clients see it, without a slash at the end.
    pub(crate) public_url: Arc<str>,
}

impl CardMaker {
    /// The approval as people see it now, and its frozen call if that is the call that was hashed.
    pub fn card(&self, approval: &Approval) -> Result<(Card, Option<Frozen>), Error> {
        let (_, frozen) = self.reader.opening(approval)?;
        let setup = self.readiness.rules.known().ok();
        let card = self.of(approval, frozen.as_ref(), setup.as_deref())?;
        let hashed = frozen.filter(|frozen| frozen.digest == card.digest);
        Ok((card, hashed))
    }

    /// The card of what was read for a command.
    pub(crate) fn of_case(&self, case: &Case) -> Result<Card, Error> {
        self.of(&case.approval, case.frozen.as_ref(), Some(&case.setup))
    }

    fn of(
        &self,
        approval: &Approval,
        frozen: Option<&Frozen>,
        setup: Option<&Setup>,
    ) -> Result<Card, Error> {
        let call = frozen.map(|frozen| FrozenCall {
            params: &frozen.params,
            agent_says: frozen.agent_says.as_deref(),
        });
        let card = Card::of(&Making {
            tenant: self.tenant(),
            approval: &approval.id,
            state: &approval.state,
            call,
            setup,
            public_url: &self.public_url,
            now: self.readiness.clocks.now(),
            frozen: self.is_frozen(approval)?,
        });
        let mut card = card.ok_or(Error::NotFound)?;
        // A call that can't be shown to be the hashed one must not be approved (P7).
        card.complete &= frozen.is_some_and(|frozen| frozen.digest == card.digest);
        card.policy_now = self.policy_now(approval).map(|now| match now {
            Ok(now) => now.in_words(),
            Err(_) => {
                "The policies in force can't be read here: nothing is released until they can."
                    .into()
            }
        });
        Ok(card)
    }

    /// What the policies in force say of the call, if they changed, and while nothing is released.
    ///
    /// Errors: why they can't be read.
    pub fn policy_now(&self, approval: &Approval) -> Option<Result<JudgedNow, String>> {
        let requested = approval.state.requested.as_ref().filter(|_| waits(approval))?;
        self.policies.otherwise(requested.opening.index).transpose()
    }

    /// True if cards must say that the call is frozen: it is not over, and a freeze stops it.
    pub(crate) fn is_frozen(&self, approval: &Approval) -> Result<bool, Error> {
        Ok(waits(approval) && self.reader.stopped(approval)?.is_some())
    }

    fn tenant(&self) -> &Ident {
        self.reader.log.tenant()
    }

    /// Where people find the page of an approval.
    pub fn page_of(&self, approval: &Ident) -> String {
        page_url(&self.public_url, approval)
    }

    /// Our address as clients see it, without a slash at the end.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }
}

/// True until its call is released or will never be.
fn waits(approval: &Approval) -> bool {
    matches!(approval.state.phase, Phase::Pending | Phase::Granted | Phase::Minted)
}
