//! `verify --approval`: checks the life of one approval from its entries alone
//! (`proto/formats/approval-export.md`).

use super::{
    Failure, Given,
    export::Whole,
    file::{self, Form, is_dropping},
    passkeys::{self, Passkeys},
    refused,
    report::Report,
};
use crate::terminal::{bad, dim, good, harmless, name, strong};
use decider::{
    approval::{Audit, Event, Phase, State, Step},
    words,
};
use ledger::{log::checkpoint::Checkpoint, verify};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};

/// What is checked when a history is not refused, as codes.
const CHECKED: [&str; 12] = [
    "log_signature",
    "inclusion",
    "chain_without_hole",
    "approval_id",
    "opening",
    "rule_digest",
    "order_of_events",
    "deadlines_by_journal_time",
    "quorum_of_distinct_people",
    "no_owner_reviewed",
    "reviewers_saw_this_digest",
    "one_redemption",
];
/// What these entries can't show, as codes.
const NOT_CHECKED: [&str; 6] = [
    "people_and_groups",
    "owners_of_the_agent",
    "sign_in_age",
    "truth_of_the_execution_report",
    "consistency_with_other_checkpoints",
    "same_view_for_everybody",
];

/// What the whole log shows in addition, as codes.
const BY_WHOLE_LOG: [&str; 2] = ["later_messages", "rule_in_force"];

/// A message in the log after those of a history.
pub(super) struct Later {
    /// Number of the message, from 1.
    n: u64,
    /// Leaf index of the entry.
    index: u64,
}

/// A history that verifies.
pub(super) struct History {
    place: String,
    checkpoint: Checkpoint,
    audit: Audit,
    /// True if the call itself was disclosed.
    disclosed: bool,
    passkeys: Passkeys,
    ignored: Vec<String>,
}

impl History {
    /// Verifies the folder that `export --approval` wrote.
    pub(super) fn read(folder: &Path, given: &mut Given) -> Result<Self, Failure> {
        let place = |name: &str| folder.join(name).display().to_string();
        complete(folder)?;
        let note = file::read(folder.join("checkpoint"), Form::Checkpoint)?;
        let checkpoint = given.take_checkpoint(&place("checkpoint"), &note)?;
        let mut proven = |name: &str| -> Result<(u64, Vec<u8>), Failure> {
            let text = file::read(folder.join(name), Form::Receipt)?;
            let receipt = given.receipt(&place(name), &text)?.receipt;
            if receipt.checkpoint != note {
                return Err(refused(&place(name), &"its checkpoint is not the one in the folder"));
            }
            Ok((receipt.index, receipt.entry))
        };
        let opening = "opening.tlog-proof";
        let (index, decision) = proven(opening)?;
        let begun = Audit::begin(index, &decision);
        let mut audit = begun.map_err(|error| refused(&place(opening), &error))?;
        let Names { last, passkeys, ignored } = names(folder)?;
        for n in 1..=last {
            let name = format!("{n}.tlog-proof");
            let (index, entry) = proven(&name)?;
            audit.follow(index, &entry).map_err(|error| refused(&place(&name), &error))?;
        }
        let passkeys = Passkeys::read((folder, &passkeys), &audit, &mut proven)?;
        let shown = folder.join("opening.disclosures");
        let disclosed = shown.exists() && disclosed_call(&shown, &decision, &audit, given)?;
        let place = folder.display().to_string();
        Ok(Self { place, checkpoint, audit, disclosed, passkeys, ignored })
    }

