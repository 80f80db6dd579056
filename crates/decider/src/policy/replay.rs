//! Computes a recorded verdict again, from nothing but its entry, its payload and the bundle that it names (P15).

use super::{
    bundle::Bundle,
    facts::Facts,
    history::{Counted, Past},
    judge::ClauseTruth,
    limited::{RateOf, Stock},
    proven::{ParentFact, TokenFact},
    recorded::{RECEIVED, to_judge},
    redacted::Redactions,
    request::Request,
    ruling::Ruling,
};
use crate::{call::Call, decision::Fields};
use ledger::{
    budget::{Asked, Booked},
    entry::View,
    history::{Decided, Row},
    ident::Ident,
    json::{self, Value},
    post::issue_of,
    system::agent::Issue,
    time::Nanos,
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// Why a recorded verdict could not be computed again, or is another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Differs {
    /// Its payload is not here: erased, or not disclosed.
    #[error("its {0} is not disclosed, or was erased")]
    Payload(&'static str),
    /// It has not the form that every decision of ours has.
    #[error("{0}")]
    Form(String),
    /// The same call and facts give another verdict by the same bundle.
    #[error("recorded {recorded}, computed again {again}")]
    Verdict {
        /// What the entry says.
        recorded: String,
        /// What the bundle says.
        again: String,
    },
}

impl Differs {
    /// True if nothing is known to be wrong: it can't be computed.
    pub fn is_not_replayable(&self) -> bool {
        matches!(self, Self::Payload(_))
    }
}

/// Computes the verdict of a decision of ours again. `bundle`: the one that it names, with its version.
pub fn replay(
    view: &View<'_>,
    payload: &Fields,
    bundle: Option<(&Bundle, u64)>,
) -> Result<Ruling, Differs> {
    let form = |what: &str| Differs::Form(what.to_owned());
    let recorded = Ruling::of_entry(view, payload);
    let recorded = recorded.ok_or_else(|| form("not a decision of ours"))?;
    is_whole(view, payload)?;
    let value = |name: &'static str| {
        let bytes = payload.get(name).ok_or_else(|| without(name))?;
        json::parse_kept(bytes).map_err(|_| without(name))
    };
    let request = question(view, payload).ok_or_else(|| without("params"))?;
    let redacted = question_of(view, payload, "params").ok_or_else(|| without("params"))?;
    let nonce = value("nonce")?;
    let facts = facts_of(view, payload)?;
    let request = Request::read(&request).map_err(Differs::Form)?;
    let redacted = Request::read(&redacted).map_err(Differs::Form)?;
    let nonce = nonce.as_str().ok_or_else(|| form("its nonce is no text"))?;
    check_digest(view, nonce, &redacted)?;
    let is_kept = payload.contains_key(RECEIVED);
    if is_kept && facts.redacted.is_none() {
        return Err(form("it keeps the call as it came, and redacted nothing"));
    }
    check_proven(view, &facts)?;
    let facts = to_judge(facts, is_kept);
    let again = match bundle {
        None => Ruling::denial(super::NO_POLICY),
        Some((bundle, version)) => {
            if !bundle.accepts_parent(&facts) {
                return Err(form("it compares its parent at other places than clauses name"));
            }
            if !bundle.accepts(&facts) {
                return Err(form("its local times are not those of its clock"));
            }
            Ruling::of(bundle, version, &request, &facts)
        }
    };
    let told = recorded.early;
    if told.later && !again.early.later || told.unavailable && !again.early.unavailable {
        return Err(form("it was told before it was recorded, which no clause permits"));
    }
    // What may be told early may be recorded first all the same.
    let report_within = recorded.report_within;
    if recorded == (Ruling { early: told, report_within, ..again.clone() }) {
        return Ok(again);
    }
    Err(Differs::Verdict { recorded: recorded.in_words(), again: again.in_words() })
}

