//! What is shown of a call that no `[[display]]` is for: tool and action, the amount if a rule says where it is, and
//! the most telling values first.

use super::{
    Call, FIELDS_MAX,
    fields::{self, Drawing, Field},
    natural,
    sentence::{Piece, Sentence, bare_or_quoted},
};
use decider::rule::resolve;
use ledger::{foreign, json::Value};
use std::collections::BTreeSet;

/// From so many objects on, a list is counted.
const COUNTED_FROM: usize = 4;
/// Most lists that are counted.
const COUNTED_MAX: usize = 2;
/// Most values in the sentence.
const IN_SENTENCE: usize = 2;
/// Most characters of a value in the sentence.
const VALUE_CHARS_MAX: usize = 48;
/// A longer value tells little at a glance, in characters.
const LONG: usize = 200;

/// Names of members that say who gets something. They come first.
const WHOM: [&str; 24] = [
    "to",
    "deliver_to",
    "send_to",
    "recipient_email",
    "host",
    "bucket",
    "payee",
    "recipient",
    "recipients",
    "beneficiary",
    "creditor",
    "destination",
    "iban",
    "account",
    "to_account",
    "account_id",
    "email",
    "address",
    "target",
    "customer",
    "receiver",
    "user",
    "employee",
    "name",
];
/// Names of members that say what somebody may do, or what is sent. They come next.
const WHICH: [&str; 16] = [
    "role",
    "roles",
    "scope",
    "scopes",
    "permission",
    "permissions",
    "privilege",
    "privileges",
    "access_level",
    "attachment",
    "attachments",
    "file",
    "files",
    "filename",
    "bcc",
    "cc",
];
/// Names of members that say where something goes. With those of `WHICH` they are shown even if a display leaves them out.
const WHERE_TO: [&str; 8] = [
    "bucket",
    "deliver_to",
    "destination",
    "forward_to",
    "recipient",
    "recipient_email",
    "recipients",
    "send_to",
];
/// Most of them that are.
const OVERLOOKED_MAX: usize = 2;
/// Names that say the same with fewer letters are not compared.
const REPEATED_FROM: usize = 4;

/// Names of members that say how much.
const HOW_MUCH: [&str; 8] =
    ["amount", "total", "price", "currency", "count", "quantity", "limit", "days"];
/// Names of members that say what.
const WHAT: [&str; 29] = [
    "subject",
    "title",
    "reference",
    "invoice",
    "order",
    "service",
    "system",
    "item",
    "version",
    "environment",
    "env",
    "reason",
    "month",
    "period",
    "place",
    "site",
    "location",
    "department",
    "path",
    "url",
    "database",
    "table",
    "query",
    "branch",
    "repo",
    "repository",
    "cluster",
    "region",
    "dataset",
];

