//! What in a call itself is not as it seems: it says that data name nobody, and lists columns that do; a value turns the direction in
//! which it is read.

use super::fields;
use decider::rule::resolve;
use ledger::{foreign, json::Value};

/// Names of members that say that data name nobody, in small letters alone.
const NAMELESS: [&str; 8] = [
    "anonymised",
    "anonymized",
    "anonymous",
    "deidentified",
    "deidentifieddata",
    "isanonymous",
    "isdeidentified",
    "withoutnames",
];
/// Words of columns that name a person or lead to one (after the identifiers of HIPAA, 45 CFR 164.514(b)(2)).
const NAMING: [&str; 24] = [
    "name",
    "firstname",
    "lastname",
    "surname",
    "givenname",
    "fullname",
    "familyname",
    "email",
    "mail",
    "phone",
    "mobile",
    "telephone",
    "fax",
    "address",
    "street",
    "birthday",
    "birthdate",
    "dateofbirth",
    "dob",
    "ssn",
    "passport",
    "patientname",
    "emailaddress",
    "phonenumber",
];
/// Most columns that are named.
const NAMED_MAX: usize = 3;

/// Signs that turn the direction of writing for whatever follows (Unicode bidirectional embeddings, overrides and isolates).
const TURNING: [char; 9] = [
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
    '\u{2069}',
];
/// Longest text that is told of a value, in characters.
const NAMED_CHARS_MAX: usize = 60;

/// The first value that looks like another text where its signs are obeyed, `fdp.scr` like `rcs.pdf`, in words. `None` if there is none.
pub(super) fn turned(params: &Value<'_>) -> Option<String> {
    let said = first_text(params, |text, _| text.contains(TURNING))?;
    Some(format!("A hidden sign turns a text round, so that it looks like another one: {said}."))
}

/// The first address (mail or link) with a letter that is easily taken for another one, in words. `None` if there is none. In prose such
/// letters are a language; in an address they lead elsewhere.
pub(super) fn disguised(params: &Value<'_>) -> Option<String> {
    let said = first_text(params, |text, named| {
        let is_address =
            (text.contains('@') || text.contains("://")) && !text.contains(char::is_whitespace);
        is_address && named.contains("\\u{") && !text.contains(TURNING)
    })?;
    Some(format!("An address has a letter that looks like another one: {said}."))
}

/// The first text of a call that `is` so, as it is and as its letters are named, in words: the name of its member, and the text.
fn first_text(params: &Value<'_>, is: impl Fn(&str, &str) -> bool) -> Option<String> {
    fields::leaves(params).iter().find_map(|leaf| {
        let text = resolve(params, leaf)?.as_str()?;
        let named = foreign::name(text);
        is(text, &named).then(|| {
            let (of, named) = (foreign::name(last(leaf)), fields::cut(&named, NAMED_CHARS_MAX));
            format!("{of} is \u{201c}{named}\u{201d}")
        })
    })
}

/// The contradiction in words. `None` if there is none.
pub(super) fn contradiction(params: &Value<'_>) -> Option<String> {
    let leaves = fields::leaves(params);
    let says = leaves.iter().find(|leaf| {
        let value = resolve(params, leaf);
        let yes = matches!(value, Some(Value::Bool(true)))
            || value.and_then(Value::as_str).is_some_and(|text| text.eq_ignore_ascii_case("yes"));
        yes && NAMELESS.contains(&letters(last(leaf)).as_str())
    })?;
    let column = |leaf: &String| {
        // A column is a text in a list, or the name of a member.
        let listed = last(leaf).bytes().all(|byte| byte.is_ascii_digit());
        let text = resolve(params, leaf).and_then(Value::as_str).filter(|_| listed)?;
        NAMING.contains(&letters(text).as_str()).then(|| text.to_owned())
    };
    let columns: Vec<String> = leaves.iter().filter_map(column).collect();
    let shown: Vec<String> =
        columns.iter().take(NAMED_MAX).map(|name| foreign::name(name)).collect();
    let more = columns.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let what = if columns.len() == 1 { "the column" } else { "the columns" };
    (!columns.is_empty()).then(|| {
        let says = fields::capital(says, params);
        let columns = shown.join(", ");
        format!("{says} is true, but it has {what} {columns}{more}.")
    })
}

fn last(pointer: &str) -> &str {
    pointer.rsplit('/').next().unwrap_or_default()
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::json;

    fn check(params: &str, said: Option<&str>) {
        let params = json::parse_kept(params.as_bytes()).unwrap();
        assert_eq!(contradiction(&params).as_deref(), said);
    }

    #[test]
    fn p7_data_that_name_nobody_have_no_names() {
        let one = Some("Deidentified is true, but it has the column name.");
        check(r#"{"columns":["age_group","bp","name"],"deidentified":true}"#, one);
        check(r#"{"columns":["age_group","bp"],"deidentified":true}"#, None);
        check(r#"{"columns":["name"],"deidentified":false}"#, None);
        check(r#"{"columns":["name"]}"#, None);
        check(
            r#"{"d":{"de_identified":"Yes"},"fields":["Date of birth","e-mail","phone","SSN","ward"]}"#,
            Some(
                "D \u{b7} de_identified is true, but it has the columns Date of birth, e-mail, phone and 1 more.",
            ),
        );
        check(r#"{"columns":["filename","ward_name_code"],"anonymized":true}"#, None);
    }

    #[test]
    fn p7_a_text_that_a_sign_turns_round_is_named() {
        let said = |params: &str| turned(&json::parse_kept(params.as_bytes()).unwrap());
        let turning = said(r#"{"mail":{"attachment":"plan_\u202efdp.scr"},"to":["a"]}"#).unwrap();
        assert!(
            turning.ends_with("attachment is \u{201c}plan_\\u{202e}fdp.scr\u{201d}."),
            "{turning}"
        );
        // Texts that are written from right to left need no such sign.
        assert_eq!(said(r#"{"attachment":"برنامج.pdf","note":"a\u200fb"}"#), None);
    }

    #[test]
    fn p7_an_address_with_a_letter_that_looks_like_another_is_named() {
        let said = |params: &str| disguised(&json::parse_kept(params.as_bytes()).unwrap());
        let mail = said(r#"{"deliver_to":"in@s\u0430nderson.example"}"#).unwrap();
        assert!(
            mail.ends_with("deliver_to is \u{201c}in@s\\u{430}nderson.example\u{201d}."),
            "{mail}"
        );
        assert_eq!(said(r#"{"to":"in@sanderson.example","note":"s\u0430nd @ home"}"#), None);
    }
}
