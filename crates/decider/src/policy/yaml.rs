//! Strict YAML 1.2: a tree of scalars, lists and maps, each with its place.
//!
//! Refused, because readers disagree about it or because it hides what is meant: anchors, aliases, tags, merge
//! keys, duplicate keys, more than one document, and plain words that some reader takes for something else (`no`,
//! `1.5`, `007`, `08:00`, `2026-12-24`). JSON is the same document.
//!
//! The scanner is `saphyr-parser`. We build the tree from its events: a deserializer would stop at the first
//! mistake, and would have resolved anchors and tags before we see them.

use super::{
    DEPTH_MAX, FILE_BYTES_MAX,
    mistakes::{Mistakes, Place},
};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use std::{collections::BTreeMap, fmt};

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Yaml,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    Text(String),
    Integer(i64),
    Bool(bool),
    List(Vec<Node>),
    Map(BTreeMap<String, (Place, Node)>),
}

impl fmt::Display for Yaml {
    /// On one line, as an author would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Bool(is) => write!(f, "{is}"),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.value.to_string()).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Map(members) => {
                let member = |(name, (_, node)): (&String, &(Place, Node))| {
                    format!("{name}: {}", node.value)
                };
                write!(f, "{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Yaml {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Reads one document. `None`, with mistakes, if it is not strict YAML.
pub(super) fn read(bytes: &[u8], mistakes: &Mistakes<'_>) -> Option<Node> {
    let start = Place { line: 1, column: 1 };
    if bytes.len() > FILE_BYTES_MAX {
        mistakes.note(start, format!("a file has at most {FILE_BYTES_MAX} bytes: split it"));
        return None;
    }
    if bytes.starts_with(&[0xef, 0xbb, 0xbf]) {
        mistakes
            .note(start, "the file begins with a byte order mark: save it as UTF-8 without BOM");
        return None;
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        mistakes.note(start, "the file is not UTF-8: save it as UTF-8");
        return None;
    };
    let mut reader = Reader { events: Parser::new_from_str(text), mistakes, sound: true };
    let node = reader.document();
    node.filter(|_| reader.sound)
}

struct Reader<'a, 'm> {
    events: Parser<'a, StrInput<'a>>,
    mistakes: &'m Mistakes<'m>,
    sound: bool,
}

/// The next event, or the end of what can be read.
type Next<'a> = Option<(Event<'a>, Place)>;

impl<'a> Reader<'a, '_> {
    fn wrong(&mut self, at: Place, text: impl Into<String>) {
        self.sound = false;
        self.mistakes.note(at, text);
    }

