//! A card as Block Kit. Pure: the same card gives the same bytes.
//!
//! Foreign text appears only in `plain_text`, each value in a cell of its own, so it can form no link, no
//! mention and no line that looks like ours. If any part of the call does not fit, the card has no buttons.

mod overflow;

pub(super) use overflow::overflow;

use super::{
    Shown,
    words::{APPROVE, ASK, DENY, DENY_WITH_COMMENT},
};
use crate::{
    cards::{Card, FOR_OWNER, FROZEN, Notice, Reader},
    facts::Fact,
};
use chrono::DateTime;
use decider::{
    approval::{Choice, Phase},
    words::phase,
};
use ledger::{foreign::harmless, ident::Ident, time::Nanos};
use serde_json::{Value, json};

/// `metadata.event_type` of a card.
pub(super) const EVENT_TYPE: &str = "countersign_approval";

/// Slack's limit for the text of a header, in characters.
const HEADER_CHARS_MAX: usize = 150;
/// Slack's limit for a field of a section, in characters.
const FIELD_CHARS_MAX: usize = 2000;
/// Slack's limit for the text of a section, in characters.
const SECTION_CHARS_MAX: usize = 3000;
/// Slack's limit for the fields of a section.
const FIELDS_MAX: usize = 10;
/// Slack's limit for the text of a confirmation, in characters.
const CONFIRM_CHARS_MAX: usize = 300;
/// Most params on a card: 20 sections of its 50 blocks.
const PARAMS_MAX: usize = 20 * FIELDS_MAX;
/// Most characters of all params together. Slack refuses a message near 12,000 (`msg_blocks_too_long`).
const PARAMS_CHARS_MAX: usize = 5000;
/// Most characters of a name, id or code in a cell.
const CELL_CHARS_MAX: usize = 200;
/// Most characters of the agent's own text; it is no part of the call.
const AGENT_CHARS_MAX: usize = 1000;
/// Most characters of a person's name in the list of answers.
const NAME_CHARS_MAX: usize = 80;
/// Most characters of a line of a notice.
const NOTICE_CHARS_MAX: usize = 600;
/// Most answers listed.
const REVIEWS_MAX: usize = 10;
/// Most characters of the list of those who are still needed.
const NEEDED_CHARS_MAX: usize = 500;

/// A message: its notification text and its blocks.
pub(super) struct Message {
    pub(super) text: String,
    pub(super) blocks: Vec<Value>,
}

/// True if a card in Slack has buttons: the rule allows a review in chat, and the whole call fits.
pub fn is_decidable(card: &Card) -> bool {
    card.decidable() && names_fit(card) && param_cells(card).is_some()
}

/// The card.
pub(super) fn message(card: &Card) -> Message {
    if card.reader == Reader::Owner {
        return outcome(card);
    }
    let title = title(card);
    let mut blocks = vec![header(&title), sentence(card)];
    blocks.extend(facts(card));
    blocks.push(fields(&summary(card)));
    blocks.extend(card.frozen.then(|| section(FROZEN)));
    blocks.extend(params(card));
    if let Some(text) = &card.agent_says {
        let text = cut(&one_line(text), AGENT_CHARS_MAX);
        let who = card.who_says();
        blocks.push(section(&format!("{who}:\n\u{201c}{text}\u{201d}")));
    }
    blocks.extend(policy_now(card));
    blocks.extend(reviews(card));
    if card.phase == Phase::Pending {
        blocks.extend(needed(card));
    }
    blocks.push(buttons(card));
    let digest = harmless(card.digest_prefix());
    let foot = format!("{} \u{b7} call {digest} \u{b7} version {}", card.approval, card.version);
    blocks.push(json!({"type": "context", "block_id": "which", "elements": [plain(&foot)]}));
    Message { text: notification(card), blocks }
}

/// How a call of somebody's agent ended: for an owner, without any value of the call.
fn outcome(card: &Card) -> Message {
    let mut cells = vec![cell("Tool", &short(&card.tool)), cell("Action", &short(&card.action))];
    cells.push(cell("Agent", &short(&card.agent)));
    cells.extend(card.run.as_deref().map(|run| cell("Run", &short(run))));
    cells.extend(card.end_reason.as_deref().map(|code| cell("Reason", &short(code))));
    let foot = json!({"type": "context", "block_id": "which", "elements": [plain(FOR_OWNER)]});
    Message { text: notification(card), blocks: vec![header(&title(card)), fields(&cells), foot] }
}

/// The fallback for a card that Slack finds wrong or too long: its phase, and a link to the page.
pub(super) fn told(card: &Card) -> Message {
    let title = title(card);
    let cells = [cell("Tool", &short(&card.tool)), cell("Action", &short(&card.action))];
    let open = json!({"type": "actions", "block_id": "decide", "elements": [open(card)]});
    Message { text: notification(card), blocks: vec![header(&title), fields(&cells), open] }
}

