//! Conditions of a clause. Each is true, false or an error (P16): an error never permits anything.

mod read;
mod region;

pub(super) use region::RegionOf;

use super::{
    CHAIN_MAX,
    agents::Agents,
    bounds::{Bound, Bounds, Truth},
    detectors::Detectors,
    egress::{Egress, Urls},
    facts::Facts,
    history::History,
    list::NamedLists,
    on::On,
    param::{Test, Texts, integer, text},
    parent::Parent,
    pointer::Pointer,
    request::Request,
    sanitize::Detects,
    times::{Hours, Period},
    tools::{Effect, Tools},
};
use ledger::json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Param(Param),
    Money(Money),
    /// The call has this label with one of these values.
    Label(String, Texts),
    Purpose(Texts),
    Environment(Texts),
    Region(RegionOf, Texts),
    Hours(Hours),
    Period(Period),
    Chain(Chain),
    Egress(Egress),
    Digest(Pointer, Texts),
    /// The tool's tier is at most this one, or the agent's own.
    Tier(Option<String>),
    Classes(Texts),
    ThirdParties(Texts),
    Verified,
    /// The decision from which the call follows.
    Parent(Parent),
    /// What tools.yaml says that the action does.
    Effect(Effect),
    Detects(Detects),
    History(Box<History>),
}

/// Tests of the values that a pointer reaches.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Param {
    /// Whether it looks at the call's params, or at its result.
    of: On,
    pub(super) at: Pointer,
    pub(super) tests: Vec<Test>,
    /// Whether the value must be there (`present`) or must not (`absent`).
    pub(super) presence: Option<bool>,
    /// An absent value is false instead of an error.
    pub(super) optional: bool,
    /// One of the values is enough. Otherwise every one of them counts.
    pub(super) some: Option<bool>,
}

/// An amount of money within bounds, by currency.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Money {
    pub(super) minor: Pointer,
    pub(super) currency: Pointer,
    pub(super) bounds: BTreeMap<String, Bounds>,
}

/// Who called whom before this agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) only: Option<BTreeSet<String>>,
    pub(super) root: Option<BTreeSet<String>>,
    pub(super) through: Option<BTreeSet<String>>,
    pub(super) without: Option<BTreeSet<String>>,
    pub(super) depth_max: Option<usize>,
    pub(super) verified: bool,
}

/// What conditions look at.
pub(super) struct Scene<'s> {
    pub(super) on: On,
    pub(super) request: &'s Request<'s>,
    pub(super) facts: &'s Facts,
    pub(super) agents: &'s Agents,
    pub(super) tools: &'s Tools,
    pub(super) lists: &'s NamedLists,
    pub(super) detectors: &'s Detectors,
    pub(super) urls: Urls,
}

impl Condition {
    /// Whether it holds for a call.
    pub(super) fn holds(&self, scene: &Scene<'_>) -> Truth {
        let Scene { request, facts, agents, tools, lists, detectors, urls, .. } = scene;
        let named = |text: Option<&String>, set: &Texts, absent| match text {
            None => Truth::Error(absent),
            Some(text) => set.has(text, lists),
        };
        let all_in = |given: Option<&Vec<String>>, set: &Texts, absent| match given {
            None => Truth::Error(absent),
            Some(given) => Truth::all(given.iter().map(|one| set.has(one, lists))),
        };
        match self {
            Self::All(parts) => Truth::all(parts.iter().map(|part| part.holds(scene))),
            Self::Any(parts) => Truth::any(parts.iter().map(|part| part.holds(scene))),
            Self::Not(inner) => match inner.holds(scene) {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                error @ Truth::Error(_) => error,
            },
            Self::Param(param) => param.holds(scene),
            Self::Money(amount) => amount.holds(scene),
            Self::Label(name, set) => named(request.labels.get(name), set, "the label is absent"),
            Self::Purpose(set) => named(request.purpose.as_ref(), set, "the call names no purpose"),
            Self::Environment(set) => {
                named(request.environment.as_ref(), set, "the call names no environment")
            }
            Self::Region(of, set) => of.holds(set, scene),
            Self::Hours(hours) => hours.holds(facts, lists),
            Self::Period(period) => period.holds(facts.now),
            Self::Chain(chain) => chain.holds(scene),
            Self::Egress(egress) => egress.holds(&request.params, lists, urls),
            Self::Digest(at, set) => {
                let found = at.must(&request.params, "no digest there").and_then(text);
                let digest = found.and_then(|text| {
                    digest_of(text).ok_or("no sha256 digest at the end of the text")
                });
                digest.map_or_else(Truth::Error, |digest| set.has(digest, lists))
            }
            Self::Detects(detects) => detects.holds(&request.params, detectors),
            Self::Effect(effect) => match tools.action(&request.tool, &request.action) {
                None => Truth::Error("tools.yaml does not list the action"),
                Some(action) => (action.effect == *effect).into(),
            },
            Self::Tier(at_most) => {
                let agent = agents.find(&request.agent).and_then(|agent| agent.tier.as_deref());
                let tool = tools.tier(&request.tool);
                agents.reaches(at_most.as_deref().or(agent), tool)
            }
            Self::Classes(set) => {
                all_in(request.classes.as_ref(), set, "the call names no classes of data")
            }
            Self::ThirdParties(set) => {
                all_in(request.third_parties.as_ref(), set, "the call names no third parties")
            }
            Self::Verified => facts.verified.into(),
            Self::History(history) => history.holds(request, &facts.history),
            Self::Parent(parent) => parent.holds(facts),
        }
    }