/// Errors: not all of an entry's payload is here. Then what is absent may have been there.
pub(super) fn is_whole(view: &View<'_>, payload: &Fields) -> Result<(), Differs> {
    if view.payload().count() == payload.len() {
        return Ok(());
    }
    Err(Differs::Payload("payload, or a part of it,"))
}

/// The facts that a verdict of ours rested on.
pub(super) fn facts_of(view: &View<'_>, payload: &Fields) -> Result<Facts, Differs> {
    let form = |what: &str| Differs::Form(what.to_owned());
    let facts = payload.get("/data/facts").ok_or_else(|| without("/data/facts"))?;
    let facts: Facts =
        serde_json::from_slice(facts).map_err(|_| form("its facts can't be read"))?;
    if view.text(&["event", "time"]).and_then(Nanos::parse) != Some(facts.now) {
        return Err(form("its facts have another time than its event"));
    }
    Ok(facts)
}

/// What a bundle would say of a recorded call, whoever judged it then. Facts that follow from the clock are taken from
/// the recorded one, and so is what was booked on budgets and what counted of earlier decisions; on a budget that the
/// recorded verdict did not know, `running` is booked, and what it did not count is counted in `past`. `None` if the call is
/// not disclosed, or can't be a question.
pub fn simulate<P: Past>(
    view: &View<'_>,
    payload: &Fields,
    bundle: &Bundle,
    (running, past): (&mut Running, &mut P),
) -> Result<Option<Ruling>, P::Error> {
    let recorded = payload.get("/data/facts");
    let recorded = recorded.and_then(|facts| serde_json::from_slice::<Facts>(facts).ok());
    let now = match &recorded {
        Some(facts) => facts.now,
        None => match view.text(&["event", "time"]).and_then(Nanos::parse) {
            Some(now) => now,
            None => return Ok(None),
        },
    };
    let recorded = recorded.unwrap_or_default();
    let mut facts = bundle.facts(now, recorded.verified);
    (facts.token, facts.parent) = (recorded.token.clone(), recorded.parent.clone());
    for (name, window) in &mut facts.windows {
        *window = recorded.windows.get(name).copied().unwrap_or(*window);
    }
    let mut facts = with_redactions(facts, recorded.redacted.clone(), payload);
    let Some(request) = question(view, payload) else { return Ok(None) };
    let Ok(request) = Request::read(&request) else { return Ok(None) };
    let mut stock = Known { recorded: &recorded, running, past };
    bundle.stock_up(&request, &mut facts, &mut stock)?;
    let ruling = Ruling::of(bundle, 0, &request, &facts);
    for asked in ruling.asked.iter().filter(|asked| asked.booked == Booked::Within) {
        *running.entry(place_of(asked)).or_default() += asked.sum;
    }
    Ok(Some(ruling))
}

/// What simulated calls reserved of budgets: by id, key, currency and begin of the window.
pub type Running = BTreeMap<(String, Option<String>, Option<String>, Nanos), u64>;

fn place_of(asked: &Asked) -> (String, Option<String>, Option<String>, Nanos) {
    (asked.id.clone(), asked.key.clone(), asked.currency.clone(), asked.from)
}

struct Known<'r, P> {
    recorded: &'r Facts,
    running: &'r Running,
    past: &'r mut P,
}

impl<P: Past> Past for Known<'_, P> {
    type Error = P::Error;

    fn as_of(&self) -> u64 {
        self.past.as_of()
    }

    fn earlier(
        &mut self,
        row: &Row,
        visit: &mut dyn FnMut(u64, &Decided) -> bool,
    ) -> Result<(), Self::Error> {
        self.past.earlier(row, visit)
    }

    fn fields(&mut self, index: u64) -> Result<Fields, Self::Error> {
        self.past.fields(index)
    }

    fn recorded(&self) -> &[Counted] {
        &self.recorded.history
    }
}

