//! Turns events into states, the same way for a worker now and for an auditor in ten years.
//!
//! A verifier can make every check here from the log alone. An event that can't follow marks the state as
//! corrupt and changes nothing else.

use super::{
    MINTS_MAX, QUESTIONS_MAX, REFUSALS_RECORDED_MAX, TOGETHER_MAX,
    event::{Choice, Event, Message, Method, Outcome, Reason, Requested, Via},
    producer,
    state::{Phase, Question, Redemption, Reply, Review, State, Token},
};
use ledger::{event::is_reserved_tool, ident::Ident, time::Nanos};

/// The state after a message. Checks chain and version, then applies each event. `leaf` is the leaf hash
/// (base64) of the message's entry, `at` its `journal.time`. At or after a deadline the result is `Expired` or
/// `Lapsed`, whatever the message says.
pub fn fold(mut state: State, message: &Message, leaf: &str, at: Nanos) -> State {
    if state.corrupt {
        return state;
    }
    let same = state.id.get_or_insert_with(|| message.approval_id.clone()) == &message.approval_id;
    let follows = same && message.n == state.n + 1 && message.prev == state.leaf;
    if !follows || message.events.is_empty() {
        state.corrupt = true;
        return state;
    }
    let seen = state.seen();
    for event in &message.events {
        let too_late = state.overdue(at).is_some() || redeemed_too_late(&state, event, at);
        state = evolve(state, event, at);
        if too_late {
            break; // the rest was said of a state that it was not in any more
        }
    }
    state.n = message.n;
    leaf.clone_into(&mut state.leaf);
    if state.seen() != seen {
        state.version = state.n;
    }
    state
}

/// See [`crate::Decider::evolve`].
pub(super) fn evolve(mut state: State, event: &Event, at: Nanos) -> State {
    if state.corrupt {
        return state;
    }
    if let Some(passed) = state.overdue(at) {
        // The event may be the expiry itself; it then gives the reason.
        let said = matches!((event, &passed), (Event::Expired { .. }, Event::Expired { .. }));
        apply(&mut state, if said { event } else { &passed }, at);
        return state;
    }
    state.corrupt = apply(&mut state, event, at).is_none();
    state
}

/// True if the redemption comes after the token's end. There is no tolerance, whatever the worker's clock
/// said.
fn redeemed_too_late(state: &State, event: &Event, at: Nanos) -> bool {
    let token_over = state.token.as_ref().is_some_and(|token| at >= token.exp);
    matches!(event, Event::Redeemed { .. }) && state.phase == Phase::Minted && token_over
}

/// Applies an event. `None` if it can't follow; then the state is unchanged.
fn apply(state: &mut State, event: &Event, at: Nanos) -> Option<()> {
    match event {
        Event::Requested(requested) => begin(state, requested),
        Event::Reviewed { .. } => answered_by_person(state, event, at),
        Event::Asked { question, by, evidence, .. } => asked(state, *question, (by, *evidence), at),
        Event::Answered { question, by, evidence } => {
            replied(state, *question, (by, *evidence), at)
        }
        Event::ReviewRejected { .. } => refused(state, &[Phase::Pending]),
        Event::RedeemRejected { .. } => {
            refused(state, &[Phase::Granted, Phase::Minted, Phase::Redeemed])
        }
        Event::Reminded => {
            in_phase(state, &[Phase::Pending])?;
            holds(!state.reminded)?;
            state.reminded = true;
            Some(())
        }
        Event::Escalated => {
            let requested = in_phase(state, &[Phase::Pending])?;
            holds(!state.escalated && !requested.rule.escalate.is_empty())?;
            state.escalated = true;
            Some(())
        }
        Event::Granted { by, execution_deadline } => granted(state, by, *execution_deadline, at),
        Event::Denied { by } => {
            let requested = in_phase(state, &[Phase::Pending])?;
            holds(*by == state.deniers() && by.len() >= requested.rule.deny as usize)?;
            end(state, &[Phase::Pending], Phase::Denied, None, at)
        }
        Event::Expired { reason } => {
            let code = match reason {
                Reason::Deadline => "deadline",
                Reason::Undeliverable => "undeliverable",
            };
            end(state, &[Phase::Pending], Phase::Expired, Some(code), at)
        }
        Event::Cancelled { reason, .. } => {
            let from = [Phase::Pending, Phase::Granted, Phase::Minted];
            end(state, &from, Phase::Cancelled, Some(reason), at)
        }
        Event::Superseded { .. } => end(state, &[Phase::Pending], Phase::Superseded, None, at),
        Event::Revoked { reason, .. } => {
            end(state, &[Phase::Granted, Phase::Minted], Phase::Revoked, Some(reason), at)
        }
        Event::Lapsed => end(state, &[Phase::Granted, Phase::Minted], Phase::Lapsed, None, at),
        Event::TokenMinted { jti, kid, enforcer, iat, exp } => {
            let token = Token { jti: jti.clone(), kid: kid.clone(), iat: *iat, exp: *exp };
            minted(state, token, enforcer)
        }
        Event::TokenLapsed { jti } => {
            in_phase(state, &[Phase::Minted])?;
            holds(state.token.as_ref()?.jti == *jti)?;
            state.phase = Phase::Granted;
            Some(())
        }
        Event::Redeemed { jti, redemption_id, enforcer } => {
            redeemed(state, event, (redemption_id, jti), enforcer, at)
        }
        Event::ExecutionReported { outcome } => reported(state, *outcome, at),
        Event::ClockReset { clock } => begin_anew(state, *clock, at),
        Event::ReportMissed => end(state, &[Phase::Redeemed], Phase::Unknown, None, at),
    }
}