    /// Every part, itself first.
    pub(super) fn walk<'c>(&'c self, visit: &mut impl FnMut(&'c Self)) {
        self.walk_turned(false, &mut |part, _| visit(part));
    }

    /// Every part, itself first, and whether an odd number of `not` is around it.
    pub(super) fn walk_turned<'c>(&'c self, turned: bool, visit: &mut impl FnMut(&'c Self, bool)) {
        visit(self, turned);
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.walk_turned(turned, visit);
                }
            }
            Self::Not(inner) => inner.walk_turned(!turned, visit),
            _ => {}
        }
    }

    /// Each bound of the condition, with the place and name of it.
    pub(super) fn each_bound(&mut self, visit: &mut dyn FnMut(Bound<'_>, &str)) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                {
                    for part in parts {
                        part.each_bound(visit);
                    }
                };
            }
            Self::Not(inner) => inner.each_bound(visit),
            Self::Param(Param { at, tests, .. }) => {
                for test in tests {
                    test.each_bound(&mut |bound, name| visit(bound, &format!("{at}: {name}")));
                }
            }
            Self::Money(Money { bounds, .. }) => {
                for (currency, bounds) in bounds {
                    bounds.each(1, &mut |bound, name| visit(bound, &format!("{name} {currency}")));
                }
            }
            Self::History(history) => history.each_bound(visit),
            Self::Hours(hours) => {
                hours.each_bound(&mut |bound, name| visit(bound, &format!("hours: {name}")));
            }
            _ => {}
        }
    }

    /// Leaves a detector out of those parts that are `detects`.
    pub(super) fn without_detector(&mut self, detects: &Detects, name: &str) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.without_detector(detects, name);
                }
            }
            Self::Not(inner) => inner.without_detector(detects, name),
            Self::Detects(own) if own == detects => own.detect.retain(|other| other != name),
            _ => {}
        }
    }

    /// The agents and groups that this part itself names.
    pub(super) fn agents(&self) -> Vec<&String> {
        let Self::Chain(Chain { only, root, through, without, .. }) = self else {
            return Vec::new();
        };
        [only, root, through, without].into_iter().flatten().flatten().collect()
    }

    /// The lists that this part itself names.
    pub(super) fn lists(&self) -> Vec<&str> {
        match self {
            Self::Param(param) => param.tests.iter().flat_map(Test::lists).collect(),
            Self::Label(_, set)
            | Self::Purpose(set)
            | Self::Environment(set)
            | Self::Region(_, set)
            | Self::Digest(_, set)
            | Self::Classes(set)
            | Self::ThirdParties(set) => set.list().into_iter().collect(),
            Self::Hours(hours) => hours.holidays.as_deref().into_iter().collect(),
            Self::Egress(egress) => egress.list().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Where in the call it looks, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Param(param) => param.at.to_string(),
            Self::Money(Money { minor, currency, .. }) => format!("{minor} in {currency}"),
            Self::Label(name, _) => format!("label {name}"),
            Self::Purpose(_) => "purpose".into(),
            Self::Environment(_) => "environment".into(),
            Self::Region(of, _) => of.place(),
            Self::Hours(_) => "hours".into(),
            Self::Period(_) => "period".into(),
            Self::Chain(_) => "chain".into(),
            Self::Egress(_) => "egress".into(),
            Self::Digest(at, _) => at.to_string(),
            Self::Tier(_) => "tier".into(),
            Self::Classes(_) => "classes".into(),
            Self::ThirdParties(_) => "third_parties".into(),
            Self::Verified => "identity".into(),
            Self::Parent(_) => "parent".into(),
            Self::Effect(_) => "effect".into(),
            Self::Detects(detects) => detects.place(),
            Self::History(_) => "history".into(),
            Self::All(_) => "all".into(),
            Self::Any(_) => "any".into(),
            Self::Not(_) => "not".into(),
        }
    }
}

