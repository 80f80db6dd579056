//! The table of the members of `data` that stay plain in the leaf, and the split along it.

mod shape;

use super::{
    Alerting, CHAIN_MAX, FIELDS_MAX, Fault, Field, LABELS_MAX, Refused, TEXT_BYTES_MAX, Type,
    VERDICTS, pointer::pointer,
};
use crate::{
    budget::Asking,
    canonical,
    history::{Named, Outcome},
    ident::{LISTS_MAX, is_list_name},
    json::{Member, Value, text_has_control},
    log::merkle::Hash,
};
use shape::Shape;

/// A listed member: name, JSON Pointer, whether a decision must have it, and shape.
struct Rule {
    name: &'static str,
    at: &'static str,
    required: bool,
    shape: Shape,
}

impl Rule {
    const fn fault(&self) -> Fault {
        Fault { at: self.at, must: self.shape.must(), is_missing: false }
    }
}

const fn must(name: &'static str, at: &'static str, shape: Shape) -> Rule {
    Rule { name, at, required: true, shape }
}

const fn may(name: &'static str, at: &'static str, shape: Shape) -> Rule {
    Rule { name, at, required: false, shape }
}

const VERDICT: &str = "must be one of \"allow\", \"deny\", \"sanitize\", \"approval_needed\"; \"unspecified\" in translated logs";
const OBJECT: &str = "must be an object";

const LEAF_MUST: &str = "must be an object with `index` and `leaf_hash`";
/// Another entry, in our own decisions: nobody else is told of a mistake there.
const LEAF: &[Rule] =
    &[must("index", "/data", Shape::Count), must("leaf_hash", "/data", Shape::LeafHash)];

/// `data` itself.
pub(super) const DATA_FAULT: Fault = Fault { at: "/data", must: OBJECT, is_missing: false };

/// The plain members of `data`. This is the only list of their names.
const DATA: &[Rule] = &[
    must(
        "agent",
        "/data/agent",
        Shape::Object(
            &[
                must("id", "/data/agent/id", Shape::Text),
                may("run", "/data/agent/run", Shape::Text),
                may("session", "/data/agent/session", Shape::Text),
                may("chain", "/data/agent/chain", Shape::Chain),
            ],
            "must be an object with `id`",
        ),
    ),
    must(
        "tool",
        "/data/tool",
        Shape::Object(
            &[
                must("name", "/data/tool/name", Shape::Text),
                must("action", "/data/tool/action", Shape::Text),
            ],
            "must be an object with `name` and `action`",
        ),
    ),
    must("verdict", "/data/verdict", Shape::OneOf(&VERDICTS, VERDICT)),
    may(
        "mode",
        "/data/mode",
        Shape::OneOf(&["enforce", "shadow"], "must be \"enforce\" or \"shadow\""),
    ),
    may(
        "reason",
        "/data/reason",
        Shape::Object(&[may("code", "/data/reason/code", Shape::Text)], OBJECT),
    ),
    may(
        "policy",
        "/data/policy",
        Shape::Object(
            &[
                may("id", "/data/policy/id", Shape::Text),
                may("version", "/data/policy/version", Shape::Text),
                may("digest", "/data/policy/digest", Shape::Text),
            ],
            OBJECT,
        ),
    ),
    may(
        "call",
        "/data/call",
        Shape::Object(&[may("digest", "/data/call/digest", Shape::Text)], OBJECT),
    ),
    may("approval_id", "/data/approval_id", Shape::Text),
    may("token_id", "/data/token_id", Shape::Text),
    may(
        "cost",
        "/data/cost",
        Shape::Object(
            &[
                may("amount", "/data/cost/amount", Shape::Text),
                may("currency", "/data/cost/currency", Shape::Text),
            ],
            OBJECT,
        ),
    ),
    may(
        DECISION_LINK,
        "/data/decision",
        Shape::Object(
            &[
                must("index", "/data/decision/index", Shape::Count),
                must("leaf_hash", "/data/decision/leaf_hash", Shape::LeafHash),
            ],
            LEAF_MUST,
        ),
    ),
    may("as_of", "/data/as_of", Shape::Count),
    may("bundle", "/data/bundle", Shape::Text),
    may("lists", "/data/lists", Shape::Versions),
    may("budgets", "/data/budgets", Shape::Budgets),
    may("history", "/data/history", Shape::History),
    may(OUTCOME, "/data/outcome", Shape::Text),
    may("activates", "/data/activates", Shape::Text),
    may("frozen_by", "/data/frozen_by", Shape::Count),
    may("verified_by", "/data/verified_by", Shape::Object(LEAF, LEAF_MUST)),
    may("parent", "/data/parent", Shape::Object(LEAF, LEAF_MUST)),
    may(
        "freeze",
        "/data/freeze",
        Shape::OneOf(&["agent", "session"], "must be \"agent\" or \"session\""),
    ),
    may("alerts", "/data/alerts", Shape::Alerts),
    may("received", "/data/received", Shape::Text),
    may(
        "shadow",
        "/data/shadow",
        Shape::Object(
            &[
                must("verdict", "/data/shadow/verdict", Shape::OneOf(&VERDICTS, VERDICT)),
                may("code", "/data/shadow/code", Shape::Text),
                may("clause", "/data/shadow/clause", Shape::Text),
            ],
            "must be an object with `verdict`",
        ),
    ),
    may(
        "spool",
        "/data/spool",
        Shape::Object(
            &[
                must("id", "/data/spool/id", Shape::Text),
                must("number", "/data/spool/number", Shape::Count),
                must(
                    "why",
                    "/data/spool/why",
                    Shape::OneOf(&["later", "unavailable"], "must be \"later\" or \"unavailable\""),
                ),
            ],
            "must be an object with `id`, `number` and `why`",
        ),
    ),
    may("latency_us", "/data/latency_us", Shape::Count),
    may("labels", "/data/labels", Shape::Labels),
];

