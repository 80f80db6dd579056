//! Budgets and rates of a policy: what they are for, and what they allow (P18).

mod words;

use super::{
    agents::Standing,
    bounds::by_currency,
    fields::{MapReader, text_of},
    mistakes::{Mistake, Mistakes, Place},
    pointer::Pointer,
    request::Request,
    windows::Windows,
    yaml::{Node, Yaml},
};
use ledger::budget::{Unit, is_currency, millionths};
use std::collections::{BTreeMap, BTreeSet};

/// Most budgets, and most rates, of one bundle.
pub(super) const LIMITS_MAX: usize = 256;
/// Largest number of a cap, a burst or a rate.
const NUMBER_MAX: i64 = (1 << 53) - 1;
/// Most calls that a rate lets through at once, or in a second.
const RATE_MAX: i64 = 1_000_000;

/// For which calls a budget or a rate is, and what is told of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limit {
    /// `<policy>/<id>`
    pub(super) name: String,
    /// Ids, `@group`, `@unregistered` or `*`. Empty: every agent.
    pub(super) agents: Vec<String>,
    /// `None`: every tool.
    pub(super) tool: Option<String>,
    /// Empty: every action.
    pub(super) actions: BTreeSet<String>,
    pub(super) per: Per,
    /// What happens to a call that does not fit.
    pub(super) asks_people: bool,
    pub(super) message: Option<String>,
    pub(super) file: String,
    pub(super) at: Place,
}

/// Whose calls are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Per {
    Agent,
    Session,
    Run,
    All,
}

/// What a budget sums up.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Figure {
    Calls,
    Cost,
    Minor { minor: Pointer, currency: Pointer },
}

/// A cap on a sum in each window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Budget {
    pub(super) limit: Limit,
    pub(super) sum: Figure,
    pub(super) windows: Windows,
    /// By currency; that of calls has none.
    pub(super) max: BTreeMap<Option<String>, u64>,
    /// Percent of the cap.
    pub(super) warn_at: Option<u8>,
}

/// A number of calls at once, and in each second.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) limit: Limit,
    pub(super) burst: u32,
    pub(super) per_second: u32,
}

impl Limit {
    fn read(fields: &mut MapReader<'_>, policy: &str, file: &str, may_ask: bool) -> Option<Self> {
        let (at, mistakes) = (fields.at, fields.mistakes);
        let id = fields.must_name("id", "a short name, unique in its policy");
        let texts = |fields: &mut MapReader<'_>, name: &'static str| -> Vec<String> {
            fields.texts(name).unwrap_or_default().into_iter().map(|(text, _)| text).collect()
        };
        let agents = texts(fields, "agents");
        let tool = fields.must("tool", "the tool's name, or \"*\"");
        let tool = tool.and_then(|node| text_of(node, "tool", mistakes));
        let actions: BTreeSet<String> = texts(fields, "actions").into_iter().collect();
        let per = fields.must("per", "agent, session, run or all");
        let per = per.and_then(|node| text_of(node, "per", mistakes));
        let per = per.and_then(|(text, at)| {
            let found = Per::ALL.into_iter().find(|per| per.as_str() == text);
            if found.is_none() {
                mistakes.note(at, format!("{text:?}: per is agent, session, run or all"));
            }
            found
        });
        let at_cap = fields.must("at_cap", "what happens to a call that does not fit");
        let asks_people =
            at_cap.and_then(|node| text_of(node, "at_cap", mistakes)).and_then(|(text, at)| {
                match &*text {
                    "deny" => Some(false),
                    "approval_needed" if may_ask => Some(true),
                    _ => {
                        let known = if may_ask { "deny or approval_needed" } else { "deny" };
                        mistakes.note(at, format!("{text:?}: at_cap is {known}"));
                        None
                    }
                }
            });
        let message = fields.words("message");
        let (tool, tool_at) = tool?;
        if tool == "*" && !actions.is_empty() {
            mistakes.note(tool_at, "actions belong to a tool: name it, or leave actions out");
        }
        let name = format!("{policy}/{}", id?.0);
        let (tool, file) = (Some(tool).filter(|tool| tool != "*"), file.to_owned());
        let (per, asks_people) = (per?, asks_people?);
        Some(Self { name, agents, tool, actions, per, asks_people, message, file, at })
    }