    /// Compares it with every other history of the same approval, every whole log and every single receipt. It
    /// must have each message that the log had at its checkpoint, and no other. Returns the later messages of
    /// the largest whole log, if one was given.
    pub(super) fn compare(
        &self,
        histories: &[Self],
        wholes: &[Whole],
        given: &Given,
    ) -> Result<Option<Vec<Later>>, Failure> {
        let (id, own) = (self.audit.id(), self.audit.indexes());
        for other in histories.iter().filter(|other| other.audit.id() == id) {
            self.against(&other.place, other.checkpoint.size, &other.audit.indexes())?;
        }
        for whole in wholes {
            self.against(whole.place(), whole.size(), &whole.messages(id))?;
        }
        for (index, n, place) in given.entries.messages(id.as_str()) {
            let nth = usize::try_from(n).ok().and_then(|n| own.get(n.checked_sub(1)?));
            let is_hidden = index < self.checkpoint.size && !own.contains(&index);
            if is_hidden || nth.is_some_and(|known| *known != index) {
                return Err(self.hides(place, n, index));
            }
        }
        let largest = wholes.iter().max_by_key(|whole| whole.size());
        Ok(largest.map(|whole| self.later(&whole.messages(id))))
    }

    /// Compares it with a source that has all messages below a tree size.
    fn against(&self, place: &str, size: u64, all: &[u64]) -> Result<(), Failure> {
        for (at, index) in self.audit.indexes().iter().enumerate() {
            if *index < size && all.get(at) != Some(index) {
                let (id, n) = (self.audit.id(), at + 1);
                let text = format!(
                    "{} and {place} contradict each other about approval {id}: message {n} is entry {index} in the one, and not in the other",
                    self.place
                );
                return Err(Failure::Contradiction(text));
            }
        }
        let later = self.later(all);
        let hidden = later.iter().find(|later| later.index < self.checkpoint.size);
        hidden.map_or(Ok(()), |hidden| Err(self.hides(place, hidden.n, hidden.index)))
    }

    fn hides(&self, place: &str, n: u64, index: u64) -> Failure {
        Failure::Contradiction(format!(
            "{} and {place} contradict each other about approval {}: message {n} (entry {index}) is not in the history as that message, though the log of {} entries, whose checkpoint the history carries, held it",
            self.place,
            self.audit.id(),
            self.checkpoint.size
        ))
    }

    fn later(&self, all: &[u64]) -> Vec<Later> {
        let numbered = (1..).zip(all).map(|(n, index)| Later { n, index: *index });
        numbered.skip(self.audit.indexes().len()).collect()
    }
}

/// Checks that the folder can be a history at all.
fn complete(folder: &Path) -> Result<(), Failure> {
    let unreadable = |what: &str| Failure::Unreadable(format!("{}: {what}", folder.display()));
    if folder.join("tile").exists() {
        return Err(unreadable("it is the export of a whole log: give it by --export"));
    }
    if folder.is_dir() && !folder.join("checkpoint").exists() {
        return Err(unreadable(
            "there is no file `checkpoint`: it is not an export of an approval, or is incomplete. Run `countersign export --approval` again",
        ));
    }
    Ok(())
}

/// The files of a folder.
struct Names {
    /// Number of messages: their files are numbered 1, 2, … without a hole.
    last: u64,
    /// Leaf indexes of passkeys' entries.
    passkeys: BTreeSet<u64>,
    /// Files that an operating system left.
    ignored: Vec<String>,
}

fn names(folder: &Path) -> Result<Names, Failure> {
    let place = folder.display().to_string();
    let unreadable = |error: std::io::Error| Failure::Unreadable(format!("{place}: {error}"));
    let (mut numbers, mut passkeys, mut ignored) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for file in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = file.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        if is_dropping(&name) {
            ignored.push(name.into_owned());
            continue;
        }
        let Some(stem) = name.strip_suffix(".tlog-proof").filter(|stem| *stem != "opening") else {
            continue;
        };
        if let Some(index) = passkeys::index_of(stem) {
            passkeys.insert(index);
            continue;
        }
        let number = stem.parse().ok().filter(|n: &u64| *n > 0 && n.to_string() == stem);
        let unknown = || refused(&place, &format!("{name} is no file of an approval's export"));
        numbers.insert(number.ok_or_else(unknown)?);
    }
    let missing = (1..).zip(&numbers).find(|(n, number)| n != *number).map(|(n, _)| n);
    match (missing, numbers.last()) {
        (None, Some(last)) => Ok(Names { last: *last, passkeys, ignored }),
        (missing, _) => {
            let n = missing.unwrap_or(1);
            Err(refused(&place, &format!("message {n} is missing: there is no {n}.tlog-proof")))
        }
    }
}

