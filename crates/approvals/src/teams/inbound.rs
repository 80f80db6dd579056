//! Activities that Teams sends. Unknown parts are ignored; only clicks and refreshes matter.

use decider::approval::Choice;
use ledger::{ident::Ident, time::Nanos};
use serde::Deserialize;

/// Largest body of an activity, in bytes.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Longest comment, in characters. The card's field allows no more.
pub const COMMENT_CHARS_MAX: usize = 500;
/// Name of the invoke that a button of a card makes.
const CARD_ACTION: &str = "adaptiveCard/action";

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
}

/// What an activity asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Record a review.
    Review(Click),
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
            "approve" => Choice::Approve,
            "deny" => Choice::Deny,
            _ => return None,
        };
        let comment = data.comment.map(|text| text.trim().to_owned()).filter(|t| !t.is_empty());
        Some(Wanted::Review(Click {
            shown,
            decision,
            digest: data.digest?,
            version: data.version?,
            shown_at: data.shown_at?,
            comment: comment.map(|text| text.chars().take(COMMENT_CHARS_MAX).collect()),
        }))
    }
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

/// What [`super::card`] puts into a button, with the comment field.
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
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const DIRECTORY: &str = "11111111-2222-3333-4444-555555555555";

    fn click() -> Value {
        json!({
            "type": "invoke", "name": "adaptiveCard/action", "channelId": "msteams",
            "from": {"id": "29:abc", "aadObjectId": "AAAAAAAA-0000-0000-0000-000000000001", "name": "Kim"},
            "conversation": {"id": "19:x@thread.tacv2;messageid=17", "tenantId": DIRECTORY, "isGroup": true},
            "channelData": {"tenant": {"id": DIRECTORY}}, "replyToId": "17",
            "value": {"trigger": "manual", "action": {"type": "Action.Execute", "verb": "approve", "data": {
                "approval": "apr-1", "digest": "abcdefgh", "version": 1,
                "shown_at": "2026-11-20T05:48:00.000000000Z", "comment": " ok "}}}
        })
    }

    fn wanted(change: impl FnOnce(&mut Value)) -> Wanted {
        let mut value = click();
        change(&mut value);
        serde_json::from_value::<Activity>(value).unwrap().wanted(DIRECTORY)
    }

    #[test]
    fn clicks_and_refreshes() {
        let Wanted::Review(made) = wanted(|_| {}) else { panic!("not a review") };
        assert_eq!((made.decision, made.version), (Choice::Approve, 1));
        assert_eq!(made.comment.as_deref(), Some("ok"));
        assert_eq!(made.shown.by.object, "aaaaaaaa-0000-0000-0000-000000000001");
        assert!(matches!(
            wanted(|v| v["value"]["action"]["verb"] = "refresh".into()),
            Wanted::Refresh(_)
        ));
    }

    fn check(change: impl FnOnce(&mut Value), expected: &Wanted) {
        assert_eq!(&wanted(change), expected);
    }

    #[test]
    fn what_a_client_does_by_itself_is_never_a_review() {
        check(|v| v["value"]["trigger"] = "automatic".into(), &Wanted::Unknown);
    }

    #[test]
    fn everything_else_is_nothing_or_unknown() {
        check(|v| v["type"] = "message".into(), &Wanted::Nothing);
        check(|v| v["name"] = "composeExtension/query".into(), &Wanted::Nothing);
        check(|v| v["value"] = Value::Null, &Wanted::Unknown);
        check(|v| v["value"]["action"]["verb"] = "erase".into(), &Wanted::Unknown);
        check(|v| v["value"]["action"]["data"]["digest"] = Value::Null, &Wanted::Unknown);
        check(|v| v["value"]["action"]["data"]["approval"] = "../x".into(), &Wanted::Unknown);
        check(|v| v["from"]["aadObjectId"] = "kim".into(), &Wanted::Unknown);
        check(|v| v["from"] = Value::Null, &Wanted::Unknown);
        check(|v| v["replyToId"] = Value::Null, &Wanted::Unknown);
    }

    #[test]
    fn directories_must_agree() {
        let from = |change: fn(&mut Value)| {
            let mut value = click();
            change(&mut value);
            serde_json::from_value::<Activity>(value).unwrap().is_from(DIRECTORY)
        };
        assert!(from(|_| {}));
        assert!(from(|v| v["channelData"] = Value::Null));
        assert!(!from(|v| v["channelData"]["tenant"]["id"] = "other".into()));
        assert!(!from(|v| v["conversation"]["tenantId"] = "other".into()));
        assert!(!from(|v| v["from"]["tenantId"] = "other".into()));
        assert!(!from(|v| {
            v["channelData"] = Value::Null;
            v["conversation"]["tenantId"] = Value::Null;
        }));
    }

    #[test]
    fn only_cards_we_posted() {
        let posted = crate::cards::Posted {
            conversation: "19:x@thread.tacv2;messageid=17".into(),
            message: "17".into(),
        };
        assert!(is_card(&posted, "19:x@thread.tacv2;messageid=17", "17"));
        assert!(is_card(&posted, "19:x@thread.tacv2", "17"));
        assert!(!is_card(&posted, "19:y@thread.tacv2;messageid=17", "17"));
        assert!(!is_card(&posted, "19:x@thread.tacv2;messageid=17", "18"));
    }
}
