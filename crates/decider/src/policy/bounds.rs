//! Truth of three values, and bounds of numbers.

use super::{
    fields::{MapReader, integer_of},
    mistakes::{Mistakes, Place},
    yaml::Node,
};

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;
/// Digits of a decimal before and after its point.
const DECIMAL_DIGITS_MAX: usize = 18;

/// Whether a condition holds. An error says why that can't be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Error(&'static str),
}

impl From<bool> for Truth {
    fn from(is: bool) -> Self {
        if is { Self::True } else { Self::False }
    }
}

impl Truth {
    /// True if any part is true, else an error if any is.
    pub(super) fn any(parts: impl Iterator<Item = Self>) -> Self {
        let mut any = Self::False;
        for part in parts {
            match part {
                Self::True => return Self::True,
                Self::Error(_) if any == Self::False => any = part,
                Self::Error(_) | Self::False => {}
            }
        }
        any
    }

    /// False if any part is false, else an error if any is.
    pub(super) fn all(parts: impl Iterator<Item = Self>) -> Self {
        let mut all = Self::True;
        for part in parts {
            match part {
                Self::False => return Self::False,
                Self::Error(_) if all == Self::True => all = part,
                Self::Error(_) | Self::True => {}
            }
        }
        all
    }
}

/// Bounds of a number. All that are given must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) over: Option<i128>,
    pub(super) at_least: Option<i128>,
    pub(super) under: Option<i128>,
    pub(super) at_most: Option<i128>,
}

impl Bounds {
    pub(super) fn hold(&self, number: i128) -> bool {
        self.over.is_none_or(|bound| number > bound)
            && self.at_least.is_none_or(|bound| number >= bound)
            && self.under.is_none_or(|bound| number < bound)
            && self.at_most.is_none_or(|bound| number <= bound)
    }

    /// The bounds of a map; `read` turns each member into a number.
    pub(super) fn read(
        mut fields: MapReader<'_>,
        mut read: impl FnMut(&mut MapReader<'_>, &'static str) -> Option<i128>,
    ) -> Self {
        let bounds = Self {
            over: read(&mut fields, "over"),
            at_least: read(&mut fields, "at_least"),
            under: read(&mut fields, "under"),
            at_most: read(&mut fields, "at_most"),
        };
        if bounds == Self::default() {
            fields.wrong(fields.at, "give one of over, at_least, under and at_most");
        }
        if bounds.are_empty() {
            fields.wrong(fields.at, "no number is within these bounds");
        }
        fields.finish();
        bounds
    }

    /// True if no whole number is within them.
    pub(super) fn are_empty(&self) -> bool {
        let low = self.over.map(|over| over + 1).max(self.at_least);
        let high = [self.under.map(|under| under - 1), self.at_most].into_iter().flatten().min();
        low.zip(high).is_some_and(|(low, high)| low > high)
    }
}

/// A bound that mutation may move.
pub(super) enum Bound<'c> {
    /// A number, and its least step.
    Number(&'c mut i128, i128),
    /// Minutes since midnight.
    Minute(&'c mut u16),
}

impl Bound<'_> {
    /// Its number. It is 0 afterwards.
    pub(super) fn take(self) -> i128 {
        match self {
            Self::Number(number, _) => std::mem::take(number),
            Self::Minute(minute) => std::mem::take(minute).into(),
        }
    }

    /// Moves it by one step. False if there is nothing beyond it.
    pub(super) fn move_by(self, steps: i8) -> bool {
        match self {
            Self::Number(number, step) => {
                *number = number.saturating_add(step * i128::from(steps));
                true
            }
            Self::Minute(minute) => {
                let moved = minute.saturating_add_signed(steps.into());
                let beyond = moved == *minute || moved > DAY_MINUTES;
                *minute = moved;
                !beyond
            }
        }
    }
}

impl Bounds {
    /// Each bound with its name.
    pub(super) fn each(&mut self, step: i128, visit: &mut dyn FnMut(Bound<'_>, &'static str)) {
        let Self { over, at_least, under, at_most } = self;
        for (bound, name) in
            [(over, "over"), (at_least, "at_least"), (under, "under"), (at_most, "at_most")]
        {
            if let Some(bound) = bound {
                visit(Bound::Number(bound, step), name);
            }
        }
    }
}

/// The step by which mutation moves a decimal: 0.01.
pub(super) const DECIMAL_STEP: i128 = 10_000_000_000_000_000;

/// A decimal text such as `-12.50`, in units of 10^-18.
pub(super) fn decimal(text: &str) -> Option<i128> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) =
        digits.split_once('.').map_or((digits, None), |(whole, part)| (whole, Some(part)));
    let is_digits = |text: &str| {
        (1..=DECIMAL_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    let plain =
        is_digits(whole) && (whole == "0" || !whole.starts_with('0')) && part.is_none_or(is_digits);
    if !plain {
        return None;
    }
    let unit = 10_i128.pow(DECIMAL_DIGITS_MAX as u32);
    let part = part.map_or(0, |part| {
        let scale = 10_i128.pow((DECIMAL_DIGITS_MAX - part.len()) as u32);
        part.parse::<i128>().unwrap_or(0) * scale
    });
    let number = whole.parse::<i128>().ok()? * unit + part;
    Some(if negative { -number } else { number })
}

pub(super) fn decimal_bound(fields: &mut MapReader<'_>, name: &'static str) -> Option<i128> {
    let (text, at) = fields.text(name)?;
    let number = decimal(&text);
    if number.is_none() {
        fields.wrong(at, format!("{name} {text:?}: write a decimal such as \"12.50\", with at most 18 digits on each side"));
    }
    number
}

/// `{EUR: 500000, …}`: a number for each currency, with its place.
pub(super) fn by_currency(
    node: Node,
    name: &str,
    mistakes: &Mistakes<'_>,
) -> Vec<(String, i128, Place)> {
    let at = node.at;
    let Some(mut fields) = MapReader::of(node, name, mistakes) else { return Vec::new() };
    let mut found = Vec::new();
    for (currency, place, node) in fields.rest() {
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            mistakes.note(
                place,
                format!(
                    "{currency:?} is no currency: write three capital letters, for example EUR"
                ),
            );
        }
        let number = integer_of(&node, &currency, mistakes);
        if number.is_some_and(|number| number < 0) {
            mistakes.note(node.at, "an amount in minor units is 0 or more");
        }
        found.extend(number.map(|number| (currency, i128::from(number), place)));
    }
    if found.is_empty() {
        mistakes.note(
            at,
            format!("{name} needs a currency and an amount in minor units: {{EUR: 500000}}"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let unit = 10_i128.pow(18);
        for (text, expected) in [
            ("0", Some(0)),
            ("12.50", Some(unit * 25 / 2)),
            ("-0.1", Some(-unit / 10)),
            ("1.000000000000000001", Some(unit + 1)),
            ("01", None),
            ("1.", None),
            (".5", None),
            ("1e2", None),
            ("", None),
            ("+1", None),
            ("1,5", None),
            ("1234567890123456789", None),
            ("1.0000000000000000001", None),
        ] {
            assert_eq!(decimal(text), expected, "{text}");
        }
    }
}