/// The decision that an execution carried out. It is plain in executions only.
const DECISION_LINK: &str = "decision";
/// What came of the call: plain in executions only, if posting knows the word.
const OUTCOME: &str = "outcome";
/// Members that are plain in our own decisions and reports only.
const OURS: [&str; 14] = [
    "alerts",
    "as_of",
    "bundle",
    "lists",
    "budgets",
    "history",
    "activates",
    "received",
    "frozen_by",
    "verified_by",
    "parent",
    "freeze",
    "shadow",
    "spool",
];

/// Collects payload fields while the plain part is cut out of an event.
#[derive(Default)]
pub(super) struct Split {
    pub(super) fields: Vec<Field>,
}

impl Split {
    pub(super) fn field(&mut self, name: String, value: &Value<'_>) -> Result<(), Refused> {
        if text_has_control(&name) {
            return Err(Refused::FieldName);
        }
        if self.fields.len() == FIELDS_MAX {
            return Err(Refused::TooManyFields);
        }
        self.fields.push(Field { name, value: canonical::to_vec(value) });
        Ok(())
    }

    /// The plain part of `data`, if it has any.
    pub(super) fn data<'a>(
        &mut self,
        (kind, ours): (Type, bool),
        data: Value<'a>,
    ) -> Result<Option<Value<'a>>, Refused> {
        let members = match data {
            Value::Object(members) => members,
            other if kind == Type::Other => {
                self.field("/data".into(), &other)?;
                return Ok(None);
            }
            _ => return Err(Refused::Data(DATA_FAULT)),
        };
        let (payload, mut rest): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|(name, value)| name == "payload" && matches!(value, Value::Object(_)));
        if let Some((_, Value::Object(fields))) = payload.first() {
            self.payload(fields)?;
        }
        if kind == Type::Other {
            for (name, value) in &rest {
                self.field(pointer("/data", name), value)?;
            }
            return Ok(None);
        }
        // A payload that is not an object is committed as a whole, like any member that is not listed.
        let unlisted = |(name, value): &Member<'_>| {
            name == "payload"
                || name == DECISION_LINK && kind != Type::Execution
                || name == OUTCOME
                    && !(kind == Type::Execution && value.as_str().and_then(Outcome::of).is_some())
                || !ours && OURS.contains(&&**name)
        };
        while let Some(at) = rest.iter().position(unlisted) {
            let (name, value) = rest.remove(at);
            self.field(pointer("/data", &name), &value)?;
        }
        let complete = kind == Type::Decision;
        self.object(DATA, rest, "/data", complete).map(Some)
    }

    fn payload(&mut self, fields: &[Member<'_>]) -> Result<(), Refused> {
        if fields.len() > FIELDS_MAX {
            return Err(Refused::TooManyFields);
        }
        for (name, value) in fields {
            if name.is_empty() || name.starts_with('/') {
                return Err(Refused::FieldName);
            }
            self.field(name.clone().into_owned(), value)?;
        }
        Ok(())
    }

    /// Keeps the members in `rules`, each in its shape. The rest becomes payload.
    fn object<'a>(
        &mut self,
        rules: &'static [Rule],
        members: Vec<Member<'a>>,
        at: &str,
        complete: bool,
    ) -> Result<Value<'a>, Refused> {
        let missing = rules
            .iter()
            .find(|rule| complete && rule.required && !members.iter().any(|(n, _)| n == rule.name));
        if let Some(rule) = missing {
            return Err(Refused::Data(rule.fault().missing()));
        }
        let mut plain = Vec::with_capacity(members.len());
        for (name, value) in members {
            match rules.iter().find(|rule| rule.name == name) {
                None => self.field(pointer(at, &name), &value)?,
                Some(rule) => plain.push((name, self.shape(rule, value)?)),
            }
        }
        Ok(Value::Object(plain))
    }

    fn shape<'a>(&mut self, rule: &'static Rule, value: Value<'a>) -> Result<Value<'a>, Refused> {
        let fits = match (&rule.shape, &value) {
            (Shape::Object(rules, _), Value::Object(_)) => {
                let Value::Object(members) = value else { unreachable!("matched above") };
                return self.object(rules, members, rule.at, true);
            }
            (Shape::Text, value) => is_text(value),
            (Shape::OneOf(words, _), Value::String(text)) => words.contains(&text.as_ref()),
            (Shape::Count, value) => value.as_u64().is_some(),
            (Shape::LeafHash, value) => value.as_str().and_then(Hash::parse).is_some(),
            (Shape::Chain, Value::Array(links)) => {
                (1..=CHAIN_MAX).contains(&links.len()) && links.iter().all(is_text)
            }
            (Shape::Labels, Value::Object(labels)) => {
                labels.len() <= LABELS_MAX
                    && labels.iter().all(|(name, value)| {
                        (1..=TEXT_BYTES_MAX).contains(&name.len())
                            && value.as_str().is_some_and(|text| text.len() <= TEXT_BYTES_MAX)
                    })
            }
            (Shape::Versions, Value::Object(lists)) => {
                lists.len() <= LISTS_MAX
                    && lists
                        .iter()
                        .all(|(name, version)| is_list_name(name) && version.as_u64().is_some())
            }
            (Shape::Budgets, value) => Asking::read(value).is_some(),
            (Shape::Alerts, value) => Alerting::read_all(value).is_some(),
            (Shape::History, value) => Named::read_all(value).is_some(),
            _ => false,
        };
        if fits { Ok(value) } else { Err(Refused::Data(rule.fault())) }
    }
}

/// JSON Pointer of a plain member with a control character, as far as the table has names.
pub(super) fn place_of_control(attribute: &str, value: &Value<'_>) -> &'static str {
    const ATTRIBUTES: &[(&str, &str)] = &[
        ("id", "/id"),
        ("source", "/source"),
        ("type", "/type"),
        ("datacontenttype", "/datacontenttype"),
    ];
    let at = ATTRIBUTES.iter().find(|(name, _)| *name == attribute).map_or("/data", |(_, at)| at);
    if attribute == "data" { in_object(DATA, value).unwrap_or(at) } else { at }
}

fn in_object(rules: &'static [Rule], value: &Value<'_>) -> Option<&'static str> {
    let Value::Object(members) = value else { return None };
    let (name, value) = members.iter().find(|(_, value)| value.has_control())?;
    let rule = rules.iter().find(|rule| rule.name == name)?;
    let inner = match &rule.shape {
        Shape::Object(rules, _) => in_object(rules, value),
        _ => None,
    };
    inner.or(Some(rule.at))
}

fn is_text(value: &Value<'_>) -> bool {
    value.as_str().is_some_and(|text| (1..=TEXT_BYTES_MAX).contains(&text.len()))
}
