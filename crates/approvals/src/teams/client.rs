//! Calls of the Bot Connector: a token for us, then messages with cards. They block; [`super::Connection`]
//! moves them off the runtime.

use super::{Options, http, inbound::is_guid};
use crate::cards::{Posted, SendError};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use ureq::Agent;
use url::Url;
use zeroize::Zeroizing;

/// Scope of our token.
const SCOPE: &str = "https://api.botframework.com/.default";
/// A token is no longer used this long before its end.
const TOKEN_RESERVE: Duration = Duration::from_secs(300);
/// Longest validity of a token that is accepted.
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest access token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Longest conversation and activity id, in bytes.
const ID_BYTES_MAX: usize = 512;
/// Time for which the members of a conversation are remembered.
const MEMBERS_LIFE: Duration = Duration::from_secs(3600);
/// Most conversations whose members are remembered.
const MEMBERS_CONVERSATIONS_MAX: usize = 1000;

/// Client of the connector, for one bot.
pub(super) struct Client {
    options: Options,
    token_url: Url,
    service_url: Url,
    agent: Agent,
    token: Mutex<Option<(Zeroizing<String>, Instant)>>,
    members: Mutex<BTreeMap<String, (Vec<String>, Instant)>>,
}

/// Destinations that a channels table may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A channel of a team. Every card begins a thread.
    Channel,
    /// A person, by their chat with the bot.
    Person,
    /// An existing chat or thread.
    Conversation,
}

fn place(to: &str) -> Place {
    let channel = to.ends_with("@thread.tacv2") || to.ends_with("@thread.skype");
    if to.starts_with("19:") && channel {
        Place::Channel
    } else if to.starts_with("29:") || is_guid(to) {
        Place::Person
    } else {
        Place::Conversation
    }
}

impl Client {
    /// The caller has checked the URLs; the host of `service_url` is in the list.
    pub(super) fn new(options: Options, token_url: Url, service_url: Url, agent: Agent) -> Self {
        let (token, members) = (Mutex::default(), Mutex::default());
        Self { options, token_url, service_url, agent, token, members }
    }

    /// Posts a message: in a channel as a new thread, to a person in their chat with the bot.
    pub(super) fn post(&self, to: &str, message: &Value) -> Result<Posted, SendError> {
        let to = plain_id(to)?;
        match place(to) {
            Place::Conversation => self.send(to, message),
            Place::Channel => self.begin_thread(to, message),
            Place::Person => {
                let chat = self.chat_with(to)?;
                self.send(&chat, message)
            }
        }
    }

    /// Replaces a posted message.
    pub(super) fn update(&self, posted: &Posted, message: &Value) -> Result<(), SendError> {
        let (conversation, id) = (plain_id(&posted.conversation)?, plain_id(&posted.message)?);
        let url = self.url(&["conversations", conversation, "activities", id]);
        let mut message = self.addressed(conversation, message);
        message["id"] = id.into();
        let answer = self.call(Call::Put(&message), &url)?;
        if answer.is_success() { Ok(()) } else { Err(answer.error(true)) }
    }

    /// Members whose view can be refreshed (`29:…`), at most `max`. Empty if Teams does not answer.
    pub(super) fn members(&self, to: &str, max: usize) -> Vec<String> {
        if place(to) == Place::Person {
            return to.starts_with("29:").then(|| to.to_owned()).into_iter().collect();
        }
        let channel = to.split_once(";messageid=").map_or(to, |(channel, _)| channel);
        let known = self.locked_members().get(channel).cloned();
        if let Some((members, since)) = known
            && since.elapsed() < MEMBERS_LIFE
        {
            return members;
        }
        let mut url = self.url(&["conversations", channel, "pagedmembers"]);
        url.query_pairs_mut().append_pair("pageSize", &max.to_string());
        // This is optional: without members, the card is posted all the same.
        let members = match self.call(Call::Get, &url) {
            Ok(answer) if answer.is_success() => members_of(&answer.body, max),
            Ok(_) | Err(_) => Vec::new(),
        };
        let mut all = self.locked_members();
        if all.len() >= MEMBERS_CONVERSATIONS_MAX {
            all.clear();
        }
        all.insert(channel.to_owned(), (members.clone(), Instant::now()));
        members
    }

