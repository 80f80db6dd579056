//! Each detector at its edges; the corpus that somebody else wrote is in `tests/corpus`.

mod corpus;

use super::*;

fn all() -> Chosen {
    Chosen::of(0..names().len())
}

/// What is found, as `detector value`.
fn found(text: &str, label: &str) -> Vec<String> {
    let spans = find(text, label, all(), &[]);
    spans.iter().map(|s| format!("{} {}", names()[s.detector], &text[s.start..s.end])).collect()
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(found(text, ""), expected, "{text}");
}

#[test]
fn social_security_numbers() {
    check("His number is 536-90-4399.", &["us-ssn 536-90-4399"]);
    check("SSN 536904399", &["us-ssn 536904399"]);
    check("social security no. 536 90 4399", &["us-ssn 536 90 4399"]);
    check("order 536904399", &[]);
    check("000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000 078-05-1120", &[]);
    check("536-90-43991", &[]);
    check("1-536-90-4399", &[]);
    assert_eq!(found("536904399", "customerSSN"), ["us-ssn 536904399"]);
}

#[test]
fn dates_of_birth_need_words() {
    check("DOB: 03/12/1985", &["date-of-birth 03/12/1985"]);
    check("born on the 3rd of May, 1979 in Ulm", &["date-of-birth 3rd of May, 1979"]);
    check("She was born in Springfield on March 12, 1985.", &["date-of-birth March 12, 1985"]);
    check("1985-03-12 (date of birth)", &["date-of-birth 1985-03-12"]);
    check("geboren am 12. M\u{e4}rz 1985", &["date-of-birth 12. M\u{e4}rz 1985"]);
    check("DOB 1985-03-12, admitted 2024-01-05", &["date-of-birth 1985-03-12"]);
    check("Invoice of 2024-01-05", &[]);
    check("DOB 31/02/1985", &[]);
    check("a stubborn bug of 12 May 1985", &[]);
    assert_eq!(found("1985-03-12", "birthDate"), ["date-of-birth 1985-03-12"]);
    assert_eq!(found("1985-03-12", "dueDate"), Vec::<String>::new());
}

#[test]
fn cards_have_an_issuer_and_a_check_digit() {
    check("4111 1111 1111 1111, 12/27", &["card 4111 1111 1111 1111"]);
    check("4111 1111-1111 1111", &[]);
    check("4111 1111 1111 1111 02 2027", &["card 4111 1111 1111 1111"]);
    check("5555-5555-5555-4444", &["card 5555-5555-5555-4444"]);
    check("card_378282246310005", &["card 378282246310005"]);
    check("3782 822463 10005", &["card 3782 822463 10005"]);
    check("4111111111111112", &[]);
    check("order 1234567812345670", &[]);
    check("04111111111111111", &[]);
    check("a4111111111111111", &[]);
    check("4006381333931", &[]);
}

#[test]
fn account_numbers_have_a_country_and_check_digits() {
    check("to DE89 3704 0044 0532 0130 00 please", &["iban DE89 3704 0044 0532 0130 00"]);
    check("gb82west12345698765432", &["iban gb82west12345698765432"]);
    check("paid\\nDE89 3704 0044 0532 0130 00", &["iban DE89 3704 0044 0532 0130 00"]);
    check("DE 89370400440532013000", &["iban DE 89370400440532013000"]);
    check("xDE89370400440532013000", &[]);
    check("NO9386011117947", &["iban NO9386011117947"]);
    check("DE89370400440532013001", &[]);
    check("DE893704004405320130000", &[]);
    check("XX89370400440532013000", &[]);
}