    /// True if it is for a call of this agent.
    pub(super) fn is_for(&self, agent: &Standing<'_>, request: &Request<'_>) -> bool {
        self.is_for_call(&request.tool, &request.action) && self.is_for_agent(agent)
    }

    pub(super) fn is_for_call(&self, tool: &str, action: &str) -> bool {
        self.tool.as_ref().is_none_or(|of| of == tool)
            && (self.actions.is_empty() || self.actions.contains(action))
    }

    pub(super) fn is_for_agent(&self, agent: &Standing<'_>) -> bool {
        self.agents.is_empty() || self.agents.iter().any(|who| agent.is(who))
    }

    /// Whose sum the call counts for: `None` if it is that of all.
    pub(super) fn key(&self, request: &Request<'_>) -> Result<Option<String>, &'static str> {
        match self.per {
            Per::All => Ok(None),
            Per::Agent => Ok(Some(request.agent.clone())),
            Per::Session => request.session.clone().map(Some).ok_or("the call names no session"),
            Per::Run => request.run.clone().map(Some).ok_or("the call names no run"),
        }
    }

    /// A mistake at its place.
    pub(super) fn mistake(&self, text: &str) -> Mistake {
        let Place { line, column } = self.at;
        let text = format!("{}: {text}", self.name);
        Mistake { file: self.file.clone(), line, column, text }
    }
}

impl Per {
    const ALL: [Self; 4] = [Self::Agent, Self::Session, Self::Run, Self::All];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Run => "run",
            Self::All => "all",
        }
    }
}

impl Budget {
    /// Reads a budget of the policy `policy` in `file`.
    pub(super) fn read(
        node: Node,
        policy: &str,
        file: &str,
        mistakes: &Mistakes<'_>,
    ) -> Option<Self> {
        let mut fields = MapReader::of(node, "a budget", mistakes)?;
        let limit = Limit::read(&mut fields, policy, file, true);
        let sum = fields.must("sum", "calls, cost, or {minor: /amount, currency: /currency}");
        let sum = sum.and_then(|node| Figure::read(node, mistakes));
        let windows = Windows::read(&mut fields);
        let max = fields.must(
            "max",
            "the cap: {USD: \"20.00\"} for cost, {EUR: 5000000} for amounts, 100 for calls",
        );
        let max = sum.as_ref().zip(max).map(|(sum, node)| sum.max(node, mistakes));
        let at = fields.at;
        let warn_at = fields.integer("warn_at").and_then(|percent| {
            let found = u8::try_from(percent).ok().filter(|percent| (1..=100).contains(percent));
            if found.is_none() {
                mistakes.note(at, "warn_at is a percentage of the cap: 1 to 100");
            }
            found
        });
        fields.finish();
        Some(Self { limit: limit?, sum: sum?, windows: windows?, max: max?, warn_at })
    }

    /// The sum of a call, and its currency.
    ///
    /// Errors: where, and what is wrong there.
    pub(super) fn sum_of(
        &self,
        request: &Request<'_>,
    ) -> Result<(u64, Option<String>), (String, &'static str)> {
        let (sum, currency) = match &self.sum {
            Figure::Calls => (1, None),
            Figure::Cost => {
                let at = |why| ("/cost".to_owned(), why);
                let cost = request.cost.as_ref().ok_or_else(|| at("the call names no cost"))?;
                let sum = millionths(&cost.amount)
                    .ok_or_else(|| at("no decimal number of 0 or more in a text"))?;
                (sum, Some(cost.currency.clone()))
            }
            Figure::Minor { minor, currency } => {
                let at = |why| (format!("{minor} in {currency}"), why);
                let params = &request.params;
                let currency = currency.must(params, "no currency there");
                let currency = currency.and_then(super::param::text).map_err(at)?;
                let sum = minor.must(params, "no amount there").map_err(at)?;
                let sum = super::param::integer(sum).ok_or("no whole number below 2^53");
                let sum = sum.and_then(|sum| u64::try_from(sum).map_err(|_| "an amount below 0"));
                (sum.map_err(at)?, Some(currency.to_owned()))
            }
        };
        if self.max.contains_key(&currency) {
            return Ok((sum, currency));
        }
        let at = match &self.sum {
            Figure::Minor { minor, currency } => format!("{minor} in {currency}"),
            Figure::Calls | Figure::Cost => "/cost".to_owned(),
        };
        Err((at, "a currency that is not listed"))
    }

