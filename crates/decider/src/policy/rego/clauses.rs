//! The clauses as functions of Rego: `when(place, c)`, and one function for each condition that looks at something.

use super::{data, pattern};
use crate::policy::{
    bounds::Bounds,
    bundle::Bundle,
    clause::{Clause, Then},
    condition::{Chain, Condition, Money, Param, RegionOf},
    egress::Egress,
    limit::{Budget, Figure},
    on::On,
    param::{Plain, Test, Texts},
    pattern::Pattern,
    pointer::{Pointer, Step},
    sanitize::Detects,
    times::{Hours, Period},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write as _};

const HEAD: &str =
    "# The clauses of the policies, one function each. Written by `countersign policy export-opa`.
package countersign

# Places that no clause has, so that each function has a meaning.
when(-1, _) := \"x\"

reached(-1, c) := [reach_all(each([c.p]))]

amount_of(\"\", c) := {\"minor\": c.p, \"currency\": c.p}
";

/// Writes clauses.
pub(super) struct Writer<'b> {
    bundle: &'b Bundle,
    out: String,
    /// What OPA can't judge.
    left: Vec<String>,
    place: usize,
    name: String,
    conditions: usize,
    /// Functions of the clause's conditions.
    parts: String,
}

impl<'b> Writer<'b> {
    pub(super) fn new(bundle: &'b Bundle) -> Self {
        let (out, name) = (HEAD.to_owned(), String::new());
        Self { bundle, out, left: Vec::new(), place: 0, name, conditions: 0, parts: String::new() }
    }

    pub(super) fn finish(self) -> (String, Vec<String>) {
        (self.out, self.left)
    }

    pub(super) fn clause(&mut self, place: usize, clause: &Clause) {
        (self.place, self.conditions) = (place, 0);
        self.name.clone_from(&clause.name);
        if clause.on == On::Result {
            // No call meets it.
            self.note("results: the server alone judges them");
            return;
        }
        let truth = clause.when.as_ref().map(|when| self.condition(when));
        let _ = write!(self.out, "\n# {}\n", clause.name);
        let _ = match &truth {
            None => writeln!(self.out, "when({place}, _) := \"t\""),
            Some(truth) if truth.contains("(c") => {
                writeln!(self.out, "when({place}, c) := {truth}")
            }
            Some(truth) => writeln!(self.out, "when({place}, _) := {truth}"),
        };
        self.out.push_str(&std::mem::take(&mut self.parts));
        if clause.then == Then::Sanitize {
            let reached: Vec<String> =
                clause.sanitize.redact.iter().map(|item| reach(&item.at)).collect();
            let _ = writeln!(self.out, "\nreached({place}, c) := [{}]", reached.join(", "));
            for item in &clause.sanitize.redact {
                self.note_detectors(&item.detect);
                if item.token {
                    self.note("tokens, whose key OPA has not");
                }
            }
        }
    }

    pub(super) fn budget(&mut self, budget: &Budget) {
        if let Figure::Minor { minor, currency } = &budget.sum {
            let (name, minor, currency) = (quoted(&budget.limit.name), one(minor), one(currency));
            let _ = writeln!(
                self.out,
                "\namount_of({name}, c) := {{\"minor\": {minor}, \"currency\": {currency}}}"
            );
        }
    }

    fn note(&mut self, what: &str) {
        self.left.push(format!("{}: {what}", self.name));
    }

    /// What OPA can't say, and the truth for that.
    fn unsaid(&mut self, what: &str) -> String {
        self.note(what);
        "\"x\"".into()
    }

    fn note_detectors(&mut self, names: &[String]) {
        self.note("texts that may be JSON, base64 or a form, and texts with a backslash or a no-break space");
        let detectors = &self.bundle.detectors;
        let inexact: Vec<String> = data::known(names, detectors)
            .into_iter()
            .filter(|name| !data::is_exact(name, detectors))
            .collect();
        if !inexact.is_empty() {
            self.note(&format!("texts that may hold {}", inexact.join(", ")));
        }
    }

