//! Accounts: IBANs in groups of four, and the country that is in them.

use super::{country, money};
use ledger::json::Value;
use std::collections::BTreeMap;

/// Most countries that are named.
const PLACES_MAX: usize = 3;

/// An IBAN in groups of four. `None` for anything else.
pub(crate) fn grouped(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let iban = (15..=34).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit);
    let group = |four: &[u8]| String::from_utf8_lossy(four).into_owned();
    iban.then(|| bytes.chunks(4).map(group).collect::<Vec<_>>().join(" "))
}

/// The code of the country of an IBAN. `None` for anything else.
pub(super) fn country_of(text: &str) -> Option<&str> {
    grouped(text)?;
    text.get(..2).filter(|code| country::name(code).is_some())
}

/// The countries of the IBANs in a list of objects: `Kuwait`, `Germany (470), Poland (4)`. `None` if there is none.
pub(super) fn places(list: &Value<'_>) -> Option<String> {
    let Value::Array(lines) = list else { return None };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        let Value::Object(members) = line else { continue };
        let code = members.iter().filter_map(|(_, value)| value.as_str()).find_map(country_of);
        if let Some(code) = code {
            *counts.entry(code).or_default() += 1;
        }
    }
    let named = |code: &str| country::name(code).unwrap_or_default();
    if let (Some((code, count)), 1) = (counts.first_key_value(), counts.len())
        && *count == lines.len()
    {
        return Some(named(code).to_owned());
    }
    let mut places: Vec<(usize, &str)> = counts.iter().map(|(code, n)| (*n, *code)).collect();
    places.sort_unstable_by_key(|(count, code)| (usize::MAX - count, *code));
    let word = |(count, code): &(usize, &str)| {
        format!("{} ({})", named(code), money::grouped(&count.to_string()))
    };
    let mut words: Vec<String> = places.iter().take(PLACES_MAX).map(word).collect();
    let rest = places.len().saturating_sub(PLACES_MAX);
    words.extend((rest > 0).then(|| format!("{rest} more countries")));
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::json;

    #[test]
    fn p7_a_payroll_says_where_it_pays() {
        let said = |ibans: &[&str]| {
            let line = |iban: &&str| format!("{{\"amount\":1,\"iban\":\"{iban}\",\"name\":\"n\"}}");
            let lines: Vec<String> = ibans.iter().map(line).collect();
            let list = format!("[{}]", lines.join(","));
            places(&json::parse_kept(list.as_bytes()).unwrap())
        };
        let (kuwait, german) = ("KW81CBKU0000000000001234560101", "DE12500105170648489890");
        assert_eq!(said(&[kuwait, kuwait]).as_deref(), Some("Kuwait"));
        assert_eq!(said(&[german, kuwait, german]).as_deref(), Some("Germany (2), Kuwait (1)"));
        assert_eq!(said(&[german, "11002233445566"]).as_deref(), Some("Germany (1)"));
        assert_eq!(said(&["11002233445566"]), None);
        assert_eq!(said(&[]), None);
    }

    #[test]
    fn an_iban_names_its_country() {
        assert_eq!(country_of("KW81CBKU0000000000001234560101"), Some("KW"));
        for none in ["ZZ81CBKU0000000000001234560101", "11002233445566", "KW81", ""] {
            assert_eq!(country_of(none), None, "{none:?}");
        }
    }
}
