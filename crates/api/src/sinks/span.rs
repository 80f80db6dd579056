//! Spans of OpenTelemetry: pure functions of entries, with golden files (`proto/formats/spans.md`).
//!
//! A decision is a span, whoever made it, also of a call that nobody executed. An approval is a span from the pause to its
//! end. Ids follow from the log, so what is sent again is the same span.

mod approval;

use super::format::{Site, text};
pub use approval::approval;
use decider::call::approval_id;
use ledger::{entry::View, ident::Ident, log::merkle::Hash, time::Nanos};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Whose names a span has beside ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Nobody's.
    #[default]
    Ours,
    /// `gen_ai.*` of the semantic conventions 1.41.0.
    GenAi141,
}

impl Names {
    /// Every version of foreign names.
    pub const ALL: [Self; 1] = [Self::GenAi141];

    /// The names of this version.
    pub fn parse(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|names| names.as_str() == version)
    }

    /// The version in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "none",
            Self::GenAi141 => "1.41.0",
        }
    }

    /// Where the names are defined.
    pub fn schema_url(self) -> &'static str {
        match self {
            Self::Ours => "",
            Self::GenAi141 => "https://opentelemetry.io/schemas/1.41.0",
        }
    }
}

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A decision that this server made: the gateway called it.
    Ours,
    /// A decision that a gateway made.
    Told,
    /// An approval.
    Approval,
    /// Nothing: somebody tests the sink.
    Test,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// Texts in order.
    Texts(Vec<String>),
}

/// Attributes, in the order in which they are written.
pub type Attributes = Vec<(&'static str, Said)>;

/// A span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it is of.
    pub sort: Sort,
    /// Its trace.
    pub trace: [u8; 16],
    /// Its id.
    pub id: [u8; 8],
    /// The span above it.
    pub parent: Option<[u8; 8]>,
    /// W3C trace flags; bits 8 and 9 say whether the span above is elsewhere.
    pub flags: u32,
    /// Its name, one of few.
    pub name: String,
    /// Begin and end, in nanoseconds since 1970.
    pub time: (u64, u64),
    /// Attributes.
    pub attributes: Attributes,
    /// What happened in it: time, name, leaf index.
    pub events: Vec<(u64, String, u64)>,
    /// Events that were left out.
    pub events_dropped: u64,
}

/// OTLP: bit 8, it is known whether the span above is elsewhere; bit 9, it is.
const HERE: u32 = 0x100;
const ELSEWHERE: u32 = 0x300;

/// The trace context of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Trace.
    pub trace: [u8; 16],
    /// The span in which the event happened.
    pub span: [u8; 8],
    /// Flags.
    pub flags: u32,
}

impl Context {
    /// Reads `00-<32 hexadecimal digits>-<16>-<2>`.
    pub fn read(parent: &str) -> Option<Self> {
        let mut parts = parent.split('-').skip(1);
        let mut hex = || data_encoding::HEXLOWER.decode(parts.next()?.as_bytes()).ok();
        let (trace, span, flags) = (hex()?, hex()?, hex()?);
        let named = |id: &[u8]| id.iter().any(|byte| *byte != 0);
        (named(&trace) && named(&span)).then_some(())?;
        let [flags] = flags[..] else { return None };
        let (trace, span) = (trace.try_into().ok()?, span.try_into().ok()?);
        Some(Self { trace, span, flags: flags.into() })
    }
}

/// Where a span is: the trace of its event, or one of its own.
struct Place {
    trace: [u8; 16],
    parent: Option<[u8; 8]>,
    flags: u32,
}

/// An id that follows from the log: of what (`sort`), and of which entry.
fn derived<const N: usize>(sort: &str, origin: &str, index: u64) -> [u8; N] {
    let mut sha = Sha256::new();
    sha.update(format!("countersign/{sort}/1\0{origin}\0{index}"));
    let hash: [u8; 32] = sha.finalize().into();
    std::array::from_fn(|at| hash[at])
}

/// The id of the span of the decision at this index.
fn decision_id(origin: &str, index: u64) -> [u8; 8] {
    derived("decision", origin, index)
}

/// The place of the decision at this index.
fn place(origin: &str, index: u64, event: &Value) -> Place {
    match Context::read(text(event, &["traceparent"])) {
        Some(context) => Place {
            trace: context.trace,
            parent: Some(context.span),
            flags: context.flags | ELSEWHERE,
        },
        None => Place { trace: derived("trace", origin, index), parent: None, flags: HERE },
    }
}

/// Collects attributes: what is empty is absent.
#[derive(Default)]
struct Collected(Attributes);

impl Collected {
    fn text(&mut self, key: &'static str, text: &str) {
        if !text.is_empty() {
            self.0.push((key, Said::Text(text.to_owned())));
        }
    }

    fn number(&mut self, key: &'static str, number: u64) {
        self.0.push((key, Said::Number(number)));
    }

    /// Where the entry is, and where its proof is.
    fn entry(&mut self, site: &Site, (index, leaf_hash): (u64, &Hash), kind: &str) {
        self.text("countersign.origin", &site.origin);
        self.number("countersign.index", index);
        self.text("countersign.leaf_hash", &leaf_hash.to_string());
        self.text("countersign.proof", &site.proof(index));
        self.text("countersign.kind", kind);
    }

