use super::*;
use crate::slack::{Options, Shown};
use hmac::{Hmac, Mac as _};
use ledger::ident::Ident;
use serde_json::{Value, json};
use sha2::Sha256;
use zeroize::Zeroizing;

const SECRETS: [&str; 2] = ["new-secret", "old-secret"];

fn connection() -> Connection {
    let secret = |text: &str| Zeroizing::new(text.to_owned());
    let options = Options {
        tenant: Ident::new("acme").unwrap(),
        app_id: "A1".into(),
        workspaces: vec!["T1".into(), "E1".into()],
        bot_token: secret("xoxb-1"),
        signing_secrets: SECRETS.map(secret).to_vec(),
        api_url: "https://slack.com/api".into(),
    };
    Connection::open(Ident::new("acme-slack").unwrap(), options).unwrap()
}

fn now() -> Nanos {
    ledger::clock::wall_clock()
}

fn sign(secret: &str, timestamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    format!("v0={}", data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()))
}

fn shown() -> Shown {
    Shown {
        approval: Ident::new("apr-1").unwrap(),
        digest: "AbCdEfGh".into(),
        version: 3,
        shown_at: Nanos(5),
    }
}

fn click() -> Value {
    json!({
        "type": "block_actions", "api_app_id": "A1", "token": "x", "trigger_id": "1.2.x",
        "team": {"id": "T1", "domain": "acme", "enterprise_id": "E1"},
        "user": {"id": "U1", "username": "kim", "name": "kim", "team_id": "T1"},
        "container": {"type": "message", "message_ts": "1.2", "channel_id": "C1", "is_ephemeral": false},
        "channel": {"id": "C1", "name": "approvals"},
        "message": {"type": "message", "ts": "1.2", "blocks": [{"type": "never_heard_of"}]},
        "response_url": "https://hooks.slack.com/actions/T1/1/x", "state": {"values": {}},
        "actions": [{"action_id": "approve", "block_id": "decide", "type": "button", "action_ts": "1.3",
                     "value": serde_json::to_string(&shown()).unwrap()}],
    })
}

fn body(payload: &Value) -> String {
    serde_urlencoded::to_string([("payload", payload.to_string())]).unwrap()
}

fn read_signed(payload: &Value) -> Result<Interaction, Refused> {
    let (body, now) = (body(payload), now());
    let timestamp = now.seconds().to_string();
    let signature = sign(SECRETS[0], &timestamp, &body);
    let headers = Headers { timestamp: Some(&timestamp), signature: Some(&signature) };
    read(&connection(), headers, body.as_bytes(), now)
}

fn read_click(change: impl FnOnce(&mut Value)) -> Result<Interaction, Refused> {
    let mut payload = click();
    change(&mut payload);
    read_signed(&payload)
}

fn clicked(change: impl FnOnce(&mut Value)) -> Click {
    match read_click(change) {
        Ok(Interaction::Click(click)) => click,
        other => panic!("{other:?}"),
    }
}

fn member(workspace: &str) -> SlackMember {
    SlackMember { workspace: workspace.into(), user: "U1".into() }
}

/// A signature with `secret`, made `age` seconds before `now`, over a body that is then changed.
fn check_signature(secret: &str, age: i64, change: impl FnOnce(&mut String), accepted: bool) {
    let connection = connection();
    let mut body = body(&click());
    let now = now();
    let timestamp = now.seconds().checked_add_signed(-age).unwrap().to_string();
    let signature = sign(secret, &timestamp, &body);
    change(&mut body);
    let headers = Headers { timestamp: Some(&timestamp), signature: Some(&signature) };
    let read = read(&connection, headers, body.as_bytes(), now);
    assert_eq!(read.is_ok(), accepted, "{secret} {age} {read:?}");
    assert!(accepted || read == Err(Refused::Signature));
}

#[test]
fn both_secrets_for_five_minutes_over_the_raw_bytes() {
    check_signature(SECRETS[0], 0, |_| {}, true);
    check_signature(SECRETS[1], 0, |_| {}, true);
    check_signature("another", 0, |_| {}, false);
    check_signature(SECRETS[0], 270, |_| {}, true);
    check_signature(SECRETS[0], -270, |_| {}, true);
    check_signature(SECRETS[0], 301, |_| {}, false);
    check_signature(SECRETS[0], -330, |_| {}, false);
    check_signature(SECRETS[0], 0, |body| body.push('&'), false);
    check_signature(SECRETS[0], 0, |body| *body = body.replace("A1", "A2"), false);
}

#[test]
fn headers_must_be_there_and_plain() {
    let (body, now) = (body(&click()), now());
    let timestamp = now.seconds().to_string();
    let signature = sign(SECRETS[0], &timestamp, &body);
    let check = |timestamp: Option<&str>, signature: Option<&str>| {
        let read = read(&connection(), Headers { timestamp, signature }, body.as_bytes(), now);
        assert_eq!(read, Err(Refused::Signature), "{timestamp:?} {signature:?}");
    };
    check(None, Some(&signature));
    check(Some(&timestamp), None);
    check(Some(&timestamp), Some("v0="));
    for spelling in [format!("+{timestamp}"), format!(" {timestamp}"), String::new()] {
        let signature = sign(SECRETS[0], &spelling, &body);
        check(Some(&spelling), Some(&signature));
    }
}

#[test]
fn a_click_is_read() {
    let click = clicked(|_| {});
    assert_eq!(click.act, Act::Approve);
    assert_eq!(click.shown, shown());
    assert_eq!(click.at, Posted { conversation: "C1".into(), message: "1.2".into() });
    assert_eq!(click.clicker.members().collect::<Vec<_>>(), [&member("T1"), &member("E1")]);
    assert_eq!(click.trigger_id.as_deref(), Some("1.2.x"));
}