/// What stands before a value may end with a letter that is none: of an escape, or of a colour.
#[test]
fn escapes_and_colours_hide_nothing() {
    for before in [
        "\\t",
        "x\\r\\n",
        "\\u0020",
        "\\u00a0",
        "%20",
        "%0A",
        "\\x20",
        "\x1b[1m",
        "\x1b[01;31m\x1b[K",
        "\\x1b[1m",
        "\\u001b[0m",
    ] {
        for (value, name) in [
            ("DE89370400440532013000", "iban"),
            ("4111111111111111", "card"),
            ("536-90-4399", "us-ssn"),
            ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "stripe-key"),
            ("AKIAQYLPMN5HHHFPZAM2", "aws-access-key"),
        ] {
            check(&format!("{before}{value} "), &[&format!("{name} {value}")]);
        }
        for (said, value, name) in [
            ("aws ", "wJalrXUtnFEMIaK7MDENGbPxRfiCYzEXAMPLEKEY", "aws-secret-key"),
            ("datadog ", "0123456789abcdef0123456789abcdea", "datadog-key"),
            ("born ", "1985-03-12", "date-of-birth"),
            ("MRN ", "00483921", "medical-record"),
            ("", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0", "telegram-token"),
        ] {
            check(&format!("{said}{before}{value} "), &[&format!("{name} {value}")]);
        }
    }
    check("%2221000000000009", &["card 2221000000000009"]);
    check(
        "aws %abJalrXUtnFEMIaK7MDENGbPxRfiCYzEXAMPLEKY",
        &["aws-secret-key abJalrXUtnFEMIaK7MDENGbPxRfiCYzEXAMPLEKY"],
    );
    check("%414111111111111111", &[]);
    check("m4111111111111111", &[]);
}

/// A word may begin behind an escape or a colour, and a value may have some within it.
#[test]
fn p16_escapes_and_colours_are_read_within_values_and_words() {
    for before in [
        "x\\n", "x\\t", "x\\\\n", "\x1b[1m", "x\x1b[1m", "x%0A", "x%20", "\x1b[K", "\u{9b}1m",
        "x\\e[m",
    ] {
        for (said, value, name) in [
            ("ssn ", "536904399", "us-ssn"),
            ("born ", "1980-02-03", "date-of-birth"),
            ("", "MRN-00483921", "medical-record"),
            ("medical record ", "00483921", "medical-record"),
            ("datadog ", "0123456789abcdef0123456789abcdea", "datadog-key"),
        ] {
            check(&format!("{before}{said}{value} "), &[&format!("{name} {value}")]);
        }
    }
    for value in [
        "\\u0044E89370400440532013000",
        "%44%4589370400440532013000",
        "DE89\\u00203704\\u00200044\\u00200532\\u00200130\\u002000",
        "DE89%203704%200044%200532%200130%2000",
        "DE89\x1b[01;31m\x1b[K3704\x1b[m\x1b[K00440532013000",
        "DE89\\e[31m 3704\\e[m00440532013000",
        "DE89\u{9b}31m370400440532013000",
    ] {
        check(&format!("to {value}, please"), &[&format!("iban {value}")]);
    }
    let colour = "\x1b[0;1;2;3;4;5;6;7;8;9;10;11m";
    check(&format!("x{colour}DE89370400440532013000"), &["iban DE89370400440532013000"]);
    check("%44E89370400440532013001 \\u0044 50% C:\\new", &[]);
}

fn own(pattern: &str, words: &[&str], check: Check) -> Own {
    let words = words.iter().flat_map(|word| forms_of(word)).collect();
    let pattern = crate::policy::pattern::Pattern::finder(pattern).unwrap();
    Own { name: "own".into(), pattern, words, check }
}

/// What an own detector finds.
fn found_by(own: Own, text: &str) -> Vec<&str> {
    let spans = find(text, "", Chosen::of([NAMES.len()]), &[own]);
    spans.iter().map(|span| &text[span.start..span.end]).collect()
}

/// Words of own detectors are read as the text is: case, `_`, `-` and inner capitals make no difference.
#[test]
fn words_of_own_detectors() {
    let words = ["member-no", "member_no", "memberNo", "member no", "Member No", "MEMBER_NO"];
    for word in words {
        for said in words.into_iter().chain(["MemberNo", "MEMBER-NO"]) {
            let text = format!("{said} 12345678");
            assert_eq!(
                found_by(own("[0-9]{8}", &[word], Check::None), &text),
                ["12345678"],
                "{word} {said}"
            );
        }
    }
    for (word, text) in [
        ("memberno", "memberNo 12345678"),
        ("memberNo", "memberno 12345678"),
        ("\u{c4}rzte", "\u{e4}rzte 12345678"),
        ("\u{e4}rzte", "\u{c4}RZTE 12345678"),
        ("\u{43d}\u{43e}\u{43c}\u{435}\u{440}", "\u{41d}\u{41e}\u{41c}\u{415}\u{420} 12345678"),
        ("\u{3b1}\u{3c1}", "\u{391}\u{3a1} 12345678"),
        ("no", "x\\nno 12345678"),
        ("no", "no [REDACTED:own] 12345678"),
    ] {
        assert_eq!(
            found_by(own("[0-9]{8}", &[word], Check::None), text),
            ["12345678"],
            "{word} {text}"
        );
    }
    assert_eq!(
        found_by(own("[0-9]{8}", &["own"], Check::None), "[REDACTED:own] 12345678"),
        [""; 0]
    );
    assert_eq!(found_by(own("[0-9]{8}", &["member-no"], Check::None), "member 12345678"), [""; 0]);
}