    /// A function of a condition; the call of it.
    fn function(&mut self, truth: &str, lines: &[String]) -> String {
        let name = format!("c{}_{}", self.place, self.conditions);
        self.conditions += 1;
        let _ = if lines.is_empty() {
            write!(self.parts, "\n{name}(c) := {truth}\n")
        } else {
            let lines = lines.join("\n\t");
            write!(self.parts, "\n{name}(c) := {truth} if {{\n\t{lines}\n}}\n")
        };
        format!("{name}(c)")
    }

    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::All(parts) => self.several("all3", parts),
            Condition::Any(parts) => self.several("any3", parts),
            Condition::Not(inner) => format!("not3({})", self.condition(inner)),
            Condition::Param(param) => self.param(param),
            Condition::Money(money) => self.money(money),
            Condition::Label(name, texts) => {
                format!("named(c, [\"labels\", {}], {})", quoted(name), set(texts))
            }
            Condition::Purpose(texts) => named("named", "purpose", texts),
            Condition::Environment(texts) => named("named", "environment", texts),
            Condition::Region(RegionOf::Call, texts) => named("named", "region", texts),
            Condition::Region(of, texts) => format!("{}_region(c, {})", of.as_str(), set(texts)),
            Condition::Classes(texts) => named("all_named", "classes", texts),
            Condition::ThirdParties(texts) => named("all_named", "third_parties", texts),
            Condition::Hours(of) => format!("hours(c, {})", data::written(&hours(of))),
            Condition::Period(of) => self.period(*of),
            Condition::Chain(of) => self.chain(of),
            Condition::Egress(of) => self.egress(of),
            Condition::Digest(at, texts) => format!("digest(c, {}, {})", set(texts), one(at)),
            Condition::Tier(at_most) => {
                format!("tier(c, {})", at_most.as_ref().map_or("null".into(), |tier| quoted(tier)))
            }
            Condition::Verified => "verified(c)".into(),
            Condition::Effect(effect) => format!("effect(c, \"{}\")", effect.as_str()),
            Condition::Detects(of) => self.detects(of),
            Condition::History(_) => self.unsaid("every call, because earlier decisions count"),
            Condition::Parent(_) => self.unsaid("every call, because it follows from another"),
        }
    }

    fn several(&mut self, all: &str, parts: &[Condition]) -> String {
        let parts: Vec<String> = parts.iter().map(|part| self.condition(part)).collect();
        match &parts[..] {
            [part] => part.clone(),
            parts => format!("{all}([{}])", parts.join(", ")),
        }
    }

    fn param(&mut self, param: &Param) -> String {
        let Param { at, tests, presence, optional, some, .. } = param;
        let presence = match presence {
            None => "",
            Some(true) => "present",
            Some(false) => "absent",
        };
        let tests: Vec<String> = tests.iter().map(|test| self.test(test, "v", 1)).collect();
        let truth = format!("param(v, \"{presence}\", {optional}, all3([{}]))", tests.join(", "));
        if at.is_many() {
            let of = if *some == Some(true) { "any_of" } else { "all_of" };
            let truth = format!("{of}(values, [{truth} | some v in values])");
            return self.function(&truth, &[format!("values := {}", reach(at))]);
        }
        self.function(&truth, &[format!("v := {}", one(at))])
    }

    /// A test of the value that is called `v`.
    fn test(&mut self, test: &Test, v: &str, depth: usize) -> String {
        match test {
            Test::Integer(bounds) => format!("whole({v}, {})", checks(bounds, v)),
            Test::Decimal(bounds) => {
                let number = |number: i128| format!("\"{}\"", decimal(number));
                format!("decimals({v}, {})", checks_of(bounds, &format!("decimal({v})"), number))
            }
            Test::OneOf(values) => {
                let values: Vec<String> = values.iter().map(plain).collect();
                format!("one_of({v}, [{}])", values.join(", "))
            }
            Test::Equals(value) => format!("one_of({v}, [{}])", plain(value)),
            Test::InList(name) => format!("listed_text(c, {}, {v})", quoted(name)),
            Test::Matches(pattern) | Test::ContainsMatch(pattern) => self.matches(pattern, v),
            Test::Length(bounds) => {
                format!("length({v}, {})", checks(bounds, &format!("characters({v})")))
            }
            Test::Items(bounds) => {
                format!("items({v}, {})", checks(bounds, &format!("elements({v})")))
            }
            Test::Each(tests) => {
                let element = format!("e{depth}");
                let tests: Vec<String> =
                    tests.iter().map(|test| self.test(test, &element, depth + 1)).collect();
                let all = tests.join(", ");
                format!("elements_all({v}, [all3([{all}]) | some {element} in {v}])")
            }
        }
    }

    fn matches(&mut self, expression: &Pattern, v: &str) -> String {
        match pattern::of(expression.as_str()) {
            Ok(text) => format!("matches({v}, {})", quoted(&text)),
            Err(why) => self.unsaid(&format!("every call, because of an expression: {why}")),
        }
    }

    fn money(&mut self, money: &Money) -> String {
        let Money { minor, currency, bounds } = money;
        let bounds = bounds
            .iter()
            .map(|(name, bounds)| format!("{}: {}", quoted(name), checks(bounds, "minor")));
        let bounds = bounds.collect::<Vec<_>>().join(", ");
        let minor = format!("minor := {}", one(minor));
        self.function(&format!("money(minor, {}, {{{bounds}}})", one(currency)), &[minor])
    }

    fn period(&mut self, period: Period) -> String {
        let Period { from, to } = period;
        let from = from.map(|from| format!("now(c) >= {}", from.0));
        let checks: Vec<String> =
            from.into_iter().chain(to.map(|to| format!("now(c) < {}", to.0))).collect();
        self.function(&format!("checked([{}])", checks.join(", ")), &[])
    }

    fn chain(&mut self, chain: &Chain) -> String {
        let Chain { only, root, through, without, depth_max, verified } = chain;
        let names = |names: &BTreeSet<String>| json!(names).to_string();
        let mut holds = Vec::new();
        holds.extend(only.as_ref().map(|set| format!("all_within(chain_of(c), {})", names(set))));
        holds.extend(
            root.as_ref()
                .map(|set| format!("any_within(array.slice(chain_of(c), 0, 1), {})", names(set))),
        );
        holds.extend(through.as_ref().map(|set| format!("any_within(before(c), {})", names(set))));
        holds.extend(
            without.as_ref().map(|set| format!("none_within(chain_of(c), {})", names(set))),
        );
        holds.extend(depth_max.map(|depth| format!("count(chain_of(c)) <= {depth}")));
        if *verified {
            holds.push("is_verified(c)".into());
        }
        self.function(&format!("chain(c, [{}])", holds.join(", ")), &[])
    }

    fn egress(&mut self, egress: &Egress) -> String {
        let Egress { at, hosts, paths, ports, schemes, method } = egress;
        let schemes = if schemes.is_empty() { vec!["https".to_owned()] } else { schemes.clone() };
        let method = method.as_ref().map_or("null".into(), |(at, names)| {
            format!("{{\"value\": {}, \"names\": {}}}", one(at), json!(names))
        });
        let of = format!(
            "of := {{\"hosts\": {}, \"paths\": {}, \"ports\": {}, \"schemes\": {}, \"method\": {method}}}",
            set(hosts),
            json!(paths),
            json!(ports),
            json!(schemes),
        );
        let urls: Vec<String> =
            at.iter().map(|at| format!("urls_of(c, of, {})", reach(at))).collect();
        self.function(&format!("egress(of, [{}])", urls.join(", ")), &[of])
    }

    fn detects(&mut self, detects: &Detects) -> String {
        let Detects { at, detect, optional } = detects;
        self.note_detectors(detect);
        let names = json!(data::known(detect, &self.bundle.detectors));
        let found = at.iter().map(|at| {
            format!("detects(c, {}, {names}, {optional}, {})", data::steps(at), reach(at))
        });
        let found = found.collect::<Vec<_>>().join(", ");
        self.function(&format!("any3([{found}])"), &[])
    }
}