/// The digest at the end of an image reference.
fn digest_of(text: &str) -> Option<&str> {
    let at = text.rfind("sha256:")?;
    let (before, digest) = text.split_at(at);
    let hex = &digest["sha256:".len()..];
    let plain = hex.len() == 64
        && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (plain && (before.is_empty() || before.ends_with('@'))).then_some(digest)
}

impl Param {
    /// Whether it looks at the call, or at its result.
    pub(super) fn of(&self) -> On {
        self.of
    }

    fn holds(&self, scene: &Scene<'_>) -> Truth {
        if !self.at.is_many() {
            let found = self.at.find(&scene.request.params);
            return found.map_or_else(Truth::Error, |value| self.holds_for(value, scene.lists));
        }
        let values = match self.at.reach(&scene.request.params) {
            Ok(values) => values,
            Err(why) => return Truth::Error(why),
        };
        let each = values.into_iter().map(|value| self.holds_for(value, scene.lists));
        if self.some == Some(true) { Truth::any(each) } else { Truth::all(each) }
    }

    fn holds_for(&self, value: Option<&Value<'_>>, lists: &NamedLists) -> Truth {
        match (value, self.presence) {
            (None, Some(present)) => (!present).into(),
            (None, None) if self.optional => Truth::False,
            (None, None) => Truth::Error("nothing there"),
            (Some(_), Some(false)) => Truth::False,
            (Some(value), _) => Truth::all(self.tests.iter().map(|test| test.holds(value, lists))),
        }
    }

    /// Whether it must say if one value is enough, and does not.
    pub(super) fn is_ambiguous(&self) -> bool {
        (self.at.is_many() && self.some.is_none()) || self.tests.iter().any(Test::is_each)
    }
}

impl Money {
    fn holds(&self, scene: &Scene<'_>) -> Truth {
        let params = &scene.request.params;
        let currency = self.currency.must(params, "no currency there").and_then(text);
        let bounds = currency
            .and_then(|currency| self.bounds.get(currency).ok_or("a currency that is not listed"));
        let minor = self.minor.must(params, "no amount there");
        match (bounds, minor.map(integer)) {
            (Err(why), _) | (_, Err(why)) => Truth::Error(why),
            (Ok(bounds), Ok(Some(minor))) if minor >= 0 => bounds.hold(minor).into(),
            (Ok(_), Ok(Some(_))) => Truth::Error("an amount below 0"),
            (Ok(_), Ok(None)) => Truth::Error("no whole number below 2^53"),
        }
    }
}

impl Chain {
    /// An absent chain is an error, not "called directly".
    fn holds(&self, scene: &Scene<'_>) -> Truth {
        let Some(chain) = &scene.request.chain else {
            return Truth::Error("the call names no chain");
        };
        if chain.is_empty() || chain.len() > CHAIN_MAX {
            return Truth::Error("a chain of none or more than 16 agents");
        }
        if chain.last() != Some(&scene.request.agent) {
            return Truth::Error("the chain does not end with the agent");
        }
        let distinct: BTreeSet<&String> = chain.iter().collect();
        if distinct.len() != chain.len() {
            return Truth::Error("a chain with an agent twice");
        }
        let agents = scene.agents;
        let within =
            |set: &BTreeSet<String>, agent: &str| set.iter().any(|who| agents.is(agent, who));
        let before = &chain[..chain.len() - 1];
        let holds =
            self.only.as_ref().is_none_or(|only| chain.iter().all(|agent| within(only, agent)))
                && self.root.as_ref().is_none_or(|root| within(root, &chain[0]))
                && self
                    .through
                    .as_ref()
                    .is_none_or(|through| before.iter().any(|agent| within(through, agent)))
                && self
                    .without
                    .as_ref()
                    .is_none_or(|without| !chain.iter().any(|agent| within(without, agent)))
                && self.depth_max.is_none_or(|depth| chain.len() <= depth)
                && (!self.verified || scene.facts.verified);
        holds.into()
    }
}
