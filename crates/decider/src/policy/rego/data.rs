//! The data of a bundle for OPA: who the agents are, the tools, the lists, and what clauses say when they match.

use crate::policy::{
    agents::Agent,
    bundle::Bundle,
    clause::{Clause, Enforcement, Then},
    detect,
    detectors::Detectors,
    limit::{Budget, Figure, Limit, Rate},
    on::On,
    pointer::{Pointer, Step},
    rego::pattern,
    tools::Tool,
};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Detectors that Rego has as they are. Of every other one it only knows what it can't find.
const EXACT: [&str; 4] = ["card", "email", "iban", "us-ssn"];
/// Without something like that there is no secret of a provider.
const SECRETS_TEXT: &str = r"[A-Za-z0-9+_=~%$-]{16,}|whsec_|glc_eyJ|sntrys_eyJ|sig=|eyJ|Q~|://[^/]*@|PRIVATE KEY|(?i:aws|amazon|secret|azure|account.?key|access.?key|storage.?key)";
/// Every number of a telephone has a plus.
const PHONE_TEXT: &str = r"(?s)\+.*[0-9].*[0-9].*[0-9].*[0-9].*[0-9].*[0-9].*[0-9].*[0-9]";

/// Everything that the library reads.
pub(super) fn of(bundle: &Bundle, version: u64) -> Value {
    let clauses = bundle.clauses().iter().map(|one| clause(one, &bundle.detectors));
    let agents: Map<String, Value> =
        bundle.agents.all().map(|(id, one)| (id.clone(), agent(one))).collect();
    let tools: Map<String, Value> =
        bundle.tools.all().map(|(name, one)| (name.clone(), tool(one))).collect();
    let mut by_tool = Map::new();
    for (tool, action, places) in bundle.filed() {
        let of = by_tool.entry(tool).or_insert_with(|| json!({"by_action": {}}));
        let places = of_calls(bundle, places);
        match action {
            None => of["other"] = places,
            Some(action) => of["by_action"][action] = places,
        }
    }
    let lists = bundle.lists().map(|name| {
        let items = bundle.items(name).into_iter().flatten();
        (
            name.to_owned(),
            Value::Object(items.map(|item| (item.clone(), Value::Bool(true))).collect()),
        )
    });
    let lists: Map<String, Value> = lists.collect();
    let ibans = detect::iban::LENGTHS.iter();
    let ibans: Map<String, Value> = ibans
        .map(|(country, length)| {
            (String::from_utf8_lossy(&country[..]).into_owned(), json!(length))
        })
        .collect();
    let (own, doubts) = detectors(&bundle.detectors);
    let order = detect::names().iter().map(|name| json!(name));
    let order = order.chain(bundle.detectors.own.iter().map(|own| json!(own.name)));
    json!({
        "version": version, "digest": bundle.digest(), "has_unconditional": bundle.clauses().iter().any(|one| !one.has_shadow()), "clauses": clauses.collect::<Vec<_>>(), "agents": agents,
        "spawned": bundle.agents.spawned(), "tiers": bundle.agents.tiers(), "tools": tools, "by_tool": by_tool,
        "other": of_calls(bundle, bundle.for_other_tools()), "lists": lists, "list_names": bundle.lists().collect::<Vec<_>>(), "ibans": ibans, "own": own, "doubts": doubts,
        "detectors": order.collect::<Vec<_>>(), "budgets": bundle.budgets.iter().map(budget).collect::<Vec<_>>(),
        "rates": bundle.rates.iter().map(rate).collect::<Vec<_>>(),
    })
}

/// Those of the clauses that judge calls: results are judged by the server alone.
fn of_calls(bundle: &Bundle, places: &[usize]) -> Value {
    let judges = |place: &&usize| bundle.clauses()[**place].on == On::Call;
    places.iter().filter(judges).map(|place| json!(place)).collect()
}

fn clause(clause: &Clause, detectors: &Detectors) -> Value {
    let steps = match &clause.enforcement {
        Enforcement::Full => Value::Null,
        Enforcement::Shadow => json!([{"until": null, "percent": 0}]),
        Enforcement::Steps(steps) => steps
            .iter()
            .map(
                |(until, percent)| json!({"until": until.map(|until| until.0), "percent": percent}),
            )
            .collect(),
    };
    let redact = clause.sanitize.redact.iter();
    let redact = redact.map(|item| {
        json!({"steps": self::steps(&item.at), "detect": known(&item.detect, detectors), "token": item.token})
    });
    let then = match clause.then {
        Then::Allow => "allow",
        Then::ApprovalNeeded => "approval_needed",
        Then::Deny => "deny",
        Then::Sanitize => "sanitize",
    };
    json!({
        "name": clause.name, "policy": clause.policy, "id": clause.id, "then": then, "agents": clause.agents,
        "message": clause.message, "obligations": clause.obligations, "steps": steps,
        "redact": redact.collect::<Vec<_>>(),
    })
}