impl<P: Past> Stock for Known<'_, P> {
    fn counted(&mut self, asked: &Asked) -> Result<u64, Self::Error> {
        let running = || self.running.get(&place_of(asked)).copied().unwrap_or(0);
        Ok(self.recorded.booked.get(&asked.id).copied().unwrap_or_else(running))
    }

    fn take(&mut self, rate: &RateOf<'_>) -> bool {
        self.recorded.rates.get(rate.name).copied().unwrap_or(true)
    }
}

/// The request of a recorded call, as it was judged, and the facts of its verdict. `None` if one of them is not disclosed.
pub fn judged_by<T>(
    view: &View<'_>,
    payload: &Fields,
    read: impl FnOnce(&Request<'_>, &Facts) -> T,
) -> Option<T> {
    let facts: Facts = serde_json::from_slice(payload.get("/data/facts")?).ok()?;
    let request = question(view, payload)?;
    Some(read(&Request::read(&request).ok()?, &facts))
}

/// What each clause of the bundle said of a recorded call. `None` if the call or its facts are not disclosed.
pub fn explained<'b>(
    view: &View<'_>,
    payload: &Fields,
    bundle: &'b Bundle,
) -> Option<Vec<ClauseTruth<'b>>> {
    let facts: Facts = serde_json::from_slice(payload.get("/data/facts")?).ok()?;
    let facts = to_judge(facts, payload.contains_key(RECEIVED));
    let request = question(view, payload)?;
    let request = Request::read(&request).ok()?;
    Some(bundle.explain(&request, &facts))
}

/// All of the payload is here, and this is not in it: our decider never leaves it out.
fn without(name: &str) -> Differs {
    Differs::Form(format!("it has no {name}, which every decision of ours has"))
}

/// What is proven of the call is plain in its entry: the token, and the decision from which it follows.
fn check_proven(view: &View<'_>, facts: &Facts) -> Result<(), Differs> {
    let names = |name: &str| view.at(&["event", "data", name]).is_some();
    let form = |what: &str| Err(Differs::Form(what.to_owned()));
    let is_proven = facts.is_proven();
    if facts.verified != is_proven || names("verified_by") != is_proven {
        return form(
            "it takes its agent's identity as proven, and names no token, or the other way",
        );
    }
    let follows = facts.parent.as_ref().is_some_and(ParentFact::is_found);
    if names("parent") != follows {
        return form("it rests on a parent, and names none, or the other way");
    }
    Ok(())
}