fn check_clicker(team: Value, team_id: Value, linked: &[&str]) {
    let click = clicked(|payload| {
        payload["team"] = team;
        payload["user"]["team_id"] = team_id;
    });
    let linked: Vec<_> = linked.iter().map(|workspace| member(workspace)).collect();
    assert_eq!(click.clicker.members().cloned().collect::<Vec<_>>(), linked);
    assert_eq!(click.clicker.is_foreign, linked.is_empty());
}

#[test]
fn membership_is_the_users_own() {
    check_clicker(json!({"id": "T1"}), json!("T1"), &["T1"]);
    check_clicker(Value::Null, json!("E1"), &["E1"]);
    check_clicker(Value::Null, json!("T1"), &["T1"]);
    check_clicker(json!({"id": "T5", "enterprise_id": "E1"}), json!("T5"), &["E1"]);
    // Guests belong to another workspace, wherever they click.
    check_clicker(json!({"id": "T1", "enterprise_id": "E1"}), json!("T9"), &[]);
    check_clicker(json!({"id": "T1"}), Value::Null, &[]);
    check_clicker(json!({"id": "T9", "enterprise_id": "E9"}), json!("T9"), &[]);
}

#[test]
fn what_is_unknown_is_let_pass_and_what_decides_is_strict() {
    let ignored = Ok(Interaction::Ignored);
    assert_eq!(read_click(|p| p["type"] = "shortcut_of_tomorrow".into()), ignored);
    assert_eq!(read_click(|p| p["actions"][0]["action_id"] = "open".into()), ignored);
    assert_eq!(read_click(|p| p["actions"] = Value::Null), ignored);
    assert_eq!(read_click(|p| p["api_app_id"] = "A2".into()), Err(Refused::App));
    let body = Err(Refused::Body);
    assert_eq!(read_click(|p| p["actions"][0]["value"] = "{}".into()), body);
    assert_eq!(read_click(|p| p["container"] = json!({"type": "view"})), body);
    assert_eq!(read_click(|p| p["user"] = Value::Null), body);
    let extra = serde_json::to_string(&shown()).unwrap().replacen('{', r#"{"x":1,"#, 1);
    assert_eq!(read_click(|p| p["actions"][0]["value"] = extra.into()), body);
}

#[test]
fn a_comment_is_read() {
    let at = Posted { conversation: "C1".into(), message: "1.2".into() };
    let metadata = serde_json::to_string(&Origin::new(&shown(), &at)).unwrap();
    let read = |callback: &str, text: Value| {
        read_signed(&json!({
            "type": "view_submission", "api_app_id": "A1", "team": null, "user": {"id": "U1", "team_id": "T1"},
            "view": {"callback_id": callback, "private_metadata": metadata,
                     "state": {"values": {"comment": {"comment": {"type": "plain_text_input", "value": text}}}}},
        }))
    };
    let text = |read| match read {
        Ok(Interaction::Comment(comment)) => {
            assert_eq!((&comment.shown, &comment.at), (&shown(), &at));
            comment.text
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(text(read("comment", json!(" too much "))), "too much");
    assert_eq!(text(read("comment", Value::Null)), "");
    assert_eq!(text(read("comment", json!("x".repeat(5000)))).len(), TEXT_CHARS_MAX);
    assert_eq!(read("another", json!("x")), Ok(Interaction::Ignored));
}

/// A dialog that was submitted, with what was typed and chosen in it.
fn submitted(callback: &str, values: &Value) -> Result<Interaction, Refused> {
    let at = Posted { conversation: "C1".into(), message: "1.2".into() };
    let metadata = serde_json::to_string(&Origin::new(&shown(), &at)).unwrap();
    read_signed(&json!({
        "type": "view_submission", "api_app_id": "A1", "team": null, "user": {"id": "U1", "team_id": "T1"},
        "view": {"callback_id": callback, "private_metadata": metadata, "state": {"values": values}},
    }))
}

#[test]
fn a_reason_and_a_text_for_the_agent_are_read() {
    let typed = |code: Value, text: &str| {
        json!({
            "reason": {"reason": {"type": "static_select", "selected_option": code}},
            "comment": {"comment": {"type": "plain_text_input", "value": null}},
            "for_agent": {"for_agent": {"type": "plain_text_input", "value": text}},
        })
    };
    let option = |code: &str| json!({"text": {"type": "plain_text", "text": "x"}, "value": code});
    for reason in DenyReason::ALL {
        match submitted("comment", &typed(option(reason.code()), " Ask Kim ")) {
            Ok(Interaction::Comment(comment)) => {
                assert_eq!((comment.reason, comment.text), (Some(reason), String::new()));
                assert_eq!(comment.for_agent, "Ask Kim");
            }
            other => panic!("{other:?}"),
        }
    }
    let none = submitted("comment", &typed(Value::Null, ""));
    assert!(matches!(&none, Ok(Interaction::Comment(comment)) if comment.reason.is_none()));
    // The log would keep it for ever.
    assert_eq!(submitted("comment", &typed(option("because"), "")), Err(Refused::Body));
}

#[test]
fn a_question_is_read() {
    let typed = |text: Value| json!({"question": {"question": {"value": text}}});
    let text = |values| match submitted("question", &values) {
        Ok(Interaction::Question(question)) => {
            assert_eq!((&question.shown, question.at.message.as_str()), (&shown(), "1.2"));
            question.text
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(text(typed(json!(" Which invoice? "))), "Which invoice?");
    assert_eq!(text(typed(Value::Null)), "");
    assert_eq!(text(json!({})), "");
}