/// True if the call itself was disclosed. Then its digest must be that of the approval.
fn disclosed_call(
    path: &Path,
    decision: &[u8],
    audit: &Audit,
    given: &mut Given,
) -> Result<bool, Failure> {
    let place = path.display().to_string();
    let shown = verify::disclosures(&file::read(path, Form::Disclosures)?, decision);
    let shown = shown.map_err(|error| refused(&place, &error))?;
    given.fields.take(&place, audit.opening(), &shown)?;
    let field = |name| shown.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    if let Some(owner) = field("owner") {
        audit.check_owner(owner).map_err(|error| refused(&place, &error))?;
    }
    let (Some(nonce), Some(params)) = (field("nonce"), field("params")) else { return Ok(false) };
    audit.check_call(nonce, params).map_err(|error| refused(&place, &error))?;
    Ok(true)
}

impl Report {
    /// Reports a history. `later`: the later messages of the whole log, if it was given.
    pub(super) fn history(&mut self, history: &History, later: Option<&[Later]>) {
        self.item(item(history, later));
        let state = history.audit.state();
        self.tell_life(history);
        history.passkeys.lines(&history.audit).iter().for_each(|line| self.line(line));
        let phase = words::phase(state.phase, state.end_reason.as_deref());
        let phase = if is_over_badly(state) { bad(phase) } else { strong(phase) };
        self.line(&format!("  After message {}: {phase}", state.n));
        for Later { n, index } in later.unwrap_or_default() {
            self.line(&format!("  The log holds a later message: {n}, entry {index}"));
        }
        if !history.ignored.is_empty() {
            self.line(&dim(&format!("  ignored: {}", harmless(&history.ignored.join(", ")))));
        }
        self.line(&dim(&format!(
            "  checked: the log's signature, each entry's bytes and place, messages 1 to {} without a hole, the id from the \
             decision, the rule's digest, who may follow whom, deadlines by the journal's time, the quorum of distinct \
             people, none of them an owner, each shown this digest, at most one redemption{}{}{}",
            state.n,
            if history.disclosed { ", the digest of the disclosed call" } else { "" },
            if history.passkeys.is_empty() { "" } else { ", the signatures of passkeys" },
            if later.is_some() { ", that the whole log holds no other message of it, that the rule was in force" } else { "" },
        )));
        let whole = if later.is_some() {
            String::new()
        } else {
            format!(
                "whether a message {} follows and whether this rule was in force (that needs the whole log: give --export too), ",
                state.n.saturating_add(1)
            )
        };
        self.line(&dim(&format!(
            "  not checked: {whole}who the people are, their groups and who owns the agent, how fresh a sign-in was, \
             whether the execution report is true, whether others were shown the same log{}",
            if history.disclosed { "" } else { ", the params (not disclosed)" },
        )));
    }

    fn tell_life(&mut self, history: &History) {
        let audit = &history.audit;
        self.line(&format!("{} {}", good("verified"), harmless(&history.place)));
        self.line(&format!(
            "  approval {} of {}",
            audit.id(),
            harmless(&history.checkpoint.origin)
        ));
        if let Some(requested) = &audit.state().requested {
            let call = &requested.call;
            let (agent, tool, action) = (&call.agent, &call.tool, &call.action);
            self.line(&format!("  {} · {} by agent {}", name(tool), name(action), name(agent)));
            self.line(&format!("  call digest {}", harmless(&call.digest)));
            let rule = harmless(&format!("{:?}", requested.rule.name));
            self.line(&format!("  rule {rule} ({})", requested.rule_digest));
        }
        let end_reason = audit.state().end_reason.as_deref();
        for Step { n, index, at, events, phase: now } in audit.steps() {
            let events: Vec<String> = events.iter().map(describe).collect();
            let told = format!("{:>3}  {at}  entry {index}  {}", n, events.join(", "));
            self.line(&format!(
                "  {told} {}",
                dim(&format!("→ {}", words::phase(*now, end_reason)))
            ));
        }
    }
}

