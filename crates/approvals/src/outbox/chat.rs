//! One interface to all chats: post, update and find cards.

use super::Chats;
use crate::{
    cards::{Card, Digest, Posted, SendError},
    slack, teams,
};
use ledger::ident::Ident;

/// One of the connections.
pub(super) enum Chat<'a> {
    Slack(&'a slack::Connection),
    Teams(&'a teams::Connection),
    Webhook(&'a teams::webhook::Webhook),
}

impl Chats {
    pub(super) fn get(&self, connection: &Ident) -> Option<Chat<'_>> {
        let name = connection.as_str();
        let slack = self.slack.get(name).map(Chat::Slack);
        let teams = || self.teams.get(name).map(Chat::Teams);
        slack.or_else(teams).or_else(|| self.webhooks.get(name).map(Chat::Webhook))
    }
}

impl Chat<'_> {
    pub(super) async fn post(&self, to: &str, card: &Card) -> Result<Posted, SendError> {
        match self {
            Self::Slack(slack) => slack.post(to, card).await,
            Self::Teams(teams) => teams.post(to, card).await,
            Self::Webhook(webhook) => webhook.post(card).await,
        }
    }

    pub(super) async fn post_digest(&self, to: &str, digest: &Digest) -> Result<Posted, SendError> {
        match self {
            Self::Slack(slack) => slack.post_digest(to, digest).await,
            Self::Teams(teams) => teams.post_digest(to, digest).await,
            Self::Webhook(webhook) => webhook.post_digest(digest).await,
        }
    }

    pub(super) async fn update(&self, posted: &Posted, card: &Card) -> Result<(), SendError> {
        match self {
            Self::Slack(slack) => slack.update(posted, card).await,
            Self::Teams(teams) => teams.update(posted, card).await,
            // A webhook's card is only a link, and the page shows the current state.
            Self::Webhook(_) => Ok(()),
        }
    }

    /// Searches for a card after a post without an answer. Only Slack can search.
    pub(super) async fn find(
        &self,
        to: &str,
        approval: &Ident,
    ) -> Result<Option<Posted>, SendError> {
        match self {
            Self::Slack(slack) => slack.find(to, approval).await,
            Self::Teams(_) | Self::Webhook(_) => Ok(None),
        }
    }
}