fn holds(condition: bool) -> Option<()> {
    condition.then_some(())
}

fn in_phase<'a>(state: &'a State, phases: &[Phase]) -> Option<&'a Requested> {
    holds(phases.contains(&state.phase))?;
    state.requested.as_deref()
}

fn begin(state: &mut State, requested: &Requested) -> Option<()> {
    holds(state.phase == Phase::None && requested.is_sound())?;
    state.phase = Phase::Pending;
    state.requested = Some(Box::new(requested.clone()));
    Some(())
}

/// Checks what every review must have, and records it.
fn answered_by_person(state: &mut State, event: &Event, at: Nanos) -> Option<()> {
    let Event::Reviewed { by, decision, groups, displayed_dig, via, auth, signed, .. } = event
    else {
        return None;
    };
    let Event::Reviewed { reason, evidence, together, .. } = event else { return None };
    let requested = in_phase(state, &[Phase::Pending])?;
    let passkey = auth.method == Method::Passkey;
    let of_the_page = matches!(auth.method, Method::Passkey | Method::Oidc);
    holds(passkey == signed.is_some() && (!of_the_page || *via == Via::Web))?;
    let strong = *via == Via::Web && (of_the_page || auth.method == Method::Key);
    holds(signed.as_ref().is_none_or(|signed| signed.version == state.version))?;
    holds(requested.shows(displayed_dig))?;
    holds(requested.rule.step_up.is_none() || strong)?;
    holds(reason.is_none() || *decision == Choice::Deny)?;
    let alone = requested.rule.one_by_one || requested.rule.step_up.is_some() || passkey;
    let counted = together.is_none_or(|count| (1..=TOGETHER_MAX).contains(&count));
    holds(together.is_none() || (counted && !alone && *via == Via::Web))?;
    let (by, groups) = (by.clone(), groups.clone());
    let (decision, reason, evidence, together) = (*decision, *reason, *evidence, *together);
    reviewed(state, Review { by, decision, groups, at, reason, evidence, together })
}

/// Records a question. A person has one without an answer at most.
fn asked(state: &mut State, number: u32, said: (&Ident, u64), at: Nanos) -> Option<()> {
    let requested = in_phase(state, &[Phase::Pending])?;
    let (by, evidence) = (said.0.clone(), said.1);
    let next = u32::try_from(state.questions.len() + 1).ok()?;
    holds(number == next && number <= QUESTIONS_MAX && !requested.owners.contains(&by))?;
    holds(evidence > 0)?;
    holds(!state.questions.iter().any(|other| other.by == by && other.reply.is_none()))?;
    state.questions.push(Question { by, at, evidence, reply: None });
    Some(())
}

/// Records the answer to a question. Who owned the agent at that moment, a verifier can't check: only that it was the
/// gateway of the call, or a person who did not ask.
fn replied(state: &mut State, number: u32, said: (&str, u64), at: Nanos) -> Option<()> {
    let requested = in_phase(state, &[Phase::Pending])?;
    let gateway = said.0 == producer(&requested.opening.producer);
    let place = state.place(number)?;
    let question = &state.questions[place];
    let person = Ident::new(said.0).is_ok_and(|person| person != question.by);
    holds(question.reply.is_none() && (gateway || person))?;
    let (by, evidence) = (said.0.to_owned(), said.1);
    state.questions[place].reply = Some(Reply { by, at, evidence });
    Some(())
}