    fn next(&mut self) -> Next<'a> {
        match self.events.next_event()? {
            Ok((event, span)) => Some((event, mark(span))),
            Err(error) => {
                let at = Place { line: error.marker().line(), column: error.marker().col() + 1 };
                let why = error.info();
                let why = if why.contains("recursion") { "nested too deep" } else { why };
                self.wrong(at, format!("not YAML: {why}"));
                None
            }
        }
    }

    fn document(&mut self) -> Option<Node> {
        let mut found = None;
        while let Some((event, at)) = self.next() {
            match event {
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                Event::StreamEnd => break,
                event if found.is_some() => {
                    drop(event);
                    self.wrong(
                        at,
                        "a second document: a file holds one, so remove `---` and what follows",
                    );
                    return None;
                }
                event => found = Some(self.node(event, at, 1)?),
            }
        }
        if found.is_none() && self.sound {
            self.wrong(Place { line: 1, column: 1 }, "the file is empty: begin with `language: 1`");
        }
        found
    }

    /// The value that begins with `event`.
    fn node(&mut self, event: Event<'a>, at: Place, depth: usize) -> Option<Node> {
        if depth > DEPTH_MAX {
            self.wrong(at, format!("nested deeper than {DEPTH_MAX} levels"));
            return None;
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plain(at, anchor, tag.is_some());
                Yaml::of_scalar(&text, style).unwrap_or_else(|why| {
                    self.wrong(at, why);
                    Yaml::Text(text.into_owned())
                })
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain(at, anchor, tag.is_some());
                self.list(depth)?
            }
            Event::MappingStart(anchor, tag) => {
                self.plain(at, anchor, tag.is_some());
                self.map(depth)?
            }
            Event::Alias(_) => {
                self.wrong(at, "an alias (`*…`): write the value out, or put `*` in quotes");
                Yaml::Text(String::new())
            }
            _ => return None,
        };
        Some(Node { at, value })
    }

    fn plain(&mut self, at: Place, anchor: usize, tag: bool) {
        if anchor != 0 {
            self.wrong(at, "an anchor (`&…`): write the value out wherever it is needed");
        }
        if tag {
            self.wrong(at, "a tag (`!…`): remove it, or put the text in quotes");
        }
    }

    fn list(&mut self, depth: usize) -> Option<Yaml> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(Yaml::List(items)),
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Option<Yaml> {
        let mut members = BTreeMap::new();
        loop {
            let (event, at) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Some(Yaml::Map(members)),
                Event::Scalar(text, style, anchor, tag) => {
                    self.plain(at, anchor, tag.is_some());
                    if style == ScalarStyle::Plain && text == "<<" {
                        self.wrong(at, "a merge key (`<<`): write the members out");
                    }
                    // A currency such as `NO` must be in quotes too, as other readers take it for a boolean.
                    if let Err(why) = Yaml::of_scalar(&text, style) {
                        self.wrong(at, why);
                    }
                    text.into_owned()
                }
                event => {
                    self.wrong(at, "a key that is no text");
                    self.node(event, at, depth + 1)?;
                    String::new()
                }
            };
            let (event, place) = self.next()?;
            let value = self.node(event, place, depth + 1)?;
            if members.contains_key(&key) {
                self.wrong(at, format!("{key:?} twice in one map: remove one"));
            }
            members.insert(key, (at, value));
        }
    }
}