fn named(function: &str, member: &str, texts: &Texts) -> String {
    format!("{function}(c, [\"context\", \"{member}\"], {})", set(texts))
}

fn set(texts: &Texts) -> String {
    match texts {
        Texts::OneOf(texts) => json!({"of": texts}).to_string(),
        Texts::InList(name) => json!({"list": name}).to_string(),
    }
}

fn hours(hours: &Hours) -> Value {
    let Hours { days, from, to, zone, except, holidays } = hours;
    json!({"days": days, "from": from, "to": to, "zone": zone, "except": except, "holidays": holidays})
}

fn plain(value: &Plain) -> String {
    match value {
        Plain::Text(text) => quoted(text),
        Plain::Integer(number) => number.to_string(),
        Plain::Bool(is) => is.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    data::quote(text, &mut out);
    out
}

fn checks(bounds: &Bounds, what: &str) -> String {
    checks_of(bounds, what, |number| number.to_string())
}

fn checks_of(bounds: &Bounds, what: &str, number: impl Fn(i128) -> String) -> String {
    let Bounds { over, at_least, under, at_most } = *bounds;
    let all = [(">", over), (">=", at_least), ("<", under), ("<=", at_most)];
    let all = all.into_iter().filter_map(|(sign, bound)| Some((sign, bound?)));
    let all: Vec<String> =
        all.map(|(sign, bound)| format!("{what} {sign} {}", number(bound))).collect();
    format!("[{}]", all.join(", "))
}

/// A decimal number as the library compares it: a sign, and 18 digits on each side of the point.
fn decimal(number: i128) -> String {
    let digits = format!("{:036}", number.unsigned_abs());
    if number >= 0 {
        return format!("1{digits}");
    }
    let nine = |digit: u8| char::from(b'0' + (b'9' - digit));
    format!("0{}", digits.bytes().map(nine).collect::<String>())
}

/// The one value of a pointer without `*`.
fn one(pointer: &Pointer) -> String {
    pointer.steps.iter().fold("c.p".to_owned(), |value, step| match step {
        Step::Member(name) => format!("step({value}, {})", quoted(name)),
        Step::Each => format!("each({value})"),
    })
}

/// The values of a pointer.
fn reach(pointer: &Pointer) -> String {
    let values = pointer.steps.iter().fold("[c.p]".to_owned(), |values, step| match step {
        Step::Member(name) => format!("each_step({values}, {})", quoted(name)),
        Step::Each => format!("each({values})"),
    });
    format!("reach_all({values})")
}
