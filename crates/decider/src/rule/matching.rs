//! Which rule is for a call.

use super::{Amount, Match, Rule};
use ledger::{
    canonical,
    json::{self, Value},
};
use std::collections::BTreeMap;

/// What rules see of a call.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `data.tool.name`
    pub tool: &'a str,
    /// `data.tool.action`
    pub action: &'a str,
    /// `data.labels`: plain members. Amounts are never read from them.
    pub labels: &'a BTreeMap<String, String>,
    /// The frozen params, from the strict reader.
    pub params: &'a Value<'a>,
}

/// The first rule that is for this call.
pub fn first_match<'a>(rules: &'a [Rule], facts: &Facts<'_>) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.matches(facts).is_ok())
}

impl Rule {
    /// Whether the rule is for this call; otherwise the first condition that does not hold, in words.
    pub fn matches(&self, facts: &Facts<'_>) -> Result<(), &'static str> {
        self.matches.check_call(facts)
    }
}

impl Match {
    /// Whether every call matches, as the last rule of a file must.
    pub fn is_catch_all(&self) -> bool {
        *self == Self::default()
    }

    fn check_call(&self, facts: &Facts<'_>) -> Result<(), &'static str> {
        let listed =
            |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        let holds = |condition: bool, otherwise| if condition { Ok(()) } else { Err(otherwise) };
        holds(listed(&self.tool, facts.tool), "the tool is not listed")?;
        holds(listed(&self.action, facts.action), "the action is not listed")?;
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
    /// Whether the amount is above its limit, or can't be told to be within it (P9).
    fn is_over(&self, params: &Value<'_>) -> bool {
        let within = || {
            let minor = resolve(params, &self.minor)?.as_u64()?;
            let limit = self.over.get(resolve(params, &self.currency)?.as_str()?)?;
            Some(minor <= *limit)
        };
        within() != Some(true)
    }
}

/// Equal RFC 8785 forms. A value that is not strict JSON equals nothing.
fn same(found: &Value<'_>, wanted: &serde_json::Value) -> bool {
    let wanted = wanted.to_string();
    json::parse(wanted.as_bytes())
        .is_ok_and(|wanted| canonical::to_vec(found) == canonical::to_vec(&wanted))
}

/// What a JSON Pointer (RFC 6901) points to.
fn resolve<'v, 'a>(value: &'v Value<'a>, pointer: &str) -> Option<&'v Value<'a>> {
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
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    if plain { token.parse().ok() } else { None }
}