    /// Who calls what, by our names and by those that are asked for.
    fn call(&mut self, [agent, run, session, tool, action]: [&str; 5], names: Names) {
        self.text("countersign.agent.id", agent);
        self.text("countersign.agent.run", run);
        self.text("countersign.agent.session", session);
        self.text("countersign.tool.name", tool);
        self.text("countersign.tool.action", action);
        if names == Names::GenAi141 {
            self.text("gen_ai.agent.id", agent);
            self.text("gen_ai.conversation.id", session);
            self.text("gen_ai.tool.name", tool);
        }
    }
}

/// The span of an entry, if it is a decision about a call. A probe of the server is about none.
pub fn decision(
    site: &Site,
    (index, leaf_hash): (u64, &Hash),
    bytes: &[u8],
    names: Names,
) -> Option<Span> {
    let entry: Value = serde_json::from_slice(bytes).ok()?;
    let (event, data) = (&entry["event"], &entry["event"]["data"]);
    let of = |path: &[&str]| text(data, path);
    let (tool, action) = (of(&["tool", "name"]), of(&["tool", "action"]));
    if text(&entry, &["kind"]) != "decision" || (tool, action) == ("countersign", "probe") {
        return None;
    }
    let ours = data["as_of"].is_u64();
    let journal = Nanos::parse(text(&entry, &["journal", "time"]))?;
    let told = data["latency_us"].as_u64();
    let time = times(ours, Nanos::parse(text(event, &["time"])), told, journal);
    let mut said = Collected::default();
    said.entry(site, (index, leaf_hash), "decision");
    said.text("countersign.decided_by", if ours { "countersign" } else { "gateway" });
    said.text("countersign.verdict", of(&["verdict"]));
    said.text("countersign.mode", of(&["mode"]));
    said.text("countersign.reason.code", of(&["reason", "code"]));
    said.text("countersign.policy.id", of(&["policy", "id"]));
    said.text("countersign.policy.version", of(&["policy", "version"]));
    said.text("countersign.policy.digest", of(&["policy", "digest"]));
    said.text("countersign.policy.bundle", of(&["bundle"]));
    said.text("countersign.shadow.verdict", of(&["shadow", "verdict"]));
    said.text("countersign.shadow.code", of(&["shadow", "code"]));
    said.text("countersign.approval_id", &opens(site, bytes, data));
    let [agent, run, session] = ["id", "run", "session"].map(|name| of(&["agent", name]));
    said.call([agent, run, session, tool, action], names);
    let chain = data["agent"]["chain"].as_array().into_iter().flatten();
    let chain: Vec<String> = chain.filter_map(|one| Some(one.as_str()?.to_owned())).collect();
    if !chain.is_empty() {
        said.0.push(("countersign.agent.chain", Said::Texts(chain)));
    }
    said.text("countersign.producer", text(&entry, &["producer"]));
    said.text("countersign.event.id", text(event, &["id"]));
    said.text("countersign.event.source", text(event, &["source"]));
    said.text("countersign.cost.amount", of(&["cost", "amount"]));
    said.text("countersign.cost.currency", of(&["cost", "currency"]));
    if ours || told.is_some() {
        said.number("countersign.latency_us", (time.1 - time.0) / 1000);
    }
    let Place { trace, parent, flags } = place(&site.origin, index, event);
    Some(Span {
        sort: if ours { Sort::Ours } else { Sort::Told },
        trace,
        id: decision_id(&site.origin, index),
        parent,
        flags,
        name: format!("decide {tool}"),
        time,
        attributes: said.0,
        events: Vec::new(),
        events_dropped: 0,
    })
}

/// Begin and end of a decision. Ours: from the judgement to the journal. Told: it ends when the gateway says that it was made,
/// and took as long as the gateway says. The gateway's clock is the one of its trace.
fn times(ours: bool, event: Option<Nanos>, told: Option<u64>, journal: Nanos) -> (u64, u64) {
    let at = event.unwrap_or(journal).0;
    if ours {
        return (at.min(journal.0), journal.0);
    }
    (at.saturating_sub(told.unwrap_or(0).saturating_mul(1000)), at)
}

/// The approval that a decision opens or names.
fn opens(site: &Site, bytes: &[u8], data: &Value) -> String {
    let named = text(data, &["approval_id"]);
    let pauses = text(data, &["verdict"]) == "approval_needed" && text(data, &["mode"]) != "shadow";
    if !named.is_empty() || !pauses {
        return named.to_owned();
    }
    let (Ok(tenant), Some(view)) = (Ident::new(&site.tenant), View::parse(bytes)) else {
        return String::new();
    };
    approval_id(&tenant, view.scope()).to_string()
}

/// The span of a test, at a time.
pub fn test(site: &Site, time: u64) -> Span {
    let mut said = Collected::default();
    said.text("countersign.origin", &site.origin);
    Span {
        sort: Sort::Test,
        trace: derived("trace", &site.origin, time),
        id: derived("test", &site.origin, time),
        parent: None,
        flags: HERE,
        name: "countersign test".to_owned(),
        time: (time, time),
        attributes: said.0,
        events: Vec::new(),
        events_dropped: 0,
    }
}

#[cfg(test)]
mod tests;