/// What fails the check swallows nothing that begins within it.
#[test]
fn checks_of_own_detectors() {
    let luhn = || own("[0-9]{4}-[0-9]{4}", &[], Check::Luhn);
    assert_eq!(found_by(luhn(), "2026-1234-5674"), ["1234-5674"]);
    assert_eq!(found_by(luhn(), "1234-5674 1234-5675 1234-5674"), ["1234-5674", "1234-5674"]);
    let one = own("[0-9]{1,200}", &[], Check::Luhn);
    let text = "1".repeat(64 << 10);
    assert!(!find(&text, "", Chosen::of([NAMES.len()]), &[one]).is_empty());
}

#[test]
fn addresses_and_telephones() {
    check(
        "Mail <ana.m@mail.example.eu>, or call +49 (30) 901820-0.",
        &["email ana.m@mail.example.eu", "phone +49 (30) 901820-0"],
    );
    check("j\u{fc}rgen@m\u{fc}ller.de", &["email j\u{fc}rgen@m\u{fc}ller.de"]);
    check("icon@2x.png git@github.com:a/b.git @ana ana@host user@1.2.3", &[]);
    check("+1 415 555 0123", &["phone +1 415 555 0123"]);
    check("+1 115 555 0123 +0 30 901820 1+49309018200 +52.520008", &[]);
}

#[test]
fn record_numbers_need_words() {
    check("MRN: 00483921", &["medical-record 00483921"]);
    check("MRN-483921 was seen", &["medical-record MRN-483921"]);
    check("medical record number is A123456", &["medical-record A123456"]);
    check("ticket 00483921", &[]);
    assert_eq!(found("00483921", "patient_mrn"), ["medical-record 00483921"]);
}

#[test]
fn secrets_of_providers() {
    let hex = "0123456789abcdef".repeat(4);
    let mixed = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0xR6uL3";
    for (text, name) in [
        ("AKIAIOSFODNN7EXAMPLE".to_owned(), "aws-access-key"),
        ("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".to_owned(), "github-token"),
        (format!("glpat-{}", &mixed[..20]), "gitlab-token"),
        (["xoxb", "123456789012", "123456789012", &mixed[..24]].join("-"), "slack-token"),
        (format!("sk_live_{}", &mixed[..24]), "stripe-key"),
        (format!("AIza{}", &mixed[..35]), "google-api-key"),
        (format!("sk-proj-{mixed}"), "openai-key"),
        (format!("sk-ant-api03-{mixed}"), "anthropic-key"),
        (format!("SK{}", &hex[..32]), "twilio-key"),
        (format!("SG.{}.{}{}", &mixed[..22], mixed, &mixed[..7]), "sendgrid-key"),
        ("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".to_owned(), "npm-token"),
        (format!("pypi-{mixed}{mixed}"), "pypi-token"),
        (format!("dop_v1_{hex}"), "digitalocean-token"),
        (format!("shpat_{}", &hex[..32]), "shopify-token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLXg".to_owned(), "jwt"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n-----END RSA PRIVATE KEY-----".to_owned(),
            "private-key",
        ),
    ] {
        check(&format!("key={text} "), &[&format!("{name} {text}")]);
        check(
            &format!("x{text}"),
            if name == "private-key" {
                &[
                    "private-key -----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n-----END RSA PRIVATE KEY-----",
                ]
            } else {
                &[]
            },
        );
    }
    check("ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF00ri9tA", &[]);
    check("ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx AKIAXXXXXXXXXXXXXXXX", &[]);
    check("postgres://app:s3cret!pw@db/x", &["url-password s3cret!pw"]);
    check("if text.startswith('-----BEGIN RSA PRIVATE KEY-----'): refuse()", &[]);
    check("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", &[]);
}

