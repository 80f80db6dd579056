//! The stateless part of posting: makes one message into a draft of its entry. Pure, so it runs on every core.

use super::{
    Arrival,
    counts::{By, OfEvent},
    form::Form,
    freezes::{check_freeze, freezes, frozen_by},
    in_force::lists_of,
};
use crate::{
    budget::{Asking, Report},
    canonical,
    disclosure::{Scope, Seed},
    entry::{Draft, Kind, View},
    event::{self, Event, Field, PROBE, RESERVED_TOOL, Refused, Type, Verdict},
    ident::Ident,
    journal::{BODY_BYTES_MAX, Headers, Subject, embedded},
    json::Value,
    log::merkle::Hash,
    system::freeze::{Acting, FreezeScope},
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
    /// What an execution reports of a decision.
    pub(super) report: Option<Report>,
    /// Of our report of a result: the mark of the result as it came.
    pub(super) returned: Option<String>,
}

impl Accepted {
    /// The plain part and the payload move into the draft; nobody else needs them.
    fn new((mut event, noted): (Event, Noted), producer: &Ident, seed: &Seed, ours: bool) -> Self {
        let Noted { rests, counted, report, returned } = noted;
        let plain = std::mem::take(&mut event.plain);
        let fields = std::mem::take(&mut event.fields);
        let scope =
            Scope { producer: producer.as_str(), source: &event.source, id: &event.id, ours };
        let (key, source) = (event_key(scope), source_key(scope));
        let kind = if event.kind == Type::Decision { Kind::Decision } else { Kind::Event };
        let producer = Some(producer.clone());
        let draft = Draft::new(kind, producer, plain, &event.whole, &fields, (seed, scope));
        Self { event, draft, key, source, ours, rests, counted, report, returned }
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
        Type::Execution => {
            let counted = OfEvent::execution(plain, ours);
            let returned = plain.get("data").filter(|_| ours).and_then(returned);
            Noted { counted, report: Report::read(plain), returned, rests: None }
        }
        Type::Heartbeat | Type::Other => Noted::default(),
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
    /// The mark of the call as it came, if clauses may redact it.
    received: Option<String>,
    /// Its place in a server's spool, if it was told before it is posted: run and number.
    pub(super) spool: Option<(String, u64)>,
    /// Who acts.
    pub(super) acting: Acting,
    /// True if it is no denial.
    pub(super) permits: bool,
    /// True if people decide about the call.
    pub(super) asks_people: bool,
    /// The freeze that is the reason of a denial.
    pub(super) frozen_by: Option<u64>,
    /// What its clause freezes.
    pub(super) freezes: Option<FreezeScope>,
    /// What it asks of budgets.
    pub(super) asking: Option<Asking>,
}

impl Rests {
    /// `plain`: the plain part of an event by `producer`. `None` if a member is missing that every decision of ours has,
    /// or if a tool of ours is not asked for by us.
    fn read(plain: &Value<'_>, producer: &Ident) -> Option<Self> {
        let tool = event::tool_of(plain).unwrap_or_default();
        let data = plain.get("data")?;
        check_form(data, producer.as_str(), tool).ok()?;
        let text = |value: Option<&Value<'_>>| value.and_then(Value::as_str).map(str::to_owned);
        let at = Nanos::parse(plain.get("time")?.as_str()?)?;
        let frozen_by = frozen_by(data);
        let of_no_bundle =
            event::is_reserved_tool(tool) || is_contended(data) || frozen_by.is_some();
        let bundle = text(data.get("bundle"));
        let call = text(data.get("call").and_then(|call| call.get("digest")));
        let received = text(data.get("received"));
        let spool = data.get("spool").and_then(|place| {
            Some((text(place.get("id"))?, place.get("number").and_then(Value::as_u64)?))
        });
        let lists = lists_of(data).map(|(name, version)| (name.to_owned(), version)).collect();
        let verdict = data.get("verdict").and_then(Value::as_str);
        Some(Self {
            bundle,
            lists,
            at,
            of_no_bundle,
            call,
            received,
            spool,
            acting: Acting::of(producer.as_str(), data),
            permits: verdict != Some(Verdict::Deny.as_str()),
            asks_people: verdict == Some(Verdict::ApprovalNeeded.as_str()),
            frozen_by,
            freezes: freezes(data),
            asking: data.get("budgets").and_then(Asking::read),
        })
    }

    /// True if `view` is about the same call: same nonce, agent, tool and parameters. Where clauses may redact calls, the
    /// call as it came counts: another bundle may have redacted it otherwise.
    pub(super) fn is_same_call(&self, view: &View<'_>) -> bool {
        let theirs = view.text(&["event", "data", "received"]);
        if let (Some(ours), Some(theirs)) = (self.received.as_deref(), theirs) {
            return ours == theirs;
        }
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
    let verdict = data.get("verdict").and_then(Value::as_str);
    let action = data.get("tool").and_then(|tool| tool.get("action")?.as_str());
    let own = if action == Some(PROBE) { Verdict::Deny } else { Verdict::ApprovalNeeded };
    if by_us && verdict != Some(own.as_str()) {
        return Err(
            "the server's own question allows nothing: people answer it, and a probe is denied",
        );
    }
    let allows = verdict == Some("allow");
    if data.get("spool").is_some() && !allows {
        return Err("only an allow is told before it is recorded");
    }
    if let Some(budgets) = data.get("budgets") {
        let goes = Asking::read(budgets)
            .is_some_and(|asking| asking.goes_with(verdict.unwrap_or_default()));
        let only_observes = data.get("mode").and_then(Value::as_str) == Some("shadow");
        if !goes
            || only_observes
            || by_us
            || data.get("spool").is_some()
            || data.get("bundle").is_none()
        {
            return Err("what it asks of budgets does not go with its verdict");
        }
    }
    let read = data.get("as_of").and_then(Value::as_u64);
    let call = data.get("call").and_then(|call| call.get("digest"));
    if read.is_none() || call.is_none() {
        return Err("not a decision as this server makes them");
    }
    check_freeze(data)
}

/// The mark of the result that our report is about. `None` if it has not the form of one. `data`: its member `data`.
pub fn returned(data: &Value<'_>) -> Option<String> {
    let named = data.get("decision").is_some() && data.get("as_of").is_some();
    let verdict = data.get("verdict").and_then(Value::as_str);
    let judged = matches!(verdict, Some("allow" | "deny" | "sanitize"));
    let of_calls = ["budgets", "spool", "activates", "freeze"];
    let tool = data.get("tool").and_then(|tool| tool.get("name")?.as_str());
    let rests = of_calls.iter().any(|name| data.get(name).is_some())
        || tool.is_none_or(event::is_reserved_tool);
    let mark = data.get("received").and_then(Value::as_str)?;
    (named && judged && !rests).then(|| mark.to_owned())
}

/// True for an entry that shows that the server decides (`proto/formats/decision.md`, Probe). It is about no call of an
/// agent.
pub fn is_probe(view: &View<'_>) -> bool {
    view.is_ours()
        && view.text(&["producer"]) == Some(RESERVED_TOOL)
        && view.text(&["event", "data", "tool", "action"]) == Some(PROBE)
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
