//! Calls of Slack's Web API, with slack-morphism's client. That client has no time limits and puts bodies into
//! its errors, so every call here has a time limit, and every error is reduced to a code.

mod trouble;

use super::{
    Click, Connection, OpenError, blocks,
    dialogs::{self, Dialog},
};
use crate::{
    cards::{Card, Notice, Overflow, Posted, SendError},
    chats::{Chat, Sending},
    setup::Person,
};
use ledger::ident::Ident;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use slack_morphism::{
    SlackApiToken, SlackApiTokenValue, SlackClient, SlackClientApiCallContext,
    SlackClientHttpConnector as _,
    errors::SlackClientError,
    hyper_tokio::{SlackClientHyperConnector, SlackHyperClient, SlackHyperHttpsConnector},
};
use std::{sync::RwLock, time::Duration};
use trouble::{Trouble, is_about_content};
use url::Url;

/// Longest wait for an answer in the background.
const CALL_WAIT: Duration = Duration::from_secs(10);
/// Longest wait while a click is being answered. Slack allows 3 s for the whole answer.
const CLICK_WAIT: Duration = Duration::from_millis(if cfg!(test) { 60_000 } else { 1200 });
/// Messages read at once in a search for a card.
const HISTORY_PAGE: usize = 100;
/// Most pages read in a search: a post with unknown outcome is looked up soon after.
const HISTORY_PAGES_MAX: usize = 3;
/// Hosts of Slack's response URLs. The second one belongs to `GovSlack`.
const RESPONSE_HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];

/// The client of one app.
pub(super) struct Client {
    connector: SlackHyperHttpsConnector,
    http: RwLock<SlackHyperClient>,
    token: SlackApiToken,
    api: Url,
}

#[derive(Deserialize)]
struct PostAnswer {
    channel: String,
    ts: String,
}

#[derive(Deserialize)]
struct History {
    messages: Vec<Found>,
    #[serde(default)]
    response_metadata: Option<Next>,
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next_cursor: Option<String>,
}

/// The parts of a message in a history that matter here.
#[derive(Deserialize)]
struct Found {
    ts: String,
    #[serde(default)]
    app_id: Option<String>,
    #[serde(default)]
    bot_profile: Option<BotProfile>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct BotProfile {
    #[serde(default)]
    app_id: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    event_payload: Value,
}

impl Found {
    /// True if this app sent the message. Another app could copy our metadata.
    fn is_card_of(&self, approval: &Ident, app_id: &str) -> bool {
        let profile = self.bot_profile.as_ref().and_then(|profile| profile.app_id.as_deref());
        let by_us = self.app_id.as_deref().or(profile) == Some(app_id);
        by_us
            && self.metadata.as_ref().is_some_and(|metadata| {
                metadata.event_type == blocks::EVENT_TYPE
                    && metadata.event_payload["approval_id"] == approval.as_str()
            })
    }
}

impl Client {
    pub(super) fn new(api_url: &str, token: &str) -> Result<Self, OpenError> {
        let api_url = api_url.trim_end_matches('/');
        let api = Url::parse(api_url).map_err(|_| OpenError::Url(api_url.to_owned()))?;
        // Allows https, and http for addresses on loopback. The configuration checks `api_url` for that.
        let roots = SlackHyperHttpsConnector::builder().with_native_roots();
        let connector =
            roots.map_err(OpenError::Certificates)?.https_or_http().enable_all_versions().build();
        let http = RwLock::new(pool(&connector, &api));
        let token = SlackApiToken::new(SlackApiTokenValue(token.to_owned()));
        Ok(Self { connector, http, token, api })
    }

    /// Waits for a call, for at most `wait`.
    ///
    /// All calls share one HTTP/2 connection. If it is dead but was not closed, every call waits until the
    /// kernel gives up, which takes a quarter of an hour. So after a call without an answer, the next one
    /// makes a new connection.
    async fn in_time<A>(
        &self,
        wait: Duration,
        call: impl Future<Output = Result<A, SlackClientError>>,
    ) -> Result<A, Trouble> {
        let Ok(answer) = tokio::time::timeout(wait, call).await else {
            let mut http = self.http.write().expect("no holder of the lock panics");
            *http = pool(&self.connector, &self.api);
            return Err(Trouble::Unknown("no answer"));
        };
        answer.map_err(Trouble::from)
    }

    fn http(&self) -> SlackHyperClient {
        self.http.read().expect("no holder of the lock panics").clone()
    }

