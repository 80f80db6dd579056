//! `system.alert`: what a clause or the watch of the log found, and who closed it (`proto/formats/alerts.md`).

use super::{By, Duty, Reason};
use crate::{ident::Ident, json::text_has_control, time::Nanos};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most alerts that are open at once. Further ones are entries, and are not open.
pub const OPEN_MAX: usize = 512;
/// Most entries that one alert names.
pub const SHOWN_MAX: usize = 16;
/// Most values of one alert.
pub const VALUES_MAX: usize = 16;
/// Longest id, name or value, in bytes.
pub const TEXT_BYTES_MAX: usize = 512;
/// Most alerts that one entry shows.
pub const NTH_MAX: u32 = 4096;

/// What an alert rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertRule {
    /// A clause of the policies in force says so.
    Clause,
    /// Far more calls than at this hour before.
    Calls,
    /// Far more denials.
    Denials,
    /// Far more approvals asked for.
    ApprovalsAsked,
    /// Far more redemptions refused.
    RedemptionsRefused,
    /// Far more spent.
    Spending,
    /// The amounts of single calls drift upwards.
    Amounts,
    /// A producer that reports at this hour is silent.
    SilentProducer,
    /// A declared source is silent.
    SilentSource,
    /// An approval waits too long.
    StuckApproval,
    /// Numbers of a source did not come.
    Gap,
    /// A sink stands still.
    Sink,
    /// An agent calls through a chain never seen.
    NewChain,
    /// An agent calls at an hour of day at which it never did.
    NewHour,
}

/// What sort of thing an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// An agent.
    Agent,
    /// A tool.
    Tool,
    /// A producer.
    Producer,
    /// A source of a producer.
    Source,
    /// An approval.
    Approval,
    /// A sink.
    Sink,
}

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What sort of thing.
    pub what: Sort,
    /// Its id.
    pub id: String,
    /// The producer whose agent or source it is. Absent: of every producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer: Option<Ident>,
}

/// What shows an alert, which is its identity: two alerts never have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// The last entry that shows it.
    pub index: u64,
    /// Its number among the alerts that this entry shows, from 0.
    pub nth: u32,
}

/// The body of a message on `system.alert`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum AlertBody {
    /// An alert is raised. The leaf index of its entry names it.
    Raise(Box<Raise>),
    /// An alert is closed.
    Close(Close),
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    /// Version of this form: 1.
    pub v: u32,
    /// What it rests on.
    pub rule: AlertRule,
    /// Its name: of a clause's alert the clause's word, else that of the rule.
    pub name: String,
    /// The clause: `<policy>/<id>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
    /// What it is about.
    pub about: About,
    /// `journal.time` since which it is so.
    pub since: Nanos,
    /// What was measured, as texts by name.
    pub values: BTreeMap<String, String>,
    /// Leaf indexes of entries that show it, in order: the last ones, if there are more.
    pub entries: Vec<u64>,
    /// What shows it.
    pub at: At,
    /// The server.
    pub by: By,
}

/// An alert is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Close {
    /// Leaf index of the entry that raised it.
    pub alert: u64,
    /// Who did it.
    pub by: By,
    /// Evidence that says why.
    pub reason: Reason,
}

impl Raise {
    fn fault(&self) -> Option<&'static str> {
        let fits = |text: &String| {
            !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text_has_control(text)
        };
        let texts = self.values.iter().flat_map(|(name, value)| [name, value]);
        let mut texts = texts.chain([&self.name, &self.about.id]).chain(&self.clause);
        if self.v != 1 || self.by != (By::Server { server: Duty::Watching }) {
            Some("v is 1, and the server raises it")
        } else if !texts.all(fits) || self.values.len() > VALUES_MAX {
            Some("a text that is none, or too many values")
        } else if self.clause.is_some() != (self.rule == AlertRule::Clause) {
            Some("a clause's alert names its clause, and no other one does")
        } else if !(1..=SHOWN_MAX).contains(&self.entries.len())
            || !self.entries.is_sorted_by(|a, b| a < b)
            || self.entries.last().is_none_or(|last| *last > self.at.index)
            || self.at.nth > NTH_MAX
        {
            Some("the entries that show it are not in order, or too many, or come later")
        } else {
            None
        }
    }
}

/// What of alerts follows from the entries so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// What shows the last alert. The next one is shown by something later.
    pub at: Option<At>,
    /// Number of alerts that were raised.
    pub raised: u64,
    /// The open ones, by the leaf index of their entries: at most [`OPEN_MAX`].
    pub open: BTreeSet<u64>,
    /// Leaf index of the last `alert` entry.
    pub last: Option<u64>,
}