fn agent(agent: &Agent) -> Value {
    let Agent { groups, tier, region, tools, .. } = agent;
    without_nulls(json!({"groups": groups, "tools": tools, "tier": tier, "region": region}))
}

fn tool(tool: &Tool) -> Value {
    let actions: Map<String, Value> = tool
        .actions
        .iter()
        .map(|(name, action)| {
            let known = json!({"effect": action.effect.as_str(), "schema": action.schema});
            (name.clone(), without_nulls(known))
        })
        .collect();
    without_nulls(json!({"tier": tool.tier, "region": tool.region, "actions": actions}))
}

fn limit(limit: &Limit) -> Map<String, Value> {
    let Limit { name, agents, tool, actions, per, asks_people, message, .. } = limit;
    let members = json!({
        "name": name, "agents": agents, "tool": tool, "actions": actions, "per": per.as_str(),
        "asks_people": asks_people, "message": message,
    });
    if let Value::Object(members) = members { members } else { Map::new() }
}

fn budget(budget: &Budget) -> Value {
    let mut members = limit(&budget.limit);
    let sum = match budget.sum {
        Figure::Calls => "calls",
        Figure::Cost => "cost",
        Figure::Minor { .. } => "minor",
    };
    let max: Map<String, Value> = budget
        .max
        .iter()
        .map(|(currency, max)| (currency.clone().unwrap_or_default(), json!(max)))
        .collect();
    members.insert("sum".into(), json!(sum));
    members.insert("window".into(), json!(budget.windows.name()));
    members.insert("max".into(), Value::Object(max));
    Value::Object(members)
}

fn rate(rate: &Rate) -> Value {
    Value::Object(limit(&rate.limit))
}

/// The steps of a pointer, for what lies within it.
pub(super) fn steps(pointer: &Pointer) -> Value {
    let step = |step: &Step| match step {
        Step::Member(name) => json!({"member": name}),
        Step::Each => json!({"each": true}),
    };
    pointer.steps.iter().map(step).collect()
}

/// The names of detectors as the library has them: one for all secrets.
pub(super) fn known(names: &[String], detectors: &Detectors) -> Vec<String> {
    let name = |name: &String| {
        let own = detectors.own.iter().any(|own| own.name == *name);
        if own || detect::is_of_people(name) { name.clone() } else { detect::SECRETS.to_owned() }
    };
    let mut known: Vec<String> = names.iter().map(name).collect();
    known.sort();
    known.dedup();
    known
}

/// True if Rego has the detector as it is.
pub(super) fn is_exact(name: &str, detectors: &Detectors) -> bool {
    let own = detectors.own.iter().find(|own| own.name == name);
    own.map_or(EXACT.contains(&name), |own| {
        own.words.is_empty() && pattern::of(own.pattern.as_str()).is_ok()
    })
}

/// Own detectors, and what must be in a text if one of those finds something that Rego does not have.
fn detectors(detectors: &Detectors) -> (Value, Value) {
    let (mut own, mut doubts) = (Map::new(), Map::new());
    let doubt = |text: &str, words: &str| json!({"text": text, "words": words});
    doubts.insert(detect::SECRETS.into(), doubt(SECRETS_TEXT, ""));
    doubts.insert("phone".into(), doubt(PHONE_TEXT, ""));
    for name in ["date-of-birth", "medical-record"] {
        let words = detect::words_of(name).unwrap_or_default().iter().copied();
        doubts.insert(name.into(), doubt("[0-9]", &any_of(words)));
    }
    for one in &detectors.own {
        let found = pattern::of(one.pattern.as_str());
        let words = if one.words.is_empty() {
            String::new()
        } else {
            any_of(one.words.iter().map(String::as_str))
        };
        match found {
            Ok(found) if one.words.is_empty() => {
                let check = if one.check == detect::Check::Luhn { "luhn" } else { "none" };
                own.insert(one.name.clone(), json!({"pattern": found, "check": check}));
            }
            found => {
                doubts.insert(one.name.clone(), doubt(&found.unwrap_or_default(), &words));
            }
        }
    }
    (Value::Object(own), Value::Object(doubts))
}

/// One of these words, whatever separates their parts.
fn any_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let one = |word: &str| {
        let letter = |c: char| match c {
            ' ' => "[ _-]?".to_owned(),
            c => format!(r"\x{{{:x}}}", u32::from(c)),
        };
        word.chars().map(letter).collect::<String>()
    };
    words.map(one).collect::<Vec<_>>().join("|")
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(members.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}

/// JSON as OPA hashes it for the signature: no blanks, names in the order of their bytes, escapes as Go writes them.
pub(super) fn written(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(elements) => {
            out.push('[');
            for (nth, element) in elements.iter().enumerate() {
                out.push_str(if nth > 0 { "," } else { "" });
                write(element, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (nth, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if nth > 0 { "," } else { "" });
                quote(name, out);
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
        Value::String(text) => quote(text, out),
        other => drop(write!(out, "{other}")),
    }
}

/// A text in quotes, as Go and Rego read it.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
