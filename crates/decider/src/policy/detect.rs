//! Detectors: what in a text is an account number, a secret, or a person's. Pure, in linear time, and the same for ever.
//!
//! Set 1 is data that every later release keeps: a detector that finds something else is a new set. No regular expression,
//! no Unicode table and no list of a library is in it. A library only searches for the texts of our lists.

mod calendar;
mod copies;
mod dates;
mod discord;
mod escapes;
pub(super) mod iban;
mod mail;
mod marks;
mod numbers;
mod odd;
mod own;
mod scan;
mod secrets;
mod tables;

pub(super) use own::{Check, Own};
pub(super) use scan::forms_of;

use copies::Copy;
use marks::Known;
use scan::{Automaton, Shared, Take, Text, Words};
use secrets::{Class, Row, SUMMED, TABLE, is_placeholder, is_summed, length};
use std::{cmp::Reverse, sync::LazyLock};

/// The number of the newest set of detectors.
pub(super) const NEWEST_SET: u32 = 1;
/// The name for every detector of a provider's secrets.
pub(super) const SECRETS: &str = "secrets";
/// Most detectors of a set, own ones too.
pub(super) const DETECTORS_MAX: usize = 128;

type Find = fn(Text<'_>, &mut Take<'_>);

/// Detectors of set 1 that are not secrets, in order. The order decides between spans of the same place and length.
const OF_PEOPLE: [(&str, Find); 7] = [
    ("us-ssn", numbers::us_ssn),
    ("date-of-birth", dates::of_birth),
    ("card", numbers::card),
    ("iban", iban::find),
    ("email", mail::find),
    ("phone", numbers::phone),
    ("medical-record", numbers::medical_record),
];
static TWILIO: Words = Words::new(&["twilio"]);
static DATADOG: Words = Words::new(&["datadog", "dd api key", "dd app key", "dd application key"]);
static HEROKU: Words = Words::new(&["heroku"]);
static OKTA: Words = Words::new(&["okta"]);
static CLOUDFLARE: Words =
    Words::new(&["cloudflare", "cf api token", "cf api key", "cf token", "cf key"]);
static PAGERDUTY: Words = Words::new(&["pagerduty", "pager duty"]);

/// Every list of words without which a detector finds nothing.
static LISTS: [&Words; 9] = [
    &calendar::BIRTH,
    &numbers::MRN_WORDS,
    &odd::AWS,
    &TWILIO,
    &DATADOG,
    &HEROKU,
    &OKTA,
    &CLOUDFLARE,
    &PAGERDUTY,
];

/// Secrets with a finder of their own, in order.
const ODD: [(&str, Find); 18] = [
    ("aws-secret-key", odd::aws_secret),
    ("azure-storage-key", odd::azure_storage),
    ("azure-client-secret", odd::azure_client),
    ("jwt", odd::jwt),
    ("private-key", odd::private_key),
    ("discord-token", discord::find),
    ("terraform-token", odd::terraform),
    ("telegram-token", odd::telegram),
    ("mailchimp-key", odd::mailchimp),
    ("twilio-key", |text, take| odd::named_hex(text, &TWILIO, take)),
    ("datadog-key", |text, take| {
        odd::named_hex(text, &DATADOG, take);
    }),
    ("mailgun-key", odd::mailgun),
    ("newrelic-key", odd::newrelic),
    ("heroku-key", |text, take| odd::named_uuid(text, &HEROKU, take)),
    ("okta-token", |text, take| {
        odd::named(text, &OKTA, (|b| Class::B64Url.has(b), &[42], "00"), take);
    }),
    ("cloudflare-key", |text, take| {
        odd::named(text, &CLOUDFLARE, (|b| Class::B64Url.has(b), &[37, 40], ""), take);
    }),
    ("pagerduty-key", |text, take| {
        let is = |byte: u8| Class::B64Url.has(byte) || byte == b'+';
        odd::named(text, &PAGERDUTY, (is, &[20], ""), take);
    }),
    ("url-password", odd::url_password),
];

/// The names of set 1, in order: people's, then secrets as they stand in their tables.
static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut names: Vec<&str> = OF_PEOPLE.iter().map(|(name, _)| *name).collect();
    let secrets = TABLE.iter().map(|(name, ..)| *name).chain(ODD.iter().map(|(name, _)| *name));
    for name in secrets {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
});

/// What a secret begins with, its row, and its detector.
type Beginning = (&'static str, &'static Row, usize);

/// What a secret may begin with, and what finds all of that in one pass.
static BEGINNINGS: LazyLock<(Automaton, Vec<Beginning>)> = LazyLock::new(|| {
    let of = |row: &'static Row| row.1.iter().map(move |begin| (*begin, row, place(row.0)));
    let all: Vec<Beginning> = TABLE.iter().flat_map(of).collect();
    (scan::automaton(all.iter().map(|(begin, ..)| begin)), all)
});

