//! An approval on the wire (`proto/schemas/approval.schema.json`).

use crate::problem::Problem;
use approvals::{
    cards::{Card, in_words},
    history::{Approval, Step},
    worker::{FOR_AGENT, JudgedNow, Worker, over_since},
};
use decider::{
    approval::{Event, Phase, Question, Refusal, Review, State},
    decision::Frozen,
    words,
};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

/// State of an approval.
#[derive(Serialize, utoipa::ToSchema)]
pub struct View {
    /// `apr-…`
    id: String,
    /// `pending`, `granted`, `minted`, `redeemed`, `completed`, `failed`, `unknown`, `denied`, `expired`, `cancelled`,
    /// `superseded`, `revoked` or `lapsed`.
    #[schema(value_type = String)]
    state: Phase,
    /// Grows with every change that people must see; use it as `after`.
    version: u64,
    /// The page where people answer.
    page: String,
    /// Producer and leaf index of the decision.
    opening: Value,
    /// Agent, run, tool, action and digest.
    call: Value,
    /// The frozen call in RFC 8785 form, exactly as hashed; only for its enforcer and for who may answer, until erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    frozen: Option<Box<RawValue>>,
    /// What the policies in force say of the call, if they changed since it was judged and say something else: `{version,
    /// verdict, code, clause, enforced, text}`, or `{unreadable}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    policy_now: Option<Value>,
    /// What the page shows, for whoever may read the call: names and params made safe to show; only of one approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    shown: Option<Value>,
    /// Name and digest of the rule.
    rule: Value,
    /// Time of the request: RFC 3339.
    requested_at: String,
    /// From this time on it can't be granted.
    approval_deadline: String,
    /// From this time on it can't be redeemed; set once it is granted.
    execution_deadline: Option<String>,
    /// Reviews: `{by, decision, at, reason?, together?, for_agent?}`; `for_agent` only for who may see the call, until erased.
    reviews: Vec<Value>,
    /// Questions of people who are asked: `{question, by, at, text?, answer?: {by, at, text?}}`; each text only for who may
    /// see the call, until erased.
    questions: Vec<Value>,
    /// Number of the first question without an answer, while people are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<u32>,
    /// People still needed: `{at_least, of}`.
    needed: Vec<Value>,
    /// People whose reviews fill the quorum.
    granted_by: Vec<String>,
    /// The newest token: `{jti, exp}`.
    token: Option<Value>,
    /// The redemption: `{redemption_id, jti, at}`.
    redemption: Option<Value>,
    /// Outcome that the enforcer reported.
    report: Option<Value>,
    /// Leaf index at which the freeze began that stops the call: no token of it is given or redeemed. Absent: none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze: Option<u64>,
    /// Why it ended, as a code.
    end_reason: Option<String>,
    /// True if there is nothing more to wait for. An approval that is over and not `completed` permits nothing.
    over: bool,
    /// What to do if nobody was asked because the call was cancelled at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
    /// True if its history could not have happened; the approval is halted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    corrupt: bool,
    /// Each entry: `{n, index, at, events}`, the events by their names.
    history: Vec<Value>,
}

impl View {
    /// The view of an approval, with its frozen call if one is given.
    pub fn new(
        worker: &Worker,
        approval: &Approval,
        frozen: Option<&Frozen>,
    ) -> Result<Self, Problem> {
        let state = &approval.state;
        let requested = state.requested.as_ref().ok_or_else(Problem::not_found)?;
        let frozen = frozen.map(|frozen| frozen.canonical.clone());
        let (opening, call) = (&requested.opening, &requested.call);
        Ok(Self {
            id: approval.id.to_string(),
            state: state.phase,
            version: state.version,
            page: worker.cards().page_of(&approval.id),
            opening: json!({"producer": opening.producer, "index": opening.index}),
            call: json!({"agent": call.agent, "run": call.run, "tool": call.tool,
                "action": call.action, "digest": call.digest}),
            frozen: frozen.and_then(|text| RawValue::from_string(text).ok()),
            policy_now: policy_now(worker, approval),
            shown: None,
            rule: json!({"name": requested.rule.name, "digest": requested.rule_digest}),
            requested_at: requested.requested_at.to_string(),
            approval_deadline: state.approval_deadline().unwrap_or_default().to_string(),
            execution_deadline: state.execution_deadline.map(|at| at.to_string()),
            reviews: state.reviews.iter().map(review).collect(),
            questions: state.questions.iter().zip(1_u32..).map(question).collect(),
            asked: state.unanswered(),
            needed: needed(state),
            granted_by: state.granted_by.iter().map(ToString::to_string).collect(),
            token: state.token.as_ref().map(|t| json!({"jti": t.jti, "exp": t.exp})),
            redemption: state.redeemed.as_ref().map(|redemption| json!(redemption)),
            report: state.report.map(|outcome| json!(outcome)),
            freeze: worker.reader().stopped(approval)?,
            end_reason: state.end_reason.clone(),
            over: over_since(approval).is_some(),
            advice: cancelled_at_once(approval),
            corrupt: state.corrupt,
            history: approval.steps.iter().map(step).collect(),
        })
    }
}

