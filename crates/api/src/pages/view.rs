//! Content of the pages: words for states and events, times, rows.

use approvals::{cards::Card, display::Field, setup::Setup};
pub use approvals::{
    cards::FROZEN,
    display::{runs, span},
};
use chrono::{DateTime, Utc};
use decider::{
    approval::{Choice, Event, Outcome, Phase, Reason, Via},
    words,
};
use ledger::{foreign::harmless, ident::Ident, time::Nanos};

/// A time as people read it, with its zone and its distance from now.
pub struct Moment {
    /// RFC 3339 in whole seconds, for machines.
    pub iso: String,
    /// `20 Nov 2026, 10:14 UTC`
    pub text: String,
    /// `20 Nov, 10:14 UTC`: for what is near.
    pub near: String,
    /// `in 12 min`, `3 h ago`
    pub relative: String,
    /// True if it is less than ten minutes ahead.
    pub soon: bool,
}

/// A deadline closer than this is marked, in seconds.
const SOON_SECONDS: u64 = 600;

impl Moment {
    /// A time as seen at `now`.
    pub fn new(at: Nanos, now: Nanos) -> Self {
        let nanos = i64::try_from(at.0).unwrap_or(i64::MAX);
        let time = DateTime::<Utc>::from_timestamp_nanos(nanos);
        let seconds = at.seconds().abs_diff(now.seconds());
        let far = span(seconds);
        let relative = if at > now { format!("in {far}") } else { format!("{far} ago") };
        Self {
            iso: time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            text: time.format("%-d %b %Y, %H:%M UTC").to_string(),
            near: time.format("%-d %b, %H:%M UTC").to_string(),
            relative,
            soon: at <= now || seconds < SOON_SECONDS,
        }
    }
}

/// A time as people read it, whenever that is.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
pub fn moment(at: &Nanos) -> Moment {
    Moment::new(*at, *at)
}

/// For how long a time of a call has passed, in words.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
pub fn passed(field: &Field, now: &Nanos) -> Option<String> {
    field.passed(*now)
}

/// The phase of a card in words, and its colour.
pub fn phase(card: &Card) -> (&'static str, &'static str) {
    (words::phase(card.phase, card.end_reason.as_deref()), tone(card.phase))
}

fn tone(phase: Phase) -> &'static str {
    match phase {
        Phase::None | Phase::Pending => "waiting",
        Phase::Granted | Phase::Minted | Phase::Redeemed | Phase::Completed => "good",
        Phase::Failed | Phase::Unknown | Phase::Denied | Phase::Revoked => "bad",
        Phase::Expired | Phase::Cancelled | Phase::Superseded | Phase::Lapsed => "over",
    }
}

/// One line of the history.
pub struct Told {
    /// The person, if there is one.
    pub who: Option<String>,
    /// What happened.
    pub what: String,
    /// Colour of the line.
    pub tone: &'static str,
}

/// An event in words.
pub fn told(event: &Event, setup: &Setup) -> Told {
    let name = |id: &Ident| setup.name_of(id);
    let names = |ids: &[Ident]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
    let line = |tone, what: String| Told { who: None, what, tone };
    let ended = |phase, end_reason| words::phase(phase, end_reason).to_owned();
    match event {
        Event::Requested(_) => line("", "Call paused, people asked".into()),
        Event::Reviewed { by, decision, via, reason, together, .. } => {
            let (word, tone) = answer(*decision);
            let why = reason.map(|reason| format!(": {}", words::deny_reason(reason)));
            let with = together.map(|count| format!(", {}", words::together(count)));
            let (why, with) = (why.unwrap_or_default(), with.unwrap_or_default());
            let what = format!("{word} ({}{with}){why}", place(*via));
            Told { who: Some(name(by)), what, tone }
        }
        Event::Asked { question, by, via, .. } => {
            let what = format!("Asked question {question} ({})", place(*via));
            Told { who: Some(name(by)), what, tone: "" }
        }
        Event::Answered { question, by, .. } => {
            let what = format!("Answered question {question}");
            Told { who: Some(replier(by, setup)), what, tone: "" }
        }
        Event::ReviewRejected { by, via, why } => Told {
            who: by.as_ref().map(name),
            what: format!("An answer was refused ({}): {}", place(*via), code(why)),
            tone: "over",
        },
        Event::Reminded => line("", "Reminder sent".into()),
        Event::Escalated => line("", "Escalated to more people".into()),
        Event::Granted { by, .. } => line("good", format!("Granted: {}", names(by))),
        Event::Denied { by } => line("bad", format!("Denied: {}", names(by))),
        Event::Expired { reason } => {
            let unreached = *reason == Reason::Undeliverable;
            line("over", ended(Phase::Expired, unreached.then_some("undeliverable")))
        }
        Event::Cancelled { by, reason } => {
            line("over", format!("Cancelled by {}: {}", harmless(by), code(reason)))
        }
        Event::Superseded { .. } => line("over", ended(Phase::Superseded, None)),
        Event::TokenMinted { enforcer, .. } => line("", format!("Token issued to {enforcer}")),
        Event::TokenLapsed { .. } => line("", "Token expired before it was redeemed".into()),
        Event::Redeemed { enforcer, .. } => line("good", format!("Redeemed by {enforcer}")),
        Event::RedeemRejected { enforcer, why, .. } => {
            line("bad", format!("A redemption by {enforcer} was refused: {}", code(why)))
        }
        Event::ExecutionReported { outcome } => reported(*outcome),
        Event::ReportMissed => line("bad", "No report of the outcome in time".into()),
        Event::Revoked { by, reason } => {
            let by = Ident::new(by).map_or_else(|_| harmless(by), |id| name(&id));
            line("bad", format!("Revoked by {by}: {}", code(reason)))
        }
        Event::ClockReset { .. } => {
            line("", "A clock was wrong: deadlines count again from here".into())
        }
        Event::Lapsed => line("over", ended(Phase::Lapsed, None)),
    }
}