    async fn post<A: DeserializeOwned + Send>(
        &self,
        method: &str,
        body: &impl Serialize,
        wait: Duration,
    ) -> Result<A, Trouble> {
        let body = serde_json::to_value(body).expect("cards are JSON");
        let http = self.http();
        let session = http.open_session(&self.token);
        let call = session.http_session_api.http_post(method, &body, None);
        self.in_time(wait, call).await
    }

    async fn history(&self, to: &str, cursor: Option<&str>) -> Result<History, Trouble> {
        let limit = HISTORY_PAGE.to_string();
        let params = [
            ("channel", Some(to)),
            ("include_all_metadata", Some("true")),
            ("limit", Some(limit.as_str())),
            ("cursor", cursor),
        ];
        let http = self.http();
        let session = http.open_session(&self.token);
        let call = session.http_session_api.http_get("conversations.history", &params, None);
        self.in_time(CALL_WAIT, call).await
    }

    /// True if a response URL is Slack's, or that of the configured stand-in on this machine.
    fn may_respond_to(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let slack = url.scheme() == "https" && RESPONSE_HOSTS.contains(&host);
        let loopback = match self.api.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            _ => false,
        };
        let plain = url.username().is_empty() && url.password().is_none();
        let may = if loopback {
            url.origin() == self.api.origin()
        } else {
            slack && url.port().is_none()
        };
        plain && may
    }
}

impl Chat for Connection {
    /// A card that Slack finds wrong or too long becomes a link to the page.
    fn post<'a>(&'a self, to: &'a str, card: &'a Card) -> Sending<'a, Posted> {
        Box::pin(async move {
            let metadata = || Some(blocks::metadata(&card.approval));
            match self.post_message(to, &blocks::message(card), metadata(), None).await {
                Err(SendError::Refused(code)) if is_about_content(&code) => {
                    self.post_message(to, &blocks::told(card), metadata(), None).await
                }
                done => done,
            }
        })
    }

    fn post_overflow<'a>(&'a self, to: &'a str, card: &'a Overflow) -> Sending<'a, Posted> {
        Box::pin(async move {
            let metadata = Some(blocks::metadata(&card.id));
            self.post_message(to, &blocks::overflow(card), metadata, None).await
        })
    }

    fn update_overflow<'a>(&'a self, posted: &'a Posted, card: &'a Overflow) -> Sending<'a, ()> {
        Box::pin(async move { self.replace(posted, &card.id, &blocks::overflow(card)).await })
    }

    fn notify<'a>(
        &'a self,
        to: &'a str,
        notice: &'a Notice,
        under: Option<&'a Posted>,
    ) -> Sending<'a, Posted> {
        Box::pin(async move {
            let metadata = Some(blocks::metadata(&notice.id));
            let who: Vec<String> =
                notice.mentions.iter().flat_map(|one| self.direct(one)).collect();
            self.post_message(to, &blocks::notice(notice, &who), metadata, under).await
        })
    }

    /// A card that Slack finds wrong or too long becomes a link to the page, so that no button remains on an
    /// approval that is over.
    fn update<'a>(&'a self, posted: &'a Posted, card: &'a Card) -> Sending<'a, ()> {
        Box::pin(async move {
            match self.replace(posted, &card.approval, &blocks::message(card)).await {
                Err(SendError::Refused(code)) if is_about_content(&code) => {
                    self.replace(posted, &card.approval, &blocks::told(card)).await
                }
                done => done,
            }
        })
    }

    /// Searches among the newest messages of a channel.
    ///
    /// Direct messages are not searched: our scopes do not allow it, and a second card does no harm.
    fn find<'a>(&'a self, to: &'a str, approval: &'a Ident) -> Sending<'a, Option<Posted>> {
        Box::pin(async move {
            if to.starts_with(['U', 'W']) { Ok(None) } else { self.search(to, approval).await }
        })
    }

    fn direct(&self, person: &Person) -> Vec<String> {
        let known = person.slack.iter().filter(|member| self.knows(member));
        known.map(|member| member.user.clone()).collect()
    }
}

impl Connection {
    async fn post_message(
        &self,
        to: &str,
        message: &blocks::Message,
        metadata: Option<Value>,
        under: Option<&Posted>,
    ) -> Result<Posted, SendError> {
        let mut body = body(under.map_or(to, |posted| &posted.conversation), message);
        if let Some(posted) = under {
            body["thread_ts"] = posted.message.as_str().into();
        }
        for never in ["unfurl_links", "unfurl_media", "mrkdwn"] {
            body[never] = false.into();
        }
        if let Some(metadata) = metadata {
            body["metadata"] = metadata;
        }
        let answer = self.client.post::<PostAnswer>("chat.postMessage", &body, CALL_WAIT).await;
        let answer = answer.map_err(Trouble::of_post)?;
        Ok(Posted { conversation: answer.channel, message: answer.ts })
    }

