//! Turns commands into events. Each command is judged by the world of its moment: the worker's clock, the
//! people and the rule now.
//!
//! Four things hold for every command. A corrupt approval refuses everything. A command whose effect is
//! already in the log gives no event and no refusal. A deadline that has passed, or a rule that has changed,
//! makes its event happen, and the command itself is refused.

mod questions;
mod review;
mod token;

use super::{
    Answer, Command, PolicyNow, Refusal, World,
    event::{Event, Outcome, Reason, Requested},
    evolve::evolve,
    is_code, is_id,
    state::{Phase, State},
};
use ledger::{ident::Ident, time::Nanos};
use questions::Asking;
use review::Click;
use token::{MintCall, RedeemCall};

/// See [`crate::Decider::decide`]. If a `clock` entry restarted time, that event comes first, and the command
/// is judged by the new deadlines.
pub(super) fn decide(state: &State, command: &Command) -> Answer {
    let reset = command.world().and_then(|world| {
        let clock = world.clock.filter(|clock| !state.corrupt && state.is_behind(*clock))?;
        // An approval that is also over by the new time stays over.
        state.overdue(world.now).is_none().then_some((Event::ClockReset { clock }, world.now))
    });
    let Some((reset, now)) = reset else { return decide_now(state, command) };
    let mut answer = decide_now(&evolve(state.clone(), &reset, now), command);
    answer.events.insert(0, reset);
    answer
}

fn decide_now(state: &State, command: &Command) -> Answer {
    if state.corrupt {
        return refuse(Refusal::Corrupt);
    }
    if let Command::Request { requested, cancel } = command {
        return request(state, requested, cancel.as_deref());
    }
    let Some(requested) = state.requested.as_deref() else { return refuse(Refusal::NotFound) };
    let case = Case { state, requested };
    match command {
        Command::Request { .. } => refuse(Refusal::NotNow),
        Command::Review {
            world,
            by,
            decision,
            via,
            auth,
            displayed_dig,
            version,
            shown_at,
            evidence,
            reason,
            signed,
            together,
        } => case.review(&Click {
            world,
            by: by.as_ref(),
            decision: *decision,
            via: *via,
            auth: *auth,
            displayed_dig,
            version: *version,
            shown_at: *shown_at,
            evidence: *evidence,
            reason: *reason,
            signed: signed.as_deref(),
            together: *together,
        }),
        Command::Ask { world, by, via, auth, displayed_dig, evidence } => {
            case.ask(&Asking { world, by, via: *via, auth: *auth, displayed_dig }, *evidence)
        }
        Command::Reply { world, question, by, evidence } => {
            case.reply(world, *question, by, *evidence)
        }
        Command::Tick { world, undeliverable } => case.tick(world, *undeliverable),
        Command::Cancel { world, by, reason } => {
            let event = Event::Cancelled { by: by.clone(), reason: reason.clone() };
            case.withdraw(world.now, Phase::Cancelled, (by, reason), event)
        }
        Command::Revoke { world, by, reason } => {
            let event = Event::Revoked { by: by.clone(), reason: reason.clone() };
            case.withdraw(world.now, Phase::Revoked, (by, reason), event)
        }
        Command::Mint { world, enforcer, jti, kid } => {
            case.mint(&MintCall { world, enforcer, jti, kid })
        }
        Command::Redeem { world, enforcer, jti, digest, redemption_id } => {
            case.redeem(&RedeemCall { world, enforcer, jti, digest, redemption_id })
        }
        Command::Report { enforcer, outcome, .. } => case.report(enforcer, *outcome),
    }
}

fn refuse(why: Refusal) -> Answer {
    Answer::refused(why, [])
}

fn request(state: &State, requested: &Requested, cancel: Option<&str>) -> Answer {
    if let Some(begun) = &state.requested {
        let same = begun.opening == requested.opening;
        return if same { Answer::events([]) } else { refuse(Refusal::NotNow) };
    }
    if !requested.is_sound() || !cancel.is_none_or(is_code) {
        return refuse(Refusal::Malformed);
    }
    let mut events = vec![Event::Requested(Box::new(requested.clone()))];
    if requested.rule.unreviewed && cancel.is_none() {
        let execution_deadline = requested.requested_at.plus_seconds(requested.rule.execute_within);
        events.push(Event::Granted { by: Vec::new(), execution_deadline });
    }
    events.extend(cancel.map(|reason| Event::Cancelled {
        by: "countersign".to_owned(),
        reason: reason.to_owned(),
    }));
    Answer::events(events)
}

/// An approval that has been requested.
struct Case<'a> {
    state: &'a State,
    requested: &'a Requested,
}