/// A name of a provider, the head of a column and the name of a member count as words beside a value.
#[test]
fn words_beside_a_value() {
    let key = "0123456789abcdef0123456789abcdea";
    check(&format!("DATADOG_API_KEY={key}"), &[&format!("datadog-key {key}")]);
    check(&format!("md5 {key}"), &[]);
    check(
        "name,mrn,city\nAna,00483921,Ulm\nBob,00483922,Ulm",
        &["medical-record 00483921", "medical-record 00483922"],
    );
    check("name,ticket,city\nAna,00483921,Ulm", &[]);
    check("| Name | SSN |\n|---|---|\n| Ana | 536904399 |", &["us-ssn 536904399"]);
    check(
        "{\"dob\": [\"1985-03-12\", \"1986-04-13\"]}",
        &["date-of-birth 1985-03-12", "date-of-birth 1986-04-13"],
    );
    // The name of a detector in a mark is no word, and what stands before the mark still is one.
    check("my ssn is [REDACTED:iban] 536904399", &["us-ssn 536904399"]);
    check("536904399 [REDACTED:iban] ssn", &["us-ssn 536904399"]);
    check("born on [REDACTED:card] 1980-02-03", &["date-of-birth 1980-02-03"]);
    check("DOB [REDACTED:date-of-birth] and 2024-10-23", &[]);
    check("MRN [REDACTED:medical-record] 00483921", &[]);
    check("a | [REDACTED:us-ssn]\n1 | 536904399", &[]);
    // What only looks like a mark hides no word.
    for mark in ["[REDACTED:x]", "[REDACTED:iban", "[TOKEN:", "[TOKEN:iban:x]", "[REDACTED:]"] {
        check(&format!("my ssn is {mark} 536904399"), &["us-ssn 536904399"]);
        check(&format!("born on {mark} 1980-02-03"), &["date-of-birth 1980-02-03"]);
        check(&format!("medical record {mark} 00483921"), &["medical-record 00483921"]);
    }
    check("[REDACTED:ssn] 536904399", &["us-ssn 536904399"]);
    check("DOB [REDACTED:date-of-birth], seen 2024-10-23", &[]);
    check("2024-10-23 [REDACTED:date-of-birth]", &[]);
    check("[REDACTED:us-ssn] 536904399", &[]);
    assert_eq!(found(key, "twilioAuthToken"), [format!("twilio-key {key}")]);
}

/// No text makes a detector slow: 256 KiB of what each of them begins with. A quadratic one takes minutes here.
#[test]
fn p13_every_text_takes_linear_time() {
    for unit in [
        "AKIA",
        "eyJ.",
        "1234 ",
        "4111 ",
        "123-45-",
        "+1 2",
        "a@",
        "born 1 ",
        "-----BEGIN PRIVATE KEY-----",
        "x://a:",
        "mrn 1234 ",
        "a,b,12345\n",
        "a",
        "\n",
        "DE89 ",
        "/api/webhooks/",
        "aB3",
        "xoxb-1",
        "ssn 536904399 ",
        "a-",
        "secret ",
        "hooks.slack.com/services/",
        "[REDACTED:",
        "ssn [REDACTED:us-ssn] 536904399 ",
        "\\u0044",
        "%c3",
        "\x1b[",
        "\x1b[1mssn ",
    ] {
        let text = unit.repeat((256 << 10) / unit.len());
        let before = std::time::Instant::now();
        let _ = found(&text, "dob");
        assert!(before.elapsed().as_secs() < 20, "{unit:?}: {:?}", before.elapsed());
    }
}

#[test]
fn overlapping_spans_are_one() {
    let span = |start, end, detector| Span { start, end, detector };
    let merge = |spans: &[Span]| merged(spans.to_vec());
    assert_eq!(merge(&[span(3, 9, 0), span(1, 4, 5)]), [span(1, 9, 5)]);
    assert_eq!(merge(&[span(1, 4, 0), span(1, 9, 5)]), [span(1, 9, 5)]);
    assert_eq!(merge(&[span(1, 4, 7), span(1, 4, 5)]), [span(1, 4, 5)]);
    assert_eq!(merge(&[span(4, 6, 1), span(1, 4, 5)]), [span(1, 4, 5), span(4, 6, 1)]);
}

/// The numbers of set 1 never change: recorded redactions name them.
#[test]
fn p15_the_set_is_what_it_was() {
    assert_eq!(
        names()[..8],
        [
            "us-ssn",
            "date-of-birth",
            "card",
            "iban",
            "email",
            "phone",
            "medical-record",
            "aws-access-key"
        ]
    );
    assert!(names().len() < DETECTORS_MAX - 40, "room for own ones: {}", names().len());
    let mut sorted = names().to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), names().len());
}
