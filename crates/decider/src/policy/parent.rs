//! A condition on the decision from which a call follows.

use super::{
    bounds::Truth,
    facts::Facts,
    fields::MapReader,
    pointer::Pointer,
    proven::{Likeness, ParentFact},
};
use ledger::event::Verdict;
use std::collections::BTreeSet;

/// Most pointers that one condition compares.
const UNCHANGED_MAX: usize = 32;

/// A condition on the decision from which the call follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parent {
    tool: Option<String>,
    actions: BTreeSet<String>,
    pub(super) unchanged: BTreeSet<Pointer>,
}

impl Parent {
    pub(super) fn read(mut fields: MapReader<'_>) -> Self {
        let tool = fields.text("tool").map(|(tool, _)| tool);
        let actions = fields.texts("actions").unwrap_or_default().into_iter();
        let actions = actions.map(|(action, _)| action).collect();
        let mut unchanged = BTreeSet::new();
        for (text, at) in fields.texts("unchanged").unwrap_or_default() {
            match Pointer::new(&text) {
                Ok(pointer) if pointer.is_many() => fields
                    .wrong(at, format!("{text:?}: without `*`, because whole values are compared")),
                Ok(pointer) => drop(unchanged.insert(pointer)),
                Err(why) => fields.wrong(at, why),
            }
        }
        let parent = Self { tool, actions, unchanged };
        if parent == Self::default() {
            fields.wrong(fields.at, "a parent has tool, actions or unchanged: [/iban]");
        }
        if parent.tool.is_none() && !parent.actions.is_empty() {
            fields.wrong(fields.at, "add tool: the one whose actions these are");
        }
        if parent.unchanged.len() > UNCHANGED_MAX {
            fields.wrong(fields.at, format!("unchanged has at most {UNCHANGED_MAX} pointers"));
        }
        fields.finish();
        parent
    }

    /// The tool that the parent must be of.
    pub(super) fn tool(&self) -> Option<&str> {
        self.tool.as_deref()
    }

    /// The actions that the parent must be of.
    pub(super) fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(String::as_str)
    }

    /// An absent parent is an error, not "nothing came before".
    pub(super) fn holds(&self, facts: &Facts) -> Truth {
        let Some(ParentFact::Found { tool, action, verdict, unchanged }) = &facts.parent else {
            return Truth::Error("the call names no parent");
        };
        if verdict == Verdict::Deny.as_str() {
            return Truth::Error("the parent was denied");
        }
        let of_tool = self.tool.as_ref().is_none_or(|wanted| wanted == tool);
        let of_action = self.actions.is_empty() || self.actions.contains(action);
        let same = self.unchanged.iter().map(|pointer| match unchanged.get(pointer.as_text()) {
            Some(Likeness::Same) => Truth::True,
            Some(Likeness::Other) => Truth::False,
            Some(Likeness::Unknown) | None => {
                Truth::Error("a value is absent, or the parent's params are gone")
            }
        });
        Truth::all(std::iter::once((of_tool && of_action).into()).chain(same))
    }
}
