//! Conditions on time: hours of a week in a zone, and a period.

use super::{
    bounds::{Bound, Truth},
    facts::{Facts, Local, is_zone},
    fields::MapReader,
    form::is_date,
    list::NamedLists,
};
use chrono::{DateTime, NaiveDate};
use ledger::time::Nanos;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Hours of days. If `from` is after `to`, they run over midnight and belong to the day on which they begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hours {
    pub(super) days: [bool; 7],
    /// Minutes since midnight.
    pub(super) from: u16,
    /// Minutes since midnight; this minute is outside.
    pub(super) to: u16,
    pub(super) zone: String,
    /// Dates that are no such days.
    pub(super) except: Vec<String>,
    /// A list of such dates.
    pub(super) holidays: Option<String>,
}

impl Hours {
    pub(super) fn read(mut fields: MapReader<'_>) -> Option<Self> {
        let mut days = [true; 7];
        if let Some(names) = fields.texts("days") {
            days = [false; 7];
            for (name, at) in names {
                match DAYS.iter().position(|day| *day == name) {
                    Some(day) => days[day] = true,
                    None => fields.wrong(
                        at,
                        format!("{name:?} is no day: write mon, tue, wed, thu, fri, sat or sun"),
                    ),
                }
            }
        }
        let mut minute = |name: &'static str| {
            let node = fields.must(name, "a time such as \"08:00\"")?;
            let (text, at) = super::fields::text_of(node, name, fields.mistakes)?;
            let found = minute_of(&text);
            if found.is_none() {
                fields
                    .wrong(at, format!("{name} {text:?} is no time: write \"08:00\" to \"24:00\""));
            }
            found
        };
        let (from, to) = (minute("from"), minute("to"));
        let zone = fields.must("zone", "a time zone such as Europe/Berlin");
        let zone = zone.and_then(|node| super::fields::text_of(node, "zone", fields.mistakes));
        if let Some((name, at)) = zone.as_ref().filter(|(name, _)| !is_zone(name)) {
            fields.wrong(
                *at,
                format!("{name:?} is no time zone: write a name such as Europe/Berlin or UTC"),
            );
        }
        let mut except = Vec::new();
        for (date, at) in fields.texts("except").unwrap_or_default() {
            if !is_date(&date) {
                fields.wrong(at, format!("{date:?} is no date: write \"2026-12-24\""));
            }
            except.push(date);
        }
        let holidays = fields.text("holidays").map(|(name, _)| name);
        let at = fields.at;
        if from.is_some() && from == to {
            fields.wrong(at, "from and to are the same time: for whole days write from: \"00:00\", to: \"24:00\"");
        }
        fields.finish();
        Some(Self { days, from: from?, to: to?, zone: zone?.0, except, holidays })
    }

    pub(super) fn holds(&self, facts: &Facts, lists: &NamedLists) -> Truth {
        let Some(local) = facts.local.get(&self.zone) else {
            return Truth::Error("the local time is not known");
        };
        let (from, to, now) = (self.from, self.to, local.minute);
        if from < to {
            let within = (from..to).contains(&now);
            return if within { self.is_day(local, false, lists) } else { Truth::False };
        }
        if now >= from {
            return self.is_day(local, false, lists);
        }
        if now < to { self.is_day(local, true, lists) } else { Truth::False }
    }

    /// Its two bounds, with their names.
    pub(super) fn each_bound(&mut self, visit: &mut dyn FnMut(Bound<'_>, &'static str)) {
        visit(Bound::Minute(&mut self.from), "from");
        visit(Bound::Minute(&mut self.to), "to");
    }

    /// Whether today, or yesterday, is one of the days.
    fn is_day(&self, local: &Local, yesterday: bool, lists: &NamedLists) -> Truth {
        let date = NaiveDate::parse_from_str(&local.date, "%Y-%m-%d").ok();
        let date = if yesterday { date.and_then(|date| date.pred_opt()) } else { date };
        let Some(date) = date else { return Truth::Error("the local date is not known") };
        let weekday = usize::from(local.weekday) + if yesterday { 6 } else { 0 };
        let text = date.format("%Y-%m-%d").to_string();
        let named = self.days[weekday % 7] && !self.except.contains(&text);
        let Some(holidays) = &self.holidays else { return named.into() };
        match lists.has(holidays, &text) {
            Truth::True => Truth::False,
            Truth::False => named.into(),
            error @ Truth::Error(_) => error,
        }
    }
}

/// `08:00`, `24:00`.
fn minute_of(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain { text.parse::<u16>().ok() } else { None }
    };
    let at = two(hour)? * 60 + two(minute).filter(|minute| *minute < 60)?;
    (at <= 24 * 60).then_some(at)
}

/// From a moment up to another, which is outside. One of them may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) from: Option<Nanos>,
    pub(super) to: Option<Nanos>,
}

impl Period {
    pub(super) fn read(mut fields: MapReader<'_>) -> Self {
        let mut moment = |name| {
            let (text, at) = fields.text(name)?;
            let found = moment_of(&text);
            if found.is_none() {
                fields.wrong(at, format!("{name} {text:?} is no moment: write \"2026-12-24T18:00:00Z\" (RFC 3339, whole seconds)"));
            }
            found
        };
        let (from, to) = (moment("from"), moment("to"));
        if !fields.has("from") && !fields.has("to") && from.is_none() && to.is_none() {
            fields.wrong(fields.at, "a period has from, to, or both");
        }
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            fields.wrong(fields.at, "from is not before to");
        }
        fields.finish();
        Self { from, to }
    }

    pub(super) fn holds(self, now: Nanos) -> Truth {
        (self.from.is_none_or(|from| now >= from) && self.to.is_none_or(|to| now < to)).into()
    }
}

/// An RFC 3339 time of whole seconds.
pub(super) fn moment_of(text: &str) -> Option<Nanos> {
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    let seconds = u64::try_from(at.timestamp()).ok()?;
    let whole = at.timestamp_subsec_nanos() == 0 && (text.contains('T') || text.contains('t'));
    whole.then_some(Nanos(seconds * 1_000_000_000))
}
