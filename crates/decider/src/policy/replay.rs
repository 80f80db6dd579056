//! Computes a recorded verdict again, from nothing but its entry, its payload and the bundle that it names (P15).

use super::{
    bundle::Bundle,
    facts::Facts,
    judge::ClauseTruth,
    limited::{RateOf, Stock},
    recorded::{RECEIVED, to_judge},
    redacted::Redactions,
    request::Request,
    ruling::Ruling,
};
use crate::{call::Call, decision::Fields};
use ledger::{
    budget::{Asked, Booked},
    entry::View,
    ident::Ident,
    json::{self, Value},
    time::Nanos,
};
use std::{borrow::Cow, collections::BTreeMap};

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
    // Without all of it, what is absent may have been there.
    if view.payload().count() != payload.len() {
        return Err(Differs::Payload("payload, or a part of it,"));
    }
    let value = |name: &'static str| {
        let bytes = payload.get(name).ok_or_else(|| without(name))?;
        json::parse_kept(bytes).map_err(|_| without(name))
    };
    let request = question(view, payload).ok_or_else(|| without("params"))?;
    let redacted = question_of(view, payload, "params").ok_or_else(|| without("params"))?;
    let nonce = value("nonce")?;
    let facts = payload.get("/data/facts").ok_or_else(|| without("/data/facts"))?;
    let facts: Facts =
        serde_json::from_slice(facts).map_err(|_| form("its facts can't be read"))?;
    if view.text(&["event", "time"]).and_then(Nanos::parse) != Some(facts.now) {
        return Err(form("its facts have another time than its event"));
    }
    let request = Request::read(&request).map_err(Differs::Form)?;
    let redacted = Request::read(&redacted).map_err(Differs::Form)?;
    let nonce = nonce.as_str().ok_or_else(|| form("its nonce is no text"))?;
    check_digest(view, nonce, &redacted)?;
    let is_kept = payload.contains_key(RECEIVED);
    if is_kept && facts.redacted.is_none() {
        return Err(form("it keeps the call as it came, and redacted nothing"));
    }
    let facts = to_judge(facts, is_kept);
    let again = match bundle {
        None => Ruling::denial(super::NO_POLICY),
        Some((bundle, version)) => {
            if facts.verified {
                return Err(form(
                    "it takes an agent's identity as proven, which no release can do yet",
                ));
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

/// What a bundle would say of a recorded call, whoever judged it then. Facts that follow from the clock are taken from
/// the recorded one, and so is what was booked on budgets; on a budget that the recorded verdict did not know, `running`
/// is booked. `None` if the call is not disclosed, or can't be a question.
pub fn simulate(
    view: &View<'_>,
    payload: &Fields,
    bundle: &Bundle,
    running: &mut Running,
) -> Option<Ruling> {
    let recorded = payload.get("/data/facts");
    let recorded = recorded.and_then(|facts| serde_json::from_slice::<Facts>(facts).ok());
    let now = match &recorded {
        Some(facts) => facts.now,
        None => view.text(&["event", "time"]).and_then(Nanos::parse)?,
    };
    let recorded = recorded.unwrap_or_default();
    let mut facts = bundle.facts(now, recorded.verified);
    for (name, window) in &mut facts.windows {
        *window = recorded.windows.get(name).copied().unwrap_or(*window);
    }
    let mut facts = with_redactions(facts, recorded.redacted.clone(), payload);
    let request = question(view, payload)?;
    let request = Request::read(&request).ok()?;
    let mut stock = Recorded { recorded: &recorded, running };
    let Ok(()) = bundle.stock_up(&request, &mut facts, &mut stock);
    let ruling = Ruling::of(bundle, 0, &request, &facts);
    for asked in ruling.asked.iter().filter(|asked| asked.booked == Booked::Within) {
        *running.entry(place_of(asked)).or_default() += asked.sum;
    }
    Some(ruling)
}

/// What simulated calls reserved of budgets: by id, key, currency and begin of the window.
pub type Running = BTreeMap<(String, Option<String>, Option<String>, Nanos), u64>;

fn place_of(asked: &Asked) -> (String, Option<String>, Option<String>, Nanos) {
    (asked.id.clone(), asked.key.clone(), asked.currency.clone(), asked.from)
}

struct Recorded<'r> {
    recorded: &'r Facts,
    running: &'r Running,
}

impl Stock for Recorded<'_> {
    type Error = std::convert::Infallible;

    fn counted(&mut self, asked: &Asked) -> Result<u64, Self::Error> {
        let running = || self.running.get(&place_of(asked)).copied().unwrap_or(0);
        Ok(self.recorded.booked.get(&asked.id).copied().unwrap_or_else(running))
    }

    fn take(&mut self, rate: &RateOf<'_>) -> bool {
        self.recorded.rates.get(rate.name).copied().unwrap_or(true)
    }
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
