//! Replaces what detectors find in a call (`then: sanitize`). Pure: the same call, clauses and key give the same call.

use super::{
    detect::{Chosen, DETECTORS_MAX, Own, Span, find, find_written},
    detectors::Detectors,
    encoded::{Encoded, Reading},
    label::labelled,
    opened::{FormPart, LEVELS_MAX, Opened, escaped},
    owned::owned_member,
    redacted::{Redaction, Tokens, mark},
    wanted::Wanted,
};
use ledger::{
    canonical,
    json::{Member, Value},
};
use std::collections::BTreeSet;

pub(super) use super::{owned::owned, wanted::Item};

/// Most places of a call that are redacted. Beyond that, the call is an error.
const FOUND_MAX: usize = 2_000;
/// Shorter names, and numbers with fewer digits, hold nothing that a detector of the set knows.
const NAME_BYTES_MIN: usize = 6;
const NUMBER_LEAST: f64 = 10_000_000.0;

/// A call after redaction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changed {
    pub(super) params: Value<'static>,
    pub(super) found: Vec<Redaction>,
    /// The places of the clauses that changed something.
    pub(super) by: BTreeSet<usize>,
}

/// Where something can't be read, and why.
pub(super) type Unread = (String, &'static str);

/// Redacts a call. `None` if nothing is found.
///
/// Errors: where something can't be read, and why.
pub(super) fn redact(
    params: &Value<'_>,
    items: &[Item<'_>],
    (detectors, tokens): (&Detectors, &Tokens),
) -> Result<Option<Changed>, Unread> {
    for item in items {
        item.at.reach(params).map_err(|why| (item.at.to_string(), why))?;
    }
    let mut walk =
        Walk { items, detectors, tokens, found: Vec::new(), by: BTreeSet::new(), places: 0 };
    let mut place = Place { steps: Vec::new(), at: String::new(), inside: Vec::new() };
    let changed = walk.value(params, "", &mut place, None);
    let changed = changed.map_err(|why| (place.at.clone(), why))?;
    let Walk { found, by, .. } = walk;
    Ok(changed.map(|params| Changed { params, found, by }))
}

/// Which clauses ask for the redaction of `detector` at the concrete pointer `at`.
pub(super) fn asked_by(items: &[Item<'_>], at: &str, detector: usize) -> BTreeSet<usize> {
    let steps: Vec<String> = at.split('/').skip(1).map(super::pointer::unescaped).collect();
    let fits = |item: &&Item<'_>| item.chosen.has(detector) && item.at.covers(&steps);
    items.iter().filter(fits).map(|item| item.clause).collect()
}

struct Walk<'w> {
    items: &'w [Item<'w>],
    detectors: &'w Detectors,
    tokens: &'w Tokens,
    found: Vec<Redaction>,
    by: BTreeSet<usize>,
    places: usize,
}

/// Where the walk is.
struct Place {
    steps: Vec<String>,
    /// The same as a pointer into the params.
    at: String,
    /// The way within the text there: `json /a`, `base64`, `form name`.
    inside: Vec<String>,
}

/// A step to a member or an element.
#[derive(Clone, Copy)]
struct Step<'s> {
    name: &'s str,
    /// The number of an element is no name.
    is_member: bool,
}

type Find = fn(&str, &str, Chosen, &[Own]) -> Vec<Span>;
type Walked<T> = Result<Option<T>, &'static str>;

