//! Regular expressions of policies: linear time, and no meaning that changes with a version of Unicode.
//!
//! A subset of the syntax of the crate `regex`: literals, `.`, classes in brackets, groups, repetitions,
//! alternatives, `\d \w \s` and their opposites (ASCII only), `^ $`. Refused: flags (`(?i)`), `\p{…}`, `\b`.

use super::PATTERN_BYTES_MAX;
use regex::Regex;
use regex_syntax::ast::{self, Ast, ClassPerlKind};

/// Longest text that a detector's expression may find, in bytes: so its time is bounded.
const FOUND_BYTES_MAX: usize = 256;
/// Most bytes of a compiled expression.
const COMPILED_BYTES_MAX: usize = 2 << 20;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Pattern {
    /// An expression that must fit the whole value.
    pub(super) fn whole(text: &str) -> Result<Self, String> {
        Self::compile(text, |ascii| format!(r"\A(?:{ascii})\z"))
    }

    /// An expression that must fit somewhere in the value.
    pub(super) fn part(text: &str) -> Result<Self, String> {
        Self::compile(text, str::to_owned)
    }

    /// An expression that finds something in a value. What it finds is never empty, and its length has a bound.
    pub(super) fn finder(text: &str) -> Result<Self, String> {
        let pattern = Self::part(text)?;
        let parsed = regex_syntax::Parser::new().parse(pattern.0.as_str());
        let parsed = parsed.map_err(|error| format!("no regular expression: {error}"))?;
        let found = parsed.properties();
        let is_bounded = found.maximum_len().is_some_and(|most| most <= FOUND_BYTES_MAX);
        if !is_bounded || found.minimum_len().is_none_or(|least| least == 0) {
            return Err(format!(
                "what a detector finds has 1 to {FOUND_BYTES_MAX} bytes: write {{1,20}} instead of * and +"
            ));
        }
        Ok(pattern)
    }

    /// The first that it finds from this place on.
    pub(super) fn span_from(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        self.0.find_at(text, from).map(|found| (found.start(), found.end()))
    }

    fn compile(text: &str, around: impl Fn(&str) -> String) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!(
                "an expression has at most {PATTERN_BYTES_MAX} bytes: use one_of or a list"
            ));
        }
        let parsed = ast::parse::Parser::new()
            .parse(text)
            .map_err(|error| format!("no regular expression: {}", error.kind()))?;
        let ascii = ascii(text, &parsed)?;
        let regex = regex::RegexBuilder::new(&around(&ascii))
            .dot_matches_new_line(true)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        let regex = regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "this expression is too large once it is compiled: use smaller repetitions"
                    .to_owned()
            }
            error => format!("no regular expression: {error}"),
        })?;
        Ok(Self(regex))
    }

    /// The expression, in the syntax of the crate `regex`; `.` is every character.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn fits(&self, value: &str) -> bool {
        self.0.is_match(value)
    }

    /// True if it fits every text: then the condition says nothing.
    pub(super) fn fits_everything(&self) -> bool {
        let sample =
            ["", "a", "Z9", "\u{e9}\u{4e00}", "a b\nc", "%$/\\\"'", "0000000000000000000000000000"];
        sample.iter().all(|text| self.0.is_match(text))
    }
}

