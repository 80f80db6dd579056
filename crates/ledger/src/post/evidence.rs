//! Posts evidence: words and raw clicks, of which every member is payload, and that an approval was shown to somebody,
//! which is plain.

use super::{
    EVIDENCE, Log, Prepared,
    signed::{read, scope},
};
use crate::{
    canonical,
    entry::{Draft, Kind, Origin},
    event::Field,
    ident::Ident,
    journal::Subject,
    json::{self, Value},
    store::Changes,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The body of evidence that an approval was shown to a person, and its member `shown` in the entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownBody {
    /// What was shown to whom.
    pub shown: Shown,
}

/// A version of an approval that was shown to a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The opaque id of the person.
    pub to: Ident,
    /// The version of the approval: 1 or more.
    pub version: u64,
    /// Where.
    pub via: ShownVia,
}

/// Where an approval was shown. A card in a chat is not noted: nobody knows who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownVia {
    /// On its web page.
    Web,
    /// By `GET T/approvals/{id}` with the key of a person.
    Api,
}

impl Log {
    /// Posts the words of an administrative act.
    pub(super) fn post_words(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        subject: &Subject,
    ) -> Option<u64> {
        let draft = draft(message, subject, &json!({"approval_id": null}))?;
        Some(self.append(changes, draft, origin, None))
    }

    /// Posts evidence about an approval.
    pub(super) fn post_evidence(
        &mut self,
        changes: &mut Changes<'_>,
        origin: Origin,
        message: &Prepared,
        (subject, id): (&Subject, &Ident),
    ) -> Option<u64> {
        let is_shown = json::parse(&message.body).is_ok_and(|body| body.get("shown").is_some());
        let draft = if is_shown {
            shown_draft(message, subject, id)
        } else {
            draft(message, subject, &json!({"approval_id": id}))
        };
        draft.map(|draft| self.append_to_approval(changes, draft, origin, (id, EVIDENCE)))
    }
}

fn shown_draft(message: &Prepared, subject: &Subject, id: &Ident) -> Option<Draft> {
    let ShownBody { shown } = read(&message.body)?;
    let event = canonical::of(&json!({"approval_id": id, "shown": shown}));
    let salts = (&message.seed, scope(subject));
    let draft = || Draft::new(Kind::Evidence, None, event.clone(), &event, &[], salts);
    (shown.version > 0).then(draft)
}

/// Every member of the body is payload. The entry itself only says what the evidence belongs to.
fn draft(message: &Prepared, subject: &Subject, of: &serde_json::Value) -> Option<Draft> {
    let value = json::parse(&message.body).ok()?;
    let whole = canonical::to_vec(&value);
    let Value::Object(members) = value else { return None };
    let nameless = members.iter().any(|(name, _)| name.is_empty());
    if nameless || members.len() > crate::event::FIELDS_MAX {
        return None;
    }
    let fields: Vec<Field> = members
        .into_iter()
        .map(|(name, value)| Field { name: name.into_owned(), value: canonical::to_vec(&value) })
        .collect();
    let event = canonical::of(of);
    Some(Draft::new(Kind::Evidence, None, event, &whole, &fields, (&message.seed, scope(subject))))
}
