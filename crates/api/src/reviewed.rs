//! Acts of administrators that people approve first, where the rules in force say so (P17): applying rules, issuing keys
//! that decide who decides.

use crate::{
    auth::Caller,
    problem::{Code, Problem},
};
use approvals::{
    deciding::{NotSpent, Question},
    history::Approval,
    worker::Worker,
};
use decider::rule::KEY_ISSUE;
use ledger::{ident::Ident, system::By};
use serde::Serialize;
use serde_json::{Value, json};

/// An act that waits for people.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Waiting {
    /// `approval_needed`
    status: &'static str,
    /// `{id, url, state}`: once it is granted, repeat the same request with its id as `approval`.
    #[schema(value_type = Object)]
    approval: Value,
}

impl Waiting {
    /// Id of the approval.
    pub fn id(&self) -> Option<Ident> {
        self.approval["id"].as_str().and_then(|id| Ident::new(id).ok())
    }
}

/// Whether an act may be done now.
pub enum Permit {
    /// By whom, as the entry says it, and the approval that was redeemed for it.
    Now(By, Option<Ident>),
    /// People are asked first.
    Waits(Waiting),
}

/// Asks people about an act, or redeems the approval that they gave. `params` must be the same both times.
pub async fn permit(
    worker: Option<&Worker>,
    caller: &Caller,
    (action, params, comment): (&str, &Value, Option<String>),
    approval: Option<&Ident>,
) -> Result<Permit, Problem> {
    let Some(worker) = worker else { return Ok(Permit::Now(caller.by(), None)) };
    if let Some(id) = approval {
        return spend(worker, caller, (action, params), id).await;
    }
    if !worker.clerk.demands_review(action, params)? {
        return Ok(Permit::Now(caller.by(), None));
    }
    let owners: Vec<Ident> = caller.key.person.iter().cloned().collect();
    if owners.is_empty() {
        let detail = "The rules in force ask people about this first, and nobody approves their own wish: use an admin key \
                      that names its person (`countersign key add --role admin --person ID`).";
        return Err(Problem::new(Code::RoleMissing, detail));
    }
    let question = Question { action, params, owners: &owners, comment: comment.as_deref() };
    let approval = worker.clerk.ask(question, None).await?;
    let approval = approval.map_err(|why| Problem::new(Code::NotOpened, why.advice()))?;
    if let Some(why) = not_asked(&approval) {
        let detail = format!(
            "Nobody is asked: {why}. The person of this key must be among the people in force."
        );
        return Err(Problem::new(Code::NotOpened, detail));
    }
    let approval = told(worker, &approval);
    Ok(Permit::Waits(Waiting { status: "approval_needed", approval }))
}

/// Why nobody is asked, if the approval ended as it was opened.
pub fn not_asked(approval: &Approval) -> Option<&str> {
    approval.state.end_reason.as_deref().filter(|_| approval.state.ended_at.is_some())
}

/// The approval for whoever asked for it: `{id, url, state}`.
pub fn told(worker: &Worker, approval: &Approval) -> Value {
    let Approval { id, state, .. } = approval;
    json!({"id": id, "url": worker.cards().page_of(id), "state": state.phase})
}

async fn spend(
    worker: &Worker,
    caller: &Caller,
    act: (&str, &Value),
    id: &Ident,
) -> Result<Permit, Problem> {
    match worker.clerk.spend(id, act).await? {
        Ok(()) => {
            let By::Key { key, person, .. } = caller.by() else { return Err(Problem::not_found()) };
            let by = By::Key { key, person, approval: Some(id.clone()) };
            Ok(Permit::Now(by, Some(id.clone())))
        }
        Err(NotSpent::Unknown) => Err(Problem::not_found()),
        Err(NotSpent::OtherCall) => Err(Problem::new(
            Code::Conflict,
            "People approved something else: this request has other content. Ask again, without `approval`.",
        )),
        Err(NotSpent::Phase(phase)) => {
            let phase = serde_json::to_value(phase).unwrap_or_default();
            let phase = phase.as_str().unwrap_or_default();
            Err(Problem::new(
                Code::NotNow,
                format!("The approval is `{phase}`: it must be `granted`, and counts once."),
            ))
        }
    }
}

/// What became of an act.
pub enum Acted<T> {
    /// It is done.
    Done(T),
    /// People are asked first.
    Waits(Waiting),
}

/// Does an act now, or asks people about it first. No rules come into force in between that ask about it.
pub async fn act<T, F: Future<Output = Result<T, Problem>>>(
    worker: Option<&Worker>,
    caller: &Caller,
    (action, params, comment): (&str, &Value, Option<String>),
    approval: Option<&Ident>,
    does: impl FnOnce(By) -> F,
) -> Result<Acted<T>, Problem> {
    let (by, spent) = match permit(worker, caller, (action, params, comment), approval).await? {
        Permit::Waits(waiting) => return Ok(Acted::Waits(waiting)),
        Permit::Now(by, spent) => (by, spent),
    };
    let same_rules = match worker {
        Some(worker) => Some(worker.readiness().keep_rules().await),
        None => None,
    };
    if let Some(worker) = worker.filter(|_| spent.is_none())
        && worker.clerk.demands_review(action, params)?
    {
        let what = if action == KEY_ISSUE { "this key" } else { "this" };
        let detail = format!(
            "Other rules came into force just now, and they ask people about {what}. Ask again."
        );
        return Err(Problem::new(Code::Conflict, detail));
    }
    let done = does(by).await?;
    drop(same_rules);
    self::done(worker, spent.as_ref()).await;
    Ok(Acted::Done(done))
}

/// Reports an act that people approved.
pub async fn done(worker: Option<&Worker>, approval: Option<&Ident>) {
    let (Some(worker), Some(id)) = (worker, approval) else { return };
    if let Err(error) = worker.clerk.done(id).await {
        tracing::warn!(approval = %id, %error, "an approved act is done, and not reported");
    }
}
