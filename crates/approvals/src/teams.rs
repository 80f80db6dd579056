//! Microsoft Teams: a bot that shows cards and receives clicks, and a webhook that only informs.
//!
//! In scope: everything that Microsoft's formats and tokens need. Out of scope: who may review (`decider`),
//! and when a card is shown (the worker). Sources: Bot Connector REST API, Universal Actions for Adaptive
//! Cards.

pub mod card;
mod client;
mod http;
pub mod inbound;
pub mod jwt;
pub mod keys;
pub mod package;
pub mod webhook;

use crate::{
    cards::{Card, Notice, Overflow, Posted, SendError},
    chats::{Chat, Sending},
    setup::Person,
};
use inbound::Activity;
use jwt::Untrusted;
use ledger::ident::Ident;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A bot, as configured. Not `Debug`, because it holds passwords.
#[derive(Clone)]
pub struct Options {
    /// Tenant whose approvals the bot shows.
    pub tenant: Ident,
    /// The bot's app id.
    pub app_id: String,
    /// The directory whose members may click.
    pub directory: String,
    /// The app's passwords, in the order of use. There are two while the password is being changed.
    pub passwords: Vec<Zeroizing<String>>,
    /// URL that issues our tokens. `{directory}` stands for the directory.
    pub token_url: String,
    /// `OpenID` metadata of the tokens that come with clicks.
    pub metadata_url: String,
    /// Hosts to which a token may be sent, with the port if it is not the scheme's default.
    pub service_hosts: Vec<String>,
    /// Service URL to which cards are posted.
    pub service_url: String,
}

/// Why a connection can't be opened; the text says what to change in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// An id is not a GUID.
    #[error("{0}: a GUID, as the portal shows it")]
    NotGuid(&'static str),
    /// A URL is not https.
    #[error("{0}: an https URL, or http on a loopback address")]
    BadUrl(&'static str),
    /// The service URL is not in the list.
    #[error("service_hosts: add {0:?}, or change service_url")]
    NotListed(String),
    /// There is no password.
    #[error("password_files: at least one password that is not empty")]
    NoPassword,
}

/// Why an activity is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not come from a trusted sender.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The sender is trusted, but the activity can't be read.
    #[error("not an activity")]
    NotActivity,
    /// It can't be checked at this moment: try again.
    #[error("Microsoft's keys can't be fetched ({0})")]
    Unavailable(String),
}

impl From<keys::Error> for Refused {
    fn from(error: keys::Error) -> Self {
        match error {
            keys::Error::Untrusted(why) => Self::Untrusted(why),
            keys::Error::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// One bot, for one tenant. It holds its secrets in memory until it is dropped.
pub struct Connection {
    /// Name in the configuration, and in the address to which activities come.
    pub name: Ident,
    /// Tenant whose approvals the bot shows.
    pub tenant: Ident,
    app_id: String,
    directory: String,
    service_hosts: Vec<String>,
    client: Arc<client::Client>,
    keys: keys::Keys,
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
    /// Checks the options. Sends nothing.
    pub fn open(name: Ident, mut options: Options) -> Result<Self, OpenError> {
        for (key, id) in [("app_id", &options.app_id), ("directory", &options.directory)] {
            if !inbound::is_guid(id) {
                return Err(OpenError::NotGuid(key));
            }
        }
        if options.passwords.is_empty() || options.passwords.iter().any(|p| p.is_empty()) {
            return Err(OpenError::NoPassword);
        }
        let url = |key, text: &str| http::safe_url(text).ok_or(OpenError::BadUrl(key));
        let token_url = options.token_url.replace("{directory}", &options.directory);
        let token_url = url("token_url", &token_url)?;
        let metadata_url = url("metadata_url", &options.metadata_url)?;
        let service_url = url("service_url", &options.service_url)?;
        for host in &mut options.service_hosts {
            *host = host.trim().to_ascii_lowercase();
        }
        if !options.service_hosts.contains(&http::host_of(&service_url)) {
            return Err(OpenError::NotListed(http::host_of(&service_url)));
        }
        let agent = http::agent();
        Ok(Self {
            name,
            tenant: options.tenant.clone(),
            app_id: options.app_id.clone(),
            directory: options.directory.clone(),
            service_hosts: options.service_hosts.clone(),
            keys: keys::Keys::new(metadata_url, agent.clone()),
            client: Arc::new(client::Client::new(options, token_url, service_url, agent)),
        })
    }

    /// The directory whose members may click.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Verifies an activity and reads it. Nothing of the body is read before the token's signature is
    /// verified.
    pub async fn receive(
        &self,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Result<Activity, Refused> {
        let token = jwt::bearer(authorization)?;
        let key = self.keys.find(&jwt::key_id(token)?).await?;
        let speaker = jwt::verify(token, &key, &self.app_id)?;
        let activity: Activity = serde_json::from_slice(body).map_err(|_| Refused::NotActivity)?;
        speaker.may_bring(&activity, &self.directory, &self.service_hosts)?;
        Ok(activity)
    }
}

impl Chat for Connection {
    /// `to`: a channel (`19:…@thread.tacv2`), a chat, or a person's object id. A card that Teams finds too big
    /// becomes a link to the page.
    fn post<'a>(&'a self, to: &'a str, card: &'a Card) -> Sending<'a, Posted> {
        let (client, to, card) = (Arc::clone(&self.client), to.to_owned(), card.clone());
        Box::pin(blocking(move || {
            let members = client.members(&to, card::REFRESH_MAX);
            let full = card::message(&card::full(&card, &card::View::everybody(&members)));
            match client.post(&to, &full) {
                Err(SendError::Refused(why)) if is_about_content(&why) => {
                    client.post(&to, &card::message(&card::link(&card)))
                }
                done => done,
            }
        }))
    }

    fn post_overflow<'a>(&'a self, to: &'a str, card: &'a Overflow) -> Sending<'a, Posted> {
        let (client, to) = (Arc::clone(&self.client), to.to_owned());
        let message = card::message(&card::overflow(card));
        Box::pin(blocking(move || client.post(&to, &message)))
    }

