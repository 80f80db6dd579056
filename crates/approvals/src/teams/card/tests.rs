use super::*;
use crate::cards::{LeftOut, Overflow, Says};
use crate::display::{Call, Displayed};
use crate::facts::{Part, Weight};
use ledger::ident::Ident;

fn displayed(tool: &str, action: &str) -> Displayed {
    let params = ledger::json::Value::String("ACME".into());
    Displayed::of(None, &Call { tool, action, params: Some(&params), amount: None })
}

fn card() -> Card {
    Card {
        tenant: Ident::new("acme").unwrap(),
        approval: Ident::new("apr-1").unwrap(),
        version: 3,
        shown_at: Nanos(1_800_000_000_000_000_000),
        phase: Phase::Pending,
        end_reason: None,
        tool: "payments".into(),
        action: "transfer".into(),
        agent: "agt-1".into(),
        run: None,
        amount: Some("EUR 1,250.00".into()),
        told: displayed("payments", "transfer"),
        params: vec![("/amount".into(), "125000".into())],
        complete: true,
        agent_says: Some("please".into()),
        digest: "abcdefgh0123".into(),
        policy_now: None,
        rule: "big".into(),
        reviews: vec![],
        needed: vec!["1 of finance".into()],
        deadline: Nanos(1_800_003_600_000_000_000),
        execution_deadline: None,
        url: "https://log.example.com/approvals/apr-1".into(),
        browser_only: false,
        frozen: false,
        facts: Vec::new(),
        reader: Reader::Asked,
    }
}

fn drawn(change: impl FnOnce(&mut Card)) -> Value {
    let mut card = card();
    change(&mut card);
    full(&card, &View::everybody(&[]))
}

/// Verbs of the buttons that record something, in their order.
fn verbs(card: &Value) -> Vec<&str> {
    fn of(action: &Value) -> Vec<&str> {
        if action["type"] == "Action.ShowCard" {
            return verbs(&action["card"]);
        }
        action["verb"].as_str().into_iter().collect()
    }
    card["actions"].as_array().unwrap().iter().flat_map(of).collect()
}

/// Every value of a member named `name`, with the type of its object.
fn texts(value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            if let (Some(kind), Some(text)) = (map.get("type"), map.get("text")) {
                out.push((kind.as_str().unwrap().into(), text.as_str().unwrap().into()));
            }
            map.values().for_each(|value| texts(value, out));
        }
        Value::Array(list) => list.iter().for_each(|value| texts(value, out)),
        _ => {}
    }
}

fn check(change: impl FnOnce(&mut Card), decidable: bool) {
    let drawn = drawn(change);
    let expected: &[&str] = if decidable { &["approve", "deny", "ask"] } else { &[] };
    assert_eq!(verbs(&drawn), expected, "{drawn}");
    // A press on the card itself records nothing.
    assert!(drawn["actions"].as_array().unwrap().iter().all(|a| a["type"] != "Action.Execute"));
    assert!(drawn["actions"].as_array().unwrap().iter().any(|a| a["type"] == "Action.OpenUrl"));
    assert!(size(&message(&drawn)) <= MESSAGE_BYTES_MAX);
}

#[test]
fn p7_buttons_only_where_all_is_shown() {
    check(|_| {}, true);
    check(|card| card.complete = false, false);
    check(|card| card.browser_only = true, false);
    check(|card| card.phase = Phase::Granted, false);
    check(|card| card.phase = Phase::Expired, false);
    check(|card| card.params.push(("/x".into(), "y".repeat(20_000))), false);
    check(|card| card.params.push(("/x".into(), "{{DATE(2026-01-01T00:00:00Z)}}".into())), false);
    check(|card| card.params.push(("/x".into(), "a\u{202e}b".into())), false);
    check(|card| card.agent_says = Some("z".repeat(50_000)), true);
    check(|card| card.params = (0..900).map(|n| (format!("/{n}"), "1".into())).collect(), false);
}

#[test]
fn p7_a_click_carries_what_was_shown() {
    let drawn = drawn(|_| {});
    let button = &drawn["actions"][0]["card"]["actions"][0];
    let expected = json!({
        "approval": "apr-1", "digest": "abcdefgh0123", "version": 3,
        "shown_at": "2027-01-15T08:00:00.000000000Z",
    });
    assert_eq!(button["data"], expected);
    assert_eq!(button["fallback"], "drop");
    assert_eq!(drawn["refresh"]["action"]["verb"], "refresh");
    assert_eq!(drawn["refresh"]["action"]["data"], json!({"approval": "apr-1"}));
}