    fn locked_members(&self) -> MutexGuard<'_, BTreeMap<String, (Vec<String>, Instant)>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, conversation: &str, message: &Value) -> Result<Posted, SendError> {
        let url = self.url(&["conversations", conversation, "activities"]);
        let message = self.addressed(conversation, message);
        let answer = self.call(Call::Post(&message), &url)?;
        if !answer.is_success() {
            return Err(answer.error(false));
        }
        // It was posted, but without its id it can never be updated.
        let message = answer.text("id").ok_or(SendError::Unknown)?;
        Ok(Posted { conversation: conversation.to_owned(), message })
    }

    /// Adds the address, as Microsoft's own clients do.
    fn addressed(&self, conversation: &str, message: &Value) -> Value {
        let mut message = message.clone();
        message["channelId"] = super::jwt::CHANNEL.into();
        message["from"] = json!({"id": format!("28:{}", self.options.app_id)});
        message["conversation"] = json!({"id": conversation, "tenantId": self.options.directory});
        message
    }

    fn begin_thread(&self, channel: &str, message: &Value) -> Result<Posted, SendError> {
        let body = json!({
            "isGroup": true,
            "bot": {"id": format!("28:{}", self.options.app_id)},
            "tenantId": self.options.directory,
            "channelData": {"channel": {"id": channel}, "tenant": {"id": self.options.directory}},
            "activity": message,
        });
        let answer = self.call(Call::Post(&body), &self.url(&["conversations"]))?;
        if !answer.is_success() {
            return Err(answer.error(false));
        }
        let conversation = answer.text("id").ok_or(SendError::Unknown)?;
        let message = answer.text("activityId").ok_or(SendError::Unknown)?;
        Ok(Posted { conversation, message })
    }

    /// A person's chat with the bot. It is always the same one.
    fn chat_with(&self, person: &str) -> Result<String, SendError> {
        let body = json!({
            "isGroup": false,
            "bot": {"id": format!("28:{}", self.options.app_id)},
            "members": [{"id": person}],
            "tenantId": self.options.directory,
            "channelData": {"tenant": {"id": self.options.directory}},
        });
        let answer = self.call(Call::Post(&body), &self.url(&["conversations"]))?;
        if !answer.is_success() {
            return Err(answer.error(false));
        }
        let chat = answer.text("id").ok_or(SendError::Unknown)?;
        plain_id(&chat).map(str::to_owned)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.service_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v3").extend(path);
        }
        url
    }

    /// Makes a call with our token. If the token is refused, repeats it once with a new token.
    fn call(&self, call: Call<'_>, url: &Url) -> Result<http::Answer, SendError> {
        let answer = self.call_with(call, url, &self.token(false)?)?;
        if answer.status != 401 {
            return Ok(answer);
        }
        self.call_with(call, url, &self.token(true)?)
    }

    fn call_with(&self, call: Call<'_>, url: &Url, token: &str) -> Result<http::Answer, SendError> {
        // The last check before the token is sent, wherever the URL came from.
        if !self.options.service_hosts.contains(&http::host_of(url)) {
            return Err(SendError::Refused("a host that is not in service_hosts".into()));
        }
        let bearer = Zeroizing::new(format!("Bearer {token}"));
        let json = |body: &Value| body.to_string();
        let sent = match call {
            Call::Get => self.agent.get(url.as_str()).header("Authorization", &*bearer).call(),
            Call::Post(body) => {
                let request = self.agent.post(url.as_str()).header("Authorization", &*bearer);
                request.header("Content-Type", "application/json").send(json(body))
            }
            Call::Put(body) => {
                let request = self.agent.put(url.as_str()).header("Authorization", &*bearer);
                request.header("Content-Type", "application/json").send(json(body))
            }
        };
        http::answer(sent)
    }

    /// Our token. `anew`: the cached token was refused.
    fn token(&self, anew: bool) -> Result<Zeroizing<String>, SendError> {
        // Held during the fetch, so that a hundred cards ask for one token.
        let mut held = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((token, until)) = held.as_ref()
            && !anew
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        *held = None;
        let mut last = SendError::Refused("no password".into());
        for password in &self.options.passwords {
            match self.fetch_token(password) {
                Ok((token, life)) => {
                    *held = Some((token.clone(), Instant::now() + life));
                    return Ok(token);
                }
                // Only if the password is refused, try the next one.
                Err(SendError::Refused(why)) => {
                    last = SendError::Refused(format!("the app's password: {why}"));
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn fetch_token(&self, password: &str) -> Result<(Zeroizing<String>, Duration), SendError> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.options.app_id),
            ("client_secret", password),
            ("scope", SCOPE),
        ];
        let form = serde_urlencoded::to_string(form);
        let form = Zeroizing::new(form.map_err(|_| SendError::Refused("form".into()))?);
        let request = self.agent.post(self.token_url.as_str());
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        // This request changes nothing, so it may be repeated if no answer came.
        let again = |error| match error {
            SendError::Unknown => SendError::Later("no token in time".into(), None),
            other => other,
        };
        let mut answer = http::answer(request.send(form.as_str())).map_err(again)?;
        if !answer.is_success() {
            return Err(again(answer.error(false)));
        }
        let body = Zeroizing::new(std::mem::take(&mut answer.body));
        let (token, life) = read_token(&body)
            .ok_or_else(|| SendError::Later("the token can't be read".into(), None))?;
        Ok((token, life.min(TOKEN_LIFE_MAX).saturating_sub(TOKEN_RESERVE)))
    }
}

#[derive(Clone, Copy)]
enum Call<'a> {
    Get,
    Post(&'a Value),
    Put(&'a Value),
}

fn read_token(body: &[u8]) -> Option<(Zeroizing<String>, Duration)> {
    #[derive(serde::Deserialize)]
    struct Token {
        access_token: String,
        expires_in: u64,
    }
    let token: Token = serde_json::from_slice(body).ok()?;
    let text = Zeroizing::new(token.access_token);
    let fits = (1..=TOKEN_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then_some((text, Duration::from_secs(token.expires_in)))
}

fn members_of(body: &[u8], max: usize) -> Vec<String> {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let ids = json["members"].as_array().into_iter().flatten().filter_map(|m| m["id"].as_str());
    ids.filter(|id| id.starts_with("29:") && plain_id(id).is_ok())
        .take(max)
        .map(Into::into)
        .collect()
}

/// An id that is exactly one segment of a path.
fn plain_id(id: &str) -> Result<&str, SendError> {
    let fits = (1..=ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic())
        && id != "."
        && id != "..";
    if fits { Ok(id) } else { Err(SendError::Refused("not a conversation or message id".into())) }
}

#[cfg(test)]
mod tests;
