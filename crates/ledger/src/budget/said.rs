//! What entries say that changes reservations: reports of gateways, and what happens to approvals.

use super::asked::spent;
use crate::json::Value;

/// What an execution reports of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Leaf index of the decision.
    pub index: u64,
    /// What it cost: millionths and currency. `None`: it does not say.
    pub cost: Option<(u64, String)>,
}

impl Report {
    /// Reads the plain part of an execution. `None` if it names no decision.
    pub fn read(plain: &Value<'_>) -> Option<Self> {
        let data = plain.get("data")?;
        let index = data.get("decision")?.get("index")?.as_u64()?;
        let cost = data.get("cost").and_then(|cost| {
            let currency = cost.get("currency")?.as_str()?.to_owned();
            Some((spent(cost.get("amount")?.as_str()?)?, currency))
        });
        Some(Self { index, cost })
    }
}

/// What an approval's message means for what its decision reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The call is never made: it is released.
    Ends,
    /// The call may be made now: it is reserved until the report's deadline.
    Redeemed,
    /// The outcome is reported, or no report came.
    Reported,
}

impl Turn {
    /// Reads the body of an approval's message. `None` if it changes nothing.
    pub fn read(body: &Value<'_>) -> Option<Self> {
        let events = body.get("events").and_then(Value::as_array)?;
        events.iter().filter_map(Self::of_event).next_back()
    }

    fn of_event(event: &Value<'_>) -> Option<Self> {
        match event.get("type")?.as_str()? {
            "denied" | "expired" | "cancelled" | "superseded" | "revoked" | "lapsed" => {
                Some(Self::Ends)
            }
            "redeemed" => Some(Self::Redeemed),
            "execution_reported" => match event.get("outcome").and_then(Value::as_str) {
                Some("not_started") => Some(Self::Ends),
                _ => Some(Self::Reported),
            },
            "report_missed" => Some(Self::Reported),
            _ => None,
        }
    }
}
