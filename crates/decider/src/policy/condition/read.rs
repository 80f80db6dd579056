//! Reads conditions from a policy.

use super::{Chain, Condition, Money, Param, RegionOf};
use crate::policy::{
    CHAIN_MAX,
    bounds::{Bounds, by_currency},
    egress::Egress,
    fields::{MapReader, text_of},
    history::History,
    mistakes::{Mistakes, Place},
    on::On,
    param::{Test, Texts, nodes},
    parent::Parent,
    pointer::Pointer,
    sanitize::Detects,
    times::{Hours, Period},
    tools::Effect,
    yaml::{Node, Yaml},
};
use std::collections::{BTreeMap, BTreeSet};

impl Condition {
    /// The conditions of a map; all must hold.
    pub(in crate::policy) fn read(node: Node, name: &str, mistakes: &Mistakes<'_>) -> Option<Self> {
        let mut fields = MapReader::of(node, name, mistakes)?;
        let (at, empty) = (fields.at, fields.is_empty());
        let mut parts = Vec::new();
        parts.extend(fields.fields("amount").and_then(Money::read).map(Self::Money));
        for (name, of) in [("params", On::Call), ("result", On::Result)] {
            let values = fields.fields(name).map(|values| Param::read_each(of, values));
            parts.extend(values.into_iter().flatten().map(Self::Param));
        }
        if let Some(mut labels) = fields.fields("labels") {
            for (name, _, node) in labels.rest() {
                parts.push(Self::Label(name, set_of(node, "a label", mistakes)));
            }
        }
        let mut set = |name| fields.take(name).map(|node| set_of(node, name, mistakes));
        parts.extend(set("purpose").map(Self::Purpose));
        parts.extend(set("environment").map(Self::Environment));
        let region = fields.take("region");
        parts.extend(region.into_iter().flat_map(|node| regions(node, mistakes)));
        parts.extend(fields.fields("hours").and_then(Hours::read).map(Self::Hours));
        parts.extend(fields.fields("period").map(|period| Self::Period(Period::read(period))));
        parts.extend(fields.fields("chain").map(|chain| Self::Chain(Chain::read(chain))));
        parts.extend(fields.fields("egress").and_then(Egress::read).map(Self::Egress));
        let detects = fields.take("detects");
        parts.extend(detects.and_then(|node| Detects::read(node, mistakes)).map(Self::Detects));
        parts.extend(fields.fields("digest").and_then(digest));
        let history = fields.fields("history").and_then(History::read);
        parts.extend(history.map(|history| Self::History(Box::new(history))));
        parts.extend(fields.fields("tier").map(tier));
        parts.extend(fields.fields("data").map(data).into_iter().flatten());
        if let Some((word, at)) = fields.text("identity") {
            if word != "verified" {
                fields.wrong(at, "identity is `verified`");
            }
            parts.push(Self::Verified);
        }
        parts.extend(fields.fields("parent").map(|parent| Self::Parent(Parent::read(parent))));
        let read_all = |node: Node, name: &str| -> Vec<Self> {
            nodes(node, name, mistakes)
                .into_iter()
                .filter_map(|node| Self::read(node, name, mistakes))
                .collect()
        };
        parts.extend(fields.take("all").map(|node| Self::All(read_all(node, "all"))));
        parts.extend(fields.take("any").map(|node| Self::Any(read_all(node, "any"))));
        parts.extend(
            fields
                .take("not")
                .and_then(|node| Self::read(node, "not", mistakes))
                .map(|inner| Self::Not(Box::new(inner))),
        );
        parts.extend(fields.text("effect").and_then(|(word, at)| {
            let effect = Effect::of(&word);
            if effect.is_none() {
                mistakes.note(at, "effect is read or write");
            }
            effect.map(Self::Effect)
        }));
        if empty {
            fields.wrong(at, format!("{name} has no condition: add one, or remove {name}"));
        }
        fields.finish();
        Some(Self::All(parts))
    }
}

