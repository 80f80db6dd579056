//! `system.delivery`: how far a sink has delivered, and what its receiver's word for it was (`proto/formats/system.md`).

use super::{By, Reason};
use crate::{ident::Ident, json::text_has_control};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most refused entries that one message names.
pub const REFUSED_MAX: usize = 256;
/// Most payload fields that may leave by one sink.
pub const FIELDS_MAX: usize = 64;
/// What a sink may ask of its feed: all but its end. The values were read when the sink was configured.
const FILTERS: [&str; 6] = ["agent", "kind", "producer", "since", "tool", "verdict"];
/// Longest name of a field, and longest value of a filter, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;

/// Why a sink says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is new, or was configured anew.
    Starts,
    /// It delivers: once an hour, and after it stood still.
    Delivers,
    /// Nothing arrives any more.
    StandsStill,
    /// Somebody has a range sent again: `from` and `to` are that range.
    Again,
}

/// What the receiver's answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The receiver said, for each record, that it has stored it.
    Acknowledged,
    /// The receiver took the request. What it did with it is unknown.
    Accepted,
    /// The bytes were written. Nobody answered.
    Written,
}

impl Level {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Accepted => "accepted",
            Self::Written => "written",
        }
    }
}

/// The body of a message on `system.delivery`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Version of this form: 1.
    pub v: u32,
    /// Name of the sink.
    pub sink: Ident,
    /// Why it is said.
    pub state: Standing,
    /// Kind of the receiver.
    pub kind: Ident,
    /// Format of the records.
    pub format: Ident,
    /// Which entries: the members of a feed's question.
    pub filter: BTreeMap<String, String>,
    /// Payload fields that may leave.
    pub payload: Vec<String>,
    /// What the receiver's answers show.
    pub level: Level,
    /// The first leaf index since the last such entry of this sink.
    pub from: u64,
    /// Everything below this leaf index was delivered or refused. A server without a cursor of its own goes on here.
    pub to: u64,
    /// Records that the receiver took.
    pub count: u64,
    /// Leaf indexes of the records that it refused, in order.
    pub refused: Vec<u64>,
    /// The server, or who has a range sent again.
    pub by: By,
    /// Evidence that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Delivery {
    /// What is wrong with it.
    pub fn fault(&self) -> Option<&'static str> {
        let fits = |text: &String| {
            !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text_has_control(text)
        };
        if self.v != 1 {
            Some("v is 1")
        } else if self.from > self.to {
            Some("from comes after to")
        } else if !self.filter.keys().all(|name| FILTERS.contains(&name.as_str()))
            || !self.filter.values().all(fits)
        {
            Some("its filter is none of a feed")
        } else if self.payload.len() > FIELDS_MAX || !self.payload.iter().all(fits) {
            Some("too many fields, or a name that is none")
        } else if self.refused.len() > REFUSED_MAX
            || !self.refused.iter().all(|index| *index < self.to)
            || !self.refused.is_sorted_by(|a, b| a < b)
        {
            Some("what was refused is not in order, not below to, or too much")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Duty;

    fn check(change: impl Fn(&mut Delivery), wrong: Option<&str>) {
        let name = |name: &str| Ident::new(name).unwrap();
        let mut body = Delivery {
            v: 1,
            sink: name("siem"),
            state: Standing::Delivers,
            kind: name("http"),
            format: name("native"),
            filter: BTreeMap::from([("kind".to_owned(), "decision".to_owned())]),
            payload: vec!["params".into()],
            level: Level::Accepted,
            from: 3,
            to: 9,
            count: 4,
            refused: vec![5, 8],
            by: By::Server { server: Duty::Delivery },
            reason: None,
        };
        change(&mut body);
        let found = body.fault();
        assert_eq!(found.is_some(), wrong.is_some(), "{found:?}");
        assert!(found.unwrap_or_default().contains(wrong.unwrap_or_default()), "{found:?}");
    }

    #[test]
    fn p19_what_a_sink_says_is_bounded() {
        check(|_| {}, None);
        check(|body| body.refused.clear(), None);
        check(|body| body.v = 2, Some("v is 1"));
        check(|body| body.from = 10, Some("from"));
        check(|body| drop(body.filter.insert("until".into(), "later".into())), Some("filter"));
        check(|body| drop(body.filter.insert("colour".into(), "red".into())), Some("filter"));
        check(|body| drop(body.filter.insert("agent".into(), "a\nb".into())), Some("filter"));
        check(|body| body.payload.push(String::new()), Some("fields"));
        check(|body| body.payload = vec!["x".into(); FIELDS_MAX + 1], Some("fields"));
        check(|body| body.refused = vec![8, 5], Some("refused"));
        check(|body| body.refused = vec![9], Some("refused"));
        check(|body| body.refused = (0..=REFUSED_MAX as u64).collect(), Some("refused"));
    }
}
