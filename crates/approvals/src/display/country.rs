//! Names of countries: those of ISO 3166-1, in English.

/// The name of a country by its code of two capital letters: `Kuwait` for `KW`. `None` for what is no such code. What ISO
/// puts behind a name in brackets is left out, unless another country has the same name without it: `Netherlands`, but
/// `Korea (Republic of)`.
pub(super) fn name(code: &str) -> Option<&'static str> {
    let whole = rust_iso3166::from_alpha2(code)?.name;
    let begins_alike = |other: &&&str| short(other) == short(whole);
    let alone = rust_iso3166::ALL_NAME.iter().filter(begins_alike).count() == 1;
    Some(if alone { short(whole) } else { whole })
}

fn short(name: &str) -> &str {
    let bracket = name.split_once(" (").filter(|(_, rest)| rest.ends_with(')'));
    bracket.map_or(name, |(short, _)| short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names() {
        assert_eq!(name("KW"), Some("Kuwait"));
        assert_eq!(name("DE"), Some("Germany"));
        assert_eq!(name("NL"), Some("Netherlands"));
        assert_eq!(name("KR"), Some("Korea (Republic of)"));
        assert_eq!((name("CG"), name("CC")), (Some("Congo"), Some("Cocos (Keeling) Islands")));
        for none in ["", "kw", "KWT", "ZZ", "K", "\u{41a}W"] {
            assert_eq!(name(none), None, "{none:?}");
        }
    }
}
