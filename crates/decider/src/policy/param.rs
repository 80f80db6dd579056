//! Tests on one value of a call: bounds, sets, patterns.

use super::{
    bounds::{Bound, Bounds, DECIMAL_STEP, Truth, decimal, decimal_bound},
    fields::{MapReader, Placed, list_of, text_of, texts_of},
    list::NamedLists,
    mistakes::Mistakes,
    pattern::Pattern,
    yaml::{Node, Yaml},
};
use ledger::json::{INTEGER_MAX, Value};

/// Texts of which one must be the value: written out, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    OneOf(Vec<String>),
    InList(String),
}

impl Texts {
    /// `[a, b]`, or `{in_list: name}`.
    pub(super) fn read(node: Node, name: &str, mistakes: &Mistakes<'_>) -> Self {
        if let Yaml::Map(_) = node.value {
            let Some(mut fields) = MapReader::of(node, name, mistakes) else {
                return Self::OneOf(Vec::new());
            };
            let list = fields.must_name("in_list", "the name of a file in lists/");
            fields.finish();
            return Self::InList(list.map(|(name, _)| name).unwrap_or_default());
        }
        let mut texts: Vec<String> =
            texts_of(node, name, mistakes).into_iter().map(|(text, _)| text).collect();
        texts.sort_unstable();
        Self::OneOf(texts)
    }

    pub(super) fn has(&self, text: &str, lists: &NamedLists) -> Truth {
        match self {
            Self::OneOf(texts) => {
                texts.binary_search_by(|other| other.as_str().cmp(text)).is_ok().into()
            }
            Self::InList(name) => lists.has(name, text),
        }
    }

    /// The list that it names.
    pub(super) fn list(&self) -> Option<&str> {
        if let Self::InList(name) = self { Some(name) } else { None }
    }
}

/// A value that a param may be compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    Text(String),
    Integer(i128),
    Bool(bool),
}

impl Plain {
    fn read(node: Node, mistakes: &Mistakes<'_>) -> Option<Self> {
        match node.value {
            Yaml::Text(text) => Some(Self::Text(text)),
            Yaml::Integer(number) => Some(Self::Integer(number.into())),
            Yaml::Bool(is) => Some(Self::Bool(is)),
            other => {
                mistakes.note(
                    node.at,
                    format!("a text, a whole number, true or false, not {}", other.kind()),
                );
                None
            }
        }
    }

    /// Values of another type are an error: nobody meant to compare them.
    fn is(&self, value: &Value<'_>) -> Truth {
        match (self, value) {
            (Self::Text(wanted), Value::String(_)) => {
                text(value).map_or_else(Truth::Error, |found| (wanted == found).into())
            }
            (Self::Integer(number), Value::Number(_)) => (integer(value) == Some(*number)).into(),
            (Self::Bool(is), Value::Bool(found)) => (is == found).into(),
            _ => Truth::Error("a value of another type"),
        }
    }
}

/// One test of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Integer(Bounds),
    Decimal(Bounds),
    OneOf(Vec<Plain>),
    InList(String),
    Equals(Plain),
    Matches(Pattern),
    ContainsMatch(Pattern),
    /// Characters of a text.
    Length(Bounds),
    /// Elements of a list.
    Items(Bounds),
    Each(Vec<Test>),
}

impl Test {
    /// The tests of one pointer. Presence is read by the caller.
    pub(super) fn read(fields: &mut MapReader<'_>) -> Vec<Self> {
        let mistakes = fields.mistakes;
        let mut tests = Vec::new();
        if let Some(bounds) = fields.fields("integer") {
            tests.push(Self::Integer(Bounds::read(bounds, |f, name| {
                f.integer(name).map(i128::from)
            })));
        }
        if let Some(bounds) = fields.fields("decimal") {
            tests.push(Self::Decimal(Bounds::read(bounds, decimal_bound)));
        }
        if let Some(node) = fields.take("one_of") {
            let values = nodes(node, "one_of", mistakes);
            let values = values.into_iter().filter_map(|node| Plain::read(node, mistakes));
            tests.push(Self::OneOf(values.collect()));
        }
        if let Some((name, _)) = fields.text("in_list") {
            tests.push(Self::InList(name));
        }
        if let Some(node) = fields.take("equals") {
            tests.extend(Plain::read(node, mistakes).map(Self::Equals));
        }
        tests.extend(pattern(fields.text("matches"), Pattern::whole, mistakes).map(Self::Matches));
        tests.extend(
            pattern(fields.text("contains_match"), Pattern::part, mistakes)
                .map(Self::ContainsMatch),
        );
        if let Some(bounds) = fields.fields("length") {
            tests.push(Self::Length(Bounds::read(bounds, |f, name| {
                f.integer(name).map(i128::from)
            })));
        }
        if let Some(bounds) = fields.fields("items") {
            tests
                .push(Self::Items(Bounds::read(bounds, |f, name| f.integer(name).map(i128::from))));
        }
        if let Some(mut each) = fields.fields("each") {
            let inner = Self::read(&mut each);
            if inner.is_empty() {
                each.wrong(each.at, "each has a test, for example {matches: \"[a-z]+\"}");
            }
            each.finish();
            tests.push(Self::Each(inner));
        }
        tests
    }

