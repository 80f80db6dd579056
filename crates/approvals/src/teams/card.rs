//! A card as an Adaptive Card, schema 1.5 (the newest that Teams shows). Pure.
//!
//! Foreign text appears only in `TextRun`s. Unlike `TextBlock` and `FactSet` they have no Markdown, so no
//! agent can forge a link, a mention or an "Approved by" line. Each foreign text is a block of its own, so
//! that right-to-left text can't reorder its neighbours. What a `TextRun` would still interpret
//! (`{{DATE(…)}}`) is broken up, and a call that contains it has no buttons, because it can't be shown
//! exactly.

mod buttons;
mod notice;
mod overflow;

pub use notice::notice;
pub use overflow::{bare as overflow_bare, overflow};

use crate::{
    cards::{Card, FOR_OWNER, FROZEN, Reader},
    facts::Fact,
};
use decider::{
    approval::{Choice, Phase},
    words,
};
use ledger::{foreign::harmless, time::Nanos};
use serde_json::{Value, json};

/// Media type of the cards.
pub const CONTENT_TYPE: &str = "application/vnd.microsoft.card.adaptive";
/// Most members whose view refreshes by itself. Teams allows no more.
pub const REFRESH_MAX: usize = 60;
/// Largest message, in bytes of UTF-16, as Teams counts. Documented limits are 28 KB for webhooks and more for bots.
pub const MESSAGE_BYTES_MAX: usize = 28 << 10;
/// Part of that which the message around a card may take.
const ENVELOPE_BYTES: usize = 2 << 10;
/// Longest text of an agent that is shown, in characters. It is not part of the call.
const AGENT_SAYS_CHARS_MAX: usize = 600;

/// The reader for whom a card is drawn.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Members (`29:…`) whose client asks for a view of their own.
    pub members: &'a [String],
    /// True to show buttons. This is only a convenience: the click decides what counts.
    pub buttons: bool,
    /// A line for this reader only.
    pub note: Option<Note<'a>>,
}

/// What became of a reader's press.
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// It was recorded.
    Done(&'a str),
    /// It was not.
    Refused(&'a str),
}

impl Note<'_> {
    fn drawn(self) -> Value {
        match self {
            Self::Done(text) => foreign(text, Look::Good),
            Self::Refused(text) => foreign(text, Look::Warning),
        }
    }
}

impl<'a> View<'a> {
    /// The posted card, for all readers.
    pub fn everybody(members: &'a [String]) -> Self {
        Self { members, buttons: true, note: None }
    }
}

/// The whole card. A card that is too big for Teams, or can't be shown exactly, only links to the page.
pub fn full(card: &Card, view: &View<'_>) -> Value {
    if card.reader == Reader::Owner {
        return outcome(card);
    }
    let exact = shown_exactly(card);
    let buttons = view.buttons && card.decidable() && exact;
    let hint = (view.buttons && card.phase == Phase::Pending && !buttons).then(|| why_not(card));
    let drawn = draw(card, view, buttons, hint, true);
    if size(&drawn) <= MESSAGE_BYTES_MAX - ENVELOPE_BYTES {
        return drawn;
    }
    let hint = "This call is too long to show here. Review it in the browser.";
    draw(card, view, false, Some(hint), false)
}

/// A card without buttons that links to the page.
pub fn link(card: &Card) -> Value {
    short(card, sentence(card), None, &notification(card))
}

/// A link with a line for this reader only, without any value of the call: for people who are not asked.
pub fn told(card: &Card, note: Option<Note<'_>>) -> Value {
    let call = format!("{} \u{b7} {}", card.tool, card.action);
    short(card, foreign(&call, Look::Strong), note, heading(card).0)
}

/// How a call of somebody's agent ended: for an owner, without any value of the call.
fn outcome(card: &Card) -> Value {
    let (words, colour) = heading(card);
    let body =
        [title(words, colour), sentence(card), foreign(&card.agent, Look::Label), ours(FOR_OWNER)];
    sheet(&body, &[], &notification(card))
}

fn short(card: &Card, call: Value, note: Option<Note<'_>>, fallback: &str) -> Value {
    let (heading, colour) = heading(card);
    let mut body = vec![title(heading, colour), call];
    body.extend(note.map(Note::drawn));
    if card.phase == Phase::Pending {
        body.push(deadline("Answer by", card.deadline));
    }
    sheet(&body, &[buttons::browser(card)], fallback)
}

/// A link without any value of the call: for webhooks, whose flow may hand it to anybody.
pub fn bare(card: &Card) -> Value {
    told(card, None)
}

