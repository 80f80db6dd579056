//! The values of a test: as JSON, and changed by pointers.

use crate::policy::{
    mistakes::Place,
    pointer::unescaped,
    yaml::{Node, Yaml},
};
use ledger::json::{Member, Value};

/// The JSON value that a YAML value writes.
pub(super) fn value_of(node: &Node) -> Value<'static> {
    match &node.value {
        Yaml::Text(text) => Value::String(text.clone().into()),
        #[expect(clippy::cast_precision_loss, reason = "the reader takes integers below 2^53 only")]
        Yaml::Integer(number) => Value::Number(*number as f64),
        Yaml::Bool(is) => Value::Bool(*is),
        Yaml::List(items) => Value::Array(items.iter().map(value_of).collect()),
        Yaml::Map(members) => {
            let member = |(name, (_, node)): (&String, &(Place, Node))| -> Member<'static> {
                (name.clone().into(), value_of(node))
            };
            Value::Object(members.iter().map(member).collect())
        }
    }
}

/// Objects in the order in which [`Value::get`] finds members.
pub(super) fn sorted(value: Value<'static>) -> Value<'static> {
    match value {
        Value::Object(members) => {
            Value::object(members.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Sets or removes what a pointer leads to. `false` if its parent is not there, or what to remove is not.
pub(super) fn set(root: &mut Value<'static>, pointer: &str, new: Option<Value<'static>>) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    let mut at = root;
    for step in parent.split('/').skip(1) {
        let name = unescaped(step);
        let next = match at {
            Value::Object(members) => {
                members.iter_mut().find(|(other, _)| *other == name).map(|(_, value)| value)
            }
            Value::Array(elements) => {
                step.parse::<usize>().ok().and_then(|index| elements.get_mut(index))
            }
            _ => None,
        };
        let Some(next) = next else { return false };
        at = next;
    }
    let name = unescaped(name);
    match (at, new) {
        (Value::Object(members), new) => {
            let before = members.len();
            members.retain(|(other, _)| *other != name);
            let removed = members.len() < before;
            let added = new.map(|value| members.push((name.into(), value)));
            removed || added.is_some()
        }
        (Value::Array(elements), new) => {
            let index = name.parse::<usize>().ok().filter(|index| *index < elements.len());
            match (index, new) {
                (Some(index), Some(value)) => elements[index] = value,
                (Some(index), None) => drop(elements.remove(index)),
                (None, Some(value)) if name == "-" => elements.push(value),
                (None, _) => return false,
            }
            true
        }
        _ => false,
    }
}

/// The value at a JSON Pointer into the params.
pub(super) fn value_at<'v>(params: &'v Value<'static>, at: &str) -> Option<&'v Value<'static>> {
    at.split('/').skip(1).map(unescaped).try_fold(params, |value, step| match value {
        Value::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        value => value.get(&step),
    })
}
