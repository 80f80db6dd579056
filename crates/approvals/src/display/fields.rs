//! Single fields of a call as people read them: by kind, cleaned, each with its label.

use super::{
    account,
    address::{self, Address},
    country,
    ends::{self, Ends},
    ids, money, natural,
    sentence::bare_or_quoted,
};
use decider::rule::resolve;
use ledger::{
    canonical,
    foreign::{self, is_hidden},
    json::Value,
    time::Nanos,
};
use std::collections::{BTreeMap, BTreeSet};

pub use super::kind::Kind;
pub(super) use super::leaves::{cut, integer, leaves, leaves_below, members};

/// Members of a list that are shown.
const LIST_SHOWN: usize = 3;
/// Most members of a list that is short enough to be shown whole.
const SHORT_MEMBERS_MAX: usize = 12;
/// Most characters of all its members together.
const SHORT_CHARS_MAX: usize = 120;
/// Most characters of one member of a list.
const MEMBER_CHARS_MAX: usize = 200;

/// How the values of a call are drawn: kinds by pointer, and the code of the display's currency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawing<'a> {
    pub kinds: &'a BTreeMap<String, Kind>,
    pub code: Option<&'a str>,
}

/// No kind is written for any value.
static NO_KINDS: BTreeMap<String, Kind> = BTreeMap::new();

impl Drawing<'static> {
    /// As nobody has written how.
    pub(super) fn plain() -> Self {
        Self { kinds: &NO_KINDS, code: None }
    }
}

impl Drawing<'_> {
    /// The kind of the value at a pointer: what is written for it, or for each member of the lists that it is in.
    pub(super) fn kind(&self, pointer: &str, params: &Value<'_>) -> Kind {
        let written = |pointer: &str| self.kinds.get(pointer).copied();
        let whole = || (!self.kinds.is_empty()).then(|| starred(pointer, params));
        written(pointer).or_else(|| written(&whole()?)).unwrap_or_default()
    }
}

/// A pointer with `*` for each step into a list: `/lines/*/amount`.
fn starred(pointer: &str, params: &Value<'_>) -> String {
    let (mut out, mut before) = (String::new(), 0);
    for (at, _) in pointer.match_indices('/').skip(1).chain([(pointer.len(), "")]) {
        let is_list = matches!(resolve(params, &pointer[..before]), Some(Value::Array(_)));
        out.push_str(if is_list { "/*" } else { &pointer[before..at] });
        before = at;
    }
    out
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Label.
    pub label: String,
    /// True if the label is of the rules' author; otherwise it has the names of the call's own members.
    pub authored: bool,
    /// The value. Several lines only for kinds `text` and `list`.
    pub lines: Vec<String>,
    /// Members of a list that are not shown.
    pub more: usize,
    /// How it is drawn.
    pub kind: Kind,
    /// The time in RFC 3339, for kinds `time` and `due`.
    pub iso: Option<String>,
    /// When it ends, for kind `due`.
    pub(super) ends: Option<Ends>,
    /// The host of a link in ASCII, if it has other letters.
    pub ascii_host: Option<String>,
    /// What it is not shown in quotes for: a name or an id, for comparison with earlier calls. Not cleaned.
    pub(super) raw: Option<String>,
    /// Pointers of the values that it shows whole.
    pub(super) covers: Vec<String>,
}

impl Field {
    pub(super) fn new(
        pointer: &str,
        (label, authored): (String, bool),
        params: &Value<'_>,
        drawing: Drawing<'_>,
    ) -> Option<Self> {
        let value = resolve(params, pointer)?;
        let kind = natural::kind(drawing.kind(pointer, params), pointer, value);
        let mut field = Self { kind, ..Self::empty(label, authored) };
        if let Value::Array(members) = value
            && !members.is_empty()
        {
            field.kind = Kind::List;
            field.list(pointer, members, (params, drawing));
            return Some(field);
        }
        field.covers = leaves_below(pointer, value);
        field.lines = match (kind, value) {
            (Kind::Text, Value::String(text)) => lines(text),
            _ => vec![by_kind(kind, value, drawing.code).unwrap_or_else(|| shown(value))],
        };
        if let Value::String(text) = value {
            let at = Ends::of(text).filter(|_| matches!(kind, Kind::Time | Kind::Due));
            field.iso = at.and_then(Ends::iso);
            field.ends = at.filter(|_| kind == Kind::Due);
            field.ascii_host = address::ascii_host(text).filter(|_| kind == Kind::Link);
            field.raw = Some(text.clone().into_owned());
        }
        Some(field)
    }

