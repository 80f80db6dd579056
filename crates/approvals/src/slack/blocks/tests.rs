use super::*;
use crate::{
    display::{Call, Displayed},
    facts::{Part, Weight},
};

/// A text by which an agent would forge a card.
const HOSTILE: &str = "<!channel> *Approved by* <https://evil.example|Kim>\n\nApproved by Kim\u{202e}\u{200b} & <@U1>";

fn displayed(tool: &str, action: &str) -> Displayed {
    let params = ledger::json::Value::String("ACME".into());
    Displayed::of(None, &Call { tool, action, params: Some(&params), amount: None })
}

fn card(phase: Phase) -> Card {
    Card {
        tenant: Ident::new("acme").unwrap(),
        approval: Ident::new("apr-aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap(),
        version: 3,
        shown_at: Nanos(1_795_153_680_000_000_000),
        phase,
        end_reason: None,
        tool: "payments".into(),
        action: "transfer".into(),
        agent: "bot-1".into(),
        run: None,
        amount: Some("EUR 1,250.00".into()),
        told: displayed("payments", "transfer"),
        params: vec![("/to".into(), "\"ACME\"".into()), ("/amount".into(), "125000".into())],
        complete: true,
        agent_says: None,
        digest: "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789_-AbCdE".into(),
        policy_now: None,
        rule: "large payments".into(),
        reviews: Vec::new(),
        needed: vec!["2 of finance".into()],
        deadline: Nanos(1_795_157_280_000_000_000),
        execution_deadline: None,
        url: "https://log.example.com/approvals/apr-aaaaaaaaaaaaaaaaaaaaaaaaaa".into(),
        browser_only: false,
        frozen: false,
        facts: Vec::new(),
        reader: Reader::Asked,
    }
}

fn hostile() -> Card {
    Card {
        tool: HOSTILE.into(),
        action: HOSTILE.into(),
        agent: HOSTILE.into(),
        run: Some(HOSTILE.into()),
        told: displayed(HOSTILE, HOSTILE),
        params: vec![("/<!here>".into(), serde_json::to_string(HOSTILE).unwrap())],
        agent_says: Some(HOSTILE.into()),
        rule: HOSTILE.into(),
        reviews: vec![(HOSTILE.into(), Choice::Deny, Nanos(0))],
        needed: vec![HOSTILE.into()],
        ..card(Phase::Pending)
    }
}

fn rendered(card: &Card) -> Value {
    let Message { text, blocks } = message(card);
    json!({"text": text, "blocks": blocks})
}

/// Every text object below a value: its type and text.
fn texts(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            if let (Some(Value::String(kind)), Some(Value::String(text))) =
                (members.get("type"), members.get("text"))
            {
                found.push((kind.clone(), text.clone()));
            }
            members.values().for_each(|member| texts(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| texts(element, found)),
        _ => {}
    }
}

fn action_ids(card: &Card) -> Vec<String> {
    let buttons = buttons(card);
    let elements = buttons["elements"].as_array().unwrap();
    elements.iter().map(|button| button["action_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn snapshots() {
    let snapshot: Value = serde_json::from_str(include_str!("snapshots.json")).unwrap();
    let made = json!({"pending": rendered(&card(Phase::Pending)), "hostile": rendered(&hostile())});
    assert!(made == snapshot, "snapshots.json should be:\n{made:#}");
}

#[test]
fn foreign_text_is_plain_escaped_and_on_one_line() {
    let mut found = Vec::new();
    texts(&rendered(&hostile()), &mut found);
    for (kind, text) in found {
        assert!(!text.chars().any(|c| c != '\n' && c.is_control()), "{text:?}");
        assert!(!text.contains(['\u{202e}', '\u{200b}']), "{text:?}");
        if kind == "mrkdwn" {
            assert!(text.starts_with("Answer by\n<!date^1795157280^"), "{text:?}");
        } else {
            assert_eq!(kind, "plain_text");
            assert!(!text.contains(['<', '>']), "{text:?}");
            assert!(!text.lines().any(|line| line.starts_with("Approved by")), "{text:?}");
        }
    }
    assert!(!rendered(&hostile())["text"].as_str().unwrap().contains('<'));
}

#[test]
fn p7_facts_are_plain_each_in_a_section_of_its_own() {
    let foreign = Part::Foreign(format!("\u{201c}{HOSTILE}\u{201d}"));
    let warns =
        Fact { weight: Weight::Warns, parts: vec![Part::Ours("Looks like ".into()), foreign] };
    let tells = Fact { weight: Weight::Tells, parts: vec![Part::Ours("New payee.".into())] };
    let card = Card { facts: vec![warns, tells], ..card(Phase::Pending) };
    let blocks = message(&card).blocks;
    let text = |at: usize| blocks[at]["text"]["text"].as_str().unwrap().to_owned();
    let said = "\u{26a0} Looks like \u{201c}&lt;!channel&gt; *Approved by* &lt;https://evil.example|Kim&gt;";
    assert!(text(2).starts_with(said) && text(2).lines().count() == 1, "{}", text(2));
    assert_eq!(
        (text(3).as_str(), &blocks[3]["text"]["type"]),
        ("New payee.", &json!("plain_text"))
    );
}

fn check_buttons(change: impl FnOnce(&mut Card), decidable: bool) {
    let mut card = card(Phase::Pending);
    change(&mut card);
    let all = ["approve", "deny", "deny_with_comment", "ask", "open"];
    let expected = if decidable { &all[..] } else { &all[4..] };
    assert_eq!(action_ids(&card), expected, "{card:?}");
    assert_eq!(is_decidable(&card), decidable);
}

#[test]
fn p7_what_does_not_fit_is_not_decided_here() {
    let param = |length: usize| ("/a".to_owned(), "x".repeat(length));
    check_buttons(|_| {}, true);
    check_buttons(|card| card.complete = false, false);
    check_buttons(|card| card.browser_only = true, false);
    check_buttons(|card| card.params = vec![param(FIELD_CHARS_MAX - 3)], true);
    check_buttons(|card| card.params = vec![param(FIELD_CHARS_MAX - 2)], false);
    check_buttons(|card| card.params = vec![("/a".into(), "&".repeat(400))], false);
    check_buttons(|card| card.params = vec![param(1247); 4], true);
    check_buttons(|card| card.params = vec![param(1248); 4], false);
    check_buttons(|card| card.params = vec![param(1); PARAMS_MAX], true);
    check_buttons(|card| card.params = vec![param(1); PARAMS_MAX + 1], false);
}

#[test]
fn p9_only_a_pending_card_has_buttons_and_expiry_is_no_refusal() {
    use Phase::{
        Cancelled, Completed, Denied, Expired, Failed, Granted, Lapsed, Minted, Redeemed, Revoked,
        Superseded, Unknown,
    };
    let ended = [
        Granted, Minted, Redeemed, Completed, Failed, Unknown, Denied, Expired, Cancelled,
        Superseded, Revoked, Lapsed,
    ];
    for phase in ended {
        assert_eq!(action_ids(&card(phase)), ["open"], "{phase:?}");
    }
    assert_eq!(title(&card(Expired)), "Expired: too few people approved in time");
    let unreached = Card { end_reason: Some("undeliverable".into()), ..card(Expired) };
    assert_eq!(title(&unreached), "Expired: nobody could be asked in time");
}

#[test]
fn p13_everything_at_its_most_is_within_the_limits_of_slack() {
    let long = "&".repeat(5000);
    // Longer names are decided on the page.
    let name = "&".repeat(CELL_CHARS_MAX / 5);
    let card = Card {
        tool: name.clone(),
        action: name.clone(),
        agent: name.clone(),
        run: Some(name),
        amount: Some(long.clone()),
        rule: long.clone(),
        agent_says: Some(long.clone()),
        needed: vec![long.clone(); 9],
        reviews: vec![(long, Choice::Approve, Nanos(0)); 99],
        params: vec![("/a".into(), "x".repeat(22)); PARAMS_MAX],
        ..card(Phase::Pending)
    };
    assert!(is_decidable(&card));
    let Message { text, blocks } = message(&card);
    assert!(text.len() < 4000 && blocks.len() <= 50, "{} {}", text.len(), blocks.len());
    let mut found = Vec::new();
    texts(&Value::Array(blocks.clone()), &mut found);
    let total: usize = found.iter().map(|(_, text)| text.encode_utf16().count()).sum();
    assert!(total < 10_000, "{total}");
    for block in &blocks {
        let fields = block["fields"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(fields.len() <= FIELDS_MAX);
        assert!(fields.iter().all(|f| f["text"].as_str().unwrap().len() <= FIELD_CHARS_MAX));
        assert!(block["text"]["text"].as_str().unwrap_or_default().encode_utf16().count() <= 3000);
    }
    let value = blocks.iter().find(|block| block["type"] == "actions").unwrap();
    assert!(value["elements"][0]["value"].as_str().unwrap().len() < 2000);
}

/// Two names that begin alike must not look the same where somebody decides.
#[test]
fn p7_names_that_do_not_fit_are_decided_on_the_page() {
    let long = "x".repeat(CELL_CHARS_MAX + 1);
    let cut = |change: fn(&mut Card, String)| {
        let mut card = card(Phase::Pending);
        change(&mut card, long.clone());
        assert!(!is_decidable(&card));
        assert_eq!(action_ids(&card), ["open"]);
    };
    cut(|card, long| card.tool = long);
    cut(|card, long| card.action = long);
    cut(|card, long| card.agent = long);
    cut(|card, long| card.run = Some(long));
    assert!(is_decidable(&card(Phase::Pending)));
}

#[test]
fn p9_what_is_left_of_a_card_has_no_way_to_decide() {
    for phase in [Phase::Pending, Phase::Cancelled] {
        let Message { blocks, .. } = told(&card(phase));
        let buttons = blocks.last().unwrap()["elements"].as_array().unwrap().clone();
        assert_eq!(buttons.len(), 1);
        assert!(buttons[0].get("url").is_some() && buttons[0].get("value").is_none());
    }
}

#[test]
fn p14_a_card_says_that_its_call_is_frozen() {
    let says = |frozen| {
        let text = rendered(&Card { frozen, ..card(Phase::Pending) }).to_string();
        text.contains(FROZEN)
    };
    assert!(says(true) && !says(false));
}