fn item(history: &History, later: Option<&[Later]>) -> Value {
    let History { place, checkpoint, audit, .. } = history;
    let state = audit.state();
    let step = |step: &Step| json!({"n": step.n, "index": step.index, "at": step.at, "events": step.events, "state": step.phase});
    let steps: Vec<Value> = audit.steps().iter().map(step).collect();
    let mut checked = CHECKED.to_vec();
    let mut not_checked = NOT_CHECKED.to_vec();
    if history.disclosed { &mut checked } else { &mut not_checked }.push("call_digest_of_params");
    if later.is_some() { &mut checked } else { &mut not_checked }.extend(BY_WHOLE_LOG);
    if !history.passkeys.is_empty() {
        checked.push("signatures_of_passkeys");
        if later.is_some() { &mut checked } else { &mut not_checked }.push("passkeys_in_force");
    }
    let later = later.map(|later| -> Vec<Value> {
        later.iter().map(|later| json!({"n": later.n, "index": later.index})).collect()
    });
    json!({
        "place": place, "verified": true, "origin": checkpoint.origin, "size": checkpoint.size,
        "root": checkpoint.root.to_string(), "approval_id": audit.id(), "tenant": audit.tenant(),
        "state": state.phase, "n": state.n, "requested": state.requested, "granted_by": state.granted_by,
        "redemption": state.redeemed, "passkeys": history.passkeys.item(),
        "report": state.report, "end_reason": state.end_reason, "messages": steps, "later_messages": later,
        "checked": checked, "not_checked": not_checked,
    })
}

fn is_over_badly(state: &State) -> bool {
    matches!(
        state.phase,
        Phase::Denied | Phase::Expired | Phase::Failed | Phase::Revoked | Phase::Lapsed
    )
}

/// Describes one event in words.
fn describe(event: &Event) -> String {
    let name = words::code(&word(event));
    let more = match event {
        Event::Reviewed { by, decision, groups, signed, reason, together, .. } => {
            let why = reason.map(|reason| format!(" ({})", words::code(reason.code())));
            let why = why.unwrap_or_default();
            let signed = if signed.is_some() { ", signed by passkey" } else { "" };
            let groups = harmless(&groups.join(", "));
            let with = together.map(|count| format!(", {}", words::together(count)));
            let with = with.unwrap_or_default();
            return format!("{by} ({groups}): {}{why}{signed}{with}", word(decision));
        }
        Event::Asked { question, by, .. } => format!("{by}, question {question}"),
        Event::Answered { question, by, .. } => format!("{by}, question {question}"),
        Event::Granted { by, .. } | Event::Denied { by } => {
            by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        Event::ReviewRejected { why, .. } | Event::RedeemRejected { why, .. } => words::code(why),
        Event::Cancelled { by, reason } | Event::Revoked { by, reason } => {
            format!("{by}, {reason}")
        }
        Event::Redeemed { redemption_id, enforcer, .. } => format!("{enforcer}, {redemption_id}"),
        Event::TokenMinted { enforcer, exp, .. } => format!("for {enforcer}, until {exp}"),
        Event::ExecutionReported { outcome } => word(outcome),
        Event::Expired { reason } => word(reason),
        _ => return name,
    };
    format!("{name} ({})", harmless(&more))
}

fn word<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let name = value.get("type").unwrap_or(&value);
    name.as_str().unwrap_or_default().to_owned()
}