/// The most telling values, but none of `told`. A long list of objects is its number first: nobody reads 474 lines.
pub(super) fn fields(params: &Value<'_>, told: &BTreeSet<String>) -> Vec<Field> {
    let lists: Vec<(String, &Value<'_>)> = match params {
        Value::Object(members) => {
            let long = members.iter().filter(|(_, value)| is_long_list(value));
            long.take(COUNTED_MAX).map(|(name, list)| (pointer_to(name), list)).collect()
        }
        _ => Vec::new(),
    };
    let label = |pointer: &str| (fields::steps(pointer), false);
    let count = |(pointer, list): &(String, &Value<'_>)| Field::count(label(pointer), list);
    let mut found: Vec<Field> = lists.iter().filter_map(count).collect();
    let counted = |leaf: &str| lists.iter().any(|(list, _)| leaf.starts_with(&format!("{list}/")));
    let mut leaves: Vec<String> = fields::leaves(params);
    leaves.retain(|leaf| !told.contains(leaf) && !counted(leaf));
    leaves.sort_by_cached_key(|leaf| rank(leaf, resolve(params, leaf)));
    let leaves = repeated_last(leaves, params);
    let field = |leaf: &String| Field::new(leaf, label(leaf), params, Drawing::plain());
    found.extend(leaves.iter().filter_map(field).take(FIELDS_MAX - found.len()));
    found
}

/// What a display leaves out, and what its name says to count: whom it goes to, what goes with it, what somebody may do.
pub(super) fn overlooked(params: &Value<'_>, told: &BTreeSet<String>) -> Vec<Field> {
    let mut found: Vec<(String, Field)> = Vec::new();
    for leaf in fields::leaves(params) {
        // A list is one field.
        let whole = leaf.trim_end_matches(|c: char| c.is_ascii_digit());
        let pointer = whole.strip_suffix('/').unwrap_or(&leaf);
        let counts = place_in(&WHERE_TO, pointer).or_else(|| place_in(&WHICH, pointer)).is_some();
        let is_empty = matches!(
            resolve(params, &leaf),
            None | Some(Value::Null | Value::Array(_) | Value::Object(_))
        );
        if !counts
            || is_empty
            || told.contains(&leaf)
            || found.iter().any(|(known, _)| known == pointer)
        {
            continue;
        }
        let label = (fields::capital(pointer, params), false);
        let field = Field::new(pointer, label, params, Drawing::plain()).filter(Field::is_short);
        found.extend(field.map(|field| (pointer.to_owned(), field)));
    }
    found.truncate(OVERLOOKED_MAX);
    found.into_iter().map(|(_, field)| field).collect()
}

/// Pointers in their order, but a name that only says an earlier one again (`kim.berg@example.org`, `Kim Berg`) comes last.
fn repeated_last(leaves: Vec<String>, params: &Value<'_>) -> Vec<String> {
    let bare = |leaf: &String| {
        let text = resolve(params, leaf).and_then(Value::as_str).filter(|_| is_whom(leaf))?;
        let local = text.split('@').next().unwrap_or_default();
        let letters = local.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
        Some(letters.collect::<String>()).filter(|bare| bare.chars().count() >= REPEATED_FROM)
    };
    let (mut first, mut last, mut known) = (Vec::new(), Vec::new(), Vec::<String>::new());
    for leaf in leaves {
        let bare = bare(&leaf);
        let again = |bare: &String| {
            known.iter().any(|one| one.contains(bare.as_str()) || bare.contains(one.as_str()))
        };
        if bare.as_ref().is_some_and(again) {
            last.push(leaf);
        } else {
            known.extend(bare);
            first.push(leaf);
        }
    }
    first.extend(last);
    first
}

fn pointer_to(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn is_long_list(value: &Value<'_>) -> bool {
    let Value::Array(lines) = value else { return false };
    lines.len() >= COUNTED_FROM && lines.iter().all(|line| matches!(line, Value::Object(_)))
}

/// The sentence: `payments · refund: EUR 10.00, cus_8812`.
pub(super) fn sentence(call: &Call<'_>, amount: Option<&str>, fields: &[Field]) -> Sentence {
    let ours = |text: &str| Piece::Ours(text.to_owned());
    let words = BTreeSet::from([" \u{b7} ", ": ", ", "]);
    let named = |name: &str| Piece::Foreign(bare_or_quoted(&foreign::name(name), &words));
    let mut pieces = vec![named(call.tool), ours(" \u{b7} "), named(call.action)];
    let mut between = ": ";
    if let Some(amount) = amount {
        pieces.extend([ours(between), Piece::Amount(amount.to_owned())]);
        between = ", ";
    }
    // A number of lines alone says little. A third value is there if it says what: a version, and where it runs.
    let short = fields.iter().filter(|field| field.is_short() && !field.covers.is_empty());
    let says_what = |field: &Field| {
        let says = |names: &[&str], pointer: &str| place_in(names, pointer).is_some();
        field.covers.iter().any(|pointer| says(&WHAT, pointer) || says(&WHICH, pointer))
    };
    let told = |(at, field): &(usize, &Field)| {
        *at < IN_SENTENCE || (*at == IN_SENTENCE && says_what(field))
    };
    for (_, field) in short.enumerate().take_while(told) {
        let text = fields::cut(&field.lines[0], VALUE_CHARS_MAX);
        pieces.extend([ours(between), Piece::Foreign(bare_or_quoted(&text, &words))]);
        between = ", ";
    }
    Sentence::new(pieces)
}

/// Smaller is more telling. Of what says what, the order of the names counts: a version is read before where it runs.
fn rank(pointer: &str, value: Option<&Value<'_>>) -> (u8, usize) {
    let long = value.and_then(Value::as_str).is_some_and(|text| text.chars().count() > LONG);
    // An address is read before the name beside it: it says where something goes.
    let has_address = value.and_then(Value::as_str).is_some_and(|text| text.contains('@'));
    match (long, value) {
        (true, _) => (7, 0),
        (_, None | Some(Value::Null | Value::Object(_) | Value::Array(_))) => (6, 0),
        _ if is_whom(pointer) => (0, usize::from(!has_address)),
        _ if has(&WHICH, pointer) => (1, 0),
        _ if has(&HOW_MUCH, pointer) => (2, 0),
        _ if has(&WHAT, pointer) => (3, place_in(&WHAT, pointer).unwrap_or(WHAT.len())),
        _ if natural::is_due(pointer) => (4, 0),
        _ => (5, 0),
    }
}

fn is_whom(pointer: &str) -> bool {
    has(&WHOM, pointer)
}

fn has(names: &[&str], pointer: &str) -> bool {
    pointer.split('/').any(|step| names.contains(&step.to_lowercase().as_str()))
}

/// The place of the last step of a pointer in a list of names.
fn place_in(names: &[&str], pointer: &str) -> Option<usize> {
    let last = pointer.rsplit('/').next().unwrap_or_default().to_lowercase();
    names.iter().position(|name| *name == last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::{Display, Displayed, Title};
    use ledger::json;

    fn of(display: Option<&Display>, params: &str) -> Displayed {
        let params = json::parse_kept(params.as_bytes()).unwrap();
        let call =
            Call { tool: "payments", action: "transfer", params: Some(&params), amount: None };
        Displayed::of(display, &call)
    }

    /// The one check: `label: value` of each field, and how many values are left.
    fn check(display: &Display, params: &str, fields: &[&str], left: usize) {
        let told = of(Some(display), params);
        let lines: Vec<String> =
            told.fields.iter().map(|f| format!("{}: {}", f.label, f.text())).collect();
        assert_eq!(lines, fields, "{params}");
        assert_eq!(told.left, left, "{params}");
    }

    #[test]
    fn p7_a_call_without_a_display_has_its_telling_values_first() {
        let first = |params: &str| {
            let told = of(None, params);
            told.first()
                .map(|field| format!("{}: {}", field.label, field.text()))
                .collect::<Vec<_>>()
        };
        let grant = r#"{"email":"ofer.nahum@clinic.example","expires":"never","role":"reader","system":"records","user":"Dr. Ofer Nahum"}"#;
        let told = [
            "email: ofer.nahum@clinic.example",
            "role: reader",
            "system: records",
            "expires: never",
        ];
        assert_eq!(first(grant), told);
        // Another person's name repeats nothing.
        let other = grant.replace("Dr. Ofer Nahum", "Graham Whitlock");
        assert_eq!(first(&other)[..3], [told[0], "user: Graham Whitlock", told[1]]);
        assert_eq!(
            of(None, grant).sentence.plain(),
            "payments · transfer: ofer.nahum@clinic.example, reader, records"
        );
        assert_eq!(
            first(
                r#"{"environment":"production","item":"db-2026","kind":"backup","size_gb":214,"system":"db"}"#
            ),
            ["system: db", "item: db-2026", "environment: production", "kind: backup"]
        );
        assert_eq!(
            first(
                r#"{"attachment":"plan.pdf","body":"x","days":3,"subject":"Plan","to":"kim@clinic.example"}"#
            ),
            ["to: kim@clinic.example", "attachment: plan.pdf", "days: 3", "subject: Plan"]
        );
    }

    #[test]
    fn p7_what_counts_and_a_display_leaves_out_is_shown() {
        let display = Display {
            lead: vec!["/columns".into()],
            ..Display {
                title: Some(Title::new("Data to {/receiver}").unwrap()),
                ..Display::default()
            }
        };
        let params = r#"{"columns":["age"],"deliver_to":"in@clinic.example","format":"csv","receiver":"Clinic"}"#;
        check(&display, params, &["Columns: age", "Deliver_to: in@clinic.example"], 1);
        let files = r#"{"attachments":["a.pdf","b.pdf"],"cc":[],"columns":["age"],"receiver":"Clinic","recipients":["x","y"],"role":"admin"}"#;
        let fields = ["Columns: age", "Attachments: a.pdf, b.pdf", "Recipients: x, y"];
        check(&display, files, &fields, 2);
        // What it tells already is told once.
        let whole = Display { lead: vec!["/deliver_to".into(), "/columns".into()], ..display };
        check(&whole, params, &["Deliver_to: in@clinic.example", "Columns: age"], 1);
        let told = of(Some(&whole), params);
        assert_eq!((told.overlooked, told.first().count()), (0, 2));
    }
}
