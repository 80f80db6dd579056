//! Reads queries strictly: every parameter counts, and errors list what is possible.

use crate::problem::{Code, Problem};
use axum::extract::{Query, rejection::QueryRejection};
use ledger::foreign::word;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

/// Reads a query. Called once the caller is known, so that strangers learn nothing from errors.
///
/// Errors: 400 `bad_request` for a name that the route does not document, a name given twice, or a value of
/// another type.
pub fn strict<T: DeserializeOwned + IntoParams>(raw: Option<&str>) -> Result<T, Problem> {
    let pairs: Vec<(String, String)> = read(raw).map_err(|text| wrong(&text))?;
    let names: Vec<String> = T::into_params(|| None).into_iter().map(|known| known.name).collect();
    for (at, (name, _)) in pairs.iter().enumerate() {
        if !names.contains(name) {
            let known = if names.is_empty() { "none".into() } else { names.join(", ") };
            let name = word(name);
            return Err(wrong(&format!(
                "There is no query parameter {name} here; there is {known}."
            )));
        }
        if pairs[..at].iter().any(|(before, _)| before == name) {
            return Err(wrong(&format!("{name}: given more than once.")));
        }
    }
    read(raw).map_err(|text| {
        let value = pairs.iter().find(|(name, _)| text.starts_with(&format!("{name}: ")));
        let missing = text.split_once("missing field `").and_then(|(_, rest)| rest.split_once('`'));
        wrong(&match (value, missing) {
            (Some((name, value)), _) => match words_of(&text) {
                Some(words) => format!("{name}: there is no {}; there is {words}.", word(value)),
                None => format!("{name}: {} is not a whole number.", word(value)),
            },
            (None, Some((name, _))) => format!("{name}: is missing."),
            (None, None) => text,
        })
    })
}

/// Reads a query of a page.
pub fn lenient<T: DeserializeOwned>(raw: Option<&str>) -> Result<T, Problem> {
    fields(raw.unwrap_or_default()).map_err(|text| wrong(&text))
}

/// The fields of a form, or of a query: `application/x-www-form-urlencoded`.
fn fields<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_urlencoded::from_str(text).map_err(|error| error.to_string())
}

fn read<T: DeserializeOwned>(raw: Option<&str>) -> Result<T, String> {
    let uri = format!("/?{}", raw.unwrap_or_default()).parse();
    let uri = uri.map_err(|_| "The query can't be read.".to_owned())?;
    let query = Query::try_from_uri(&uri).map_err(|rejected: QueryRejection| {
        let text = rejected.body_text();
        text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned()
    });
    Ok(query?.0)
}

/// The possible words, if a value is none of them.
fn words_of(text: &str) -> Option<String> {
    let (_, words) = text.split_once("unknown variant `")?.1.rsplit_once("`, expected ")?;
    Some(words.trim_start_matches("one of ").replace('`', ""))
}

fn wrong(detail: &str) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

/// Checks that a value is one of a closed set of words.
pub fn one_of(name: &str, value: Option<&str>, words: &[&str]) -> Result<(), Problem> {
    match value {
        Some(value) if !words.contains(&value) => {
            let (value, words) = (word(value), words.join(", "));
            Err(wrong(&format!("{name}: there is no {value}; there is {words}.")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize, IntoParams)]
    struct Sample {
        index: u64,
        kind: Option<String>,
        part: Option<Part>,
    }

    #[derive(Debug, PartialEq, Deserialize, utoipa::ToSchema)]
    #[serde(rename_all = "lowercase")]
    enum Part {
        Half,
        Whole,
    }

    fn check(raw: &str, expected: Result<(u64, Option<&str>), &str>) {
        match (strict::<Sample>(Some(raw)), expected) {
            (Ok(read), Ok((index, kind))) => {
                assert_eq!((read.index, read.kind.as_deref()), (index, kind));
            }
            (Err(problem), Err(detail)) => assert_eq!(problem.detail(), detail, "{raw}"),
            (read, expected) => panic!("{raw}: {read:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn nothing_is_ignored() {
        check("index=7&kind=a%20b", Ok((7, Some("a b"))));
        check(
            "index=7&kinds=a",
            Err("There is no query parameter \"kinds\" here; there is index, kind, part."),
        );
        check("index=7&kind=a&kind=b", Err("kind: given more than once."));
        check("index=seven", Err("index: \"seven\" is not a whole number."));
        check("index=-1", Err("index: \"-1\" is not a whole number."));
        check("index=7&part=half", Ok((7, None)));
        check("index=7&part=ful", Err("part: there is no \"ful\"; there is half or whole."));
        check("kind=a", Err("index: is missing."));
        check("", Err("index: is missing."));
        check(
            "%1b=1",
            Err("There is no query parameter \"\\u{1b}\" here; there is index, kind, part."),
        );
    }

    #[test]
    fn words() {
        assert!(one_of("kind", Some("a"), &["a", "b"]).is_ok());
        assert!(one_of("kind", None, &["a"]).is_ok());
        let problem = one_of("kind", Some("c"), &["a", "b"]).unwrap_err();
        assert_eq!(problem.detail(), "kind: there is no \"c\"; there is a, b.");
    }
}
