use super::*;
use ledger::json;
use proptest::prelude::*;

const TRANSFER: &str = r#"{"amount":990000,"currency":"EUR","invoice":"4711","to":{"country":"RU","iban":"DE89370400440532013000","name":"ООО «Вектор»"}}"#;

fn transfers() -> Display {
    let pointers = |all: &[&str]| all.iter().map(|p| (*p).to_owned()).collect();
    Display {
        tool: vec!["payments".into()],
        title: Some(Title::new("{amount} to {/to/name}, {/to/country}").unwrap()),
        amount: Some(MoneyAt { minor: "/amount".into(), currency: "/currency".into() }),
        lead: pointers(&["/to/iban", "/invoice", "/absent"]),
        labels: BTreeMap::from([("/to/iban".into(), "Account".into())]),
        kinds: BTreeMap::from([("/to/iban".into(), Kind::Account)]),
        ..Display::default()
    }
}

fn of(display: Option<&Display>, params: &str) -> Displayed {
    let params = json::parse_kept(params.as_bytes()).unwrap();
    let call = Call { tool: "payments", action: "transfer", params: Some(&params), amount: None };
    Displayed::of(display, &call)
}

/// The one check: sentence, `label: value` of each field, and how many values are left.
fn check(display: Option<&Display>, params: &str, sentence: &str, fields: &[&str], left: usize) {
    let told = of(display, params);
    let lines: Vec<String> =
        told.fields.iter().map(|f| format!("{}: {}", f.label, f.text())).collect();
    assert_eq!(told.sentence.plain(), sentence, "{params}");
    assert_eq!(
        (lines.iter().map(String::as_str).collect::<Vec<_>>(), told.left),
        (fields.to_vec(), left),
        "{params}"
    );
}

fn titled(title: &str) -> Display {
    Display { title: Some(Title::new(title).unwrap()), ..Display::default() }
}

fn field(pointer: &str, kind: Kind) -> Display {
    let kinds = BTreeMap::from([(pointer.to_owned(), kind)]);
    let at = MoneyAt { minor: "/none".into(), currency: "/c".into() };
    Display { lead: vec![pointer.into()], kinds, amount: Some(at), ..Display::default() }
}

#[test]
fn p7_a_call_has_the_sentence_of_its_display() {
    let fields = ["Account: DE89 3704 0044 0532 0130 00", "Invoice: 4711"];
    check(Some(&transfers()), TRANSFER, "EUR 9,900.00 to ООО «Вектор», RU", &fields, 0);
    let more = TRANSFER.replace("\"amount\"", "\"a\":[1,2],\"amount\"");
    check(Some(&transfers()), &more, "EUR 9,900.00 to ООО «Вектор», RU", &fields, 2);
    let many = Display { count: vec!["/to".into()], ..titled("Mail to {#/to} people") };
    let to = format!("{{\"to\":[{}0]}}", "0,".repeat(1888));
    check(Some(&many), &to, "Mail to 1,889 people", &["To: 1,889"], 1889);
}

