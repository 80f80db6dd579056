//! What entries say of the outcome of a call: reports of gateways, and reports to an approval.

use crate::json::Value;
use serde::{Deserialize, Serialize};

/// What came of a call, as it was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was made, and failed.
    Failed,
    /// It was not made.
    NotStarted,
    /// It was made.
    Succeeded,
    /// The gateway does not know.
    Unknown,
}

impl Outcome {
    /// Every outcome, in the order of their names.
    pub const ALL: [Self; 4] = [Self::Failed, Self::NotStarted, Self::Succeeded, Self::Unknown];

    /// Its name in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::NotStarted => "not_started",
            Self::Succeeded => "succeeded",
            Self::Unknown => "unknown",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// What an execution reports of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Leaf index of the decision.
    pub decision: u64,
    /// What came of the call.
    pub outcome: Outcome,
}

impl Reported {
    /// Reads the plain part of an execution. `None` if it names no decision, or no outcome.
    pub fn read(plain: &Value<'_>) -> Option<Self> {
        let data = plain.get("data")?;
        let decision = data.get("decision")?.get("index")?.as_u64()?;
        let outcome = Outcome::of(data.get("outcome")?.as_str()?)?;
        Some(Self { decision, outcome })
    }
}

/// The outcome that the body of an approval's message reports.
pub fn outcome_of(body: &Value<'_>) -> Option<Outcome> {
    let events = body.get("events").and_then(Value::as_array)?;
    let mut reports = events
        .iter()
        .filter(|event| event.get("type").and_then(Value::as_str) == Some("execution_reported"));
    reports.find_map(|event| Outcome::of(event.get("outcome")?.as_str()?))
}