/// A message with the card.
pub fn message(card: &Value) -> Value {
    json!({
        "type": "message",
        "summary": card["fallbackText"],
        "attachments": [{"contentType": CONTENT_TYPE, "content": card}],
    })
}

fn draw(
    card: &Card,
    view: &View<'_>,
    buttons: bool,
    hint: Option<&str>,
    with_params: bool,
) -> Value {
    let (words, colour) = heading(card);
    let mut body = vec![title(words, colour), sentence(card)];
    body.extend(view.note.map(Note::drawn));
    body.extend(card.frozen.then(|| foreign(FROZEN, Look::Warning)));
    body.extend(card.amount.as_ref().map(|amount| foreign(amount, Look::Amount)));
    body.extend(card.facts.iter().map(fact));
    body.push(about(card));
    if with_params && !card.params.is_empty() {
        body.push(params(card));
    }
    body.extend(card.agent_says.as_deref().map(|text| agent_says(card.who_says(), text)));
    body.extend(history(card));
    if card.phase == Phase::Pending {
        body.push(deadline("Answer by", card.deadline));
    }
    if let (Phase::Granted | Phase::Minted, Some(until)) = (card.phase, card.execution_deadline) {
        body.push(deadline("Redeem by", until));
    }
    body.extend(hint.map(ours));
    let mut actions = if buttons { buttons::deciding(card) } else { Vec::new() };
    actions.push(buttons::browser(card));
    let mut sheet = sheet(&body, &actions, &notification(card));
    if !is_over(card.phase) {
        sheet["refresh"] = refresh(card, view.members);
    }
    sheet
}

fn sheet(body: &[Value], actions: &[Value], heading: &str) -> Value {
    json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        // Shown in notifications, and by clients that can't show this version.
        "fallbackText": heading,
        "msteams": {"width": "Full"},
        "body": body,
        "actions": actions,
    })
}

fn open(title: &str, url: &str) -> Value {
    json!({"type": "Action.OpenUrl", "title": title, "url": url})
}

fn refresh(card: &Card, members: &[String]) -> Value {
    let mut refresh = json!({"action": {
        "type": "Action.Execute", "title": "Refresh", "verb": "refresh",
        "data": {"approval": card.approval},
    }});
    if !members.is_empty() {
        refresh["userIds"] = members.iter().take(REFRESH_MAX).cloned().collect();
    }
    refresh
}

/// The phase in words, and its colour.
fn heading(card: &Card) -> (&'static str, &'static str) {
    let colour = match card.phase {
        Phase::None | Phase::Pending => "accent",
        Phase::Granted | Phase::Minted | Phase::Redeemed | Phase::Completed => "good",
        Phase::Denied | Phase::Revoked => "attention",
        Phase::Failed
        | Phase::Unknown
        | Phase::Expired
        | Phase::Cancelled
        | Phase::Superseded
        | Phase::Lapsed => "warning",
    };
    (words::phase(card.phase, card.end_reason.as_deref()), colour)
}

fn is_over(phase: Phase) -> bool {
    match phase {
        Phase::None | Phase::Pending | Phase::Granted | Phase::Minted | Phase::Redeemed => false,
        Phase::Completed
        | Phase::Failed
        | Phase::Unknown
        | Phase::Denied
        | Phase::Expired
        | Phase::Cancelled
        | Phase::Superseded
        | Phase::Revoked
        | Phase::Lapsed => true,
    }
}

fn why_not(card: &Card) -> &'static str {
    if card.complete && card.browser_only {
        "The rule needs a recent sign-in. Review it in the browser."
    } else {
        "This call can't be shown whole here. Review it in the browser."
    }
}

/// The sentence, without markup, in a block of its own.
fn sentence(card: &Card) -> Value {
    let mut block = foreign("", Look::Strong);
    block["inlines"][0]["text"] = card.told.sentence.with(visible).into();
    block
}

/// What a notification says. It is plain text; signs that some client might read as markup are left out.
fn notification(card: &Card) -> String {
    unmarked(&card.notification())
}

fn unmarked(text: &str) -> String {
    text.chars().filter(|c| !"<>[]{}*_`~|".contains(*c)).collect()
}

/// What the log says of earlier calls.
fn fact(fact: &Fact) -> Value {
    let mut block = foreign("", if fact.warns() { Look::Warning } else { Look::Plain });
    block["inlines"][0]["text"] = fact.with(visible).into();
    block
}

