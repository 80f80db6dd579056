//! The stateless part of posting: makes one message into a draft of its entry. Pure, so it runs on every core.

use super::{
    Arrival,
    counts::{By, OfEvent},
    form::Form,
    rests::{Rests, returned},
};
use crate::{
    budget::Report,
    canonical,
    disclosure::{Scope, Seed},
    entry::{Draft, Kind, View},
    event::{self, Event, Field, PROBE, RESERVED_TOOL, Refused, Type},
    history::Reported,
    ident::Ident,
    journal::{BODY_BYTES_MAX, Headers, Subject, embedded},
    json::Value,
    log::merkle::Hash,
};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

/// A message that is ready to be posted.
pub struct Prepared {
    /// Subject of the message. `None` if it is not one of ours.
    pub subject: Option<Subject>,
    /// The named headers.
    pub headers: Headers,
    /// Body, as sent.
    pub body: Vec<u8>,
    /// Seed of its salts.
    pub seed: Seed,
    /// The event's `id`, if it could be read.
    pub id: Option<String>,
    pub(super) content: Content,
}

pub(super) enum Content {
    /// An event that may be posted.
    Event(Box<Accepted>),
    /// Refused by the message alone.
    Refused(Refused),
    /// A decision of ours, if its signature holds.
    Verdict(Box<Accepted>),
    /// On a signed subject: posting decides, with the journal keys in force there.
    Signed(Form),
    /// Already posted: the draft is now an entry.
    Posted,
}

pub(super) struct Accepted {
    pub(super) event: Event,
    pub(super) draft: Draft,
    pub(super) key: [u8; 32],
    pub(super) source: [u8; 32],
    /// True for a decision of ours.
    pub(super) ours: bool,
    /// What a decision of ours rests on. `None` if it is none, or has not the form of one.
    pub(super) rests: Option<Rests>,
    /// What it adds to the counts of its day.
    pub(super) counted: OfEvent,
    /// What an execution reports of a decision: for budgets, and its outcome.
    pub(super) report: Option<Report>,
    /// Of our report of a result: the mark of the result as it came.
    pub(super) returned: Option<String>,
    pub(super) reported: Option<Reported>,
}

impl Accepted {
    /// The plain part and the payload move into the draft; nobody else needs them.
    fn new((mut event, noted): (Event, Noted), producer: &Ident, seed: &Seed, ours: bool) -> Self {
        let Noted { rests, counted, report, reported, returned } = noted;
        let plain = std::mem::take(&mut event.plain);
        let fields = std::mem::take(&mut event.fields);
        let scope =
            Scope { producer: producer.as_str(), source: &event.source, id: &event.id, ours };
        let (key, source) = (event_key(scope), source_key(scope));
        let kind = if event.kind == Type::Decision { Kind::Decision } else { Kind::Event };
        let producer = Some(producer.clone());
        let draft = Draft::new(kind, producer, plain, &event.whole, &fields, (seed, scope));
        Self { event, draft, key, source, ours, rests, counted, report, returned, reported }
    }

    /// The event within its tenant.
    pub(super) fn scope(&self) -> Scope<'_> {
        let producer = self.draft.producer.as_ref().map_or("", Ident::as_str);
        let Event { source, id, .. } = &self.event;
        Scope { producer, source, id, ours: self.ours }
    }
}

/// What posting needs of an event's plain part, each as in [`Accepted`].
#[derive(Default)]
struct Noted {
    rests: Option<Rests>,
    counted: OfEvent,
    report: Option<Report>,
    returned: Option<String>,
    reported: Option<Reported>,
}

/// Reads the plain part of an event of this type.
fn note(kind: Type, plain: &Value<'_>, producer: &Ident, ours: bool) -> Noted {
    match kind {
        Type::Decision => {
            let action = plain.get("data").and_then(|data| data.get("tool")?.get("action"));
            let is_probe = action.and_then(Value::as_str) == Some(PROBE);
            let by = By::new(ours, producer.as_str() == RESERVED_TOOL, is_probe);
            let rests = if ours { Rests::read(plain, producer) } else { None };
            let counted = OfEvent::decision(plain, producer.as_str(), by);
            Noted { rests, counted, ..Noted::default() }
        }
        Type::Execution => Noted {
            rests: None,
            counted: OfEvent::execution(plain, ours),
            report: Report::read(plain),
            reported: Reported::read(plain),
            returned: plain.get("data").filter(|_| ours).and_then(returned),
        },
        Type::Heartbeat | Type::Other => Noted::default(),
    }
}

/// True for an entry that shows that the server decides (`proto/formats/decision.md`, Probe). It is about no call of an
/// agent.
pub fn is_probe(view: &View<'_>) -> bool {
    view.is_ours()
        && view.text(&["producer"]) == Some(RESERVED_TOOL)
        && view.text(&["event", "data", "tool", "action"]) == Some(PROBE)
}