    pub(super) fn holds(&self, value: &Value<'_>, lists: &NamedLists) -> Truth {
        match self {
            Self::Integer(bounds) => integer(value)
                .map_or(Truth::Error("no whole number below 2^53"), |n| bounds.hold(n).into()),
            Self::Decimal(bounds) => {
                let number =
                    text(value).and_then(|text| decimal(text).ok_or("no decimal number in a text"));
                number.map_or_else(Truth::Error, |n| bounds.hold(n).into())
            }
            Self::OneOf(values) => {
                // A value of one of their types that is none of them: false, not an error.
                match Truth::any(values.iter().map(|wanted| wanted.is(value))) {
                    Truth::Error(_) if values.iter().any(|w| w.is(value) == Truth::False) => {
                        Truth::False
                    }
                    any => any,
                }
            }
            Self::InList(name) => {
                text(value).map_or_else(Truth::Error, |text| lists.has(name, text))
            }
            Self::Equals(wanted) => wanted.is(value),
            Self::Matches(pattern) | Self::ContainsMatch(pattern) => {
                text(value).map_or_else(Truth::Error, |text| pattern.fits(text).into())
            }
            Self::Length(bounds) => {
                let length = text(value).map(|text| text.chars().count());
                length.map_or_else(Truth::Error, |length| bounds.hold(length as i128).into())
            }
            Self::Items(bounds) => match value {
                Value::Array(elements) => bounds.hold(elements.len() as i128).into(),
                _ => Truth::Error("no list"),
            },
            Self::Each(tests) => match value {
                Value::Array(elements) => {
                    let each = elements
                        .iter()
                        .flat_map(|e| tests.iter().map(move |test| test.holds(e, lists)));
                    Truth::all(each)
                }
                _ => Truth::Error("no list"),
            },
        }
    }

    /// True for the test of every element.
    pub(super) fn is_each(&self) -> bool {
        matches!(self, Self::Each(_))
    }

    /// Each bound of it, with its name.
    pub(super) fn each_bound(&mut self, visit: &mut dyn FnMut(Bound<'_>, &'static str)) {
        match self {
            Self::Integer(bounds) | Self::Length(bounds) | Self::Items(bounds) => {
                bounds.each(1, visit);
            }
            Self::Decimal(bounds) => bounds.each(DECIMAL_STEP, visit),
            Self::Each(tests) => tests.iter_mut().for_each(|test| test.each_bound(visit)),
            _ => {}
        }
    }

    /// The lists that it names.
    pub(super) fn lists(&self) -> Vec<&str> {
        match self {
            Self::InList(name) => vec![name],
            Self::Each(tests) => tests.iter().flat_map(Self::lists).collect(),
            _ => Vec::new(),
        }
    }
}

fn pattern(
    text: Option<Placed>,
    compile: impl Fn(&str) -> Result<Pattern, String>,
    mistakes: &Mistakes<'_>,
) -> Option<Pattern> {
    let (text, at) = text?;
    let compiled = compile(&text).map_err(|why| mistakes.note(at, why)).ok()?;
    if compiled.fits_everything() {
        mistakes.note(
            at,
            format!("{text:?} fits every text: write what may stand there, or remove the test"),
        );
    }
    Some(compiled)
}

/// A text that may be compared: in Unicode's form NFC, so that what looks the same is the same.
pub(super) fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, &'static str> {
    let text = value.as_str().ok_or("no text")?;
    if text.is_ascii() || unicode_normalization::is_nfc(text) {
        Ok(text)
    } else {
        Err("a text that is not NFC")
    }
}

/// A whole number below 2^53. `1e2` is 100: what is hashed is the value.
pub(super) fn integer(value: &Value<'_>) -> Option<i128> {
    let Value::Number(number) = value else { return None };
    let whole = number.fract() == 0.0 && number.abs() <= INTEGER_MAX;
    whole.then_some(*number as i128)
}

/// A list of texts from a node that may be one text.
pub(super) fn one_or_more(node: Node, name: &str, mistakes: &Mistakes<'_>) -> Vec<Placed> {
    if let Yaml::Text(_) = node.value {
        return text_of(node, name, mistakes).into_iter().collect();
    }
    texts_of(node, name, mistakes)
}

/// A list of nodes under a name.
pub(super) fn nodes(node: Node, name: &str, mistakes: &Mistakes<'_>) -> Vec<Node> {
    let at = node.at;
    let nodes = list_of(node, name, mistakes).unwrap_or_default();
    if nodes.is_empty() {
        mistakes.note(at, format!("{name} is empty: list at least one"));
    }
    nodes
}
