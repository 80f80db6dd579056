//! A call that an agent asks for, as the deciding gateway sends it.

use ledger::json::Value;
use std::collections::BTreeMap;

/// Longest id or name, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// Most labels.
const LABELS_MAX: usize = 64;
/// Most classes of data or third parties that a call names.
const NAMES_MAX: usize = 64;

/// A call. Whatever is not said is absent, and a condition on it is an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// `agent.id`
    pub agent: String,
    /// `agent.run`
    pub run: Option<String>,
    /// `agent.session`
    pub session: Option<String>,
    /// `agent.chain`: who called whom, the root first, this agent last. `None` if it is not known.
    pub chain: Option<Vec<String>>,
    /// `tool.name`
    pub tool: String,
    /// `tool.action`
    pub action: String,
    /// `tool.schema`: digest of the input schema as the gateway knows it.
    pub schema: Option<String>,
    /// The parameters, as the strict reader gave them.
    pub params: Value<'a>,
    /// `context.purpose`
    pub purpose: Option<String>,
    /// `context.environment`
    pub environment: Option<String>,
    /// `context.region`
    pub region: Option<String>,
    /// `context.classes`: classes of personal data in the call.
    pub classes: Option<Vec<String>>,
    /// `context.third_parties`: who else gets the data.
    pub third_parties: Option<Vec<String>>,
    /// `labels`
    pub labels: BTreeMap<String, String>,
    /// `cost`: what the call will cost at most.
    pub cost: Option<Cost>,
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// A decimal number, as text.
    pub amount: String,
    /// Its currency.
    pub currency: String,
}

impl<'a> Request<'a> {
    /// Reads `agent`, `tool`, `params`, `context` and `labels` of a JSON object. Other members are the caller's.
    ///
    /// Errors: which member is wrong, and what it must be.
    pub fn read(body: &Value<'a>) -> Result<Self, String> {
        let agent = object(body, "agent", &["id", "run", "session", "chain", "token"])?;
        let tool = object(body, "tool", &["name", "action", "schema"])?;
        let known = ["purpose", "environment", "region", "classes", "third_parties"];
        let context = match body.get("context") {
            None | Some(Value::Null) => &Value::Null,
            Some(_) => object(body, "context", &known)?,
        };
        Ok(Self {
            agent: must(agent, "agent.id", "id")?,
            run: may(agent, "agent.run", "run")?,
            session: may(agent, "agent.session", "session")?,
            chain: names(agent, "agent.chain", "chain")?,
            tool: must(tool, "tool.name", "name")?,
            action: must(tool, "tool.action", "action")?,
            schema: may(tool, "tool.schema", "schema")?,
            params: body.get("params").cloned().unwrap_or(Value::Null),
            purpose: may(context, "context.purpose", "purpose")?,
            environment: may(context, "context.environment", "environment")?,
            region: may(context, "context.region", "region")?,
            classes: names(context, "context.classes", "classes")?,
            third_parties: names(context, "context.third_parties", "third_parties")?,
            labels: labels(body)?,
            cost: cost(body)?,
        })
    }
}

fn object<'v, 'a>(
    body: &'v Value<'a>,
    name: &str,
    known: &[&str],
) -> Result<&'v Value<'a>, String> {
    let found = body.get(name).ok_or_else(|| format!("add {name}"))?;
    let Value::Object(members) = found else { return Err(format!("{name} is an object")) };
    match members.iter().find(|(member, _)| !known.contains(&&**member)) {
        Some((member, _)) => {
            Err(format!("{name}.{member} is unknown: {name} has {}", known.join(", ")))
        }
        None => Ok(found),
    }
}

pub(super) fn may(object: &Value<'_>, path: &str, name: &str) -> Result<Option<String>, String> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => named(value).map(Some).ok_or_else(|| wrong(path)),
    }
}

pub(super) fn must(object: &Value<'_>, path: &str, name: &str) -> Result<String, String> {
    may(object, path, name)?.ok_or_else(|| format!("add {path}"))
}

fn wrong(path: &str) -> String {
    format!(
        "{path} is a text of 1 to {TEXT_BYTES_MAX} bytes, without control characters, in Unicode's form NFC"
    )
}

/// A text that names something. Texts that are not NFC are refused: two of them may look the same.
fn named(value: &Value<'_>) -> Option<String> {
    let text = super::param::text(value).ok()?;
    let fits = (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn names(object: &Value<'_>, path: &str, name: &str) -> Result<Option<Vec<String>>, String> {
    let elements = match object.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value.as_array().filter(|elements| elements.len() <= NAMES_MAX),
    };
    let elements =
        elements.ok_or_else(|| format!("{path} is a list of at most {NAMES_MAX} texts"))?;
    let names: Option<Vec<String>> = elements.iter().map(named).collect();
    names.map(Some).ok_or_else(|| wrong(path))
}

/// An incomplete cost is absent: the budgets that need it deny.
pub(super) fn cost(body: &Value<'_>) -> Result<Option<Cost>, String> {
    let cost = body.get("cost").unwrap_or(&Value::Null);
    let amount = may(cost, "cost.amount", "amount")?;
    let currency = may(cost, "cost.currency", "currency")?;
    Ok(amount.zip(currency).map(|(amount, currency)| Cost { amount, currency }))
}

fn labels(body: &Value<'_>) -> Result<BTreeMap<String, String>, String> {
    let members = match body.get("labels") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) if members.len() <= LABELS_MAX => members,
        Some(_) => return Err(format!("labels is an object of at most {LABELS_MAX} texts")),
    };
    let read = |(name, value): &ledger::json::Member<'_>| Some((name.to_string(), named(value)?));
    members.iter().map(read).collect::<Option<_>>().ok_or_else(|| wrong("each of labels"))
}
