//! Questions of people who are asked, and their answers, as pages show them.

use super::{
    Stop,
    session::Session,
    view::{self, Moment},
};
use approvals::{cards::Card, history::Approval};
use decider::approval::{Phase, QUESTIONS_MAX};
use ledger::{
    foreign::{self, harmless},
    ident::Ident,
    time::Nanos,
};

/// One question, and what was answered.
pub struct Shown {
    pub number: usize,
    /// Who asked.
    pub by: String,
    pub at: Moment,
    /// What was asked. `None` if it was erased.
    pub text: Option<String>,
    pub reply: Option<Reply>,
}

/// What was answered.
pub struct Reply {
    /// Who answered.
    pub by: String,
    pub at: Moment,
    /// True if the gateway answered: then nobody has checked it.
    pub unchecked: bool,
    /// `None` if it was erased.
    pub text: Option<String>,
}

/// The questions of an approval.
pub fn all(session: &Session, approval: &Approval, now: Nanos) -> Result<Vec<Shown>, Stop> {
    let words = session.worker.reader().asked(approval)?;
    let questions = approval.state.questions.iter().zip(words).enumerate();
    let shown = questions.map(|(place, (question, words))| Shown {
        number: place + 1,
        by: session.setup.name_of(&question.by),
        at: Moment::new(question.at, now),
        text: words.question.as_deref().map(clean),
        reply: question.reply.as_ref().map(|reply| Reply {
            by: view::replier(&reply.by, &session.setup),
            at: Moment::new(reply.at, now),
            unchecked: reply.by.starts_with("producer:"),
            text: words.answer.as_deref().map(clean),
        }),
    });
    Ok(shown.collect())
}

/// Free text whose line breaks stay.
fn clean(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

/// True if this person may ask now. The decider decides again when the question comes.
pub fn may_ask(session: &Session, approval: &Approval, card: &Card) -> bool {
    let questions = &approval.state.questions;
    let waits = questions.iter().any(|one| one.by == session.person && one.reply.is_none());
    card.phase == Phase::Pending
        && card.shown_at < card.deadline
        && !approval.state.corrupt
        && !waits
        && questions.len() < QUESTIONS_MAX as usize
        && session.worker.lists.may_review(&session.person, approval)
}

/// A call about which an owner of its agent is asked, for the inbox.
pub struct ForOwner {
    pub id: Ident,
    pub agent: String,
    pub call: String,
    pub when: Moment,
}

/// Calls of this person's agents with a question that has no answer.
pub async fn for_owner(session: &Session, now: Nanos) -> Result<Vec<ForOwner>, Stop> {
    let mut rows = Vec::new();
    for brief in session.worker.lists.asking_owner(&session.person) {
        let Some(approval) = session.worker.reader().get(&brief.id).await? else { continue };
        let Some(requested) = approval.state.requested.as_deref() else { continue };
        let call = &requested.call;
        rows.push(ForOwner {
            id: approval.id.clone(),
            agent: view::short(&foreign::name(&call.agent), 64),
            call: format!(
                "{} \u{b7} {}",
                view::short(&foreign::name(&call.tool), 64),
                view::short(&foreign::name(&call.action), 64)
            ),
            when: Moment::new(brief.deadline, now),
        });
    }
    Ok(rows)
}
