//! What a decision of ours rests on, read from its plain part: what posting compares, and never the policy language.

use super::{
    freezes::{check_freeze, freezes, frozen_by},
    identities::RestsOnToken,
    in_force::lists_of,
};
use crate::{
    budget::Asking,
    entry::View,
    event::{self, Alerting, PROBE, RESERVED_TOOL, Verdict},
    history::{CallOf, Named},
    ident::Ident,
    json::Value,
    system::freeze::{Acting, FreezeScope},
    time::Nanos,
};

/// What posting compares of a decision.
pub(super) struct Rests {
    pub(super) bundle: Option<String>,
    /// The versions of lists, by name.
    pub(super) lists: Vec<(String, u64)>,
    pub(super) at: Nanos,
    /// True if no bundle gave it: a denial after too many tries, or a question to people about bundles themselves.
    pub(super) of_no_bundle: bool,
    /// The call's digest. `None` if it is no text.
    call: Option<String>,
    /// The mark of the call as it came, if clauses may redact it.
    received: Option<String>,
    /// Its place in a server's spool, if it was told before it is posted: run and number.
    pub(super) spool: Option<(String, u64)>,
    /// Who acts.
    pub(super) acting: Acting,
    /// True if it is no denial.
    pub(super) permits: bool,
    /// True if people decide about the call.
    pub(super) asks_people: bool,
    /// The freeze that is the reason of a denial.
    pub(super) frozen_by: Option<u64>,
    /// What its clause freezes.
    pub(super) freezes: Option<FreezeScope>,
    /// What it asks of budgets.
    pub(super) asking: Option<Asking>,
    /// The token by which its agent is proven.
    pub(super) token: Option<RestsOnToken>,
    /// Number of entries that its decider had read.
    pub(super) as_of: u64,
    /// The call.
    pub(super) call_of: CallOf,
    /// Its verdict.
    pub(super) verdict: String,
    /// What it counted of earlier decisions.
    pub(super) history: Vec<Named>,
}

impl Rests {
    /// `plain`: the plain part of an event by `producer`. `None` if a member is missing that every decision of ours has,
    /// or if a tool of ours is not asked for by us.
    pub(super) fn read(plain: &Value<'_>, producer: &Ident) -> Option<Self> {
        let tool = event::tool_of(plain).unwrap_or_default();
        let data = plain.get("data")?;
        check_form(data, producer.as_str(), tool).ok()?;
        let text = |value: Option<&Value<'_>>| value.and_then(Value::as_str).map(str::to_owned);
        let at = Nanos::parse(plain.get("time")?.as_str()?)?;
        let frozen_by = frozen_by(data);
        let of_no_bundle =
            event::is_reserved_tool(tool) || is_contended(data) || frozen_by.is_some();
        let bundle = text(data.get("bundle"));
        let call = text(data.get("call").and_then(|call| call.get("digest")));
        let received = text(data.get("received"));
        let spool = data.get("spool").and_then(|place| {
            Some((text(place.get("id"))?, place.get("number").and_then(Value::as_u64)?))
        });
        let lists = lists_of(data).map(|(name, version)| (name.to_owned(), version)).collect();
        let verdict = data.get("verdict").and_then(Value::as_str);
        Some(Self {
            bundle,
            lists,
            at,
            of_no_bundle,
            call,
            received,
            spool,
            acting: Acting::of(producer.as_str(), data),
            permits: verdict != Some(Verdict::Deny.as_str()),
            asks_people: verdict == Some(Verdict::ApprovalNeeded.as_str()),
            frozen_by,
            freezes: freezes(data),
            asking: data.get("budgets").and_then(Asking::read),
            token: RestsOnToken::of(data, at),
            as_of: data.get("as_of").and_then(Value::as_u64)?,
            call_of: CallOf::of(data),
            verdict: verdict.unwrap_or_default().to_owned(),
            history: data.get("history").and_then(Named::read_all).unwrap_or_default(),
        })
    }