    fn empty(label: String, authored: bool) -> Self {
        Self {
            label,
            authored,
            lines: Vec::new(),
            more: 0,
            kind: Kind::Plain,
            iso: None,
            ends: None,
            ascii_host: None,
            raw: None,
            covers: Vec::new(),
        }
    }

    /// The number of a list's members, and the countries of their accounts: a payroll says where it pays.
    pub(super) fn count((label, authored): (String, bool), list: &Value<'_>) -> Option<Self> {
        let number = money::grouped(&members(list)?.to_string());
        let places = account::places(list).map(|places| format!("{number}, accounts in {places}"));
        Some(Self { lines: vec![places.unwrap_or(number)], ..Self::empty(label, authored) })
    }

    fn list(
        &mut self,
        pointer: &str,
        members: &[Value<'_>],
        (params, drawing): (&Value<'_>, Drawing<'_>),
    ) {
        // The kind of a list is that of each of its members.
        let kind = drawing.kind(pointer, params);
        let place = |at: usize| format!("{pointer}/{at}");
        let word = |(at, member): (usize, &Value<'_>)| {
            member_words(&place(at), member, (params, drawing), kind)
        };
        let mut words: Vec<String> =
            members.iter().take(SHORT_MEMBERS_MAX).enumerate().map(word).collect();
        let chars: usize = words.iter().map(|word| word.chars().count() + 2).sum();
        if members.len() > SHORT_MEMBERS_MAX || chars > SHORT_CHARS_MAX {
            words.truncate(LIST_SHOWN);
        }
        for (at, whole) in words.into_iter().enumerate() {
            let text = cut(&whole, MEMBER_CHARS_MAX);
            if text == whole {
                self.covers.extend(leaves_below(&place(at), &members[at]));
            }
            self.lines.push(text);
        }
        self.more = members.len() - self.lines.len();
    }

    /// The value on one line, for a terminal or a chat.
    pub fn text(&self) -> String {
        let mut text = self.lines.join(if self.kind == Kind::List { ", " } else { " \u{23ce} " });
        if self.more > 0 {
            text = format!("{text} and {} more", self.more_words());
        }
        text
    }

    /// Name of its kind.
    pub fn class(&self) -> &'static str {
        match self.kind {
            Kind::Plain => "plain",
            Kind::Money => "money",
            Kind::Time => "time",
            Kind::Account => "account",
            Kind::Text => "text",
            Kind::List => "list",
            Kind::Link => "link",
            Kind::Country => "country",
            Kind::Due => "due",
            Kind::Number => "number",
            Kind::Digest => "digest",
        }
    }

    /// `passed 18 days ago`, for a time of kind `due` that has passed. A date passes when its day is over in UTC.
    pub fn passed(&self, now: Nanos) -> Option<String> {
        self.ends?.passed(now).map(|seconds| format!("passed {} ago", ends::span(seconds)))
    }

    /// Begin and end of a digest.
    pub fn folded(&self) -> Option<String> {
        (self.kind == Kind::Digest).then(|| ids::folded(&self.lines[0]))
    }

    /// The parts of an address. `None` for other kinds.
    pub fn address(&self) -> Option<Address> {
        let is_link = self.kind == Kind::Link && self.lines.len() == 1 && self.more == 0;
        is_link.then(|| Address::of(&self.lines[0]))
    }

    /// True if it is short enough for the head of a page: one short line, or a list that is shown whole.
    pub fn is_short(&self) -> bool {
        let chars: usize = self.lines.iter().map(|line| line.chars().count()).sum();
        match (self.lines.len(), self.more) {
            (1, 0) => chars <= 64 || self.kind == Kind::Digest,
            (2.., 0) => self.kind == Kind::List && chars <= SHORT_CHARS_MAX,
            _ => false,
        }
    }

    /// `12,345` for the members of a list that are not shown.
    pub fn more_words(&self) -> String {
        money::grouped(&self.more.to_string())
    }
}

/// A pointer as people read it: `to · iban`.
pub(super) fn steps(pointer: &str) -> String {
    let step = |step: &str| foreign::name(&step.replace("~1", "/").replace("~0", "~"));
    let steps: Vec<String> = pointer.split('/').skip(1).map(step).collect();
    if steps.is_empty() { "(all)".into() } else { steps.join(" \u{b7} ") }
}

