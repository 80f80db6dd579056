//! What the names of members say beside a value.

use std::borrow::Cow;

/// Names that say nothing of the value: what holds it does, as in `{"ssn": {"value": …}}`.
const EMPTY_NAMES: [&str; 14] = [
    "value", "values", "val", "number", "num", "nr", "no", "text", "raw", "data", "content",
    "#text", "@value", "$t",
];

/// The words for the value of the member `name`: its name; and if that is empty, the words of what holds it too.
pub(super) fn labelled<'n>(outer: &str, name: &'n str) -> Cow<'n, str> {
    if EMPTY_NAMES.iter().any(|empty| empty.eq_ignore_ascii_case(name)) {
        Cow::Owned(format!("{outer} {name}"))
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_has_the_words_of_what_holds_it() {
        assert_eq!(labelled("ssn", "value"), "ssn value");
        assert_eq!(labelled("ssn value", "Text"), "ssn value Text");
        assert_eq!(labelled("ssn", "order"), "order");
    }
}