    /// True if `view` is about the same call: same nonce, agent, tool and parameters. Where clauses may redact calls, the
    /// call as it came counts: another bundle may have redacted it otherwise.
    pub(super) fn is_same_call(&self, view: &View<'_>) -> bool {
        let theirs = view.text(&["event", "data", "received"]);
        if let (Some(ours), Some(theirs)) = (self.received.as_deref(), theirs) {
            return ours == theirs;
        }
        let call = self.call.as_deref();
        call.is_some() && view.text(&["event", "data", "call", "digest"]) == call
    }
}

/// Checks what every decision of ours has, and that the server asks about its own tools and nobody else does. `data`:
/// its member `data`.
pub fn check_form(data: &Value<'_>, producer: &str, tool: &str) -> Result<(), &'static str> {
    let by_us = producer == RESERVED_TOOL;
    if event::is_reserved_tool(tool) != by_us || (!by_us && data.get("activates").is_some()) {
        return Err("only the server asks about its own tools, and about nothing else");
    }
    let verdict = data.get("verdict").and_then(Value::as_str);
    let action = data.get("tool").and_then(|tool| tool.get("action")?.as_str());
    let own = if action == Some(PROBE) { Verdict::Deny } else { Verdict::ApprovalNeeded };
    if by_us && verdict != Some(own.as_str()) {
        return Err(
            "the server's own question allows nothing: people answer it, and a probe is denied",
        );
    }
    let allows = verdict == Some("allow");
    if data.get("spool").is_some() && !allows {
        return Err("only an allow is told before it is recorded");
    }
    if let Some(budgets) = data.get("budgets") {
        let goes = Asking::read(budgets)
            .is_some_and(|asking| asking.goes_with(verdict.unwrap_or_default()));
        let only_observes = data.get("mode").and_then(Value::as_str) == Some("shadow");
        if !goes
            || only_observes
            || by_us
            || data.get("spool").is_some()
            || data.get("bundle").is_none()
        {
            return Err("what it asks of budgets does not go with its verdict");
        }
    }
    if let Some(history) = data.get("history") {
        let goes = Named::read_all(history).is_some()
            && !by_us
            && data.get("spool").is_none()
            && data.get("bundle").is_some();
        if !goes {
            return Err("what it counts of earlier decisions does not go with it");
        }
    }
    if data.get("alerts").is_some() {
        let observes = data.get("mode").and_then(Value::as_str) == Some("shadow");
        if Alerting::of(data).is_empty() || observes || by_us || data.get("bundle").is_none() {
            return Err("only clauses of a bundle that is in force raise alerts");
        }
    }
    let read = data.get("as_of").and_then(Value::as_u64);
    let call = data.get("call").and_then(|call| call.get("digest"));
    if read.is_none() || call.is_none() {
        return Err("not a decision as this server makes them");
    }
    check_freeze(data)
}

/// The mark of the result that our report is about. `None` if it has not the form of one. `data`: its member `data`.
pub fn returned(data: &Value<'_>) -> Option<String> {
    let named = data.get("decision").is_some() && data.get("as_of").is_some();
    let verdict = data.get("verdict").and_then(Value::as_str);
    let judged = matches!(verdict, Some("allow" | "deny" | "sanitize"));
    let of_calls = ["budgets", "spool", "activates", "freeze", "history"];
    let tool = data.get("tool").and_then(|tool| tool.get("name")?.as_str());
    let rests = of_calls.iter().any(|name| data.get(name).is_some())
        || tool.is_none_or(event::is_reserved_tool);
    let mark = data.get("received").and_then(Value::as_str)?;
    (named && judged && !rests).then(|| mark.to_owned())
}

/// True for a denial because what the decision rested on changed again and again. It rests on nothing.
pub fn is_contended(data: &Value<'_>) -> bool {
    let code = data.get("reason").and_then(|reason| reason.get("code"));
    let says = |value: Option<&Value<'_>>, word| value.and_then(Value::as_str) == Some(word);
    says(code, "contended") && says(data.get("verdict"), "deny") && data.get("bundle").is_none()
}
