//! Requests that Slack posts to us. The signature over the raw bytes is verified first. Then the body is read:
//! unknown payloads, blocks and members are ignored, but what a review rests on is read strictly. Slack is
//! never trusted to say who may review.

use super::{
    Connection, Origin, Shown,
    words::{self, TEXT_CHARS_MAX},
};
use crate::{cards::Posted, setup::SlackMember};
use decider::approval::DenyReason;
use ledger::time::Nanos;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Longest id, timestamp or trigger of Slack that is accepted, in bytes.
const ID_BYTES_MAX: usize = 255;
/// Longest `response_url`, in bytes.
const URL_BYTES_MAX: usize = 1024;

/// The two headers that sign a request, as received.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    /// `X-Slack-Request-Timestamp`
    pub timestamp: Option<&'a str>,
    /// `X-Slack-Signature`
    pub signature: Option<&'a str>,
}

/// A person's action in Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interaction {
    /// A button of a card.
    Click(Click),
    /// The dialog of a denial was submitted.
    Comment(Comment),
    /// The dialog of a question was submitted.
    Question(Question),
    /// Nothing for us: a link button, or another kind of payload.
    Ignored,
}

/// The button that was clicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Approve.
    Approve,
    /// Deny.
    Deny,
    /// Deny, with a reason from the dialog.
    DenyWithComment,
    /// Ask a question, from the dialog.
    Ask,
}

/// A click on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click {
    /// The member who submitted it.
    pub clicker: Clicker,
    /// The button.
    pub act: Act,
    /// What the card showed.
    pub shown: Shown,
    /// The message that has the button. The caller must check that we posted it as a card of this approval.
    pub at: Posted,
    /// URL by which the clicker alone is answered.
    pub response_url: Option<String>,
    /// Opens one dialog, within 3 s.
    pub trigger_id: Option<String>,
}

/// A denial with its reason, from the dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// The member who submitted it.
    pub clicker: Clicker,
    /// What the card showed.
    pub shown: Shown,
    /// The card whose button opened the dialog.
    pub at: Posted,
    /// The comment; may be empty.
    pub text: String,
    /// Why. `None` from a dialog of an earlier version.
    pub reason: Option<DenyReason>,
    /// Text for the agent; may be empty.
    pub for_agent: String,
}

/// A question, from the dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The member who submitted it.
    pub clicker: Clicker,
    /// What the card showed.
    pub shown: Shown,
    /// The card whose button opened the dialog.
    pub at: Posted,
    /// The question; may be empty.
    pub text: String,
}

/// The member who clicked, as Slack names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clicker {
    /// Workspace or organisation, and member: what an administrator writes into `people.toml`.
    pub member: SlackMember,
    /// The same person under the organisation that the workspace belongs to, if Slack says so.
    pub organisation: Option<SlackMember>,
    /// True if the person is not a member of this connection's workspaces or organisations: a guest by Slack
    /// Connect.
    pub is_foreign: bool,
}

impl Clicker {
    /// The ids under which this person may be linked. Only workspaces of this connection count.
    pub fn members(&self) -> impl Iterator<Item = &SlackMember> {
        let all = std::iter::once(&self.member).chain(&self.organisation);
        all.filter(|_| !self.is_foreign)
    }
}

/// Why a request is refused. The sender sees only the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Slack did not sign it, or it is too old.
    #[error(
        "the signature or its time is wrong: check signing_secret_files and this machine's clock"
    )]
    Signature,
    /// It is signed, but for another app.
    #[error("it is for another app: check app_id")]
    App,
    /// It is signed, but can't be read as an interaction.
    #[error("the body is not an interaction")]
    Body,
}

/// Verifies and reads one request.
pub fn read(
    connection: &Connection,
    headers: Headers<'_>,
    body: &[u8],
    now: Nanos,
) -> Result<Interaction, Refused> {
    let (Some(timestamp), Some(signature)) = (headers.timestamp, headers.signature) else {
        return Err(Refused::Signature);
    };
    let text = std::str::from_utf8(body).map_err(|_| Refused::Signature)?;
    if !connection.signature.accept(timestamp, signature, text, now) {
        return Err(Refused::Signature);
    }
    let form: Form = serde_urlencoded::from_str(text).map_err(|_| Refused::Body)?;
    let payload: Payload = serde_json::from_str(&form.payload).map_err(|_| Refused::Body)?;
    match payload.kind.as_str() {
        "block_actions" | "view_submission" if payload.api_app_id != connection.app_id => {
            Err(Refused::App)
        }
        "block_actions" => payload.click(&connection.workspaces),
        "view_submission" => payload.submitted(&connection.workspaces),
        _ => Ok(Interaction::Ignored),
    }
}

#[derive(Deserialize)]
struct Form {
    payload: String,
}

/// The members that matter here, for all kinds of payloads.
#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    api_app_id: String,
    /// Null if an app is installed for a whole organisation.
    #[serde(default)]
    team: Option<Team>,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    container: Option<Container>,
    #[serde(default)]
    actions: Option<Vec<Action>>,
    #[serde(default)]
    response_url: Option<String>,
    #[serde(default)]
    trigger_id: Option<String>,
    #[serde(default)]
    view: Option<View>,
}