/// Agent, rule and digest, each value in a block of its own.
fn about(card: &Card) -> Value {
    let run = card.run.as_deref().unwrap_or("none");
    let rows = [
        ("Tool", card.tool.as_str()),
        ("Action", &card.action),
        ("Agent", &card.agent),
        ("Run", run),
        ("Rule", &card.rule),
        ("Digest", card.digest_prefix()),
    ];
    let row = |(label, value): (&str, &str)| {
        let column = |width: &str, item| json!({"type": "Column", "width": width, "items": [item]});
        let columns = [column("70px", ours(label)), column("stretch", foreign(value, Look::Plain))];
        json!({"type": "ColumnSet", "spacing": "none", "columns": columns})
    };
    container("default", &rows.map(row))
}

fn params(card: &Card) -> Value {
    let mut items = vec![ours("The call, exactly as it will be executed:")];
    for (name, value) in &card.params {
        items.push(foreign(name, Look::Label));
        items.push(foreign(value, Look::Code));
    }
    container("emphasis", &items)
}

fn agent_says(who: &str, text: &str) -> Value {
    let mut shown: String = text.chars().take(AGENT_SAYS_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let items = vec![ours(&format!("{who}:")), foreign(&shown, Look::Said)];
    container("default", &items)
}

fn history(card: &Card) -> Vec<Value> {
    let answered = |(name, decision, at): &(String, Choice, Nanos)| {
        let word = match decision {
            Choice::Approve => "approved",
            Choice::Deny => "denied",
        };
        foreign(&format!("{name} {word}, {}", utc(*at)), Look::Plain)
    };
    let now = card.policy_now.iter().map(|text| foreign(text, Look::Plain));
    let mut lines: Vec<Value> = now.chain(card.reviews.iter().map(answered)).collect();
    if !card.needed.is_empty() {
        lines.push(foreign(&format!("Still needed: {}", card.needed.join(", ")), Look::Plain));
    }
    if let Some(reason) = card.end_reason.as_ref().filter(|_| is_over(card.phase)) {
        lines.push(foreign(&format!("Reason: {reason}"), Look::Plain));
    }
    lines
}

fn container(style: &str, items: &[Value]) -> Value {
    json!({"type": "Container", "style": style, "items": items})
}

fn title(text: &str, colour: &str) -> Value {
    json!({
        "type": "TextBlock", "text": text, "style": "heading", "size": "large", "weight": "bolder",
        "color": colour, "wrap": true,
    })
}

/// A text of ours, without any foreign part.
fn ours(text: &str) -> Value {
    json!({"type": "TextBlock", "text": text, "wrap": true, "isSubtle": true, "spacing": "small"})
}

/// A time, in the reader's own zone and in UTC.
fn deadline(label: &str, at: Nanos) -> Value {
    let second = format!("{}Z", at.to_string().get(..19).unwrap_or_default());
    let local = format!("{{{{DATE({second}, COMPACT)}}}} {{{{TIME({second})}}}}");
    ours(&format!("{label} {local} ({})", utc(at)))
}

fn utc(at: Nanos) -> String {
    let text = at.to_string();
    let (day, time) = (text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default());
    format!("{day} {time} UTC")
}

/// How a foreign text is styled.
#[derive(Clone, Copy)]
enum Look {
    Plain,
    Strong,
    Amount,
    Label,
    Code,
    Said,
    Good,
    Warning,
}

fn foreign(text: &str, look: Look) -> Value {
    let mut run = json!({"type": "TextRun", "text": visible(text)});
    let mut style = |name: &str, value: Value| run[name] = value;
    match look {
        Look::Plain => {}
        Look::Strong => style("weight", "bolder".into()),
        Look::Amount => {
            style("weight", "bolder".into());
            style("size", "extraLarge".into());
        }
        Look::Label => style("isSubtle", true.into()),
        Look::Code => style("fontType", "monospace".into()),
        Look::Said => style("italic", true.into()),
        Look::Good => style("color", "good".into()),
        Look::Warning => style("color", "attention".into()),
    }
    json!({"type": "RichTextBlock", "spacing": "small", "inlines": [run]})
}

/// True if Teams shows every foreign text of the call exactly.
fn shown_exactly(card: &Card) -> bool {
    let params = card.params.iter().flat_map(|(name, value)| [name, value]);
    params.chain([&card.tool, &card.action, &card.agent]).all(|text| visible(text) == *text)
}

/// The text without hidden characters (a last check after several others) and without `{{`.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in harmless(text).chars() {
        if c == '{' && out.ends_with('{') {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// Size as UTF-16 JSON, in bytes.
fn size(card: &Value) -> usize {
    2 * card.to_string().encode_utf16().count()
}

#[cfg(test)]
mod tests;
