//! A Workflows webhook of Teams: one card with a link and no buttons.

use super::{card, http};
use crate::{
    cards::{Card, Notice, Overflow, Posted, SendError},
    chats::{Chat, Sending},
    setup::Person,
};
use ledger::ident::Ident;
use serde_json::{Value, json};
use std::sync::Arc;
use ureq::Agent;
use url::Url;

/// The file does not contain a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's file must hold one https URL, as Workflows shows it")]
pub struct BadUrl;

/// One webhook. Anybody who knows its URL can post, so the URL appears in no error, log or `Debug`.
#[derive(Clone)]
pub struct Webhook {
    /// Name in the configuration.
    pub name: Ident,
    /// Tenant whose approvals it shows.
    pub tenant: Ident,
    url: Arc<Url>,
    agent: Agent,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({}, ***)", self.name)
    }
}

impl Webhook {
    /// Reads the content of the URL file.
    pub fn open(name: Ident, tenant: Ident, secret: &str) -> Result<Self, BadUrl> {
        let url = http::safe_url(secret.trim()).ok_or(BadUrl)?;
        Ok(Self { name, tenant, url: Arc::new(url), agent: http::agent() })
    }

    async fn send(&self, card: &Value) -> Result<Posted, SendError> {
        let body = json!({
            "type": "message",
            "attachments": [{"contentType": card::CONTENT_TYPE, "contentUrl": null, "content": card}],
        });
        let (url, agent) = (Arc::clone(&self.url), self.agent.clone());
        super::blocking(move || {
            let request = agent.post(url.as_str()).header("Content-Type", "application/json");
            let answer = http::answer(request.send(body.to_string()))?;
            if answer.is_success() {
                Ok(Posted { conversation: String::new(), message: String::new() })
            } else {
                Err(answer.error(false))
            }
        })
        .await
    }
}

impl Chat for Webhook {
    /// Posts a link to the approval, with tool and action alone.
    fn post<'a>(&'a self, _: &'a str, card: &'a Card) -> Sending<'a, Posted> {
        Box::pin(async move { self.send(&card::bare(card)).await })
    }

    fn post_overflow<'a>(&'a self, _: &'a str, card: &'a Overflow) -> Sending<'a, Posted> {
        Box::pin(async move { self.send(&card::overflow_bare(card)).await })
    }

    /// Nothing to do, as for a card. So each burst has a message of its own, which says what was true then.
    fn update_overflow<'a>(&'a self, _: &'a Posted, _: &'a Overflow) -> Sending<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// A webhook returns no id of its message, so each notice is a message of its own.
    fn notify<'a>(
        &'a self,
        _: &'a str,
        notice: &'a Notice,
        _: Option<&'a Posted>,
    ) -> Sending<'a, Posted> {
        Box::pin(async move { self.send(&card::notice(notice, &[])).await })
    }

    /// Nothing to do: a webhook returns no id of its message, which is only a link; the page shows the present
    /// state.
    fn update<'a>(&'a self, _: &'a Posted, _: &'a Card) -> Sending<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn find<'a>(&'a self, _: &'a str, _: &'a Ident) -> Sending<'a, Option<Posted>> {
        Box::pin(async { Ok(None) })
    }

    fn direct(&self, _: &Person) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_a_secret() {
        let open = |url| {
            let (name, tenant) = (Ident::new("flow").unwrap(), Ident::new("acme").unwrap());
            Webhook::open(name, tenant, url)
        };
        let webhook = open("https://flow.example/run?sig=SECRET\n").unwrap();
        assert_eq!(format!("{webhook:?}"), "Webhook(flow, ***)");
        assert_eq!(open("http://flow.example/run?sig=SECRET").unwrap_err(), BadUrl);
    }
}
