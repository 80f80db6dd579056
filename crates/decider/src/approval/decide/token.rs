//! Tokens: made on demand, redeemed once.

use super::{Answer, BY_RULE, Case, RULE_CHANGED, Refusal, refuse};
use crate::approval::{
    CLOCK_SKEW_MAX, MINTS_MAX, REFUSALS_RECORDED_MAX, World, event::Event, is_id, state::Phase,
};
use ledger::{ident::Ident, time::Nanos};

/// Parts of a mint command.
pub(super) struct MintCall<'a> {
    pub(super) world: &'a World,
    pub(super) enforcer: &'a Ident,
    pub(super) jti: &'a str,
    pub(super) kid: &'a str,
}

/// Parts of a redeem command.
pub(super) struct RedeemCall<'a> {
    pub(super) world: &'a World,
    pub(super) enforcer: &'a Ident,
    pub(super) jti: &'a str,
    pub(super) digest: &'a str,
    pub(super) redemption_id: &'a str,
}

impl Case<'_> {
    /// Makes a token. While one is valid, this gives no event: the worker signs the same token again.
    pub(super) fn mint(&self, call: &MintCall<'_>) -> Answer {
        if !self.is_enforcer(call.enforcer) {
            return refuse(Refusal::NotYours);
        }
        if !is_id(call.jti) || !is_id(call.kid) {
            return refuse(Refusal::Malformed);
        }
        let now = call.world.now;
        if let Some(answer) = self.not_in(&[Phase::Granted, Phase::Minted], now) {
            return answer;
        }
        if self.rule_changed(call.world) {
            return revoked_by_rule();
        }
        if let Some(answer) = self.not_by_policy(call.world) {
            return answer;
        }
        let lapse = self.token_lapse(now);
        if self.state.phase == Phase::Minted && lapse.is_none() {
            return Answer::events([]);
        }
        if self.state.token.as_ref().is_some_and(|old| old.jti == call.jti) {
            return refuse(Refusal::Malformed); // a new token has a new id
        }
        let mut events: Vec<Event> = lapse.into_iter().collect();
        if self.state.mints >= MINTS_MAX {
            return Answer::refused(Refusal::TooManyMints, events);
        }
        let life = now.plus_seconds(self.requested.rule.token_life);
        // Times in a token are whole seconds, so record them as whole seconds too.
        let exp = whole_seconds(self.state.execution_deadline.map_or(life, |d| life.min(d)));
        if exp <= now {
            return Answer::refused(Refusal::TooLate, events); // less than a second is left
        }
        events.push(Event::TokenMinted {
            jti: call.jti.to_owned(),
            kid: call.kid.to_owned(),
            enforcer: call.enforcer.clone(),
            iat: now,
            exp,
        });
        Answer::events(events)
    }

    /// Redeems the token. Compare-and-swap lets one redemption win; every other one is refused here, with the
    /// reason.
    pub(super) fn redeem(&self, call: &RedeemCall<'_>) -> Answer {
        if !is_id(call.jti) || !is_id(call.redemption_id) {
            return refuse(Refusal::Malformed);
        }
        if !self.is_enforcer(call.enforcer) {
            return self.redeem_rejected(call, Refusal::NotYours);
        }
        if self.state.redeemed.is_some() {
            return self.redeemed_before(call);
        }
        let now = call.world.now;
        if let Some(answer) = self.not_in(&[Phase::Granted, Phase::Minted], now) {
            return answer;
        }
        if let Some(why) = self.not_live(call) {
            return self.redeem_rejected(call, why);
        }
        if let Some(lapse) = self.token_lapse(now) {
            return Answer::refused(Refusal::TooLate, [lapse]);
        }
        if self.rule_changed(call.world) {
            return revoked_by_rule();
        }
        if let Some(answer) = self.not_by_policy(call.world) {
            return answer;
        }
        if call.digest != self.requested.call.digest {
            return self.redeem_rejected(call, Refusal::DigestMismatch);
        }
        Answer::events([Event::Redeemed {
            jti: call.jti.to_owned(),
            redemption_id: call.redemption_id.to_owned(),
            enforcer: call.enforcer.clone(),
        }])
    }

    /// A retry learns that its redemption won, whatever became of the call since. But only if it brings the
    /// same call.
    fn redeemed_before(&self, call: &RedeemCall<'_>) -> Answer {
        if !self.state.is_redeemed_by(call.redemption_id, call.jti) {
            return self.redeem_rejected(call, Refusal::AlreadyRedeemed);
        }
        if call.digest != self.requested.call.digest {
            return self.redeem_rejected(call, Refusal::DigestMismatch);
        }
        Answer::events([])
    }

    /// Why this token is not the valid one. A token whose time has passed is refused as too late, not as
    /// unknown.
    fn not_live(&self, call: &RedeemCall<'_>) -> Option<Refusal> {
        let token = self.state.token.as_ref().filter(|token| token.jti == call.jti);
        let Some(token) = token else { return Some(Refusal::TokenNotLive) };
        if self.state.phase == Phase::Granted {
            return Some(Refusal::TooLate);
        }
        (call.world.now.plus_seconds(CLOCK_SKEW_MAX) < token.iat).then_some(Refusal::TokenNotLive)
    }

    /// Records a refused redemption, up to a limit, while the grant can be redeemed or its report is awaited.
    fn redeem_rejected(&self, call: &RedeemCall<'_>, why: Refusal) -> Answer {
        let recorded = [Phase::Granted, Phase::Minted, Phase::Redeemed];
        if !recorded.contains(&self.state.phase) || self.state.refusals >= REFUSALS_RECORDED_MAX {
            return refuse(why);
        }
        let event = Event::RedeemRejected {
            jti: call.jti.to_owned(),
            enforcer: call.enforcer.clone(),
            why: why.to_string(),
        };
        Answer::refused(why, [event])
    }
}

fn revoked_by_rule() -> Answer {
    let event = Event::Revoked { by: BY_RULE.to_owned(), reason: RULE_CHANGED.to_owned() };
    Answer::refused(Refusal::RuleChanged, [event])
}

/// `at` rounded down to a whole second.
fn whole_seconds(at: Nanos) -> Nanos {
    Nanos(at.0 - at.0 % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(at: u64, expected: u64) {
        assert_eq!(whole_seconds(Nanos(at)), Nanos(expected));
    }

    /// A token's times have no fraction, and `iat` is never later than the given moment.
    #[test]
    fn a_second_begins_where_it_begins() {
        check(7_000_000_000, 7_000_000_000);
        check(7_999_999_999, 7_000_000_000);
        check(999_999_999, 0);
    }
}
