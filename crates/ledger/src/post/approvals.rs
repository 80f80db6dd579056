//! Posts what happens to approvals.

use super::{
    APPROVAL, Error, Log, Prepared,
    form::{NOT_OPENED, OfApproval, Says},
};
use crate::{
    budget::{Account, Turn},
    entry::{Draft, Origin},
    history::Track,
    ident::Ident,
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
        (form, id): (OfApproval, &Ident),
    ) -> Result<Option<u64>, Error> {
        let OfApproval { draft, says } = form;
        let (activates, redeems, decision, counted, turn, outcome) = match says {
            Says::NotOpened(body) => {
                let asks = self.asks_for(changes, &body, id)?;
                if !asks {
                    return Ok(None);
                }
                Account::new(changes, self.number).turn(id, Turn::Ends, origin.time)?;
                return Ok(Some(self.append_to_approval(changes, draft, origin, (id, NOT_OPENED))));
            }
            Says::Happened { activates, redeems, decision, counted, turn, outcome } => {
                (activates, redeems, decision, counted, turn, outcome)
            }
        };
        if redeems && !self.may_be_redeemed(changes, id, decision.as_ref())? {
            return Ok(None);
        }
        let puts = match activates {
            None => None,
            Some(activates) => match self.puts(changes, (id, origin.time), activates)? {
                Some(puts) => Some(puts),
                // One message: neither is redeemed what can't be activated, nor the reverse.
                None => return Ok(None),
            },
        };
        self.counts.facts(counted, origin.time);
        if let Some(turn) = turn {
            Account::new(changes, self.number).turn(id, turn, origin.time)?;
        }
        if let Some(outcome) = outcome {
            Track::new(changes, self.number).approved(id, outcome, self.position.size)?;
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
