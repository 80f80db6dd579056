//! Reads the members of a map: typed, with a mistake for each that is missing, unknown or of another type.

use super::{
    LANGUAGE, NAME_BYTES_MAX, TEXT_CHARS_MAX,
    mistakes::{Mistakes, Place},
    yaml::{Node, Yaml},
};
use std::collections::BTreeMap;

/// A map that is being read. Members that remain at the end are unknown.
pub(super) struct MapReader<'m> {
    pub(super) at: Place,
    members: BTreeMap<String, (Place, Node)>,
    asked: Vec<&'static str>,
    pub(super) mistakes: &'m Mistakes<'m>,
}

/// A text with its place.
pub(super) type Placed = (String, Place);

impl<'m> MapReader<'m> {
    /// The members of `node`. `what` names it in the mistake if it is no map.
    pub(super) fn of(node: Node, what: &str, mistakes: &'m Mistakes<'m>) -> Option<Self> {
        match node.value {
            Yaml::Map(members) => Some(Self { at: node.at, members, asked: Vec::new(), mistakes }),
            other => {
                mistakes.note(
                    node.at,
                    format!("{what} is a map of names and values, not {}", other.kind()),
                );
                None
            }
        }
    }

    pub(super) fn wrong(&self, at: Place, text: impl Into<String>) {
        self.mistakes.note(at, text);
    }

