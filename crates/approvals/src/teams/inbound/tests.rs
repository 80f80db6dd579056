use super::*;
use serde_json::{Value, json};

const DIRECTORY: &str = "11111111-2222-3333-4444-555555555555";

fn click() -> Value {
    json!({
        "type": "invoke", "name": "adaptiveCard/action", "channelId": "msteams",
        "from": {"id": "29:abc", "aadObjectId": "AAAAAAAA-0000-0000-0000-000000000001", "name": "Kim"},
        "conversation": {"id": "19:x@thread.tacv2;messageid=17", "tenantId": DIRECTORY, "isGroup": true},
        "channelData": {"tenant": {"id": DIRECTORY}}, "replyToId": "17",
        "value": {"trigger": "manual", "action": {"type": "Action.Execute", "verb": "approve", "data": {
            "approval": "apr-1", "digest": "abcdefgh", "version": 1,
            "shown_at": "2026-11-20T05:48:00.000000000Z", "comment": " ok "}}}
    })
}

fn wanted(change: impl FnOnce(&mut Value)) -> Wanted {
    let mut value = click();
    change(&mut value);
    serde_json::from_value::<Activity>(value).unwrap().wanted(DIRECTORY)
}

#[test]
fn clicks_and_refreshes() {
    let Wanted::Review(made) = wanted(|_| {}) else { panic!("not a review") };
    assert_eq!((made.decision, made.version), (Choice::Approve, 1));
    assert_eq!(made.comment.as_deref(), Some("ok"));
    assert_eq!(made.shown.by.object, "aaaaaaaa-0000-0000-0000-000000000001");
    assert!(matches!(
        wanted(|v| v["value"]["action"]["verb"] = "refresh".into()),
        Wanted::Refresh(_)
    ));
}

#[test]
fn a_denial_has_its_reason_and_its_texts() {
    let deny = |data: Value| {
        wanted(|v| {
            v["value"]["action"]["verb"] = "deny".into();
            let fields = v["value"]["action"]["data"].as_object_mut().unwrap();
            fields.extend(data.as_object().unwrap().clone());
        })
    };
    let read = |data: Value| match deny(data) {
        Wanted::Review(made) => (made.reason, made.for_agent, made.comment),
        other => panic!("{other:?}"),
    };
    for reason in DenyReason::ALL {
        let data = json!({"reason": reason.code(), "for_agent": " Ask Kim ", "deny_comment": "no", "comment": "yes"});
        assert_eq!(read(data), (Some(reason), Some("Ask Kim".into()), Some("no".into())));
    }
    // Nothing chosen, nothing typed; and a card of an earlier version.
    let empty = json!({"reason": "", "for_agent": " ", "deny_comment": ""});
    assert_eq!(read(empty), (None, None, Some("ok".into())));
    assert_eq!(read(json!({})), (None, None, Some("ok".into())));
    assert_eq!(deny(json!({"reason": "because"})), Wanted::Unknown);
    // An approval has none of it, whatever a client sends along.
    let along = wanted(|v| v["value"]["action"]["data"]["for_agent"] = "x".into());
    assert!(matches!(along, Wanted::Review(made) if made.for_agent.is_none()));
}

#[test]
fn a_question_is_read() {
    let ask = |text: Value| {
        let asked = wanted(|v| {
            v["value"]["action"]["verb"] = "ask".into();
            v["value"]["action"]["data"]["question"] = text;
        });
        match asked {
            Wanted::Ask(question) => (question.digest, question.text),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(json!(" Which? ")), ("abcdefgh".into(), Some("Which?".into())));
    assert_eq!(ask(json!(" ")).1, None);
    assert_eq!(ask(Value::Null).1, None);
    assert_eq!(ask(json!("x".repeat(5000))).1.unwrap().len(), TEXT_CHARS_MAX);
    check(
        |v| {
            v["value"]["action"]["verb"] = "ask".into();
            v["value"]["trigger"] = "automatic".into();
        },
        &Wanted::Unknown,
    );
}

fn check(change: impl FnOnce(&mut Value), expected: &Wanted) {
    assert_eq!(&wanted(change), expected);
}

#[test]
fn what_a_client_does_by_itself_is_never_a_review() {
    check(|v| v["value"]["trigger"] = "automatic".into(), &Wanted::Unknown);
}

#[test]
fn everything_else_is_nothing_or_unknown() {
    check(|v| v["type"] = "message".into(), &Wanted::Nothing);
    check(|v| v["name"] = "composeExtension/query".into(), &Wanted::Nothing);
    check(|v| v["value"] = Value::Null, &Wanted::Unknown);
    check(|v| v["value"]["action"]["verb"] = "erase".into(), &Wanted::Unknown);
    check(|v| v["value"]["action"]["data"]["digest"] = Value::Null, &Wanted::Unknown);
    check(|v| v["value"]["action"]["data"]["approval"] = "../x".into(), &Wanted::Unknown);
    check(|v| v["from"]["aadObjectId"] = "kim".into(), &Wanted::Unknown);
    check(|v| v["from"] = Value::Null, &Wanted::Unknown);
    check(|v| v["replyToId"] = Value::Null, &Wanted::Unknown);
}

#[test]
fn directories_must_agree() {
    let from = |change: fn(&mut Value)| {
        let mut value = click();
        change(&mut value);
        serde_json::from_value::<Activity>(value).unwrap().is_from(DIRECTORY)
    };
    assert!(from(|_| {}));
    assert!(from(|v| v["channelData"] = Value::Null));
    assert!(!from(|v| v["channelData"]["tenant"]["id"] = "other".into()));
    assert!(!from(|v| v["conversation"]["tenantId"] = "other".into()));
    assert!(!from(|v| v["from"]["tenantId"] = "other".into()));
    assert!(!from(|v| {
        v["channelData"] = Value::Null;
        v["conversation"]["tenantId"] = Value::Null;
    }));
}

#[test]
fn only_cards_we_posted() {
    let posted = crate::cards::Posted {
        conversation: "19:x@thread.tacv2;messageid=17".into(),
        message: "17".into(),
    };
    assert!(is_card(&posted, "19:x@thread.tacv2;messageid=17", "17"));
    assert!(is_card(&posted, "19:x@thread.tacv2", "17"));
    assert!(!is_card(&posted, "19:y@thread.tacv2;messageid=17", "17"));
    assert!(!is_card(&posted, "19:x@thread.tacv2;messageid=17", "18"));
}
