//! What chats learn of questions: that somebody asked, and that it was answered, in the thread of the card; and the owners
//! of the agent, by a direct message. The words themselves are only on our pages: what a chat keeps can't be erased, and
//! not everybody in a channel is asked.

use super::{Cards, Line, direct};
use crate::{
    cards::{Notice, Posted, page_url},
    chats::ByName,
    history::Approval,
    setup::Setup,
};
use decider::approval::{Phase, producer};
use ledger::{
    foreign::{self, harmless},
    ident::Ident,
};

/// Words without buttons, and the message under which they are said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub notice: Notice,
    pub under: Option<Posted>,
}

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
        let mut said = vec![("question", format!("{who} asked question {number}"))];
        if let Some(reply) = &question.reply {
            let gateway = reply.by == producer(&requested.opening.producer);
            let by = Ident::new(&reply.by).map(|owner| setup.name_of(&owner));
            let by = if gateway { "The gateway".into() } else { by.unwrap_or_default() };
            said.push(("answer", format!("{by} answered question {number} of {who}")));
        }
        for (kind, title) in said {
            let hint = "Read it on the page. The deadline does not move.";
            let link = ("Open in browser", page.clone());
            let notice = notice(approval, (kind, number), (title, vec![], hint), link);
            for name in &requested.rule.channels {
                let Some(channel) = setup.channels.get(name) else { continue };
                let under = had.get(name).and_then(|seen| seen.posted.clone());
                // In a thread, or not at all: the card that comes later shows the page.
                if under.is_some() {
                    let name = format!("{name}/{kind}/{number}");
                    let said = Some(Box::new(Said { notice: notice.clone(), under }));
                    lines.push(Line { name, channel: channel.clone(), said });
                }
            }
        }
        if question.reply.is_none() {
            let call = &requested.call;
            let title = format!("{who} asks about a call of your agent");
            let (tool, action) = (foreign::name(&call.tool), foreign::name(&call.action));
            let what = vec![format!("{}: {tool} \u{b7} {action}", foreign::name(&call.agent))];
            let hint = "The call waits for people. Your answer is for all who are asked.";
            let link = ("Read and answer", format!("{page}/questions"));
            let notice = notice(approval, ("asks", number), (title, what, hint), link);
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

fn notice(
    approval: &Approval,
    (kind, number): (&str, u32),
    (title, lines, hint): (String, Vec<String>, &str),
    (words, url): (&'static str, String),
) -> Notice {
    // Its own id, so that a search for the card of the approval never finds it.
    let id = Ident::new(&format!("{kind}{number}-{}", approval.id));
    let id = id.unwrap_or_else(|_| approval.id.clone());
    Notice { id, title, lines, hint: hint.to_owned(), link: Some((words, url)), mentions: vec![] }
}