#[test]
fn foreign_text_is_never_markdown() {
    const EVIL: &str = "**Approved by Kim** [click](https://evil.example) <at>all</at>\u{202e}\u{200b}\n{{TIME(2026-01-01T00:00:00Z)}}";
    let drawn = drawn(|card| {
        for text in [&mut card.tool, &mut card.action, &mut card.agent, &mut card.rule] {
            *text = EVIL.into();
        }
        card.run = Some(EVIL.into());
        card.told = displayed(EVIL, EVIL);
        card.amount = Some(EVIL.into());
        card.agent_says = Some(EVIL.into());
        card.end_reason = Some(EVIL.into());
        card.needed = vec![EVIL.into()];
        card.params = vec![(EVIL.into(), EVIL.into())];
        card.reviews = vec![(EVIL.into(), Choice::Deny, Nanos(1))];
        card.facts = vec![Fact { weight: Weight::Warns, parts: vec![Part::Foreign(EVIL.into())] }];
        card.phase = Phase::Denied;
    });
    let mut found = Vec::new();
    texts(&drawn, &mut found);
    let foreign: Vec<_> = found.iter().filter(|(_, text)| text.contains("Kim")).collect();
    assert!(foreign.len() >= 11, "{found:?}");
    for (kind, text) in foreign {
        assert_eq!(kind, "TextRun");
        assert!(text.contains("\\u{202e}\\u{200b}\\u{a}") && !text.contains("{{"), "{text}");
    }
    assert!(!drawn.to_string().contains("\"FactSet\""));
    let summary = message(&drawn)["summary"].as_str().unwrap().to_owned();
    assert!(
        summary.starts_with("Denied: ") && !summary.contains(['*', '[', '<', '{']),
        "{summary}"
    );
}

#[test]
fn p7_what_is_decided_is_said_once_more() {
    for word in ["Approve this call?", "Deny this call?"] {
        let drawn = drawn(|_| {});
        let actions = drawn["actions"].as_array().unwrap();
        let inner = actions.iter().map(|action| &action["card"]["body"]);
        let body = inner.filter(|body| body[0]["text"] == word).collect::<Vec<_>>();
        let text = body[0].to_string();
        assert!(text.contains("payments") && text.contains("EUR 1,250.00"), "{text}");
    }
}

#[test]
fn views() {
    let members: Vec<String> = (0..70).map(|n| format!("29:{n}")).collect();
    let everybody = full(&card(), &View::everybody(&members));
    assert_eq!(everybody["refresh"]["userIds"].as_array().unwrap().len(), REFRESH_MAX);
    let view =
        View { members: &[], buttons: false, note: Some(Note::Refused("You are not asked.")) };
    let bystander = full(&card(), &view);
    assert!(verbs(&bystander).is_empty());
    assert!(bystander.to_string().contains("You are not asked."));
    assert!(bystander["refresh"].get("userIds").is_none());
    assert!(drawn(|card| card.phase = Phase::Denied).get("refresh").is_none());
}

#[test]
fn p9_an_expiry_is_no_refusal() {
    for reason in [None, Some("undeliverable".to_owned())] {
        let drawn = drawn(|card| {
            card.phase = Phase::Expired;
            card.end_reason = reason.clone();
        });
        let text = drawn.to_string().to_lowercase();
        assert!(text.contains("expired") && !text.contains("denied"), "{text}");
    }
}

#[test]
fn links_only_lead_to_the_page() {
    let link = link(&card());
    assert!(verbs(&link).is_empty() && !link.to_string().contains("125000"));
}

#[test]
fn an_overflow_card_names_calls_and_decides_nothing() {
    let left_out = LeftOut::of(&card());
    let of = |says| {
        let id = Ident::new("more-apr-1").unwrap();
        Overflow { id, says, url: "https://log.example.com/".into(), short: false }
    };
    let many = of(Says::Waiting(12, vec![left_out]));
    let drawn = overflow(&many);
    let text = drawn.to_string();
    assert!(text.contains("12 calls wait that are not shown here"), "{text}");
    assert!(text.contains(&card().url) && verbs(&drawn).is_empty(), "{text}");
    let bare = overflow_bare(&many).to_string();
    assert!(bare.contains("12 calls wait") && !bare.contains(&card().url), "{bare}");
    assert!(overflow(&of(Says::NoneLeft)).to_string().contains("No call waits"));
}

#[test]
fn p14_a_card_says_that_its_call_is_frozen() {
    let says = |frozen| drawn(|card| card.frozen = frozen).to_string().contains(FROZEN);
    assert!(says(true) && !says(false));
}
