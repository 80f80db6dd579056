//! Finds the rule for a call.

use super::{Amount, Match, Rule};
use ledger::{
    canonical,
    event::{RESERVED_TOOL, is_reserved_tool},
    json::{self, Value},
};
use std::collections::BTreeMap;

/// The parts of a call that rules can see.
#[derive(Clone, Copy, Debug)]
pub struct Visible<'a> {
    /// `data.tool.name`
    pub tool: &'a str,
    /// `data.tool.action`
    pub action: &'a str,
    /// The clause of our policies that asked for approval. `None` for what a gateway decided.
    pub clause: Option<&'a str>,
    /// `data.labels`: plain members. Amounts are never read from here.
    pub labels: &'a BTreeMap<String, String>,
    /// The frozen params, as the strict reader gave them.
    pub params: &'a Value<'a>,
}

/// The first rule that is for this call.
pub fn first_match<'a>(rules: &'a [Rule], facts: &Visible<'_>) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.matches(facts).is_ok())
}

impl Rule {
    /// Succeeds if the rule is for this call. Otherwise returns the first condition that does not hold, in
    /// words.
    pub fn matches(&self, facts: &Visible<'_>) -> Result<(), &'static str> {
        self.matches.check_call(facts)
    }
}

impl Match {
    /// True if the rule matches every call, as the last rule of a file must.
    pub fn is_catch_all(&self) -> bool {
        *self == Self::default()
    }

    /// True if it is for every call of our own tool with this action, whatever the params are.
    pub(crate) fn asks_whenever(&self, action: &str) -> bool {
        let anything =
            Self { tool: self.tool.clone(), action: self.action.clone(), ..Self::default() };
        let actions = self.action.is_empty() || self.action.iter().any(|listed| listed == action);
        *self == anything && actions && self.tool.iter().any(|tool| tool == RESERVED_TOOL)
    }

    /// True if it may be for a call that a clause pauses, and is not the rule for everything else.
    pub(crate) fn may_catch(&self, clause: &str, tool: Option<&str>, action: Option<&str>) -> bool {
        let listed = |list: &[String], name: Option<&str>| {
            list.is_empty() || name.is_none_or(|name| list.iter().any(|n| n == name))
        };
        let ours = !self.tool.is_empty() && self.tool.iter().all(|tool| is_reserved_tool(tool));
        !self.is_catch_all()
            && !ours
            && listed(&self.clause, Some(clause))
            && listed(&self.tool, tool)
            && listed(&self.action, action)
    }

    fn check_call(&self, facts: &Visible<'_>) -> Result<(), &'static str> {
        // What changes the rules of the game is never asked by accident.
        if is_reserved_tool(facts.tool) && self.tool.is_empty() {
            return Err("a rule for calls of Countersign itself names the tool");
        }
        let listed =
            |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        let holds = |condition: bool, otherwise| if condition { Ok(()) } else { Err(otherwise) };
        holds(listed(&self.tool, facts.tool), "the tool is not listed")?;
        holds(listed(&self.action, facts.action), "the action is not listed")?;
        let clause =
            self.clause.is_empty() || facts.clause.is_some_and(|c| listed(&self.clause, c));
        holds(clause, "the clause is not listed")?;
        let mut labels = self.labels.iter();
        let label = |(name, value)| facts.labels.get(name) == Some(value);
        holds(labels.all(label), "a label is absent or has another value")?;
        let mut params = self.params.iter();
        let param = |(pointer, value): (&String, _)| {
            resolve(facts.params, pointer).is_some_and(|found| same(found, value))
        };
        holds(params.all(param), "a param is absent or has another value")?;
        let amount = self.amount.as_ref();
        holds(amount.is_none_or(|a| a.is_over(facts.params)), "the amount is within the limit")
    }
}

impl Amount {
    /// True if the amount is above its limit, or can't be shown to be within it (P9).
    fn is_over(&self, params: &Value<'_>) -> bool {
        let within = || {
            let minor = resolve(params, &self.minor)?.as_u64()?;
            let limit = self.over.get(resolve(params, &self.currency)?.as_str()?)?;
            Some(minor <= *limit)
        };
        within() != Some(true)
    }
}

/// True if both have the same RFC 8785 form. A value that is not strict JSON equals nothing.
fn same(found: &Value<'_>, wanted: &serde_json::Value) -> bool {
    let wanted = wanted.to_string();
    json::parse(wanted.as_bytes())
        .is_ok_and(|wanted| canonical::to_vec(found) == canonical::to_vec(&wanted))
}

/// The value that a JSON Pointer (RFC 6901) points to.
pub fn resolve<'v, 'a>(value: &'v Value<'a>, pointer: &str) -> Option<&'v Value<'a>> {
    if pointer.is_empty() {
        return Some(value);
    }
    pointer.strip_prefix('/')?.split('/').try_fold(value, |value, token| match value {
        Value::Object(_) => value.get(&token.replace("~1", "/").replace("~0", "~")),
        Value::Array(elements) => elements.get(index(token)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

/// An array index of RFC 6901 §4: decimal digits without leading zeros.
pub(crate) fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    if plain { token.parse().ok() } else { None }
}