/// `{classes: […], third_parties: […]}`
fn data(mut fields: MapReader<'_>) -> Vec<Condition> {
    let mistakes = fields.mistakes;
    let mut set = |name| fields.take(name).map(|node| set_of(node, name, mistakes));
    let classes = set("classes").map(Condition::Classes);
    let parts: Vec<_> =
        classes.into_iter().chain(set("third_parties").map(Condition::ThirdParties)).collect();
    if parts.is_empty() {
        fields.wrong(fields.at, "data has classes, third_parties, or both");
    }
    fields.finish();
    parts
}

/// `[eu]` or `{in_list: name}`, of the call; or `{call: …, agent: …, tool: …}`, of which all must hold.
fn regions(node: Node, mistakes: &Mistakes<'_>) -> Vec<Condition> {
    let of_each = |key: &str| RegionOf::ALL.iter().any(|of| of.as_str() == key);
    let is_of_each =
        matches!(&node.value, Yaml::Map(entries) if entries.iter().any(|(key, ..)| of_each(key)));
    if !is_of_each {
        return vec![Condition::Region(RegionOf::Call, set_of(node, "region", mistakes))];
    }
    let Some(mut fields) = MapReader::of(node, "region", mistakes) else { return Vec::new() };
    let parts = RegionOf::ALL.into_iter().filter_map(|of| {
        let node = fields.take(of.as_str())?;
        Some(Condition::Region(of, set_of(node, of.as_str(), mistakes)))
    });
    let parts: Vec<_> = parts.collect();
    fields.finish();
    parts
}

/// A set that may be written as one text.
fn set_of(node: Node, name: &str, mistakes: &Mistakes<'_>) -> Texts {
    if let Yaml::Text(_) = node.value {
        return Texts::OneOf(
            text_of(node, name, mistakes).into_iter().map(|(text, _)| text).collect(),
        );
    }
    Texts::read(node, name, mistakes)
}

fn pointer(
    fields: &mut MapReader<'_>,
    name: &'static str,
    expected: &str,
) -> Option<(Pointer, Place)> {
    let node = fields.must(name, expected)?;
    let (text, at) = text_of(node, name, fields.mistakes)?;
    let pointer = Pointer::new(&text).map_err(|why| fields.wrong(at, why)).ok()?;
    Some((pointer, at))
}

/// `{at: /image, in_list: approved}` or `{at: /image, one_of: [sha256:…]}`.
fn digest(mut fields: MapReader<'_>) -> Option<Condition> {
    let at = pointer(&mut fields, "at", "the pointer of the text that ends with a digest: /image");
    let set = match fields.text("in_list") {
        Some((list, _)) => Some(Texts::InList(list)),
        None => fields.take("one_of").map(|node| Texts::read(node, "one_of", fields.mistakes)),
    };
    if set.is_none() {
        fields.wrong(fields.at, "a digest is one_of some, or in_list: add one");
    }
    fields.finish();
    Some(Condition::Digest(at?.0, set?))
}

/// `{at_most: agent}` or `{at_most: internal}`.
fn tier(mut fields: MapReader<'_>) -> Condition {
    let at_most =
        fields.must_name("at_most", "`agent`, or a tier of agents.yaml").map(|(name, _)| name);
    fields.finish();
    Condition::Tier(at_most.filter(|name| name != "agent"))
}

