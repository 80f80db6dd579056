//! `tools.yaml`: tools, their actions, effects, schemas and tiers.

use super::{
    fields::{MapReader, language, listed, text_of},
    mistakes::Mistakes,
    yaml::Node,
};
use ledger::event::{RESERVED_TOOL, is_reserved_tool};
use std::collections::BTreeMap;

/// Longest name of a tool or action, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What an action does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    Write,
}

impl Effect {
    /// By its name in files.
    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            _ => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// An action of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) effect: Effect,
    /// Digest of the input schema.
    pub(super) schema: Option<String>,
}

/// A tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) tier: Option<String>,
    /// Where it runs, and keeps what it is given.
    pub(super) region: Option<String>,
    pub(super) actions: BTreeMap<String, Action>,
}

/// All tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tools(BTreeMap<String, Tool>);

impl Tools {
    pub(super) fn read(
        node: Node,
        mistakes: &Mistakes<'_>,
        has_tier: impl Fn(&str) -> bool,
    ) -> Self {
        let mut tools = Self::default();
        let Some(mut fields) = MapReader::of(node, "tools.yaml", mistakes) else { return tools };
        language(&mut fields);
        for node in fields.list("tools").unwrap_or_default() {
            tools.read_one(node, mistakes, &has_tier);
        }
        fields.finish();
        tools
    }

    fn read_one(&mut self, node: Node, mistakes: &Mistakes<'_>, has_tier: impl Fn(&str) -> bool) {
        let Some(mut fields) = MapReader::of(node, "a tool", mistakes) else { return };
        let name = fields.must("name", "the tool's name, as gateways send it");
        let name = name.and_then(|node| text_of(node, "name", mistakes));
        let mut tool = Tool::default();
        if let Some((tier, at)) = fields.text("tier") {
            if !has_tier(&tier) {
                mistakes
                    .note(at, format!("{tier:?} is no tier: list it in `tiers` of agents.yaml"));
            }
            tool.tier = Some(tier);
        }
        tool.region = fields.text("region").map(|(region, _)| region);
        let _ = fields.text("owner");
        for node in fields.list("actions").unwrap_or_default() {
            tool.read_action(node, mistakes);
        }
        if tool.actions.is_empty() {
            fields.wrong(fields.at, "a tool has actions: [{name: transfer, effect: write}]");
        }
        fields.finish();
        let Some((name, at)) = name else { return };
        if !is_tool_name(&name) {
            mistakes.note(at, format!("{name:?} is no name of a tool: 1 to {NAME_BYTES_MAX} visible ASCII characters without blanks"));
        }
        if is_reserved_tool(&name) {
            mistakes.note(
                at,
                format!("names that begin with {RESERVED_TOOL:?} are ours: choose another"),
            );
        }
        if self.0.insert(name.clone(), tool).is_some() {
            mistakes.note(at, format!("two tools are called {name:?}: remove one"));
        }
    }

    /// Every tool with its name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Tool)> {
        self.0.iter()
    }

    /// The action, if the file lists it.
    pub(super) fn action(&self, tool: &str, action: &str) -> Option<&Action> {
        self.0.get(tool)?.actions.get(action)
    }

    /// True if the file lists this tool.
    pub(super) fn knows(&self, tool: &str) -> bool {
        self.0.contains_key(tool)
    }

    pub(super) fn tier(&self, tool: &str) -> Option<&str> {
        self.0.get(tool)?.tier.as_deref()
    }

    pub(super) fn region(&self, tool: &str) -> Option<&String> {
        self.0.get(tool)?.region.as_ref()
    }

    /// The actions of a tool, for hints.
    pub(super) fn actions(&self, tool: &str) -> String {
        listed(self.0.get(tool).into_iter().flat_map(|tool| tool.actions.keys()))
    }

    /// Calls `note` with name and change of each tool that differs from `after`.
    pub(super) fn changes(&self, after: &Self, mut note: impl FnMut(&str, String)) {
        for (name, tool) in &after.0 {
            match self.0.get(name) {
                None => note(name, told(tool)),
                Some(before) if before != tool => note(name, changed(before, tool)),
                Some(_) => {}
            }
        }
        for name in self.0.keys().filter(|name| !after.0.contains_key(*name)) {
            note(name, "removed".into());
        }
    }

    /// The names of all tools, for hints.
    pub(super) fn names(&self) -> String {
        listed(self.0.keys())
    }
}

impl Tool {
    fn read_action(&mut self, node: Node, mistakes: &Mistakes<'_>) {
        let Some(mut fields) = MapReader::of(node, "an action", mistakes) else { return };
        let name = fields
            .must("name", "the action's name")
            .and_then(|node| text_of(node, "name", mistakes));
        let effect = fields
            .must("effect", "read or write")
            .and_then(|node| text_of(node, "effect", mistakes));
        let effect = effect.and_then(|(word, at)| {
            let effect = Effect::of(&word);
            if effect.is_none() {
                mistakes.note(at, "effect is read or write");
            }
            effect
        });
        let schema = fields.text("schema").map(|(digest, at)| {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
                mistakes.note(at, "schema is `sha256:` and 64 hex digits, of the RFC 8785 form of the input schema");
            }
            digest
        });
        if let Some(money) = fields.list("money") {
            for node in money {
                let Some(mut one) = MapReader::of(node, "money", mistakes) else { continue };
                let _ = (one.text("minor"), one.text("currency"));
                one.finish();
            }
        }
        fields.finish();
        let (Some((name, at)), Some(effect)) = (name, effect) else { return };
        if !is_tool_name(&name) {
            mistakes.note(at, format!("{name:?} is no name of an action: 1 to {NAME_BYTES_MAX} visible ASCII characters without blanks"));
        }
        if self.actions.insert(name.clone(), Action { effect, schema }).is_some() {
            mistakes.note(at, format!("two actions are called {name:?}: remove one"));
        }
    }
}

/// A new tool: its actions with their effects, its tier and its region.
fn told(tool: &Tool) -> String {
    let action = |(name, action): (&String, &Action)| {
        let schema = if action.schema.is_some() { ", with one input schema" } else { "" };
        format!("{name} ({}{schema})", action.effect.as_str())
    };
    let actions: Vec<String> = tool.actions.iter().map(action).collect();
    let actions = if actions.is_empty() { "no action".into() } else { actions.join(", ") };
    let tier = tool.tier.as_ref().map(|tier| format!("; tier {tier}")).unwrap_or_default();
    let region = tool.region.as_ref().map(|region| format!("; region {region}"));
    format!("new: {actions}{tier}{}", region.unwrap_or_default())
}

fn changed(before: &Tool, after: &Tool) -> String {
    let mut texts = Vec::new();
    for (name, action) in &after.actions {
        match before.actions.get(name) {
            None => texts.push(format!("action {name} is new")),
            Some(before) if before.schema != action.schema => {
                texts.push(format!("action {name} has another schema"));
            }
            Some(before) if before.effect != action.effect => {
                texts.push(format!("action {name} has another effect"));
            }
            Some(_) => {}
        }
    }
    let gone = before.actions.keys().filter(|name| !after.actions.contains_key(*name));
    texts.extend(gone.map(|name| format!("action {name} is gone")));
    if before.tier != after.tier {
        texts.push("another tier".into());
    }
    if before.region != after.region {
        let name = |of: &Option<String>| of.clone().unwrap_or_else(|| "none".into());
        texts.push(format!("region {} → {}", name(&before.region), name(&after.region)));
    }
    texts.join(", ")
}

fn is_tool_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