#[test]
fn p7_one_is_never_many() {
    let said = |params: &str| {
        let title = titled("{#/to|person|people} get {/files|file|files} of {/of}");
        of(Some(&title), params).sentence.plain()
    };
    assert_eq!(said(r#"{"files":2,"of":"a","to":["x"]}"#), "1 person get 2 files of a");
    assert_eq!(said(r#"{"files":1,"of":"a","to":["x","y"]}"#), "2 people get 1 file of a");
    assert_eq!(said(r#"{"files":"1","of":"a","to":[]}"#), "0 people get 1 files of a");
    // A value does not pass for the word behind a number.
    assert_eq!(said(r#"{"files":1,"of":"2 people","to":[]}"#), "0 people get 1 file of “2 people”");
}

#[test]
fn p7_a_value_that_is_absent_makes_the_default() {
    let told = of(Some(&transfers()), &TRANSFER.replace("\"country\"", "\"land\""));
    assert!(!told.authored);
    assert_eq!(
        told.sentence.plain(),
        "payments · transfer: EUR 9,900.00, DE89 3704 0044 0532 0130 00, 4711"
    );
    check(
        None,
        r#"{"amount":6400,"currency":"EUR","customer":"cus_8812","note":"n"}"#,
        "payments · transfer: cus_8812, 6400",
        &["customer: cus_8812", "amount: 6400", "currency: EUR", "note: n"],
        0,
    );
    check(None, "{}", "payments · transfer: “{}”", &["(all): {}"], 0);
    check(None, "[]", "payments · transfer: “[]”", &["(all): []"], 0);
}

#[test]
fn p7_a_call_without_a_display_says_what_counts() {
    let digest = "0b8b415a00fbb8294fc9f89bf46a554506098654764e1a30f45d144631d70574";
    let deploy = format!(
        r#"{{"environment":"production","image":"sha256:{digest}","service":"sso","version":"3.0.0"}}"#
    );
    let told = of(None, &deploy);
    assert_eq!(told.sentence.plain(), "payments · transfer: sso, 3.0.0, production");
    let image = told.fields.last().unwrap();
    assert_eq!(
        (image.kind, image.folded().unwrap().as_str()),
        (Kind::Digest, "sha256:0b8b415a00fb…d70574")
    );
    let line = r#"{"amount":5,"iban":"KW81CBKU0000000000001234560101","name":"n"}"#;
    let payroll =
        format!(r#"{{"lines":[{line},{line},{line},{line}],"month":"2026-10","total":20}}"#);
    check(
        None,
        &payroll,
        "payments · transfer: 20, 2026-10",
        &["lines: 4, accounts in Kuwait", "total: 20", "month: 2026-10"],
        12,
    );
}

#[test]
fn p7_what_has_passed_says_so_and_numbers_have_one_form() {
    let one = |name: &str, value: &str, kind: Kind| {
        let display =
            Display { lead: vec![format!("/{name}")], ..field(&format!("/{name}"), kind) };
        let told = of(Some(&display), &format!("{{\"{name}\":{value}}}"));
        let field = told.fields[0].clone();
        (field.text(), field.passed(ledger::time::Nanos::parse("2026-11-30T20:00:00Z").unwrap()))
    };
    let passed = |text: &str| (text.to_owned(), Some("passed 18 days ago".to_owned()));
    let is = |text: &str| (text.to_owned(), None);
    assert_eq!(one("dueDate", "\"2026-11-12\"", Kind::Plain), passed("12 Nov 2026"));
    assert_eq!(
        one("valid_until", "\"2026-11-12T16:00:00Z\"", Kind::Time),
        passed("12 Nov 2026, 16:00 UTC")
    );
    assert_eq!(one("fällig", "\"2026-11-12\"", Kind::Due), passed("12 Nov 2026"));
    assert_eq!(one("made", "\"2026-11-12\"", Kind::Time), is("12 Nov 2026"));
    assert_eq!(one("due", "\"2026-12-12\"", Kind::Plain), is("12 Dec 2026"));
    assert_eq!(one("due", "\"soon\"", Kind::Plain), is("soon"));
    assert_eq!(one("patients", "1240", Kind::Plain), is("1,240"));
    assert_eq!(one("id", "1240", Kind::Plain), is("1240"));
    assert_eq!(one("id", "1240", Kind::Number), is("1,240"));
    let title = titled("Data of {/patients} people and {/other}");
    let said = of(Some(&title), r#"{"other":"1,240","patients":1240}"#).sentence.plain();
    assert_eq!(said, "Data of 1,240 people and “1,240”");
}

#[test]
fn amounts_follow_iso_4217() {
    for (minor, code, shown) in [
        ("1250", "JPY", "JPY 1,250"),
        ("1250000", "KWD", "KWD 1,250.000"),
        ("125000", "EUR", "EUR 1,250.00"),
        ("-5", "EUR", "EUR -0.05"),
    ] {
        let params = format!("{{\"amount\":{minor},\"currency\":\"{code}\"}}");
        let display = Display { title: Some(Title::new("{amount}").unwrap()), ..transfers() };
        check(Some(&display), &params, shown, &[], 0);
        let fixed = MoneyAt { minor: "/amount".into(), currency: code.into() };
        let display = Display { amount: Some(fixed), ..display };
        assert_eq!(of(Some(&display), &params).amount.as_deref(), Some(shown));
    }
    // No minor units, no code, no whole number: no amount, rather than a wrong one.
    for params in [
        "\"BTC\",\"amount\":5",
        "5,\"amount\":5",
        "\"EUR\",\"amount\":1.5",
        "\"EUR\",\"amount\":\"5\"",
    ] {
        assert_eq!(
            of(Some(&transfers()), &format!("{{\"currency\":{params}}}")).amount,
            None,
            "{params}"
        );
    }
}

/// A label gets a capital, unless two members would then read alike.
#[test]
fn p7_labels_with_a_capital_stay_apart() {
    let label = |params: &str| of(Some(&field("/x", Kind::Plain)), params).fields[0].label.clone();
    assert_eq!(label(r#"{"x":1}"#), "X");
    assert_eq!(label(r#"{"X":2,"x":1}"#), "x");
}

#[test]
fn p7_a_country_has_its_name_beside_its_code() {
    let country = |params: &str| {
        let display = Display {
            kinds: BTreeMap::from([("/c".into(), Kind::Country)]),
            lead: vec!["/c".into()],
            ..titled("Ship to {/to}, {/c}")
        };
        let told = of(Some(&display), params);
        (told.sentence.plain(), told.fields[0].text(), told.whom)
    };
    let (sentence, field, whom) = country(r#"{"c":"KW","to":"Al Noor"}"#);
    assert_eq!(
        (sentence.as_str(), field.as_str()),
        ("Ship to Al Noor, KW (Kuwait)", "KW (Kuwait)")
    );
    assert_eq!(whom.as_deref(), Some("Al Noor"));
    // No other text looks like it.
    let (sentence, field, _) = country(r#"{"c":"KW (Kuwait)","to":"Al Noor"}"#);
    assert_eq!(sentence, "Ship to Al Noor, “KW (Kuwait)”");
    assert_eq!(field, "\"KW (Kuwait)\"");
    assert_eq!(country(r#"{"c":"kw","to":7}"#), ("Ship to 7, kw".into(), "\"kw\"".into(), None));
}

#[test]
fn p7_money_is_money_in_lists_and_in_the_sentence_too() {
    let kinds = |all: &[(&str, Kind)]| all.iter().map(|(at, kind)| ((*at).into(), *kind)).collect();
    let display = Display {
        lead: vec!["/lines".into(), "/fees".into(), "/lines/0/net".into()],
        amount: Some(MoneyAt { minor: "/amount".into(), currency: "/c".into() }),
        kinds: kinds(&[
            ("/lines/*/net", Kind::Money),
            ("/fees", Kind::Money),
            ("/fee", Kind::Money),
            ("/lines/*/parts/*/net", Kind::Money),
        ]),
        ..titled("{amount} and {/fee} fee")
    };
    let params = r#"{"amount":990000,"c":"EUR","fee":250,"fees":[5,"EUR 0.05"],
        "lines":[{"net":64000,"sku":"A-1"},{"net":"64000","sku":"EUR 640.00"},
        {"parts":[{"net":7},{"net":8}]}]}"#;
    check(
        Some(&display),
        params,
        "EUR 9,900.00 and EUR 2.50 fee",
        &[
            "Lines: net: EUR 640.00, sku: A-1, net: 64000, sku: “EUR 640.00”, \
             parts · 0 · net: EUR 0.07, parts · 1 · net: EUR 0.08",
            "Fees: EUR 0.05, “EUR 0.05”",
            "Lines · 0 · net: EUR 640.00",
        ],
        0,
    );
    // Without a currency it is as it was hashed.
    let fees = of(Some(&display), r#"{"c":"BTC","fees":[5]}"#);
    assert!(fees.fields.iter().any(|field| field.text() == "5"), "{fees:?}");
}

#[test]
fn p7_the_authors_quotes_are_enough() {
    let mail = |title: &str, subject: &str| {
        let params = format!("{{\"subject\":\"{subject}\"}}");
        of(Some(&titled(title)), &params).sentence.plain()
    };
    let (quoted, bare) = ("E-mail “{/subject}” to 3", "E-mail {/subject} to 3");
    assert_eq!(mail(quoted, "Night: new list"), "E-mail “Night: new list” to 3");
    assert_eq!(mail(bare, "Night: new list"), "E-mail “Night: new list” to 3");
    assert_eq!(mail(quoted, "” to 1 “"), "E-mail “\\u{201d} to 1 \\u{201c}” to 3");
}

#[test]
fn p7_a_short_list_is_shown_whole() {
    let list = |members: usize| {
        let members: Vec<String> = (0..members).map(|n| format!("\"column-{n}\"")).collect();
        let params = format!("{{\"x\":[{}]}}", members.join(","));
        let field = of(Some(&field("/x", Kind::Plain)), &params).fields.remove(0);
        (field.lines.len(), field.more, field.is_short())
    };
    assert_eq!(list(5), (5, 0, true));
    assert_eq!(list(10), (10, 0, true));
    assert_eq!(list(11), (11, 0, true));
    assert_eq!(list(12), (3, 9, false));
    assert_eq!(list(1_889), (3, 1_886, false));
}

#[test]
fn fields_are_drawn_by_kind() {
    let one = |kind, params: &str, shown: &str| {
        let told = of(Some(&field("/x", kind)), params);
        assert_eq!(told.fields[0].text(), shown, "{params}");
    };
    one(Kind::Money, r#"{"c":"KWD","x":7}"#, "KWD 0.007");
    one(Kind::Money, r#"{"c":"KWD","x":"7"}"#, "7");
    one(Kind::Time, r#"{"x":"2026-11-28T07:36:00+02:00"}"#, "28 Nov 2026, 05:36 UTC");
    one(Kind::Time, r#"{"x":"2026-11-28"}"#, "28 Nov 2026");
    one(Kind::Time, r#"{"x":"tomorrow"}"#, "tomorrow");
    one(Kind::Account, r#"{"x":"PK36SCBL0000001123456702"}"#, "PK36 SCBL 0000 0011 2345 6702");
    one(Kind::Account, r#"{"x":"acct 12"}"#, "acct 12");
    one(Kind::Text, r#"{"x":"a\r\n\nb\u202e"}"#, "a ⏎  ⏎ b\\u{202e}");
    one(Kind::Text, r#"{"x":"\\u{202e}"}"#, "\\u{5c}u{202e}");
    one(Kind::List, r#"{"x":["a","b","c","d","e"]}"#, "a, b, c, d, e");
    one(Kind::List, r#"{"x":[1,2,3,4,5,6,7,8,9,10,11,12,13]}"#, "1, 2, 3 and 10 more");
    one(
        Kind::List,
        r#"{"x":[{"at":{"shelf":"b, c: d"},"qty":2,"sku":"A-1"},[1]]}"#,
        "at \u{b7} shelf: “b, c: d”, qty: 2, sku: A-1, [1]",
    );
    one(Kind::Link, r#"{"x":"https://example.com/"}"#, "https://example.com/");
    one(Kind::Plain, r#"{"x":"true"}"#, "\"true\"");
    one(Kind::Plain, r#"{"x":true}"#, "true");
    one(Kind::Plain, r#"{"x":" a"}"#, "\" a\"");
    one(Kind::Plain, r#"{"x":"\u0410\u0421\u041c\u0415"}"#, "\\u{410}\\u{421}\\u{41c}\\u{415}");
}

#[test]
fn p7_a_value_does_not_look_like_words_or_other_values() {
    let display = titled("{/a} to {/b}, {/c}");
    for (name, shown) in [
        ("Nordwind GmbH", "Nordwind GmbH"),
        ("Alice, DE", "“Alice, DE”"),
        ("Alice to Bob", "“Alice to Bob”"),
        ("EUR 5.00", "“EUR 5.00”"),
        ("a” to “b", "“a\\u{201d} to \\u{201c}b”"),
        ("Tomato", "Tomato"),
    ] {
        let params = format!("{{\"a\":\"x\",\"b\":{},\"c\":\"y\"}}", serde_json::json!(name));
        assert_eq!(of(Some(&display), &params).sentence.plain(), format!("x to {shown}, y"));
    }
    let right_to_left = r#"{"a":"x","b":"شركة النور","c":"y"}"#;
    let sentence = of(Some(&display), right_to_left).sentence;
    assert_eq!(sentence.plain(), "x to \u{2068}شركة النور\u{2069}, y");
}

#[test]
fn templates_are_read_strictly() {
    for wrong in [
        "",
        " ",
        "{",
        "}",
        "{amount",
        "{x}",
        "{}",
        "{#amount}",
        "{/a}{/b}",
        "{/a} {/b}",
        "{#/a|one|many}{/b}",
        "{#/a|one}",
        "{#/a||many}",
        "{#/a|a|b|c}",
        "{amount|one|many}",
        "a\nb",
        "\u{202e}a",
    ] {
        assert!(Title::new(wrong).is_err(), "{wrong:?}");
    }
    assert!(Title::new(&"a".repeat(TITLE_CHARS_MAX + 1)).is_err());
    for right in ["a", "{amount}", "{amount} {/a}", "{#/a}{/b}", "{/a}-{/b}", "{/a|b|c} {/d}"] {
        assert!(Title::new(right).is_ok(), "{right:?}");
    }
}

/// Text that attacks: words of the template, separators, quotes, escapes, hidden signs, scripts.
const EVIL: &str = "[a-z ,:.\"“”\\\\u{}to·\u{202e}\u{200b}\u{430}ש\n…-]{0,12}|\\PC{0,12}";

proptest! {
    #[test]
    fn p7_two_calls_never_have_one_sentence(
        one in prop::array::uniform3(EVIL), other in prop::array::uniform3(EVIL), joint in prop::sample::select(vec![" to ", ", ", "-", ": "]),
    ) {
        let display = titled(&format!("{{/a}}{joint}{{/b}} of {{/c}}"));
        let params = |[a, b, c]: &[String; 3]| serde_json::json!({"a": a, "b": b, "c": c}).to_string();
        let [shown, than] = [&one, &other].map(|values| of(Some(&display), &params(values)).sentence.plain());
        prop_assert_eq!(shown == than, one == other, "{:?} {:?}", shown, than);
    }

    #[test]
    fn p7_nothing_hidden_is_ever_shown(text in EVIL, name in EVIL, kind in 0..10usize) {
        let kinds = [Kind::Plain, Kind::Money, Kind::Time, Kind::Account, Kind::Text, Kind::List, Kind::Link, Kind::Due, Kind::Number, Kind::Digest];
        let params = serde_json::json!({&name: &text, "x": &text, "l": [&text, {&name: &text}]}).to_string();
        let shown = Display { lead: vec!["/x".into(), "/l".into()], ..field("/x", kinds[kind]) };
        for display in [None, Some(&shown), Some(&titled("{/x} of {/x}"))] {
            let told = of(display, &params);
            let isolates = ['\u{2068}', '\u{2069}'];
            let mut all = told.sentence.plain().replace(isolates, "");
            for field in &told.fields {
                prop_assert!(field.lines.iter().all(|line| !line.contains('\n')));
                all.extend([field.label.clone(), field.text()]);
            }
            prop_assert!(!all.chars().any(ledger::foreign::is_hidden), "{:?}", all);
        }
    }

    #[test]
    fn no_params_make_it_panic(params in "\\PC{0,40}", pointer in "(/[a-c0-2~/]{0,3}){1,3}") {
        let display = Display { lead: vec![pointer.clone()], count: vec![pointer.clone()], ..field(&pointer, Kind::Text) };
        if let Ok(params) = json::parse_kept(params.as_bytes()) {
            let call = Call { tool: "t", action: "a", params: Some(&params), amount: None };
            let told = Displayed::of(Some(&display), &call);
            prop_assert!(told.left <= told.all);
        }
        let _ = Title::new(&params);
    }
}