    fn update_overflow<'a>(&'a self, posted: &'a Posted, card: &'a Overflow) -> Sending<'a, ()> {
        let (client, posted) = (Arc::clone(&self.client), posted.clone());
        let message = card::message(&card::overflow(card));
        Box::pin(blocking(move || client.update(&posted, &message)))
    }

    /// A message in a channel begins a thread, whose id its conversation has: what is posted there is a reply.
    fn notify<'a>(
        &'a self,
        to: &'a str,
        notice: &'a Notice,
        under: Option<&'a Posted>,
    ) -> Sending<'a, Posted> {
        let client = Arc::clone(&self.client);
        let to = under.map_or(to, |posted| &posted.conversation).to_owned();
        let who = notice
            .mentions
            .iter()
            .flat_map(|one| self.direct(one).into_iter().map(|object| (one.name.clone(), object)));
        let message = card::message(&card::notice(notice, &who.collect::<Vec<_>>()));
        Box::pin(blocking(move || client.post(&to, &message)))
    }

    /// A card that Teams finds too big becomes a link to the page, so that no button remains on an approval
    /// that is over.
    fn update<'a>(&'a self, posted: &'a Posted, card: &'a Card) -> Sending<'a, ()> {
        let (client, posted, card) = (Arc::clone(&self.client), posted.clone(), card.clone());
        Box::pin(blocking(move || {
            let members = client.members(&posted.conversation, card::REFRESH_MAX);
            let full = card::full(&card, &card::View::everybody(&members));
            match client.update(&posted, &card::message(&full)) {
                Err(SendError::Refused(why)) if is_about_content(&why) => {
                    client.update(&posted, &card::message(&card::link(&card)))
                }
                done => done,
            }
        }))
    }

    /// A bot can't search.
    fn find<'a>(&'a self, _: &'a str, _: &'a Ident) -> Sending<'a, Option<Posted>> {
        Box::pin(async { Ok(None) })
    }

    fn direct(&self, person: &Person) -> Vec<String> {
        let same = |directory: &str| directory.eq_ignore_ascii_case(&self.directory);
        let known = person.teams.iter().filter(|member| same(&member.directory));
        known.map(|member| member.object.clone()).collect()
    }
}

/// True if Teams refuses the content of the message: wrong, or too big. Teams does not keep to the limit that
/// it documents.
fn is_about_content(says: &str) -> bool {
    says.starts_with("413") || says.starts_with("400")
}

/// Runs a blocking call outside the runtime.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, SendError> + Send + 'static,
) -> Result<T, SendError> {
    // A call that panicked may have sent its request.
    tokio::task::spawn_blocking(call).await.unwrap_or(Err(SendError::Unknown))
}