impl Param {
    fn read_each(of: On, mut fields: MapReader<'_>) -> Vec<Self> {
        let mistakes = fields.mistakes;
        let mut params = Vec::new();
        for (text, place, node) in fields.rest() {
            let pointer = Pointer::new(&text).map_err(|why| mistakes.note(place, why));
            let Some(mut fields) = MapReader::of(node, &text, mistakes) else { continue };
            let tests = Test::read(&mut fields);
            let (present, absent) = (fields.flag("present"), fields.flag("absent"));
            let optional = fields.flag("optional").unwrap_or(false);
            let some = fields.flag("some");
            let presence = present.or(absent.map(|absent| !absent));
            if present.is_some() && absent.is_some() {
                fields.wrong(fields.at, "give present or absent, not both");
            }
            if tests.is_empty() && presence.is_none() {
                fields.wrong(fields.at, "add a test: integer, decimal, one_of, in_list, equals, matches, contains_match, length, items, each, present or absent");
            }
            if presence == Some(false) && !tests.is_empty() {
                fields.wrong(
                    fields.at,
                    "a value that must be absent can't be tested: remove the other tests",
                );
            }
            fields.finish();
            if let Ok(at) = pointer {
                if some.is_some() && !at.is_many() {
                    mistakes.note(place, "some is for pointers with `*`");
                }
                params.push(Self { of, at, tests, presence, optional, some });
            }
        }
        params
    }
}

impl Money {
    fn read(mut fields: MapReader<'_>) -> Option<Self> {
        let minor =
            pointer(&mut fields, "minor", "the pointer of the amount in minor units: /amount");
        let currency = pointer(&mut fields, "currency", "the pointer of the currency: /currency");
        for (pointer, at) in [&minor, &currency].into_iter().flatten() {
            if pointer.is_many() {
                fields.wrong(*at, "an amount is one value: no `*` here");
            }
        }
        let mut bounds: BTreeMap<String, Bounds> = BTreeMap::new();
        let mut given: Vec<(&'static str, BTreeSet<String>, Place)> = Vec::new();
        for name in ["over", "at_least", "under", "at_most"] {
            let Some(node) = fields.take(name) else { continue };
            let at = node.at;
            let numbers = by_currency(node, name, fields.mistakes);
            given.push((name, numbers.iter().map(|(currency, ..)| currency.clone()).collect(), at));
            for (currency, number, _) in numbers {
                let bound = bounds.entry(currency).or_default();
                match name {
                    "over" => bound.over = Some(number),
                    "at_least" => bound.at_least = Some(number),
                    "under" => bound.under = Some(number),
                    _ => bound.at_most = Some(number),
                }
            }
        }
        if given.is_empty() {
            fields.wrong(fields.at, "give one of over, at_least, under and at_most, each by currency: at_most: {EUR: 500000}");
        }
        // A currency that one bound lists and another does not would be bounded on one side only.
        for (name, currencies, at) in &given {
            for missing in bounds.keys().filter(|currency| !currencies.contains(*currency)) {
                fields.wrong(
                    *at,
                    format!("{name} lists no {missing}, which another bound lists: add it"),
                );
            }
        }
        for currency in bounds.iter().filter(|(_, bounds)| bounds.are_empty()).map(|(name, _)| name)
        {
            fields.wrong(fields.at, format!("no amount in {currency} is within these bounds"));
        }
        fields.finish();
        Some(Self { minor: minor?.0, currency: currency?.0, bounds })
    }
}

impl Chain {
    fn read(mut fields: MapReader<'_>) -> Self {
        let mut set = |name| {
            let names = fields.texts(name)?;
            Some(names.into_iter().map(|(name, _)| name).collect())
        };
        let mut chain = Self {
            only: set("only"),
            root: set("root"),
            through: set("through"),
            without: set("without"),
            ..Self::default()
        };
        let depth = fields.integer("depth_max");
        let fits = |depth: &usize| (1..=CHAIN_MAX).contains(depth);
        chain.depth_max = depth.and_then(|depth| usize::try_from(depth).ok()).filter(fits);
        chain.verified = fields.flag("verified").unwrap_or(false);
        if depth.is_some() && chain.depth_max.is_none() {
            fields.wrong(fields.at, format!("depth_max is 1 to {CHAIN_MAX}"));
        }
        if chain == Self::default() {
            fields.wrong(
                fields.at,
                "a chain has only, root, through, without, depth_max or verified: true",
            );
        }
        fields.finish();
        chain
    }
}