/// The finders of set 1 with the places of their detectors.
static FINDERS: LazyLock<Vec<(usize, Find)>> = LazyLock::new(|| {
    OF_PEOPLE.iter().chain(&ODD).map(|(name, find)| (place(name), *find)).collect()
});

fn place(name: &str) -> usize {
    NAMES.iter().position(|other| *other == name).expect("a name of the set")
}

/// Words without which a detector finds nothing.
pub(super) fn words_of(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "date-of-birth" => Some(calendar::BIRTH.all()),
        "medical-record" => Some(numbers::MRN_WORDS.all()),
        _ => None,
    }
}

/// True for the detectors of people's data.
pub(super) fn is_of_people(name: &str) -> bool {
    OF_PEOPLE.iter().any(|(other, _)| *other == name)
}

/// Names of the set, in order.
pub(super) fn names() -> &'static [&'static str] {
    &NAMES
}

/// Some detectors, by their places in the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen(pub(super) u128);

impl Chosen {
    pub(super) fn of(places: impl IntoIterator<Item = usize>) -> Self {
        Self(places.into_iter().fold(0, |all, place| all | 1 << place))
    }

    pub(super) fn has(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of them that are a tenant's own.
    pub(super) fn own(self) -> Self {
        Self(self.0 >> NAMES.len() << NAMES.len())
    }

    /// Those of provider's secrets.
    pub(super) fn secrets() -> Self {
        Self::of(OF_PEOPLE.len()..NAMES.len())
    }
}

/// A place in a text where a detector found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) detector: usize,
}

/// What the chosen detectors find in a text as it is written, and with the escapes decoded that are written in it, in order.
/// Spans that overlap are one: the earlier gives the name, then the longer, then the first in the order of the set.
///
/// `label`: name of the member that holds the text.
pub(super) fn find(text: &str, label: &str, chosen: Chosen, own: &[Own]) -> Vec<Span> {
    let mut found = as_written(text, label, chosen, own);
    for copy in Copy::all(text) {
        let spans = as_written(&copy.text, label, chosen, own).into_iter();
        found.extend(spans.map(|Span { start, end, detector }| {
            let (start, end) = copy.original((start, end));
            Span { start, end, detector }
        }));
    }
    merged(found)
}

/// The same, only as it is written.
pub(super) fn find_written(text: &str, label: &str, chosen: Chosen, own: &[Own]) -> Vec<Span> {
    merged(as_written(text, label, chosen, own))
}

/// What the chosen detectors find, in any order.
fn as_written(text: &str, label: &str, chosen: Chosen, own: &[Own]) -> Vec<Span> {
    let known = Known { set: names(), own: own.iter().map(|own| own.name.as_str()).collect() };
    let shared = Shared::new(&LISTS, known);
    let text = Text::new(text, label, &shared);
    let mut found = Vec::new();
    for (detector, find) in FINDERS.iter().filter(|(place, _)| chosen.has(*place)) {
        find(text, &mut |start, end| found.push(Span { start, end, detector: *detector }));
    }
    if chosen.0 & Chosen::secrets().0 != 0 {
        begun(text, chosen, &mut found);
    }
    for (nth, own) in own.iter().enumerate() {
        let detector = NAMES.len() + nth;
        if chosen.has(detector) {
            own.find(text, &mut |start, end| found.push(Span { start, end, detector }));
        }
    }
    found
}

/// Secrets that are known by what they begin with.
fn begun(text: Text<'_>, chosen: Chosen, found: &mut Vec<Span>) {
    let (automaton, beginnings) = &*BEGINNINGS;
    for begun in automaton.find_overlapping_iter(text.bytes) {
        let (beginning, row, detector) = &beginnings[begun.pattern()];
        if !chosen.has(*detector) || !text.begins(begun.start()) {
            continue;
        }
        let random = begun.end();
        if let Some(length) = length(&text.bytes[random..], row.2)
            && is_genuine(beginning, &text.bytes[random..random + length])
        {
            let (start, end) = (odd::url_start(text, begun.start()), random + length);
            found.push(Span { start, end, detector: *detector });
        }
    }
}

/// False for what stands for a secret in an example, and for a wrong check sum.
fn is_genuine(beginning: &str, random: &[u8]) -> bool {
    !is_placeholder(random) && (!SUMMED.contains(&beginning) || is_summed(random))
}

fn merged(mut found: Vec<Span>) -> Vec<Span> {
    found.sort_by_key(|span| (span.start, Reverse(span.end), span.detector));
    let mut spans: Vec<Span> = Vec::with_capacity(found.len());
    for span in found {
        match spans.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => spans.push(span),
        }
    }
    spans
}

#[cfg(test)]
mod tests;
