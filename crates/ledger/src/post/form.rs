//! What a signed message says, as far as the message alone tells: read on every core, before the one thread posts it.

use super::counts;
use crate::{
    budget::Turn,
    canonical,
    disclosure::{Scope, Seed},
    entry::{Draft, Kind},
    event::Field,
    history::{self, outcome_of},
    ident::Ident,
    json::{self, Value},
    system::{self, LeafAt, policy::Activates},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Name on `evidence.` for reasons of administrative acts. No approval has this name.
pub const SYSTEM: &str = "system";
/// Value in the family `approvals` of a `not_opened` entry.
pub const NOT_OPENED: u8 = b'n';
/// Why a decision with the verdict `approval_needed` opens nothing (`proto/errors.md`).
pub const NOT_OPENED_REASONS: [&str; 5] =
    ["no_call", "no_digest", "digest_mismatch", "too_old", "no_rule"];

/// The body of a message on `approvals.<id>` that says that no approval was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotOpenedBody {
    /// The approval that was not opened.
    pub approval_id: Ident,
    /// The decision.
    pub decision: LeafAt,
    /// One of [`NOT_OPENED_REASONS`].
    pub not_opened: String,
}

/// Reads the body of a message that says that no approval was opened.
fn read_not_opened(body: &[u8]) -> Option<NotOpenedBody> {
    let body: NotOpenedBody = serde_json::from_slice(body).ok()?;
    NOT_OPENED_REASONS.contains(&body.not_opened.as_str()).then_some(body)
}

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

/// Reads the body of a message on `evidence.<name>`.
fn read_evidence(name: &Ident, bytes: &[u8], seed: &Seed) -> Option<Draft> {
    let body = json::parse(bytes).ok()?;
    let salts = (seed, scope("evidence"));
    if name.as_str() == SYSTEM {
        return draft(body, salts, &json!({"approval_id": null}));
    }
    match body.get("shown") {
        Some(_) => shown_draft(bytes, salts, name),
        None => draft(body, salts, &json!({"approval_id": name})),
    }
}

/// What a message on a signed subject says, as far as the message alone tells: posting adds what depends on its place.
pub(super) enum Form {
    /// What happened to an approval.
    Approval(Box<OfApproval>),
    /// Evidence, or the words of an act.
    Evidence(Box<Draft>),
    /// It is read when it is posted, because it is rare; or it has not the form of its subject.
    Other,
}

impl Form {
    /// Reads a message on `approvals.<id>`.
    pub(super) fn approval(id: &Ident, body: &[u8], seed: &Seed) -> Self {
        read_approval(id, body, seed).map_or(Self::Other, Self::Approval)
    }

    /// Reads a message on `evidence.<name>`.
    pub(super) fn evidence(name: &Ident, body: &[u8], seed: &Seed) -> Self {
        let draft = read_evidence(name, body, seed);
        draft.map_or(Self::Other, |draft| Self::Evidence(Box::new(draft)))
    }
}

/// The source keeps the salts of one seed apart. A signed message has a random seed of its own.
pub(super) fn scope(source: &'static str) -> Scope<'static> {
    Scope { producer: "", source, id: "", ours: false }
}

/// What a message on `approvals.<id>` says, read from the message alone.
pub(super) struct OfApproval {
    pub(super) draft: Draft,
    pub(super) says: Says,
}

pub(super) enum Says {
    /// Something happened to the approval.
    Happened {
        /// The bundle that its redemption puts in force.
        activates: Option<Activates>,
        /// True if it is redeemed.
        redeems: bool,
        /// The decision that the message names.
        decision: Option<LeafAt>,
        /// What its events add to the counts.
        counted: counts::Facts,
        /// What it means for what the decision reserved.
        turn: Option<Turn>,
        /// The outcome of the call, if it reports one.
        outcome: Option<history::Outcome>,
    },
    /// It was not opened.
    NotOpened(NotOpenedBody),
}

/// Reads a body. It must name the approval of its subject, because the entry does not hold the subject.
fn read_approval(id: &Ident, bytes: &[u8], seed: &Seed) -> Option<Box<OfApproval>> {
    let said = json::parse(bytes).ok()?;
    if said.get("approval_id").and_then(Value::as_str) != Some(id.as_str()) {
        return None;
    }
    let (kind, says) = if said.get("not_opened").is_some() {
        (Kind::NotOpened, Says::NotOpened(read_not_opened(bytes)?))
    } else {
        let activates = activates(&said).transpose().ok()?;
        let (redeems, decision) = (redeems(&said), decision(&said));
        let (counted, turn) = (counts::of_approval(&said), Turn::read(&said));
        let outcome = outcome_of(&said);
        (Kind::Approval, Says::Happened { activates, redeems, decision, counted, turn, outcome })
    };
    let draft = plain_draft(kind, &said, (seed, scope("approvals")))?;
    Some(Box::new(OfApproval { draft, says }))
}

/// Reads the member `activates` of an approval's message. `None`: it has none. `Err`: it is not of its form, or nothing
/// was redeemed.
fn activates(body: &Value<'_>) -> Option<Result<Activates, ()>> {
    let given = body.get("activates")?;
    let read = serde_json::from_slice(&canonical::to_vec(given)).ok().filter(|_| redeems(body));
    Some(read.ok_or(()))
}

/// True if an approval's message redeems it.
pub(crate) fn redeems(body: &Value<'_>) -> bool {
    let redeems = |event: &Value<'_>| event.get("type").and_then(Value::as_str) == Some("redeemed");
    let events = body.get("events").and_then(Value::as_array);
    events.is_some_and(|events| events.iter().any(redeems))
}

/// The decision that a redemption names.
fn decision(body: &Value<'_>) -> Option<LeafAt> {
    serde_json::from_slice(&canonical::to_vec(body.get("decision")?)).ok()
}

fn shown_draft(bytes: &[u8], salts: (&Seed, Scope<'_>), id: &Ident) -> Option<Draft> {
    let ShownBody { shown } = serde_json::from_slice(bytes).ok()?;
    let event = canonical::of(&json!({"approval_id": id, "shown": shown}));
    let draft = || Draft::new(Kind::Evidence, None, event.clone(), &event, &[], salts);
    (shown.version > 0).then(draft)
}

/// Every member of the body is payload. The entry itself only says what the evidence belongs to.
fn draft(body: Value<'_>, salts: (&Seed, Scope<'_>), of: &serde_json::Value) -> Option<Draft> {
    let whole = canonical::to_vec(&body);
    let Value::Object(members) = body else { return None };
    let nameless = members.iter().any(|(name, _)| name.is_empty());
    if nameless || members.len() > crate::event::FIELDS_MAX {
        return None;
    }
    let fields: Vec<Field> = members
        .into_iter()
        .map(|(name, value)| Field { name: name.into_owned(), value: canonical::to_vec(&value) })
        .collect();
    let event = canonical::of(of);
    Some(Draft::new(Kind::Evidence, None, event, &whole, &fields, salts))
}

/// The entry's `event` is the body itself. `None` if the body can't be one.
pub(super) fn plain_draft(
    kind: Kind,
    body: &Value<'_>,
    salts: (&Seed, Scope<'_>),
) -> Option<Draft> {
    let event = canonical::to_vec(body);
    let fits = matches!(body, Value::Object(_)) && event.len() <= system::BODY_BYTES_MAX;
    fits.then(|| Draft::new(kind, None, event.clone(), &event, &[], salts))
}
