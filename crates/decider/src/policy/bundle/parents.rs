//! What is known of the decision from which a call follows, as far as clauses of the bundle ask.

use super::Bundle;
use crate::{
    decision::Fields,
    policy::{
        condition::Condition,
        facts::Facts,
        pointer::Pointer,
        proven::{Likeness, ParentFact},
    },
};
use ledger::{
    canonical,
    entry::{Kind, View},
    event::Verdict,
    json::{self, Value},
};
use std::collections::BTreeSet;

impl Bundle {
    /// The pointers at which clauses compare a call with its parent.
    fn named_in_parents(&self) -> BTreeSet<Pointer> {
        let mut named = BTreeSet::new();
        for when in self.clauses.iter().filter_map(|clause| clause.when.as_ref()) {
            when.walk(&mut |part| {
                if let Condition::Parent(parent) = part {
                    named.extend(parent.unchanged.iter().cloned());
                }
            });
        }
        named
    }

    /// What is known of a call's parent. `view`: the entry that it names, whose leaf hash was compared; `payload`: what is
    /// left of its payload; `params`: those of the call.
    pub fn parent(&self, view: &View<'_>, payload: &Fields, params: &Value<'_>) -> ParentFact {
        let text = |path: &[&str]| {
            let path: Vec<&str> = ["event", "data"].iter().chain(path).copied().collect();
            view.text(&path).unwrap_or_default().to_owned()
        };
        if view.kind != Kind::Decision {
            return ParentFact::missing();
        }
        let before = payload.get("received").or_else(|| payload.get("params"));
        let before = before.and_then(|text| json::parse_kept(text).ok());
        let named = self.named_in_parents();
        let likeness = |pointer: &Pointer| likeness(pointer, before.as_ref(), params);
        ParentFact::Found {
            tool: text(&["tool", "name"]),
            action: text(&["tool", "action"]),
            verdict: text(&["verdict"]),
            unchanged: named.iter().map(|p| (p.as_text().to_owned(), likeness(p))).collect(),
        }
    }

    /// What is known of a parent that a test describes: a call, allowed, with these params.
    pub(in crate::policy) fn parent_of_test(
        &self,
        (tool, action, verdict): (&str, &str, Verdict),
        before: &Value<'_>,
        params: &Value<'_>,
    ) -> ParentFact {
        let named = self.named_in_parents();
        let likeness = |pointer: &Pointer| likeness(pointer, Some(before), params);
        ParentFact::Found {
            tool: tool.to_owned(),
            action: action.to_owned(),
            verdict: verdict.as_str().to_owned(),
            unchanged: named.iter().map(|p| (p.as_text().to_owned(), likeness(p))).collect(),
        }
    }

    /// True if a fact about a parent has each pointer that a clause compares, and no other.
    pub(in crate::policy) fn accepts_parent(&self, facts: &Facts) -> bool {
        let Some(ParentFact::Found { unchanged, .. }) = &facts.parent else { return true };
        let named = self.named_in_parents();
        unchanged.keys().map(String::as_str).eq(named.iter().map(Pointer::as_text))
    }
}

fn likeness(pointer: &Pointer, before: Option<&Value<'_>>, now: &Value<'_>) -> Likeness {
    let found = |params: Option<&Value<'_>>| {
        let value = params.and_then(|params| pointer.find(params).ok().flatten())?;
        Some(canonical::to_vec(value))
    };
    match (found(before), found(Some(now))) {
        (Some(before), Some(now)) if before == now => Likeness::Same,
        (Some(_), Some(_)) => Likeness::Other,
        _ => Likeness::Unknown,
    }
}
