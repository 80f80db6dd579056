//! `verify --incident`: an incident from its entries alone (`proto/formats/incidents.md`): each is proven, the messages are
//! without a hole, and what they name is there.

use super::{Failure, Given, file, refused, report::Report};
use crate::terminal::{dim, good, harmless, strong};
use ledger::{
    canonical,
    entry::{Kind, View, is_reason},
    log::{checkpoint::Checkpoint, merkle::leaf_hash},
    system::{
        alert::AlertBody,
        freeze::FreezeBody,
        incident::{IncidentBody, Incidents},
    },
    verify,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Version of the form.
const VERSION: u32 = 1;
/// What is checked when an incident is not refused, as codes.
const CHECKED: [&str; 7] = [
    "log_signature",
    "inclusion",
    "entry_bytes",
    "one_checkpoint",
    "messages_without_hole",
    "named_entries_are_here",
    "disclosures",
];

/// The first line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    v: u32,
    origin: String,
    incident: u64,
    size: u64,
    parts: usize,
}

/// Each further line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    index: u64,
    part: String,
    entry: Value,
    receipt: String,
    disclosures: Vec<String>,
}

/// A part that is proven.
struct Proven {
    part: String,
    entry: Vec<u8>,
    /// Disclosed fields, as JSON by name.
    shown: Vec<(String, String)>,
}

type Parts = BTreeMap<u64, Proven>;

/// An incident that verifies.
pub(super) struct Collected {
    place: String,
    checkpoint: Checkpoint,
    incident: u64,
    /// Its messages by leaf index.
    messages: Vec<(u64, IncidentBody)>,
    is_open: bool,
    parts: Parts,
}

/// Verifies the file that `incident export` wrote.
pub(super) fn read(path: &Path, given: &mut Given) -> Result<Collected, Failure> {
    let place = path.display().to_string();
    let wrong = |what: &str| refused(&place, &what);
    let text = String::from_utf8(file::bytes(path)?).map_err(|_| wrong("not UTF-8 text"))?;
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let head: Head = serde_json::from_str(first)
        .map_err(|error| refused(&place, &format!("line 1 is not that of an incident: {error}")))?;
    if head.v != VERSION {
        return Err(wrong("this program reads version 1 of exported incidents"));
    }
    let (mut parts, mut checkpoint) = (Parts::new(), None);
    for (line, n) in lines.zip(2..) {
        let place = format!("{place}, line {n}");
        let line: Line = serde_json::from_str(line)
            .map_err(|error| refused(&place, &format!("not a part of an incident: {error}")))?;
        if parts.last_key_value().is_some_and(|(last, _)| *last >= line.index) {
            return Err(refused(&place, &"the parts are not in order"));
        }
        let index = line.index;
        let (proven, note) = prove(&place, line, given)?;
        let same = checkpoint.get_or_insert_with(|| note.clone()) == &note;
        if !same || (&note.origin, note.size) != (&head.origin, head.size) {
            let what = "its receipt is not of the checkpoint that the first line names";
            return Err(refused(&place, &what));
        }
        parts.insert(index, proven);
    }
    let checkpoint = checkpoint.ok_or_else(|| wrong("it has no parts"))?;
    if parts.len() != head.parts {
        let what =
            format!("the first line names {} parts, and {} are here", head.parts, parts.len());
        return Err(refused(&place, &what));
    }
    let (messages, is_open) =
        follow(&parts, head.incident).map_err(|what| refused(&place, &what))?;
    belongs(&parts, &messages).map_err(|what| refused(&place, &what))?;
    Ok(Collected { place, checkpoint, incident: head.incident, messages, is_open, parts })
}

/// The receipt proves the entry, and the entry commits to what is disclosed of it.
fn prove(place: &str, line: Line, given: &mut Given) -> Result<(Proven, Checkpoint), Failure> {
    let verified = given.receipt(place, &line.receipt)?;
    let receipt = verified.receipt;
    if receipt.index != line.index || canonical::of(&line.entry) != receipt.entry {
        return Err(refused(place, &"the entry is not the one that its receipt proves"));
    }
    let shown = verify::disclosures(&line.disclosures.join("\n"), &receipt.entry);
    let shown = shown.map_err(|error| refused(place, &error))?;
    given.fields.take(place, line.index, &shown)?;
    Ok((Proven { part: line.part, entry: receipt.entry, shown }, verified.checkpoint))
}

/// The messages of the incident in their order, and whether it is open after the last.
fn follow(parts: &Parts, incident: u64) -> Result<(Vec<(u64, IncidentBody)>, bool), String> {
    let (mut incidents, mut messages) = (Incidents::default(), Vec::new());
    for (index, proven) in parts {
        let view =
            View::parse(&proven.entry).ok_or_else(|| format!("entry {index}: unreadable"))?;
        let body = view.event_as::<IncidentBody>().filter(|_| view.kind == Kind::Incident);
        let Some(body) = body.filter(|body| body.place(*index).0 == incident) else { continue };
        incidents.take(*index, &body).map_err(|what| format!("entry {index}: {what}"))?;
        messages.push((*index, body));
    }
    if messages.first().is_none_or(|(index, _)| *index != incident) {
        return Err(format!("the entry {incident} that opened it is missing"));
    }
    Ok((messages, incidents.open.contains_key(&incident)))
}