impl Walk<'_> {
    /// A value of the call; within a text `asked` is what is asked for there. The new value, if it changed.
    fn value(
        &mut self,
        value: &Value<'_>,
        label: &str,
        place: &mut Place,
        asked: Option<&Wanted>,
    ) -> Walked<Value<'static>> {
        match value {
            Value::Null | Value::Bool(_) => Ok(None),
            Value::Number(number) => {
                let whole = number.fract() == 0.0 && number.abs() >= NUMBER_LEAST;
                let text = whole.then(|| format!("{number}"));
                let wanted = self.wanted(place, asked);
                let Some(text) = text.filter(|_| !wanted.chosen.is_empty()) else {
                    return Ok(None);
                };
                Ok(self.plain(&text, label, place, &wanted)?.map(|text| Value::String(text.into())))
            }
            Value::String(text) => {
                let wanted = self.wanted(place, asked);
                if wanted.chosen.is_empty() {
                    return Ok(None);
                }
                Ok(self.text(text, label, place, &wanted)?.map(|text| Value::String(text.into())))
            }
            Value::Array(elements) => {
                let mut changed: Option<Vec<Value<'static>>> = None;
                for (nth, element) in elements.iter().enumerate() {
                    let nth_step = nth.to_string();
                    let step = Step { name: &nth_step, is_member: false };
                    let new = self.below(element, (step, label), place, asked)?;
                    if let Some(new) = new {
                        changed.get_or_insert_with(|| elements.iter().map(owned).collect())[nth] =
                            new;
                    }
                }
                Ok(changed.map(Value::Array))
            }
            Value::Object(members) => {
                let mut changed: Option<Vec<Member<'static>>> = None;
                for (nth, (name, member)) in members.iter().enumerate() {
                    let label = labelled(label, name);
                    let step = Step { name, is_member: true };
                    let new = self.below(member, (step, &label), place, asked)?;
                    if let Some(new) = new {
                        changed.get_or_insert_with(|| members.iter().map(owned_member).collect())
                            [nth]
                            .1 = new;
                    }
                }
                Ok(changed.map(Value::Object))
            }
        }
    }

    /// A member or element. The place is left where something can't be read.
    fn below(
        &mut self,
        value: &Value<'_>,
        (step, label): (Step<'_>, &str),
        place: &mut Place,
        asked: Option<&Wanted>,
    ) -> Walked<Value<'static>> {
        let escaped = step.name.replace('~', "~0").replace('/', "~1");
        if let Some(asked) = asked {
            let within = place.inside.last_mut().expect("within a text");
            let before = within.len();
            within.push('/');
            within.push_str(&escaped);
            if step.is_member {
                self.name(step.name, asked)?;
            }
            let new = self.value(value, label, place, Some(asked))?;
            place.inside.last_mut().expect("within a text").truncate(before);
            return Ok(new);
        }
        let before = place.at.len();
        place.at.push('/');
        place.at.push_str(&escaped);
        place.steps.push(step.name.to_owned());
        if step.is_member
            && let Err(why) = self.name(step.name, &self.wanted(place, None))
        {
            // The place of the object: that of the member would say what must be redacted.
            place.at.truncate(before);
            return Err(why);
        }
        let new = self.value(value, label, place, None)?;
        place.steps.pop();
        place.at.truncate(before);
        Ok(new)
    }

    /// The name of a member can't be redacted: another member may have the new one.
    fn name(&self, name: &str, wanted: &Wanted) -> Result<(), &'static str> {
        let is_long = name.len() >= NAME_BYTES_MIN;
        let chosen = if is_long { wanted.chosen } else { wanted.chosen.own() };
        let found = !chosen.is_empty() && !find(name, "", chosen, &self.detectors.own).is_empty();
        if found { Err("the name of a member holds what must be redacted") } else { Ok(()) }
    }

    fn wanted(&self, place: &Place, asked: Option<&Wanted>) -> Wanted {
        if let Some(asked) = asked {
            return asked.clone();
        }
        let mut wanted = Wanted::default();
        for item in self.items.iter().filter(|item| item.at.covers(&place.steps)) {
            wanted.take(item);
        }
        wanted
    }

    /// A text, and what is inside it.
    fn text(
        &mut self,
        text: &str,
        label: &str,
        place: &mut Place,
        wanted: &Wanted,
    ) -> Walked<String> {
        let opened = Opened::of(text)?;
        if !matches!(opened, Opened::Text) && place.inside.len() >= LEVELS_MAX {
            return Err("texts within texts, more than 4 levels deep");
        }
        match opened {
            Opened::Text => self.plain(text, label, place, wanted),
            Opened::Json(value) => {
                let new = self.inside("json ".into(), place, |walk, place| {
                    walk.value(&value, label, place, Some(wanted))
                })?;
                let text = |new| String::from_utf8(canonical::to_vec(&new)).map_err(|_| "no text");
                new.map(text).transpose()
            }
            Opened::Base64(encoded) => {
                let new = self.encoded(encoded, label, place, wanted)?;
                // A key may look like base64 of something.
                let plain = self.plain(new.as_deref().unwrap_or(text), label, place, wanted)?;
                Ok(plain.or(new))
            }
            // As it is written first, then what it means; then what readers of another kind find.
            Opened::Form(parts) => {
                let written = self.found(find_written, text, (label, place), wanted)?;
                let formed = match &written {
                    None => self.form(&parts, place, wanted)?,
                    Some(new) => match Opened::of(new)? {
                        Opened::Form(parts) => self.form(&parts, place, wanted)?,
                        _ => None,
                    },
                };
                let new = formed.or(written);
                let plain = self.plain(new.as_deref().unwrap_or(text), label, place, wanted)?;
                Ok(plain.or(new))
            }
        }
    }

    /// Every text that the bytes may be: nobody knows which one the next reader takes.
    fn encoded(
        &mut self,
        mut encoded: Encoded,
        label: &str,
        place: &mut Place,
        wanted: &Wanted,
    ) -> Walked<String> {
        let mut changed = None;
        for reading in Reading::ALL {
            let Some(text) = reading.read(&encoded.bytes) else { continue };
            let new = self.inside(reading.step().into(), place, |walk, place| {
                walk.text(&text, label, place, wanted)
            })?;
            let Some(new) = new else { continue };
            // A second change could undo the first.
            if changed.replace(reading).is_some() {
                return Err("bytes that hold something in two encodings");
            }
            let bytes = reading.write(&new);
            encoded.bytes = bytes.ok_or("a text that its encoding can't write again")?;
        }
        Ok(changed.map(|_| encoded.written()))
    }

    fn form(
        &mut self,
        parts: &[FormPart<'_>],
        place: &mut Place,
        wanted: &Wanted,
    ) -> Walked<String> {
        let (mut out, mut is_changed) = (String::new(), false);
        for part in parts {
            self.name(&part.name, wanted)?;
            let new = self.inside(format!("form {}", part.name), place, |walk, place| {
                walk.text(&part.value, &part.name, place, wanted)
            })?;
            out.push_str(part.before);
            is_changed |= new.is_some();
            out.push_str(&new.map_or(part.written.into(), |new| escaped(&new)));
        }
        Ok(is_changed.then_some(out))
    }

    fn inside<T>(
        &mut self,
        step: String,
        place: &mut Place,
        go: impl FnOnce(&mut Self, &mut Place) -> Walked<T>,
    ) -> Walked<T> {
        place.inside.push(step);
        let new = go(self, place)?;
        place.inside.pop();
        Ok(new)
    }

    /// A text that is nothing else.
    fn plain(&mut self, text: &str, label: &str, place: &Place, wanted: &Wanted) -> Walked<String> {
        self.found(find, text, (label, place), wanted)
    }

    /// A text without what is found in it.
    fn found(
        &mut self,
        find: Find,
        text: &str,
        (label, place): (&str, &Place),
        wanted: &Wanted,
    ) -> Walked<String> {
        let own = &self.detectors.own;
        let spans = find(text, label, wanted.chosen, own);
        if spans.is_empty() {
            return Ok(None);
        }
        self.places += spans.len();
        if self.places > FOUND_MAX {
            return Err("more than 2,000 places to redact");
        }
        let (mut out, mut done) = (String::with_capacity(text.len()), 0);
        for span in spans {
            let Span { start, end, detector } = span;
            let name = self.detectors.name(detector);
            let token = !wanted.masked.has(detector);
            let token = token.then(|| {
                self.tokens.of((place.at.as_str(), &place.inside), name, (start, &text[start..end]))
            });
            out.push_str(&text[done..start]);
            out.push_str(&mark(name, token.as_deref()));
            done = end;
            let by = wanted.by.iter().filter(|(chosen, _)| chosen.has(detector));
            self.by.extend(by.map(|(_, clause)| clause));
            self.note(place, name, (start, end), token);
        }
        out.push_str(&text[done..]);
        // Otherwise the call that people see would still hold some of it.
        if !find(&out, label, wanted.chosen, own).is_empty() {
            return Err("something is left after it was redacted");
        }
        Ok(Some(out))
    }

    fn note(
        &mut self,
        place: &Place,
        name: &str,
        (start, end): (usize, usize),
        token: Option<String>,
    ) {
        let is_same = |one: &&mut Redaction| {
            one.at == place.at
                && one.inside == place.inside
                && one.detector == name
                && one.tokens.is_empty() == token.is_none()
        };
        let span = (start as u64, end as u64);
        if let Some(one) = self.found.iter_mut().rev().take(DETECTORS_MAX).find(is_same) {
            one.spans.push(span);
            one.tokens.extend(token);
            return;
        }
        self.found.push(Redaction {
            at: place.at.clone(),
            inside: place.inside.clone(),
            detector: name.to_owned(),
            spans: vec![span],
            tokens: token.into_iter().collect(),
        });
    }
}
