//! What is said beside a card in a chat: in its thread, so that a channel has one card of a call.

use super::{Cards, Line, channels, reminder};
use crate::{
    cards::{Notice, Posted},
    history::Approval,
    setup::Setup,
};
use ledger::{foreign, ident::Ident};

/// Words without buttons, and the message under which they are said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub notice: Notice,
    pub under: Option<Posted>,
}

/// A channel in which something is said, and where.
pub(super) struct Place {
    /// Name of the channel in `rules.toml`.
    pub channel: String,
    /// The card, if the chat has threads.
    pub under: Option<Posted>,
}

/// The channels that have a card of the approval, and the thread of each. What is said before a card is there is not said:
/// the card that comes later shows it.
pub(super) fn places(approval: &Approval, had: &Cards) -> Vec<Place> {
    let card = |name: &str| had.get(name).and_then(|seen| seen.posted.clone());
    let place = |channel: &String| {
        let posted = card(channel).or_else(|| card(&reminder(channel)))?;
        // A webhook has no threads: its message has no name.
        let under = Some(posted).filter(|at| !at.message.is_empty());
        Some(Place { channel: channel.clone(), under })
    };
    channels(approval).into_iter().filter_map(place).collect()
}

impl Place {
    /// Says it there, once: `what` names it within the approval.
    pub(super) fn say(self, setup: &Setup, what: &str, notice: Notice) -> Option<Line> {
        let channel = setup.channels.get(&self.channel)?.clone();
        let said = Some(Box::new(Said { notice, under: self.under }));
        Some(Line { name: format!("{}/{what}", self.channel), channel, said })
    }
}

/// A notice for a place without threads: it names the call, because no card is above it, and no person, because the flow
/// behind a webhook may hand it to anybody.
pub(super) fn alone(approval: &Approval, title: &str, notice: Notice) -> Notice {
    let call = approval.state.requested.as_deref().map(|requested| &requested.call);
    let named = |call: &decider::approval::Summary| {
        format!("{} \u{b7} {}", foreign::name(&call.tool), foreign::name(&call.action))
    };
    let lines = call.map(named).into_iter().chain(notice.lines.iter().cloned()).collect();
    Notice { title: title.to_owned(), lines, mentions: Vec::new(), ..notice }
}

/// The id of a notice: its own, so that a search for the card of the approval never finds it.
pub(super) fn id(approval: &Approval, kind: &str) -> Ident {
    let text = format!("{}-{}", kind.replace('/', "-"), approval.id);
    Ident::new(&text).unwrap_or_else(|_| approval.id.clone())
}