/// Words without buttons. Foreign text is plain text in blocks of its own. `who`: members (`U…`) who are mentioned.
pub(super) fn notice(notice: &Notice, who: &[String]) -> Message {
    let line = |line: &String| section(&cut(&one_line(line), NOTICE_CHARS_MAX));
    let mut blocks = vec![header(&notice.title)];
    blocks.extend(notice.lines.iter().map(line));
    blocks.extend(mentions(who));
    blocks.push(json!({"type": "context", "block_id": "which", "elements": [plain(&notice.hint)]}));
    let button =
        |(text, url): &(&str, String)| json!({"type": "actions", "elements": [link(text, url)]});
    blocks.extend(notice.link.as_ref().map(button));
    Message { text: escape(&notice.title), blocks }
}

/// A line that makes a sound for these members. Markup, but nothing of it is foreign: an id has letters and digits only.
fn mentions(who: &[String]) -> Option<Value> {
    let is_id = |id: &&String| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let marks: Vec<String> = who.iter().filter(is_id).map(|id| format!("<@{id}>")).collect();
    let text = marks.join(" ");
    (!marks.is_empty()).then(|| {
        json!({"type": "section", "block_id": "who", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
    })
}

/// Metadata by which a card is found after a post without an answer.
pub(super) fn metadata(approval: &Ident) -> Value {
    json!({"event_type": EVENT_TYPE, "event_payload": {"approval_id": approval}})
}

/// The text of a notification: what is asked in one line, or how it ended.
fn notification(card: &Card) -> String {
    escape(&card.notification().split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The sentence, in a section of its own.
fn sentence(card: &Card) -> Value {
    let text = card.told.sentence.with(one_line_between);
    json!({"type": "section", "block_id": "sentence", "text": plain(&cut(&text, SECTION_CHARS_MAX))})
}

/// What the log says of earlier calls, each in a section of its own.
fn facts(card: &Card) -> impl Iterator<Item = Value> {
    let line = |fact: &Fact| {
        let sign = if fact.warns() { "\u{26a0} " } else { "" };
        section(&cut(&format!("{sign}{}", fact.with(one_line_between)), NOTICE_CHARS_MAX))
    };
    card.facts.iter().map(line)
}

/// As [`one_line`], for a part of a line: blanks at its ends stay.
fn one_line_between(text: &str) -> String {
    harmless(&text.split(char::is_whitespace).collect::<Vec<_>>().join(" "))
}

/// Title: what is asked, or how it ended.
fn title(card: &Card) -> String {
    phase(card.phase, card.end_reason.as_deref()).to_owned()
}

fn summary(card: &Card) -> Vec<Value> {
    let mut cells = vec![cell("Tool", &short(&card.tool)), cell("Action", &short(&card.action))];
    cells.extend(card.amount.as_deref().map(|amount| cell("Amount", &short(amount))));
    cells.push(cell("Agent", &short(&card.agent)));
    cells.extend(card.run.as_deref().map(|run| cell("Run", &short(run))));
    cells.push(cell("Rule", &short(&card.rule)));
    match (card.phase, card.execution_deadline) {
        (Phase::Pending, _) => cells.push(moment("Answer by", card.deadline)),
        (Phase::Granted | Phase::Minted, Some(at)) => cells.push(moment("Redeem by", at)),
        _ => cells.extend(card.end_reason.as_deref().map(|code| cell("Reason", &short(code)))),
    }
    cells
}

/// The frozen params, one cell each; or a line that says why they are not shown.
fn params(card: &Card) -> Vec<Value> {
    match param_cells(card) {
        Some(cells) if cells.is_empty() => vec![section("No parameters.")],
        Some(cells) => cells.chunks(FIELDS_MAX).map(fields).collect(),
        None if card.complete => {
            vec![section("The parameters do not fit here. Review them in the browser.")]
        }
        None => {
            vec![section("The parameters can't be shown, so this call can't be approved.")]
        }
    }
}

/// True if the names of the call are shown uncut: two calls whose names begin alike must not look the same.
fn names_fit(card: &Card) -> bool {
    let names = [Some(&card.tool), Some(&card.action), Some(&card.agent), card.run.as_ref()];
    names.into_iter().flatten().all(|name| short(name) == *name)
}

/// The params as cells. `None` if one of them is missing or does not fit.
fn param_cells(card: &Card) -> Option<Vec<Value>> {
    let texts = card.params.iter().map(|(name, value)| {
        // The empty pointer names the params as a whole.
        let name = if name.is_empty() { "(params)" } else { name };
        format!("{}\n{}", harmless(name), harmless(value))
    });
    let texts: Vec<String> = texts.collect();
    let lengths: Vec<usize> = texts.iter().map(|text| length(text)).collect();
    let fits = texts.len() <= PARAMS_MAX
        && lengths.iter().all(|length| *length <= FIELD_CHARS_MAX)
        && lengths.iter().sum::<usize>() <= PARAMS_CHARS_MAX;
    (card.complete && fits).then(|| texts.iter().map(|text| plain(text)).collect())
}

fn reviews(card: &Card) -> Option<Value> {
    let shown = card.reviews.iter().take(REVIEWS_MAX).map(|(name, decision, at)| {
        let said = match decision {
            Choice::Approve => "approve",
            Choice::Deny => "deny",
        };
        format!("{said} \u{b7} {} \u{b7} {}", cut(&one_line(name), NAME_CHARS_MAX), utc(*at))
    });
    let mut lines: Vec<String> = shown.collect();
    let more = card.reviews.len().saturating_sub(REVIEWS_MAX);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    (!lines.is_empty()).then(|| section(&format!("Answers\n{}", lines.join("\n"))))
}

/// What the policies in force say now, if that is something else than when the call was judged.
fn policy_now(card: &Card) -> Option<Value> {
    card.policy_now.as_ref().map(|text| section(&cut(text, NEEDED_CHARS_MAX)))
}

fn needed(card: &Card) -> Option<Value> {
    let needed: Vec<String> = card.needed.iter().map(|who| short(who)).collect();
    (!needed.is_empty())
        .then(|| section(&cut(&format!("Still needed: {}", needed.join(", ")), NEEDED_CHARS_MAX)))
}

fn buttons(card: &Card) -> Value {
    let mut elements = Vec::new();
    if is_decidable(card) {
        let shown = Shown {
            approval: card.approval.clone(),
            digest: card.digest_prefix().to_owned(),
            version: card.version,
            shown_at: card.shown_at,
        };
        let value = to_text(&shown);
        let amount = card.amount.as_deref().filter(|_| !card.told.sentence.has_amount());
        let amount = amount.map(|amount| format!(", {}", short(amount))).unwrap_or_default();
        let what = card.told.sentence.with(one_line_between);
        let asked = cut(&format!("{what}{amount}"), CONFIRM_CHARS_MAX);
        elements.push(json!({
            "type": "button", "action_id": APPROVE, "style": "primary", "text": plain("Approve"), "value": value,
            "confirm": {
                "title": plain("Approve this call?"), "text": plain(&asked),
                "confirm": plain("Approve"), "deny": plain("Back"),
            },
        }));
        elements.push(json!({
            "type": "button", "action_id": DENY, "style": "danger", "text": plain("Deny"), "value": value,
            "confirm": {
                "title": plain("Deny this call?"), "text": plain(&asked),
                "confirm": plain("Deny"), "deny": plain("Back"),
            },
        }));
        let dialogs = [(DENY_WITH_COMMENT, "Deny with reason"), (ASK, "Ask a question")];
        elements.extend(dialogs.map(|(act, text)| {
            json!({"type": "button", "action_id": act, "text": plain(text), "value": value})
        }));
    }
    elements.push(open(card));
    json!({"type": "actions", "block_id": "decide", "elements": elements})
}

/// A link to the page.
fn open(card: &Card) -> Value {
    let text = if card.phase == Phase::Pending { "Review in browser" } else { "Open in browser" };
    link(text, &card.url)
}

fn link(text: &str, url: &str) -> Value {
    json!({"type": "button", "action_id": "open", "text": plain(text), "url": url})
}

fn header(text: &str) -> Value {
    json!({"type": "header", "text": plain(&cut(text, HEADER_CHARS_MAX))})
}

pub(super) fn section(text: &str) -> Value {
    json!({"type": "section", "text": plain(&cut(text, SECTION_CHARS_MAX))})
}

fn fields(cells: &[Value]) -> Value {
    json!({"type": "section", "fields": cells})
}

fn cell(label: &str, value: &str) -> Value {
    plain(&cut(&format!("{label}\n{value}"), FIELD_CHARS_MAX))
}

/// A time that Slack shows in the reader's own zone. Only here is markup used, and it contains only our own
/// numbers.
fn moment(label: &str, at: Nanos) -> Value {
    let text =
        format!("{label}\n<!date^{}^{{date_short_pretty}} {{time}}|{}>", at.seconds(), utc(at));
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

pub(super) fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": escape(text), "emoji": false})
}

fn utc(at: Nanos) -> String {
    let seconds = i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

pub(super) fn to_text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("text and numbers alone")
}

/// A name, id or code: on one line, and cut.
fn short(text: &str) -> String {
    cut(&one_line(text), CELL_CHARS_MAX)
}

/// Slack's three control characters as entities. Slack shows them as the characters.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Length as Slack may count it: UTF-16 units after escaping.
fn length(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    match c {
        '&' => 5,
        '<' | '>' => 4,
        _ => c.len_utf16(),
    }
}

/// Cuts to at most `max` of [`length`]. An ellipsis shows that something is left out.
fn cut(text: &str, max: usize) -> String {
    if length(text) <= max {
        return text.to_owned();
    }
    let mut room = max - 1;
    let fits = |c: &char| {
        let width = width(*c);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).collect::<String>() + "\u{2026}"
}

/// White space becomes one blank, so that the text has no line breaks or gaps; hidden characters become
/// visible.
fn one_line(text: &str) -> String {
    harmless(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests;
