//! The corpus of somebody who had not seen the detectors (`tests/corpus`): at least 99 % of its values are found, and at most
//! 1 % of its texts without a value are hit.

use super::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    text: String,
    spans: Vec<String>,
    #[serde(default)]
    held: bool,
}

/// After everything that was found is replaced, nothing more is found: otherwise calls would be denied.
fn nothing_is_left(text: &str) {
    let (mut out, mut done) = (String::new(), 0);
    for Span { start, end, detector } in find(text, "", all(), &[]) {
        out.push_str(&text[done..start]);
        out.extend(["[REDACTED:", names()[detector], "]"]);
        done = end;
    }
    out.push_str(&text[done..]);
    assert_eq!(find(&out, "", all(), &[]), [], "{out}");
}

/// Values, those that were found, texts without a value, those that were hit.
#[derive(Debug, Default)]
struct Counted([usize; 4]);

impl Counted {
    fn take(&mut self, row: &Row, chosen: Chosen) {
        let found = find(&row.text, "", chosen, &[]);
        if row.spans.is_empty() {
            self.0[2] += 1;
            self.0[3] += usize::from(!found.is_empty());
        }
        for value in &row.spans {
            let is_found = row.text.match_indices(value.as_str()).any(|(at, value)| {
                found.iter().any(|span| span.start <= at && at + value.len() <= span.end)
            });
            self.0[0] += 1;
            self.0[1] += usize::from(is_found);
        }
    }
}

fn check(file: &str, chosen: Chosen) {
    let (mut all, mut held) = (Counted::default(), Counted::default());
    for line in file.lines() {
        let row: Row = serde_json::from_str(line).unwrap();
        nothing_is_left(&row.text);
        if row.held { held.take(&row, chosen) } else { all.take(&row, chosen) }
    }
    for Counted([values, found, without, hit]) in [all, held] {
        assert!(values >= 180 && without >= 150, "{values} {without}");
        assert!(found * 100 >= values * 99, "{found} of {values} values are found");
        assert!(hit * 100 <= without, "{hit} of {without} texts without a value are hit");
    }
}

#[test]
fn the_corpus_is_found() {
    for (name, file) in [
        ("us-ssn", include_str!("../../../../../../tests/corpus/us_ssn.jsonl")),
        ("date-of-birth", include_str!("../../../../../../tests/corpus/date_of_birth.jsonl")),
        ("card", include_str!("../../../../../../tests/corpus/card.jsonl")),
        ("iban", include_str!("../../../../../../tests/corpus/iban.jsonl")),
        ("email", include_str!("../../../../../../tests/corpus/email.jsonl")),
        ("phone", include_str!("../../../../../../tests/corpus/phone.jsonl")),
        ("medical-record", include_str!("../../../../../../tests/corpus/medical_record.jsonl")),
    ] {
        check(file, Chosen::of([place(name)]));
    }
    check(include_str!("../../../../../../tests/corpus/secrets.jsonl"), Chosen::secrets());
}