impl Alerts {
    /// Takes the `event` of the entry at `index`. Says what is wrong with one that does not fit; then nothing changes.
    pub fn take(&mut self, index: u64, body: &AlertBody) -> Result<(), &'static str> {
        match body {
            AlertBody::Raise(raise) => {
                if let Some(fault) = raise.fault() {
                    return Err(fault);
                }
                if raise.at.index >= index || self.at.is_some_and(|at| raise.at <= at) {
                    return Err("what shows it is not later than what shows the alert before");
                }
                self.at = Some(raise.at);
                self.raised += 1;
                if self.open.len() < OPEN_MAX {
                    self.open.insert(index);
                }
            }
            AlertBody::Close(Close { alert, by, reason }) => {
                if matches!(by, By::Server { .. }) || reason.index >= index {
                    return Err("somebody closes it, and says why before");
                }
                if !self.open.remove(alert) {
                    return Err("no such alert is open");
                }
            }
        }
        self.last = Some(index);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{log::merkle::Hash, system::KeyId};

    fn raise(index: u64, nth: u32) -> Raise {
        Raise {
            v: 1,
            rule: AlertRule::Denials,
            name: "denials".into(),
            clause: None,
            about: About { what: Sort::Agent, id: "payments-bot".into(), producer: None },
            since: Nanos(1),
            values: BTreeMap::from([("seen".to_owned(), "40".to_owned())]),
            entries: vec![3, 4],
            at: At { index, nth },
            by: By::Server { server: Duty::Watching },
        }
    }

    fn close(alert: u64) -> AlertBody {
        let by = By::Operator { operator: KeyId::new("0123456789abcdef").unwrap() };
        let reason = Reason { index: 0, leaf_hash: Hash([0; 32]) };
        AlertBody::Close(Close { alert, by, reason })
    }

    fn check(change: impl Fn(&mut Raise), fits: bool) {
        let mut body = raise(5, 0);
        change(&mut body);
        let mut alerts = Alerts::default();
        let body = AlertBody::Raise(Box::new(body));
        assert_eq!(alerts.take(9, &body).is_ok(), fits, "{body:?}");
        assert_eq!(alerts == Alerts::default(), !fits);
    }

    #[test]
    fn p19_an_alert_is_bounded() {
        check(|_| {}, true);
        check(|body| body.v = 2, false);
        check(|body| body.by = By::Server { server: Duty::Policy }, false);
        check(|body| body.clause = Some("p/a".into()), false);
        check(|body| body.rule = AlertRule::Clause, false);
        check(|body| body.about.id = String::new(), false);
        check(|body| body.about.id = "a\u{7}".into(), false);
        check(|body| body.name = "x".repeat(TEXT_BYTES_MAX + 1), false);
        check(|body| body.entries.clear(), false);
        check(|body| body.entries = vec![4, 3], false);
        check(|body| body.entries = vec![6], false);
        check(|body| body.entries = (0..17).collect(), false);
        check(|body| body.at.index = 9, false);
        check(|body| body.at.nth = NTH_MAX + 1, false);
        let many = |n: usize| (0..n).map(|n| (n.to_string(), "x".to_owned())).collect();
        check(|body| body.values = many(VALUES_MAX), true);
        check(|body| body.values = many(VALUES_MAX + 1), false);
    }

    #[test]
    fn p19_nothing_shows_two_alerts() {
        let mut alerts = Alerts::default();
        let mut take = |index, at, nth| {
            alerts.take(index, &AlertBody::Raise(Box::new(raise(at, nth)))).is_ok()
        };
        assert!(take(9, 5, 0));
        assert!(!take(10, 5, 0), "the same again");
        assert!(!take(10, 4, 7), "an earlier one");
        assert!(take(10, 5, 1));
        assert!(take(11, 8, 0));
        assert_eq!((alerts.raised, alerts.open.len(), alerts.last), (3, 3, Some(11)));
    }

    #[test]
    fn p19_an_alert_is_closed_once_by_somebody() {
        let mut alerts = Alerts::default();
        alerts.take(9, &AlertBody::Raise(Box::new(raise(5, 0)))).unwrap();
        assert!(alerts.take(10, &close(8)).is_err());
        alerts.take(10, &close(9)).unwrap();
        assert!(alerts.take(11, &close(9)).is_err());
        assert_eq!((alerts.open.len(), alerts.raised), (0, 1));
        for n in 0..OPEN_MAX as u64 + 9 {
            alerts.take(100 + n, &AlertBody::Raise(Box::new(raise(20 + n, 0)))).unwrap();
        }
        assert_eq!(alerts.open.len(), OPEN_MAX, "the first ones stay open");
        assert!(alerts.open.contains(&100) && alerts.raised == OPEN_MAX as u64 + 10);
    }
}