/// The same with a capital, as authors write labels. As it is, if another member of the call would then read alike.
pub(super) fn capital(pointer: &str, params: &Value<'_>) -> String {
    let steps = steps(pointer);
    let first = pointer.strip_prefix('/').and_then(|rest| rest.chars().next());
    let Some(first) = first.filter(char::is_ascii_lowercase) else { return steps };
    let upper = first.to_ascii_uppercase();
    let other = format!("/{upper}{}", &pointer[2..]);
    if resolve(params, &other).is_some() {
        return steps;
    }
    format!("{upper}{}", &steps[1..])
}

/// A text, number or truth value, cleaned. `None` for anything else.
pub(super) fn scalar(value: &Value<'_>) -> Option<String> {
    match value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(shown(value)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value, cleaned: text without its quotes if nothing in it needs them, everything else as it was hashed.
fn shown(value: &Value<'_>) -> String {
    if let Value::String(text) = value
        && is_clear(text)
    {
        return foreign::value(text);
    }
    exactly(value)
}

/// A value as it was hashed, cleaned.
fn exactly(value: &Value<'_>) -> String {
    foreign::value(&String::from_utf8_lossy(&canonical::to_vec(value)))
}

/// A member of a list on one line. An object is drawn by its own members: `sku: A-1, qty: 2`. A value that could be read
/// as more than one is quoted. `kind`: that of a member which is no object.
fn member_words(
    place: &str,
    value: &Value<'_>,
    (params, drawing): (&Value<'_>, Drawing<'_>),
    kind: Kind,
) -> String {
    if !matches!(value, Value::Object(members) if !members.is_empty()) {
        let kind =
            Some(drawing.kind(place, params)).filter(|own| *own != Kind::Plain).unwrap_or(kind);
        return by_kind(kind, value, drawing.code).unwrap_or_else(|| shown(value));
    }
    let between = BTreeSet::from([", ", ": ", " \u{b7} "]);
    let part = |leaf: &String| {
        let name = steps(leaf);
        let name = if name.contains([':', ',']) { bare_or_quoted(&name, &between) } else { name };
        let value = resolve(value, leaf)?;
        let kind = drawing.kind(&format!("{place}{leaf}"), params);
        let drawn = by_kind(kind, value, drawing.code);
        let text = match drawn {
            // The amount has a comma, and is ours.
            Some(amount) if kind == Kind::Money => amount,
            drawn => bare_or_quoted(&drawn.unwrap_or_else(|| shown(value)), &between),
        };
        Some(format!("{name}: {text}"))
    };
    leaves(value).iter().filter_map(part).collect::<Vec<_>>().join(", ")
}

/// A value on one line, as its kind draws it. `None` if it is not of that kind.
pub(super) fn by_kind(kind: Kind, value: &Value<'_>, code: Option<&str>) -> Option<String> {
    match (kind, value) {
        (Kind::Money, Value::Number(number)) => money::format(integer(*number)?, code?),
        // A text that reads like an amount of ours is quoted.
        (Kind::Money, Value::String(text)) if is_clear(text) => {
            Some(bare_or_quoted(&foreign::value(text), &BTreeSet::new()))
        }
        (Kind::Time | Kind::Due, Value::String(text)) => Ends::of(text).map(Ends::words),
        (Kind::Account, Value::String(text)) => account::grouped(text),
        (Kind::Number, Value::Number(number)) => {
            integer(*number).map(|number| money::grouped(&number.to_string()))
        }
        // Another text is in quotes, so that none looks like a code with its name.
        (Kind::Country, Value::String(code)) => Some(match country::name(code) {
            Some(name) => format!("{code} ({name})"),
            None => exactly(value),
        }),
        _ => None,
    }
}

/// True if a text reads the same with and without quotes: it has ends, no escapes and nothing hidden, and it is not
/// what a number, truth value or null looks like.
fn is_clear(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && !text.contains(['\\', '"'])
        && !text.chars().any(is_hidden)
        && !matches!(text, "null" | "true" | "false")
        && !text.starts_with(['{', '['])
}

/// The lines of a text, each cleaned.
fn lines(text: &str) -> Vec<String> {
    let clean = |line: &str| {
        // What looks like a replaced character must not be the call's own text.
        let line = line.replace('\t', "    ").replace("\\u", "\\u{5c}u");
        foreign::harmless(&line)
    };
    text.replace("\r\n", "\n").split('\n').map(clean).collect()
}