/// The expression with `\d`, `\w` and `\s` written out in ASCII.
fn ascii(text: &str, parsed: &Ast) -> Result<String, String> {
    struct Finder {
        /// Byte range → what stands there instead.
        instead: Vec<(usize, usize, String)>,
    }
    impl Finder {
        fn perl(&mut self, class: &ast::ClassPerl) {
            let inner = match class.kind {
                ClassPerlKind::Digit => "0-9",
                ClassPerlKind::Word => "0-9A-Za-z_",
                ClassPerlKind::Space => r"\t\n\v\f\r ",
            };
            let not = if class.negated { "^" } else { "" };
            // A class within a class may be negated as well: [x[^0-9]].
            let whole = format!("[{not}{inner}]");
            self.instead.push((class.span.start.offset, class.span.end.offset, whole));
        }
    }
    impl ast::Visitor for Finder {
        type Output = Self;
        type Err = String;

        fn finish(self) -> Result<Self, String> {
            Ok(self)
        }

        fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
            match ast {
                Ast::Flags(_) => Err("flags such as (?i) are not allowed: write the classes out, [Aa]".into()),
                Ast::Group(group) if group.flags().is_some_and(|flags| !flags.items.is_empty()) => {
                    Err("flags such as (?i: …) are not allowed: write the classes out, [Aa]".into())
                }
                Ast::ClassUnicode(_) => Err(UNICODE.into()),
                Ast::Assertion(found) => match found.kind {
                    ast::AssertionKind::StartLine | ast::AssertionKind::EndLine
                    | ast::AssertionKind::StartText | ast::AssertionKind::EndText => Ok(()),
                    _ => Err(r"\b and its kind depend on the version of Unicode: write out what may stand there".into()),
                },
                Ast::ClassPerl(class) => {
                    self.perl(class);
                    Ok(())
                }
                _ => Ok(()),
            }
        }

        fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), String> {
            match item {
                ast::ClassSetItem::Unicode(_) => Err(UNICODE.into()),
                ast::ClassSetItem::Perl(class) => {
                    self.perl(class);
                    Ok(())
                }
                _ => Ok(()),
            }
        }
    }
    const UNICODE: &str = r"\p{…} depends on the version of Unicode: write the characters out";
    let found = ast::visit(parsed, Finder { instead: Vec::new() })?;
    let mut instead = found.instead;
    instead.sort_unstable();
    let (mut out, mut done) = (String::new(), 0);
    for (start, end, class) in instead {
        out.push_str(&text[done..start]);
        out.push_str(&class);
        done = end;
    }
    out.push_str(&text[done..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, fits: &[&str], not: &[&str]) {
        let pattern = Pattern::whole(pattern).unwrap();
        for text in fits {
            assert!(pattern.fits(text), "{pattern:?} fits {text:?}");
        }
        for text in not {
            assert!(!pattern.fits(text), "{pattern:?} does not fit {text:?}");
        }
    }

    #[test]
    fn the_whole_value_counts_and_classes_are_ascii() {
        check("INV-[0-9]{6}", &["INV-004711"], &["INV-0047111", "xINV-004711", "INV-004711\n", ""]);
        check(r"\d+", &["123"], &["\u{661}\u{662}", "12\u{663}"]);
        check(r"\w+", &["a_9"], &["\u{e9}"]);
        check(r"[\w.-]+", &["a.b-c"], &["a b", "\u{e9}"]);
        check(r"[^\d]+", &["abc", "\u{661}"], &["a1"]);
        check(r"\S+", &["abc"], &["a b"]);
        check(r".*\.exe", &["a\nb.exe"], &["a.exe\n"]);
        check("a|b", &["a", "b"], &["ab", "ax"]);
        check("", &[""], &["a"]);
        assert!(Pattern::part("urgent").unwrap().fits("this is urgent!"));
        assert!(
            Pattern::part(".*").unwrap().fits_everything()
                && !Pattern::whole("[a-z]*").unwrap().fits_everything()
        );
    }

    #[test]
    fn what_depends_on_more_than_the_text_is_refused() {
        for text in [
            "(?i)a",
            "(?i:a)",
            r"\p{Greek}",
            r"[\p{Lu}]",
            r"\bfoo",
            "(",
            "a{1000}{1000}{1000}",
            &"a".repeat(10_241),
        ] {
            assert!(Pattern::whole(text).is_err(), "{text:.20}");
        }
    }

    /// The catastrophic kind of other engines is linear here.
    #[test]
    fn nested_repetitions_end() {
        let text = "a".repeat(100_000) + "!";
        check("(a+)+b", &[], &[&text]);
        check("(a|aa)+", &[&"a".repeat(100_001)], &[&text]);
    }
}
