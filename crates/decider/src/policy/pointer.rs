//! JSON Pointers (RFC 6901) into the params of a call. A step `*` goes through all elements of an array.

use crate::rule::index;
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
    pub(super) steps: Vec<Step>,
}

/// A step of a pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Member(String),
    Each,
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pointer {
    /// The pointer as it was written.
    pub(super) fn as_text(&self) -> &str {
        &self.text
    }

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

    /// Reads a pointer, or the empty text: everything.
    pub(super) fn or_all(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(Self { text: String::new(), steps: Vec::new() })
        } else {
            Self::new(text)
        }
    }

    /// True if the place to which these steps lead is the one that it reaches, or is within it.
    pub(super) fn covers(&self, steps: &[String]) -> bool {
        let fits = |(own, step): (&Step, &String)| match own {
            Step::Member(name) => name == step,
            Step::Each => step.bytes().all(|byte| byte.is_ascii_digit()),
        };
        self.steps.len() <= steps.len() && self.steps.iter().zip(steps).all(fits)
    }

    /// True if it goes through arrays.
    pub(super) fn is_many(&self) -> bool {
        self.steps.contains(&Step::Each)
    }

    /// The values that it reaches, in order; `None` for each place where a member is absent or `null`.
    ///
    /// Errors: a step meets a value of another type, or it reaches too many.
    pub(super) fn reach<'v, 'a>(
        &self,
        root: &'v Value<'a>,
    ) -> Result<Vec<Option<&'v Value<'a>>>, &'static str> {
        let mut found = vec![Some(root)];
        for step in &self.steps {
            let mut next = Vec::with_capacity(found.len());
            for value in found {
                match (step, value) {
                    (_, None | Some(Value::Null)) => next.push(None),
                    (Step::Each, Some(Value::Array(elements))) => {
                        next.extend(elements.iter().map(Some));
                    }
                    (step, Some(value)) => next.push(step.on(value)?),
                }
            }
            if next.len() > REACHED_MAX {
                return Err("more than 10,000 values");
            }
            found = next;
        }
        let there = |value: &&Value<'_>| **value != Value::Null;
        Ok(found.into_iter().map(|value| value.filter(there)).collect())
    }

    /// The one value of a pointer without `*`. `None` if it is absent or `null`.
    ///
    /// Errors: as [`reach`](Self::reach).
    pub(super) fn find<'v, 'a>(
        &self,
        root: &'v Value<'a>,
    ) -> Result<Option<&'v Value<'a>>, &'static str> {
        let mut found = root;
        for step in &self.steps {
            match step.on(found)? {
                Some(value) => found = value,
                None => return Ok(None),
            }
        }
        Ok(Some(found).filter(|value| **value != Value::Null))
    }

    /// The one value, which must be there.
    pub(super) fn must<'v, 'a>(
        &self,
        root: &'v Value<'a>,
        absent: &'static str,
    ) -> Result<&'v Value<'a>, &'static str> {
        self.find(root)?.ok_or(absent)
    }
}

impl Step {
    /// The member or element of a value; `None` if it is absent.
    fn on<'v, 'a>(&self, value: &'v Value<'a>) -> Result<Option<&'v Value<'a>>, &'static str> {
        match (self, value) {
            (_, Value::Null) => Ok(None),
            (Self::Member(name), Value::Object(_)) => Ok(value.get(name)),
            (Self::Member(name), Value::Array(elements)) => {
                let at = index(name).ok_or("a list where an object is meant")?;
                Ok(elements.get(at))
            }
            (Self::Member(_), _) => Err("no object on the way"),
            (Self::Each, _) => Err("no list where the pointer has `*`"),
        }
    }

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

/// A step of a JSON Pointer as it names a member.
pub(super) fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pointer: &str, json: &str, expected: Result<&str, ()>) {
        let root = ledger::json::parse(json.as_bytes()).unwrap();
        let text = |value: Option<&Value<'_>>| {
            value.map_or("-".into(), |v| String::from_utf8(ledger::canonical::to_vec(v)).unwrap())
        };
        let found = Pointer::new(pointer).unwrap().reach(&root);
        let found = found.map(|all| all.into_iter().map(text).collect::<Vec<_>>().join(" "));
        assert_eq!(found.as_deref().map_err(|_| ()), expected, "{pointer} in {json}");
    }

    #[test]
    fn pointers_reach_members_elements_and_each() {
        check("/a", r#"{"a":1}"#, Ok("1"));
        check("/a/1", r#"{"a":[1,2]}"#, Ok("2"));
        check("/a/2", r#"{"a":[1,2]}"#, Ok("-"));
        check("/a/01", r#"{"a":[1,2]}"#, Err(()));
        check("/a/b", r#"{"a":[{"b":1}]}"#, Err(()));
        check("/a/*/b", r#"{"a":[{"b":1},{"b":2}]}"#, Ok("1 2"));
        check("/a/*/b", r#"{"a":[{"b":1},{},{"b":null}]}"#, Ok("1 - -"));
        check("/a/*", r#"{"a":[]}"#, Ok(""));
        check("/a/*", r#"{"a":[null,1]}"#, Ok("- 1"));
        check("/a/*", r#"{"a":{"b":1}}"#, Err(()));
        check("/a/*", r#"{"a":"b"}"#, Err(()));
        check("/a/b", r#"{"a":"b"}"#, Err(()));
        check("/a/*/b", "{}", Ok("-"));
        check("/a", r#"{"a":null}"#, Ok("-"));
        check("/a", "{}", Ok("-"));
        check("/", r#"{"":1}"#, Ok("1"));
        check("/x~1y/m~0n", r#"{"x/y":{"m~n":3}}"#, Ok("3"));
        let many = format!(r#"{{"a":[{}]}}"#, vec!["1"; REACHED_MAX + 1].join(","));
        check("/a/*", &many, Err(()));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "a", "/a~", "/a~2", &"/a".repeat(17)] {
            assert!(Pointer::new(text).is_err(), "{text}");
        }
    }
}
