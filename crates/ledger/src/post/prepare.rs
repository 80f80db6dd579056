//! The stateless part of posting: makes one message into a draft of its entry. Pure, so it runs on every core.

use super::{
    counts::{By, OfEvent},
    in_force::lists_of,
};
use crate::{
    canonical,
    disclosure::{Scope, Seed},
    entry::{Draft, Kind, View},
    event::{self, Event, Field, RESERVED_TOOL, Refused, Type},
    ident::Ident,
    journal::{BODY_BYTES_MAX, Headers, Subject},
    json::{self, Value},
    time::Nanos,
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
    Signed,
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
}

impl Accepted {
    /// The plain part and the payload move into the draft; nobody else needs them.
    fn new(mut event: Event, producer: &Ident, seed: &Seed, ours: bool) -> Self {
        let plain = std::mem::take(&mut event.plain);
        let fields = std::mem::take(&mut event.fields);
        let scope =
            Scope { producer: producer.as_str(), source: &event.source, id: &event.id, ours };
        let (key, source) = (event_key(scope), source_key(scope));
        let tool = event.tool.as_deref().unwrap_or_default();
        let rests = if ours { Rests::read(&plain, producer, tool) } else { None };
        let counted = match (event.kind, json::parse_kept(&plain)) {
            (Type::Decision, Ok(plain)) => {
                let by = By::new(ours, producer.as_str() == RESERVED_TOOL);
                OfEvent::decision(&plain, producer.as_str(), by)
            }
            (Type::Execution, Ok(plain)) => OfEvent::execution(&plain),
            _ => OfEvent::default(),
        };
        let kind = if event.kind == Type::Decision { Kind::Decision } else { Kind::Event };
        let producer = Some(producer.clone());
        let draft = Draft::new(kind, producer, plain, &event.whole, &fields, (seed, scope));
        Self { event, draft, key, source, ours, rests, counted }
    }

    /// The event within its tenant.
    pub(super) fn scope(&self) -> Scope<'_> {
        let producer = self.draft.producer.as_ref().map_or("", Ident::as_str);
        let Event { source, id, .. } = &self.event;
        Scope { producer, source, id, ours: self.ours }
    }
}

/// What posting compares of a decision.
pub(super) struct Rests {
    pub(super) bundle: Option<String>,
    /// The versions of lists, by name.
    pub(super) lists: Vec<(String, u64)>,
    pub(super) at: Nanos,
    /// True if no bundle gave it: a denial after too many tries, or a question to people about bundles themselves.
    pub(super) of_no_bundle: bool,
    /// The call's digest. `None` if it is no text.
    call: Option<String>,
    /// Its place in a server's spool, if it was told before it is posted: run and number.
    pub(super) spool: Option<(String, u64)>,
}

impl Rests {
    /// `plain`: the plain part of an event by `producer` about `tool`. `None` if a member is missing that every decision
    /// of ours has, or if a tool of ours is not asked for by us.
    pub(super) fn read(plain: &[u8], producer: &Ident, tool: &str) -> Option<Self> {
        let plain = json::parse_kept(plain).ok()?;
        let data = plain.get("data")?;
        check_form(data, producer.as_str(), tool).ok()?;
        let text = |value: Option<&Value<'_>>| value.and_then(Value::as_str).map(str::to_owned);
        let at = Nanos::parse(plain.get("time")?.as_str()?)?;
        let of_no_bundle = event::is_reserved_tool(tool) || is_contended(data);
        let bundle = text(data.get("bundle"));
        let call = text(data.get("call").and_then(|call| call.get("digest")));
        let spool = data.get("spool").and_then(|place| {
            Some((text(place.get("id"))?, place.get("number").and_then(Value::as_u64)?))
        });
        let lists = lists_of(data).map(|(name, version)| (name.to_owned(), version)).collect();
        Some(Self { bundle, lists, at, of_no_bundle, call, spool })
    }

    /// True if `view` is about the same call: same nonce, agent, tool and parameters.
    pub(super) fn is_same_call(&self, view: &View<'_>) -> bool {
        let call = self.call.as_deref();
        call.is_some() && view.text(&["event", "data", "call", "digest"]) == call
    }
}

/// Checks what every decision of ours has, and that the server asks about its own tools and nobody else does. `data`:
/// its member `data`.
pub fn check_form(data: &Value<'_>, producer: &str, tool: &str) -> Result<(), &'static str> {
    let by_us = producer == RESERVED_TOOL;
    if event::is_reserved_tool(tool) != by_us || (!by_us && data.get("activates").is_some()) {
        return Err("only the server asks about its own tools, and about nothing else");
    }
    if by_us && data.get("verdict").and_then(Value::as_str) != Some("approval_needed") {
        return Err("the server's own question allows nothing: people answer it");
    }
    let allows = data.get("verdict").and_then(Value::as_str) == Some("allow");
    if data.get("spool").is_some() && !allows {
        return Err("only an allow is told before it is recorded");
    }
    let read = data.get("as_of").and_then(Value::as_u64);
    let call = data.get("call").and_then(|call| call.get("digest"));
    if read.is_none() || call.is_none() {
        return Err("not a decision as this server makes them");
    }
    Ok(())
}

/// True for a denial because what the decision rested on changed again and again. It rests on nothing.
pub fn is_contended(data: &Value<'_>) -> bool {
    let code = data.get("reason").and_then(|reason| reason.get("code"));
    let says = |value: Option<&Value<'_>>, word| value.and_then(Value::as_str) == Some(word);
    says(code, "contended") && says(data.get("verdict"), "deny") && data.get("bundle").is_none()
}

impl Prepared {
    /// Reads a message. Costs about 10 µs for an event of 1 KiB.
    pub fn new(subject: Option<Subject>, headers: Headers, body: Vec<u8>, seed: Seed) -> Self {
        let content = match &subject {
            None => Content::Refused(Refused::Subject),
            Some(Subject::Decisions(producer)) if event::is_reserved_tool(producer.as_str()) => {
                Content::Refused(Refused::ReservedTool)
            }
            Some(Subject::Decisions(producer)) => match read(&headers, &body) {
                Err(refused) => Content::Refused(refused),
                Ok(event) => Content::Event(Box::new(Accepted::new(event, producer, &seed, false))),
            },
            Some(Subject::Verdicts { producer, .. }) => match event::parse_ours(&body) {
                // Whether somebody else wrote it is more important than what is wrong with it.
                None => Content::Signed,
                Some(event) => {
                    Content::Verdict(Box::new(Accepted::new(event, producer, &seed, true)))
                }
            },
            Some(_) => Content::Signed,
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

    /// True if `entry` is the one that this event gives, and not one about its number or about a conflict.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn gave(&self, entry: &[u8]) -> bool {
        match &self.content {
            Content::Event(accepted) | Content::Verdict(accepted) => accepted.draft.begins(entry),
            Content::Refused(_) | Content::Signed | Content::Posted => false,
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
fn read(headers: &Headers, body: &[u8]) -> Result<Event, Refused> {
    let told = headers.refused.as_deref().and_then(Refused::told);
    told.map_or_else(|| event::parse(body), Err)
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
