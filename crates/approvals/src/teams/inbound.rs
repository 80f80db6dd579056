//! Activities that Teams sends. Unknown parts are ignored; only clicks and refreshes matter.

use decider::approval::{Choice, DenyReason};
use ledger::{ident::Ident, time::Nanos};
use serde::Deserialize;

/// Largest body of an activity, in bytes.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Longest text of a person, in characters. The card's fields allow no more.
pub const TEXT_CHARS_MAX: usize = 1000;
/// Name of the invoke that a button of a card makes.
const CARD_ACTION: &str = "adaptiveCard/action";

/// Verbs of buttons that record something.
pub(super) mod verb {
    pub(in crate::teams) const APPROVE: &str = "approve";
    pub(in crate::teams) const DENY: &str = "deny";
    pub(in crate::teams) const ASK: &str = "ask";
}

/// Ids of inputs. All inputs of a card have different ones, so a denial's comment has its own.
pub(super) mod input {
    pub(in crate::teams) const COMMENT: &str = "comment";
    pub(in crate::teams) const DENY_COMMENT: &str = "deny_comment";
    pub(in crate::teams) const REASON: &str = "reason";
    pub(in crate::teams) const FOR_AGENT: &str = "for_agent";
    pub(in crate::teams) const QUESTION: &str = "question";
}

/// The parts of a Bot Framework activity that are read here. Each may be absent; others are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Activity {
    /// `invoke`, `message`, `conversationUpdate`, …
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Name of an invoke.
    pub name: Option<String>,
    /// `msteams`
    pub channel_id: Option<String>,
    /// URL to which answers would go.
    pub service_url: Option<String>,
    /// The account that acted.
    pub from: Option<Account>,
    /// The conversation of the activity.
    pub conversation: Option<Conversation>,
    /// Data that Teams adds.
    pub channel_data: Option<ChannelData>,
    /// Id of the message that has the card.
    pub reply_to_id: Option<String>,
    /// Data of the button.
    pub value: Option<serde_json::Value>,
}

/// A member of a conversation.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Account {
    /// `29:…`, known to this bot only.
    pub id: Option<String>,
    /// Object id in the directory.
    pub aad_object_id: Option<String>,
    /// Directory of the member, if Teams names it.
    pub tenant_id: Option<String>,
}

/// A chat or channel.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conversation {
    /// `19:…@thread.tacv2;messageid=…`, `a:…`
    pub id: Option<String>,
    /// Directory that it belongs to.
    pub tenant_id: Option<String>,
}

/// Data that Teams adds to an activity.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChannelData {
    /// Directory that the activity comes from.
    pub tenant: Option<TenantInfo>,
}

/// A directory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TenantInfo {
    /// Its id.
    pub id: Option<String>,
}

/// The person who clicked, as the directory knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clicker {
    /// Directory id, lower case.
    pub directory: String,
    /// Object id in it, lower case.
    pub object: String,
    /// `29:…`: the member whose view of the card may be refreshed.
    pub member: Option<String>,
}

/// A card that a person has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Approval that the button names.
    pub approval: Ident,
    /// Conversation id, as Teams gives it.
    pub conversation: String,
    /// Activity id of the card.
    pub message: String,
    /// The person.
    pub by: Clicker,
}

/// A click on Approve or Deny.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click {
    /// The card and the person.
    pub shown: Shown,
    /// The person's choice.
    pub decision: Choice,
    /// The call digest that the card showed.
    pub digest: String,
    /// Version that the card showed.
    pub version: u64,
    /// When the card was made.
    pub shown_at: Nanos,
    /// The person's comment.
    pub comment: Option<String>,
    /// Why the person denies.
    pub reason: Option<DenyReason>,
    /// What the agent should do instead.
    pub for_agent: Option<String>,
}

/// A question about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The card and the person.
    pub shown: Shown,
    /// The call digest that the card showed.
    pub digest: String,
    /// The question. `None` if nothing was typed.
    pub text: Option<String>,
}

/// What an activity asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Record a review.
    Review(Click),
    /// Record a question.
    Ask(Question),
    /// Show the card as it is now. Never a review.
    Refresh(Shown),
    /// Nothing: messages, members that join and leave, other bots' activities.
    Nothing,
    /// A button that we never made.
    Unknown,
}