fn mark(span: Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

/// Plain words that YAML 1.1 readers take for true, false or nothing, in lower case.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "null", "~", ""];

impl Yaml {
    /// A scalar: quoted ones are texts; plain ones are integers, booleans or unmistakable texts.
    fn of_scalar(text: &str, style: ScalarStyle) -> Result<Self, String> {
        if style != ScalarStyle::Plain {
            return Ok(Self::Text(text.to_owned()));
        }
        match text {
            "true" => return Ok(Self::Bool(true)),
            "false" => return Ok(Self::Bool(false)),
            _ => {}
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_digits && (digits == "0" || !digits.starts_with('0')) && text != "-0" {
            let number = text.parse().ok().filter(|n: &i64| n.unsigned_abs() < 1 << 53);
            let wrong = || {
                format!("{text} is beyond 2^53 - 1: write a smaller number, or a text in quotes")
            };
            return number.map(Self::Integer).ok_or_else(wrong);
        }
        let lower = text.to_ascii_lowercase();
        if WORDS.contains(&&*lower) || lower == "true" || lower == "false" {
            let shown = if text.is_empty() { "nothing" } else { text };
            return Err(format!(
                "{shown}: readers of YAML disagree about it. Put it in quotes if it is a text; else write true or false, or remove the key"
            ));
        }
        let begins = digits.trim_start_matches(['.', '+']);
        if begins.starts_with(|c: char| c.is_ascii_digit()) && looks_like_number(text) {
            return Err(format!(
                "{text} without quotes is a number, date or time to some readers: write \"{text}\" if it is a text"
            ));
        }
        if matches!(&*lower, ".inf" | "-.inf" | "+.inf" | ".nan") {
            return Err(format!("{text} is no number here: write a text in quotes, or an integer"));
        }
        Ok(Self::Text(text.to_owned()))
    }
}

/// True for digits with signs of numbers, dates and times between them: `1.5`, `1e2`, `0x1f`, `1_000`, `08:00`,
/// `2026-12-24`. An id such as `3d-printer` has other letters, and is a text.
fn looks_like_number(text: &str) -> bool {
    let hex = text.trim_start_matches(['-', '+']).starts_with("0x");
    text.bytes().all(|byte| {
        byte.is_ascii_digit()
            || b"+-._:eEoTZ ".contains(&byte)
            || (hex && byte.is_ascii_hexdigit())
            || byte == b'x'
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mistakes of a text as `line:column begin of the text`, or the tree in short.
    fn check(text: &str, expected: &str) {
        let mistakes = Mistakes::of("f");
        let node = read(text.as_bytes(), &mistakes);
        let found = mistakes.finish();
        let told: Vec<String> =
            found.iter().map(|m| format!("{}:{} {}", m.line, m.column, m.text)).collect();
        let shown = node.map_or_else(|| told.join("; "), |node| short(&node.value));
        assert!(shown.starts_with(expected), "{text:?} gives {shown}");
    }

    fn short(value: &Yaml) -> String {
        match value {
            Yaml::Text(text) => format!("{text:?}"),
            Yaml::Integer(number) => number.to_string(),
            Yaml::Bool(is) => is.to_string(),
            Yaml::List(items) => {
                let items: Vec<String> = items.iter().map(|item| short(&item.value)).collect();
                format!("[{}]", items.join(","))
            }
            Yaml::Map(members) => {
                let members =
                    members.iter().map(|(key, (_, node))| format!("{key}:{}", short(&node.value)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn plain_values_have_one_meaning() {
        check("a: 1\nb: [x, \"2\", -3]\nc: {d: true}", r#"{a:1,b:["x","2",-3],c:{d:true}}"#);
        check(r#"{"a": [1, "x"], "b": false}"#, r#"{a:[1,"x"],b:false}"#);
        check("a: 1\r\nb: 2\r\n", "{a:1,b:2}");
        check("a: |\n  two\n  lines\n", r#"{a:"two\nlines\n"}"#);
        check("a: 3d-printer", r#"{a:"3d-printer"}"#);
        check("a: sha256:00ff", r#"{a:"sha256:00ff"}"#);
        check("a: *.example.eu", "1:4 ");
        for text in [
            "no",
            "Yes",
            "off",
            "y",
            "null",
            "~",
            "TRUE",
            "1.5",
            "007",
            "08:00",
            "2026-12-24",
            "1e2",
            "0x1f",
            "1_000",
            "-0",
            ".inf",
            "9007199254740992",
            "",
        ] {
            check(&format!("a: {text}"), "1:");
            check(&format!("a: \"{text}\""), &format!("{{a:{text:?}}}"));
        }
        check("NO: 1", "1:1 NO");
    }

    #[test]
    fn what_hides_its_meaning_is_refused_with_its_place() {
        check("a: &x 1\nb: *x", "1:4 an anchor");
        check("a: !!str 1", "1:");
        check("a: 1\na: 2", "2:1 \"a\" twice");
        check("<<: {a: 1}", "1:1 a merge key");
        check("a: 1\n---\nb: 2", "3:1 a second document");
        check("a:\n\t- 1", "2:");
        check("", "1:1 the file is empty");
        check("[1]: 2", "1:1 a key that is no text");
        check("\u{feff}a: 1", "1:1 the file begins with a byte order mark");
        check(&"[".repeat(40), "1:33 nested deeper");
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b]";
        check(bomb, "1:4 an anchor");
        let mistakes = Mistakes::of("f");
        let utf16: Vec<u8> = "a: 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(read(&[&[0xff, 0xfe], &utf16[..]].concat(), &mistakes).is_none());
        assert!(read(&vec![b' '; FILE_BYTES_MAX + 1], &mistakes).is_none());
    }
}
