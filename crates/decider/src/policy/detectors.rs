//! `detectors.yaml`: which numbered set counts, and a tenant's own detectors.

use super::{
    detect::{self, Check, Chosen, DETECTORS_MAX, NEWEST_SET, Own, SECRETS},
    fields::{MapReader, language},
    mistakes::Mistakes,
    pattern::Pattern,
    yaml::Node,
};

/// The detectors of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Detectors {
    pub(super) set: u32,
    pub(super) own: Vec<Own>,
}

impl Default for Detectors {
    /// Without the file: set 1, which language 1 means for ever.
    fn default() -> Self {
        Self { set: 1, own: Vec::new() }
    }
}

impl Detectors {
    pub(super) fn read(node: Node, mistakes: &Mistakes<'_>) -> Self {
        let mut found = Self::default();
        let Some(mut fields) = MapReader::of(node, "detectors.yaml", mistakes) else {
            return found;
        };
        language(&mut fields);
        let at = fields.at;
        if let Some(set) = fields.integer("set") {
            match u32::try_from(set).ok().filter(|set| (1..=NEWEST_SET).contains(set)) {
                Some(set) => found.set = set,
                None => fields
                    .wrong(at, format!("set is 1 to {NEWEST_SET}, as far as this program knows")),
            }
        }
        for node in fields.list("detectors").unwrap_or_default() {
            let at = node.at;
            let Some(own) = own(node, mistakes) else { continue };
            if found.place(&own.name).is_some() || own.name == SECRETS {
                mistakes.note(
                    at,
                    format!("there is a detector {:?} already: rename this one", own.name),
                );
            } else if detect::names().len() + found.own.len() >= DETECTORS_MAX {
                mistakes.note(at, format!("a set and own detectors are at most {DETECTORS_MAX}"));
                break;
            } else {
                found.own.push(own);
            }
        }
        fields.finish();
        found
    }

    /// The detectors that a name means. `None` if it means none.
    pub(super) fn chosen(&self, name: &str) -> Option<Chosen> {
        if name == SECRETS {
            return Some(Chosen::secrets());
        }
        self.place(name).map(|place| Chosen::of([place]))
    }

    fn place(&self, name: &str) -> Option<usize> {
        let own = self.own.iter().map(|own| own.name.as_str());
        detect::names().iter().copied().chain(own).position(|other| other == name)
    }

    pub(super) fn name(&self, place: usize) -> &str {
        let names = detect::names();
        match names.get(place) {
            Some(name) => name,
            None => self.own.get(place - names.len()).map_or("", |own| &own.name),
        }
    }

    /// The place of a detector by its name.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.place(name)
    }

    /// What changes to other detectors.
    pub(super) fn changes(&self, other: &Self, mut note: impl FnMut(&str, String)) {
        if self.set != other.set {
            note("set", format!("was {}, is {}", self.set, other.set));
        }
        for own in self.own.iter().filter(|own| !other.own.contains(own)) {
            let still = other.own.iter().any(|new| new.name == own.name);
            note(&own.name, if still { "finds something else" } else { "removed" }.into());
        }
        for own in other.own.iter().filter(|own| !self.own.iter().any(|old| old.name == own.name)) {
            note(&own.name, "new".into());
        }
    }
}

/// `{name: member-number, pattern: "M-[0-9]{8}", words: [member], check: luhn}`
fn own(node: Node, mistakes: &Mistakes<'_>) -> Option<Own> {
    let mut fields = MapReader::of(node, "a detector", mistakes)?;
    let name = fields.must_name("name", "a short name");
    let at = fields.at;
    if !fields.has("pattern") {
        fields.wrong(at, "add pattern: what it finds, for example \"M-[0-9]{8}\"");
    }
    let pattern = fields.text("pattern");
    let pattern = pattern
        .and_then(|(text, at)| Pattern::finder(&text).map_err(|why| mistakes.note(at, why)).ok());
    let words = fields.texts("words").unwrap_or_default();
    let words = words.iter().flat_map(|(word, _)| detect::forms_of(word)).collect();
    let check = match fields.text("check") {
        None => Check::None,
        Some((word, _)) if word == "luhn" => Check::Luhn,
        Some((word, at)) => {
            fields.wrong(at, format!("{word:?}: check is luhn, or left out"));
            Check::None
        }
    };
    fields.finish();
    Some(Own { name: name?.0, pattern: pattern?, words, check })
}
