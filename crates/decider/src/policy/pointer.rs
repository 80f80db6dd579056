//! JSON Pointers (RFC 6901) into the params of a call. A step `*` goes through all elements of an array.

use ledger::json::Value;
use std::fmt;

/// Most steps of a pointer.
const STEPS_MAX: usize = 16;
/// Most values that one pointer with `*` may reach in a call: beyond that, a condition is an error.
const REACHED_MAX: usize = 10_000;

/// A pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Member(String),
    Each,
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pointer {
    /// Reads a pointer. Errors say what to write.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!(
                "{text:?} is no JSON Pointer: begin with `/`, for example /amount"
            ));
        };
        let steps: Option<Vec<Step>> = rest.split('/').map(Step::new).collect();
        let steps = steps.filter(|steps| steps.len() <= STEPS_MAX);
        let steps = steps.ok_or_else(|| {
            format!("{text:?} is no JSON Pointer of at most {STEPS_MAX} steps: `~` is written ~0, `/` in a name ~1")
        })?;
        Ok(Self { text: text.to_owned(), steps })
    }

    /// True if it goes through arrays.
    pub(super) fn is_many(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// The values that it reaches. `None` where a member is absent, `*` meets no array, or it reaches too many.
    /// `null` counts as absent.
    pub(super) fn reach<'v, 'a>(&self, root: &'v Value<'a>) -> Option<Vec<&'v Value<'a>>> {
        let mut found = vec![root];
        for step in &self.steps {
            let mut next = Vec::with_capacity(found.len());
            for value in found {
                match (step, value) {
                    (Step::Each, Value::Array(elements)) => next.extend(elements),
                    (Step::Member(name), Value::Object(_)) => next.push(value.get(name)?),
                    (Step::Member(name), Value::Array(elements)) => {
                        next.push(elements.get(index(name)?)?);
                    }
                    _ => return None,
                }
            }
            if next.len() > REACHED_MAX {
                return None;
            }
            found = next;
        }
        (!found.contains(&&Value::Null)).then_some(found)
    }

    /// The one value of a pointer without `*`. `None` if it is absent or `null`.
    pub(super) fn find<'v, 'a>(&self, root: &'v Value<'a>) -> Option<&'v Value<'a>> {
        let found = self.steps.iter().try_fold(root, |value, step| match (step, value) {
            (Step::Member(name), Value::Object(_)) => value.get(name),
            (Step::Member(name), Value::Array(elements)) => elements.get(index(name)?),
            _ => None,
        });
        found.filter(|value| **value != Value::Null)
    }
}

impl Step {
    fn new(token: &str) -> Option<Self> {
        if token == "*" {
            return Some(Self::Each);
        }
        let mut name = String::with_capacity(token.len());
        let mut characters = token.chars();
        while let Some(c) = characters.next() {
            match c {
                '~' => match characters.next()? {
                    '0' => name.push('~'),
                    '1' => name.push('/'),
                    _ => return None,
                },
                c => name.push(c),
            }
        }
        Some(Self::Member(name))
    }
}

/// An array index of RFC 6901 §4: decimal digits without leading zeros.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    if plain { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pointer: &str, json: &str, expected: Option<&str>) {
        let root = ledger::json::parse(json.as_bytes()).unwrap();
        let found = Pointer::new(pointer).unwrap().reach(&root).map(|values| {
            let texts = values
                .into_iter()
                .map(|v| String::from_utf8(ledger::canonical::to_vec(v)).unwrap());
            texts.collect::<Vec<_>>().join(" ")
        });
        assert_eq!(found.as_deref(), expected, "{pointer} in {json}");
    }

    #[test]
    fn pointers_reach_members_elements_and_each() {
        check("/a", r#"{"a":1}"#, Some("1"));
        check("/a/1", r#"{"a":[1,2]}"#, Some("2"));
        check("/a/01", r#"{"a":[1,2]}"#, None);
        check("/a/*/b", r#"{"a":[{"b":1},{"b":2}]}"#, Some("1 2"));
        check("/a/*/b", r#"{"a":[{"b":1},{}]}"#, None);
        check("/a/*", r#"{"a":[]}"#, Some(""));
        check("/a/*", r#"{"a":{"b":1}}"#, None);
        check("/a", r#"{"a":null}"#, None);
        check("/a", r"{}", None);
        check("/", r#"{"":1}"#, Some("1"));
        check("/x~1y/m~0n", r#"{"x/y":{"m~n":3}}"#, Some("3"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "a", "/a~", "/a~2", &"/a".repeat(17)] {
            assert!(Pointer::new(text).is_err(), "{text}");
        }
    }
}