fn review(review: &Review) -> Value {
    let mut shown = json!({"by": review.by, "decision": review.decision, "at": review.at});
    if let Some(reason) = review.reason {
        shown["reason"] = json!(reason);
    }
    if let Some(count) = review.together {
        shown["together"] = json!(count);
    }
    shown
}

fn question((question, number): (&Question, u32)) -> Value {
    let mut shown = json!({"question": number, "by": question.by, "at": question.at});
    if let Some(reply) = &question.reply {
        shown["answer"] = json!({"by": reply.by, "at": reply.at});
    }
    shown
}

impl View {
    /// With the words of people and of the gateway, for who may see the call.
    pub fn with_words(mut self, worker: &Worker, approval: &Approval) -> Result<Self, Problem> {
        let said = worker.reader().asked(approval)?;
        for (shown, words) in self.questions.iter_mut().zip(said) {
            if let Some(text) = words.question {
                shown["text"] = json!(text);
            }
            if let Some(text) = words.answer {
                shown["answer"]["text"] = json!(text);
            }
        }
        for (shown, review) in self.reviews.iter_mut().zip(&approval.state.reviews) {
            let text = review.evidence.map(|index| worker.reader().words(index, FOR_AGENT));
            if let Some(text) = text.transpose()?.flatten() {
                shown["for_agent"] = json!(text);
            }
        }
        Ok(self)
    }

    /// With what the page shows.
    pub fn with_card(mut self, card: &Card, approval: &Approval) -> Self {
        let quorum = approval.state.requested.as_ref().map(|requested| &requested.rule.quorum);
        let quorum = quorum.map(in_words).unwrap_or_default();
        let params: Vec<Value> =
            card.params.iter().map(|(at, value)| json!({"at": at, "value": value})).collect();
        self.shown = Some(json!({
            "state": words::phase(card.phase, card.end_reason.as_deref()),
            "tool": card.tool, "action": card.action, "agent": card.agent, "run": card.run, "amount": card.amount,
            "params": params, "complete": card.complete, "says": card.agent_says, "who_says": card.who_says(),
            "needed": card.needed, "rule": format!("{}: {quorum} must approve", card.rule),
            "browser_only": card.browser_only, "policy_now": card.policy_now,
        }));
        self
    }

    /// The problem for a refused command, with the approval as it is now.
    pub fn refusal(&self, refusal: Refusal) -> Problem {
        let word = serde_json::to_value(self.state).unwrap_or_default();
        let word = word.as_str().unwrap_or_default();
        let why = self.end_reason.as_deref().map(|reason| format!(" (`{reason}`)"));
        let stands = format!("It is `{word}` now{}.", why.unwrap_or_default());
        Problem::refusal(refusal).also(&stands).with_approval(self)
    }
}

/// What the policies in force say of the call while nothing is released.
fn policy_now(worker: &Worker, approval: &Approval) -> Option<Value> {
    Some(match worker.cards().policy_now(approval)? {
        Ok(now) => {
            let text = now.in_words();
            let JudgedNow { version, ruling } = now;
            json!({"version": version, "verdict": ruling.verdict.as_str(), "code": ruling.code,
                "clause": ruling.clause, "enforced": !ruling.only_observes, "text": text})
        }
        Err(why) => json!({"unreadable": why}),
    })
}

/// What to do about an approval that was cancelled by the message that requested it.
fn cancelled_at_once(approval: &Approval) -> Option<&'static str> {
    let first = approval.steps.first()?;
    let cancelled = |event: &Event| matches!(event, Event::Cancelled { .. });
    first.events.iter().any(cancelled).then_some(match approval.state.end_reason.as_deref() {
        Some("owner_unknown") => {
            "Nobody is asked: no person in force owns this agent, and the rule wants an owner. Execute nothing. An admin \
             adds the agent to `owns` of a person, or the event names an `owner`; then publish a new decision."
        }
        Some("cooling_down") => {
            "Nobody is asked: people denied the same agent, tool and action less than 10 minutes ago. Execute nothing; \
             ask later with a new decision."
        }
        Some("too_many") => {
            "Nobody is asked: too many approvals of this agent or tenant wait already. Execute nothing; ask with a new \
             decision once some are answered."
        }
        _ => "Nobody is asked: it was cancelled at once. Execute nothing.",
    })
}

/// Places that are not filled, while people are asked.
fn needed(state: &State) -> Vec<Value> {
    if state.phase != Phase::Pending {
        return Vec::new();
    }
    let places = state.needed().into_iter();
    places.map(|(count, group)| json!({"at_least": count, "of": group})).collect()
}

/// One entry, with the names of its events.
fn step(step: &Step) -> Value {
    let name = |event: &Event| serde_json::to_value(event).ok()?.get("type").cloned();
    let events: Vec<Value> = step.events.iter().filter_map(name).collect();
    json!({"n": step.n, "index": step.index, "at": step.at, "events": events})
}
