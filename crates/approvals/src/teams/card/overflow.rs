//! The overflow card: how many calls wait that the channel was not shown, and the most important of them. Pure, as cards are.

use super::{Look, container, deadline, foreign, open, ours, sheet, title, unmarked};
use crate::cards::{LeftOut, Overflow};
use serde_json::{Value, json};

/// The card. Nothing is answered on it: it does not show the whole calls.
pub fn overflow(card: &Overflow) -> Value {
    let mut body = head(card);
    body.extend(card.lead().map(|lead| ours(&lead)));
    body.extend(card.named().iter().map(named));
    sheet(&body, &[open("Open the inbox", &card.url)], &unmarked(&card.notification()))
}

/// The same without any value of a call: for webhooks, whose flow may hand it to anybody.
pub fn bare(card: &Overflow) -> Value {
    sheet(&head(card), &[open("Open the inbox", &card.url)], &card.title())
}

fn head(card: &Overflow) -> Vec<Value> {
    vec![title(&card.title(), "accent"), ours(card.text())]
}

/// A call, with a button that leads to its page.
fn named(call: &LeftOut) -> Value {
    let review = json!({"type": "ActionSet", "actions": [open("Review", &call.url)]});
    container(
        "emphasis",
        &[
            foreign(&call.sentence, Look::Strong),
            foreign(&call.agent, Look::Label),
            deadline("Answer by", call.deadline),
            review,
        ],
    )
}