    /// What it sums up, as posting names it.
    pub(super) fn unit(&self) -> Unit {
        match self.sum {
            Figure::Calls => Unit::Calls,
            Figure::Cost => Unit::Cost,
            Figure::Minor { .. } => Unit::Minor,
        }
    }

    /// The sum at which people are warned.
    pub(super) fn warn(&self, max: u64) -> Option<u64> {
        let percent = u128::from(self.warn_at?);
        u64::try_from((u128::from(max) * percent).div_ceil(100)).ok()
    }
}

impl Figure {
    fn read(node: Node, mistakes: &Mistakes<'_>) -> Option<Self> {
        let at = node.at;
        match &node.value {
            Yaml::Text(text) if text == "calls" => return Some(Self::Calls),
            Yaml::Text(text) if text == "cost" => return Some(Self::Cost),
            Yaml::Map(_) => {}
            _ => {
                let text = "sum is calls, cost, or {minor: /amount, currency: /currency}";
                mistakes.note(at, text);
                return None;
            }
        }
        let mut fields = MapReader::of(node, "sum", mistakes)?;
        let mut pointer = |name: &'static str| {
            let node = fields.must(name, "a pointer into params, such as /amount")?;
            let (text, at) = text_of(node, name, mistakes)?;
            let pointer = Pointer::new(&text).map_err(|why| mistakes.note(at, why)).ok()?;
            if pointer.is_many() {
                mistakes.note(at, format!("{name} leads to one value: write no `*`"));
            }
            Some(pointer)
        };
        let (minor, currency) = (pointer("minor"), pointer("currency"));
        fields.finish();
        Some(Self::Minor { minor: minor?, currency: currency? })
    }

    fn max(&self, node: Node, mistakes: &Mistakes<'_>) -> BTreeMap<Option<String>, u64> {
        let at = node.at;
        let mut caps = BTreeMap::new();
        let mut cap = |currency, number: Option<u64>, at| match number {
            Some(number) if number > 0 => drop(caps.insert(currency, number)),
            _ => mistakes.note(at, "a cap is more than 0: to forbid calls, write a deny clause"),
        };
        match self {
            Self::Calls => match node.value {
                Yaml::Integer(number) => {
                    cap(None, u64::try_from(number).ok().filter(|_| number <= NUMBER_MAX), at);
                }
                other => mistakes
                    .note(at, format!("max of calls is a whole number, not {}", other.kind())),
            },
            Self::Minor { .. } => {
                for (currency, number, at) in by_currency(node, "max", mistakes) {
                    cap(Some(currency), u64::try_from(number).ok(), at);
                }
            }
            Self::Cost => {
                let Some(mut fields) = MapReader::of(node, "max", mistakes) else { return caps };
                let all = fields.rest();
                if all.is_empty() {
                    mistakes.note(at, "max needs a currency and an amount: {USD: \"20.00\"}");
                }
                for (currency, place, node) in all {
                    if !is_currency(&currency) {
                        mistakes.note(place, format!("{currency:?} is no currency: write three capital letters, for example USD"));
                    }
                    let at = node.at;
                    let Some((text, _)) = text_of(node, &currency, mistakes) else { continue };
                    match millionths(&text) {
                        Some(number) => cap(Some(currency), Some(number), at),
                        None => mistakes.note(
                            at,
                            format!(
                                "{text:?}: write a decimal such as \"20.00\", below 9,007,199,254"
                            ),
                        ),
                    }
                }
            }
        }
        caps
    }
}

impl Rate {
    /// Reads a rate of the policy `policy` in `file`.
    pub(super) fn read(
        node: Node,
        policy: &str,
        file: &str,
        mistakes: &Mistakes<'_>,
    ) -> Option<Self> {
        let mut fields = MapReader::of(node, "a rate", mistakes)?;
        let limit = Limit::read(&mut fields, policy, file, false);
        let mut number = |name: &'static str, expected: &str| {
            let node = fields.must(name, expected)?;
            let found = super::fields::integer_of(&node, name, mistakes)?;
            let fits = (1..=RATE_MAX).contains(&found);
            if !fits {
                mistakes.note(node.at, format!("{name} is 1 to {RATE_MAX}"));
            }
            u32::try_from(found).ok().filter(|_| fits)
        };
        let burst = number("burst", "how many calls may come at once");
        let per_second = number("per_second", "how many calls may come in each second");
        fields.finish();
        Some(Self { limit: limit?, burst: burst?, per_second: per_second? })
    }
}