/// Checks what a decision says of its agent's token and of its parent by their own entries. `token`: the entry that issued
/// the token; `parent`: that of the parent, with its payload if it is all disclosed; `bundle`: the one in force.
///
/// Errors: what differs. Ok: which of it had to be believed.
pub fn check_named(
    (view, payload): (&View<'_>, &Fields),
    token: Option<&View<'_>>,
    parent: Option<(&View<'_>, Option<&Fields>)>,
    bundle: &Bundle,
) -> Result<BTreeSet<Believed>, Differs> {
    let form = |what: &str| Differs::Form(what.to_owned());
    let mut believed = BTreeSet::new();
    let facts = payload.get("/data/facts").and_then(|facts| serde_json::from_slice(facts).ok());
    let Some(facts): Option<Facts> = facts else { return Ok(believed) };
    if let Some(TokenFact::Counts { scope, region, .. }) = &facts.token {
        let issue = token.map(issue_of);
        if issue.as_ref().is_some_and(Option::is_none) {
            return Err(form("the entry that it names issued no token"));
        }
        let other = |issue: Issue| (scope, region) != (&issue.scope, &issue.region);
        if issue.flatten().is_some_and(other) {
            return Err(form("it gives its agent's token another scope or region than its entry"));
        }
        believed.insert(Believed::Presented);
    }
    if matches!(facts.token, Some(TokenFact::Refused { .. })) {
        believed.insert(Believed::Refused);
    }
    match (&facts.parent, parent) {
        (Some(ParentFact::Missing { .. }), _) => drop(believed.insert(Believed::NoParent)),
        (Some(found @ ParentFact::Found { unchanged, .. }), Some((before, kept))) => {
            let params = question(view, payload);
            let params = params.as_ref().and_then(|question| question.get("params"));
            let nothing = Fields::default();
            let known = kept.is_some() && facts.redacted.is_none();
            let again =
                bundle.parent(before, kept.unwrap_or(&nothing), params.unwrap_or(&Value::Null));
            // What is erased now was perhaps there then; the other way round it was not.
            let may_be = if known { again.is_less_than(found) } else { again.is_alike(found) };
            if !may_be {
                return Err(form("it says something else of its parent than the parent's entry"));
            }
            let is_computed = unchanged.is_empty() || known && again == *found;
            if !is_computed {
                believed.insert(Believed::Unchanged);
            }
        }
        (Some(ParentFact::Found { .. }), None) => drop(believed.insert(Believed::Unchanged)),
        (None, _) => {}
    }
    Ok(believed)
}

/// What a reader of the log must believe of one verdict, beside clocks and time zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Believed {
    /// That its gateway presented the token that the decision names.
    Presented,
    /// Why a token was refused.
    Refused,
    /// That the place which its gateway named held no decision.
    NoParent,
    /// Whether values are those of the parent, whose params are not all disclosed or were redacted.
    Unchanged,
}

impl Believed {
    /// In words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Presented => "that agents presented the tokens that are named",
            Self::Refused => "why tokens were refused",
            Self::NoParent => "that a parent which was named was not in the log",
            Self::Unchanged => {
                "whether values are those of a parent whose params are not disclosed whole"
            }
        }
    }
}

fn check_digest(view: &View<'_>, nonce: &str, request: &Request<'_>) -> Result<(), Differs> {
    let tenant = view.text(&["tenant"]).and_then(|tenant| Ident::new(tenant).ok());
    let tenant = tenant.ok_or_else(|| Differs::Form("it is of no tenant".into()))?;
    let Request { agent, tool, action, params, .. } = request;
    let run = view.text(&["event", "data", "agent", "run"]);
    let digest = Call { nonce, tenant: &tenant, agent, run, tool, action, params }.digest();
    if view.text(&["event", "data", "call", "digest"]) == Some(&digest) {
        return Ok(());
    }
    Err(Differs::Form("its call digest is not that of its params".into()))
}

/// What was redacted, for the bundle's own facts.
fn with_redactions(facts: Facts, redacted: Option<Redactions>, payload: &Fields) -> Facts {
    to_judge(Facts { redacted, ..facts }, payload.contains_key(RECEIVED))
}

/// The question, as far as it counts, put together from the entry and its payload; with the call as it came, if it is
/// kept. `None` without params.
fn question<'a>(view: &'a View<'_>, payload: &'a Fields) -> Option<Value<'a>> {
    let params = if payload.contains_key(RECEIVED) { RECEIVED } else { "params" };
    question_of(view, payload, params)
}

fn question_of<'a>(view: &'a View<'_>, payload: &'a Fields, params: &str) -> Option<Value<'a>> {
    let plain = |name: &'static str| view.at(&["event", "data", name]).cloned();
    let kept = |name: &str| json::parse_kept(payload.get(name)?).ok();
    let mut tool = plain("tool").unwrap_or(Value::Null);
    if let (Value::Object(members), Some(schema)) = (&mut tool, kept("/data/tool/schema")) {
        members.push(("schema".into(), schema));
    }
    // In RFC 8785 order: members are found by that.
    let members = [
        ("agent", plain("agent")),
        ("context", kept("/data/context")),
        ("cost", plain("cost")),
        ("labels", plain("labels")),
        ("params", Some(kept(params)?)),
        ("tool", Some(tool)),
    ];
    let member =
        |(name, value): (&'static str, Option<Value<'a>>)| Some((Cow::Borrowed(name), value?));
    Some(Value::Object(members.into_iter().filter_map(member).collect()))
}