/// Every entry that the messages name is here, and none is here that does not belong.
fn belongs(parts: &Parts, messages: &[(u64, IncidentBody)]) -> Result<(), String> {
    let mut expected: BTreeMap<u64, &str> = BTreeMap::new();
    let named: BTreeSet<u64> =
        messages.iter().flat_map(|(_, body)| body.entries().iter().copied()).collect();
    expected.extend(messages.iter().map(|(index, _)| (*index, "message")));
    for (index, body) in messages {
        let words = body.reason();
        let here = parts.get(&words.index).filter(|here| leaf_hash(&here.entry) == words.leaf_hash);
        if !here.and_then(|here| View::parse(&here.entry)).is_some_and(|view| is_reason(&view)) {
            return Err(format!("the words of entry {index} are not in the entry that it names"));
        }
        expected.entry(words.index).or_insert("words");
    }
    for index in &named {
        expected.entry(*index).or_insert("named");
    }
    let mut proofs = BTreeSet::new();
    for (index, proven) in parts {
        let Some(view) = View::parse(&proven.entry) else { continue };
        let (ends, shown) = match view.kind {
            Kind::Alert => match view.event_as() {
                Some(AlertBody::Close(close)) => (Some(close.alert), Vec::new()),
                Some(AlertBody::Raise(raise)) => (None, raise.entries),
                None => (None, Vec::new()),
            },
            Kind::Freeze => match view.event_as() {
                Some(FreezeBody::Lift(lift)) => (Some(lift.freeze), Vec::new()),
                _ => (None, Vec::new()),
            },
            _ => (None, Vec::new()),
        };
        if ends.is_some_and(|of| named.contains(&of)) {
            expected.entry(*index).or_insert("end");
        }
        if named.contains(index) {
            proofs.extend(shown);
        }
    }
    for index in proofs {
        expected.entry(index).or_insert("shows");
    }
    if let Some(missing) = expected.keys().find(|index| !parts.contains_key(index)) {
        return Err(format!("entry {missing} belongs to it, and is missing"));
    }
    for (index, proven) in parts {
        if expected.get(index) != Some(&proven.part.as_str()) {
            return Err(format!("entry {index} is here as `{}`, which it is not", proven.part));
        }
    }
    Ok(())
}

/// What a message did to its incident.
fn done_by(body: &IncidentBody) -> &'static str {
    match body {
        IncidentBody::Open(_) => "opened",
        IncidentBody::Note(_) => "noted",
        IncidentBody::Close(_) => "closed",
    }
}

impl Collected {
    /// The disclosed words of a message.
    fn words(&self, body: &IncidentBody) -> Option<String> {
        let shown = &self.parts.get(&body.reason().index)?.shown;
        let (_, words) = shown.iter().find(|(name, _)| name == "reason")?;
        serde_json::from_str(words).ok()
    }

    fn time(&self, index: u64) -> String {
        let view = self.parts.get(&index).and_then(|proven| View::parse(&proven.entry));
        view.map(|view| view.origin.time.to_string()).unwrap_or_default()
    }

    fn not_checked(&self) -> Vec<&'static str> {
        let mut codes =
            vec!["later_closes_and_lifts", "truth_of_the_words", "same_view_for_everybody"];
        if self.is_open {
            codes.push("later_messages");
        }
        codes
    }
}

impl Report {
    /// Reports an incident.
    pub(super) fn incident(&mut self, found: &Collected) {
        let Collected { place, checkpoint, incident, messages, is_open, parts } = found;
        self.line(&format!("{} {}", good("verified"), harmless(place)));
        let state = if *is_open { "open" } else { "closed" };
        self.line(&format!(
            "  incident {incident} of {}: {}, {} messages, {} entries",
            harmless(&checkpoint.origin),
            strong(state),
            messages.len(),
            parts.len()
        ));
        for (index, body) in messages {
            let words = found
                .words(body)
                .map_or_else(|| "(words not disclosed)".to_owned(), |text| harmless(&text));
            let who = serde_json::to_value(body.by()).unwrap_or_default();
            let who =
                ["person", "key", "operator", "command"].iter().find_map(|name| who[name].as_str());
            let (op, time) = (done_by(body), found.time(*index));
            self.line(&format!(
                "  {time}  entry {index}  {op} by {}: {words}",
                harmless(who.unwrap_or("-"))
            ));
        }
        self.line(&dim(
            "  checked: the log's signature, each entry's bytes and place under one checkpoint, the disclosures, the \
             messages without a hole, and that every entry that they name is here with what shows it",
        ));
        let later = if *is_open { "whether later messages follow, " } else { "" };
        self.line(&dim(&format!(
            "  not checked: {later}whether an alert was closed or a freeze lifted that is here without its end, whether \
             what people wrote is true, whether others were shown the same log"
        )));
        let told: Vec<Value> = messages
            .iter()
            .map(|(index, body)| {
                json!({"index": index, "time": found.time(*index), "op": done_by(body), "by": body.by(),
                    "words": found.words(body), "entries": body.entries()})
            })
            .collect();
        let indexes: Vec<Value> = parts
            .iter()
            .map(|(index, proven)| json!({"index": index, "part": proven.part}))
            .collect();
        self.item(json!({
            "place": place, "verified": true, "origin": checkpoint.origin, "size": checkpoint.size,
            "root": checkpoint.root.to_string(), "incident": incident, "open": is_open, "messages": told,
            "parts": indexes, "checked": CHECKED, "not_checked": found.not_checked(),
        }));
    }
}
