//! The rows of earlier decisions that a decision of ours rests on: its member `history` (`proto/formats/decision.md`).

use super::said::Outcome;
use crate::json::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most rows of conditions that one decision may name.
pub const NAMED_MAX: usize = 16;
/// Most actions of one condition.
pub const ACTIONS_MAX: usize = 8;
/// Verdicts that decisions of ours have.
pub const VERDICTS: [&str; 4] = ["allow", "approval_needed", "deny", "sanitize"];
/// Longest name of a tool or an action, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Whose earlier decisions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Same {
    /// Those about calls of the same agent.
    Agent,
    /// Those of the same session, whatever agent.
    Session,
    /// Those of the same run, whatever agent.
    Run,
}

impl Same {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Session, Self::Run];

    /// Its name in entries and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Run => "run",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|same| same.as_str() == name)
    }
}

/// What one condition counts, as far as posting compares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Whose decisions.
    pub same: Same,
    /// About calls of this tool.
    pub tool: String,
    /// 1 to 8 actions.
    pub actions: BTreeSet<String>,
    /// Names of the verdicts that count.
    pub verdicts: BTreeSet<String>,
    /// The outcomes that count. Empty: whatever came of the call.
    pub outcomes: BTreeSet<Outcome>,
}

impl Named {
    /// Reads the member `history`. `None` if it has not exactly this form.
    pub fn read_all(value: &Value<'_>) -> Option<Vec<Self>> {
        let all: Vec<Self> = value.as_array()?.iter().map(Self::read).collect::<Option<_>>()?;
        let ordered = all.windows(2).all(|pair| pair[0] < pair[1]);
        ((1..=NAMED_MAX).contains(&all.len()) && ordered).then_some(all)
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        let Value::Object(members) = value else { return None };
        let known = ["same", "tool", "actions", "verdicts", "outcomes"];
        if !members.iter().all(|(name, _)| known.contains(&&**name)) {
            return None;
        }
        let same = Same::of(value.get("same")?.as_str()?)?;
        let tool = Some(value.get("tool")?.as_str()?).filter(|tool| fits(tool))?.to_owned();
        let actions = texts(value.get("actions")?)?;
        let verdicts = texts(value.get("verdicts")?)?;
        let outcomes: BTreeSet<Outcome> = match value.get("outcomes") {
            None => BTreeSet::new(),
            Some(outcomes) => {
                let named = texts(outcomes)?;
                named.iter().map(|name| Outcome::of(name)).collect::<Option<_>>()?
            }
        };
        let known = |name: &String| VERDICTS.contains(&name.as_str());
        let sound = actions.len() <= ACTIONS_MAX
            && actions.iter().all(|action| fits(action))
            && verdicts.iter().all(known);
        sound.then_some(Self { same, tool, actions, verdicts, outcomes })
    }

    /// True if a decision with this verdict counts for `call` as soon as it is posted.
    pub fn counts(&self, call: &CallOf, (other, verdict): &(CallOf, &str)) -> bool {
        self.outcomes.is_empty()
            && call.id(self.same).is_some()
            && call.id(self.same) == other.id(self.same)
            && self.tool == other.tool
            && self.actions.contains(&other.action)
            && self.verdicts.contains(*verdict)
    }

    /// It in JSON, as entries hold it.
    pub fn to_json(&self) -> serde_json::Value {
        let Self { same, tool, actions, verdicts, outcomes } = self;
        let mut json = serde_json::json!({
            "same": same.as_str(), "tool": tool, "actions": actions, "verdicts": verdicts,
        });
        if !outcomes.is_empty() {
            json["outcomes"] = outcomes.iter().map(|outcome| outcome.as_str()).collect();
        }
        json
    }
}

/// A call, as far as its place in rows depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOf {
    /// `agent.id`
    pub agent: String,
    /// `agent.session`
    pub session: Option<String>,
    /// `agent.run`
    pub run: Option<String>,
    /// `tool.name`
    pub tool: String,
    /// `tool.action`
    pub action: String,
}

impl CallOf {
    /// Reads the members `agent` and `tool` of a decision's `data`.
    pub fn of(data: &Value<'_>) -> Self {
        let text = |of: &str, name: &str| data.get(of)?.get(name)?.as_str().map(str::to_owned);
        Self {
            agent: text("agent", "id").unwrap_or_default(),
            session: text("agent", "session"),
            run: text("agent", "run"),
            tool: text("tool", "name").unwrap_or_default(),
            action: text("tool", "action").unwrap_or_default(),
        }
    }

    /// The agent, session or run.
    pub fn id(&self, same: Same) -> Option<&str> {
        match same {
            Same::Agent => Some(&self.agent),
            Same::Session => self.session.as_deref(),
            Same::Run => self.run.as_deref(),
        }
    }
}

fn fits(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len())
}

/// One text or more, each once, in order.
fn texts(value: &Value<'_>) -> Option<BTreeSet<String>> {
    let listed = value.as_array()?;
    let texts: Vec<&str> = listed.iter().map(Value::as_str).collect::<Option<_>>()?;
    let ordered = texts.windows(2).all(|pair| pair[0] < pair[1]);
    (!texts.is_empty() && ordered).then(|| texts.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{canonical, json};

    fn check(change: &str, fits: bool) {
        let right = r#"[{"same":"agent","tool":"bank","actions":["pay","transfer"],"verdicts":["allow"],"outcomes":["failed"]},{"same":"session","tool":"bank","actions":["pay"],"verdicts":["allow","deny"]}]"#;
        let (from, to) = change.split_once(" → ").unwrap_or(("", ""));
        let text = if from.is_empty() { right.to_owned() } else { right.replacen(from, to, 1) };
        assert!(from.is_empty() || text != right, "{change}");
        let read = Named::read_all(&json::parse(text.as_bytes()).unwrap());
        assert_eq!(read.is_some(), fits, "{text}");
        if let Some(named) = read {
            let json: serde_json::Value = named.iter().map(Named::to_json).collect();
            let again = canonical::of(&json);
            assert_eq!(Named::read_all(&json::parse(&again).unwrap()), Some(named));
        }
    }

    #[test]
    fn what_is_named_has_exactly_its_form() {
        check("", true);
        check(",\"outcomes\":[\"failed\"] → ", true);
        for wrong in [
            "\"same\":\"agent\" → \"same\":\"team\"",
            "\"tool\":\"bank\" → \"tool\":\"\"",
            "[\"pay\",\"transfer\"] → []",
            "[\"pay\",\"transfer\"] → [\"transfer\",\"pay\"]",
            "[\"pay\",\"transfer\"] → [\"pay\",\"pay\"]",
            "[\"allow\"] → [\"maybe\"]",
            "[\"failed\"] → [\"late\"]",
            "[\"failed\"] → []",
            "\"tool\" → \"name\"",
            "\"same\":\"agent\", → ",
            "\"same\":\"agent\" → \"same\":\"session\"",
            "[{ → [5,{",
        ] {
            check(wrong, false);
        }
    }
}
