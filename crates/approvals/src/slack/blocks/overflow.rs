//! The overflow card in Block Kit: how many calls wait that the channel was not shown, and the most important of them.

use super::{Message, escape, header, link, moment, one_line, plain, section};
use crate::cards::{LeftOut, Overflow};
use serde_json::{Value, json};

/// The message. Foreign text is plain text in sections of its own.
pub(in crate::slack) fn overflow(card: &Overflow) -> Message {
    let mut blocks = vec![header(&card.title()), section(card.text())];
    blocks.extend(card.lead().map(|lead| section(&lead)));
    blocks.extend((1..).zip(card.named()).map(|(nth, call)| named(nth, call)));
    let open = link("Open the inbox", &card.url);
    blocks.push(json!({"type": "actions", "block_id": "decide", "elements": [open]}));
    Message { text: escape(&one_line(&card.notification())), blocks }
}

/// A call, with a button that leads to its page. Nothing is answered here: the card does not show the whole call.
fn named(nth: usize, call: &LeftOut) -> Value {
    let text = format!("{}\n{}", one_line(&call.sentence), one_line(&call.agent));
    let mut review = link("Review", &call.url);
    review["action_id"] = format!("open-{nth}").into();
    json!({
        "type": "section", "block_id": format!("call-{nth}"), "text": plain(&text),
        "fields": [moment("Answer by", call.deadline)], "accessory": review,
    })
}
