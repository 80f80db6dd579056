//! The dialogs that buttons of a card open: a denial with its reason, and a question. Pure, as cards are.

use super::{
    Origin, Shown,
    blocks::{plain, section, to_text},
    words::{COMMENT, FOR_AGENT, QUESTION, REASON, TEXT_CHARS_MAX},
};
use crate::cards::Posted;
use decider::{approval::DenyReason, words::deny_reason};
use ledger::foreign::harmless;
use serde_json::{Value, json};

/// A dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialog {
    /// Why a call is denied.
    Deny,
    /// A question instead of an answer.
    Ask,
}

/// The dialog, as it is opened from a card.
pub(super) fn view(dialog: Dialog, shown: &Shown, at: &Posted) -> Value {
    let which = format!("{} \u{b7} call {}", shown.approval, harmless(&shown.digest));
    let (callback, title, submit) = match dialog {
        Dialog::Deny => (COMMENT, "Deny with reason", "Deny"),
        Dialog::Ask => (QUESTION, "Ask a question", "Ask"),
    };
    let mut blocks = vec![section(&which)];
    match dialog {
        Dialog::Deny => {
            blocks.push(reason());
            let comment = "Comment for everybody who is asked";
            blocks.push(input(COMMENT, comment, "Kept as evidence. It can be erased.", true));
            let hint = "The agent reads it. It can be erased.";
            blocks.push(input(FOR_AGENT, "Text for the agent", hint, true));
        }
        Dialog::Ask => {
            let hint = "It goes to the owner of the agent and to its gateway. The deadline does not move. The answer \
                        comes to the page, and a reply here says so.";
            blocks.push(input(QUESTION, "Your question", hint, false));
        }
    }
    json!({
        "type": "modal",
        "callback_id": callback,
        "private_metadata": to_text(&Origin::new(shown, at)),
        "title": plain(title),
        "submit": plain(submit),
        "close": plain("Back"),
        "blocks": blocks,
    })
}

fn input(id: &str, label: &str, hint: &str, optional: bool) -> Value {
    json!({
        "type": "input", "block_id": id, "label": plain(label), "hint": plain(hint), "optional": optional,
        "element": {
            "type": "plain_text_input", "action_id": id, "multiline": true, "max_length": TEXT_CHARS_MAX,
        },
    })
}

/// The choice of a reason.
fn reason() -> Value {
    let option =
        |reason: DenyReason| json!({"text": plain(deny_reason(reason)), "value": reason.code()});
    json!({
        "type": "input", "block_id": REASON, "label": plain("Why?"),
        "element": {
            "type": "static_select", "action_id": REASON, "placeholder": plain("Choose a reason"),
            "options": DenyReason::ALL.map(option),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::{ident::Ident, time::Nanos};

    /// Each dialog leads back to its card, and has these inputs; `optional` of them may stay empty.
    fn check(dialog: Dialog, callback: &str, inputs: &[&str], optional: &[&str]) {
        let shown = Shown {
            approval: Ident::new("apr-1").unwrap(),
            digest: "AbCdEfGh".into(),
            version: 3,
            shown_at: Nanos(5),
        };
        let at = Posted { conversation: "C1".into(), message: "1.2".into() };
        let view = view(dialog, &shown, &at);
        assert_eq!(view["callback_id"], callback);
        let carried = view["private_metadata"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Origin>(carried).unwrap(), Origin::new(&shown, &at));
        assert!(carried.len() < 3000);
        let names = |may_stay_empty: bool| -> Vec<&str> {
            let blocks = view["blocks"].as_array().unwrap().iter();
            let entries = blocks.filter(|block| block["type"] == "input");
            let entries = entries.filter(|one| !may_stay_empty || one["optional"] == true);
            entries.map(|one| one["block_id"].as_str().unwrap()).collect()
        };
        assert_eq!((names(false), names(true)), (inputs.to_vec(), optional.to_vec()));
    }

    #[test]
    fn a_dialog_carries_the_card_it_came_from() {
        let texts = ["comment", "for_agent"];
        check(Dialog::Deny, "comment", &["reason", "comment", "for_agent"], &texts);
        check(Dialog::Ask, "question", &["question"], &[]);
    }

    #[test]
    fn each_reason_can_be_chosen() {
        let options = reason()["element"]["options"].as_array().unwrap().clone();
        let codes: Vec<_> =
            options.iter().map(|option| option["value"].as_str().unwrap()).collect();
        assert_eq!(codes, DenyReason::ALL.map(DenyReason::code));
        assert!(options.iter().all(|option| option["text"]["text"].as_str().unwrap().len() <= 75));
    }
}