/// Records a review. Each person has one answer; only an approve may become a deny.
fn reviewed(state: &mut State, review: Review) -> Option<()> {
    let requested = state.requested.as_deref()?;
    let asked = requested.rule.quorum.groups();
    let groups_fit = review.groups.windows(2).all(|pair| pair[0] < pair[1])
        && review.groups.iter().all(|group| asked.contains(group.as_str()));
    holds(!review.groups.is_empty() && groups_fit && !requested.owners.contains(&review.by))?;
    let yes = review.decision == Choice::Approve;
    holds(!(yes && requested.lacks_owner()))?;
    match state.reviews.binary_search_by(|other| other.by.cmp(&review.by)) {
        Ok(at) => {
            holds(!yes && state.reviews[at].decision == Choice::Approve)?;
            state.reviews[at] = review;
        }
        Err(at) => state.reviews.insert(at, review),
    }
    Some(())
}

fn refused(state: &mut State, phases: &[Phase]) -> Option<()> {
    in_phase(state, phases)?;
    holds(state.refusals < REFUSALS_RECORDED_MAX)?;
    state.refusals += 1;
    Some(())
}

/// Counts the quorum again, with the named people and their recorded groups only. If as many people have
/// denied as the rule says, nothing is granted, whatever the log says.
fn granted(state: &mut State, by: &[Ident], deadline: Nanos, at: Nanos) -> Option<()> {
    let requested = in_phase(state, &[Phase::Pending])?;
    holds(state.deniers().len() < requested.rule.deny as usize)?;
    let mut approvers = state.approvers();
    approvers.retain(|person, _| by.contains(person));
    let reviewed = approvers.keys().eq(by) && requested.rule.quorum.is_filled_by(&approvers);
    let ours = is_reserved_tool(&requested.call.tool);
    let unreviewed = requested.rule.unreviewed && ours && by.is_empty() && state.reviews.is_empty();
    holds(reviewed || unreviewed)?;
    let deadline = deadline.min(at.plus_seconds(requested.rule.execute_within));
    state.execution_deadline = Some(deadline);
    state.granted_by = by.to_vec();
    state.granted_at = Some(at);
    state.phase = Phase::Granted;
    Some(())
}

fn minted(state: &mut State, token: Token, enforcer: &Ident) -> Option<()> {
    let requested = in_phase(state, &[Phase::Granted])?;
    holds(*enforcer == requested.opening.producer && state.mints < MINTS_MAX)?;
    let latest = token.iat.plus_seconds(requested.rule.token_life).min(state.execution_deadline?);
    holds(token.iat < token.exp && token.exp <= latest)?;
    holds(state.token.as_ref().is_none_or(|old| old.jti != token.jti))?;
    state.mints += 1;
    state.token = Some(token);
    state.phase = Phase::Minted;
    Some(())
}

fn redeemed(
    state: &mut State,
    event: &Event,
    (id, jti): (&str, &str),
    enforcer: &Ident,
    at: Nanos,
) -> Option<()> {
    let requested = in_phase(state, &[Phase::Minted])?;
    holds(*enforcer == requested.opening.producer && state.token.as_ref()?.jti == jti)?;
    if redeemed_too_late(state, event, at) {
        state.phase = Phase::Granted;
    } else {
        state.phase = Phase::Redeemed;
        let (redemption_id, jti) = (id.to_owned(), jti.to_owned());
        state.redeemed = Some(Redemption { redemption_id, jti, at });
        state.report_from = Some(at);
    }
    Some(())
}

/// Restarts the deadlines at `at`. An earlier token is void; another one may be made.
fn begin_anew(state: &mut State, clock: u64, at: Nanos) -> Option<()> {
    holds(state.is_behind(clock))?;
    let execute_within = state.requested.as_deref()?.rule.execute_within;
    if matches!(state.phase, Phase::Granted | Phase::Minted) {
        state.execution_deadline = Some(at.plus_seconds(execute_within));
        state.phase = Phase::Granted;
    }
    state.report_from = state.report_from.map(|_| at);
    state.clock = Some((clock, at));
    Some(())
}

/// Records a report. It may also come after the report was missed.
fn reported(state: &mut State, outcome: Outcome, at: Nanos) -> Option<()> {
    holds(state.report.is_none())?;
    let phase = match outcome {
        Outcome::Succeeded => Phase::Completed,
        Outcome::Failed | Outcome::NotStarted => Phase::Failed,
        Outcome::Unknown => Phase::Unknown,
    };
    end(state, &[Phase::Redeemed, Phase::Unknown], phase, None, at)?;
    state.report = Some(outcome);
    Some(())
}

fn end(state: &mut State, from: &[Phase], to: Phase, why: Option<&str>, at: Nanos) -> Option<()> {
    in_phase(state, from)?;
    state.phase = to;
    state.ended_at = Some(at);
    state.end_reason = why.map(str::to_owned);
    Some(())
}
