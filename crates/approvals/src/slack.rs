//! Slack: cards out, clicks in. Only this module uses Slack's terms; `client` and `signature` alone name
//! slack-morphism.
//!
//! In scope: Block Kit of a card, calls of the Web API, the signature and the meaning of a click, the app
//! manifest. Out of scope: when a card is sent or repaired (the outbox), whether a click counts (the worker),
//! HTTP (`api`).

mod blocks;
mod client;
mod dialogs;
mod inbound;
mod manifest;
mod signature;
mod words;

pub use blocks::is_decidable;
pub use dialogs::Dialog;
pub use inbound::{Act, Click, Clicker, Comment, Headers, Interaction, Question, Refused, read};
pub use manifest::manifest;
pub use words::{COMMENT as COMMENT_BLOCK, QUESTION as QUESTION_BLOCK};

use crate::{cards::Posted, setup::SlackMember};
use ledger::{ident::Ident, time::Nanos};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How one Slack app is reached. Not `Debug`: it holds secrets.
#[derive(Clone)]
pub struct Options {
    /// The tenant whose approvals it shows.
    pub tenant: Ident,
    /// The app's id, `A…`.
    pub app_id: String,
    /// Workspaces (`T…`) or organisations (`E…`) whose members may click.
    pub workspaces: Vec<String>,
    /// The bot token, `xoxb-…`.
    pub bot_token: Zeroizing<String>,
    /// The signing secret: one, or two while it is changed.
    pub signing_secrets: Vec<Zeroizing<String>>,
    /// Address of Slack's Web API: `https://slack.com/api`; http only on loopback.
    pub api_url: String,
}

/// Why a connection can't be opened. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address of the Web API is wrong.
    #[error("api_url: {0} is not a URL")]
    Url(String),
    /// The system's certificates can't be read.
    #[error("no certificate authorities on this system: install the package ca-certificates ({0})")]
    Certificates(std::io::Error),
}

/// One Slack app in one workspace or organisation, for one tenant. It holds its secrets in memory until it is
/// dropped.
pub struct Connection {
    /// Name in the configuration, and in the address to which Slack posts clicks.
    pub name: Ident,
    /// Tenant whose approvals the app shows.
    pub tenant: Ident,
    app_id: String,
    workspaces: Vec<String>,
    signature: signature::Verifiers,
    client: client::Client,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Makes no call.
    pub fn open(name: Ident, options: Options) -> Result<Self, OpenError> {
        let client = client::Client::new(&options.api_url, &options.bot_token)?;
        let Options { tenant, app_id, workspaces, signing_secrets, .. } = options;
        let signature = signature::Verifiers::new(signing_secrets);
        Ok(Self { name, tenant, app_id, workspaces, signature, client })
    }

    /// True if this connection serves the member's workspace.
    pub fn knows(&self, member: &SlackMember) -> bool {
        self.workspaces.contains(&member.workspace)
    }
}

/// What the buttons of a card carry: the approval, and what the card showed of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Id of the approval.
    #[serde(rename = "a")]
    pub approval: Ident,
    /// First 8 characters of the call digest.
    #[serde(rename = "d")]
    pub digest: String,
    /// Version that the card showed.
    #[serde(rename = "v")]
    pub version: u64,
    /// When the card was made.
    #[serde(rename = "t")]
    pub shown_at: Nanos,
}

/// The `private_metadata` of a dialog: the card from which it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    #[serde(rename = "s")]
    shown: Shown,
    #[serde(rename = "c")]
    channel: String,
    #[serde(rename = "m")]
    message: String,
}

impl Origin {
    fn new(shown: &Shown, at: &Posted) -> Self {
        let (channel, message) = (at.conversation.clone(), at.message.clone());
        Self { shown: shown.clone(), channel, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        let options = Options {
            tenant: Ident::new("acme").unwrap(),
            app_id: "A1".into(),
            workspaces: vec!["T1".into()],
            bot_token: secret("xoxb-hidden"),
            signing_secrets: vec![secret("hidden-one"), secret("hidden-two")],
            api_url: "http://127.0.0.1:1/api".into(),
        };
        let connection = Connection::open(Ident::new("acme-slack").unwrap(), options).unwrap();
        let text = format!("{connection:?} {connection:#?}");
        assert!(text.contains("acme-slack") && !text.contains("hidden"), "{text}");
    }
}