impl Case<'_> {
    /// The answer if the approval is in none of these phases, if a deadline has passed, or if it has ended.
    /// Checked before anything else.
    fn not_in(&self, phases: &[Phase], now: Nanos) -> Option<Answer> {
        if let Some(passed) = self.state.overdue(now) {
            return Some(Answer::refused(Refusal::TooLate, [passed]));
        }
        (!phases.contains(&self.state.phase)).then(|| refuse(self.why_not_now()))
    }

    /// The refusal for a command that comes after the end: the same as for the command that caused the end.
    fn why_not_now(&self) -> Refusal {
        match self.state.phase {
            Phase::Expired | Phase::Lapsed => Refusal::TooLate,
            Phase::Superseded => Refusal::RuleChanged,
            Phase::Revoked if self.state.end_reason.as_deref() == Some(RULE_CHANGED) => {
                Refusal::RuleChanged
            }
            Phase::Revoked | Phase::Cancelled
                if self.state.end_reason.as_deref() == Some(POLICY_DENIES) =>
            {
                Refusal::PolicyDenies
            }
            _ => Refusal::NotNow,
        }
    }

    /// True if another rule matches now. False if the rule is unknown.
    fn rule_changed(&self, world: &World) -> bool {
        world.rule.as_ref() != Some(&self.requested.rule_digest)
    }

    /// What ends an approval whose call the policies in force deny now, while nothing was released.
    fn ended_by_policy(&self, world: &World) -> Option<Event> {
        let (by, reason) = (BY_POLICY.to_owned(), POLICY_DENIES.to_owned());
        match self.state.phase {
            _ if world.policy != PolicyNow::Denies => None,
            Phase::Pending => Some(Event::Cancelled { by, reason }),
            Phase::Granted | Phase::Minted => Some(Event::Revoked { by, reason }),
            _ => None,
        }
    }

    /// The answer to a request for release that the policies in force do not let pass.
    fn not_by_policy(&self, world: &World) -> Option<Answer> {
        if world.policy == PolicyNow::Unreadable {
            return Some(refuse(Refusal::PolicyUnreadable));
        }
        let ended = self.ended_by_policy(world)?;
        Some(Answer::refused(Refusal::PolicyDenies, [ended]))
    }

    fn is_enforcer(&self, who: &Ident) -> bool {
        *who == self.requested.opening.producer
    }

    /// Cancels or revokes. Not possible after the redemption; a repetition changes nothing.
    fn withdraw(&self, now: Nanos, to: Phase, said: (&str, &str), event: Event) -> Answer {
        if !is_id(said.0) || !is_code(said.1) {
            return refuse(Refusal::Malformed);
        }
        if self.state.phase == to {
            return Answer::events([]);
        }
        if self.state.redeemed.is_some() {
            return refuse(Refusal::AlreadyRedeemed);
        }
        let granted = [Phase::Granted, Phase::Minted];
        let any = [Phase::Pending, Phase::Granted, Phase::Minted];
        let from = if to == Phase::Revoked { &granted[..] } else { &any[..] };
        self.not_in(from, now).unwrap_or_else(|| Answer::events([event]))
    }

    fn report(&self, enforcer: &Ident, outcome: Outcome) -> Answer {
        if !self.is_enforcer(enforcer) {
            return refuse(Refusal::NotYours);
        }
        match self.state.report {
            _ if self.state.redeemed.is_none() => refuse(Refusal::NotNow),
            None => Answer::events([Event::ExecutionReported { outcome }]),
            Some(before) if before == outcome => Answer::events([]),
            Some(_) => refuse(Refusal::AlreadyReported),
        }
    }

    /// Events that time alone causes. An unknown rule changes nothing here: it may be known again in a moment.
    fn tick(&self, world: &World, undeliverable: bool) -> Answer {
        let (state, now) = (self.state, world.now);
        let due = |time: Option<Nanos>| time.is_some_and(|time| now >= time);
        let mut events = Vec::new();
        if let Some(passed) = state.overdue(now) {
            events.push(match passed {
                Event::Expired { .. } if undeliverable => {
                    Event::Expired { reason: Reason::Undeliverable }
                }
                passed => passed,
            });
        } else if state.phase == Phase::Pending && world.rule.is_some() && self.rule_changed(world)
        {
            events.push(Event::Superseded { rule: world.rule.clone() });
        } else if let Some(ended) = self.ended_by_policy(world) {
            events.push(ended);
        } else if state.phase == Phase::Pending {
            if !state.reminded && due(state.reminder_at()) {
                events.push(Event::Reminded);
            }
            if !state.escalated && due(state.escalation_at()) {
                events.push(Event::Escalated);
            }
        } else if state.phase == Phase::Minted {
            events.extend(self.token_lapse(now));
        } else if state.phase == Phase::Redeemed && due(state.report_deadline()) {
            events.push(Event::ReportMissed);
        }
        Answer::events(events)
    }

    /// The event that ends the valid token, if its time has passed.
    fn token_lapse(&self, now: Nanos) -> Option<Event> {
        let live = self.state.token.as_ref().filter(|_| self.state.phase == Phase::Minted)?;
        (now >= live.exp).then(|| Event::TokenLapsed { jti: live.jti.clone() })
    }
}

/// Reason code of a revocation by another rule.
const RULE_CHANGED: &str = "rule_changed";
/// `by` of a revocation by another rule.
const BY_RULE: &str = "rule";
/// Reason code of an end by the policies in force.
const POLICY_DENIES: &str = "policy_denies";
/// `by` of an end by the policies in force.
const BY_POLICY: &str = "policy";