    async fn replace(
        &self,
        posted: &Posted,
        id: &Ident,
        message: &blocks::Message,
    ) -> Result<(), SendError> {
        let mut body = body(&posted.conversation, message);
        body["ts"] = posted.message.as_str().into();
        body["metadata"] = blocks::metadata(id);
        let answer = self.client.post::<Value>("chat.update", &body, CALL_WAIT).await;
        answer.map(drop).map_err(Trouble::of_change)
    }

    async fn search(&self, to: &str, approval: &Ident) -> Result<Option<Posted>, SendError> {
        let mut cursor: Option<String> = None;
        for _ in 0..HISTORY_PAGES_MAX {
            let page = self.client.history(to, cursor.as_deref()).await;
            let page = page.map_err(Trouble::of_change)?;
            let found = page.messages.iter().find(|m| m.is_card_of(approval, &self.app_id));
            if let Some(found) = found {
                return Ok(Some(Posted { conversation: to.to_owned(), message: found.ts.clone() }));
            }
            cursor = page.response_metadata.and_then(|next| next.next_cursor);
            if cursor.as_deref().unwrap_or_default().is_empty() {
                break;
            }
        }
        Ok(None)
    }

    /// Tells something to the person who clicked, and to nobody else: by the click's response URL; if that
    /// fails, in the channel, visible to that person only; if that is refused too, in a direct message.
    pub async fn tell(&self, click: &Click, text: &str) -> Result<(), SendError> {
        let first = match &click.response_url {
            Some(url) => self.respond(url, text).await,
            None => Err(SendError::Refused("no response URL".into())),
        };
        let Err(error) = first else { return Ok(()) };
        tracing::debug!(connection = %self.name, %error, "a response URL could not be used");
        let user = &click.clicker.member.user;
        let Err(error) = self.whisper(&click.at, user, text).await else { return Ok(()) };
        tracing::debug!(connection = %self.name, %error, "nobody could be told in the channel");
        let body = json!({"channel": user, "text": blocks::escape(text)});
        let answer = self.client.post::<Value>("chat.postMessage", &body, CLICK_WAIT).await;
        answer.map(drop).map_err(Trouble::of_post)
    }

    /// Sends to Slack's response URLs only.
    async fn respond(&self, response_url: &str, text: &str) -> Result<(), SendError> {
        let url = Url::parse(response_url).ok().filter(|url| self.client.may_respond_to(url));
        let url = url.ok_or_else(|| SendError::Refused("response_url".into()))?;
        let body = json!({"response_type": "ephemeral", "replace_original": false, "text": blocks::escape(text)});
        let span = tracing::debug_span!("slack response");
        // Sends no bot token: a response URL needs no other authority.
        let context = SlackClientApiCallContext {
            rate_control_params: None,
            token: None,
            tracing_span: &span,
            is_sensitive_url: true,
        };
        let http = self.client.http();
        let call = http.http_api.connector.http_post_uri::<_, Value>(url, &body, context);
        let told = self.client.in_time(CLICK_WAIT, call).await;
        told.map(drop).map_err(Trouble::of_change)
    }

    async fn whisper(&self, at: &Posted, user: &str, text: &str) -> Result<(), SendError> {
        let body = json!({"channel": at.conversation, "user": user, "text": blocks::escape(text)});
        let answer = self.client.post::<Value>("chat.postEphemeral", &body, CLICK_WAIT).await;
        answer.map(drop).map_err(Trouble::of_change)
    }

    /// Opens a dialog for the person who clicked. A trigger works once, for 3 s.
    pub async fn open_dialog(&self, dialog: Dialog, click: &Click) -> Result<(), SendError> {
        let view = dialogs::view(dialog, &click.shown, &click.at);
        let trigger_id = click.trigger_id.as_deref().unwrap_or_default();
        let body = json!({"trigger_id": trigger_id, "view": view});
        let answer = self.client.post::<Value>("views.open", &body, CLICK_WAIT).await;
        answer.map(drop).map_err(Trouble::of_change)
    }
}

/// The common part of posting and updating. Slack turns nothing in `text` into links, names or markup.
fn body(to: &str, message: &blocks::Message) -> Value {
    json!({
        "channel": to, "text": message.text, "blocks": message.blocks, "parse": "none", "link_names": false,
    })
}

/// A client that has not connected yet.
fn pool(connector: &SlackHyperHttpsConnector, api: &Url) -> SlackHyperClient {
    let connector = SlackClientHyperConnector::with_connector(connector.clone());
    SlackClient::new(connector.with_slack_api_url(api.as_str().trim_end_matches('/')))
}

#[cfg(test)]
mod tests;