impl Prepared {
    /// Reads a message. Costs about 10 µs for an event of 1 KiB.
    pub fn new(subject: Option<Subject>, headers: Headers, body: Vec<u8>, seed: Seed) -> Self {
        let content = match &subject {
            None => Content::Refused(Refused::Subject),
            Some(Subject::Decisions(producer)) if event::is_reserved_tool(producer.as_str()) => {
                Content::Refused(Refused::ReservedTool)
            }
            Some(Subject::Decisions(producer)) => match read(&headers, &body, producer) {
                Err(refused) => Content::Refused(refused),
                Ok(read) => Content::Event(Box::new(Accepted::new(read, producer, &seed, false))),
            },
            Some(Subject::Verdicts { producer, .. }) => {
                match event::parse_ours(&body, |kind, plain| note(kind, plain, producer, true)) {
                    // Whether somebody else wrote it is more important than what is wrong with it.
                    None => Content::Signed(Form::Other),
                    Some(read) => {
                        Content::Verdict(Box::new(Accepted::new(read, producer, &seed, true)))
                    }
                }
            }
            Some(Subject::Approvals(id)) => Content::Signed(Form::approval(id, &body, &seed)),
            Some(Subject::Evidence(name)) => Content::Signed(Form::evidence(name, &body, &seed)),
            Some(Subject::System(_)) => Content::Signed(Form::Other),
        };
        let id = match &content {
            Content::Event(accepted) | Content::Verdict(accepted) => {
                Some(accepted.event.id.clone())
            }
            // A message that its headers do not mark as an event may contain one. That event's id is not the
            // message's id.
            Content::Refused(refused) if subject.is_some() && !refused.is_told() => {
                event::legible_id(&body)
            }
            _ => None,
        };
        Self { subject, headers, body, seed, id, content }
    }

    /// The message to append to the embedded journal, after `expected`.
    pub fn to_append(&self, expected: Option<u64>) -> embedded::Draft<'_> {
        let Self { subject, headers, body, .. } = self;
        embedded::Draft { subject: subject.as_ref(), headers, body, expected }
    }

    /// True if `entry` is the one that this event gives, and not one about its number or about a conflict.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn gave(&self, entry: &[u8]) -> bool {
        match &self.content {
            Content::Event(accepted) | Content::Verdict(accepted) => accepted.draft.begins(entry),
            Content::Refused(_) | Content::Signed(_) | Content::Posted => false,
        }
    }

    /// The draft, if the message is an acceptable event.
    #[cfg(test)]
    pub(crate) fn draft(&self) -> Option<&Draft> {
        match &self.content {
            Content::Event(accepted) => Some(&accepted.draft),
            _ => None,
        }
    }

    /// The entry that records a refusal: code and size are plain, the bytes (at most 256 KiB of them) are
    /// erasable.
    pub(super) fn rejected(&self, refused: &Refused) -> Draft {
        let producer = match &self.subject {
            Some(Subject::Decisions(producer)) => Some(producer.clone()),
            _ => None,
        };
        let scope = Scope {
            producer: producer.as_ref().map_or("", |p| p.as_str()),
            source: "",
            id: "",
            ours: false,
        };
        let raw = &self.body[..self.body.len().min(BODY_BYTES_MAX)];
        let value = format!("\"{}\"", BASE64URL_NOPAD.encode(raw)).into_bytes();
        let event = format!(r#"{{"reason":"{}","size":{}}}"#, refused.code(), self.body.len());
        let fields = [Field { name: "raw".into(), value: value.clone() }];
        let salts = (&self.seed, scope);
        Draft::new(Kind::Rejected, producer.clone(), event.into_bytes(), &value, &fields, salts)
    }
}

/// Reads the event in a message, unless the headers say that it is none.
fn read(headers: &Headers, body: &[u8], producer: &Ident) -> Result<(Event, Noted), Refused> {
    let told = headers.refused.as_deref().and_then(Refused::told);
    let parse = || event::parse_noting(body, |kind, plain| note(kind, plain, producer, false));
    told.map_or_else(parse, Err)
}

/// `SHA-256(JCS[producer, source, id])`; `SHA-256(JCS["ours", producer, source, id])` for a decision of ours.
pub fn event_key(scope: Scope<'_>) -> [u8; 32] {
    digest_of_texts(scope.texts())
}

/// `SHA-256(JCS[producer, source])`; `SHA-256(JCS["ours", producer, source])` for decisions of ours.
pub fn source_key(scope: Scope<'_>) -> [u8; 32] {
    digest_of_texts(scope.source_texts())
}

fn digest_of_texts<'t>(texts: impl Iterator<Item = &'t str>) -> [u8; 32] {
    let mut out = Vec::with_capacity(128);
    for (at, text) in texts.enumerate() {
        out.push(if at == 0 { b'[' } else { b',' });
        canonical::write_string(text, &mut out);
    }
    out.push(b']');
    Sha256::digest(&out).into()
}

/// Digest that identifies a message when it is read again: sequence, time, subject, named headers and body.
pub fn tail_digest(
    arrival: Arrival,
    subject: Option<&Subject>,
    headers: &Headers,
    body: &[u8],
) -> Hash {
    let mut digest = Sha256::new();
    let subject = subject.map(ToString::to_string);
    digest.update(arrival.seq.to_be_bytes());
    digest.update(arrival.time.0.to_be_bytes());
    for part in [&subject, &headers.salt, &headers.signature, &headers.receipt_to, &headers.refused]
    {
        let part = part.as_deref().unwrap_or("");
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.update(body);
    Hash(digest.finalize().into())
}
