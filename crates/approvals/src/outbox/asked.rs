//! What chats learn of questions: that somebody asked, and that it was answered, in the thread of the card; and the owners
//! of the agent, by a direct message. The words themselves are only on our pages: what a chat keeps can't be erased, and
//! not everybody in a channel is asked.

use super::{
    Cards, Line, direct,
    said::{self, Said, alone, places},
};
use crate::{
    cards::{Notice, page_url},
    chats::ByName,
    history::Approval,
    setup::Setup,
};
use decider::approval::{Phase, Question, producer};
use ledger::{
    foreign::{self, harmless},
    ident::Ident,
};

/// The notices that an approval should have beside its cards, while people are asked. What was said once is not said
/// again.
pub(crate) fn notices(
    approval: &Approval,
    setup: &Setup,
    chats: &ByName,
    (had, public_url): (&Cards, &str),
) -> Vec<Line> {
    let state = &approval.state;
    let Some(requested) = state.requested.as_deref() else { return Vec::new() };
    if state.phase != Phase::Pending {
        return Vec::new();
    }
    let page = page_url(public_url, &approval.id);
    let mut lines = Vec::new();
    for (number, question) in (1..).zip(&state.questions) {
        let who = harmless(&setup.name_of(&question.by));
        // The kind, the words under a card, and those of a message of its own.
        let asked = format!("{who} asked question {number}");
        let mut said = vec![("question", asked, format!("Question {number} was asked"))];
        if let Some(by) = answered_by(approval, question, setup) {
            let answered = format!("{by} answered question {number} of {who}");
            said.push(("answer", answered, format!("Question {number} was answered")));
        }
        for (kind, title, alone_title) in said {
            let notice = Notice {
                id: said::id(approval, &format!("{kind}{number}")),
                title,
                lines: Vec::new(),
                hint: "Read it on the page. The deadline does not move.".into(),
                link: Some(("Open in browser", page.clone())),
                mentions: Vec::new(),
            };
            for place in places(approval, had) {
                let notice = match &place.under {
                    Some(_) => notice.clone(),
                    None => alone(approval, &alone_title, notice.clone()),
                };
                lines.extend(place.say(setup, &format!("{kind}/{number}"), notice));
            }
        }
        if question.reply.is_none() {
            let call = &requested.call;
            let (tool, action) = (foreign::name(&call.tool), foreign::name(&call.action));
            let notice = Notice {
                id: said::id(approval, &format!("asks{number}")),
                title: format!("{who} asks about a call of your agent"),
                lines: vec![format!("{}: {tool} \u{b7} {action}", foreign::name(&call.agent))],
                hint: "The call waits for people. Your answer is for all who are asked.".into(),
                link: Some(("Read and answer", format!("{page}/questions"))),
                mentions: Vec::new(),
            };
            let owners = requested.owners.iter().filter_map(|owner| setup.people.get(owner));
            for (person, connection, channel) in direct(chats, owners) {
                let name = format!("asks/{number}/{person}/{connection}");
                let said = Some(Box::new(Said { notice: notice.clone(), under: None }));
                lines.push(Line { name, channel, said });
            }
        }
    }
    lines
}

/// Who answered a question, in words.
fn answered_by(approval: &Approval, question: &Question, setup: &Setup) -> Option<String> {
    let (requested, reply) = (approval.state.requested.as_deref()?, question.reply.as_ref()?);
    if reply.by == producer(&requested.opening.producer) {
        return Some("The gateway".into());
    }
    Some(Ident::new(&reply.by).map(|owner| setup.name_of(&owner)).unwrap_or_default())
}