/// Who answered a question, in words.
pub fn replier(by: &str, setup: &Setup) -> String {
    match by.strip_prefix("producer:") {
        Some(gateway) => format!("Gateway {}", harmless(gateway)),
        None => Ident::new(by).map_or_else(|_| harmless(by), |person| setup.name_of(&person)),
    }
}

fn reported(outcome: Outcome) -> Told {
    let (tone, what) = match outcome {
        Outcome::Succeeded => ("good", "The call was carried out"),
        Outcome::Failed => ("bad", "The call failed"),
        Outcome::NotStarted => ("bad", "The call was never started"),
        Outcome::Unknown => ("bad", "The outcome is unknown"),
    };
    Told { who: None, what: what.into(), tone }
}

/// A choice in words, and its colour.
pub fn answer(decision: Choice) -> (&'static str, &'static str) {
    match decision {
        Choice::Approve => ("Approved", "good"),
        Choice::Deny => ("Denied", "bad"),
    }
}

fn place(via: Via) -> &'static str {
    match via {
        Via::Web => "on the web page",
        Via::Slack => "in Slack",
        Via::Teams => "in Teams",
        Via::Api => "by API",
    }
}

/// A code in words.
pub fn code(code: &str) -> String {
    harmless(&words::code(code))
}

/// The digest after its first eight characters.
pub fn after_prefix(digest: &str) -> &str {
    digest.get(8..).unwrap_or_default()
}

/// At most `max` characters. `…` stands for the rest.
pub fn short(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// `Ana Lima’s agent`, for the owners of an agent. `None` if no owner is known.
pub fn whose(owners: &[Ident], setup: &Setup) -> Option<String> {
    let first = setup.name_of(owners.first()?);
    Some(match owners.len() - 1 {
        0 => first,
        1 => format!("{first} and 1 more"),
        more => format!("{first} and {more} more"),
    })
}

/// The sentence of a card as text, for titles.
pub fn sentence(card: &Card, max: usize) -> String {
    short(&card.told.sentence.plain(), max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: u64, now: u64, text: &str, relative: &str) {
        let moment = Moment::new(Nanos(seconds * 1_000_000_000), Nanos(now * 1_000_000_000));
        assert_eq!((moment.text.as_str(), moment.relative.as_str()), (text, relative));
    }

    #[test]
    fn moments_have_zone_and_distance() {
        check(720, 0, "1 Jan 1970, 00:12 UTC", "in 12 min");
        check(0, 45, "1 Jan 1970, 00:00 UTC", "45 s ago");
        check(7_500, 0, "1 Jan 1970, 02:05 UTC", "in 2 h 5 min");
        check(7_200, 0, "1 Jan 1970, 02:00 UTC", "in 2 h");
        check(0, 90_000, "1 Jan 1970, 00:00 UTC", "1 day ago");
        check(1_000_000, 0, "12 Jan 1970, 13:46 UTC", "in 11 days");
    }

    /// An expiry is never shown as a denial.
    #[test]
    fn p9_expired_is_not_denied() {
        assert_ne!(tone(Phase::Expired), tone(Phase::Denied));
    }
}