impl Activity {
    /// True if the activity and its account belong to this directory. Every directory that it names must be
    /// this one, and it must name at least one.
    pub fn is_from(&self, directory: &str) -> bool {
        let channel = self.channel_data.as_ref().and_then(|data| data.tenant.as_ref()?.id.as_ref());
        let conversation = self.conversation.as_ref().and_then(|place| place.tenant_id.as_ref());
        let member = self.from.as_ref().and_then(|from| from.tenant_id.as_ref());
        let same = |id: &String| id.eq_ignore_ascii_case(directory);
        (channel.is_some() || conversation.is_some())
            && [channel, conversation, member].into_iter().flatten().all(same)
    }

    /// Conversation id, for the log: an admin needs it for the channels table.
    pub fn conversation_id(&self) -> Option<&str> {
        self.conversation.as_ref()?.id.as_deref()
    }

    /// What the activity asks for. The caller has checked the directory.
    pub fn wanted(&self, directory: &str) -> Wanted {
        if self.kind.as_deref() != Some("invoke") || self.name.as_deref() != Some(CARD_ACTION) {
            return Wanted::Nothing;
        }
        self.action(directory).unwrap_or(Wanted::Unknown)
    }

    fn action(&self, directory: &str) -> Option<Wanted> {
        let value: ActionValue = serde_json::from_value(self.value.clone()?).ok()?;
        let Action { verb, data } = value.action;
        let from = self.from.as_ref()?;
        let by = Clicker {
            directory: directory.to_ascii_lowercase(),
            object: from.aad_object_id.as_ref().filter(|id| is_guid(id))?.to_ascii_lowercase(),
            member: from.id.clone(),
        };
        let shown = Shown {
            approval: Ident::new(&data.approval).ok()?,
            conversation: self.conversation_id()?.to_owned(),
            message: self.reply_to_id.clone()?,
            by,
        };
        let decision = match verb.as_str() {
            "refresh" => return Some(Wanted::Refresh(shown)),
            // An automatic request of a client is never a review, whatever it says.
            _ if value.trigger.as_deref() == Some("automatic") => return None,
            verb::ASK => {
                let (digest, text) = (data.digest?, typed(data.question));
                return Some(Wanted::Ask(Question { shown, digest, text }));
            }
            verb::APPROVE => Choice::Approve,
            verb::DENY => Choice::Deny,
            _ => return None,
        };
        let mut click = Click {
            shown,
            decision,
            digest: data.digest?,
            version: data.version?,
            shown_at: data.shown_at?,
            comment: typed(data.comment),
            reason: None,
            for_agent: None,
        };
        if decision == Choice::Deny {
            // Earlier cards had one field for both comments.
            click.comment = typed(data.deny_comment).or(click.comment);
            click.reason = reason(data.reason.as_deref()).ok()?;
            click.for_agent = typed(data.for_agent);
        }
        Some(Wanted::Review(click))
    }
}

/// What was typed into a field, without blanks at its ends. `None` if that is nothing.
fn typed(text: Option<String>) -> Option<String> {
    let text: String = text?.trim().chars().take(TEXT_CHARS_MAX).collect();
    Some(text).filter(|text| !text.is_empty())
}

/// A code that is no reason: the log would keep it for ever.
struct NoReason;

/// The reason that was chosen, if one was.
fn reason(code: Option<&str>) -> Result<Option<DenyReason>, NoReason> {
    let known = |code: &str| DenyReason::ALL.into_iter().find(|reason| reason.code() == code);
    let chosen = code.filter(|code| !code.is_empty());
    chosen.map(|code| known(code).ok_or(NoReason)).transpose()
}

/// `value` of a click.
#[derive(Deserialize)]
struct ActionValue {
    action: Action,
    #[serde(default)]
    trigger: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    verb: String,
    data: Data,
}

/// What [`super::card`] puts into a button, with the inputs beside it.
#[derive(Deserialize)]
struct Data {
    approval: String,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    shown_at: Option<Nanos>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    deny_comment: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    for_agent: Option<String>,
    #[serde(default)]
    question: Option<String>,
}

/// True if the text is a GUID, as Microsoft writes object and directory ids.
pub(super) fn is_guid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// True if a click on `message` in `conversation` is on the card that was posted.
///
/// Teams names a thread of a channel `<channel>;messageid=<its first message>`, but not always when the thread
/// is made.
pub fn is_card(posted: &crate::cards::Posted, conversation: &str, message: &str) -> bool {
    fn channel(id: &str) -> &str {
        id.split_once(";messageid=").map_or(id, |(channel, _)| channel)
    }
    !message.is_empty()
        && posted.message == message
        && channel(&posted.conversation) == channel(conversation)
}

#[cfg(test)]
mod tests;