#[derive(Deserialize)]
struct Team {
    id: String,
    #[serde(default)]
    enterprise_id: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    #[serde(default)]
    team_id: Option<String>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    channel_id: Option<String>,
    #[serde(default)]
    message_ts: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(default)]
    action_id: String,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Deserialize)]
struct View {
    #[serde(default)]
    callback_id: String,
    #[serde(default)]
    private_metadata: String,
    #[serde(default)]
    state: Option<ViewState>,
}

#[derive(Deserialize)]
struct ViewState {
    #[serde(default)]
    values: BTreeMap<String, BTreeMap<String, Input>>,
}

#[derive(Deserialize)]
struct Input {
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    selected_option: Option<Selected>,
}

#[derive(Deserialize)]
struct Selected {
    value: String,
}

impl View {
    fn input(&self, name: &str) -> Option<&Input> {
        self.state.as_ref()?.values.get(name)?.get(name)
    }

    /// What was typed, without blanks at its ends.
    fn text(&self, name: &str) -> String {
        let text = self.input(name).and_then(|input| input.value.as_deref()).unwrap_or_default();
        text.trim().chars().take(TEXT_CHARS_MAX).collect()
    }

    /// The reason that was chosen. The log keeps it, so a code that is none is refused.
    fn reason(&self) -> Result<Option<DenyReason>, Refused> {
        let chosen = self.input(words::REASON).and_then(|input| input.selected_option.as_ref());
        let known = |code: &str| DenyReason::ALL.into_iter().find(|reason| reason.code() == code);
        chosen.map(|option| known(&option.value).ok_or(Refused::Body)).transpose()
    }
}

impl Payload {
    fn click(self, workspaces: &[String]) -> Result<Interaction, Refused> {
        let acts = self.actions.iter().flatten();
        let mut ours = acts.filter_map(|action| Some((act(&action.action_id)?, &action.value)));
        let Some((act, value)) = ours.next() else { return Ok(Interaction::Ignored) };
        let shown = value.as_deref().and_then(|value| serde_json::from_str(value).ok());
        let container = self.container.as_ref().ok_or(Refused::Body)?;
        let place = |id: &Option<String>| id.clone().filter(|id| is_id(id)).ok_or(Refused::Body);
        Ok(Interaction::Click(Click {
            clicker: self.clicker(workspaces)?,
            act,
            shown: shown.ok_or(Refused::Body)?,
            at: Posted {
                conversation: place(&container.channel_id)?,
                message: place(&container.message_ts)?,
            },
            response_url: self.response_url.filter(|url| url.len() <= URL_BYTES_MAX),
            trigger_id: self.trigger_id.filter(|id| is_id(id)),
        }))
    }

    fn submitted(self, workspaces: &[String]) -> Result<Interaction, Refused> {
        let view = self.view.as_ref().ok_or(Refused::Body)?;
        let is_question = match view.callback_id.as_str() {
            words::COMMENT => false,
            words::QUESTION => true,
            _ => return Ok(Interaction::Ignored),
        };
        let Origin { shown, channel, message } =
            serde_json::from_str(&view.private_metadata).map_err(|_| Refused::Body)?;
        let (clicker, at) = (self.clicker(workspaces)?, Posted { conversation: channel, message });
        if is_question {
            let text = view.text(words::QUESTION);
            return Ok(Interaction::Question(Question { clicker, shown, at, text }));
        }
        Ok(Interaction::Comment(Comment {
            clicker,
            shown,
            at,
            text: view.text(words::COMMENT),
            reason: view.reason()?,
            for_agent: view.text(words::FOR_AGENT),
        }))
    }

    /// The membership that Slack states for the *user*. The place of the click does not show who clicked.
    fn clicker(&self, workspaces: &[String]) -> Result<Clicker, Refused> {
        let user = self.user.as_ref().filter(|user| is_id(&user.id)).ok_or(Refused::Body)?;
        let home = user.team_id.clone().filter(|id| is_id(id)).unwrap_or_default();
        let member = |workspace: &String| SlackMember {
            workspace: workspace.clone(),
            user: user.id.clone(),
        };
        let listed = |workspace: &&String| workspaces.contains(workspace);
        let team = self.team.as_ref().filter(|team| team.id == home);
        let organisation = team.and_then(|team| team.enterprise_id.as_ref());
        let by_home = Some(&home).filter(listed).map(member);
        let by_organisation = organisation.filter(listed).map(member);
        Ok(match (by_home, by_organisation) {
            (Some(member), organisation) => Clicker { member, organisation, is_foreign: false },
            (None, Some(member)) => Clicker { member, organisation: None, is_foreign: false },
            (None, None) => Clicker { member: member(&home), organisation: None, is_foreign: true },
        })
    }
}

fn act(action_id: &str) -> Option<Act> {
    match action_id {
        words::APPROVE => Some(Act::Approve),
        words::DENY => Some(Act::Deny),
        words::DENY_WITH_COMMENT => Some(Act::DenyWithComment),
        words::ASK => Some(Act::Ask),
        _ => None,
    }
}

/// True for ids, timestamps and triggers of Slack: short and printable.
fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
