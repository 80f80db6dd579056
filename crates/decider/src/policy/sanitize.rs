//! `then: sanitize` and `detects` as a policy writes them.

use super::{
    bounds::Truth,
    detect::Chosen,
    detectors::Detectors,
    fields::{MapReader, text_of},
    mistakes::Mistakes,
    param::{nodes, one_or_more},
    pointer::Pointer,
    redact::{Item, redact},
    redacted::Tokens,
    yaml::{Node, Yaml},
};
use ledger::json::Value;

/// What a sanitize clause does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sanitize {
    pub(super) redact: Vec<Redact>,
    /// The call as it came is kept too, in a field of its own.
    pub(super) keep_received: bool,
}

/// One item of `redact`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redact {
    pub(super) at: Pointer,
    pub(super) detect: Vec<String>,
    /// `as: token`
    pub(super) token: bool,
}

/// `detects`: one of the detectors finds something at one of the pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detects {
    pub(super) at: Vec<Pointer>,
    pub(super) detect: Vec<String>,
    /// An absent value is false instead of an error.
    pub(super) optional: bool,
}

impl Sanitize {
    /// Reads `redact` and `keep_received` of a clause.
    pub(super) fn read(fields: &mut MapReader<'_>) -> Self {
        let mistakes = fields.mistakes;
        let items = fields.take("redact").map(|node| nodes(node, "redact", mistakes));
        let items = items.into_iter().flatten();
        let redact = items.filter_map(|node| Redact::read(node, mistakes)).collect();
        let keep_received = fields.flag("keep_received").unwrap_or(false);
        Self { redact, keep_received }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Redact {
    fn read(node: Node, mistakes: &Mistakes<'_>) -> Option<Self> {
        let mut fields = MapReader::of(node, "an item of redact", mistakes)?;
        let at = fields
            .must("at", "the pointer of what is redacted, or \"\" for every text of the call")
            .and_then(|node| text_of(node, "at", mistakes));
        let at = at.and_then(|(text, at)| {
            Pointer::or_all(&text).map_err(|why| mistakes.note(at, why)).ok()
        });
        let detect = detect(&mut fields);
        let token = match fields.text("as") {
            None => false,
            Some((word, _)) if word == "token" => true,
            Some((word, at)) => {
                fields.wrong(at, format!("{word:?}: as is token, or left out"));
                false
            }
        };
        fields.finish();
        Some(Self { at: at?, detect, token })
    }

    /// The text of it, for reviewers.
    pub(super) fn shown(&self) -> String {
        let how = if self.token { " as tokens" } else { "" };
        format!("redacts {} at {:?}{how}", self.detect.join(", "), self.at.to_string())
    }

    /// As an item of the clause at a place.
    pub(super) fn item(&self, clause: usize, detectors: &Detectors) -> Item<'_> {
        Item { clause, at: &self.at, chosen: chosen(&self.detect, detectors), token: self.token }
    }
}

fn detect(fields: &mut MapReader<'_>) -> Vec<String> {
    if !fields.has("detect") {
        fields.wrong(fields.at, "add detect: names of detectors, for example [iban, card]");
    }
    fields.texts("detect").unwrap_or_default().into_iter().map(|(name, _)| name).collect()
}

fn chosen(names: &[String], detectors: &Detectors) -> Chosen {
    names.iter().filter_map(|name| detectors.chosen(name)).fold(Chosen::default(), Chosen::and)
}

impl Detects {
    /// `detects: [iban]`: anywhere in the call; or `{at: /body, detect: [iban], optional: true}`.
    pub(super) fn read(node: Node, mistakes: &Mistakes<'_>) -> Option<Self> {
        if let Yaml::List(_) = node.value {
            let names = super::fields::texts_of(node, "detects", mistakes);
            let detect = names.into_iter().map(|(name, _)| name).collect();
            let at = vec![Pointer::or_all("").expect("everything")];
            return Some(Self { at, detect, optional: false });
        }
        let mut fields = MapReader::of(node, "detects", mistakes)?;
        let at = fields.must("at", "the pointer, or pointers, of what is searched: /body");
        let at = at.map(|node| one_or_more(node, "at", mistakes)).unwrap_or_default();
        let pointer = |(text, at): (String, _)| {
            Pointer::or_all(&text).map_err(|why| mistakes.note(at, why)).ok()
        };
        let at = at.into_iter().filter_map(pointer).collect();
        let detect = detect(&mut fields);
        let optional = fields.flag("optional").unwrap_or(false);
        fields.finish();
        Some(Self { at, detect, optional })
    }

    pub(super) fn holds(&self, params: &Value<'_>, detectors: &Detectors) -> Truth {
        let chosen = chosen(&self.detect, detectors);
        let at = |at: &Pointer| match at.reach(params) {
            Err(why) => Truth::Error(why),
            Ok(found) if found.iter().any(Option::is_none) && !self.optional => {
                Truth::Error("nothing there")
            }
            Ok(_) => match redact(
                params,
                &[Item { clause: 0, at, chosen, token: false }],
                (detectors, &Tokens::Open),
            ) {
                Ok(changed) => changed.is_some().into(),
                Err((_, why)) => Truth::Error(why),
            },
        };
        Truth::any(self.at.iter().map(at))
    }

    /// Where it looks, for messages.
    pub(super) fn place(&self) -> String {
        self.at.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}