    /// True if there is a member of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// True if no member is left.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn take(&mut self, name: &'static str) -> Option<Node> {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
        self.members.remove(name).map(|(_, node)| node)
    }

    /// As [`take`](Self::take); an absent member is a mistake.
    pub(super) fn must(&mut self, name: &'static str, expected: &str) -> Option<Node> {
        if !self.has(name) {
            self.wrong(self.at, format!("add {name}: {expected}"));
        }
        self.take(name)
    }

    /// The other members, with their names: for maps whose names the author chooses.
    pub(super) fn rest(&mut self) -> Vec<(String, Place, Node)> {
        let members = std::mem::take(&mut self.members);
        members.into_iter().map(|(name, (at, node))| (name, at, node)).collect()
    }

    /// Ends reading: what was not asked for is unknown.
    pub(super) fn finish(self) {
        for (name, (at, _)) in &self.members {
            let hint = match nearest(name, self.asked.iter().copied()) {
                Some(known) => format!("did you mean {known}?"),
                None if self.asked.is_empty() => "remove it".into(),
                None => format!("known are {}", self.asked.join(", ")),
            };
            self.mistakes.note(*at, format!("{name} is unknown here: {hint}"));
        }
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<Placed> {
        let node = self.take(name)?;
        text_of(node, name, self.mistakes)
    }

    /// A text for people: one line to a few, at most 500 characters.
    pub(super) fn words(&mut self, name: &'static str) -> Option<String> {
        let (text, at) = self.text(name)?;
        let plain = |c: char| c == '\n' || !c.is_control();
        if text.trim().is_empty()
            || text.chars().count() > TEXT_CHARS_MAX
            || !text.chars().all(plain)
        {
            self.wrong(
                at,
                format!("{name} has 1 to {TEXT_CHARS_MAX} characters, without control characters"),
            );
        }
        Some(text)
    }

    /// A name that must be there: see [`is_name`].
    pub(super) fn must_name(&mut self, name: &'static str, expected: &str) -> Option<Placed> {
        let node = self.must(name, expected)?;
        let (text, at) = text_of(node, name, self.mistakes)?;
        if is_name(&text) {
            return Some((text, at));
        }
        self.wrong(at, format!("{name} {text:?}: {NAME_RULE}"));
        None
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let node = self.take(name)?;
        if let Yaml::Bool(is) = node.value {
            return Some(is);
        }
        self.wrong(node.at, format!("{name} is true or false, not {}", node.value.kind()));
        None
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Option<i64> {
        let node = self.take(name)?;
        integer_of(&node, name, self.mistakes)
    }

    pub(super) fn list(&mut self, name: &'static str) -> Option<Vec<Node>> {
        let node = self.take(name)?;
        list_of(node, name, self.mistakes)
    }

    /// A list of texts, none of them twice.
    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<Placed>> {
        let node = self.take(name)?;
        Some(texts_of(node, name, self.mistakes))
    }

    pub(super) fn fields(&mut self, name: &'static str) -> Option<MapReader<'m>> {
        let node = self.take(name)?;
        MapReader::of(node, name, self.mistakes)
    }
}

/// What [`is_name`] accepts, for messages.
pub(super) const NAME_RULE: &str = "a name has 1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`";

/// A name of a policy, clause, group, agent, list or tier.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

pub(super) fn text_of(node: Node, name: &str, mistakes: &Mistakes<'_>) -> Option<Placed> {
    match node.value {
        Yaml::Text(text) => Some((text, node.at)),
        other => {
            mistakes
                .note(node.at, format!("{name} is a text, not {}: put it in quotes", other.kind()));
            None
        }
    }
}

pub(super) fn integer_of(node: &Node, name: &str, mistakes: &Mistakes<'_>) -> Option<i64> {
    if let Yaml::Integer(number) = node.value {
        return Some(number);
    }
    mistakes.note(node.at, format!("{name} is a whole number, not {}", node.value.kind()));
    None
}

pub(super) fn list_of(node: Node, name: &str, mistakes: &Mistakes<'_>) -> Option<Vec<Node>> {
    match node.value {
        Yaml::List(items) => Some(items),
        other => {
            mistakes.note(node.at, format!("{name} is a list (`[a, b]`), not {}", other.kind()));
            None
        }
    }
}

/// A list of texts. An empty list, or a text twice, is a mistake.
pub(super) fn texts_of(node: Node, name: &str, mistakes: &Mistakes<'_>) -> Vec<Placed> {
    let at = node.at;
    let mut texts: Vec<Placed> = Vec::new();
    for item in list_of(node, name, mistakes).unwrap_or_default() {
        let Some((text, at)) = text_of(item, name, mistakes) else { continue };
        if text.is_empty() {
            mistakes.note(at, format!("{name} has an empty text: remove it"));
        }
        if texts.iter().any(|(other, _)| *other == text) {
            mistakes.note(at, format!("{name} has {text:?} twice: remove one"));
            continue;
        }
        texts.push((text, at));
    }
    if texts.is_empty() {
        mistakes.note(at, format!("{name} is empty: list at least one, or leave {name} out"));
    }
    texts
}

/// Reads `language: 1`, which every file begins with.
pub(super) fn language(fields: &mut MapReader<'_>) {
    if !fields.has("language") {
        fields.wrong(fields.at, "add `language: 1` as the first line");
    }
    let at = fields.at;
    if fields.integer("language").is_some_and(|version| version != LANGUAGE) {
        fields.wrong(at, "this program reads `language: 1`");
    }
}

/// Names in a sentence; `none` if there are none.
pub(super) fn listed<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The name that is nearly this one, for hints. Case, and white space around it, do not count.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let plain = |text: &str| -> String {
        text.trim().chars().take(NAME_BYTES_MAX).collect::<String>().to_lowercase()
    };
    let name = plain(name);
    let far = known.map(|known| (distance(&plain(known), &name), known));
    far.min_by_key(|(edits, _)| *edits).filter(|(edits, _)| *edits <= 2).map(|(_, known)| known)
}

/// Edits between two short names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(NAME_BYTES_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{super::yaml, *};

    /// What a reader that asks for `a`, must have `b`, and asks for it again, says of this file.
    fn check(file: &str, says: &str) {
        let mistakes = Mistakes::of("f");
        let node = yaml::read(file.as_bytes(), &mistakes).unwrap();
        let mut fields = MapReader::of(node, "a file", &mistakes).unwrap();
        let _ = (fields.take("first"), fields.must("second", "one"), fields.take("second"));
        fields.finish();
        let told: Vec<String> = mistakes.finish().into_iter().map(|m| m.text).collect();
        assert_eq!(told.join("; "), says);
    }

    #[test]
    fn each_known_name_is_told_once() {
        check("second: 1\nunheard: 2\n", "unheard is unknown here: known are first, second");
        check("second: 1\nfrist: 2\n", "frist is unknown here: did you mean first?");
        check("unheard: 2\n", "add second: one; unheard is unknown here: known are first, second");
        assert_eq!(listed(&[]), "none");
        assert_eq!(listed(&["a".to_owned(), "b".to_owned()]), "a, b");
    }
}
