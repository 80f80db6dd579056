//! The buttons of a card. Each opens a small card below it; only the button in there records something. So a press by
//! mistake decides nothing, and nothing needs to be fetched in between. Pure, as cards are.

use super::{Look, foreign, open, ours, sentence};
use crate::{
    cards::Card,
    teams::inbound::{TEXT_CHARS_MAX, input, verb},
};
use decider::{approval::DenyReason, words::deny_reason};
use serde_json::{Value, json};

/// What a press sends to us. A card that can't be decided here has none of it.
pub(super) fn deciding(card: &Card) -> Vec<Value> {
    vec![
        opens("Approve \u{2026}", "positive", &approve(card)),
        opens("Deny \u{2026}", "destructive", &deny(card)),
        opens("Ask \u{2026}", "default", &ask(card)),
    ]
}

/// The link to the page.
pub(super) fn browser(card: &Card) -> Value {
    open("Review in browser", &card.url)
}

fn opens(title: &str, style: &str, inner: &(Vec<Value>, Value)) -> Value {
    let (body, action) = inner;
    json!({
        "type": "Action.ShowCard", "title": title, "style": style, "fallback": "drop",
        "card": {"type": "AdaptiveCard", "body": body, "actions": [action]},
    })
}

fn approve(card: &Card) -> (Vec<Value>, Value) {
    let mut body = what("Approve this call?", card);
    body.push(text(input::COMMENT, "Comment for everybody who is asked (optional)"));
    (body, execute("Yes, approve", verb::APPROVE, "positive", card))
}

fn deny(card: &Card) -> (Vec<Value>, Value) {
    let mut body = what("Deny this call?", card);
    let choice = |reason: DenyReason| json!({"title": deny_reason(reason), "value": reason.code()});
    body.push(json!({
        "type": "Input.ChoiceSet", "id": input::REASON, "label": "Reason (optional; the agent\u{2019}s gateway gets it)",
        "style": "compact", "placeholder": "No reason", "choices": DenyReason::ALL.map(choice),
    }));
    body.push(text(input::FOR_AGENT, "For the agent: what it should do instead (optional)"));
    body.push(text(input::DENY_COMMENT, "Comment for everybody who is asked (optional)"));
    (body, execute("Yes, deny", verb::DENY, "destructive", card))
}

fn ask(card: &Card) -> (Vec<Value>, Value) {
    let mut question = text(input::QUESTION, "Question");
    question["isRequired"] = true.into();
    question["errorMessage"] = "Write a question.".into();
    let hint = "It goes to the owner of the agent and to its gateway, and decides nothing. The deadline does not move. \
                The answer comes to the page, and a reply here says so.";
    (vec![ours(hint), question], execute("Send question", verb::ASK, "default", card))
}

/// What is decided, once more: the sentence, and the amount unless the sentence has it.
fn what(question: &str, card: &Card) -> Vec<Value> {
    let asked = json!({"type": "TextBlock", "text": question, "weight": "bolder", "wrap": true});
    let amount = card.amount.as_ref().filter(|_| !card.told.sentence.has_amount());
    let amount = amount.map(|amount| foreign(amount, Look::Strong));
    [asked, sentence(card)].into_iter().chain(amount).collect()
}

fn text(id: &str, label: &str) -> Value {
    json!({
        "type": "Input.Text", "id": id, "label": label, "isMultiline": true, "maxLength": TEXT_CHARS_MAX,
    })
}

/// A button whose click comes to us as an `invoke`. An old client shows no button: with `Action.Submit` its
/// click would come as a message, which never counts as a review.
fn execute(title: &str, verb: &str, style: &str, card: &Card) -> Value {
    json!({
        "type": "Action.Execute", "title": title, "verb": verb, "style": style, "fallback": "drop",
        "data": {
            "approval": card.approval, "digest": card.digest, "version": card.version,
            "shown_at": card.shown_at,
        },
    })
}
